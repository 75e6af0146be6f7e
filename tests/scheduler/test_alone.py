"""A run is alone in its process: what a component does to it, raises in it or prints reaches no other run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from toy_project import Project, as_json

from ablate.executors import local
from ablate.scheduler import component_checks, loaded_study, workspace
from ablate.scheduler.scheduler import Scheduler
from ablate.scheduler.shutdown import Interrupted
from ablate.study import InputError, Record, RunResult, RunSpec
from ablate.tracking.memory import MemoryTracker

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
tag = 0

[settings.loss]
factory = "linear_toy.components:squared"

[settings.training]
epochs = 1
batch_size = 32
precision = "float32"

[arms.plain]

[arms.process]
set."model.oddity" = "process"

[arms.print]
set."model.oddity" = "print"

[arms.numpy]
set."model.oddity" = "numpy"

[arms.random]
set."model.oddity" = "random"

[arms.cancelled]
set."model.oddity" = "cancelled"

[arms.interrupt]
set."model.oddity" = "interrupt"

[arms.generator]
set."model.oddity" = "generator"

[arms.again]
label = "Plain in all that counts"
set."model.tag" = 1
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


def run(file: Path, workers: int) -> dict[str, Record]:
    """Every arm of the study in real processes; its record by arm."""
    loaded = loaded_study.load(file, workspace.Workspace())
    root = file.parent / f"{workers}-workers"
    context = loaded_study.context_of(loaded, workspace.Workspace(device="cpu"), root / "work", root / "logs")
    tracker = MemoryTracker()
    tracker.open("odd", {})
    Scheduler(loaded.study, tracker, context, loaded.digests, workers, local.pool_for("cpu"), Silent()).run()
    return {record.arm: record for record in tracker.records("odd")}


def scores(records: Mapping[str, Record]) -> dict[str, dict[str, float]]:
    """What does not depend on how fast a machine is, by arm."""
    return {arm: {k: v for k, v in r.scores.items() if not k.startswith("time/")} for arm, r in records.items()}


def test_no_run_changes_another(odd: Path) -> None:
    one, two = run(odd, 1), run(odd, 2)
    failed = {arm: record.error for arm, record in one.items() if record.status == "FAILED"}
    assert failed == {
        "cancelled": "CancelledError: deadline",
        "interrupt": "KeyboardInterrupt: of its own",
        "generator": "GeneratorExit: over",
    }
    assert {arm: record.error for arm, record in two.items() if record.status == "FAILED"} == failed
    alone, together = scores(one), scores(two)
    assert together == alone
    assert alone["again"] == alone["plain"] == alone["print"]
    assert len({tuple(alone[arm].items()) for arm in ("plain", "process", "numpy", "random")}) == 4
    log = (odd.parent / "1-workers" / "logs" / "print-seed1.log").read_text(encoding="utf-8")
    for stage in ("building", "training"):
        assert all(f"{stage} {where}\n" in log for where in ("in Python", "in a child", "by its number"))


@pytest.mark.parametrize(
    ("how", "reason"), [("cancelled", "CancelledError"), ("interrupt", "KeyboardInterrupt"), ("exit", "SystemExit")]
)
def test_what_is_raised_while_components_are_built_is_told_by_name(odd: Path, how: str, reason: str) -> None:
    text = odd.read_text(encoding="utf-8")
    broken = f'set.model = {{ factory = "linear_toy.odd:broken", how = "{how}" }}'
    odd.write_text(text.replace('set."model.tag" = 1', broken), encoding="utf-8")
    loaded = loaded_study.load(odd, workspace.Workspace())
    with pytest.raises(InputError, match=re.escape(f"settings.model of arm again: {reason}: {how} it was")):
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


def test_what_components_print_does_not_come_between_the_answer(odd: Path, project: Project) -> None:
    text = odd.read_text(encoding="utf-8")
    odd.write_text(text[: text.index("[arms.numpy]")].replace('[arms.process]\nset."model.oddity" = "process"\n', ""))
    for command in (("plan", "odd.toml", "--check", "--json"), ("run", "odd.toml", "--workers", "1", "--json")):
        done = project.call(*command)
        assert done.returncode == 0, done.stderr
        assert as_json(done.stdout)
        assert all(f"building {where}\n" in done.stderr for where in ("in Python", "in a child", "by its number"))
        assert "training in" not in done.stderr
