"""A Tracker that remembers in this process alone: for tests and trials. It writes no file and reads none."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from ablate.edges.ledger import MODEL
from ablate.study import Record, RunDiscarded, RunResult, RunSpec


@dataclass
class _Run:
    study: str
    record: Record
    epochs: dict[int, dict[str, float]] = field(default_factory=dict)
    artifacts: Path | None = None


class MemoryTracker:
    """See `study.Tracker`. Artifacts stay where the run left them."""

    def __init__(self) -> None:
        self._documents: dict[str, dict[str, Any]] = {}
        self._runs: dict[str, _Run] = {}
        self._numbers = count(1)
        self.closed: dict[str, bool] = {}  # study → finished

    def studies(self) -> list[str]:
        return sorted(self._documents)

    def document(self, study: str) -> dict[str, Any] | None:
        return copy.deepcopy(self._documents.get(study))

    def open(self, study: str, document: Mapping[str, Any]) -> None:
        self._documents[study] = copy.deepcopy(dict(document))
        self.closed.pop(study, None)

    def close(self, study: str, *, finished: bool) -> None:
        self.closed[study] = finished

    def records(self, study: str) -> list[Record]:
        return [run.record for run in self._runs.values() if run.study == study]

    def sweep(self, study: str) -> int:
        left = [record.run_id for record in self.records(study) if record.status == "RUNNING"]
        for run_id in left:
            self.kill(run_id)
        return len(left)

    def start(self, spec: RunSpec, failures: int = 0) -> str:
        if spec.study not in self._documents:
            raise LookupError(f"study {spec.study}: open it before starting a run")
        place = (spec.key, spec.phase, spec.arm, spec.trial)
        self.discard(
            [
                r.run_id
                for r in self.records(spec.study)
                if (r.key, r.phase, r.arm, r.trial) == place and r.status != "FINISHED"
            ]
        )
        run_id = f"{next(self._numbers):032x}"
        place_of = (spec.arm, spec.seed, spec.phase, spec.key)
        tuned = (dict(spec.overrides), spec.trial)
        record = Record(run_id, *place_of, "RUNNING", {}, *tuned, dataset=spec.dataset, failures=failures)
        self._runs[run_id] = _Run(spec.study, record)
        return run_id

    def log_epoch(self, run_id: str, scores: Mapping[str, float]) -> None:
        entry = dict(scores)
        epoch = int(entry.pop("epoch"))
        self._run(run_id).epochs[epoch] = entry
        self.add_scores([run_id], entry)

    def log_epochs(self, run_id: str, entries: Sequence[Mapping[str, float]]) -> None:
        for entry in entries:
            self.log_epoch(run_id, entry)

    def finish(self, run_id: str, spec: RunSpec, result: RunResult, failures: int = 0) -> None:
        run = self._run(run_id)
        for entry in result.history:
            if int(entry["epoch"]) not in run.epochs:
                self.log_epoch(run_id, entry)
        self.add_scores([run_id], {**result.scores, **result.timings})
        run.artifacts = result.artifacts if spec.phase != "tune" else None
        run.record = replace(run.record, status=result.status, error=result.error, provenance=dict(result.provenance))
        if failures:
            run.record = replace(run.record, status="KILLED", failures=failures)

    def kill(self, run_id: str) -> None:
        run = self._run(run_id)
        run.record = replace(run.record, status="KILLED")

    def _run(self, run_id: str) -> _Run:
        if run_id not in self._runs:
            raise RunDiscarded(run_id)
        return self._runs[run_id]

    def discard(self, run_ids: Sequence[str]) -> None:
        for run_id in run_ids:
            self._runs.pop(run_id, None)

    def forget(self, study: str) -> None:
        self.discard([record.run_id for record in self.records(study)])
        self._documents.pop(study, None)

    def add_scores(self, run_ids: Sequence[str], scores: Mapping[str, float]) -> None:
        for run_id in run_ids:
            run = self._run(run_id)
            run.record = replace(run.record, scores=dict(sorted({**run.record.scores, **scores}.items())))

    def history(self, run_id: str) -> list[dict[str, float]]:
        epochs = self._runs[run_id].epochs
        return [{"epoch": float(epoch), **dict(sorted(epochs[epoch].items()))} for epoch in sorted(epochs)]

    def histories(self, study: str, run_ids: Collection[str]) -> list[tuple[str, list[dict[str, float]]]]:
        return [(run_id, self.history(run_id)) for run_id in run_ids]

    def artifact(self, run_id: str, path: str) -> Path | None:
        folder = self._runs[run_id].artifacts
        found = folder / path if folder else None
        if path == MODEL and found and not found.is_dir():
            return None
        return found if found and found.exists() else None
