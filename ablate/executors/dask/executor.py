"""An executor over a Dask client whose futures resolve to what the local pool's would.

The driver's side of `cluster_worker`. Knows nothing of studies; who runs what is the scheduler's business.
"""

from __future__ import annotations

import concurrent.futures
import pickle
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Executor, Future, InvalidStateError
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from distributed import Client, Event, KilledWorker
from distributed.comm.core import CommClosedError

from ablate.executors.dask import worker
from ablate.executors.dask.cluster import GPU, connect
from ablate.executors.dask.requirements import Needs, needs_of
from ablate.executors.dask.worker import PROBE, CellRequest, packed, unpacked
from ablate.executors.local import Engine, WorkerLost, pool_for
from ablate.study import InputError, RunResult, RunSpec
from ablate.trainers.atomic_write import write_whole
from ablate.trainers.errors import Stopped, Unavailable
from ablate.trainers.progress_log import LOG, PROGRESS

LOOK_SECONDS = 0.5  # between two looks for the stop file and at the list of workers


class _Cell(Future[Any]):
    """A cell that is out. It runs, as `running()` has it, while the worker that has begun it is there."""

    def __init__(self) -> None:
        super().__init__()
        self.key = f"ablate-{uuid.uuid4().hex}"
        self.folder, self.log = Path(), Path()
        self.theirs: Future[Any] | None = None
        self.worker = ""  # where it was last heard to be at work
        self.at_work = False

    def running(self) -> bool:
        return self.at_work and not self.done()

    def end(self, error: BaseException) -> None:
        """Raise `error`, unless it has ended, and let go of the task."""
        with suppress(InvalidStateError):
            self.set_exception(error)
        if self.theirs is not None:
            self.theirs.cancel()


class ClusterExecutor(Executor):
    """`submit(execute, spec, context)` as to a local pool: what a cell leaves is in `context.folder(spec)`.

    Futures raise WorkerLost when the worker or the cell's process on it went away, Unavailable when the scheduler did
    or a worker would not do the cell as it is done here, and Stopped after `context.stop_file` appeared. `engine` makes
    the process on the worker.
    """

    def __init__(self, address: str, workers: int, resources: Mapping[str, float], engine: Engine) -> None:
        self.address, self.workers, self.resources, self.engine = address, workers, dict(resources), engine
        self._cells: dict[str, _Cell] = {}
        self._needs: dict[tuple[object, ...], Needs] = {}
        self._probe = uuid.uuid4().hex
        self._work: Path | None = None
        self._stop_file: Path | None = None
        self._closed = threading.Event()
        self._client: Client | None = None
        self._session = ""
        self._there: Mapping[str, Any] = {}
        with suppress(Unavailable):  # the cells will say so
            self._there = self._workers(self._connected())
        threading.Thread(target=self._watch, daemon=True, name="cluster").start()

    @property
    def slots(self) -> int:
        """Cells to have out at once. One more than there are workers: none idles, and a cluster that adapts grows."""
        return self.workers or 1 + sum(
            self.resources.keys() <= each["resources"].keys() for each in self._there.values()
        )

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Send `fn(spec, context)`; of any other call, the folders among its arguments travel too. Never raises."""
        cell = _Cell()
        try:
            if args and isinstance(args[0], RunSpec):
                self._send_cell(cell, fn, *args)
            else:
                self._send(cell, worker.run_call, *_packed(fn, args, kwargs))
        except (Unavailable, OSError, RuntimeError) as error:  # RuntimeError: the client was closed meanwhile
            self._cells.pop(cell.key, None)
            cell.set_exception(_of_the_disk(error) or self._away())
        return cell

    def end(self, future: Future[Any]) -> None:
        """Have the worker kill the process that works at `future`, which then raises WorkerLost."""
        if isinstance(future, _Cell):
            future.end(WorkerLost(f"its process on {future.worker or 'a worker'} was ended"))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See `concurrent.futures.Executor`. Cells left out are asked to stop, since nobody waits for them."""
        if wait and not cancel_futures:
            concurrent.futures.wait(list(self._cells.values()))
        self._closed.set()
        if self._work is not None:
            with suppress(OSError):
                (self._work / PROBE).unlink()
        with suppress(Exception):
            Event(self._session, self._client).clear()
        self._disconnect()

    # To the cluster

    def _send_cell(self, cell: _Cell, execute: Callable[..., RunResult], spec: RunSpec, context: Any) -> None:
        cell.folder, cell.log = context.folder(spec), context.log_file(spec)
        self._stop_file = context.stop_file
        if self._work is None:
            write_whole(context.work / PROBE, [self._probe.encode()])
            self._work = context.work
        # pickled here: Dask would look into the settings for tasks of its own
        self._send(cell, worker.run_cell, pickle.dumps((execute, spec, context)), self._needs_of(spec, context))

    def _needs_of(self, spec: RunSpec, context: Any) -> Needs:
        factories = [spec.settings[section]["factory"] for section in ("model", "data", "loss")]
        identity = (*factories, spec.settings["data"].get("file"), spec.data_digest)
        if identity not in self._needs:
            self._needs[identity] = needs_of(spec, data_root=context.data_root, study_dir=context.study_dir)
        return self._needs[identity]

    def _send(self, cell: _Cell, function: Callable[..., Any], *args: Any) -> None:
        client = self._connected()
        ticket = CellRequest(cell.key, self._session, self._probe, self.engine)
        self._cells[cell.key] = cell  # before it can be heard of
        executor = client.get_executor(pure=False, retries=0, resources=self.resources)
        cell.theirs = executor.submit(function, *args, ticket, key=cell.key)
        cell.theirs.add_done_callback(partial(self._land, cell))

    def _connected(self) -> Client:
        """The client, a new one where the scheduler went away: started again, it knows nothing of us."""
        if self._client is None or self._client.status != "running":
            self._disconnect()
            try:
                self._client = connect(self.address)
            except InputError as error:
                raise Unavailable(f"the scheduler at {self.address} does not answer") from error
            self._session = f"ablate-{uuid.uuid4().hex}"
            self._client.subscribe_topic(self._session, self._hear)
        return self._client

    def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with suppress(Exception):
                client.close(timeout=5)

    def _away(self) -> Unavailable:
        return Unavailable(f"the scheduler at {self.address} went away")

    # From the cluster

    def _hear(self, event: tuple[float, Mapping[str, Any]]) -> None:
        """A worker says that a cell has begun or is alive: its progress file, which the driver looks at, shows it."""
        cell = self._cells.get(event[1]["cell"])
        if cell is not None and not cell.done():
            cell.worker, cell.at_work = event[1]["worker"], True
            with suppress(OSError):  # a full disk
                cell.folder.mkdir(parents=True, exist_ok=True)
                (cell.folder / PROGRESS).touch()

    def _land(self, cell: _Cell, theirs: Future[Any]) -> None:
        """Pass on how it ended, unless that is known already."""
        self._cells.pop(cell.key, None)
        if cell.done():
            return
        try:
            outcome = theirs.result()
            cell.set_result(_unpacked(cell, *outcome) if cell.log.name else outcome)
        except (CancelledError, CommClosedError):
            cell.end(self._away())
        except KilledWorker as error:
            cell.end(WorkerLost(f"workers died at it, {error.last_worker.address} the last"))
        except ImportError as error:  # not of the cell, which would have failed: of what came before it
            cell.end(Unavailable(f"a worker cannot import what it needs: {error}"))
        except Exception as error:
            cell.end(error)

    # What nobody submits

    def _watch(self) -> None:
        while not self._closed.wait(LOOK_SECONDS):
            client = self._client
            with suppress(Exception):  # the connection failed: the cells that it carried say so themselves
                if client is not None:
                    self._pass_on_stop(client)
                    self._there = self._workers(client)
                    for cell in list(self._cells.values()):
                        cell.at_work = cell.worker in self._there

    def _workers(self, client: Client) -> Mapping[str, Any]:
        workers: Mapping[str, Any] = client.scheduler_info(n_workers=-1)["workers"]
        return workers

    def _pass_on_stop(self, client: Client) -> None:
        if self._stop_file is None or not self._stop_file.exists():
            return
        Event(self._session, client).set()
        for cell in list(self._cells.values()):
            if not cell.worker:
                cell.end(Stopped())


def _packed(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[bytes, list[bytes]]:
    folders = [packed(value) for value in args if isinstance(value, Path)]
    rest = tuple(value for value in args if not isinstance(value, Path))
    return pickle.dumps((fn, rest, kwargs)), folders


def _unpacked(cell: _Cell, result: RunResult, files: bytes) -> RunResult:
    """The result, with the files that came with it where a local cell would have left them."""
    if not files:
        return result
    try:
        out = cell.folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        unpacked(files, out)
        if (out / LOG).is_file():
            cell.log.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(out / LOG, cell.log)
    except OSError as error:
        raise Unavailable(f"{error.strerror}: {error.filename or cell.folder}") from error
    return replace(result, artifacts=out)


def _of_the_disk(error: Exception) -> Unavailable | None:
    """A file that cannot be written; None where the connection failed."""
    if isinstance(error, Unavailable):
        return error
    if isinstance(error, OSError) and error.filename:
        return Unavailable(f"{error.strerror}: {error.filename}")
    return None


def engine_for(address: str, device: str) -> Engine:
    """The cluster as an engine; asked for 0 workers, it takes as many cells as it has workers at the time."""
    return partial(dask_cluster, address=address, device=device)


@contextmanager
def dask_cluster(workers: int, *, address: str, device: str = "cpu", inner: Engine | None = None) -> Iterator[Executor]:
    """The cluster as an executor. Once left, cells still at work there stop at their next safe point.

    On its worker a cell runs in an engine of one, `inner`; by default as it would here.
    """
    executor = ClusterExecutor(
        address, workers, {GPU: 1} if device.startswith("cuda") else {}, inner or pool_for(device)
    )
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)
