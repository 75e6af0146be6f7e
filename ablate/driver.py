"""The scheduler of one study: works out what is missing, submits it, records what comes back. The only writer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Protocol

from ablate.agenda import Agenda, CellId, cell_id
from ablate.runs.execution import Context, execute
from ablate.study import Record, RunResult, RunSpec, Study, Tracker

POLL_SECONDS = 0.3
ATTEMPTS = 3  # a cell whose worker dies this often is recorded as FAILED

Submit = Callable[[RunSpec, Context], RunResult]


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
        return cell_id(self.spec)


@dataclass
class Driver:
    """Runs every cell on its `agenda`: what of `study` the store does not hold and `wanted` accepts."""

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
        self.agenda = Agenda(self.study, self.data_digests, self.tracker.records(self.study.name), self.wanted)
        self.flights: dict[Future[RunResult], Flight] = {}
        self.deaths: dict[CellId, int] = {}  # of workers, by the cell they were at

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

    @property
    def records(self) -> list[Record]:
        """What the store holds, with what this driver added."""
        return self.agenda.records

    def ready(self) -> list[RunSpec]:
        """Cells that can start now, in order."""
        return self.agenda.ready({flight.cell_id for flight in self.flights.values()})

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
        suspects = [spec for spec in ready if cell_id(spec) in self.deaths]
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
        self.agenda.add(_as_record(flight, result))
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
