"""An executor over a Dask client, whose futures have the same results and exceptions as those of the local pool.

Runs at the driver; `worker` is its counterpart on the workers. Knows nothing of studies.
"""

from __future__ import annotations

import asyncio
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

import distributed
from distributed import Client, Event, KilledWorker
from distributed.comm.core import CommClosedError

from ablate.executors.dask import worker
from ablate.executors.dask.cluster import GPU, connect
from ablate.executors.dask.requirements import AnyNeeds, needs_of
from ablate.executors.dask.worker import PROBE, CellRequest, packed, unpacked
from ablate.executors.local import Engine, WorkerLost, pool_for
from ablate.study import InputError, RunResult, RunSpec
from ablate.study.runs import TrainerKind, trainer_kind
from ablate.trainers.atomic_write import write_whole
from ablate.trainers.errors import Stopped, Unavailable
from ablate.trainers.progress_log import LOG, PROGRESS

POLL_SECONDS = 0.5  # between two checks of the stop file and of the list of workers


class _Cell(Future[Any]):
    """The future of a submitted cell. `running()` is true while the worker that started the cell is connected."""

    def __init__(self) -> None:
        super().__init__()
        self.key = f"ablate-{uuid.uuid4().hex}"
        self.folder, self.log = Path(), Path()
        self.task: distributed.Future[Any] | None = None
        self.worker = ""  # the address of the last worker that started it
        self.worker_connected = False

    def running(self) -> bool:
        return self.worker_connected and not self.done()

    def fail(self, error: BaseException) -> None:
        """Raise `error`, unless the cell has ended."""
        with suppress(InvalidStateError):
            self.set_exception(error)

    def end(self, error: BaseException) -> None:
        """Raise `error`, unless the cell has ended, and cancel the Dask task."""
        self.fail(error)
        if self.task is not None:
            with suppress(Exception):  # the scheduler is away, and the task with it
                self.task.cancel()


class ClusterExecutor(Executor):
    """`submit(execute, spec, context)` as to a local pool: the files of a cell end up in `context.folder(spec)`.

    Futures raise WorkerLost when the worker or the cell's process on it died, Unavailable when the scheduler went away
    or a worker has not the same versions, code and data as the driver, and Stopped after `context.stop_file` appeared.
    `engine` starts the process on the worker.
    """

    def __init__(self, address: str, workers: int, resources: Mapping[str, float], engine: Engine) -> None:
        self.address, self.workers, self.resources, self.engine = address, workers, dict(resources), engine
        self._cells: dict[str, _Cell] = {}
        self._needs: dict[tuple[object, ...], AnyNeeds] = {}
        self._probe = uuid.uuid4().hex
        self._work: Path | None = None  # where the probe is written; None before the first cell
        self._stop_file: Path | None = None
        self._closed = threading.Event()
        self._client: Client | None = None
        self._session = ""
        self._connected_workers: Mapping[str, Any] = {}  # by address
        with suppress(Unavailable):  # the cells raise it
            self._connected_workers = _workers(self._connected_client())
        threading.Thread(target=self._watch, daemon=True, name="cluster").start()

    @property
    def slots(self) -> int:
        """The number of cells to submit at once. By default one more than there are workers: no worker waits for its
        next cell, and an adaptive cluster starts more workers."""
        if self.workers:
            return self.workers
        required = self.resources.keys()
        return 1 + sum(bool(required <= worker["resources"].keys()) for worker in self._connected_workers.values())

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Send `fn(spec, context)`, or any other call, with the contents of the folders among its arguments.

        Raises nothing: errors are raised by the future.
        """
        cell = _Cell()
        try:
            if args and isinstance(args[0], RunSpec):
                self._send_cell(cell, fn, *args)
            else:
                self._send(cell, worker.run_call, *_packed(fn, args, kwargs))
        except (Unavailable, OSError, RuntimeError) as error:  # RuntimeError: the client was closed meanwhile
            self._cells.pop(cell.key, None)
            cell.set_exception(_disk_error(error) or self._scheduler_gone())
        return cell

    def end(self, future: Future[Any]) -> None:
        """Have the worker kill the process of `future`, which then raises WorkerLost."""
        if isinstance(future, _Cell):
            future.end(WorkerLost(f"its process on {future.worker or 'a worker'} was ended"))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See `concurrent.futures.Executor`. Cells that still run are stopped by their workers."""
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
        # pickled here, because Dask searches arguments for its own tasks
        self._send(cell, worker.run_cell, pickle.dumps((execute, spec, context)), self._needs_of(spec, context))

    def _needs_of(self, spec: RunSpec, context: Any) -> AnyNeeds:
        if trainer_kind(spec.settings) != "built-in":  # a script is read again by every run
            return needs_of(spec, context)
        factories = [spec.settings[section]["factory"] for section in ("model", "data", "loss")]
        identity = (*factories, spec.settings["data"].get("file"), spec.data_digest)
        if identity not in self._needs:
            self._needs[identity] = needs_of(spec, context)
        return self._needs[identity]

    def _send(self, cell: _Cell, function: Callable[..., Any], *args: Any) -> None:
        client = self._connected_client()
        request = CellRequest(cell.key, self._session, self._probe, self.engine)
        self._cells[cell.key] = cell  # before its first event can arrive
        cell.task = client.submit(
            function, *args, request, key=cell.key, pure=False, retries=0, resources=self.resources
        )
        assert client.loop is not None  # it is connected
        client.loop.add_callback(self._pass_on, cell, cell.task)

    def _connected_client(self) -> Client:
        """The client; a new one where the scheduler went away, because a restarted scheduler does not know the old."""
        if self._client is None or self._client.status != "running":
            self._disconnect()
            try:
                self._client = connect(self.address)
            except InputError as error:
                raise Unavailable(f"the scheduler at {self.address} does not answer") from error
            self._session = f"ablate-{uuid.uuid4().hex}"
            self._client.subscribe_topic(self._session, self._on_event)
        return self._client

    def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with suppress(Exception):
                client.close(timeout=5)

    def _scheduler_gone(self) -> Unavailable:
        return Unavailable(f"the scheduler at {self.address} went away")

    # From the cluster

    def _on_event(self, event: tuple[float, Mapping[str, Any]]) -> None:
        """A worker has started a cell, or the cell shows a sign of life. The driver sees it at the progress file."""
        cell = self._cells.get(event[1]["cell"])
        if cell is not None and not cell.done():
            cell.worker, cell.worker_connected = event[1]["worker"], True
            with suppress(OSError):  # a full disk
                cell.folder.mkdir(parents=True, exist_ok=True)
                (cell.folder / PROGRESS).touch()

    async def _pass_on(self, cell: _Cell, task: distributed.Future[Any]) -> None:
        """Wait for the Dask task and pass on its result or exception, unless the cell has been ended.

        Not through Dask's own executor: its future never ends when the worker that holds the result of a finished task
        dies before the result is fetched, and the task then fails on another worker.
        """
        try:
            outcome = await task
            if not cell.done():
                cell.set_result(_with_files(cell, *outcome) if cell.log.name else outcome)
        except (CancelledError, asyncio.CancelledError, CommClosedError):
            cell.fail(self._scheduler_gone())
        except KilledWorker as error:
            cell.fail(WorkerLost(f"its workers died, the last one at {error.last_worker.address}"))
        except ImportError as error:  # raised before the run: an ImportError of the run makes a FAILED result
            cell.fail(Unavailable(f"a worker cannot import what it needs: {error}"))
        except Exception as error:
            cell.fail(error)
        finally:
            self._cells.pop(cell.key, None)

    # In a thread of its own

    def _watch(self) -> None:
        while not self._closed.wait(POLL_SECONDS):
            client = self._client
            with suppress(Exception):  # the connection failed: the cells that it carried raise that themselves
                if client is not None:
                    self._pass_on_stop(client)
                    self._connected_workers = _workers(client)
                    for cell in list(self._cells.values()):
                        cell.worker_connected = cell.worker in self._connected_workers

    def _pass_on_stop(self, client: Client) -> None:
        if self._stop_file is None or not self._stop_file.exists():
            return
        Event(self._session, client).set()
        for cell in list(self._cells.values()):
            if not cell.worker:  # no worker has started it
                cell.end(Stopped())


def _workers(client: Client) -> Mapping[str, Any]:
    """The connected workers, by address."""
    workers: Mapping[str, Any] = client.scheduler_info(n_workers=-1)["workers"]
    return workers


def _packed(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[bytes, list[bytes]]:
    folders = [packed(value) for value in args if isinstance(value, Path)]
    rest = tuple(value for value in args if not isinstance(value, Path))
    return pickle.dumps((fn, rest, kwargs)), folders


def _with_files(cell: _Cell, result: RunResult, files: bytes) -> RunResult:
    """The result, with the files that came with it written where a local cell would have written them."""
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


def _disk_error(error: Exception) -> Unavailable | None:
    """The error as Unavailable, where it is one or a file cannot be written; None where the connection failed."""
    if isinstance(error, Unavailable):
        return error
    if isinstance(error, OSError) and error.filename:
        return Unavailable(f"{error.strerror}: {error.filename}")
    return None


def engine_for(address: str, device: str, trainer: TrainerKind = "built-in") -> Engine:
    """The cluster as an engine. With 0 workers it takes as many cells as there are workers at any time."""
    return partial(dask_cluster, address=address, device=device, inner=pool_for(device, trainer))


@contextmanager
def dask_cluster(workers: int, *, address: str, device: str = "cpu", inner: Engine | None = None) -> Iterator[Executor]:
    """The cluster as an executor. Cells that still run at the end of the block stop at their next safe point.

    On a worker, a cell runs in the engine `inner`, with one process; by default in the local pool.
    """
    executor = ClusterExecutor(
        address, workers, {GPU: 1} if device.startswith("cuda") else {}, inner or pool_for(device)
    )
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)
