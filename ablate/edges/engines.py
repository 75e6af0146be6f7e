"""Where cells run: any `concurrent.futures.Executor`. Here a local process pool whose workers die with the driver."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import wait


def default_workers(threads: int, device: str) -> int:
    """One worker for each `threads` cores this process may use; one alone on an accelerator."""
    return 1 if device.startswith("cuda") else max(1, usable_cores() // threads)


def usable_cores() -> int:
    """Cores that this process may use, which a container or a scheduler may have limited."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def local_pool(workers: int) -> Iterator[Executor]:
    """A pool of fresh processes (spawn: no state inherited, safe with threads and CUDA).

    Left by an exception, Ctrl-C included, the workers are ended at once: runs resume from their last checkpoint.
    """
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker)
    try:
        yield pool
    except BaseException:
        _terminate(pool)
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _terminate(pool: ProcessPoolExecutor) -> None:
    # the public terminate_workers() exists from Python 3.14 on
    for process in list((getattr(pool, "_processes", None) or {}).values()):
        process.terminate()


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver decides
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """A driver killed outright must leave no worker behind that writes into the next driver's folders."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
