"""Kill real drivers and workers at chosen or random moments, and look at what is left in the stores."""

from __future__ import annotations

import os
import random
import select
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from toy_project import GONE_S, PATIENCE_S, Project, end, finish, group_members, wait_until

Ask = Callable[[str], list[tuple[Any, ...]]]  # an SQL query to MLflow's database

ORPHANS_S = 60  # for a fork server that is still importing when its driver is killed

CELLS = (
    *(f"{arm}-trial{trial}-seed101" for arm in ("plain", "garden") for trial in (0, 1)),
    *(f"{arm}-seed{seed}" for arm in ("plain", "garden", "mean") for seed in (1, 2)),
)


@dataclass
class Survivor:
    """A project whose driver is started and killed again and again. `options` go to every `ablate run`."""

    project: Project
    options: Sequence[str] = ()
    delay_s: float = 0.03
    kills: list[str] = field(default_factory=list)
    driver: subprocess.Popen[str] | None = None
    since: float = 0.0
    said: str = ""  # on stderr, since what was last waited for

    @property
    def mlruns(self) -> Path:
        return self.project.folder / "mlruns"

    def start(self, *, delay_s: float | None = None) -> None:
        self.since, self.said = time.time(), ""
        command = ("run", "linear.toml", "--workers", "2", *self.options)
        delay = self.delay_s if delay_s is None else delay_s
        self.driver = self.project.start(*command, LINEAR_TOY_DELAY_S=str(delay))

    def running(self) -> bool:
        return self.driver is not None and self.driver.poll() is None

    def made(self, pattern: str) -> bool:
        """Whether this driver, or a worker of its, has made such a file."""
        return any(_changed(path) >= self.since for path in self.project.folder.glob(pattern))

    def wait_for(self, pattern: str) -> None:
        """Until `made`; the driver must not end before."""
        assert self.driver is not None
        wait_until(lambda: self.made(pattern) or not self.running(), tell=partial(end, self.driver))
        assert self.made(pattern), finish(self.driver)

    def hear(self, text: str, timeout_s: float = PATIENCE_S) -> None:
        """Until the driver has said so."""
        assert self.driver is not None
        assert self.driver.stderr is not None
        latest = time.monotonic() + timeout_s
        pipe = self.driver.stderr.fileno()
        while text not in self.said:
            ready, _, _ = select.select([pipe], [], [], max(0.0, latest - time.monotonic()))
            assert ready, f"{text!r} was not said; instead {self.said!r}. {end(self.driver)}"
            more = os.read(pipe, 65536)
            assert more, f"{text!r} was not said; instead {self.said!r}. {finish(self.driver)}"
            self.said += more.decode(errors="replace")
            assert "Traceback" not in self.said, self.said
        self.said = self.said.partition(text)[2]

    def ended(self) -> bool:
        """Whether the driver has come to the end of the study; no other end is allowed."""
        if self.running():
            return False
        assert self.driver is not None
        done = finish(self.driver)
        assert done.returncode == 0, done.stderr
        return True

    def kill_driver(self) -> None:
        """As the system does when memory runs out: no time to say a word."""
        assert self.driver is not None
        driver = self.driver
        driver.kill()
        self.kills.append("driver")
        # what the driver started ends by itself
        wait_until(lambda: group_members(driver.pid) == [], ORPHANS_S, tell=partial(end, driver))
        finish(driver, GONE_S)

    def kill_other(self, rng: random.Random) -> None:
        """One of the processes that the driver has started: a worker, or the server that forks them."""
        assert self.driver is not None
        others = sorted(set(group_members(self.driver.pid)) - {self.driver.pid})
        if others:
            with suppress(ProcessLookupError):
                os.kill(rng.choice(others), signal.SIGKILL)
            self.kills.append("worker")

    def complete(self) -> None:
        """Run until done."""
        self.start()
        assert self.driver is not None
        done = finish(self.driver)
        assert done.returncode == 0, done.stderr


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def in_sqlite(database: Path) -> Ask:
    def ask(query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(database)) as connection:
            return connection.execute(query).fetchall()

    return ask


def check(survivor: Survivor, finished: Project, ask: Ask | None = None) -> None:
    """It has ended as `finished`, which nobody interrupted: the same bytes, nothing at work in the store, every cell
    FINISHED once, and no half-written model or folder left. `ask`: the default is the local store."""
    assert survivor.project.results == finished.results
    ask = ask or in_sqlite(survivor.mlruns / "mlflow.db")
    assert ask("SELECT name FROM runs WHERE status IN ('RUNNING', 'SCHEDULED')") == []
    mine = """FROM runs JOIN experiments USING (experiment_id)
        WHERE experiments.name = 'linear' AND runs.lifecycle_stage = 'active'"""
    ended = Counter(
        ask(f"SELECT runs.name, status {mine} AND run_uuid IN (SELECT run_uuid FROM tags WHERE key = 'ablate.key')")
    )
    assert ended == Counter((name, "FINISHED") for name in CELLS)
    models = ask(
        """SELECT source_run_id FROM logged_models JOIN experiments USING (experiment_id)
        WHERE experiments.name = 'linear' AND logged_models.lifecycle_stage = 'active'"""
    )
    compared = ask(f"""SELECT run_uuid {mine} AND run_uuid IN
        (SELECT run_uuid FROM tags WHERE key = 'ablate.phase' AND value = 'compare')""")
    assert sorted(models) == sorted(compared)  # one model each
    trials = in_sqlite(survivor.mlruns / "optuna.db")("SELECT state, count(*) FROM trials GROUP BY state")
    assert [state for state, _ in trials] == ["COMPLETE"]
    assert [path.name for path in (survivor.mlruns / "work" / "linear").iterdir()] == []
