"""Where cells run: any `concurrent.futures.Executor`. Here a local process pool whose workers die with the driver."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext

from ablate.runs.allocator import keep_freed_memory

# 4 s for each worker otherwise (measured); the second comes with the first optimizer.
PRELOADED = ("ablate.runs.execution", "torch._dynamo")


def default_workers(threads: int, device: str) -> int:
    """One worker for each `threads` cores this process may use; one alone on an accelerator."""
    return 1 if device.startswith("cuda") else max(1, usable_cores() // threads)


def usable_cores() -> int:
    """Cores that this process may use, which a container or a scheduler may have limited."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pool_for(device: str) -> Callable[[int], AbstractContextManager[Executor]]:
    """The local pool for runs on this device, by number of workers."""
    # CUDA refuses a process forked after its first use, which importing torch's parts may be
    return partial(local_pool, preloaded=() if device.startswith("cuda") else PRELOADED)


@contextmanager
def local_pool(workers: int, *, preloaded: Sequence[str] = ()) -> Iterator[Executor]:
    """A pool of fresh processes that inherit nothing of this one, whatever threads or CUDA state it has.

    They are forked from a server that has imported the modules `preloaded`, where the system can do that.
    Left by an exception, Ctrl-C included, the workers are ended at once: runs resume from their last checkpoint.
    """
    pool = ProcessPoolExecutor(workers, mp_context=_context(preloaded), initializer=_start_worker)
    try:
        yield pool
    except BaseException:
        _terminate(pool)
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _context(preloaded: Sequence[str]) -> BaseContext:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preloaded))
    return context


def _terminate(pool: ProcessPoolExecutor) -> None:
    # the public terminate_workers() exists from Python 3.14 on
    for process in list((getattr(pool, "_processes", None) or {}).values()):
        process.terminate()


def _start_worker() -> None:
    keep_freed_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver decides
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """A driver killed outright must leave no worker behind that writes into the next driver's folders."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
