"""The scheduler of one study: finds the missing cells, submits them, records their results. Only it writes runs."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from contextlib import contextmanager, suppress
from dataclasses import InitVar, dataclass, field, replace
from pathlib import Path

from ablate.executors.local import CanEndCell, Engine, HasSlots, WorkerLost
from ablate.planning.counting import CellId, cell_id
from ablate.planning.trials import tuning_of
from ablate.scheduler.cell_queue import CellQueue
from ablate.scheduler.logged_scores import with_logged_scores
from ablate.scheduler.retry import PATIENCE_S, STORE_MESSAGES, Retry, RetryTimeout
from ablate.scheduler.running_cell import RunningCell
from ablate.scheduler.shutdown import Interrupted, StopRequest
from ablate.scheduler.view import View
from ablate.study import Record, RunDiscarded, RunResult, RunSpec, StoreUnavailable, Study, Tracker, printable
from ablate.study.runs import PRUNED, logs_to_mlflow
from ablate.trainers.context import Context
from ablate.trainers.errors import Stopped, Unavailable
from ablate.trainers.host import execute
from ablate.trainers.progress_log import LOG, PROGRESS, log_alone
from ablate.trainers.provenance import UNLOADABLE
from ablate.tuning.pruning import TrialPruning, of_trial, points
from ablate.untrusted.wording import cut

POLL_SECONDS = 0.3
MAX_WORKER_LOSSES = 2  # a cell that loses its worker this often is recorded as FAILED
STALL_AFTER_S = 1800.0  # without a sign of life; a training run updates its progress file every second
STOP_AFTER_TIMEOUT_S = 30.0  # for the cells to save their state after a RetryTimeout
ERROR_CHARACTERS = 8000  # of a run's error that are kept and shown
LOST = (WorkerLost, CancelledError)

Execute = Callable[[RunSpec, Context], RunResult]


@dataclass
class Scheduler:
    """Runs every cell of `study` that the store does not hold and that `wanted` accepts."""

    study: Study
    tracker: Tracker
    context: Context
    data_digests: Mapping[str, str]  # by arm
    workers: int
    engine: Engine
    view: View
    provenance: Mapping[str, str] = field(default_factory=dict)
    dirty_diff: str = ""
    store_records: InitVar[Sequence[Record] | None] = None  # default: read from the tracker
    wanted: Callable[[RunSpec], bool] = lambda spec: True
    execute: Execute = execute
    stop: StopRequest = field(default_factory=StopRequest)
    stall_after_s: float = STALL_AFTER_S
    patience_s: float = PATIENCE_S

    def __post_init__(self, store_records: Sequence[Record] | None) -> None:
        records = self.tracker.records(self.study.name) if store_records is None else store_records
        self.cell_queue = CellQueue(self.study, self.data_digests, records, self.wanted)
        self.running_cells: dict[Future[RunResult], RunningCell] = {}
        self.worker_losses: dict[CellId, int] = {}
        self.lost_after_training: set[CellId] = set()  # cells that lost a worker which had finished its run
        failed = sorted(self.cell_queue.records, key=lambda record: record.failures)
        self.failures: dict[CellId, int] = {cell_id(record): record.failures for record in failed if record.failures}
        self.store_retry = Retry(*STORE_MESSAGES, self.view.note, self.patience_s)
        # what the runs need beside the store: the disk, worker processes, the cluster
        self.run_retry = Retry("the runs cannot go on", "the runs go on", self.view.note, self.patience_s)
        self.last_check = time.monotonic()
        self.told_without_curve = False

    def run(self) -> None:
        """Run until nothing is missing. A run that does not end is KILLED in the store; the same command resumes it.

        Raises Interrupted after a stop request, RetryTimeout when the store or the working folder stay unusable.
        """
        self._unlink_stop_file()
        try:
            with self.stop.deferred(), self.engine(self.workers) as pool:
                self._run_cells(pool)
        except BaseException:
            self._mark_killed()
            raise
        finally:
            self._unlink_stop_file()

    @property
    def records(self) -> list[Record]:
        """The records of the store, with those that this scheduler added."""
        return self.cell_queue.records

    def ready(self, limit: int | None = None) -> list[RunSpec]:
        """Cells that can start now, in order, at most `limit` of them."""
        return self.cell_queue.ready({cell.cell_id for cell in self.running_cells.values()}, limit)

    def _run_cells(self, pool: Executor) -> None:
        stopping = False
        timeout: RetryTimeout | None = None
        while True:
            if self.stop.reason and not stopping:
                stopping = True
                self._request_stop_of_cells()
            try:
                if not stopping and not self._start_cells(pool) and not self.running_cells:
                    return
                self._wait()
                self._check_cells(pool)
                self._record_ended_cells()
            except RetryTimeout as error:
                timeout = timeout or error
                self.stop.request(str(timeout), STOP_AFTER_TIMEOUT_S)
            if self.stop.reason and (self._can_stop() or self.stop.deadline_passed):
                raise timeout or Interrupted(self.stop.reason)

    def _can_stop(self) -> bool:
        """No cell runs, and the ended ones are recorded, unless the store fails."""
        return not self.running_cells or (
            self.store_retry.failing and all(future.done() for future in self.running_cells)
        )

    def _request_stop_of_cells(self) -> None:
        self.view.note(f"{self.stop.reason}: stopping the runs; what they have saved is kept; another Ctrl-C stops now")
        try:
            self.context.stop_file.parent.mkdir(parents=True, exist_ok=True)
            self.context.stop_file.touch()
        except OSError:  # a full disk: the cells cannot save their state either
            self.stop.request(self.stop.reason, 0)

    def _unlink_stop_file(self) -> None:
        with suppress(OSError):
            self.context.stop_file.unlink()

    @contextmanager
    def _retried_later(self) -> Iterator[None]:
        """Note a failure of the store or the disk. The main loop repeats the step after a delay."""
        try:
            yield
        except StoreUnavailable as error:
            self.store_retry.failed(str(error))
        except OSError as error:
            self.run_retry.failed(f"{error.strerror}: {error.filename}" if error.filename else str(error))

    def _start_cells(self, pool: Executor) -> bool:
        """Submit ready cells to the free workers. Returns whether there was a ready cell for a free worker."""
        slots = pool.slots if isinstance(pool, HasSlots) else self.workers
        free = slots - len(self.running_cells)
        ready = self.ready(free) if free > 0 else []
        for spec in ready:
            if self.store_retry.waiting or self.run_retry.waiting:
                break
            with self._retried_later():
                self._submit(pool, spec)
        return bool(ready)

    def _submit(self, pool: Executor, spec: RunSpec) -> None:
        progress_file = self.context.folder(spec) / PROGRESS
        progress_file.unlink(missing_ok=True)
        run_id = self.tracker.start(spec, self.failures.get(cell_id(spec), 0))
        context = self.context
        if logs_to_mlflow(spec.settings):
            context = replace(context, environment=self.tracker.environment(spec.study, run_id))
        if self._prunes(spec):
            context = replace(context, pruning=self._pruning_of(spec))
        cell = RunningCell(spec, run_id, progress_file)
        self.store_retry.succeeded()
        self.view.started(spec)
        self.running_cells[pool.submit(self.execute, spec, context)] = cell

    def _prunes(self, spec: RunSpec) -> bool:
        return spec.phase == "tune" and self.study.tuning is not None and self.study.tuning.pruner is not None

    def _pruning_of(self, spec: RunSpec) -> TrialPruning | None:
        """The rule by which a trial ends early, from the curves that the store has of the trials before it."""
        earlier = self.cell_queue.earlier_trials(spec)
        runs = [record.run_id for outcome in earlier for record in outcome.records if record is not None]
        return of_trial(self.study, spec, earlier, dict(self.tracker.histories(self.study.name, runs)) if runs else {})

    def _wait(self) -> None:
        if not self.running_cells or self.store_retry.waiting:
            time.sleep(POLL_SECONDS)  # an ended cell would return at once from `wait`, and cannot be recorded yet
        else:
            wait(self.running_cells, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)

    def _check_cells(self, pool: Executor) -> None:
        """Log the new epochs of every cell, and end the worker of a cell that shows no sign of life for too long."""
        now = time.monotonic()
        pause = max(0.0, now - self.last_check - 10 * POLL_SECONDS)  # of this process: Ctrl-Z, or a slow store
        self.last_check = now
        for future, cell in self.running_cells.items():
            cell.last_sign_of_life += pause
            cell.update_sign_of_life(running=future.running())
            if not (self.store_retry.waiting or future.done()):
                # a person is told of a deleted run when its cell ends
                with self._retried_later(), suppress(RunDiscarded):
                    self._log_progress(cell)
            if now - cell.last_sign_of_life > self.stall_after_s and not future.done() and not cell.end_reason:
                cell.end_reason = f"no sign of life for {self.stall_after_s:g} s"
                self.view.note(f"{cell.spec.name}: {cell.end_reason}; its worker is ended")
                if isinstance(pool, CanEndCell):
                    pool.end(future)
                else:
                    future.cancel()

    def _log_progress(self, cell: RunningCell, *, to_store: bool = True) -> None:
        """Show the new epochs of a cell, and log them; a result that brings its history needs no log."""
        entries, bytes_logged = cell.new_entries()
        if entries and to_store:
            self.tracker.log_epochs(cell.run_id, entries)  # in one call: each call of the store takes time
            self.store_retry.succeeded()
        cell.bytes_logged = bytes_logged
        for entry in entries:
            self.view.epoch(cell.spec, entry)

    def _record_ended_cells(self) -> None:
        """Record the cells that have ended. A cell stays in `running_cells` until the store has it."""
        for future in [future for future in self.running_cells if future.done()]:
            if self.store_retry.waiting:
                return
            cell, unavailable = self.running_cells[future], None
            with self._retried_later():
                try:
                    unavailable = self._record_cell(future, cell)
                except RunDiscarded:
                    self.view.note(f"{cell.spec.name}: its run was deleted in the store; it is done again")
                del self.running_cells[future]
                self.store_retry.succeeded()
                if unavailable and not self.stop.reason:
                    self.run_retry.failed(f"{unavailable}")

    def _record_cell(self, future: Future[RunResult], cell: RunningCell) -> Unavailable | None:
        """Record how one cell ended. Returns the error of a cell that could not run for want of disk or worker."""
        try:
            result = future.result()
        except Stopped:
            self.tracker.kill(cell.run_id)
            if self.context.stop_file.exists():  # another process can create it too
                self.stop.request("the file that stops runs is there")
        except Unavailable as error:
            self.tracker.kill(cell.run_id)
            return error
        except LOST:
            self._worker_lost(cell)
        except Exception as error:  # raised outside the run, such as by an unreadable result: only this run fails
            self._record_result(cell, RunResult(cell.spec.key, "FAILED", error=f"{type(error).__name__}: {error}"))
        else:
            if result.status == "FINISHED" and self._prunes(cell.spec):
                self._tell_without_curve(cell.spec, result)
            if result.status == "FINISHED" and logs_to_mlflow(cell.spec.settings) and PRUNED not in result.provenance:
                result = with_logged_scores(result, cell, self.tracker, self.context.metric_names)
            self._record_result(cell, result)
            self.run_retry.succeeded()
        return None

    def _record_result(self, cell: RunningCell, result: RunResult) -> None:
        self._log_progress(cell, to_store=not result.history)
        error = cut(printable(result.error), ERROR_CHARACTERS)  # as a store gives it back
        result = replace(result, error=error, provenance={**result.provenance, **self.provenance})
        if self.dirty_diff and result.artifacts:
            (result.artifacts / "uncommitted.diff").write_text(self.dirty_diff, encoding="utf-8")
        failures = self.failures.get(cell.cell_id, 0) + (result.status == "FAILED")
        try_again = result.status == "FAILED" and failures <= self.study.retries  # the next run replaces this one
        self.tracker.finish(cell.run_id, cell.spec, result, failures if try_again else 0)
        cell.recorded = True
        self.failures[cell.cell_id] = failures
        if not try_again:
            self.cell_queue.add(_as_record(cell, result))
        shutil.rmtree(self.context.folder(cell.spec), ignore_errors=True)
        if try_again:
            tries = f"try {failures + 1} of {self.study.retries + 1}"
            self.view.note(f"{cell.spec.name} failed: {result.error}; {tries}")
        else:
            self.view.ended(cell.spec, result)
        if reason := result.provenance.get(UNLOADABLE):
            self.view.note(f"{cell.spec.name}: {reason}; its scores count, and it cannot be tested on other data")

    def _tell_without_curve(self, spec: RunSpec, result: RunResult) -> None:
        """Tell, once, that a trial has reported no curve while it ran, by which it or another could be pruned."""
        metric = tuning_of(self.study).metric
        if self.told_without_curve or any(points(result.history, metric)):
            return
        self.told_without_curve = True
        how = "a function calls run.epoch, a command appends to {dir}/progress.jsonl"
        if logs_to_mlflow(spec.settings):
            how += ", also one that logs to MLflow, whose curve there is read after its end"
        self.view.note(
            f"{spec.name} has reported no {metric} after whole epochs, so tuning.pruner prunes nothing: {how}"
        )

    def _worker_lost(self, cell: RunningCell) -> None:
        """A worker died (out of memory, killed) or was ended: the cell resumes from its checkpoint, once.

        A worker that dies while it sends the result of a finished run does not count the first time: the cell resumes
        from the end of its training, of which there is always a checkpoint.
        """
        reason = cell.end_reason or "the worker process died (killed, or out of memory?)"
        losses = self.worker_losses.get(cell.cell_id, 0) + 1
        run_finished = self._artifacts_folder(cell.spec).joinpath(LOG).is_file()
        if run_finished and cell.cell_id not in self.lost_after_training:
            self.lost_after_training.add(cell.cell_id)
            losses -= 1
        if losses < MAX_WORKER_LOSSES:
            self.tracker.kill(cell.run_id)
            self.view.note(f"{cell.spec.name}: {reason}; it starts again from its last checkpoint")
        else:
            self._record_result(cell, self._failure_result(cell.spec, f"{reason}, {losses} times"))
        self.worker_losses[cell.cell_id] = losses

    def _failure_result(self, spec: RunSpec, reason: str) -> RunResult:
        """The result of a run whose worker could not return one, with the run's log as its artifact."""
        artifacts = None
        with suppress(OSError):  # without a log it is a failure all the same
            if spec.keeps_log:
                artifacts = log_alone(self.context.log_file(spec), self._artifacts_folder(spec))
        return RunResult(spec.key, "FAILED", error=reason, artifacts=artifacts)

    def _artifacts_folder(self, spec: RunSpec) -> Path:
        """Where a run leaves its artifacts; the log is written last."""
        return self.context.folder(spec) / "out"

    def _mark_killed(self) -> None:
        """Mark the running cells KILLED. While the store fails, the next `ablate run` does it instead."""
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
