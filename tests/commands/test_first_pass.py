"""What cannot be scored is told before anything is trained, by name and rule; what is printed never mixes with JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from toy_project import Project

Cli = Callable[..., Any]
STUDY = """
name = "homes"
question = "Q?"
baseline = "one"
seeds = [1]
metrics = ["error"]
catalogue = "linear_toy.wrong_metrics:CATALOGUE"
[settings.data]
factory = "linear_toy.forms:homes"
form = "dict"
[settings.model]
factory = "linear_toy.forms:Reader"
output = "tensor"
wrong = ""
[settings.loss]
factory = "linear_toy.forms:error"
[settings.training]
epochs = 1
batch_size = 8
precision = "float32"
last_batch = "keep"
[arms.one]
[arms.other]
set."model.output" = "tuple"
"""


def study(project: Project, *edits: tuple[str, str], more: str = "") -> str:
    text = STUDY + more
    for old, new in edits:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (project.folder / "homes.toml").write_text(text, encoding="utf-8")
    return "homes.toml"


TUNING = """
[tuning]
trials = 2
per = "arm"
seeds = [9]
metric = "val/NAME"
[tuning.space."training.learning_rate"]
type = "float"
low = 0.001
high = 0.1
"""


def metrics(name: str) -> tuple[str, str]:
    return 'metrics = ["error"]', f'metrics = ["error", "{name}"]'


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (metrics("array"), "metric 'array' must give a torch tensor, one number an example; it gave numpy.ndarray"),
        (
            metrics("broadcast"),
            "metric 'broadcast' must give one number an example, shape (16,); it gave shape (16, 16)",
        ),
        (metrics("single"), "metric 'single' must give one number an example, shape (16,); it gave shape ()"),
        (metrics("raising"), "metric 'raising' cannot be computed: ZeroDivisionError: no rooms"),
        (('wrong = ""', 'wrong = "text"'), 'the network\'s output[1] must be a tensor, or a mapping, tuple or list of'),
        (('wrong = ""', 'wrong = "none"'), "tuple or list of tensors, not NoneType"),
        (('wrong = ""', 'wrong = "single"'), "output[1] must have one row an example"),
        (('wrong = ""', 'wrong = "raise"'), "called with validation examples: RuntimeError: the roof fell in"),
        (("forms:homes", "forms:pairs"), "must give an ablate.Batch(inputs, targets), with targets a dict of tensors"),
        (("forms:error", "forms:Weighted"), "has parameters, which would not be trained"),
        (("last_batch", 'optimizer = { factory = "torch.optim:LBFGS" }\nlast_batch'), "must do its step without"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", [("plan", "--check"), ("run", "--workers", "1")])
def test_what_cannot_be_scored_is_told_before_training(
    project: Project, cli: Cli, command: tuple[str, ...], edit: tuple[str, str], told: str
) -> None:
    verb, *options = command
    answer = cli(verb, study(project, edit), *options)
    assert answer.code == 2
    assert told in answer.err
    assert "Traceback" not in answer.err
    assert not (project.folder / "reports").exists()


def test_an_undefined_tuning_metric_is_told_before_the_trials(project: Project, cli: Cli) -> None:
    answer = cli("plan", study(project, more=TUNING.replace("NAME", "undefined")), "--check")
    assert answer.code == 2
    assert "arms.one: metric 'undefined' is undefined (NaN) for every validation example" in answer.err


def test_a_study_that_is_right_passes_and_says_what_was_not_looked_at(project: Project, cli: Cli) -> None:
    answer = cli("plan", study(project, metrics("rare"), more=TUNING.replace("NAME", "error")), "--check", "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)
    answer = cli("plan", "homes.toml", "--check")
    assert "every untrained network scored on validation examples; no run was trained" in answer.err


@pytest.mark.parametrize("name", ["failed", "stale"])
def test_words_of_commands_are_no_arms(project: Project, cli: Cli, name: str) -> None:
    answer = cli("plan", study(project, ("[arms.other]", f"[arms.{name}]")))
    assert answer.code == 2
    assert (
        f"arms.{name}: is no name for an arm: commands mean the {name} runs by it, as in --rerun {name}" in answer.err
    )
    assert f"call it {name}-arm" in answer.err
