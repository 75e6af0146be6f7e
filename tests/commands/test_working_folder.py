"""A component that changes the working folder moves nothing; a folder's name may hold what addresses give a meaning."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_project import Project

from ablate.commands import run
from ablate.scheduler.component_checks import build_all
from ablate.scheduler.loaded_study import context_of, load
from ablate.scheduler.workspace import Workspace
from ablate.untrusted import addresses

Cli = Callable[..., Any]
LEAVES = "import os; os.chdir(os.path.dirname(__file__))"


@pytest.fixture
def leaving(project: Project) -> Project:
    """The toy study, whose metrics leave the working folder when they are imported, and every model when it is made."""
    project.without_tuning()
    project.edit(("seeds = [1, 2]", "seeds = [1]"))
    metrics, components = (project.folder / "linear_toy" / f"{name}.py" for name in ("metrics", "components"))
    for file, line in ((metrics, "from __future__ import annotations\n"), (components, "        super().__init__()\n")):
        file.write_text(file.read_text().replace(line, line.rstrip() + f"; {LEAVES}\n"))
    assert "chdir" in metrics.read_text()
    assert "chdir" in components.read_text()
    return project


def test_the_folders_of_a_workspace_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = Workspace(Path("m"), Path("/r"), "sqlite:///a%25b/x.db", Path("d"), storage="sqlite:////o.db")
    monkeypatch.chdir("/")
    for workspace in (given, replace(given, device="cpu")):
        assert (workspace.mlruns, workspace.reports, workspace.data_root) == (
            tmp_path / "m",
            Path("/r"),
            tmp_path / "d",
        )
        assert (workspace.tracking_uri, workspace.storage) == (f"sqlite:///{tmp_path}/a%25b/x.db", "sqlite:////o.db")
    assert Workspace(tracking_uri="http://h/x", storage="postgresql://h/x").tracking_uri == "http://h/x"


def test_building_ends_where_the_command_was_given(leaving: Project) -> None:
    np.savez(leaving.folder / "data.npz", houses=np.ones((64, 3), np.float32))
    leaving.edit(("count = 256", 'file = "data.npz"'))
    workspace = Workspace(Path("mlruns"), data_root=Path())
    loaded = load(Path("linear.toml"), workspace)
    assert Path.cwd() != leaving.folder
    assert len(run.left_to_do(loaded, Workspace(), [], None).cells) == 3
    build_all(loaded, workspace)
    assert Path.cwd() == leaving.folder
    os.chdir("/")
    context = context_of(loaded, workspace, Path(), Path())
    assert (context.study_dir, context.data_root) == (leaving.folder, leaving.folder)


@pytest.mark.usefixtures("threads")
def test_a_component_that_leaves_the_folder_moves_no_store_and_no_report(leaving: Project, cli: Cli) -> None:
    answer = cli("run", "linear.toml", "--workers", "1")
    assert answer.code == 0, answer.err
    assert leaving.statuses() == ["FINISHED"] * 3
    assert (leaving.folder / "reports" / "linear" / "report.md").is_file()
    os.chdir(leaving.folder)
    assert cli("status", "linear.toml").code == 0


@pytest.mark.usefixtures("threads")
def test_a_folder_may_have_a_percent_or_a_question_mark(
    project: Project, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.without_tuning()
    project.edit(("seeds = [1, 2]", "seeds = [1]"))
    folder = tmp_path / "what?%20 100%"
    folder.mkdir()
    project.study.rename(folder / "linear.toml")  # the components are still on the path
    monkeypatch.chdir(folder)
    answer = cli("run", "linear.toml", "--workers", "1")
    assert answer.code == 0, answer.err
    assert {path.name for path in folder.iterdir()} == {"linear.toml", "mlruns", "reports"}
    assert {"mlflow.db", "optuna.db"} <= {path.name for path in (folder / "mlruns").iterdir()}
    assert "could not" not in answer.err
    uri = addresses.default_uri(folder / "mlruns")
    assert addresses.database_file(uri) == folder / "mlruns" / "mlflow.db"
    assert cli("status", "linear.toml", "--tracking-uri", uri).code == 0
    assert cli("report", "linear").out == "reports/linear/report.md\n"
