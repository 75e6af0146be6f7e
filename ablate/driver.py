"""The scheduler of one study: works out what is missing, submits it, records what comes back. The only writer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Protocol

from ablate.design import plan
from ablate.edges import tuning
from ablate.runs.execution import Context, execute
from ablate.study import Record, RunResult, RunSpec, Scalar, Study, Tracker

POLL_SECONDS = 0.3
ATTEMPTS = 3  # a cell whose worker dies this often is recorded as FAILED

Submit = Callable[[RunSpec, Context], RunResult]
CellId = tuple[str, str, str, int | None]  # key, phase, arm, trial: two trials may choose the same values


class View(Protocol):
    """What a person sees while cells run."""

    def started(self, spec: RunSpec) -> None: ...
    def epoch(self, spec: RunSpec, entry: Mapping[str, float]) -> None: ...
    def ended(self, spec: RunSpec, result: RunResult) -> None: ...
    def note(self, text: str) -> None: ...


@dataclass
class Flight:
    """A cell in a worker: its run in the store and how much of its progress file has been read."""

    spec: RunSpec
    run_id: str
    read: int = 0

    @property
    def cell_id(self) -> CellId:
        return _cell_id(self.spec)


@dataclass
class Driver:
    """Runs every cell of `study` that `wanted` accepts and the store does not hold."""

    study: Study
    tracker: Tracker
    context: Context
    data_digests: Mapping[str, str]  # by arm
    workers: int
    engine: Callable[[int], AbstractContextManager[Executor]]
    view: View
    provenance: Mapping[str, str] = field(default_factory=dict)
    dirty_diff: str = ""
    wanted: Callable[[RunSpec], bool] = lambda spec: True
    execute: Submit = execute

    def __post_init__(self) -> None:
        self.records: list[Record] = self.tracker.records(self.study.name)
        self.flights: dict[Future[RunResult], Flight] = {}
        self.deaths: dict[CellId, int] = {}  # of workers, by the cell they were at
        self.proposed: dict[tuple[str, int], Mapping[str, Scalar]] = {}

    def run(self) -> None:
        """Until nothing is missing. A pool that lost a worker is replaced; Ctrl-C leaves runs KILLED, resumable."""
        try:
            while self.ready():
                try:
                    with self.engine(self.workers) as pool:
                        self._drain(pool)
                except BrokenProcessPool:
                    self._recover()
        except BaseException as error:
            for flight in self.flights.values():
                self.tracker.kill(flight.run_id)
            if isinstance(error, KeyboardInterrupt):
                self.view.note("interrupted; the same command continues where this one stopped")
            raise

    def _drain(self, pool: Executor) -> None:
        while True:
            for spec in self._startable():
                self._submit(pool, spec)
            if not self.flights:
                return
            done, _ = wait(self.flights, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            for flight in self.flights.values():
                self._follow(flight)
            for future in done:
                self._record(self.flights[future], _result(future, self.flights[future].spec))
                del self.flights[future]  # only now: what ends the driver before is marked KILLED

    def _startable(self) -> list[RunSpec]:
        """Ready cells for the free workers. One whose worker died flies alone: who dies again is then known."""
        free = self.workers - len(self.flights)
        if free < 1 or any(flight.cell_id in self.deaths for flight in self.flights.values()):
            return []
        ready = self.ready()
        suspects = [spec for spec in ready if _cell_id(spec) in self.deaths]
        return suspects[:1] if suspects else ready[:free]

    def _submit(self, pool: Executor, spec: RunSpec) -> None:
        folder = self.context.folder(spec)
        (folder / "progress.jsonl").unlink(missing_ok=True)
        flight = Flight(spec, self.tracker.start(spec))
        self.view.started(spec)
        self.flights[pool.submit(self.execute, spec, self.context)] = flight

    def _follow(self, flight: Flight) -> None:
        """Log the whole lines that the worker has added to its progress file."""
        try:
            with (self.context.folder(flight.spec) / "progress.jsonl").open("rb") as file:
                file.seek(flight.read)
                text = file.read()
        except FileNotFoundError:
            return
        whole = text[: text.rfind(b"\n") + 1]
        flight.read += len(whole)
        for line in whole.splitlines():
            entry = json.loads(line)
            self.tracker.log_epoch(flight.run_id, entry)
            self.view.epoch(flight.spec, entry)

    def _record(self, flight: Flight, result: RunResult) -> None:
        self._follow(flight)
        result = replace(result, provenance={**result.provenance, **self.provenance})
        if self.dirty_diff and result.artifacts:
            (result.artifacts / "uncommitted.diff").write_text(self.dirty_diff, encoding="utf-8")
        self.tracker.finish(flight.run_id, flight.spec, result)
        self.records.append(_as_record(flight, result))
        shutil.rmtree(self.context.folder(flight.spec), ignore_errors=True)
        self.view.ended(flight.spec, result)

    def _recover(self) -> None:
        """A worker died (out of memory, killed): its neighbours' futures broke too. Try again, a few times each."""
        self.view.note("a worker process died; its runs start again from their last checkpoints")
        for future, flight in list(self.flights.items()):
            try:
                self._record(flight, _result(future, flight.spec))
            except (BrokenProcessPool, CancelledError):
                self._lose(flight)
            del self.flights[future]

    def _lose(self, flight: Flight) -> None:
        deaths = self.deaths[flight.cell_id] = self.deaths.get(flight.cell_id, 0) + 1
        if deaths < ATTEMPTS:
            self.tracker.kill(flight.run_id)
            return
        reason = f"the worker process died {deaths} times (killed, or out of memory?)"
        self._record(flight, RunResult(flight.spec.key, "FAILED", error=reason))

    def ready(self) -> list[RunSpec]:
        """Cells that can start now, in order: tuning before comparison, since comparison waits for it."""
        busy = {flight.cell_id for flight in self.flights.values()}
        specs = [spec for arm in self.study.arms for spec in self._next(arm)]
        specs.sort(key=lambda spec: spec.phase != "tune")
        return [spec for spec in specs if _cell_id(spec) not in busy and self.wanted(spec)]

    def _next(self, arm: str) -> list[RunSpec]:
        digest = self.data_digests[arm]
        overrides: Mapping[str, Scalar] = {}
        if self.study.tuning and not self.study.arms[arm].reference:
            outcomes = plan.trial_outcomes(self.study, arm, self.records, digest)
            trials = self._trials(arm, outcomes)
            if trials:
                return trials
            try:
                overrides = plan.best(outcomes, plan.tuning_direction(self.study))
            except plan.TuningFailed:
                return []  # nothing to compare with: the arm's row stays a gap
        return self._missing(plan.compare_spec(self.study, arm, seed, overrides, digest) for seed in self.study.seeds)

    def _trials(self, arm: str, outcomes: Sequence[plan.TrialOutcome]) -> list[RunSpec]:
        """What is left of the trials begun, else the next of the arm's chain; quasi-random ones go side by side."""
        assert self.study.tuning is not None
        left = self._missing(spec for outcome in outcomes for spec in outcome.specs)
        begun = {outcome.index for outcome in outcomes}
        new = [trial for trial in range(self.study.tuning.trials) if trial not in begun]
        if self.study.tuning.sampler != "qmc":
            new = [] if left else new[:1]
        return [*left, *(spec for trial in new for spec in self._propose(arm, trial, outcomes))]

    def _propose(self, arm: str, trial: int, outcomes: Sequence[plan.TrialOutcome]) -> list[RunSpec]:
        if (arm, trial) not in self.proposed:
            earlier = [outcome for outcome in outcomes if outcome.index < trial]
            self.proposed[arm, trial] = self._ask(arm, trial, earlier)
        return plan.trial_specs(self.study, arm, trial, self.proposed[arm, trial], self.data_digests[arm])

    def _ask(self, arm: str, trial: int, outcomes: Sequence[plan.TrialOutcome]) -> Mapping[str, Scalar]:
        assert self.study.tuning is not None
        return tuning.propose(
            self.study.tuning.space,
            [(outcome.overrides, outcome.value) for outcome in outcomes],
            index=trial,
            total=self.study.tuning.trials,
            seed=plan.tuning_seed(self.study.name, arm, trial),
            sampler=self.study.tuning.sampler,
            direction=plan.tuning_direction(self.study),
            defaults=plan.setting_values(self.study, arm),
        )

    def _missing(self, specs: Iterable[RunSpec]) -> list[RunSpec]:
        ended = {(r.key, r.phase, r.arm, r.trial) for r in self.records if r.status in ("FINISHED", "FAILED")}
        return [spec for spec in specs if _cell_id(spec) not in ended]


def _cell_id(spec: RunSpec) -> CellId:
    return spec.key, spec.phase, spec.arm, spec.trial


def _result(future: Future[RunResult], spec: RunSpec) -> RunResult:
    """What a worker sent. An error outside the run itself (a full disk, a lost file) costs this run, not the study."""
    try:
        return future.result()
    except (BrokenProcessPool, CancelledError):
        raise
    except Exception as error:
        return RunResult(spec.key, "FAILED", error=f"{type(error).__name__}: {error}")


def _as_record(flight: Flight, result: RunResult) -> Record:
    spec = flight.spec
    return Record(
        flight.run_id,
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
