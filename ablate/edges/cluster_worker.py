"""A cell on a Dask worker: in a folder of the worker's own, its progress told as it goes, its files sent back as bytes.

Runs in worker processes that the driver shares no disk with. Knows nothing of tracking or of who else is at work.
"""

from __future__ import annotations

import functools
import os
import pickle
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ablate.design import components
from ablate.edges import parcels
from ablate.edges.cluster_needs import Needs, faults
from ablate.edges.engines import WorkerLost
from ablate.runs.halts import Unavailable
from ablate.runs.journal import PROGRESS
from ablate.study import RunResult

TELL_SECONDS = 0.5  # between two looks at a cell's progress file
KEPT_SECONDS = 30 * 86400.0  # for a study that goes on after its driver's or this worker's death


@dataclass(frozen=True)
class Ticket:
    """One attempt at a cell."""

    key: str  # of the Dask task
    session: str  # of the driver's executor: also the topic on which progress is told
    place: str  # folder for this study of this driver, below the worker's work folder
    needs: Needs


@dataclass(frozen=True)
class Parcel:
    """A result on its way back: `files` are its artifacts, `home` is the folder the worker still keeps."""

    result: RunResult
    files: Mapping[str, bytes]
    progress: str
    home: str


# One at a time: torch's generator and its number of threads belong to the process.
_one_cell = threading.Lock()
_stops: dict[str, tuple[str, Path]] = {}  # session and stop file of the cell at work, by task key


def fly(payload: bytes, ticket: Ticket) -> Parcel:
    """Run the pickled (execute, spec, context) here.

    Raises WorkerLost when an earlier worker was lost at this task, Unavailable when this worker cannot do it as the
    driver would, and whatever `execute` raises. A worker that is closing gives the cell back to the scheduler.
    """
    from distributed import Reschedule, get_worker

    components.importable([Path.cwd()])
    worker = get_worker()
    with _one_cell:
        _quieten_collector()
        _begin(worker, ticket)
        execute, spec, context = _unpickled(payload, worker)
        if wrong := list(faults(ticket.needs)):
            raise Unavailable(f"{_name(worker)} {'; '.join(wrong)}")
        with _home(ticket.place, context.folder(spec).name) as home:
            context = replace(context, work=home, logs=home)
            with _Wire(worker, ticket, context.folder(spec) / PROGRESS, home / "stop") as wire:
                try:
                    result = execute(spec, context)
                except Exception:
                    if wire.leaving:
                        raise Reschedule from None
                    raise
            files = parcels.pack(result.artifacts) if result.artifacts else {}
            return Parcel(replace(result, artifacts=None), files, wire.text, str(home))


def _quieten_collector() -> None:
    """Leave Dask's own code out of garbage collections, for the rest of this process.

    It lets other threads in while `ast.parse` makes its tree, and where one of them parses too (any
    `inspect.signature` may), CPython 3.11 raises SystemError: measured, 3 of 42 cells beside a busy event loop.
    """
    with suppress(ImportError):  # it has had another name
        from distributed.gc import disable_gc_diagnosis

        disable_gc_diagnosis(force=True)


def errand(payload: bytes, folders: Sequence[Mapping[str, bytes]]) -> Any:
    """Call the pickled (function, arguments, keywords); the `folders` come first among the arguments."""
    function, arguments, keywords = pickle.loads(payload)  # from the driver, which may run code here by design
    with _one_cell, tempfile.TemporaryDirectory() as scratch:
        places = [parcels.unpack(files, Path(scratch, str(i))) for i, files in enumerate(folders)]
        return function(*places, *arguments, **keywords)


def halt(session: str) -> None:
    """Ask the cell of this session that is at work in this process to stop at its next safe point."""
    for owner, file in list(_stops.values()):
        if owner == session:
            file.touch()


def forget(homes: Sequence[str]) -> None:
    """Remove folders of cells that the driver has recorded."""
    root = _root()
    for home in map(Path, homes):
        if home.is_relative_to(root):
            shutil.rmtree(home, ignore_errors=True)


def end_process() -> None:
    """End this worker at once: a cell in it hangs."""
    os.kill(os.getpid(), signal.SIGKILL)


def _unpickled(payload: bytes, worker: Any) -> tuple[Callable[..., RunResult], Any, Any]:
    try:
        execute, spec, context = pickle.loads(payload)  # from the driver, which may run code here by design
    except (ImportError, AttributeError) as error:
        raise Unavailable(f"{_name(worker)}: {error}") from None
    return execute, spec, context


def _name(worker: Any) -> str:
    return f"worker {worker.address} on {socket.gethostname()}"


# What the driver hears


def _begin(worker: Any, ticket: Ticket) -> None:
    """Tell that the cell begins here. A worker that began it before and did not close in good order was lost."""
    from distributed.utils import sync

    topic = f"{ticket.session}/{ticket.key}"
    for _, last in sync(worker.loop, worker.scheduler.events, topic=topic)[-1:]:
        if not closed(sync(worker.loop, worker.scheduler.events, topic=last["worker"])):
            raise WorkerLost(f"worker {last['worker']} on {last['host']} was lost")
    news = {"event": "begun", "cell": ticket.key, "worker": worker.address}
    news |= {"pid": os.getpid(), "host": socket.gethostname(), "started": time.time()}
    worker.log_event([ticket.session, topic], news)


def closed(events: Sequence[tuple[float, Any]]) -> bool:
    """Whether a worker, by the events that the scheduler knows of it, was told to close: preempted, not killed."""
    return any(isinstance(what, dict) and what.get("action") == "closing-worker" for _, what in events)


class _Wire(threading.Thread):
    """Tells the driver of every new line and sign of life; stops a cell that nobody waits for any more."""

    def __init__(self, worker: Any, ticket: Ticket, progress: Path, stop: Path) -> None:
        super().__init__(daemon=True)
        self.worker, self.ticket, self.progress, self.stop = worker, ticket, progress, stop
        self.leaving = False  # the worker is closing
        self.text = ""
        self._modified_ns = 0
        self._ended = threading.Event()

    def __enter__(self) -> _Wire:
        self.stop.unlink(missing_ok=True)
        self.progress.unlink(missing_ok=True)
        _stops[self.ticket.key] = (self.ticket.session, self.stop)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()
        del _stops[self.ticket.key]
        self._tell()

    def run(self) -> None:
        while not self._ended.wait(TELL_SECONDS):
            self._tell()
            if self._unwanted():
                self.stop.touch()

    def _tell(self) -> None:
        try:
            modified_ns = self.progress.stat().st_mtime_ns
            text = self.progress.read_text(encoding="utf-8")
        except OSError:
            return
        if modified_ns == self._modified_ns:
            return
        self._modified_ns = modified_ns
        whole = text[: text.rfind("\n") + 1]
        new, self.text = whole[len(self.text) :], whole
        self.worker.log_event(self.ticket.session, {"event": "alive", "cell": self.ticket.key, "lines": new})

    def _unwanted(self) -> bool:
        """The driver has let go of the task (or died), or this worker was told to close."""
        from distributed.core import Status

        self.leaving = self.worker.status in (Status.closing, Status.closing_gracefully, Status.closed)
        task = self.worker.state.tasks.get(self.ticket.key)
        return self.leaving or task is None or task.state == "cancelled"


# Where a cell works


def _root() -> Path:
    """$ABLATE_WORK, or a folder of this user's own among the temporary ones."""
    if named := os.environ.get("ABLATE_WORK"):
        return Path(named).resolve()
    root = Path(tempfile.gettempdir(), f"ablate-{os.getuid()}").resolve()
    root.mkdir(mode=0o700, exist_ok=True)
    if root.stat().st_uid != os.getuid():  # somebody else made it to see or change what we write
        raise PermissionError(f"{root} belongs to somebody else; set ABLATE_WORK")
    return root


@functools.cache  # once a process
def sweep(root: Path) -> None:
    """Remove folders of cells that nobody came back to, since their driver or worker died and others went on."""
    for home in root.glob("*/*"):
        with suppress(OSError, Timeout), FileLock(home / "lock", timeout=0):
            ages = [time.time() - path.stat().st_mtime for path in home.rglob("*") if path.name != "lock"]
            if min(ages, default=0.0) > KEPT_SECONDS:
                shutil.rmtree(home)


@contextmanager
def _home(place: str, cell: str) -> Iterator[Path]:
    """The cell's folder, with the checkpoint of an earlier attempt if one got so far here.

    Where a worker that the scheduler has given up is still at it, a fresh one, gone afterwards.
    """
    root = _root()
    home = root / place / cell
    home.mkdir(parents=True, exist_ok=True)
    sweep(root)
    lock = FileLock(home / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        with tempfile.TemporaryDirectory(dir=home.parent, prefix=f"{cell}-") as fresh:
            yield Path(fresh)
        return
    try:
        yield home
    finally:
        lock.release()
