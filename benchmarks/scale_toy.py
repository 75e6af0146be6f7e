"""The study of `scale.py`: cells that take no time, with the tables, curves, log and network that real ones leave."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ablate.study import Metric, RunResult, RunSpec

EPOCHS, EXAMPLES, PEOPLE = 5, 64, 16


def nothing(output: Any, targets: Mapping[str, Any]) -> Any:
    raise AssertionError("no cell of this study is trained")


METRICS = {
    "error_deg": Metric("error_deg", "Error", "°", "lower", nothing),
    "within_10": Metric("within_10", "Within 10°", "%", "higher", nothing),
}


@dataclass(frozen=True)
class Shape:
    """How a study of `cells` cells is made up: arms, tuning trials an arm, comparison seeds an arm."""

    arms: int
    trials: int
    seeds: int

    @classmethod
    def of(cls, cells: int) -> Shape:
        arms = 10 if cells >= 100 else 2
        trials = min(cells // (5 * arms), 50)
        return cls(arms, trials, cells // arms - trials)

    def study(self) -> str:
        """The text of the study file."""
        settings = "".join(f'[settings.{name}]\nfactory = "scale_toy:nothing"\n' for name in ("data", "loss"))
        arms = "".join(f'[arms.arm{i}]\nlabel = "Arm {i}"\nset."model.width" = {i + 1}\n' for i in range(self.arms))
        return f"""name = "scale"
question = "Does a wider network help?"
baseline = "arm0"
seeds = {list(range(1, self.seeds + 1))}
metrics = ["error_deg", "within_10"]
catalogue = "scale_toy:METRICS"
{settings}[settings.model]
factory = "scale_toy:nothing"
width = 0
dropout = 0.1
[settings.training]
epochs = {EPOCHS}
{arms}[tuning]
trials = {self.trials}
per = "arm"
include_defaults = true
seeds = [1000001]
metric = "val/error_deg"
sampler = "random"
[tuning.space."training.learning_rate"]
type = "float"
low = 1e-4
high = 1e-2
log = true
[[hypotheses]]
arm = "arm1"
against = "arm0"
metric = "error_deg"
[report.conditions.azimuth_deg]
label = "Azimuth"
period = 360.0
"""


def begin(folder: Path, cells: int) -> Path:
    """Write the study file and its catalogue into `folder`; gives the study file."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(__file__, folder / "scale_toy.py")
    file = folder / "scale.toml"
    file.write_text(Shape.of(cells).study(), encoding="utf-8")
    return file


def execute(spec: RunSpec, context: Any) -> RunResult:
    """What a worker answers: scores by arm and seed, and a folder with what a run leaves in it."""
    rng = np.random.default_rng([spec.seed, spec.settings["model"]["width"], spec.trial or 0])
    level = 10.0 - 0.2 * spec.settings["model"]["width"] + rng.normal(0, 0.3)
    history = [_epoch(number, level) for number in range(1, EPOCHS + 1)]
    folder = context.folder(spec)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "progress.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in history), encoding="utf-8")
    scores = {name: value for name, value in history[-1].items() if name.startswith("val/")}
    if spec.phase == "tune":
        return RunResult(spec.key, "FINISHED", scores, history, {"time/train_s": 1.0}, PROVENANCE)
    errors = np.abs(rng.normal(0, level, EXAMPLES)).astype("float32")
    scores |= {"test/error_deg": float(errors.mean()), "test/within_10": 100 * float((errors < 10).mean())}
    scores |= {"cost/parameters": 100.0 * spec.settings["model"]["width"], "cost/flops": 1e6}
    scores |= {"count/test_examples": float(EXAMPLES), "count/train_examples": 1000.0, "count/epochs": float(EPOCHS)}
    timings = {"time/train_s": 1.0, "time/total_s": 1.2, "cost/latency_ms_p50": 0.5, "cost/memory_mb": 200.0}
    return RunResult(spec.key, "FINISHED", scores, history, timings, PROVENANCE, _leave(folder / "out", errors, rng))


PROVENANCE = {f"version/library{i}": "1.2.3" for i in range(12)} | {"commit": "0" * 40, "device": "none"}


def _epoch(number: int, level: float) -> dict[str, float]:
    value = level * (1 + 2 / number)
    return {"epoch": float(number), "train/loss": value / 10, "val/error_deg": value, "val/within_10": 100 / value}


def _leave(folder: Path, errors: np.ndarray, rng: np.random.Generator) -> Path:
    (folder / "model").mkdir(parents=True, exist_ok=True)
    scores = {"error_deg": errors, "within_10": np.where(errors < 10, np.float32(100), np.float32(0))}
    pd.DataFrame(scores).to_parquet(folder / "scores.parquet", index=False)
    where = {"azimuth_deg": rng.uniform(0, 360, EXAMPLES), "subject": np.arange(EXAMPLES) % PEOPLE}
    pd.DataFrame(where).astype({"azimuth_deg": "float32"}).to_parquet(folder / "conditions.parquet", index=False)
    np.savez(folder / "examples.npz", inputs=np.zeros((6, 17, 3), "float32"), index=np.arange(6))
    (folder / "run.log").write_text("".join(f"epoch {i}\n" for i in range(EPOCHS)), encoding="utf-8")
    (folder / "model" / "weights.safetensors").write_bytes(bytes(2048))
    model = {"factory": "torch.nn:Linear", "settings": {"in_features": 3, "out_features": 3}, "inputs_shape": [17, 3]}
    (folder / "model" / "model.json").write_text(json.dumps(model), encoding="utf-8")
    return folder
