"""A data file that changes under a study's finished runs: what counts then, as every command says it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_project import Project, as_json

Cli = Callable[..., Any]


def town(project: Project, seed: int) -> None:
    np.savez(project.folder / "town.npz", houses=np.random.default_rng(seed).normal(size=(256, 3)))


@pytest.fixture
def on_file(project: Project, initialised_store: Path, threads: None) -> Project:
    """The toy study without tuning, on a data file."""
    project.store(initialised_store)
    project.without_tuning()
    project.edit(("count = 256", 'file = "town.npz"'))
    town(project, 0)
    return project


def statuses(project: Project) -> dict[str, set[str]]:
    """By arm, as results.csv says."""
    found: dict[str, set[str]] = {}
    for line in project.results.decode().splitlines()[1:]:
        arm, _, status, *_ = line.split(",")
        found.setdefault(arm, set()).add(status)
    return found


def test_runs_of_another_content_are_in_no_table_and_told_of(on_file: Project, cli: Cli) -> None:
    run = ("run", "linear.toml", "--workers", "1")
    assert cli(*run).code == 0
    first = on_file.results
    assert cli("status", "linear.toml").code == 0

    town(on_file, 1)
    status = cli("status", "linear.toml")
    assert status.code == 1
    outdated = [line for line in status.out.splitlines() if line.startswith("outdated")]
    assert (len(outdated), outdated[0]) == (6, "outdated    compare plain seed 1  data content")
    assert status.out.count("·") == 6 + 1  # with the legend
    assert "differs from the last `ablate run`: data content changed for plain, garden, mean" in status.err
    assert cli("report", "linear").code == 0  # by the stored document, whatever lies on the disk
    assert on_file.results == first
    power = as_json(cli("plan", "linear.toml", "--json").out)["power"]
    assert power["prospects"][0]["pairs"] == 2

    answer = cli(*run, "--only", "garden")
    assert (answer.code, "amended since the last run: data content changed" in answer.err) == (0, True)
    assert statuses(on_file) == {"plain": {"missing"}, "garden": {"done"}, "mean": {"missing"}}
    page = (on_file.folder / "reports" / "linear" / "report.md").read_text(encoding="utf-8")
    assert "“Size and age”, comparison, 2 runs (seeds 1, 2): data content" in page
    assert "supported" not in page
    (compared, _) = as_json(cli("compare", "linear", "garden", "plain", "--json").out)["comparisons"]
    assert [(pair["arm"] is None, pair["against"]) for pair in compared["pairs"]] == [(False, None)] * 2
    status = cli("status", "linear.toml", "--json")
    cells, old = as_json(status.out)["cells"], as_json(status.out)["outdated"]
    assert [cell["state"] for cell in cells] == ["missing"] * 2 + ["done"] * 2 + ["missing"] * 2
    assert (len(old), {each["changed"] for each in old}) == (6, {"data content"})
    assert as_json(status.out)["differences"] == []

    town(on_file, 0)  # the runs of the first content count again: nothing is to be done
    answer = cli(*run)
    assert (answer.code, len(on_file.records())) == (0, 8)
    assert on_file.results == first


def test_plan_and_status_say_which_settings_were_edited(on_file: Project, cli: Cli) -> None:
    assert cli("run", "linear.toml", "--workers", "1", "--only", "plain").code == 0
    on_file.edit(("noise = 0.2", "noise = 0.3"))
    status = cli("status", "linear.toml")
    assert "outdated    compare plain seed 1  settings (data.noise was 0.2, is 0.3)" in status.out.splitlines()
    assert "differs from the last `ablate run`: settings.data.noise of plain, garden, mean: 0.2 → 0.3" in status.err
