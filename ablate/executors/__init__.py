"""Where a run is carried out: a process on this machine, or a worker of a Dask cluster (`executors.dask`)."""
