"""Studies that stop by themselves, by real commands: early, at the last look, killed and continued."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from toy_project import GONE_S, Project, as_json, finish, wait_until

from ablate.study import Record
from ablate.tracking.mlflow.sqlite_reader import LocalStore

TRAIN = """
import random
from os.path import exists


def train(settings, run):
    if run.phase == "compare":
        open("trained", "a").write("x")
        while exists("wait") and len(open("trained").read()) > 13:
            pass
    shared, own = random.Random(run.seed), random.Random(f"{run.seed} {settings['gain']}")
    loss = 1 + shared.gauss(0, 1) + own.gauss(0, 0.1) + abs(settings["lr"]) - settings["gain"]
    return {"val": {"loss": loss}, "test": {"loss": loss}}
"""
STUDY = """
name = "looks"
question = "Does it help?"
baseline = "plain"
seeds = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]

[settings.run]
function = "gain:train"
gain = 0.0
lr = 0.01

[metric.loss]
direction = "lower"

[arms.plain]
[arms.large]
set."run.gain" = 2.0
[arms.tiny]
set."run.gain" = 1e-9

[stopping]
looks = [5, 7, 10]
spending = "pocock"

[[hypotheses]]
arm = "large"
against = "plain"
metric = "loss"
"""
OPEN = '\n[[hypotheses]]\narm = "tiny"\nagainst = "plain"\nmetric = "loss"\n'
TUNING = """
[tuning]
trials = 2
metric = "val/loss"
space."run.lr" = { type = "float", low = 0.01, high = 0.2 }
"""


@pytest.fixture
def study(tmp_path: Path, initialised_store: Path) -> Iterator[Project]:
    project = made(tmp_path / "study", initialised_store)
    yield project
    project.stop()


def made(folder: Path, store: Path, more: str = "") -> Project:
    folder.mkdir()
    (folder / "gain.py").write_text(TRAIN)
    (folder / "looks.toml").write_text(STUDY + more)
    project = Project(folder)
    project.store(store)
    return project


def records(project: Project) -> list[Record]:
    return LocalStore(project.folder / "mlruns" / "mlflow.db").records("looks")


def trained(project: Project) -> Counter[int]:
    """Finished comparison runs by seed."""
    return Counter(r.seed for r in records(project) if r.phase == "compare" and r.status == "FINISHED")


def results(project: Project) -> bytes:
    return (project.folder / "reports" / "looks" / "results.csv").read_bytes()


def test_it_stops_at_the_look_that_decides(study: Project) -> None:
    planned = study.call("plan", "looks.toml", "--json")
    document = as_json(planned.stdout)
    assert len(document["cells"]) == 15  # up to the first look
    assert document["tuning"] == [
        "the study stops when every hypothesis is decided: at least 15 comparison runs, with 5 seeds; at most 30 "
        "comparison runs, with 10. What is said of power is of one look at all 10; planned looks cost some.",
        "looks are planned at 5, 7 and 10 seeds (Pocock spending).",
    ]
    done = study.call("run", "looks.toml", "--workers", "2", "--json")
    assert done.returncode == 0, done.stderr
    assert "at most 30 runs to do" in done.stderr
    assert "look at 5 seeds: 1 of 1 hypothesis decided; the study stops, 5 of 10 seeds are not needed." in done.stderr
    answer = as_json(done.stdout)
    assert (answer["done"], answer["missing"]) == (15, 0)
    assert answer["stopping"]["taken"] == [5]
    assert answer["stopping"]["ended"] is True
    assert trained(study) == dict.fromkeys((1, 2, 3, 4, 5), 3)
    page = (study.folder / "reports" / "looks" / "report.md").read_text(encoding="utf-8")
    assert "It stopped at the look at 5 seeds." in page
    assert "“large” against “plain” in loss: supported" in page
    status = study.call("status", "looks.toml", "--json")
    assert status.returncode == 0
    assert as_json(status.stdout)["stopping"]["seeds"] == 5
    again = study.call("run", "looks.toml", "--json")
    assert as_json(again.stdout) == answer
    assert len(records(study)) == 15
    _check_what_is_refused_now(study)


def _check_what_is_refused_now(study: Project) -> None:
    only = study.call("run", "looks.toml", "--only", "plain:9")
    assert only.returncode == 2
    assert "--only plain:9: is a seed that the study does not need now" in only.stderr
    assert "seeds needed now: 1, 2, 3, 4, 5" in only.stderr
    study.edit(("looks = [5, 7, 10]", "looks = [5, 10]"), file="looks.toml")
    other = study.call("run", "looks.toml")
    assert other.returncode == 2
    assert "stopping.looks: cannot change under finished runs" in other.stderr
    assert "Traceback" not in only.stderr + other.stderr


def test_what_no_look_decides_runs_to_the_last(tmp_path: Path, initialised_store: Path) -> None:
    study = made(tmp_path / "study", initialised_store, OPEN)
    done = study.call("run", "looks.toml", "--workers", "2", "--json")
    assert done.returncode == 0, done.stderr
    assert "look at 5 seeds: 1 of 2 hypotheses decided; the study goes on to 7 seeds." in done.stderr
    assert "look at 7 seeds: 1 of 2 hypotheses decided; the study goes on to 10 seeds." in done.stderr
    assert "look at 10 seeds: 1 of 2 hypotheses decided; it was the last." in done.stderr
    assert trained(study) == dict.fromkeys(range(1, 11), 3)
    page = (study.folder / "reports" / "looks" / "report.md").read_text(encoding="utf-8")
    assert "at the look at 5 seeds)" in page
    assert "not shown to be better, nor to be worse (adjusted p" in page
    assert "at the last look, at 10 seeds)" in page
    assert "It stopped at" not in page


def test_killed_and_continued_it_stops_at_the_same_look(tmp_path: Path, initialised_store: Path) -> None:
    """Tuned for every seed; killed within the first look, and between its end and the decision of the second."""
    whole = made(tmp_path / "whole", initialised_store, OPEN + TUNING)
    done = whole.call("run", "looks.toml", "--workers", "1")
    assert done.returncode == 0, done.stderr
    killed = made(tmp_path / "killed", initialised_store, OPEN + TUNING)
    (killed.folder / "wait").touch()
    driver = killed.start("run", "looks.toml", "--workers", "2")
    wait_until(lambda: trained(killed).total() >= 12 or driver.poll() is not None)
    _kill(driver.pid, killed)
    assert trained(killed).total() < 15
    (killed.folder / "wait").unlink()
    driver = killed.start("run", "looks.toml", "--workers", "2")
    wait_until(lambda: trained(killed).total() >= 16 or driver.poll() is not None)
    _kill(driver.pid, killed)
    done = killed.call("run", "looks.toml", "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert "look at 10 seeds: 1 of 2 hypotheses decided; it was the last." in done.stderr
    assert results(killed) == results(whole)
    assert trained(killed) == trained(whole)
    with (killed.folder / "reports" / "looks" / "results.csv").open() as file:
        assert {row["seed"] for row in csv.DictReader(file)} == {str(seed) for seed in range(1, 11)}


def _kill(pid: int, project: Project) -> None:
    """Kill the driver, whose workers end by themselves."""
    (process,) = (each for each in project.processes if each.pid == pid)
    if process.poll() is None:
        os.kill(pid, 9)
    finish(process, GONE_S)
