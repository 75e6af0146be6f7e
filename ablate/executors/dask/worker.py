"""Run a cell on a Dask worker, in a process of its own.

The process writes to the study's work folder where that is shared with the driver's machine, and else to a scratch
folder whose files are sent back as bytes. Knows nothing of tracking.
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

from ablate.executors.dask.requirements import AnyNeeds, faults
from ablate.executors.dask.script_requirements import ScriptNeeds, folder_here
from ablate.executors.local import Engine, WorkerLost
from ablate.study import RunResult, RunSpec, components
from ablate.trainers.errors import SAVE_STATE_S, Stopped, Unavailable
from ablate.trainers.progress_log import PROGRESS, WORKER

POLL_SECONDS = 0.5  # between two checks of a cell, and of whether its result is still needed
MAX_CLIENT_TRIES = 3
PROBE = "shared"  # a file in the study's work folder: a worker that reads the driver's text in it shares the folder
CLOSING = (Status.closing, Status.closing_gracefully, Status.closed)

_one_cell = threading.Lock()  # for a worker with several threads


@dataclass(frozen=True)
class CellRequest:
    """One submission of a cell. `session` is the name of the topic that the driver subscribes to, and of the event that
    it sets to stop the cells."""

    key: str  # of the Dask task
    session: str
    probe: str  # the text that the driver has written into PROBE
    engine: Engine  # starts the process in which the cell runs


def run_cell(payload: bytes, needs: AnyNeeds, request: CellRequest) -> tuple[RunResult, bytes]:
    """Run the pickled (execute, spec, context). Returns the result and, where the work folder is not shared, its files.

    Raises WorkerLost when an earlier worker was lost at this task or the cell's process died, Unavailable when this
    worker has not what the cell needs, and whatever `execute` raises. A worker that closes has Dask run the cell on
    another one.
    """
    components.importable([Path.cwd()])
    with _one_cell:
        task = _Task(request)
        task.announce()
        execute, spec, context = task.unpickled(payload)
        if missing := list(faults(needs)):
            raise Unavailable(f"{task.name} {'; '.join(missing)}")
        if isinstance(needs, ScriptNeeds):
            context = replace(context, study_dir=folder_here(needs.study_dir))
        with task.local_context(spec, context) as (context, shared):
            progress_file = None if shared else context.folder(spec) / PROGRESS
            result: RunResult = task.run(
                execute, spec, context, stop_file=context.stop_file, progress_file=progress_file
            )
            if shared or result.artifacts is None:
                return result, b""
            return replace(result, artifacts=None), packed(result.artifacts)


def run_call(payload: bytes, folders: Sequence[bytes], request: CellRequest) -> Any:
    """Make the pickled call (function, arguments, keywords); the packed `folders` are its first arguments."""
    with _one_cell, tempfile.TemporaryDirectory() as scratch:
        task = _Task(request)
        function, arguments, keywords = task.unpickled(payload)
        paths = [unpacked(content, Path(scratch, str(i))) for i, content in enumerate(folders)]
        return task.run(function, *paths, *arguments, stop_file=Path(scratch, "stop"), **keywords)


class _Task:
    """The Dask task that this thread runs."""

    def __init__(self, request: CellRequest) -> None:
        self.request, self.worker, self.client = request, get_worker(), _client()
        self.name = f"worker {self.worker.address} on {socket.gethostname()}"

    def announce(self) -> None:
        """Log that this worker starts the cell. Raises WorkerLost where an earlier worker started it and was not
        closed in good order."""
        for _, last in self.client.get_events(self.request.key)[-1:]:
            if not _was_told_to_close(self.client.get_events(last["worker"])):
                raise WorkerLost(f"{last['name']} was lost")
        self._log_event(self.request.session, self.request.key)

    def _log_event(self, *topics: str) -> None:
        event = {"cell": self.request.key, "worker": self.worker.address, "name": self.name}
        self.worker.log_event(list(topics), event)

    def unpickled(self, payload: bytes) -> Any:
        try:
            return pickle.loads(payload)  # from the driver, which may run code here by design
        except (ImportError, AttributeError) as error:
            raise Unavailable(f"{self.name}: {error}") from None

    @contextmanager
    def local_context(self, spec: RunSpec, context: Any) -> Iterator[tuple[Any, bool]]:
        """The context with the folders that the cell uses on this machine, and whether the driver shares them."""
        with ExitStack() as stack:
            try:
                scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=self.worker.local_directory)))
                shared = _is_shared(context.work, self.request.probe)
                context = replace(context, stop=scratch / "stop")
                if not shared:
                    context = replace(context, work=scratch, logs=scratch)
                stack.enter_context(self._locked(context.folder(spec)))
            except OSError as error:
                raise Unavailable(f"{self.name}: {error}") from error
            yield context, shared

    @contextmanager
    def _locked(self, folder: Path) -> Iterator[None]:
        """Wait until no other cell uses `folder`: one whose result is no longer needed may take seconds to stop."""
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "lock")
        while not lock.is_locked:
            try:
                lock.acquire(timeout=POLL_SECONDS)
            except Timeout:
                if not self._is_needed() or self._stop_requested():
                    raise Stopped from None
        try:
            yield
        finally:
            with suppress(OSError):
                (folder / WORKER).unlink()  # the process that it names has ended
            lock.release()

    def run(
        self,
        function: Callable[..., Any],
        *args: Any,
        stop_file: Path,
        progress_file: Path | None = None,
        **keywords: Any,
    ) -> Any:
        """Call the function in a process of its own, which `stop_file` asks to stop, and which is killed if it does
        not.

        Every change of the progress file is logged as an event, which the driver takes as a sign of life.
        """
        multiprocessing.current_process().daemon = False  # under a nanny it is True, and forbids child processes
        try:
            with self.request.engine(1) as pool:
                future = pool.submit(function, *args, **keywords)
                self._wait(future, stop_file, progress_file)
                return future.result()
        except Exception:
            if self.worker.status in CLOSING:
                raise Reschedule from None
            raise

    def _wait(self, future: Future[Any], stop_file: Path, progress_file: Path | None) -> None:
        deadline, modified_ns = float("inf"), 0
        while not wait([future], timeout=POLL_SECONDS).done:
            modified_before, modified_ns = modified_ns, _modified_ns(progress_file)
            if modified_ns != modified_before:
                self._log_event(self.request.session)
            needed = self._is_needed()
            if not needed or self._stop_requested():
                with suppress(OSError):  # a full disk: the process is then killed
                    stop_file.touch()
            deadline = float("inf") if needed else min(deadline, time.monotonic() + SAVE_STATE_S)
            if time.monotonic() > deadline:
                raise WorkerLost("the cell did not stop when nobody waited for it any more")

    def _is_needed(self) -> bool:
        """False once the driver has cancelled the task or died, or this worker was told to close."""
        if self.worker.status in CLOSING:
            return False
        try:
            processing = self.client.processing([self.worker.address])
        except Exception:  # the scheduler is away; Dask then closes this worker, or reconnects it
            return True
        return any(self.request.key in keys for keys in processing.values())

    def _stop_requested(self) -> bool:
        with suppress(Exception):
            return bool(Event(self.request.session, self.client).is_set())
        return False


def _client() -> Client:
    """This worker's client. It raises AssertionError when another message comes together with the scheduler's first."""
    for _ in range(MAX_CLIENT_TRIES - 1):
        with suppress(AssertionError):
            return get_client()
    return get_client()


def _was_told_to_close(events: Sequence[tuple[float, Any]]) -> bool:
    """Whether a worker was told to close, by the scheduler's events of it: it was preempted and not killed."""
    return any(isinstance(event, dict) and event.get("action") == "closing-worker" for _, event in events)


def _is_shared(work: Path, probe: str) -> bool:
    """Whether `work` on this machine is the folder in which the driver has written its probe."""
    try:
        return (work / PROBE).read_text(encoding="utf-8") == probe and os.access(work, os.W_OK)
    except OSError:
        return False


def _modified_ns(file: Path | None) -> int:
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
    """Write the packed files below `folder`, wherever their names point. Returns `folder`. Raises OSError."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(folder)
    return folder
