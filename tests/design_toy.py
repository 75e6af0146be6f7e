"""A subject without torch for the tests of `study` and `planning`: a catalogue, factories, and one valid study.

Its name is part of settings, and so of the keys that tests compare with those of earlier versions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ablate.study import InputError, Metric, Study, study_file


def nothing(output: Any, targets: Any) -> Any:
    raise AssertionError("never called here")


METRICS = {
    "error_deg": Metric("error_deg", "Error", "°", "lower", nothing),
    "error_mm": Metric("error_mm", "Error", "mm", "lower", nothing),
    "accuracy": Metric("accuracy", "Accuracy", "share", "higher", nothing),
}
NOT_METRICS = {"error_deg": 1}


def model(width: int, *, dropout: float = 0.1, extra: bool = False, optimizer: str = "adam", **rest: Any) -> None:
    return None


def strict_model(width: int, *, dropout: float = 0.1) -> tuple[int, float]:
    return width, dropout


def data(*, device: str, examples: int = 10, file: Path | None = None) -> tuple[str, int, Path | None]:
    return device, examples, file


def loss(positional: int, /) -> None:
    return None


VALID = """\
name = "toy"
question = "Does the extra part help?"
baseline = "plain"
seeds = [1, 2, 3]
metrics = ["error_deg", "accuracy"]
catalogue = "design_toy:METRICS"

[settings.model]
factory = "design_toy:model"
width = 8
dropout = 0.1
extra = false
optimizer = "adam"
momentum = 0.9
head = { width = 4, depth = 1 }

[settings.data]
factory = "design_toy:data"
examples = 10

[settings.loss]
factory = "design_toy:loss"

[settings.training]
epochs = 4
learning_rate = 0.001

[arms.plain]
label = "Plain"
information = { error = "all of it" }

[arms.extra]
set."model.extra" = true

[arms.wide]
set."model.width" = 16

[arms.constant]
reference = true
set.model = { factory = "design_toy:strict_model", width = 1 }

[tuning]
trials = 4
per = "arm"
include_defaults = true
seeds = [101, 102]
metric = "val/error_deg"
epochs = 2

[tuning.space."training.learning_rate"]
type = "float"
low = 1e-4
high = 1e-2
log = true

[tuning.space."model.optimizer"]
type = "categorical"
choices = ["adam", "sgd"]

[tuning.space."model.momentum"]
type = "float"
low = 0.5
high = 1.0
when = { "model.optimizer" = "sgd" }

[[hypotheses]]
arm = "extra"
against = "plain"
metric = "error_deg"
margin = 0.5

[report]
gallery = "design_toy:model"

[report.conditions.angle_deg]
label = "Angle (°)"
period = 360
metrics = ["error_deg"]
"""


def edited(*edits: tuple[str, str]) -> str:
    """VALID with texts replaced; each must occur exactly once, so that a test cannot miss its target."""
    text = VALID
    for old, new in edits:
        assert text.count(old) == 1, (old, text.count(old))
        text = text.replace(old, new)
    return text


def study(folder: Path, *edits: tuple[str, str]) -> Study:
    path = folder / "study.toml"
    path.write_text(edited(*edits), encoding="utf-8")
    return study_file.load(path)


def problems_of(*edits: tuple[str, str]) -> list[str]:
    """What is wrong with the edited study, as `study.toml` in the working folder; one line a problem."""
    Path("study.toml").write_text(edited(*edits), encoding="utf-8")
    try:
        study_file.load(Path("study.toml"))
    except InputError as error:
        return str(error).splitlines()
    return []


FACTOR = """
[factor]
setting = "model.dropout"
levels = [0.0, 0.5, 1]
label = "Dropout"
arms = ["plain", "extra"]
"""
