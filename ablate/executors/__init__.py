"""Where cells run: in processes on this machine, or on the workers of a Dask cluster (`executors.dask`)."""
