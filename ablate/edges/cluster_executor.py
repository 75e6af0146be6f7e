"""An executor over a Dask client whose futures resolve to what the local pool's would, with files and progress.

The driver's side of `cluster_worker`. Knows nothing of studies; who runs what is the scheduler's business.
"""

from __future__ import annotations

import concurrent.futures
import os
import pickle
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Executor, Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from distributed import Client, KilledWorker
from distributed.comm.core import CommClosedError

from ablate.edges import cluster_worker, parcels
from ablate.edges.cluster import connect
from ablate.edges.cluster_needs import Needs, needs_of
from ablate.edges.cluster_worker import Parcel, Ticket
from ablate.edges.engines import WorkerLost
from ablate.runs.halts import Stopped, Unavailable
from ablate.runs.journal import LOG, PROGRESS
from ablate.study import InputError, RunResult, RunSpec, digest

STOP_SECONDS = 0.25  # between two looks for the stop file
WATCH_SECONDS = 1.0  # between two looks at the list of workers
TELL_SECONDS = 5.0  # for the workers to answer: one that is frozen never does


@dataclass(eq=False)
class _Flight:
    """A cell that is out. `worker` is where it was last heard to begin, `heard` its progress from there."""

    key: str
    folder: Path = Path()
    log: Path = Path()
    ours: Future[Any] = field(default_factory=Future)
    theirs: Future[Any] | None = None
    worker: str = ""
    heard: list[str] = field(default_factory=list)
    written: int = 0  # lines in the driver's progress file: a cell that moves tells the same ones again


class ClusterExecutor(Executor):
    """`submit(execute, spec, context)` as to a local pool: files and progress appear in `context.folder(spec)`.

    Futures raise WorkerLost when the worker went away, Unavailable when the scheduler did or a worker would not do the
    cell as it is done here, and Stopped after `context.stop_file` appeared. A future runs, as `running()` has it, from
    when its cell has begun on a worker.
    """

    def __init__(self, address: str, workers: int, resources: Mapping[str, float]) -> None:
        self.address, self.workers, self.resources = address, workers, dict(resources)
        self._flights: dict[str, _Flight] = {}
        self._needs: dict[tuple[object, ...], Needs] = {}
        self._kept: dict[str, tuple[str, Path]] = {}  # by folder on a worker: which one, and the folder here
        self._stop_file: Path | None = None
        self._closed = threading.Event()
        self._client: Client | None = None
        self._there: Mapping[str, Any] = {}
        with suppress(Unavailable):  # the cells will say so
            self._connect()
            self._there = self._workers()
        threading.Thread(target=self._watch, daemon=True, name="cluster").start()

    @property
    def slots(self) -> int:
        """Cells to have out at once. One more than there are workers: none idles, and a cluster that adapts grows."""
        return self.workers or 1 + sum(
            self.resources.keys() <= each["resources"].keys() for each in self._there.values()
        )

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Send `fn(spec, context)`; of any other call, the folders among its arguments travel too. Never raises."""
        cell = bool(args) and isinstance(args[0], RunSpec)
        flight = _Flight(f"ablate-{uuid.uuid4().hex}")
        try:
            if cell:
                flight.folder, flight.log = args[1].folder(args[0]), args[1].log_file(args[0])
                self._send_cell(flight, fn, *args)
            else:
                flight.theirs = self._send(flight.key, cluster_worker.errand, *_packed(fn, args, kwargs))
        except (Unavailable, OSError, RuntimeError) as error:  # RuntimeError: the client was closed meanwhile
            flight.ours.set_exception(error if isinstance(error, Unavailable) else self._away())
            return flight.ours
        assert flight.theirs is not None
        flight.theirs.add_done_callback(partial(self._land, flight))
        return flight.ours

    def end(self, future: Future[Any]) -> None:
        """Kill the worker process that works at `future`, which then raises WorkerLost."""
        for flight in list(self._flights.values()):
            if flight.ours is future:
                if flight.worker:
                    self._tell(cluster_worker.end_process, to=[flight.worker], wait_s=0)
                self._end(flight, WorkerLost(f"worker {flight.worker} was ended"))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See `concurrent.futures.Executor`. Cells left out are asked to stop, since nobody waits for them."""
        if wait and not cancel_futures:
            concurrent.futures.wait([flight.ours for flight in self._flights.values()])
        self._closed.set()
        with suppress(Exception):
            self._forget()
        self._disconnect()

    # To the cluster

    def _send_cell(self, flight: _Flight, execute: Callable[..., RunResult], spec: RunSpec, context: Any) -> None:
        self._stop_file = context.stop_file
        self._reconnect()
        place = f"{spec.study}-{digest([socket.gethostname(), str(context.work)])[:8]}"
        ticket = Ticket(flight.key, self._session, place, self._needs_of(spec, context))
        self._flights[flight.key] = flight
        try:
            # pickled here: Dask would look into the settings for tasks of its own
            payload = pickle.dumps((execute, spec, context))
            flight.theirs = self._send(flight.key, cluster_worker.fly, payload, ticket)
        except BaseException:
            del self._flights[flight.key]
            raise

    def _needs_of(self, spec: RunSpec, context: Any) -> Needs:
        factories = [spec.settings[section]["factory"] for section in ("model", "data", "loss")]
        identity = (*factories, spec.settings["data"].get("file"), spec.data_digest)
        if identity not in self._needs:
            self._needs[identity] = needs_of(spec, data_root=context.data_root, study_dir=context.study_dir)
        return self._needs[identity]

    def _send(self, key: str, function: Callable[..., Any], *args: Any) -> Future[Any]:
        self._reconnect()
        assert self._client is not None
        executor = self._client.get_executor(pure=False, retries=0, resources=self.resources)
        sent: Future[Any] = executor.submit(function, *args, key=key)
        return sent

    def _reconnect(self) -> None:
        if self._client is None or self._client.status != "running":
            self._connect()

    def _connect(self) -> None:
        """Anew: a scheduler that was started again knows nothing of us."""
        self._disconnect()
        try:
            client = connect(self.address)
        except InputError as error:
            raise Unavailable(f"the scheduler at {self.address} does not answer") from error
        self._session = f"ablate-{uuid.uuid4().hex[:8]}"
        client.subscribe_topic(self._session, self._hear)
        self._client = client

    def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with suppress(Exception):
                client.close(timeout=5)

    # From the cluster

    def _hear(self, event: tuple[float, Mapping[str, Any]]) -> None:
        """A worker says that a cell has begun, or that it is alive, with the new lines of its progress."""
        news = event[1]
        flight = self._flights.get(news["cell"])
        if flight is None or flight.ours.done():
            return
        if news["event"] == "begun":
            flight.worker, flight.heard = news["worker"], []
            if not flight.ours.running():  # or it has moved to another worker
                flight.ours.set_running_or_notify_cancel()
        flight.heard += news.get("lines", "").splitlines()
        with suppress(OSError):  # a full disk: the lines come again with the result
            _write_progress(flight)

    def _land(self, flight: _Flight, theirs: Future[Any]) -> None:
        """Pass on how it ended, unless that is known already."""
        self._flights.pop(flight.key, None)
        if flight.ours.done():
            return
        try:
            answer = theirs.result()
            outcome = self._unpacked(flight, answer) if isinstance(answer, Parcel) else answer
        except (CancelledError, CommClosedError):
            flight.ours.set_exception(self._away())
        except KilledWorker as error:
            flight.ours.set_exception(WorkerLost(f"workers died at it, {error.last_worker.address} the last"))
        except ImportError as error:  # not of the cell, which would have failed: of what came before it
            flight.ours.set_exception(Unavailable(f"a worker cannot import what it needs: {error}"))
        except Exception as error:
            flight.ours.set_exception(error)
        else:
            flight.ours.set_result(outcome)

    def _unpacked(self, flight: _Flight, parcel: Parcel) -> RunResult:
        try:
            flight.heard = parcel.progress.splitlines()
            _write_progress(flight)
            self._kept[parcel.home] = (flight.worker, flight.folder)
            if not parcel.files:
                return parcel.result
            out = parcels.unpack(parcel.files, flight.folder / "out")
            if (out / LOG).is_file():
                flight.log.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(out / LOG, flight.log)
            return replace(parcel.result, artifacts=out)
        except OSError as error:
            raise Unavailable(f"{error.strerror}: {error.filename or flight.folder}") from error

    def _end(self, flight: _Flight, error: Exception) -> None:
        """Let go of a cell, and tell the scheduler so."""
        self._flights.pop(flight.key, None)
        with suppress(InvalidStateError):
            flight.ours.set_exception(error)
        if flight.theirs is not None:
            flight.theirs.cancel()

    def _away(self) -> Unavailable:
        return Unavailable(f"the scheduler at {self.address} went away")

    # What nobody submits

    def _watch(self) -> None:
        looked = time.monotonic()
        while not self._closed.wait(STOP_SECONDS):
            with suppress(Exception):  # the connection failed: the cells that it carried say so themselves
                self._pass_on_stop()
                if time.monotonic() - looked > WATCH_SECONDS:
                    looked = time.monotonic()
                    at_work = {flight: flight.worker for flight in list(self._flights.values()) if flight.worker}
                    self._there = self._workers()  # later: a worker that was heard of is known by then
                    self._miss(at_work)
                    self._forget()

    def _workers(self) -> Mapping[str, Any]:
        if self._client is None:
            raise self._away()
        workers: Mapping[str, Any] = self._client.scheduler_info(n_workers=-1)["workers"]
        return workers

    def _miss(self, at_work: Mapping[_Flight, str]) -> None:
        """A cell whose worker is gone: no other may be there to find out. One that was told to close hands it on."""
        assert self._client is not None
        for flight, worker in at_work.items():
            if worker not in self._there and flight.worker == worker:
                if cluster_worker.closed(self._client.get_events(worker)):
                    flight.worker = ""
                else:
                    self._end(flight, WorkerLost(f"worker {worker} was lost"))

    def _pass_on_stop(self) -> None:
        if self._stop_file is None or not self._stop_file.exists() or not self._flights:
            return
        for flight in list(self._flights.values()):
            if not flight.worker:
                self._end(flight, Stopped())
        if self._flights:
            self._tell(cluster_worker.halt, self._session)

    def _forget(self) -> None:
        """Have workers remove the folders of cells whose folder here is gone, since they are recorded."""
        done = {home: worker for home, (worker, folder) in list(self._kept.items()) if not folder.exists()}
        for worker in set(done.values()) & self._there.keys():
            self._tell(cluster_worker.forget, [home for home, where in done.items() if where == worker], to=[worker])
        for home in done:
            del self._kept[home]

    def _tell(
        self, what: Callable[..., Any], *args: Any, to: list[str] | None = None, wait_s: float = TELL_SECONDS
    ) -> None:
        """Have workers, all if none are named, call `what`."""
        client = self._client

        def tell() -> None:
            with suppress(Exception):
                if client is not None:
                    client.run(what, *args, workers=to, on_error="ignore")

        thread = threading.Thread(target=tell, daemon=True)
        thread.start()
        thread.join(wait_s)


def _packed(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[bytes, list[Any]]:
    folders = [parcels.pack(value) for value in args if isinstance(value, Path)]
    rest = tuple(value for value in args if not isinstance(value, Path))
    return pickle.dumps((fn, rest, kwargs)), folders


def _write_progress(flight: _Flight) -> None:
    """Add to the driver's progress file the lines it does not have; touch it in any case: a sign of life."""
    flight.folder.mkdir(parents=True, exist_ok=True)
    path = flight.folder / PROGRESS
    with path.open("a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in flight.heard[flight.written :])
    os.utime(path)
    flight.written = max(flight.written, len(flight.heard))
