"""Cells that need no torch, so that a real worker process starts at once. The arm's setting says how a cell ends."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.study import Metric, RunResult, RunSpec, Study
from ablate.trainers.errors import Stopped, Unavailable


def nothing(output: Any, targets: Mapping[str, Any]) -> Any:
    raise AssertionError("never called here")


METRICS = {"error": Metric("error", "Error", "", "lower", nothing)}


@dataclass(frozen=True)
class Folders:
    """What the driver needs of a Context."""

    work: Path

    @property
    def stop_file(self) -> Path:
        return self.work / "stop"

    def folder(self, spec: RunSpec) -> Path:
        return self.work / f"{spec.phase}-{spec.name}"

    def log_file(self, spec: RunSpec) -> Path:
        return self.work / f"{spec.name}.log"


def execute(spec: RunSpec, context: Folders) -> RunResult:
    """Scores are a function of the settings and the seed. Every beginning is noted in a file."""
    ending = spec.settings["model"]["ending"]
    with (context.work / "begun").open("a") as file:
        file.write(f"{spec.name}\n")
    begun = (context.work / "begun").read_text().splitlines().count(spec.name)
    if ending == "dies" or (ending == "dies once" and begun == 1):
        os._exit(9)
    if ending == "raises":
        raise OSError("no space left on device")
    folder = context.folder(spec)
    folder.mkdir(parents=True, exist_ok=True)
    if ending == "dies late, then dies" and begun <= 2:
        if begun == 1:
            (folder / "out").mkdir()
            (folder / "out" / "run.log").touch()
        os._exit(9)
    if ending == "hangs" or (ending == "hangs once" and begun == 1):
        (folder / "progress.jsonl").touch()
        time.sleep(600)
    if ending == "no room" or (ending == "no room twice" and begun <= 2):
        raise Unavailable("no space left on device")
    if ending == "long":
        wait_for_stop(context)
    time.sleep(1.0 if ending == "slow" else 0)
    entry = {"epoch": 1.0, "val/error": abs(spec.settings["training"]["learning_rate"] - 0.05) + spec.seed / 1000}
    (folder / "progress.jsonl").write_text(json.dumps(entry) + '\n{"epoch": 2.0, "half a li')
    if ending == "fails" or (ending == "fails once" and begun == 1):
        return RunResult(spec.key, "FAILED", error="it was not to be")
    return RunResult(spec.key, "FINISHED", {"val/error": entry["val/error"]}, [entry])


def wait_for_stop(context: Folders) -> None:
    """A run that takes long and looks at the stop file. Raises Stopped."""
    for _ in range(6000):
        if context.stop_file.exists():
            raise Stopped
        time.sleep(0.01)


def study(
    endings: Mapping[str, str], *, seeds: int = 1, tuning: Mapping[str, Any] | None = None, retries: int = 0
) -> Study:
    """An arm for each ending; arms named in `endings` as name → ending."""
    space = {"training.learning_rate": {"type": "float", "low": 0.01, "high": 0.1}}
    return Study.model_validate(
        {
            "name": "cells",
            "question": "?",
            "baseline": next(iter(endings)),
            "seeds": list(range(1, seeds + 1)),
            "metrics": ["error"],
            "retries": retries,
            "catalogue": "toy_cells:METRICS",
            "settings": {
                "data": {"factory": "toy_cells:nothing"},
                "model": {"factory": "toy_cells:nothing", "ending": ""},
                "loss": {"factory": "toy_cells:nothing"},
                "training": {"epochs": 1, "learning_rate": 0.02},
            },
            "arms": {name: {"set": {"model.ending": ending}} for name, ending in endings.items()},
            "tuning": {"trials": 3, "seeds": [101], "metric": "val/error", "space": space, **tuning}
            if tuning
            else None,
        }
    )
