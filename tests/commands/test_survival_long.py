"""A hundred kills at random moments, on the default store and on an `mlflow server` over PostgreSQL."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

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


def kill_a_hundred_times(
    rng: random.Random,
    projects: Callable[[], Project],
    finished: Project,
    options: Sequence[str] = (),
    ask: Ask | None = None,
) -> None:
    """The drivers of one study after another, each of which then ends as if nothing had happened."""
    kills = 0
    while kills < KILLS:
        survivor = Survivor(projects(), options)
        storm(survivor, rng, lambda survivor=survivor, before=kills: before + len(survivor.kills) >= KILLS)
        survivor.complete()
        kills += len(survivor.kills)
        print(f"{kills} kills, the last {survivor.kills}")
        survival.check(survivor, finished, ask)
        if ask:  # out of the way of the next; tuning is seeded by the study's name, so that has to stay
            ask(f"UPDATE experiments SET name = 'linear after {kills} kills' WHERE name = 'linear'")
        shutil.rmtree(survivor.project.folder)


def test_a_hundred_kills_on_the_default_store(projects: Callable[[], Project], finished: Project) -> None:
    kill_a_hundred_times(random.Random(4), projects, finished)


def test_a_hundred_kills_on_a_server_over_postgresql(
    projects: Callable[[], Project], finished: Project, postgres: Postgres, tracking_server: TrackingServer
) -> None:
    ask = partial(postgres.query, database=tracking_server.database)
    kill_a_hundred_times(random.Random(5), projects, finished, ("--tracking-uri", tracking_server.address), ask)
