"""`ablate run` of a finished study, and commands that only read: what they import, and what they leave alone."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from toy_project import Project, clean_environment

from ablate.commands import run
from ablate.commands.report import write_report
from ablate.scheduler import finished_marker
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
        (["--help"], {"torch", "mlflow", "optuna", "matplotlib", "pandas", "scipy", "numpy", "pydantic"}),
        (["plan", "linear.toml"], {"torch", "mlflow", "optuna", "matplotlib", "pandas"}),
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
class TestWhatHasChangedIsNoticed:
    def run_again(self, project: Project, cli: Cli, *options: str) -> str:
        answer = cli("run", "linear.toml", "--workers", "1", *options)
        assert answer.code == 0, answer.err
        return str(answer.err)

    @pytest.mark.parametrize("name", ["report.md", "figures/matrix.png", "timings.csv"])
    def test_a_lost_or_other_file_of_the_report_is_written_again(
        self, copied: Project, cli: Cli, name: str, rendered: None
    ) -> None:
        file = report(copied).parent / name
        content = file.read_bytes()
        if name == "timings.csv":  # as of another store with the same folder of reports, or of an earlier commit
            file.write_bytes(content.replace(b",cost/latency_ms_p50,", b",cost/latency_ms_p50,9"))
        else:
            file.unlink()
        self.run_again(copied, cli)
        assert file.read_bytes() == content.replace(b"linear.toml --json", b"linear.toml")  # as it was run last

    def test_a_change_of_the_store_while_the_report_was_written(
        self, copied: Project, cli: Cli, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = copied.folder / "mlruns" / "mlflow.db"

        def write_while_another_changes_the_store(*arguments: Any) -> Path:
            later = store.stat().st_mtime_ns + 10**9
            os.utime(store, ns=(later, later))
            return write_report(*arguments)

        monkeypatch.setattr(run, "write_report", write_while_another_changes_the_store)
        report(copied).unlink()
        self.run_again(copied, cli)
        monkeypatch.setattr(run, "write_report", write_report)  # not `undo`: the fixtures use it too
        before = report(copied).stat().st_mtime_ns
        self.run_again(copied, cli)
        assert report(copied).stat().st_mtime_ns > before

    def test_another_version_of_ablate(self, copied: Project, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
        before = report(copied).stat().st_mtime_ns
        monkeypatch.setattr(finished_marker, "version", lambda name: "1000.0")
        self.run_again(copied, cli)
        assert report(copied).stat().st_mtime_ns > before

    def test_a_study_that_says_something_else(self, copied: Project, cli: Cli) -> None:
        copied.edit(("Garden too", "The garden too"))
        assert "amended since the last run" in self.run_again(copied, cli)
        assert "The garden too" in report(copied).read_text(encoding="utf-8")

    def test_latency_that_was_not_measured_is_measured(self, copied: Project, cli: Cli) -> None:
        """As after `--only`, which leaves it out."""
        latency = "'cost/latency_ms_p50', 'cost/latency_ms_p95'"
        for table in ("metrics", "latest_metrics"):
            _execute(copied, f"DELETE FROM {table} WHERE key IN ({latency})")
        assert cli("report", "linear").code == 0
        assert "latency_ms" not in (report(copied).parent / "timings.csv").read_text(encoding="utf-8")
        self.run_again(copied, cli)
        assert "latency_ms" in (report(copied).parent / "timings.csv").read_text(encoding="utf-8")

    def test_a_session_that_was_killed_before_its_end_is_ended(self, copied: Project, cli: Cli) -> None:
        _execute(copied, "UPDATE runs SET status = 'RUNNING' WHERE name = 'linear'")
        self.run_again(copied, cli)
        assert _execute(copied, "SELECT status FROM runs WHERE name = 'linear'") == [("FINISHED",)]

    def test_a_change_in_the_write_ahead_log_alone(self, copied: Project, cli: Cli) -> None:
        _execute(copied, "PRAGMA journal_mode = WAL")
        before = report(copied).read_text(encoding="utf-8")
        with closing(sqlite3.connect(copied.folder / "mlruns" / "mlflow.db", isolation_level=None)) as held_open:
            held_open.execute("UPDATE metrics SET value = 0.123 WHERE key = 'val/close'")
            self.run_again(copied, cli)
        assert report(copied).read_text(encoding="utf-8") != before

    def test_the_database_of_the_dashboard_is_written(self, copied: Project, cli: Cli, tmp_path: Path) -> None:
        (copied.folder / "mlruns" / "optuna.db").unlink()
        self.run_again(copied, cli)
        assert (copied.folder / "mlruns" / "optuna.db").is_file()
        self.run_again(copied, cli, "--storage", f"sqlite:///{tmp_path}/dashboard.db")
        assert (tmp_path / "dashboard.db").is_file()


def _execute(project: Project, statement: str) -> list[tuple[Any, ...]]:
    """Change or ask the store as another program does."""
    with closing(sqlite3.connect(project.folder / "mlruns" / "mlflow.db", isolation_level=None)) as store:
        return store.execute(statement).fetchall()


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
        for path in ("scores.parquet", "model", "nothing"):
            assert reader.artifact(run_id, path) == tracker.artifact(run_id, path)


def test_a_store_that_is_not_there_reads_as_empty(project: Project) -> None:
    reader = Workspace().reader()
    assert (reader.studies(), reader.document("linear"), reader.records("linear")) == ([], None, [])
    assert not (project.folder / "mlruns").exists()
