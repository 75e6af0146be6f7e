"""`ablate run` of a finished study, and commands that only read: what they import, and what they leave alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy_project import Project, clean_environment

from ablate.scheduler.workspace import Workspace

Cli = Callable[..., Any]


@pytest.fixture
def copied(finished: Project, project: Project) -> Project:
    """A copy of the finished study, to write to."""
    for name in ("mlruns", "reports"):
        shutil.copytree(finished.folder / name, project.folder / name)
    return project


def imported(project: Project, *arguments: str) -> set[str]:
    """The modules that a command imports, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "ablate", *arguments],
        cwd=project.folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


@pytest.mark.parametrize(
    ("arguments", "needless"),
    [
        (["status", "linear.toml"], {"torch", "mlflow", "optuna", "matplotlib", "pandas"}),
        (["compare", "linear", "garden", "plain"], {"torch", "mlflow", "optuna", "matplotlib"}),
        (["run", "linear.toml"], {"torch", "mlflow", "optuna", "matplotlib"}),
        (["report", "linear"], {"torch", "mlflow", "optuna"}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_a_command_does_not_import(copied: Project, arguments: list[str], needless: set[str]) -> None:
    modules = imported(copied, *arguments)
    assert "ablate" in modules
    assert not needless & modules


def files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def report(project: Project) -> Path:
    return project.folder / "reports" / "linear" / "report.md"


def test_a_finished_study_is_shown_and_nothing_is_written(copied: Project, cli: Cli) -> None:
    before = files(copied.folder)
    answer = cli("run", "linear.toml", "--json")
    assert answer.code == 0, answer.err
    assert '"done": 6, "failed": 0, "missing": 0' in answer.out
    assert files(copied.folder) == before


@pytest.mark.usefixtures("threads")
class TestTheReportIsWrittenAgain:
    def test_where_it_is_missing(self, copied: Project, cli: Cli) -> None:
        text = report(copied).read_text(encoding="utf-8")
        report(copied).unlink()
        assert cli("run", "linear.toml", "--workers", "1").code == 0
        assert report(copied).read_text(encoding="utf-8") == text.replace(
            "ablate run linear.toml --json --workers 1", "ablate run linear.toml --workers 1"
        )

    def test_where_the_store_has_changed_since(self, copied: Project, cli: Cli) -> None:
        later = report(copied).stat().st_mtime_ns + 10**9
        os.utime(copied.folder / "mlruns" / "mlflow.db", ns=(later, later))
        before = report(copied).stat().st_mtime_ns
        assert cli("run", "linear.toml", "--workers", "1").code == 0
        assert report(copied).stat().st_mtime_ns > before

    def test_where_the_study_says_something_else(self, copied: Project, cli: Cli) -> None:
        copied.edit(("Garden too", "The garden too"))
        answer = cli("run", "linear.toml", "--workers", "1")
        assert answer.code == 0, answer.err
        assert "amended since the last run" in answer.err
        assert "The garden too" in report(copied).read_text(encoding="utf-8")


def test_a_local_store_reads_as_the_tracker_does(copied: Project) -> None:
    workspace = Workspace()
    reader, tracker = workspace.reader(), workspace.tracker()
    assert type(reader) is not type(tracker)
    assert reader.studies() == tracker.studies() == ["linear"]
    assert reader.document("linear") == tracker.document("linear") != None  # noqa: E711
    records = reader.records("linear")
    assert repr(records) == repr(tracker.records("linear"))
    ids = [record.run_id for record in records]
    assert dict(reader.histories("linear", ids)) == dict(tracker.histories("linear", ids)) != {}
    for run_id in ids:
        assert reader.history(run_id) == tracker.history(run_id)
        for path in ("scores.parquet", "model", "nothing"):
            assert reader.artifact(run_id, path) == tracker.artifact(run_id, path)


def test_a_store_that_is_not_there_reads_as_empty(project: Project) -> None:
    reader = Workspace().reader()
    assert (reader.studies(), reader.document("linear"), reader.records("linear")) == ([], None, [])
    assert not (project.folder / "mlruns").exists()
