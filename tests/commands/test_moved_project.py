"""A project whose folder was copied: every command works with the copy, and the original is left alone."""

from __future__ import annotations

import re
import shutil
import sqlite3
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from toy_project import Project

from ablate.commands import report
from ablate.scheduler.workspace import Workspace

Cli = Callable[..., Any]


@pytest.fixture
def copied(finished: Project, project: Project, tmp_path: Path) -> Project:
    """A copy that was moved on from where it was made; the folder that its database names is there no more."""
    first = tmp_path / "first" / "mlruns"
    shutil.copytree(finished.folder / "mlruns", first)
    Workspace(first).tracker()  # which makes the copy a store of its own
    shutil.move(first, project.folder / "mlruns")
    return project


def test_the_report_and_the_comparison_are_those_of_the_original(copied: Project, finished: Project, cli: Cli) -> None:
    answer = cli("report", "linear")
    assert answer.code == 0, answer.err
    assert copied.results == finished.results
    assert "error" in cli("compare", "linear", "garden", "plain").out
    model = report.results("linear", Workspace()).artifact("garden", 1, "model")
    assert model is not None
    assert model.is_relative_to(copied.folder)


def test_an_export_holds_what_it_says(copied: Project, zipped: Path, cli: Cli) -> None:
    answer = cli("export", "linear", "moved.zip")
    assert answer.code == 0, answer.err
    said = re.search(r"(\d+) runs and (\d+) models", answer.out)
    assert said is not None
    with zipfile.ZipFile("moved.zip") as archive, zipfile.ZipFile(zipped) as original:
        assert sorted(archive.namelist()) == sorted(original.namelist())
        models = [name for name in archive.namelist() if name.endswith("weights.safetensors")]
    assert said.groups() == ("10", str(len(models)))


def test_an_import_goes_into_the_copy(copied: Project, zipped: Path, cli: Cli, tmp_path: Path) -> None:
    with closing(sqlite3.connect("mlruns/mlflow.db")) as store, store:
        for table in ("runs", "tags", "params", "latest_metrics", "metrics"):
            store.execute(f"DELETE FROM {table}")
    answer = cli("import", str(zipped))
    assert answer.out == "linear: 10 runs and 6 models imported\n", answer.err
    model = report.results("linear", Workspace()).artifact("garden", 1, "model")
    assert model is not None
    assert model.is_relative_to(copied.folder)
    assert not (tmp_path / "first").joinpath("mlruns").exists()
