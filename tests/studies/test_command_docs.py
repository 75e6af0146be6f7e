"""docs/command.md: its story works as it is told, its examples load, and it names every key, placeholder and limit."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy_project import Project

from ablate.study import study_file
from ablate.study.command_template import BUILT_IN
from ablate.study.run_rules import RESERVED, RunSection
from ablate.study.runs import NOT_IN_KEY
from ablate.trainers.child_process import LOG_BYTES, STOP_S
from ablate.trainers.context import THREAD_VARIABLES
from ablate.trainers.given_scores import MAX_BYTES

Cli = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "command.md").read_text(encoding="utf-8")
HEAD = 'name = "s"\nquestion = "q?"\nbaseline = "a"\nseeds = [1]\n[arms.a]\n'


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_the_story_has_at_most_25_lines() -> None:
    assert len(blocks("toml")[0].splitlines()) <= 25


@pytest.mark.usefixtures("threads")
def test_the_story_works_as_it_is_told(
    tmp_path: Path, initialised_store: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (story,) = blocks("console")
    shutil.copy(ROOT / "tests" / "script" / "train.py", tmp_path)
    shutil.copy(ROOT / "tests" / "script" / "numbers.txt", tmp_path)
    (tmp_path / "dropout.toml").write_text(blocks("toml")[0], encoding="utf-8")
    Project(tmp_path).store(initialised_store)
    told = [shlex.split(line.removeprefix("$ "), comments=True) for line in story.splitlines()]
    assert [command[:2] for command in told] == [["ablate", verb] for verb in ("plan", "run", "run", "compare")]
    for _, *arguments in told:
        done = cli(*arguments, *(("--workers", "1") if arguments[0] == "run" else ()))
        assert done.code == 0, (arguments, done.err)
    assert (tmp_path / "reports" / "dropout" / "report.md").is_file()


@pytest.mark.parametrize("fragment", blocks("toml")[1:])
def test_the_other_examples_load(fragment: str, tmp_path: Path) -> None:
    metric = "" if "[metric." in fragment else '[metric.loss]\ndirection = "lower"\n'
    (tmp_path / "study.toml").write_text(HEAD + fragment + metric, encoding="utf-8")
    assert study_file.load(tmp_path / "study.toml").trainer == "command"


def test_the_lines_for_a_curve_write_one(tmp_path: Path) -> None:
    (lines,) = blocks("python")
    exec(lines, {"args": argparse.Namespace(dir=tmp_path), "json": json, "epoch": 3, "loss": 0.5})
    assert (tmp_path / "progress.jsonl").read_text() == '{"epoch": 3, "val_loss": 0.5}\n'


def test_every_key_is_documented_with_its_default() -> None:
    for key in RESERVED:
        row = next(line for line in TEXT.splitlines() if line.startswith(f"| `{key}` |"))
        default = RunSection.model_fields[key].get_default(call_default_factory=True)
        if default and key != "code":
            assert f"`{json.dumps(default)}`" in row or f" {default} " in row, row


def test_every_placeholder_is_documented() -> None:
    assert [name for name in (*BUILT_IN, "budget") if f"| `{{{name}}}` |" not in TEXT] == []


def test_what_is_not_in_the_key_is_documented() -> None:
    (listed,) = re.findall(r"nor are `inputs` by name, (.*?)\. Change one", TEXT)
    assert ["inputs", *re.findall(r"`(\w+)`", listed)] == list(NOT_IN_KEY)


def test_the_limits_are_documented() -> None:
    assert f"the first {LOG_BYTES // 10**6} MB and the last lines" in TEXT
    assert (MAX_BYTES, "of at most a megabyte" in TEXT) == (10**6, True)
    assert (STOP_S, "waits five seconds, then kills" in TEXT) == (5, True)
    assert [name for name in THREAD_VARIABLES if f"`{name}`" not in TEXT] == []
