"""The scheduler of one study: works out what is missing, submits it, records what comes back. The only writer."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from ablate.executors.local import Ends, Engine, Varies, WorkerLost
from ablate.scheduler.cell_queue import CellId, CellQueue, cell_id
from ablate.scheduler.retry import PATIENCE_S, STORE, Retry, RetryTimeout
from ablate.scheduler.running_cell import RunningCell
from ablate.scheduler.shutdown import Interrupted, StopRequest
from ablate.study import Record, RunDiscarded, RunResult, RunSpec, StoreUnavailable, Study, Tracker
from ablate.trainers.builtin.checkpoints import UNLOADABLE
from ablate.trainers.builtin.run import Context, execute
from ablate.trainers.errors import Stopped, Unavailable
from ablate.trainers.progress_log import LOG, PROGRESS

POLL_SECONDS = 0.3
LIVES = 2  # a cell whose worker is lost this often is recorded as FAILED
STALL_AFTER_S = 1800.0  # without a sign of life, of which a run gives one a second while it trains
LAST_WISH_S = 30.0  # for the cells to save their state once the driver has run out of patience
LOST = (WorkerLost, CancelledError)

Submit = Callable[[RunSpec, Context], RunResult]


class View(Protocol):
    """What a person sees while cells run."""

    def started(self, spec: RunSpec) -> None: ...
    def epoch(self, spec: RunSpec, entry: Mapping[str, float]) -> None: ...
    def ended(self, spec: RunSpec, result: RunResult) -> None: ...
    def note(self, text: str) -> None: ...


@dataclass
class Scheduler:
    """Runs every cell on its `agenda`: what of `study` the store does not hold and `wanted` accepts."""

    study: Study
    tracker: Tracker
    context: Context
    data_digests: Mapping[str, str]  # by arm
    workers: int
    engine: Engine
    view: View
    provenance: Mapping[str, str] = field(default_factory=dict)
    dirty_diff: str = ""
    wanted: Callable[[RunSpec], bool] = lambda spec: True
    execute: Submit = execute
    stop: StopRequest = field(default_factory=StopRequest)
    stall_after_s: float = STALL_AFTER_S
    patience_s: float = PATIENCE_S

    def __post_init__(self) -> None:
        self.cell_queue = CellQueue(self.study, self.data_digests, self.tracker.records(self.study.name), self.wanted)
        self.running_cells: dict[Future[RunResult], RunningCell] = {}
        self.losses: dict[CellId, int] = {}  # of workers, by the cell they were at
        self.spared: set[CellId] = set()  # cells that have lost a worker after their last word
        tried = sorted(self.cell_queue.records, key=lambda record: record.failures)
        self.failures: dict[CellId, int] = {cell_id(record): record.failures for record in tried if record.failures}
        self.store = Retry(*STORE, self.view.note, self.patience_s)
        self.place = Retry("the runs cannot go on", "the runs go on", self.view.note, self.patience_s)
        self.polled = time.monotonic()

    def run(self) -> None:
        """Until nothing is missing. What does not end is KILLED in the store; the same command resumes it.

        Raises Interrupted when asked to stop, RetryTimeout when the store or the working folder stay unusable.
        """
        self._unlink_stop_file()
        try:
            with self.stop.deferred(), self.engine(self.workers) as pool:
                self._drain(pool)
        except BaseException:
            self._abandon()
            raise
        finally:
            self._unlink_stop_file()

    @property
    def records(self) -> list[Record]:
        """What the store holds, with what this driver added."""
        return self.cell_queue.records

    def ready(self, limit: int | None = None) -> list[RunSpec]:
        """Cells that can start now, in order, at most `limit` of them."""
        return self.cell_queue.ready({cell.cell_id for cell in self.running_cells.values()}, limit)

    def _drain(self, pool: Executor) -> None:
        stopping = False
        exhausted: RetryTimeout | None = None
        while True:
            if self.stop.reason and not stopping:
                stopping = True
                self._ask_cells_to_stop()
            try:
                if not stopping and not self._take_off(pool) and not self.running_cells:
                    return
                self._wait()
                self._watch(pool)
                self._land()
            except RetryTimeout as error:
                exhausted = exhausted or error
                self.stop.ask(str(exhausted), LAST_WISH_S)
            if self.stop.reason and (self._nothing_to_wait_for() or self.stop.late):
                raise exhausted or Interrupted(self.stop.reason)

    def _nothing_to_wait_for(self) -> bool:
        """No cell is at work, and what has ended is recorded, unless the store does not let it."""
        return not self.running_cells or (self.store.failing and all(future.done() for future in self.running_cells))

    def _ask_cells_to_stop(self) -> None:
        self.view.note(f"{self.stop.reason}: stopping once the runs have saved their state; another Ctrl-C stops now")
        try:
            self.context.stop_file.parent.mkdir(parents=True, exist_ok=True)
            self.context.stop_file.touch()
        except OSError:  # a full disk: nothing can be saved either
            self.stop.ask(self.stop.reason, 0)

    def _unlink_stop_file(self) -> None:
        with suppress(OSError):
            self.context.stop_file.unlink()

    @contextmanager
    def _outages(self) -> Iterator[None]:
        """What the store or the disk refuse in here is tried again later."""
        try:
            yield
        except StoreUnavailable as error:
            self.store.failed(str(error))
        except OSError as error:
            self.place.failed(f"{error.strerror}: {error.filename}" if error.filename else str(error))

    def _take_off(self, pool: Executor) -> bool:
        """Fill the free workers with ready cells. False when nothing is left to start, now or later."""
        slots = pool.slots if isinstance(pool, Varies) else self.workers
        free = slots - len(self.running_cells)
        ready = self.ready(free) if free > 0 else []
        for spec in ready:
            if self.store.waiting or self.place.waiting:
                break
            with self._outages():
                self._submit(pool, spec)
        return bool(ready)

    def _submit(self, pool: Executor, spec: RunSpec) -> None:
        progress = self.context.folder(spec) / PROGRESS
        progress.unlink(missing_ok=True)
        cell = RunningCell(spec, self.tracker.start(spec, self.failures.get(cell_id(spec), 0)), progress)
        self.store.over()
        self.view.started(spec)
        self.running_cells[pool.submit(self.execute, spec, self.context)] = cell

    def _wait(self) -> None:
        if not self.running_cells or self.store.waiting:
            time.sleep(POLL_SECONDS)  # cells that have ended wait for the store
        else:
            wait(self.running_cells, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)

    def _watch(self, pool: Executor) -> None:
        """Follow every cell, and end the worker of one that has given no sign of life for too long."""
        now = time.monotonic()
        asleep = max(0.0, now - self.polled - 10 * POLL_SECONDS)  # stopped by Ctrl-Z, or busy with the store
        self.polled = now
        for future, cell in self.running_cells.items():
            cell.heard += asleep
            cell.listen(begun=future.running())
            if not (self.store.waiting or future.done()):
                with self._outages(), suppress(RunDiscarded):  # to be told when it ends
                    self._follow(cell)
            if now - cell.heard > self.stall_after_s and not future.done() and not cell.ended:
                cell.ended = f"no sign of life for {self.stall_after_s:g} s"
                self.view.note(f"{cell.spec.name}: {cell.ended}; its worker is ended")
                if isinstance(pool, Ends):
                    pool.end(future)
                else:
                    future.cancel()

    def _follow(self, cell: RunningCell, *, log: bool = True) -> None:
        """Log the epochs that the worker has told of; one whose result has them all is only shown."""
        entries, read = cell.entries()
        if entries and log:
            self.tracker.log_epochs(cell.run_id, entries)  # all at once: each call of the store has its price
            self.store.over()
        cell.read = read
        for entry in entries:
            self.view.epoch(cell.spec, entry)

    def _land(self) -> None:
        """Record the cells that have ended. One that the store does not take stays where it is until it does."""
        for future in [future for future in self.running_cells if future.done()]:
            if self.store.waiting:
                return
            cell, halt = self.running_cells[future], None
            with self._outages():
                try:
                    halt = self._settle(future, cell)
                except RunDiscarded:
                    self.view.note(f"{cell.spec.name}: its run was deleted in the store; it is done again")
                del self.running_cells[future]
                self.store.over()
                if halt and not self.stop.reason:
                    self.place.failed(f"{halt}")

    def _settle(self, future: Future[RunResult], cell: RunningCell) -> Unavailable | None:
        """Put one ended cell into the store; the halt of its place, if that is how it ended."""
        try:
            result = future.result()
        except Stopped:
            self.tracker.kill(cell.run_id)
            if self.context.stop_file.exists():  # which anyone may make
                self.stop.ask("the file that stops runs is there")
        except Unavailable as halt:
            self.tracker.kill(cell.run_id)
            return halt
        except LOST:
            self._lose(cell)
        except Exception as error:  # outside the run itself, a result that cannot be read: costs this run alone
            self._record(cell, RunResult(cell.spec.key, "FAILED", error=f"{type(error).__name__}: {error}"))
        else:
            self._record(cell, result)
            self.place.over()
        return None

    def _record(self, cell: RunningCell, result: RunResult) -> None:
        self._follow(cell, log=not result.history)
        result = replace(result, provenance={**result.provenance, **self.provenance})
        if self.dirty_diff and result.artifacts:
            (result.artifacts / "uncommitted.diff").write_text(self.dirty_diff, encoding="utf-8")
        failures = self.failures.get(cell.cell_id, 0) + (result.status == "FAILED")
        again = result.status == "FAILED" and failures <= self.study.retries  # its run takes the place of this one
        self.tracker.finish(cell.run_id, cell.spec, result, failures if again else 0)
        cell.recorded = True
        self.failures[cell.cell_id] = failures
        if not again:
            self.cell_queue.add(_as_record(cell, result))
        shutil.rmtree(self.context.folder(cell.spec), ignore_errors=True)
        if again:
            tries = f"try {failures + 1} of {self.study.retries + 1}"
            self.view.note(f"{cell.spec.name} failed: {result.error}; {tries}")
        else:
            self.view.ended(cell.spec, result)
        if reason := result.provenance.get(UNLOADABLE):
            self.view.note(f"{cell.spec.name}: {reason}; its scores count, `ablate evaluate` cannot use it")

    def _lose(self, cell: RunningCell) -> None:
        """A worker died (out of memory, killed) or was ended: the cell goes on from its checkpoint, once.

        One that died over the sending of its result was not the cell's fault, the first time: the cell goes on from
        the end of its training, which is always kept.
        """
        reason = cell.ended or "the worker process died (killed, or out of memory?)"
        losses = self.losses.get(cell.cell_id, 0) + 1
        if cell.cell_id not in self.spared and self._out(cell.spec).joinpath(LOG).is_file():
            self.spared.add(cell.cell_id)
            losses -= 1
        if losses < LIVES:
            self.tracker.kill(cell.run_id)
            self.view.note(f"{cell.spec.name}: {reason}; it starts again from its last checkpoint")
        else:
            self._record(cell, self._last_words(cell.spec, f"{reason}, {losses} times"))
        self.losses[cell.cell_id] = losses

    def _last_words(self, spec: RunSpec, reason: str) -> RunResult:
        """The failure of a run that could not tell itself, with what its log holds."""
        out = self._out(spec)
        with suppress(OSError):  # without a log it is a failure all the same
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir(parents=True)
            shutil.copy(self.context.log_file(spec), out / LOG)
        return RunResult(spec.key, "FAILED", error=reason, artifacts=out if out.is_dir() else None)

    def _out(self, spec: RunSpec) -> Path:
        """Where a run leaves its artifacts, the log last."""
        return self.context.folder(spec) / "out"

    def _abandon(self) -> None:
        """Mark what is in the air; whoever drives next does it where the store is away."""
        with suppress(StoreUnavailable):
            for cell in self.running_cells.values():
                with suppress(RunDiscarded):
                    if not cell.recorded:
                        self.tracker.kill(cell.run_id)


def _as_record(cell: RunningCell, result: RunResult) -> Record:
    spec = cell.spec
    return Record(
        cell.run_id,
        spec.arm,
        spec.seed,
        spec.phase,
        spec.key,
        result.status,
        result.scores,
        spec.overrides,
        spec.trial,
        result.error,
        result.provenance,
    )
