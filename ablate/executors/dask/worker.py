"""A cell on a Dask worker: a process of its own, in the study's work folder where this machine sees it.

Elsewhere it works in a scratch folder, and what it leaves goes back as bytes. Knows nothing of tracking.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import pickle
import socket
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from distributed import Client, Event, Reschedule, Status, get_client, get_worker
from filelock import FileLock, Timeout

from ablate.executors.dask.requirements import Needs, faults
from ablate.executors.local import Engine, WorkerLost
from ablate.study import RunResult, RunSpec, components
from ablate.trainers.errors import SAVE_STATE_S, Stopped, Unavailable
from ablate.trainers.progress_log import PROGRESS, WORKER

LOOK_SECONDS = 0.5  # between two looks at a cell and at whether it is still wanted
TRIES = 3  # to reach the scheduler from a worker
PROBE = "shared"  # a file in the study's work folder, with a text that only those read who see the same folder
CLOSING = (Status.closing, Status.closing_gracefully, Status.closed)

_one_cell = threading.Lock()  # for a worker with several threads


@dataclass(frozen=True)
class CellRequest:
    """One attempt at a cell. `session` names what the driver hears and the event by which it asks cells to stop."""

    key: str  # of the Dask task
    session: str
    probe: str  # what the driver has written into PROBE
    engine: Engine  # makes the process in which the cell runs


def run_cell(payload: bytes, needs: Needs, ticket: CellRequest) -> tuple[RunResult, bytes]:
    """Run the pickled (execute, spec, context). The bytes are the result's files, where the driver sees none of them.

    Raises WorkerLost when an earlier worker was lost at this task or the cell's process died, Unavailable when this
    worker cannot do it as the driver would, and whatever `execute` raises. A worker that closes gives the cell back.
    """
    components.importable([Path.cwd()])
    with _one_cell:
        task = _Task(ticket)
        task.begin()
        execute, spec, context = task.unpickled(payload)
        if wrong := list(faults(needs)):
            raise Unavailable(f"{task.name} {'; '.join(wrong)}")
        with task.home(spec, context) as (context, shared):
            progress = None if shared else context.folder(spec) / PROGRESS
            result: RunResult = task.run(execute, spec, context, stop=context.stop_file, progress=progress)
            if shared or result.artifacts is None:
                return result, b""
            return replace(result, artifacts=None), packed(result.artifacts)


def run_call(payload: bytes, folders: Sequence[bytes], ticket: CellRequest) -> Any:
    """Call the pickled (function, arguments, keywords); the packed `folders` come first among the arguments."""
    with _one_cell, tempfile.TemporaryDirectory() as scratch:
        task = _Task(ticket)
        function, arguments, keywords = task.unpickled(payload)
        places = [unpacked(content, Path(scratch, str(i))) for i, content in enumerate(folders)]
        return task.run(function, *places, *arguments, stop=Path(scratch, "stop"), **keywords)


class _Task:
    """The Dask task that this thread is at."""

    def __init__(self, ticket: CellRequest) -> None:
        self.ticket, self.worker, self.client = ticket, get_worker(), _client()
        self.name = f"worker {self.worker.address} on {socket.gethostname()}"

    def begin(self) -> None:
        """Tell that the cell begins here. A worker that began it before and did not close in good order was lost."""
        for _, last in self.client.get_events(self.ticket.key)[-1:]:
            if not _closed(self.client.get_events(last["worker"])):
                raise WorkerLost(f"{last['name']} was lost")
        self._tell(self.ticket.session, self.ticket.key)

    def _tell(self, *topics: str) -> None:
        news = {"cell": self.ticket.key, "worker": self.worker.address, "name": self.name}
        self.worker.log_event(list(topics), news)

    def unpickled(self, payload: bytes) -> Any:
        try:
            return pickle.loads(payload)  # from the driver, which may run code here by design
        except (ImportError, AttributeError) as error:
            raise Unavailable(f"{self.name}: {error}") from None

    @contextmanager
    def home(self, spec: RunSpec, context: Any) -> Iterator[tuple[Any, bool]]:
        """The context in which the cell works here, and whether it does so in the folder that the driver sees."""
        with ExitStack() as stack:
            try:
                scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=self.worker.local_directory)))
                shared = _sees(context.work, self.ticket.probe)
                context = replace(context, stop=scratch / "stop")
                if not shared:
                    context = replace(context, work=scratch, logs=scratch)
                stack.enter_context(self._alone_in(context.folder(spec)))
            except OSError as error:
                raise Unavailable(f"{self.name}: {error}") from error
            yield context, shared

    @contextmanager
    def _alone_in(self, folder: Path) -> Iterator[None]:
        """Wait until no cell is at work in `folder`: one that nobody waits for may take seconds to stop."""
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "lock")
        while not lock.is_locked:
            try:
                lock.acquire(timeout=LOOK_SECONDS)
            except Timeout:
                if not self._wanted() or self._asked_to_stop():
                    raise Stopped from None
        try:
            yield
        finally:
            with suppress(OSError):
                (folder / WORKER).unlink()  # its process is no longer there
            lock.release()

    def run(
        self, function: Callable[..., Any], *args: Any, stop: Path, progress: Path | None = None, **keywords: Any
    ) -> Any:
        """Call it in a process of its own, which is asked to stop by the file `stop` and ended when it does not.

        Every change of the file `progress` is told to the driver as a sign of life.
        """
        multiprocessing.current_process().daemon = False  # under a nanny it is one, which may start no process
        try:
            with self.ticket.engine(1) as pool:
                future = pool.submit(function, *args, **keywords)
                self._follow(future, stop, progress)
                return future.result()
        except Exception:
            if self.worker.status in CLOSING:
                raise Reschedule from None
            raise

    def _follow(self, future: Future[Any], stop: Path, progress: Path | None) -> None:
        latest, changed = float("inf"), 0
        while not wait([future], timeout=LOOK_SECONDS).done:
            before, changed = changed, _changed(progress)
            if changed != before:
                self._tell(self.ticket.session)
            unwanted = not self._wanted()
            if unwanted or self._asked_to_stop():
                with suppress(OSError):  # a full disk: then it is ended
                    stop.touch()
            latest = min(latest, time.monotonic() + SAVE_STATE_S) if unwanted else float("inf")
            if time.monotonic() > latest:
                raise WorkerLost("the cell did not stop when nobody waited for it any more")

    def _wanted(self) -> bool:
        """Not once the driver has let go of the task or died, or this worker was told to close."""
        if self.worker.status in CLOSING:
            return False
        try:
            mine = self.client.processing([self.worker.address])
        except Exception:  # the scheduler is away; Dask then closes this worker, or gets another connection
            return True
        return any(self.ticket.key in keys for keys in mine.values())

    def _asked_to_stop(self) -> bool:
        with suppress(Exception):
            return bool(Event(self.ticket.session, self.client).is_set())
        return False


def _client() -> Client:
    """Of this worker. News that come together with the scheduler's greeting make it raise AssertionError."""
    for _ in range(TRIES - 1):
        with suppress(AssertionError):
            return get_client()
    return get_client()


def _closed(events: Sequence[tuple[float, Any]]) -> bool:
    """Whether a worker, by the events that the scheduler knows of it, was told to close: preempted, not killed."""
    return any(isinstance(what, dict) and what.get("action") == "closing-worker" for _, what in events)


def _sees(work: Path, probe: str) -> bool:
    """Whether the folder of this name is here the one in which the driver has left its probe."""
    try:
        return (work / PROBE).read_text(encoding="utf-8") == probe and os.access(work, os.W_OK)
    except OSError:
        return False


def _changed(file: Path | None) -> int:
    with suppress(OSError):
        return file.stat().st_mtime_ns if file else 0
    return 0


# Folders as bytes


def packed(folder: Path) -> bytes:
    """Every file below `folder`, as a zip; links are left out."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", strict_timestamps=False) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                archive.write(path, path.relative_to(folder))
    return content.getvalue()


def unpacked(content: bytes, folder: Path) -> Path:
    """Write what was packed below `folder`, wherever its names point. Returns `folder`. Raises OSError."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(folder)
    return folder
