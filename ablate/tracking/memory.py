"""A Tracker in memory, for tests. Files of added runs are copied; those of other runs stay where they are."""

from __future__ import annotations

import copy
import shutil
import tempfile
import time
import weakref
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from ablate.study import Record, RunDiscarded, RunResult, RunSpec, StoredRun
from ablate.study.summary import StudySummary
from ablate.tracking.record_format import MODEL, curves


@dataclass
class _Run:
    study: str
    record: Record
    epochs: dict[int, dict[str, float]] = field(default_factory=dict)
    artifacts: Path | None = None
    added: StoredRun | None = None  # as it was given to `add`, if it was
    started: int = 0  # ms
    ended: int = 0
    params: dict[str, str] = field(default_factory=dict)
    later: dict[str, int] = field(default_factory=dict)


class MemoryTracker:
    """Implements `study.Tracker`."""

    def __init__(self) -> None:
        self._documents: dict[str, dict[str, Any]] = {}
        self._runs: dict[str, _Run] = {}
        self._discarded: list[_Run] = []
        self._last_ms = 0

    def studies(self) -> list[str]:
        return sorted(self._documents)

    def document(self, study: str) -> dict[str, Any] | None:
        return copy.deepcopy(self._documents.get(study))

    def open(self, study: str, document: Mapping[str, Any]) -> None:
        self._documents[study] = copy.deepcopy(dict(document))

    def close(self, study: str, *, finished: bool) -> None:
        """Nothing to do: here a study has no status."""

    def records(self, study: str) -> list[Record]:
        runs = [run for run in self._runs.values() if run.study == study]
        return [run.record for run in sorted(runs, key=lambda run: run.started)]

    def times(self, study: str) -> dict[str, tuple[int, int]]:
        return {run_id: (run.started, run.ended) for run_id, run in self._runs.items() if run.study == study}

    def sweep(self, study: str) -> int:
        running = [record.run_id for record in self.records(study) if record.status == "RUNNING"]
        for run_id in running:
            self.kill(run_id)
        return len(running)

    def start(self, spec: RunSpec, failures: int = 0) -> str:
        if spec.study not in self._documents:
            raise LookupError(f"study {spec.study}: open it before starting a run")
        cell = (spec.key, spec.phase, spec.arm, spec.trial)
        self.discard(
            [
                r.run_id
                for r in self.records(spec.study)
                if (r.key, r.phase, r.arm, r.trial) == cell and r.status != "FINISHED"
            ]
        )
        run_id = uuid4().hex
        identity = (spec.arm, spec.seed, spec.phase, spec.key)
        tuned = (dict(spec.overrides), spec.trial)
        record = Record(run_id, *identity, "RUNNING", {}, *tuned, dataset=spec.dataset, failures=failures)
        params = {"arm": spec.arm, "seed": str(spec.seed)}
        self._runs[run_id] = _Run(spec.study, record, started=self._now_ms(), params=params)
        return run_id

    def log_epochs(self, run_id: str, entries: Sequence[Mapping[str, float]]) -> None:
        for entry in entries:
            scores = {name: value for name, value in entry.items() if name != "epoch"}
            self._run(run_id).epochs[int(entry["epoch"])] = scores
            self.add_scores([run_id], scores)

    def finish(self, run_id: str, spec: RunSpec, result: RunResult, failures: int = 0) -> None:
        run = self._run(run_id)
        self.log_epochs(run_id, [entry for entry in result.history if int(entry["epoch"]) not in run.epochs])
        self.add_scores([run_id], {**result.scores, **result.timings})
        run.artifacts = result.artifacts if spec.phase != "tune" else None
        run.record = replace(run.record, status=result.status, error=result.error, provenance=dict(result.provenance))
        if failures:
            run.record = replace(run.record, status="KILLED", failures=failures)
        run.ended = self._now_ms()

    def kill(self, run_id: str) -> None:
        run = self._run(run_id)
        run.record = replace(run.record, status="KILLED")

    def _now_ms(self) -> int:
        """Milliseconds since 1970, strictly increasing."""
        self._last_ms = max(self._last_ms + 1, time.time_ns() // 1_000_000)
        return self._last_ms

    def _run(self, run_id: str) -> _Run:
        if run_id not in self._runs:
            raise RunDiscarded(run_id)
        return self._runs[run_id]

    def discard(self, run_ids: Sequence[str]) -> None:
        for run_id in run_ids:
            if run_id in self._runs:
                self._discarded.append(self._runs.pop(run_id))

    def forget(self, study: str) -> None:
        self.discard([record.run_id for record in self.records(study)])
        self._documents.pop(study, None)

    def add_scores(self, run_ids: Sequence[str], scores: Mapping[str, float]) -> None:
        for run_id in run_ids:
            run = self._run(run_id)
            run.record = replace(run.record, scores=dict(sorted({**run.record.scores, **scores}.items())))
            if run.record.status == "FINISHED":
                run.later |= dict.fromkeys(scores, self._now_ms())

    def publish(self, summary: StudySummary, state: str) -> bool:
        """Nothing to do: nobody looks at this store."""
        return False

    def histories(self, study: str, run_ids: Collection[str]) -> list[tuple[str, list[dict[str, float]]]]:
        epochs_of = [(run_id, sorted(self._runs[run_id].epochs.items())) for run_id in run_ids]
        return [
            (run_id, [{"epoch": float(epoch), **dict(sorted(scores.items()))} for epoch, scores in epochs])
            for run_id, epochs in epochs_of
        ]

    def artifact(self, run_id: str, path: str) -> Path | None:
        folder = self._runs[run_id].artifacts
        if folder is None:
            return None
        artifact = folder / path
        exists = artifact.is_dir() if path == MODEL else artifact.exists()
        return artifact if exists else None

    def environment(self, study: str, run_id: str) -> dict[str, str]:
        """None: no other process can reach this store."""
        return {}

    def logged_scores(self, run_id: str) -> dict[str, float]:
        return dict(self._run(run_id).record.scores)

    def logged_curves(self, run_id: str, names: Collection[str]) -> list[dict[str, float]]:
        return curves(
            (name, value, epoch, 0)
            for epoch, scores in self._run(run_id).epochs.items()
            for name, value in scores.items()
            if name in names
        )

    def stored(self, study: str) -> list[StoredRun]:
        runs = [(run, False) for run in self._runs.values()] + [(run, True) for run in self._discarded]
        return [_stored(run, discarded) for run, discarded in runs if run.study == study]

    def files(self, run_id: str) -> Path | None:
        return self._run(run_id).artifacts

    def add(
        self, run: StoredRun, history: Sequence[Mapping[str, float]], files: Path | None, model: Path | None
    ) -> str:
        if run.study not in self._documents:
            raise LookupError(f"study {run.study}: open it before adding a run")
        run_id = uuid4().hex
        epochs = {int(e["epoch"]): {name: v for name, v in e.items() if name != "epoch"} for e in history}
        added = _Run(run.study, replace(run.record, run_id=run_id), epochs, None, run, run.started, run.ended)
        added.params, added.later = dict(run.params), dict(run.later)
        self._runs[run_id] = added
        for source, subfolder in ((files, ""), (model, MODEL)):
            if source:
                self._copy(added, source, subfolder)
        return run_id

    def add_model(self, run_id: str, model: Path) -> None:
        self._copy(self._run(run_id), model, MODEL)

    def _copy(self, run: _Run, source: Path, subfolder: str) -> None:
        if run.artifacts is None:
            run.artifacts = Path(tempfile.mkdtemp(prefix="ablate-memory-"))
            weakref.finalize(self, shutil.rmtree, run.artifacts, ignore_errors=True)
        shutil.copytree(source, run.artifacts / subfolder, dirs_exist_ok=True)


def _stored(run: _Run, discarded: bool) -> StoredRun:
    origin = run.added.origin if run.added else run.record.run_id
    tags = run.added.tags if run.added else {}
    model = run.artifacts is not None and (run.artifacts / MODEL).is_dir()
    times = run.started, run.ended or run.started
    return StoredRun(run.study, run.record, origin, *times, run.params, tags, dict(run.later), model, discarded)
