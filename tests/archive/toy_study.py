"""A study in memory whose runs have ended in every way, and its bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import toy_runs as toy

from ablate.archive.collect import collect
from ablate.study import StoredRun, Tracker
from ablate.tracking.memory import MemoryTracker

DOCUMENT = {**toy.DOCUMENT, "study": {"name": "toy", "arms": {"plain": {}}, "seeds": [1, 2]}}
SCORES = {**toy.SCORES, "test/odd": 1e-300 / 3, "test/undefined": float("nan"), "test/endless": float("inf")}


def fill(tracker: Tracker, scratch: Path) -> list[str]:
    """Two finished runs with models, a trial, a failed, a killed, a running and a discarded one. Ids of those ended."""
    tracker.open("toy", DOCUMENT)
    ids = [
        toy.run(tracker, toy.spec("toy", "plain", seed), toy.artifacts(scratch / str(seed), seed), scores=SCORES)
        for seed in (1, 2)
    ]
    ids.append(toy.run(tracker, toy.trial("toy", 0, **{"training.learning_rate": 0.1})))
    broken = toy.spec("toy", "plain", 3)
    ids.append(tracker.start(broken))
    tracker.finish(ids[-1], broken, toy.failed(broken))
    tracker.kill(tracker.start(toy.spec("toy", "plain", 4)))
    tracker.start(toy.spec("toy", "plain", 5))
    tracker.discard([toy.run(tracker, toy.spec("toy", "plain", 6))])
    return ids


def filled(scratch: Path) -> MemoryTracker:
    tracker = MemoryTracker()
    fill(tracker, scratch)
    return tracker


def no_progress(done: int, total: int) -> None:
    """Ignore the progress."""


def bundles(tracker: Tracker, folder: Path, **choices: Any) -> Path:
    collect("toy", tracker, folder, no_progress, **choices)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def ended(tracker: Tracker) -> list[StoredRun]:
    """The runs of a store that become bundles, by origin."""
    runs = [run for run in tracker.stored("toy") if run.record.status in ("FINISHED", "FAILED") and not run.discarded]
    return sorted(runs, key=lambda run: run.origin)
