"""Where cells run: any `concurrent.futures.Executor`. Here a process for each cell, which dies with the driver."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from typing import Any, Protocol, TypeVar, runtime_checkable

import psutil

from ablate.executors import cell_process
from ablate.executors.processes import kill, runs, wait_until_gone
from ablate.trainers.errors import Unavailable

# What a cell needs and takes long to import: 4 s otherwise (measured). torch._dynamo comes with the first optimizer;
# typer with the console script, which a new process imports again.
PRELOADED = ("ablate.executors.cell_process", "ablate.trainers.builtin.run", "torch._dynamo", "typer")
STARTS = 3  # of a process, tried in a row before it is an error
LOOK_S = 0.2  # between two looks at whether a process that sends nothing is still there
CHUNK_BYTES = 1 << 20

Engine = Callable[[int], AbstractContextManager[Executor]]
T = TypeVar("T")


class WorkerLost(Exception):
    """The worker of this cell died or left; the cell can be submitted again."""


@runtime_checkable
class Ends(Protocol):
    """An executor that can end one cell's worker; its future then raises WorkerLost."""

    def end(self, future: Future[Any]) -> None: ...


@runtime_checkable
class Varies(Protocol):
    """An executor whose number of workers changes while it works: `slots` is how many cells to have there now."""

    @property
    def slots(self) -> int: ...


def default_workers(threads: int, device: str) -> int:
    """One worker for each `threads` cores this process may use; one alone on an accelerator."""
    return 1 if device.startswith("cuda") else max(1, usable_cores() // threads)


def usable_cores() -> int:
    """Cores that this process may use, which a container or a scheduler may have limited."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pool_for(device: str) -> Engine:
    """The local executor for runs on this device, by number of workers."""
    # CUDA refuses a process forked after its first use, which importing torch's parts may be
    return partial(local_pool, preloaded=() if device.startswith("cuda") else PRELOADED)


@contextmanager
def local_pool(workers: int, *, preloaded: Sequence[str] = ()) -> Iterator[Executor]:
    """Processes that inherit nothing of this one or of each other, at most `workers` at once.

    They are forked from a server that has imported the modules `preloaded`; without any, started from nothing.
    Left by an exception, Ctrl-C included, they are ended at once: runs resume from their last checkpoint.
    """
    pool = LocalPool(workers, preloaded)
    try:
        yield pool
    except BaseException:
        pool.end_all()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class LocalPool(Executor):
    """Every call in a process of its own, so that no cell finds what another has left behind.

    A future raises what the call raises (RuntimeError in its place where that cannot be sent), WorkerLost where the
    process died or was ended, and Unavailable where none could be started.
    """

    def __init__(self, workers: int, preloaded: Sequence[str] = ()) -> None:
        self._context = _context(preloaded)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="cell")  # each waits for one process
        self._cells: weakref.WeakKeyDictionary[Future[Any], _Cell] = weakref.WeakKeyDictionary()

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Start a process for this call as soon as fewer than `workers` are there."""
        cell = _Cell(self._context, fn, args, kwargs)
        future: Future[T] = self._threads.submit(cell.run)
        self._cells[future] = cell
        return future

    def end(self, future: Future[Any]) -> None:
        """Kill the process that works at `future`."""
        if cell := self._cells.get(future):
            cell.end()

    def end_all(self) -> None:
        """Kill every process."""
        for cell in list(self._cells.values()):
            cell.end()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See `concurrent.futures.Executor`."""
        self._threads.shutdown(wait, cancel_futures=cancel_futures)


class _Cell:
    """One call and the process for it."""

    def __init__(self, context: ForkServerContext | SpawnContext, *call: Any) -> None:
        self._context, self._call = context, call
        self._lock = threading.Lock()
        self._process: psutil.Process | None = None
        self._ended = False

    def end(self) -> None:
        with self._lock:
            self._ended = True
            kill(self._process)

    def run(self) -> Any:
        """Start the process and wait for its answer. Once this returns, the process is gone and so are its children."""
        if self._ended:
            raise WorkerLost("ended before its process was started")
        started, answers = _start(self._context, pickle.dumps(self._call))
        with self._lock, suppress(psutil.NoSuchProcess):  # it has just died
            self._process = psutil.Process(started.pid)
            if self._ended:
                kill(self._process)
        try:
            with answers:
                content = _received(answers, started.is_alive)
        finally:
            kill(self._process)
            wait_until_gone(lambda: started.is_alive() or runs(self._process))
        return cell_process.opened(content)


_starting = threading.Lock()


def _start(context: ForkServerContext | SpawnContext, call: bytes) -> tuple[BaseProcess, Connection]:
    """A process for a pickled call, and the pipe in which its answer comes. Raises Unavailable where there is none."""
    for _ in range(STARTS):
        try:
            answers, theirs = context.Pipe(duplex=False)
            with theirs:
                process = context.Process(target=cell_process.main, args=(call, dict(os.environ), theirs))
                with _starting, _signals_held_back():
                    process.start()
            return process, answers
        except (OSError, EOFError) as error:  # of a fork server that was killed meanwhile, the next one is another
            reason = f"{error}" or type(error).__name__
    raise Unavailable(f"no worker process can be started: {reason}")


def _received(answers: Connection, alive: Callable[[], bool]) -> bytes:
    """An answer, whole. Raises WorkerLost when the process ended before it had sent all of it.

    A component's child process may hold the pipe open for longer than the process that is to write into it.
    """
    content, size = bytearray(), cell_process.LENGTH_BYTES
    while len(content) < size:
        if answers.poll(LOOK_S):
            part = os.read(answers.fileno(), CHUNK_BYTES)
            content += part
            lost = not part
        else:
            lost = not alive() and not answers.poll(0)
        if lost:
            raise WorkerLost("the process ended before it had sent its result")
        if len(content) >= cell_process.LENGTH_BYTES:
            size = cell_process.LENGTH_BYTES + int.from_bytes(content[: cell_process.LENGTH_BYTES], "big")
    return bytes(content[cell_process.LENGTH_BYTES :])


def _context(preloaded: Sequence[str]) -> ForkServerContext | SpawnContext:
    if not preloaded or "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preloaded))
    return context


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Processes started here, the fork server too, do not die of a signal that was sent to the whole group.

    A scheduler sends SIGTERM to all of them, a terminal SIGINT: the driver alone decides what becomes of the cells.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, cell_process.TO_THE_DRIVER)
    try:
        resource_tracker.ensure_running()  # which lets the signals through again once it has started something
        signal.pthread_sigmask(signal.SIG_BLOCK, cell_process.TO_THE_DRIVER)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
