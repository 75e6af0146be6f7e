"""The study of the script in tests/script, whose runs scored what a test says: nothing is started."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ablate.analysis import results as tables
from ablate.analysis.results import Results
from ablate.planning.plan import compare_spec
from ablate.planning.trials import trial_specs
from ablate.study import RunResult, RunSpec, Study
from ablate.tracking.memory import MemoryTracker

STUDY = Path(__file__).parent / "script" / "dropout.toml"
FUNCTION = {"function": "project:train", "lr": 0.05, "dropout": False, "budget": 4}
SPREAD = (0.0, 0.03, -0.02, 0.01, -0.02)  # by seed; sums to 0
VAL, TEST = {"plain": 1.0, "dropout": 0.5}, {"plain": 11.0, "dropout": 12.0}  # the better arm is another by each split


def written(
    run: Mapping[str, Any] | None = None, *, without: Sequence[str] = (), function: bool = False, **more: Any
) -> dict[str, Any]:
    """The study file's content, with these values in `[settings.run]`, without those keys; `more` replaces fields."""
    study = tomllib.loads(STUDY.read_text(encoding="utf-8"))
    section = FUNCTION if function else study["settings"]["run"]
    study["settings"]["run"] = {k: v for k, v in {**section, **(run or {})}.items() if k not in without}
    return study | more


def load(
    study: Mapping[str, Any],
    recorded: Mapping[str, float] | None = None,
    *,
    digest: str = "d",
    curve: Sequence[Mapping[str, float]] = (),
) -> Results:
    """The study with every run finished. `recorded` and `curve`: more scores of every comparison run."""
    store = MemoryTracker()
    metrics = {"loss": {"label": "loss", "unit": "", "direction": "lower", "column": "", "pooled": True}}
    digests = dict.fromkeys(study["arms"], digest)
    document = json.loads(json.dumps({"study": study, "metrics": metrics, "data_digests": digests}))
    store.open("dropout", document)
    parsed = Study.model_validate(document["study"])
    for arm in parsed.arms:
        tuned = {"run.lr": 0.1} if parsed.tuning else {}
        for trial in range(parsed.tuning.trials if parsed.tuning else 0):
            for spec in trial_specs(parsed, arm, trial, {"run.lr": 0.05 * (trial + 1)}, digest):
                _finish(store, spec, {"val/loss": 2.0 - trial})
        for seed, jitter in zip(parsed.seeds, SPREAD, strict=True):
            moved = jitter * (1.0 if arm == "plain" else -0.5)
            scores = {"val/loss": VAL[arm] + moved, "test/loss": TEST[arm] + moved, **(recorded or {})}
            _finish(store, compare_spec(parsed, arm, seed, tuned, digest), scores, curve)
    return tables.load(store, "dropout")


def _finish(
    store: MemoryTracker, spec: RunSpec, scores: Mapping[str, float], curve: Sequence[Mapping[str, float]] = ()
) -> None:
    timings = {"time/train_s": 2.0, "time/total_s": 2.0}
    store.finish(
        store.start(spec), spec, RunResult(spec.key, "FINISHED", scores, curve, timings, {"source_digest": "4:a"})
    )
