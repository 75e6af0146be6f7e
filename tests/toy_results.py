"""A fabricated study in a MemoryTracker: known scores, curves and examples, a failed and a missing run; no training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ablate.planning import plan
from ablate.planning.trials import trial_specs
from ablate.study import RunResult, RunSpec, Study
from ablate.tracking.memory import MemoryTracker

EPOCHS = 6
EXAMPLES = 400
METRICS = {
    "azimuth_mae_deg": {"label": "Azimuth error", "unit": "°", "direction": "lower", "reduction": "mean"},
    "elevation_mae_deg": {"label": "Elevation error", "unit": "°", "direction": "lower", "reduction": "mean"},
    "accuracy_30": {"label": "Acc@30°", "unit": "%", "direction": "higher", "reduction": "mean"},
}
ARMS: dict[str, dict[str, Any]] = {
    "existing": {
        "label": "Existing only",
        "information": {"azimuth": "3D pose, transformer context", "elevation": "same"},
    },
    "elepose": {
        "label": "ElePose only",
        "information": {"azimuth": "deep 2D foreshortening", "elevation": "deep 2D foreshortening"},
        "set": {"model.use_existing": False},
    },
    "hybrid": {
        "label": "Hybrid",
        "information": {"azimuth": "both signals combined", "elevation": "both signals combined"},
        "set": {"model.use_elepose": True},
    },
}
# Mean test score of every arm: azimuth, elevation; and its parameters.
LEVELS = {
    "existing": (7.1, 4.4, 2_214_663),
    "elepose": (15.2, 6.3, 6_012_100),
    "hybrid": (6.6, 4.35, 6_983_431),
    "existing-wide": (7.0, 4.5, 6_984_002),
    "hybrid-shuffled": (7.3, 4.6, 6_983_431),
    "existing-2d": (6.7, 4.3, 2_231_047),
    "torso-frame": (11.4, 5.9, 0),
    "constant": (90.1, 14.8, 2),
}


@dataclass
class Toy:
    """What to fabricate. `skip` are (arm, seed) never run, `fail` those that failed."""

    folder: Path
    arms: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: ARMS)
    seeds: Sequence[int] = (1, 2, 3)
    skip: Sequence[tuple[str, int]] = ()
    fail: Sequence[tuple[str, int]] = ()
    tuned: bool = True
    hypotheses: Sequence[Mapping[str, Any]] = ()
    gallery: str | None = "ablate.depth_refinement.gallery:draw"
    command: str = "ablate run studies/toy.toml"
    more: Mapping[str, Any] = field(default_factory=dict)  # further fields of the study, such as its factor
    external: str = ""  # name of other data that every run was scored on
    per_seed: bool = False  # every seed has a tuning of its own
    pruner: Mapping[str, Any] | None = None

    def study(self) -> dict[str, Any]:
        tuning = {
            "trials": 2,
            **({} if self.per_seed else {"seeds": [101]}),
            **({"pruner": self.pruner} if self.pruner else {}),
            "metric": "val/azimuth_mae_deg",
            "space": {"training.learning_rate": {"type": "float", "low": 1e-4, "high": 3e-3, "log": True}},
        }
        return {
            "name": "toy",
            "question": "Does fusing ElePose features improve azimuth and elevation?",
            "baseline": "existing",
            "seeds": list(self.seeds),
            "metrics": ["azimuth_mae_deg", "elevation_mae_deg"],
            "catalogue": "ablate.depth_refinement.metrics:METRICS",
            "settings": {
                "model": {"use_existing": True, "use_elepose": False},
                "data": {"noise": 1.0},
                "loss": {},
                "training": {"epochs": EPOCHS},
            },
            "arms": {name: dict(arm) for name, arm in self.arms.items()},
            "tuning": tuning if self.tuned else None,
            "hypotheses": [dict(h) for h in self.hypotheses],
            "report": {
                "conditions": {
                    "azimuth_deg": {"label": "Azimuth (°)", "period": 360.0, "bins": 8},
                    "elevation_deg": {"label": "Elevation (°)"},
                },
                "gallery": self.gallery,
            },
            **self.more,
        }

    def document(self) -> dict[str, Any]:
        return {
            "study": self.study(),
            "metrics": METRICS,
            "data_digests": dict.fromkeys(self.arms, "d"),
            "created": "2024-05-06",
            "amendments": [],
            "hypotheses_digest": "abc",
            "command": self.command,
        }

    def store(self) -> MemoryTracker:
        """The tracker, filled: tuning first, then every comparison run in study order."""
        tracker = MemoryTracker()
        tracker.open("toy", self.document())
        for arm in [a for a in self.arms if self.tuned and not self.arms[a].get("reference")]:
            for seed in self.seeds if self.per_seed else [None]:
                for trial in range(2):
                    self._trial(tracker, arm, trial, seed)
        for arm in self.arms:
            for seed in [s for s in self.seeds if (arm, s) not in self.skip]:
                self._run(tracker, arm, seed)
        return tracker

    def rate(self, trial: int, seed: int | None) -> float:
        """The learning rate of a trial; with a tuning for every seed, another for each."""
        return 0.001 * (trial + 1) + (1e-5 * (seed or 0) if self.per_seed else 0.0)

    def trial_spec(self, arm: str, trial: int, seed: int | None = None) -> RunSpec:
        overrides = {"training.learning_rate": self.rate(trial, seed)}
        return trial_specs(self.parsed(), arm, trial, overrides, "d", seed)[0]

    def spec(self, arm: str, seed: int) -> RunSpec:
        """What the study asks for: the second trial is the best."""
        tuned = self.tuned and not self.arms[arm].get("reference")
        overrides = {"training.learning_rate": self.rate(1, seed)} if tuned else {}
        return plan.compare_spec(self.parsed(), arm, seed, overrides, "d")

    def parsed(self) -> Study:
        return Study.model_validate(self.study())

    def _trial(self, tracker: MemoryTracker, arm: str, trial: int, seed: int | None) -> None:
        spec = self.trial_spec(arm, trial, seed)
        scores = {"val/azimuth_mae_deg": 9.0 - trial}
        timings = {"time/train_s": 3.0, "time/total_s": 4.0}
        tracker.finish(tracker.start(spec), spec, RunResult(spec.key, "FINISHED", scores, (), timings))

    def _run(self, tracker: MemoryTracker, arm: str, seed: int) -> None:
        spec = self.spec(arm, seed)
        run_id = tracker.start(spec)
        if (arm, seed) in self.fail:
            result = RunResult(spec.key, "FAILED", error="loss is not finite | epoch 3")
        else:
            result = self._result(spec.key, arm, seed)
        tracker.finish(run_id, spec, result)

    def _result(self, key: str, arm: str, seed: int) -> RunResult:
        family = str(self.arms[arm].get("family") or arm)
        rng = np.random.default_rng([seed, list(LEVELS).index(family)])
        azimuth, elevation, parameters = LEVELS[family]
        azimuth *= self.arms[arm].get("level", 1.0)
        frame = examples(azimuth, elevation, rng)
        folder = self.folder / f"{arm}-{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(folder / "scores.parquet", index=False)
        np.savez_compressed(folder / "examples.npz", **pictures(azimuth, elevation, rng))
        scores = {f"test/{name}": float(frame[name].mean()) for name in METRICS}
        scores |= {"cost/parameters": float(parameters), "cost/parameters_angle_path": parameters * 0.6}
        scores |= {"cost/flops": 4.1 * parameters, "count/epochs": EPOCHS, "count/examples": 2400.0}
        scores["val/azimuth_mae_deg"] = azimuth + 0.3
        if self.external:
            scores |= {f"external/{self.external}/{name}": scores[f"test/{name}"] + 2 for name in METRICS}
        timings = {"time/train_s": 100.0 + seed, "time/total_s": 120.0 + seed, "cost/latency_ms_p50": 3.21 + seed / 100}
        provenance = {"commit": "0123abc", "dirty": "no", "data_digest": "d" * 8, "version/torch": "2.13.0"}
        return RunResult(key, "FINISHED", scores, history(azimuth, elevation, rng), timings, provenance, folder)


def factor_toy(folder: Path, levels: Sequence[float], more: Mapping[str, Mapping[str, Any]], **rest: Any) -> Toy:
    """Two arms at these levels of the data's noise, on which their errors depend, and `more` arms outside it."""
    arms = {
        f"{name}@{level}": {**ARMS[name], "label": "", "family": name, "level": level, "set": {"data.noise": level}}
        for name in ("existing", "hybrid")
        for level in levels
    }
    factor = {"setting": "data.noise", "levels": list(levels), "label": "Detector noise"}
    return Toy(folder, {**arms, **more}, more={"factor": factor}, **rest)


def history(azimuth: float, elevation: float, rng: np.random.Generator) -> list[dict[str, float]]:
    entries = []
    for epoch in range(1, EPOCHS + 1):
        more = 1 + 8 * np.exp(-epoch / 1.5) + rng.normal(0, 0.03)
        entry = {"epoch": float(epoch), "train/loss": 0.1 * azimuth * more}
        entries.append(entry | {"val/azimuth_mae_deg": azimuth * more, "val/elevation_mae_deg": elevation * more})
    return entries


def examples(azimuth: float, elevation: float, rng: np.random.Generator) -> pd.DataFrame:
    """The same examples for every run; errors grow towards the sides and with elevation, and with the run's level."""
    fixed = np.random.default_rng(0)
    azimuth_deg, elevation_deg = fixed.uniform(0, 360, EXAMPLES), fixed.uniform(-35, 58, EXAMPLES)
    errors = azimuth * (1 + 0.4 * np.abs(np.sin(np.deg2rad(azimuth_deg)))) * fixed.gamma(4, 0.2, EXAMPLES)
    errors = errors * rng.normal(1, 0.02) + rng.normal(0, 0.15) + rng.normal(0, 0.2, EXAMPLES)
    other = elevation * (1 + np.abs(elevation_deg) / 60) * fixed.gamma(4, 0.18, EXAMPLES) * rng.normal(1, 0.02)
    return pd.DataFrame(
        {
            "azimuth_mae_deg": errors,
            "elevation_mae_deg": other,
            "accuracy_30": (errors < 30) * 100.0,
            "azimuth_deg": azimuth_deg,
            "elevation_deg": elevation_deg,
        }
    ).astype("float32")


def pictures(azimuth: float, elevation: float, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """`examples.npz` of six views of one standing person, true and predicted."""
    angle, tilt = np.deg2rad([5, 62, 118, 181, 240, 300.0]), np.deg2rad([0, 12, 35, -15, 50, 8.0])
    pose = np.stack([standing(a, t) for a, t in zip(angle, tilt, strict=True)])
    flat = pose[..., :2] / np.sqrt((pose[..., :2] ** 2).sum(-1).mean(-1))[:, None, None]
    inputs = np.concatenate([flat, pose + rng.normal(0, 0.03, pose.shape), np.ones((6, 17, 1))], -1)
    guess = angle + np.deg2rad(rng.normal(0, azimuth, 6))
    output = np.stack([np.sin(guess), np.cos(guess), tilt + np.deg2rad(rng.normal(0, elevation, 6))], -1)
    return {
        "index": np.arange(6) * 10,
        "inputs": inputs.astype("float32"),
        "target/azimuth_deg": np.rad2deg(angle).astype("float32"),
        "target/elevation_deg": np.rad2deg(tilt).astype("float32"),
        "target/pose_3d": pose.astype("float32"),
        "output/angles": output.astype("float32"),
        "output/pose_3d": (pose + rng.normal(0, 0.02, pose.shape)).astype("float32"),
    }


def standing(azimuth: float, elevation: float) -> np.ndarray:
    """(17, 3) metres in camera axes (x right, y down, z forward) of a standing COCO person seen from there."""
    left, height, front = np.array(
        [
            *[(0, 0.62, 0.1), (0.03, 0.66, 0.08), (-0.03, 0.66, 0.08), (0.07, 0.64, 0), (-0.07, 0.64, 0)],
            *[(0.19, 0.45, 0), (-0.19, 0.45, 0), (0.26, 0.18, 0), (-0.3, 0.3, 0.15), (0.28, -0.05, 0.05)],
            *[(-0.25, 0.5, 0.3), (0.1, 0, 0), (-0.1, 0, 0), (0.11, -0.42, 0.05), (-0.1, -0.42, 0)],
            *[(0.12, -0.83, -0.03), (-0.1, -0.83, 0)],
        ]
    ).T  # fmt: skip
    # DOMAIN: azimuth from forward towards the subject's right; seen from the front, the left hand is on the right
    right = left * np.cos(azimuth) + front * np.sin(azimuth)
    towards = front * np.cos(azimuth) - left * np.sin(azimuth)
    down = -(height * np.cos(elevation) - towards * np.sin(elevation))
    return np.stack([right, down, -(towards * np.cos(elevation) + height * np.sin(elevation))], -1)
