"""The local executor: a process for each cell, which ends with the driver. Cells run in any `futures.Executor`."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from ablate.executors.processes import is_running, kill, wait_until_gone
from ablate.study.runs import TrainerKind
from ablate.trainers.errors import Unavailable

# What a cell needs and is slow to import: 4 s in every process otherwise (measured). The first optimizer imports
# torch._dynamo; a new process imports the console script again, and with it typer.
PRELOADED = ("ablate.executors.cell_process", "ablate.trainers.host", "typer")
PRELOADED_FOR: Mapping[TrainerKind, Sequence[str]] = {
    "built-in": (*PRELOADED, "ablate.trainers.builtin.run", "torch._dynamo"),
    "command": (*PRELOADED, "ablate.trainers.command"),
    "function": (*PRELOADED, "ablate.trainers.function"),
}
MAX_START_TRIES = 3  # of one process
ALIVE_CHECK_S = 0.2  # between two checks of a process that sends nothing
CHUNK_BYTES = 1 << 20

Engine = Callable[[int], AbstractContextManager[Executor]]
T = TypeVar("T")


class WorkerLost(Exception):
    """The worker of this cell died or closed; the cell can be submitted again."""


@runtime_checkable
class CanEndCell(Protocol):
    """An executor that can end the process of one cell; its future then raises WorkerLost."""

    def end(self, future: Future[Any]) -> None: ...


@runtime_checkable
class HasSlots(Protocol):
    """An executor whose number of workers changes while it runs: `slots` is how many cells it can take now."""

    @property
    def slots(self) -> int: ...


def default_workers(threads: int, device: str) -> int:
    """One worker for each `threads` cores that this process may use; a single one on an accelerator."""
    return 1 if device.startswith("cuda") else max(1, usable_cores() // threads)


def usable_cores() -> int:
    """The number of cores that this process may use: a container or a batch system may limit it."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pool_for(device: str, trainer: TrainerKind = "built-in", more: Sequence[str] = ()) -> Engine:
    """A function from a number of workers to the local executor for runs of this trainer on this device.

    `more`: modules that the runs need beside those of their trainer.
    """
    # CUDA cannot be used in a process forked after its first use, and importing parts of torch may use it.
    with_torch_on_cuda = device.startswith("cuda") and trainer == "built-in"
    return partial(local_pool, preloaded=() if with_torch_on_cuda else (*PRELOADED_FOR[trainer], *more))


@contextmanager
def local_pool(workers: int, *, preloaded: Sequence[str] = ()) -> Iterator[Executor]:
    """At most `workers` processes at once, which share no state with this one or with each other.

    They are forked from a server that has imported the modules `preloaded`; without any, they are spawned.
    An exception inside the block, Ctrl-C included, ends them at once: runs resume from their last checkpoint.
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
    """Makes every call in a process of its own, so that no cell sees what another has changed.

    A future raises what the call raises (a RuntimeError where that cannot be pickled), WorkerLost where the process
    died or was ended, and Unavailable where none could be started.
    """

    def __init__(self, workers: int, preloaded: Sequence[str] = ()) -> None:
        self._context = _context(preloaded)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="cell")  # each waits for one process
        self._cells: weakref.WeakKeyDictionary[Future[Any], _Cell] = weakref.WeakKeyDictionary()

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Start a process for this call as soon as fewer than `workers` processes run."""
        cell = _Cell(self._context, fn, args, kwargs)
        future: Future[T] = self._threads.submit(cell.run)
        self._cells[future] = cell
        return future

    def end(self, future: Future[Any]) -> None:
        """Kill the process of `future`."""
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
    """One call and its process."""

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
        """Start the process and wait for its answer. When this returns, the process and its children have ended."""
        if self._ended:
            raise WorkerLost("ended before its process was started")
        started, pipe = _start(self._context, pickle.dumps(self._call))
        with self._lock, suppress(psutil.NoSuchProcess):  # it has already died
            self._process = psutil.Process(started.pid)
            if self._ended:
                kill(self._process)
        try:
            with pipe:
                content = _read_answer(pipe, started.is_alive)
        finally:
            kill(self._process)
            wait_until_gone(lambda: started.is_alive() or is_running(self._process))
        return cell_process.unpack_answer(content)


_start_lock = threading.Lock()


def _start(context: ForkServerContext | SpawnContext, call: bytes) -> tuple[BaseProcess, Connection]:
    """Start a process for a pickled call; returns it with the pipe for its answer. Raises Unavailable."""
    for _ in range(MAX_START_TRIES):
        try:
            reader, writer = context.Pipe(duplex=False)
            with writer:
                process = context.Process(target=cell_process.main, args=(call, dict(os.environ), writer))
                with _start_lock, _driver_signals_blocked():
                    process.start()
            return process, reader
        except (OSError, EOFError) as error:  # EOFError: the fork server was killed; the next try starts another
            reason = f"{error}" or type(error).__name__
    raise Unavailable(f"no worker process can be started: {reason}")


def _read_answer(pipe: Connection, alive: Callable[[], bool]) -> bytes:
    """A complete answer. Raises WorkerLost when the process ends before it has sent all of it.

    The end of the file does not show that: a child process of a component may keep the pipe open after the process
    that writes into it has ended.
    """
    content, size = bytearray(), cell_process.LENGTH_BYTES
    while len(content) < size:
        if pipe.poll(ALIVE_CHECK_S):
            chunk = os.read(pipe.fileno(), CHUNK_BYTES)
            content += chunk
            lost = not chunk
        else:
            lost = not alive() and not pipe.poll(0)
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
def _driver_signals_blocked() -> Iterator[None]:
    """Block the signals that are sent to a whole process group, in processes started here and in the fork server.

    A batch system sends SIGTERM to the group, a terminal SIGINT: only the driver decides what happens to its cells.
    """
    mask_before = signal.pthread_sigmask(signal.SIG_BLOCK, cell_process.DRIVER_SIGNALS)
    try:
        resource_tracker.ensure_running()  # unblocks the signals when it starts its process
        signal.pthread_sigmask(signal.SIG_BLOCK, cell_process.DRIVER_SIGNALS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask_before)
