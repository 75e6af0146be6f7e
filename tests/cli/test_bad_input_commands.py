"""Commands given what they cannot use: one message, exit code 2, nothing made, no finished run forgotten."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_project import Project

Cli = Callable[..., Any]


@pytest.fixture
def store(project: Project, finished: Project) -> Path:
    """The database of a finished study, to be spoilt."""
    project.store(finished.folder / "mlruns" / "mlflow.db")
    return project.folder / "mlruns" / "mlflow.db"


def test_a_device_or_pipe_is_not_replaced_by_an_export(store: Path, project: Project, cli: Cli) -> None:
    """As root it took the place of /dev/full, for everyone on the machine."""
    pipe = project.folder / "linear.zip"
    os.mkfifo(pipe)
    answer = cli("export", "linear", "linear.zip")
    assert (answer.code, answer.out) == (2, "")
    assert "OUT.zip: cannot be written: it is no plain file" in answer.err
    assert pipe.is_fifo()


def content(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if "__pycache__" not in path.parts}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "linear.toml", "--rerun", ""], 'must be failed, stale or an arm of this study (got "")'),
        (["run", "linear.toml", "--only", "plain", "--rerun", "garden"], "--rerun: is an arm that --only leaves out"),
        (["run", "linear.toml", "--smoke", "--only", "plain"], "--smoke: goes through every arm"),
        (["run", "linear.toml", "--smoke", "--rerun", "failed"], "--smoke: goes through every arm"),
        (["run", "linear.toml", "--device", "meta"], "valid: auto, cpu, cuda, cuda:N"),
        (["run", "linear.toml", "--device", "cpu:7"], "valid: auto, cpu, cuda, cuda:N"),
        (["run", "linear.toml", "--reports", "linear.toml"], "--reports: cannot be written"),
        (["run", "linear.toml", "--reports", "linear.toml/reports"], "--reports: cannot be written"),
        (["run", "linear.toml", "--mlruns", "linear.toml/mlruns"], "must be a folder that can be written"),
        (["run", "linear.toml", "--tracking-uri", "mysql://127.0.0.1:9/x"], "the database cannot be opened"),
        (["report", "linear", "--tracking-uri", "sqlite:///none.db"], "none.db: there is no store here"),
        (["import", "none.zip"], "error: none.zip: no such file\n"),
        (["evaluate", "linear.toml", "--data", "other.npz"], "mlruns: there is no store here"),
        (
            ["evaluate", "linear.toml", "--data", "other.npz", "--out", "no/x.csv"],
            "--out: cannot be written: its folder does not exist",
        ),
        (
            ["evaluate", "linear.toml", "--data", "other.npz", "--out", "linear_toy"],
            "--out: cannot be written: it is a folder",
        ),
    ],
)
def test_refused_before_anything_is_made(project: Project, cli: Cli, arguments: list[str], message: str) -> None:
    before = content(project.folder)
    answer = cli(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err
    assert content(project.folder) == before


def test_an_empty_address_means_the_local_store(project: Project, cli: Cli) -> None:
    before = content(project.folder)
    assert cli("plan", "linear.toml", "--tracking-uri", "").code == 0
    assert content(project.folder) == before


def test_what_a_factory_made_must_be_of_use(project: Project, cli: Cli) -> None:
    made = "\n\ndef five(columns, dropout):\n    return 5\n\n\ndef nothing(scale):\n    return None\n"
    components = project.folder / "linear_toy" / "components.py"
    components.write_text(components.read_text(encoding="utf-8") + made, encoding="utf-8")
    project.edit(("components:Line", "components:five"), ("components:squared", "components:nothing"))
    answer = cli("plan", "linear.toml", "--check")
    assert answer.code == 2
    assert "settings.model of arm plain: its factory must make a torch.nn.Module (got int)" in answer.err
    assert "settings.loss of arm plain: its factory must make a function of output and targets" in answer.err


def test_done_again_is_only_what_was_asked_for(
    project: Project, cli: Cli, threads: None, initialised_store: Path
) -> None:
    project.store(initialised_store)
    project.without_tuning()
    assert cli("run", "linear.toml", "--workers", "1", "--only", "mean").code == 0
    first = {record.seed: record.run_id for record in project.records()}
    assert cli("run", "linear.toml", "--workers", "1", "--only", "mean:2", "--rerun", "mean").code == 0
    again = {record.seed: record.run_id for record in project.records()}
    assert again[1] == first[1]
    assert again[2] != first[2]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE tags SET value = '{' WHERE key = 'ablate.overrides'",
        "UPDATE tags SET value = 'one' WHERE key = 'ablate.seed'",
        "DELETE FROM tags WHERE key = 'ablate.arm'",
    ],
)
@pytest.mark.parametrize("command", ["plan", "status", "run"])
def test_a_store_with_damaged_tags(store: Path, cli: Cli, damage: str, command: str) -> None:
    with closing(sqlite3.connect(store)) as connection:
        connection.execute(damage)
        connection.commit()
    answer = cli(command, "linear.toml")
    assert answer.code == 2
    assert "its tags are damaged" in answer.err


@pytest.mark.parametrize(
    "arguments", [["report", "linear"], ["evaluate", "linear.toml", "--data", "other.npz"], ["ui"]]
)
def test_a_file_that_is_no_database(store: Path, cli: Cli, arguments: list[str]) -> None:
    store.write_bytes(b"garbage" * 100)
    answer = cli(*arguments)
    assert answer.code == 2
    assert "(got file is not a database)" in answer.err
    assert [path.name for path in store.parent.iterdir()] == ["mlflow.db"]


@pytest.mark.parametrize("reports", ["linear.toml", "linear.toml/reports"])
def test_a_report_that_cannot_be_written(store: Path, cli: Cli, reports: str) -> None:
    answer = cli("report", "linear", "--reports", reports)
    assert answer.code == 2
    assert "--reports: cannot be written" in answer.err


def test_a_report_folder_that_turns_out_to_be_closed(store: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from ablate.report import build

    def full(*_: object, **__: object) -> Path:
        raise OSError(28, "No space left on device", "reports")

    monkeypatch.setattr(build, "build", full)
    answer = cli("report", "linear")
    assert answer.code == 2
    assert "--reports: cannot be written (got [Errno 28] No space left on device: 'reports')" in answer.err


def test_other_data_that_the_data_source_cannot_read(
    project: Project, cli: Cli, threads: None, initialised_store: Path
) -> None:
    project.store(initialised_store)
    project.without_tuning()
    project.edit(("count = 256", 'file = "village.npz"'))
    np.savez(project.folder / "village.npz", houses=np.random.default_rng(0).normal(size=(256, 3)))
    assert cli("run", "linear.toml", "--only", "mean:1", "--workers", "1").code == 0
    answer = cli("evaluate", "linear.toml", "--data", "linear.toml")
    assert answer.code == 2
    assert "linear.toml: cannot be read as data of this study (got ValueError" in answer.err
