"""A study whose runs scored exactly what a test says: no training, no artifacts but the examples it gives."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ablate.analysis import results as tables
from ablate.analysis.results import Results
from ablate.planning import plan
from ablate.study import RunResult, Study
from ablate.tracking.memory import MemoryTracker

AZIMUTH = "azimuth_mae_deg"
INFO = {
    AZIMUTH: {"label": "Azimuth error", "unit": "°", "direction": "lower", "reduction": "mean"},
    "accuracy": {"label": "Accuracy", "unit": "%", "direction": "higher", "reduction": "mean"},
}
LABELS = {"existing": "Existing only", "hybrid": "Hybrid", "elepose": "ElePose only"}
JITTER = (0.0, 0.03, -0.02, 0.01, -0.02)  # sums to 0
Scores = Mapping[str, Mapping[int, float]]


def around(level: float, shift: int = 0, seeds: int = 5) -> dict[int, float]:
    """Scores by seed with mean `level`; two arms of another `shift` differ by an amount that varies."""
    return {seed: level + JITTER[(seed + shift) % 5] for seed in range(1, seeds + 1)}


def study(scores: Scores, arms: Mapping[str, Mapping[str, Any]] | None = None, **more: Any) -> dict[str, Any]:
    """The study that asks for these arms and seeds; `more` replaces its fields."""
    seeds = sorted({seed for by_seed in scores.values() for seed in by_seed})
    known = {name: {"label": LABELS.get(name, name)} | dict((arms or {}).get(name, {})) for name in scores}
    return {
        "name": "toy",
        "question": "Does it help?",
        "baseline": "existing",
        "seeds": seeds,
        "metrics": [AZIMUTH],
        "catalogue": "toy:METRICS",
        "settings": {"model": {}, "data": {}, "loss": {}, "training": {"epochs": 1}},
        "arms": known,
    } | more


def load(
    scores: Scores,
    *,
    arms: Mapping[str, Mapping[str, Any]] | None = None,
    other: Mapping[str, Scores] | None = None,
    frames: Mapping[Any, pd.DataFrame] | None = None,
    folder: Path | None = None,
    data_digest: str = "d",
    provenance: Mapping[str, str] | None = None,
    store: MemoryTracker | None = None,
    **more: Any,
) -> Results:
    """`scores`: arm → seed → azimuth error; `other`: key of another score → the same.

    `frames`: the examples of every run of an arm, by arm, or of one run, by (arm, seed).
    """
    written = study(scores, arms, **more)
    store = store or MemoryTracker()
    digests = dict.fromkeys(scores, data_digest)
    document = json.loads(json.dumps({"study": written, "metrics": INFO, "data_digests": digests}))
    store.open(written["name"], document)
    parsed = Study.model_validate(document["study"])
    for arm, by_seed in scores.items():
        for seed, value in by_seed.items():
            spec = plan.compare_spec(parsed, arm, seed, {}, data_digest)
            run_scores = {f"test/{AZIMUTH}": value, "cost/parameters": 2e6 if arm.startswith("existing") else 6.8e6}
            run_scores |= {key: table[arm][seed] for key, table in (other or {}).items() if seed in table.get(arm, {})}
            frame = (frames or {}).get((arm, seed), (frames or {}).get(arm))
            artifacts = None if frame is None or folder is None else _keep(frame, folder / f"{arm}-{seed}")
            store.finish(
                store.start(spec),
                spec,
                RunResult(spec.key, "FINISHED", run_scores, (), {}, dict(provenance or {}), artifacts),
            )
    return tables.load(store, written["name"])


def _keep(frame: pd.DataFrame, folder: Path) -> Path:
    folder.mkdir(parents=True)
    frame.to_parquet(folder / "scores.parquet", index=False)
    return folder


def asked(margin: float = 0.0, arm: str = "hybrid", against: str = "existing") -> dict[str, Any]:
    """A hypothesis about the azimuth error."""
    return {"arm": arm, "against": against, "metric": AZIMUTH, "margin": margin}
