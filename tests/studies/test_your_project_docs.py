"""docs/your-project.md: its function's story works as it is told, its table is judged, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy_project import Project

from ablate.study import study_file

Cli = Callable[..., Any]
DOCS = Path(__file__).resolve().parents[2] / "docs"
TEXT = (DOCS / "your-project.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def told(story: str) -> list[list[str]]:
    """The arguments of its commands."""
    return [shlex.split(line.removeprefix("$ ablate "), comments=True) for line in story.splitlines()]


@pytest.mark.usefixtures("threads")
def test_the_story_of_a_function_works_as_it_is_told(
    tmp_path: Path, initialised_store: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "ablation", raising=False)
    (code,), (study,) = blocks("python"), blocks("toml")
    (tmp_path / "ablation.py").write_text(code, encoding="utf-8")
    (tmp_path / "degree.toml").write_text(study, encoding="utf-8")
    assert study_file.load(tmp_path / "degree.toml").trainer == "function"
    Project(tmp_path).store(initialised_store)
    commands = told(blocks("console")[1])
    assert [verb for verb, *_ in commands] == ["plan", "run", "compare"]
    for arguments in commands:
        done = cli(*arguments, *(("--workers", "1") if arguments[0] == "run" else ()))
        assert done.code == 0, (arguments, done.err)
    assert (tmp_path / "reports" / "degree" / "report.md").is_file()


def test_the_table_is_judged(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results.csv").write_text(blocks("csv")[0], encoding="utf-8")
    (arguments,) = told(blocks("console")[2])
    done = cli(*arguments)
    assert (done.code, done.out.partition(":")[0]) == (0, "supported"), done.err


def test_its_links_lead_to_files_and_sections() -> None:
    headings = {re.sub(r"\W+", "-", line.lstrip("# ").lower()) for line in TEXT.splitlines() if line.startswith("#")}
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        file, _, section = target.partition("#")
        assert (DOCS / file).exists() if file else section in headings, target
