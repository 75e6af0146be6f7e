"""A study that tunes for every seed, by real commands: killed and continued it ends as if nothing had happened."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import optuna
from toy_project import Project, as_json, finish, wait_until

ONE_TUNING = 'per = "arm"\ninclude_defaults = true\nseeds = [101]\n'


def per_seed(project: Project, store: Path) -> Project:
    project.store(store)
    project.edit((ONE_TUNING, ""))
    return project


def test_killed_and_continued_it_ends_as_if_nothing_had_happened(
    project: Project, initialised_store: Path, tmp_path: Path
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
        records = [record for record in each.records() if record.status == "FINISHED"]
        trained = Counter((r.phase, r.arm, r.seed) for r in records if r.arm != "mean")
        assert trained == {
            (phase, arm, seed): 2 if phase == "tune" else 1
            for phase in ("tune", "compare")
            for arm in ("plain", "garden")
            for seed in (1, 2)
        }
    _check_plan_and_report(project)
    _check_optuna(project)


def _kill_after(project: Project, finished: int) -> None:
    driver = project.start("run", "linear.toml", "--workers", "2", LINEAR_TOY_DELAY_S="0.02")
    wait_until(lambda: project.statuses().count("FINISHED") >= finished or driver.poll() is not None)
    driver.kill()
    finish(driver)


def _check_plan_and_report(project: Project) -> None:
    planned = as_json(project.call("plan", "linear.toml", "--json").stdout)
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


def test_only_one_seed_of_an_arm_runs_its_tuning_alone(project: Project, initialised_store: Path) -> None:
    per_seed(project, initialised_store)
    done = project.call("run", "linear.toml", "--only", "plain:2", "--workers", "1")
    assert done.returncode in (0, 1), done.stderr
    assert sorted((r.phase, r.arm, r.seed) for r in project.records()) == [
        ("compare", "plain", 2),
        ("tune", "plain", 2),
        ("tune", "plain", 2),
    ]


def test_a_file_of_an_older_version_is_refused_for_a_new_study(project: Project, initialised_store: Path) -> None:
    project.store(initialised_store)
    project.edit((ONE_TUNING, "seeds = [101]\n"))
    refused = project.call("plan", "linear.toml")
    assert refused.returncode == 2
    assert "tuning.seeds: is for one tuning of all seeds" in refused.stderr
    assert "Traceback" not in refused.stderr
