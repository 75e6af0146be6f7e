"""A study that tunes for every seed, by real commands: killed and continued it ends as if nothing had happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from toy_project import Project, as_json, finish, wait_until

Cli = Callable[..., Any]
ONE_TUNING = 'per = "arm"\ninclude_defaults = true\nseeds = [101]\n'


def per_seed(project: Project, store: Path) -> Project:
    project.store(store)
    project.edit((ONE_TUNING, ""))
    return project


@pytest.mark.usefixtures("threads")
def test_every_seed_of_every_arm_has_a_tuning_of_its_own(project: Project, initialised_store: Path, cli: Cli) -> None:
    per_seed(project, initialised_store)
    done = cli("run", "linear.toml", "--workers", "1")
    assert done.code == 0, done.err
    _check_records(project)
    _check_plan_and_report(project, cli)
    _check_optuna(project)


@pytest.mark.long  # test_pruned_study.py kills a study that tunes for every seed as well
def test_killed_and_continued_it_ends_as_if_nothing_had_happened(
    project: Project, initialised_store: Path, tmp_path: Path, cli: Cli
) -> None:
    whole = per_seed(Project.create(tmp_path / "whole"), initialised_store)
    done = whole.call("run", "linear.toml", "--workers", "1")
    assert done.returncode == 0, done.stderr
    per_seed(project, initialised_store)
    for finished in (2, 7):
        _kill_after(project, finished)
    done = project.call("run", "linear.toml", "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert project.results == whole.results
    for each in (project, whole):
        _check_records(each)
    _check_plan_and_report(project, cli)
    _check_optuna(project)


def _check_records(project: Project) -> None:
    records = [record for record in project.records() if record.status == "FINISHED"]
    assert Counter((r.phase, r.arm, r.seed) for r in records if r.arm != "mean") == {
        (phase, arm, seed): 2 if phase == "tune" else 1
        for phase in ("tune", "compare")
        for arm in ("plain", "garden")
        for seed in (1, 2)
    }


def _kill_after(project: Project, finished: int) -> None:
    driver = project.start("run", "linear.toml", "--workers", "2", LINEAR_TOY_DELAY_S="0.02")
    wait_until(lambda: project.statuses().count("FINISHED") >= finished or driver.poll() is not None)
    driver.kill()
    finish(driver)


def _check_plan_and_report(project: Project, cli: Cli) -> None:
    planned = as_json(cli("plan", "linear.toml", "--json").out)
    assert {cell["state"] for cell in planned["cells"]} == {"done"}
    assert "8 tuning runs (2 arms × 2 seeds × 2 trials) before 6 comparison runs" in planned["tuning"][0]
    page = (project.folder / "reports" / "linear" / "report.md").read_text(encoding="utf-8")
    assert "At this tuning budget and on this data" in page
    assert "these tuned settings" not in page
    assert "| Size and age | 4 of 4 |" in page
    assert "What stays the same is its validation set, space and budget." in page
    assert "Every seed of every arm has a tuning of its own" in page


def _check_optuna(project: Project) -> None:
    storage = optuna.storages.RDBStorage(f"sqlite:///{project.folder / 'mlruns' / 'optuna.db'}")
    names = {study.study_name for study in optuna.get_all_study_summaries(storage)}
    storage.engine.dispose()
    assert names == {
        *(f"linear/{arm}/seed{seed}" for arm in ("plain", "garden") for seed in (1, 2)),
        "linear/compare",
    }


@pytest.mark.usefixtures("threads")
def test_only_one_seed_of_an_arm_runs_its_tuning_alone(project: Project, initialised_store: Path, cli: Cli) -> None:
    per_seed(project, initialised_store)
    done = cli("run", "linear.toml", "--only", "plain:2", "--workers", "1")
    assert done.code in (0, 1), done.err
    assert sorted((r.phase, r.arm, r.seed) for r in project.records()) == [
        ("compare", "plain", 2),
        ("tune", "plain", 2),
        ("tune", "plain", 2),
    ]


def test_a_file_of_an_older_version_is_refused_for_a_new_study(
    project: Project, initialised_store: Path, cli: Cli
) -> None:
    project.store(initialised_store)
    project.edit((ONE_TUNING, "seeds = [101]\n"))
    refused = cli("plan", "linear.toml")
    assert refused.code == 2
    assert "tuning.seeds: is for one tuning of all seeds" in refused.err
    assert "Traceback" not in refused.err
