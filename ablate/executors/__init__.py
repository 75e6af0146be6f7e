"""Where cells run: in processes on this machine, or on the workers of a Dask cluster (`executors.dask`).

Each offers a `concurrent.futures.Executor`. The *driver* is the process of `ablate run`, which submits the cells; the
*scheduler* is Dask's own in here.
"""
