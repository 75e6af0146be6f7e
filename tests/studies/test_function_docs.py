"""docs/function.md: its study loads, and it names what a function is given and the keys that it may use."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path

from ablate.study import study_file
from ablate.study.run_rules import FOR_COMMANDS, RESERVED
from ablate.trainers.function_run import Run

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "function.md").read_text(encoding="utf-8")


def test_the_study_loads(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "dropout.toml").write_text(text, encoding="utf-8")
    assert study_file.load(tmp_path / "dropout.toml").trainer == "function"


def test_every_reserved_key_is_documented() -> None:
    own, refused = re.findall(r"the reserved ones \((.*?)\)\. (.*?) are for \[commands\]", TEXT, re.DOTALL)[0]
    assert set(re.findall(r"`(\w+)`", refused)) == set(FOR_COMMANDS)
    assert set(re.findall(r"`(\w+)`", own)) == set(RESERVED) - set(FOR_COMMANDS) - {"command"}


def test_what_the_function_is_given_is_documented_in_order() -> None:
    table = TEXT.partition("## What the function is given")[2].partition("##")[0]
    public = [field.name for field in dataclasses.fields(Run) if field.init and not field.name.startswith("_")]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == public


def test_every_method_is_documented() -> None:
    section = TEXT.partition("## What it may report")[2].partition("##")[0]
    public = [name for name, value in vars(Run).items() if inspect.isfunction(value) and not name.startswith("_")]
    assert re.findall(r"^- `run\.(\w+)\(", section, re.MULTILINE) == public
