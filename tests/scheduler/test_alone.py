"""A run is alone in its process: what a component does to it, raises in it or prints reaches no other run."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from toy_project import Project, as_json

from ablate.cli.app import main
from ablate.executors import local
from ablate.planning import plan
from ablate.scheduler import component_checks, loaded_study, workspace
from ablate.scheduler.scheduler import Scheduler
from ablate.scheduler.shutdown import Interrupted
from ablate.study import InputError, Record, RunResult, RunSpec
from ablate.tracking.memory import MemoryTracker
from ablate.trainers.host import execute

ODD = """
name = "odd"
question = "Does a run change its neighbours?"
baseline = "plain"
seeds = [1]
metrics = ["absolute_error"]
catalogue = "linear_toy.metrics:METRICS"

[settings.data]
factory = "linear_toy.components:houses"
count = 128

[settings.model]
factory = "linear_toy.odd:Odd"
oddity = ""

[settings.loss]
factory = "linear_toy.components:squared"

[settings.training]
epochs = 1
batch_size = 32
precision = "float32"

[arms.print]
set."model.oddity" = "print"

[arms.process]
set."model.oddity" = "process"

[arms.numpy]
set."model.oddity" = "numpy"

[arms.random]
set."model.oddity" = "random"

[arms.interrupt]
set."model.oddity" = "interrupt"

[arms.plain]
"""


@dataclass
class Silent:
    """A View that shows nothing."""

    def started(self, spec: RunSpec) -> None: ...
    def epoch(self, spec: RunSpec, entry: object) -> None: ...
    def ended(self, spec: RunSpec, result: RunResult) -> None: ...
    def note(self, text: str) -> None: ...


@pytest.fixture
def odd(project: Project) -> Iterator[Path]:
    """Built in this process, one of its arms leaves torch with another default dtype."""
    file = project.folder / "odd.toml"
    file.write_text(ODD, encoding="utf-8")
    yield file
    torch.set_default_dtype(torch.float32)


def scores(record: Record) -> dict[str, float]:
    """What does not depend on how fast a machine is."""
    return {name: value for name, value in record.scores.items() if not name.startswith("time/")}


def test_no_run_changes_another(odd: Path) -> None:
    """Every arm in processes, two at once, against some of them in this process, one after the other."""
    loaded = loaded_study.load(odd, workspace.Workspace())
    work, logs = odd.parent / "work", odd.parent / "logs"
    context = loaded_study.context_of(loaded, workspace.Workspace(device="cpu"), work, logs)
    tracker = MemoryTracker()
    tracker.open("odd", {})
    Scheduler(loaded.study, tracker, context, loaded.digests, 2, local.pool_for("cpu"), Silent()).run()
    together = {record.arm: record for record in tracker.records("odd")}
    failed = {arm: record.error for arm, record in together.items() if record.status == "FAILED"}
    assert failed == {"interrupt": "KeyboardInterrupt: of its own (linear_toy/odd.py, line 40)"}
    elsewhere = replace(context, work=odd.parent / "elsewhere", logs=odd.parent / "elsewhere")
    for arm in ("plain", "numpy", "random"):
        alone = execute(plan.compare_spec(loaded.study, arm, 1), elsewhere)
        assert alone.status == "FINISHED"
        assert alone.scores.items() <= together[arm].scores.items()
    assert scores(together["print"]) == scores(together["plain"])
    assert len({tuple(scores(together[arm]).items()) for arm in ("plain", "process", "numpy", "random")}) == 4
    log = (logs / "print-seed1.log").read_text(encoding="utf-8")
    for stage in ("building", "training"):
        assert all(f"{stage} {where}\n" in log for where in ("in Python", "in a child", "by its number"))


@pytest.mark.parametrize(
    ("how", "reason"), [("cancelled", "CancelledError"), ("interrupt", "KeyboardInterrupt"), ("exit", "SystemExit")]
)
def test_what_is_raised_while_components_are_built_is_told_by_name(odd: Path, how: str, reason: str) -> None:
    text = odd.read_text(encoding="utf-8")
    broken = f'set.model = {{ factory = "linear_toy.odd:broken", how = "{how}" }}'
    odd.write_text(text.replace('set."model.oddity" = "random"', broken), encoding="utf-8")
    loaded = loaded_study.load(odd, workspace.Workspace())
    with pytest.raises(InputError, match=re.escape(f"settings.model of arm random: {reason}: {how} it was")):
        component_checks.build_all(loaded, workspace.Workspace())


def test_ctrl_c_while_components_are_built_is_the_persons(odd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = loaded_study.load(odd, workspace.Workspace())

    def press(*_: object) -> None:
        raise Interrupted("Ctrl-C")

    monkeypatch.setattr(component_checks, "_build", press)
    with pytest.raises(Interrupted):
        component_checks.build_all(loaded, workspace.Workspace())


def test_what_components_do_to_the_driver_does_not_stay(odd: Path) -> None:
    folder, environment = Path.cwd(), dict(os.environ)
    loaded = loaded_study.load(odd, workspace.Workspace())
    component_checks.build_all(loaded, workspace.Workspace())
    assert (Path.cwd(), dict(os.environ)) == (folder, environment)


def test_what_components_print_does_not_come_between_the_answer(
    odd: Path,
    project: Project,
    initialised_store: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    text = odd.read_text(encoding="utf-8")
    odd.write_text(text[: text.index("[arms.process]")] + "[arms.plain]\n", encoding="utf-8")
    project.store(initialised_store)
    for command in (("plan", "odd.toml", "--check", "--json"), ("run", "odd.toml", "--workers", "1", "--json")):
        monkeypatch.setattr(sys, "argv", ["ablate", *command])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        assert ended.value.code == 0, err
        assert as_json(out)
        assert all(f"building {where}\n" in err for where in ("in Python", "in a child", "by its number"))
        assert ("training in" in err) == (command[0] == "plan")  # which times a few steps; a run prints into its log
