"""Killed at any moment, the same command goes on to the same bytes. Five moments here; the long tests draw them."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import small_disk
import survival
from small_disk import SmallDisk
from survival import Survivor
from toy_project import GONE_S, Project, finish, group_members, wait_until


def test_killed_at_five_moments_and_locked_out_it_ends_as_if_nothing_had_happened(
    project: Project, finished: Project, initialised_store: Path
) -> None:
    project.store(initialised_store)
    survivor = Survivor(project)
    _preempt(survivor)

    survivor.start()
    survivor.wait_for("mlruns/work/linear/*/worker.json")  # a worker builds its data, or trains
    survivor.kill_other(random.Random(1))
    survivor.wait_for("mlruns/work/linear/compare-*/checkpoint-*")  # while one is written, or just after
    survivor.kill_driver()

    survivor.start()
    survivor.wait_for("mlruns/work/linear/compare-*/out/run.log")  # between result and record
    survivor.kill_driver()

    survivor.start()
    survivor.wait_for("mlruns/artifacts/linear/models/*/artifacts/data")  # while it records
    survivor.kill_driver()

    survivor.start()
    survivor.wait_for("mlruns/work/linear/*/checkpoint-*")
    _lock_the_database(survivor)
    assert survivor.driver is not None
    waited = finish(survivor.driver)
    assert waited.returncode == 0
    assert "Traceback" not in waited.stderr

    shutil.rmtree(survivor.project.folder / "reports")
    survivor.start()
    survivor.wait_for("reports/linear/*")  # while the report is written
    survivor.kill_driver()

    survivor.complete()
    survival.check(survivor, finished)


def _preempt(survivor: Survivor) -> None:
    """SIGTERM to the whole group, as a scheduler sends it, while the workers are in a step that never ends."""
    survivor.start(delay_s=100_000.0)
    assert survivor.driver is not None
    group = survivor.driver.pid
    survivor.wait_for("mlruns/work/linear/*/worker.json")
    os.killpg(group, signal.SIGTERM)
    stopped = finish(survivor.driver)  # which does not wait for the step: it has a limit of its own
    wait_until(lambda: group_members(group) == [])
    assert stopped.returncode == 1
    assert "SIGTERM: stopping the runs; what they have saved is kept" in stopped.stderr
    assert "finished runs and checkpoints are kept: the same command goes on" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert "FINISHED" not in survivor.project.statuses()


LOCKER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


def _lock_the_database(survivor: Survivor) -> None:
    """By another process, for longer than SQLite itself waits: it is waited for."""
    command = [sys.executable, "-c", LOCKER, str(survivor.mlruns / "mlflow.db")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as locker:
        assert locker.stdout is not None
        assert locker.stdout.readline() == "held\n"
        locked = time.monotonic()
        survivor.hear("the store does not answer: database is locked; waiting, for at most 120 s")
        waited = time.monotonic() - locked
        locker.communicate("", timeout=GONE_S)
    assert waited > 4
    survivor.hear("the store answers again")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk that can run full."""
    with small_disk.mounted(tmp_path / "disk", size="64m") as disk:
        yield disk


def test_a_disk_that_runs_full_and_one_that_turns_read_only_are_waited_for(
    project: Project, finished: Project, initialised_store: Path, disk: SmallDisk
) -> None:
    """The first holds store and runs; the second, where the runs write, is mounted within it."""
    project.store(initialised_store)
    shutil.move(project.folder / "mlruns", disk.folder / "mlruns")
    (project.folder / "mlruns").symlink_to(disk.folder / "mlruns")
    (disk.folder / "mlruns" / "work").mkdir()
    inner = small_disk.mount(disk.folder / "mlruns" / "work" / "linear", size="8m")
    assert inner is not None
    try:
        survivor = Survivor(project, delay_s=0.1)
        survivor.start()
        survivor.wait_for("mlruns/work/linear/*/worker.json")
        disk.fill()
        survivor.hear("does not answer: database or disk is full; waiting")
        disk.empty()
        survivor.hear("the store answers again")
        inner.remount("ro")
        survivor.hear("Read-only file system")
        inner.remount("rw")
        survivor.hear("the runs go on")
        assert survivor.driver is not None
        assert finish(survivor.driver).returncode == 0
        survival.check(survivor, finished)
    finally:
        project.stop()
        small_disk.unmount(inner)
