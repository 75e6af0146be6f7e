"""Where cells run: any `concurrent.futures.Executor`. Here local processes that die with the driver, one a cell."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import psutil

from ablate.runs.allocator import keep_freed_memory

# 4 s for each worker otherwise (measured); the second comes with the first optimizer.
PRELOADED = ("ablate.runs.execution", "torch._dynamo")
STARTS = 3  # of processes, tried in a row before it is an error
GONE_S = 5.0  # a process that was killed is gone after this, unless the system hangs
TO_THE_DRIVER = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]

Engine = Callable[[int], AbstractContextManager[Executor]]
T = TypeVar("T")


class WorkerLost(Exception):
    """The worker of this cell died or left; the cell can be submitted again."""


@runtime_checkable
class Ends(Protocol):
    """An executor that can end one cell's worker; its future then raises BrokenProcessPool or WorkerLost."""

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
    """The local pool for runs on this device, by number of workers."""
    # CUDA refuses a process forked after its first use, which importing torch's parts may be
    return partial(local_pool, preloaded=() if device.startswith("cuda") else PRELOADED)


@contextmanager
def local_pool(workers: int, *, preloaded: Sequence[str] = ()) -> Iterator[Executor]:
    """A pool of fresh processes that inherit nothing of this one, whatever threads or CUDA state it has.

    They are forked from a server that has imported the modules `preloaded`, where the system can do that.
    Left by an exception, Ctrl-C included, the workers are ended at once: runs resume from their last checkpoint.
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
    """`workers` processes, each with an executor of its own: one that dies takes no neighbour's cell with it.

    (A process pool that loses one process ends all the others.)
    """

    def __init__(self, workers: int, preloaded: Sequence[str] = ()) -> None:
        self._context, self._workers = _context(preloaded), workers
        self._slots: dict[ProcessPoolExecutor, list[psutil.Process]] = {}
        self._at: dict[Future[Any], ProcessPoolExecutor] = {}

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run in the process that has least to do. Raises OSError where no process can be started."""
        for slot in {slot for future, slot in self._at.items() if _broken(future)}:
            self._bury(slot)
        self._at = {future: slot for future, slot in self._at.items() if not future.done()}
        for _ in range(self._workers + STARTS):
            slot = self._slot()
            try:
                with _signals_held_back():
                    future = slot.submit(fn, *args, **kwargs)
            except (BrokenProcessPool, EOFError, ConnectionError):  # the last two: the fork server was killed meanwhile
                self._bury(slot)
                continue
            if not self._slots[slot]:
                self._slots[slot] = _processes(slot)
                _leave_writing_to_the_process(slot)
            self._at[future] = slot
            return future
        raise OSError("no worker process can be started")

    def _slot(self) -> ProcessPoolExecutor:
        load = Counter(self._at.values())
        if len(self._slots) < self._workers and all(load[slot] for slot in self._slots):
            slot = ProcessPoolExecutor(1, mp_context=self._context, initializer=_start_worker)
            self._slots[slot] = []
            return slot
        return min(self._slots, key=lambda slot: load[slot])

    def end(self, future: Future[Any]) -> None:
        """Kill the process that works at `future`."""
        slot = self._at.get(future)
        if slot is not None:
            _kill(self._slots[slot])

    def end_all(self) -> None:
        """Kill every process and wait until all are gone."""
        _kill([process for processes in self._slots.values() for process in processes])

    def _bury(self, slot: ProcessPoolExecutor) -> None:
        # whoever takes the place of the dead one must not meet it: it may live on where its fork server was killed
        _kill(self._slots.pop(slot, []))
        slot.shutdown(wait=False, cancel_futures=True)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See `concurrent.futures.Executor`. A process that does not end with its work is killed."""
        for slot in self._slots:
            slot.shutdown(wait=False, cancel_futures=cancel_futures)
        if not wait:
            return
        while not all(future.done() for future in self._at):
            time.sleep(0.02)
        processes = [process for each in self._slots.values() for process in each]
        psutil.wait_procs(processes, timeout=GONE_S)
        # SIGTERM, the last word of the executor, leaves workers unmoved, and Python waits for them at its end
        _kill(processes)


def _broken(future: Future[Any]) -> bool:
    return future.done() and not future.cancelled() and isinstance(future.exception(), BrokenProcessPool)


def _leave_writing_to_the_process(slot: ProcessPoolExecutor) -> None:
    """Close our own end of the pipe in which results come: half of one would be waited for without end.

    The process alone then holds that end, and half a result ends with it.
    """
    writer = getattr(getattr(slot, "_result_queue", None), "_writer", None)  # Python has no public way to it
    if writer is not None:
        writer.close()


def _processes(slot: ProcessPoolExecutor) -> list[psutil.Process]:
    found = []
    for pid in list(getattr(slot, "_processes", None) or {}):  # Python has no public way to them before 3.14
        with suppress(psutil.NoSuchProcess):
            found.append(psutil.Process(pid))
    return found


def _kill(processes: Iterable[psutil.Process]) -> None:
    """Kill and wait. psutil remembers when a process began, so a number given to another process is left alone."""
    alive = [process for process in processes if process.is_running()]
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=GONE_S)


def end_leftovers(work: Path) -> int:
    """Kill workers of a driver that is no more, as the `worker.json` of their runs names them; how many there were.

    They end by themselves when they see it gone; this makes sure that none writes where its successor does.
    """
    left = [process for file in work.glob("*/worker.json") if (process := _worker(file)) is not None]
    _kill(left)
    return len(left)


def _worker(file: Path) -> psutil.Process | None:
    try:
        who = json.loads(file.read_text(encoding="utf-8"))
        started = datetime.fromisoformat(who["started"]).timestamp()
        process = psutil.Process(int(who["pid"]))
        # the number belongs to another process by now? `started` is in whole seconds
        other = process.create_time() > started + 1 or "multiprocessing" not in " ".join(process.cmdline())
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return None
    mine = who.get("host") == socket.gethostname() and process.pid != os.getpid()
    return process if mine and not other else None


def _context(preloaded: Sequence[str]) -> BaseContext:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preloaded))
    return context


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Processes started here, the fork server too, do not die of a signal that was sent to the whole group.

    A scheduler sends SIGTERM to all of them, a terminal SIGINT: the driver alone decides what becomes of the cells.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, TO_THE_DRIVER)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker() -> None:
    keep_freed_memory()
    for number in TO_THE_DRIVER:
        signal.signal(number, _unmoved)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, TO_THE_DRIVER)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _unmoved(number: int, frame: object) -> None:
    """A handler and not SIG_IGN: what a component starts must not inherit deafness."""


def _die_with_parent() -> None:
    """A driver killed outright must leave no worker behind that writes into the next driver's folders."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
