"""A study whose tuning ends trials early, by real commands: the same with one worker, with two, and when killed."""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from toy_project import Project, as_json, finish, wait_until

from ablate.study import Record
from ablate.tracking.mlflow.sqlite_reader import LocalStore

Cli = Callable[..., Any]
TRAINING = """# Gradient descent on a parabola; a low rate is slow, which the curve shows from its first epochs.
import json, os, random, time

def train(settings, run):
    checkpoint = run.folder / "checkpoint.json"
    done, x = json.loads(checkpoint.read_text()) if checkpoint.exists() else (0, random.uniform(0.9, 1.1))
    for epoch in range(done + 1, run.budget + 1):
        time.sleep(float(os.environ.get("EPOCH_S", 0)))
        x -= settings["rate"] * 2 * x * (0.9 if settings["damped"] else 1.0)
        REPORT
        part = checkpoint.with_suffix(".part")
        part.write_text(json.dumps([epoch, x]))
        part.replace(checkpoint)  # after the report: a kill in between reports the epoch again
    return {"val_loss": x * x, "test_loss": x * x + 0.01}
"""
REPORT = 'run.epoch(epoch, {"val_loss": x * x})'
STUDY = """
name = "parabola"
question = "Does damping help?"
baseline = "plain"
seeds = [1, 2]

[settings.run]
function = "training:train"
rate = 0.1
damped = false
budget = 8

[metric.loss]
direction = "lower"

[arms.plain]
[arms.damped]
set."run.damped" = true

[tuning]
trials = 4
metric = "val/loss"
pruner = { type = "median", n_startup_trials = 1, n_warmup_steps = 2 }
space."run.rate" = { type = "float", low = 0.01, high = 0.3, log = true }
"""


def written(folder: Path, *edits: tuple[str, str], report: str = REPORT) -> Project:
    folder.mkdir(exist_ok=True)
    text = STUDY
    for old, new in edits:
        assert text.count(old) == 1
        text = text.replace(old, new)
    (folder / "study.toml").write_text(text)
    (folder / "training.py").write_text(TRAINING.replace("REPORT", report))
    return Project(folder)


@pytest.fixture
def study(tmp_path: Path, initialised_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """In the working folder."""
    project = written(tmp_path / "study")
    project.store(initialised_store)
    monkeypatch.chdir(project.folder)
    for name in ("ABLATE_DATA", "ABLATE_MLRUNS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delitem(sys.modules, "training", raising=False)
    yield project
    project.stop()


def records(of: Project) -> list[Record]:
    return LocalStore(of.folder / "mlruns" / "mlflow.db").records("parabola")


def results(of: Project) -> bytes:
    return (of.folder / "reports" / "parabola" / "results.csv").read_bytes()


def tuned(of: Project) -> dict[tuple[str, int, int | None], tuple[str, dict[str, Any], dict[str, float]]]:
    """Of every finished trial where it ended, its settings and its scores."""
    return {
        (r.arm, r.seed, r.trial): (r.provenance.get("pruned", ""), dict(r.overrides), without_times(r.scores))
        for r in records(of)
        if r.phase == "tune" and r.status == "FINISHED"
    }


def without_times(scores: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in scores.items() if not name.startswith("time/")}


def kill_after(of: Project, finished: int) -> None:
    driver = of.start("run", "study.toml", "--workers", "2", EPOCH_S="0.03")
    wait_until(lambda: sum(r.status == "FINISHED" for r in records(of)) >= finished or driver.poll() is not None)
    driver.kill()
    finish(driver)


@pytest.mark.usefixtures("threads")
def test_one_worker_and_a_killed_study_of_two_give_the_same_bytes(
    study: Project, tmp_path: Path, initialised_store: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = written(tmp_path / "whole")
    whole.store(initialised_store)
    with monkeypatch.context() as there:
        there.chdir(whole.folder)
        there.setattr(sys, "path", list(sys.path))
        uninterrupted = cli("run", "study.toml", "--workers", "1")
    assert uninterrupted.code == 0, uninterrupted.err
    del sys.modules["training"]
    for finished in (3, 9):
        kill_after(study, finished)
    done = cli("run", "study.toml", "--workers", "1")
    assert done.code == 0, done.err
    assert results(study) == results(whole)
    assert tuned(study) == tuned(whole)
    _check_trials(study)
    _check_report(study, cli)
    _check_optuna(study)


def _check_trials(of: Project) -> None:
    trials = tuned(of)
    assert Counter((arm, seed) for arm, seed, _ in trials) == dict.fromkeys(
        [(arm, seed) for arm in ("plain", "damped") for seed in (1, 2)], 4
    )
    pruned = {which: trial for which, trial in trials.items() if trial[0]}
    assert 0 < len(pruned) < len(trials) - 4
    assert not any(trial == 0 for _, _, trial in pruned)  # the first has none to be compared with
    for ended, _, scores in trials.values():
        assert scores["count/epochs"] == (float(ended.removeprefix("after epoch ")) if ended else 8)
    for record in records(of):
        if record.phase == "compare":  # its settings are those of a trial that was trained to its end
            of_seed = [t for (arm, seed, _), t in trials.items() if (arm, seed) == (record.arm, record.seed)]
            best = min((t for t in of_seed if not t[0]), key=lambda t: t[2]["val/loss"])
            assert record.overrides == best[1]


def _check_report(of: Project, cli: Cli) -> None:
    folder = of.folder / "reports" / "parabola"
    written = cli("report", "parabola", "--format", "md,csv")
    assert written.code == 0, written.err
    page, pruned = (folder / "report.md").read_text(), sum(bool(t[0]) for t in tuned(of).values())
    assert "Trials that did badly were ended early, by the same rule for every arm." in page
    assert "budgets were not alike" not in page
    with (folder / "tables" / "budget.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sum(int(row["pruned_trials"]) for row in rows) == pruned
    trained = Counter[str]()
    for (arm, _, _), (_, _, scores) in tuned(of).items():
        trained[arm] += int(scores["count/epochs"])
    assert {row["arm"]: int(float(row["used_epochs"])) for row in rows} == trained
    with (folder / "tables" / "budget_by_seed.csv").open() as file:
        by_seed = list(csv.DictReader(file))
    assert {(row["arm"], row["seed"]): int(row["finished"]) + int(row["pruned"]) for row in by_seed} == {
        (arm, seed): 4 for arm in ("plain", "damped") for seed in ("1", "2")
    }
    planned = as_json(cli("plan", "study.toml", "--json").out)
    assert "(2 arms × 2 seeds × 4 trials), of which the pruner ends some early" in planned["tuning"][0]
    assert {cell["state"] for cell in planned["cells"]} == {"done"}


def _check_optuna(of: Project) -> None:
    storage = optuna.storages.RDBStorage(f"sqlite:///{of.folder / 'mlruns' / 'optuna.db'}")
    for arm, seed in sorted({(arm, seed) for arm, seed, _ in tuned(of)}):
        trials = optuna.load_study(study_name=f"parabola/{arm}/seed{seed}", storage=storage).trials
        ended = {t.user_attrs["trial"]: t.state.name for t in trials}
        assert ended == {i: "PRUNED" if tuned(of)[arm, seed, i][0] else "COMPLETE" for i in range(4)}
    storage.engine.dispose()


@pytest.mark.usefixtures("threads")
def test_a_training_that_reports_no_curve_is_told_of_it(study: Project, cli: Cli) -> None:
    written(study.folder, ("seeds = [1, 2]", "seeds = [1]"), ("trials = 4", "trials = 2"), report="pass")
    done = cli("run", "study.toml", "--workers", "1", "--json")
    assert done.code == 0, done.err
    assert done.err.count("has reported no val/loss after whole epochs, so tuning.pruner prunes nothing") == 1
    assert json.loads(done.out)["done"] == 2
    assert not any(ended for ended, _, _ in tuned(study).values())


def test_a_pruner_that_cannot_be_repeated_is_refused_by_name(study: Project, cli: Cli) -> None:
    written(study.folder, ('type = "median", n_startup_trials = 1, n_warmup_steps = 2', 'type = "hyperband"'))
    refused = cli("run", "study.toml")
    assert refused.code == 2
    assert "tuning.pruner.type: must be one of 'median'" in refused.err
    assert '(got "hyperband"); its brackets depend on the name of an Optuna study' in refused.err
    assert "Traceback" not in refused.err
    assert not records(study)
