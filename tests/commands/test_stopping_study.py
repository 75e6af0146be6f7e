"""Studies that stop by themselves, by real commands: early, at the last look, killed and continued."""

from __future__ import annotations

import csv
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy_project import GONE_S, Project, as_json, finish, wait_until

from ablate.study import Record
from ablate.tracking.mlflow.sqlite_reader import LocalStore

Cli = Callable[..., Any]
TRAIN = """
import random
from os.path import exists, getsize
from time import sleep


def train(settings, run):
    if run.phase == "compare":
        with open("trained", "a") as file:
            file.write("x")
        while exists("wait") and getsize("trained") > 13:
            sleep(0.01)
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
trials = 1
metric = "val/loss"
space."run.lr" = { type = "float", low = 0.01, high = 0.2 }
"""


@pytest.fixture
def study(tmp_path: Path, initialised_store: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """In the working folder."""
    project = made(tmp_path / "study", initialised_store)
    monkeypatch.chdir(project.folder)
    for name in ("ABLATE_DATA", "ABLATE_MLRUNS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delitem(sys.modules, "gain", raising=False)
    return project


def made(folder: Path, store: Path) -> Project:
    folder.mkdir()
    (folder / "gain.py").write_text(TRAIN)
    (folder / "looks.toml").write_text(STUDY)
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


@pytest.mark.usefixtures("threads")
def test_it_stops_at_the_look_that_decides(study: Project, cli: Cli) -> None:
    document = as_json(cli("plan", "looks.toml", "--json").out)
    assert len(document["cells"]) == 15  # up to the first look
    assert document["tuning"] == [
        "the study stops when every hypothesis is decided: at least 15 comparison runs, with 5 seeds; at most 30 "
        "comparison runs, with 10. What is said of power is of one look at all 10; planned looks cost some.",
        "looks are planned at 5, 7 and 10 seeds (Pocock spending).",
    ]
    done = cli("run", "looks.toml", "--workers", "1", "--json")
    assert done.code == 0, done.err
    assert "at most 30 runs to do" in done.err
    assert "look at 5 seeds: 1 of 1 hypothesis decided; the study stops, 5 of 10 seeds are not needed." in done.err
    answer = as_json(done.out)
    assert (answer["done"], answer["missing"]) == (15, 0)
    assert answer["stopping"]["taken"] == [5]
    assert answer["stopping"]["ended"] is True
    assert trained(study) == dict.fromkeys((1, 2, 3, 4, 5), 3)
    page = (study.folder / "reports" / "looks" / "report.md").read_text(encoding="utf-8")
    assert "It stopped at the look at 5 seeds." in page
    assert "“large” against “plain” in loss: supported" in page
    status = cli("status", "looks.toml", "--json")
    assert status.code == 0
    assert as_json(status.out)["stopping"]["seeds"] == 5
    again = cli("run", "looks.toml", "--json")
    assert as_json(again.out) == answer
    assert len(records(study)) == 15
    _check_what_is_refused_now(study, cli)


def _check_what_is_refused_now(study: Project, cli: Cli) -> None:
    only = cli("run", "looks.toml", "--only", "plain:9")
    assert only.code == 2
    assert "--only plain:9: is a seed that the study does not need now" in only.err
    assert "seeds needed now: 1, 2, 3, 4, 5" in only.err
    study.edit(("looks = [5, 7, 10]", "looks = [5, 10]"), file="looks.toml")
    other = cli("run", "looks.toml")
    assert other.code == 2
    assert "stopping.looks: cannot change under finished runs" in other.err
    assert "Traceback" not in only.err + other.err


@pytest.mark.usefixtures("threads")
def test_what_no_look_decides_runs_to_the_last(study: Project, cli: Cli) -> None:
    (study.folder / "looks.toml").write_text(STUDY + OPEN)
    done = cli("run", "looks.toml", "--workers", "1", "--json")
    assert done.code == 0, done.err
    assert "look at 5 seeds: 1 of 2 hypotheses decided; the study goes on to 7 seeds." in done.err
    assert "look at 7 seeds: 1 of 2 hypotheses decided; the study goes on to 10 seeds." in done.err
    assert "look at 10 seeds: 1 of 2 hypotheses decided; it was the last." in done.err
    assert trained(study) == dict.fromkeys(range(1, 11), 3)
    page = (study.folder / "reports" / "looks" / "report.md").read_text(encoding="utf-8")
    assert "at the look at 5 seeds)" in page
    assert "not shown to be better, nor to be worse (adjusted p" in page
    assert "at the last look, at 10 seeds)" in page
    assert "It stopped at" not in page


@pytest.mark.usefixtures("threads")
def test_killed_and_continued_it_stops_at_the_same_look(
    study: Project, tmp_path: Path, initialised_store: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tuned for every seed; killed within the first look, and between its end and the decision of the second."""
    six = (("5, 6, 7, 8, 9, 10]", "5, 6]"), ("looks = [5, 7, 10]", "looks = [5, 6]"))
    whole, killed = study, made(tmp_path / "killed", initialised_store)
    for each in (whole, killed):
        (each.folder / "looks.toml").write_text(STUDY + OPEN + TUNING)
        each.edit(*six, file="looks.toml")
    uninterrupted = cli("run", "looks.toml", "--workers", "1")
    assert uninterrupted.code == 0, uninterrupted.err
    monkeypatch.chdir(killed.folder)
    del sys.modules["gain"]
    (killed.folder / "wait").touch()
    driver = killed.start("run", "looks.toml", "--workers", "2")
    wait_until(lambda: trained(killed).total() >= 12 or driver.poll() is not None)
    _kill(driver.pid, killed)
    assert trained(killed).total() < 15
    (killed.folder / "wait").unlink()
    driver = killed.start("run", "looks.toml", "--workers", "2")
    wait_until(lambda: trained(killed).total() >= 16 or driver.poll() is not None)
    _kill(driver.pid, killed)
    done = cli("run", "looks.toml", "--workers", "1")
    assert done.code == 0, done.err
    assert "look at 6 seeds: 1 of 2 hypotheses decided; it was the last." in done.err
    assert results(killed) == results(whole)
    assert trained(killed) == trained(whole)
    with (killed.folder / "reports" / "looks" / "results.csv").open() as file:
        assert {row["seed"] for row in csv.DictReader(file)} == {str(seed) for seed in range(1, 7)}


def _kill(pid: int, project: Project) -> None:
    """Kill the driver, whose workers end by themselves."""
    (process,) = (each for each in project.processes if each.pid == pid)
    if process.poll() is None:
        os.kill(pid, 9)
    finish(process, GONE_S)
