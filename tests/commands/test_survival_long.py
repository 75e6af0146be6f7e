"""A hundred kills at random moments, on the default store and on an `mlflow server` over PostgreSQL."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import survival
from servers import Postgres, TrackingServer
from survival import Ask, Survivor
from toy_project import Project, wait_until

KILLS = 100
# A kill comes within these seconds after something was seen to begin, however fast the machine is.
SPREAD_S = 3.0
BEGINNINGS = (
    "",  # the start
    "mlruns/*.lock.json",  # taking over what the last one left
    "mlruns/work/*/*/worker.json",  # the first run: data, training
    "mlruns/work/*/compare-*/checkpoint-*",
    "mlruns/work/*/*/out/model",  # evaluation
    "mlruns/work/*/*/out/run.log",  # the record
    "mlruns/optuna.db",
    "reports/*/*",
)

pytestmark = [pytest.mark.long, pytest.mark.timeout(7200)]


@pytest.fixture
def projects(tmp_path: Path) -> Iterator[Callable[[], Project]]:
    made: list[Project] = []

    def make() -> Project:
        made.append(Project.create(tmp_path / str(len(made))))
        return made[-1]

    yield make
    for project in made:
        project.stop()


def storm(survivor: Survivor, rng: random.Random, enough: Callable[[], bool]) -> None:
    """Kill drivers, and now and then one of their workers first, until one of them ends or it is `enough`."""
    while not enough():
        survivor.start()
        if rng.random() < 0.5:  # once a driver: a second worker lost at the same cell fails it, as it should
            _wait(survivor, rng.choice(BEGINNINGS[2:6]), rng)
            survivor.kill_other(rng)
        _wait(survivor, rng.choice(BEGINNINGS), rng)
        if survivor.ended():
            return
        survivor.kill_driver()


def _wait(survivor: Survivor, beginning: str, rng: random.Random) -> None:
    wait_until(lambda: not beginning or survivor.made(beginning) or not survivor.running())
    moment = time.monotonic() + rng.uniform(0.0, SPREAD_S)
    wait_until(lambda: time.monotonic() > moment or not survivor.running())


def test_a_hundred_kills_on_the_default_store(projects: Callable[[], Project], finished: Project) -> None:
    rng, kills = random.Random(4), 0
    while kills < KILLS:
        project = projects()
        survivor = Survivor(project)
        storm(survivor, rng, lambda survivor=survivor, before=kills: before + len(survivor.kills) >= KILLS)
        survivor.complete()
        kills += len(survivor.kills)
        print(f"{kills} kills, the last {survivor.kills}")
        assert survivor.results == finished.results
        survival.check_stores(survivor, survival.in_sqlite(survivor.mlruns / "mlflow.db"), survival.CELLS)
        shutil.rmtree(project.folder)


def test_a_hundred_kills_on_a_server_over_postgresql(
    projects: Callable[[], Project],
    finished: Project,
    postgres: Postgres,
    tracking_server: TrackingServer,
) -> None:
    rng, kills = random.Random(5), 0
    ask = in_postgres(postgres, tracking_server.database)
    while kills < KILLS:
        project = projects()
        survivor = Survivor(project, ("--tracking-uri", tracking_server.address))
        storm(survivor, rng, lambda survivor=survivor, before=kills: before + len(survivor.kills) >= KILLS)
        survivor.complete()
        kills += len(survivor.kills)
        print(f"{kills} kills, the last {survivor.kills}")
        assert survivor.results == finished.results
        survival.check_stores(survivor, ask, survival.CELLS)
        # out of the way of the next; tuning is seeded by the study's name, so that has to stay
        ask(f"UPDATE experiments SET name = 'linear after {kills} kills' WHERE name = 'linear'")
        shutil.rmtree(project.folder)


def in_postgres(postgres: Postgres, address: str) -> Ask:
    database = address.rpartition("/")[2].partition("?")[0]

    def ask(query: str) -> list[tuple[Any, ...]]:
        return postgres.query(query, database)

    return ask
