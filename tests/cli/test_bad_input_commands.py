"""Commands given what they cannot use: one message, exit code 2, nothing made, no finished run forgotten."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def refused(project: Project, cli: Cli, arguments: list[str], message: str) -> None:
    before = content(project.folder)
    answer = cli(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err
    assert content(project.folder) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "lienar.toml"], "lienar.toml: no such file; did you mean 'linear.toml'?"),
        (["run", "linear.toml", "--only", "gardn"], "--only gardn: no such arm"),
        (["run", "linear.toml", "--only", "garden:9"], "no such seed"),
        (["run", "linear.toml", "--rerun", "gardn"], "--rerun: must be failed, stale or an arm"),
        (["run", "linear.toml", "--rerun", ""], 'must be failed, stale or an arm of this study (got "")'),
        (["run", "linear.toml", "--only", "plain", "--rerun", "garden"], "--rerun: is an arm that --only leaves out"),
        (["run", "linear.toml", "--smoke", "--only", "plain"], "--smoke: goes through every arm"),
        (["run", "linear.toml", "--smoke", "--rerun", "failed"], "--smoke: goes through every arm"),
        (["run", "linear.toml", "--device", "meta"], "valid: auto, cpu, cuda, cuda:N"),
        (["run", "linear.toml", "--device", "cpu:7"], "valid: auto, cpu, cuda, cuda:N"),
        (["run", "linear.toml", "--device", "cuda:77"], "--device: not usable on this machine (got cuda:77)"),
        (["run", "linear.toml", "--workers", "0"], "--workers"),
        (["run", "linear.toml", "--epochs", "3"], "No such option"),
        (["run", "linear.toml", "--reports", "linear.toml"], "--reports: cannot be written"),
        (["run", "linear.toml", "--reports", "linear.toml/reports"], "--reports: cannot be written"),
        (["run", "linear.toml", "--mlruns", "linear.toml/mlruns"], "must be a folder that can be written"),
        (["run", "linear.toml", "--tracking-uri", "ftp://example.org"], "unknown kind of store"),
        (["run", "linear.toml", "--tracking-uri", "mysql://127.0.0.1:9/x"], "the database cannot be opened"),
        (["run", "linear.toml", "--tracking-uri", "http://127.0.0.1:9"], "the tracking server does not answer"),
        (["report", "linear"], "there is no store here"),
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
def test_arguments_of_no_use(project: Project, cli: Cli, arguments: list[str], message: str) -> None:
    refused(project, cli, arguments, message)


@pytest.mark.parametrize("option", ["--only", "--rerun"])
def test_a_wrong_choice_of_runs_is_told_before_their_number(project: Project, cli: Cli, option: str) -> None:
    first, second, *_ = cli("run", "linear.toml", option, "gardn").err.splitlines()
    assert (first.partition(":")[0], second.partition(":")[0]) == ("preparing linear.toml", "error")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (('name = "linear"', "name = linear"), "linear.toml: line 6, column"),
        (("columns = 2", "columns = 2\nrows = 1"), "takes no such argument"),
        (("components:Line", "components:Lime"), "no 'Lime'"),
        (("components:Line", "no_such_module:Line"), "no module named"),
        (("count = 256", 'file = "houses.npz"'), "linear.toml: settings.data.file: no such data file"),
        (("noise = 0.2", "noise = -1.0"), "noise must not be negative"),
        (('"model.columns" = 3', '"model.columns" = 4'), "columns must be 1, 2 or 3, got 4"),
        (("scale = 1.0", "scale = 0.0"), "scale must be positive"),
        (("count = 256", "count = 1"), "no training examples"),
        (("conditions.size", "conditions.sise"), "did you mean"),
    ],
)
def test_a_study_that_cannot_run(project: Project, cli: Cli, edit: tuple[str, str], message: str) -> None:
    project.edit(edit)
    refused(project, cli, ["run", "linear.toml"], message)


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


@pytest.mark.parametrize(
    "arguments",
    [
        *(["plan", "linear.toml"], ["status", "linear.toml"], ["run", "linear.toml"], ["report", "linear"], ["ui"]),
        ["evaluate", "linear.toml", "--data", "other.npz"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_file_that_is_no_database(store: Path, cli: Cli, arguments: list[str]) -> None:
    store.write_bytes(b"garbage" * 100)
    answer = cli(*arguments)
    assert answer.code == 2
    assert "(got file is not a database)" in answer.err
    assert [path.name for path in store.parent.iterdir()] == ["mlflow.db"]


def test_a_report_that_cannot_be_written(store: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from ablate.report import build

    answer = cli("report", "linear", "--reports", "linear.toml/reports")
    assert answer.code == 2
    assert "--reports: cannot be written" in answer.err

    def full(*_: object, **__: object) -> Path:
        raise OSError(28, "No space left on device", "reports")

    monkeypatch.setattr(build, "build", full)
    answer = cli("report", "linear")
    assert answer.code == 2
    assert "--reports: cannot be written (got [Errno 28] No space left on device: 'reports')" in answer.err
