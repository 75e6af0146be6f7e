"""A study on a Dask cluster: whatever happens to workers and driver, every cell once, and the bytes of one worker."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import dask.config
import pytest
import toy_cells
import toy_cluster
import yaml
from toy_cluster import Cluster, Place, cells_on
from toy_project import PATIENCE_S, Project, finish, wait_until

from ablate.scheduler.scheduler import Scheduler
from ablate.study import RunResult, RunSpec
from ablate.tracking.memory import MemoryTracker
from ablate.trainers.context import Context


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path) as running:
        yield running


class Quiet:
    """A View that looks away."""

    def started(self, spec: RunSpec) -> None: ...
    def epoch(self, spec: RunSpec, entry: Mapping[str, float]) -> None: ...
    def ended(self, spec: RunSpec, result: RunResult) -> None: ...
    def note(self, text: str) -> None: ...


@pytest.mark.long
def test_forty_cells_on_three_workers_of_which_some_die(cluster: Cluster, tmp_path: Path) -> None:
    cluster.add(3)
    study = toy_cells.study({"a": "slow", "b": "slow"}, seeds=20)
    context, tracker, rng = cast(Context, Place.create(tmp_path)), MemoryTracker(), random.Random(1)
    tracker.open("cells", {})
    driver = Scheduler(
        study,
        tracker,
        context,
        dict.fromkeys(study.arms, ""),
        0,
        lambda workers: cells_on(cluster.address, workers),
        Quiet(),
        execute=cast(Any, toy_cluster.execute),
    )

    def done() -> int:
        return sum(record.status == "FINISHED" for record in tracker.records("cells"))

    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(driver.run)
        try:
            for count in (8, 20):
                wait_until(lambda n=count: running.done() or done() >= n, tell=cluster.log)
                _kill_one(cluster, rng)
            running.result(PATIENCE_S)
        finally:
            driver.stop.request("the test is over", 0)  # the thread is waited for
    statuses = Counter((r.arm, r.seed) for r in tracker.records("cells") if r.status == "FINISHED")
    assert statuses == {(arm, seed): 1 for arm in "ab" for seed in range(1, 21)}
    assert {r.status for r in tracker.records("cells")} <= {"FINISHED", "KILLED"}
    finished = [r.run_id for r in tracker.records("cells") if r.status == "FINISHED"]
    assert all(len(history) == 3 for _, history in tracker.histories("cells", finished))


def _kill_one(cluster: Cluster, rng: random.Random) -> None:
    """And start another in its place."""
    rng.choice([worker for worker in cluster.workers if worker.poll() is None]).kill()
    cluster.add(1)


def test_workers_and_drivers_that_die_leave_the_bytes_of_one_worker(
    cluster: Cluster, tmp_path: Path, initialised_store: Path, finished: Project
) -> None:
    """By the real command: a worker is killed, the driver is told to end, the next one is killed."""
    project = Project.create(tmp_path / "project")
    project.store(initialised_store)
    cluster.add(2)
    try:
        process = _run(project, cluster)
        _wait_for(project, 2, process)
        cluster.workers[0].kill()
        _wait_for(project, 4, process)
        os.kill(process.pid, signal.SIGTERM)
        assert finish(process).returncode == 1

        process = _run(project, cluster)
        _wait_for(project, 6, process)
        os.kill(process.pid, signal.SIGKILL)
        finish(process)

        done = finish(_run(project, cluster))
        assert done.returncode == 0, done.stderr + cluster.log()
    finally:
        project.stop()
    assert project.results == finished.results
    assert Counter(project.statuses())["RUNNING"] == 0
    ended = Counter((r.phase, r.arm, r.trial, r.seed) for r in project.records() if r.status == "FINISHED")
    assert set(ended.values()) == {1}
    latencies = [r for r in project.records() if "cost/latency_ms_p50" in r.scores]
    assert len(latencies) == 6


@pytest.fixture
def certified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A certificate of one's own for all Dask processes and this one, made and named by the lines of the guide."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    guide = (Path(__file__).parents[2] / "docs" / "clusters" / "README.md").read_text(encoding="utf-8")
    lines = re.search(r"^```sh\n(.*?)^```", guide, re.M | re.S)
    assert lines is not None
    subprocess.run(["sh", "-e"], input=lines[1], env={**os.environ, "HOME": str(tmp_path)}, check=True, text=True)
    config = tmp_path / ".config" / "dask" / "tls.yaml"
    monkeypatch.setenv("DASK_CONFIG", str(config))
    with dask.config.set(dask.config.merge(dask.config.config, yaml.safe_load(config.read_text(encoding="utf-8")))):
        yield


@pytest.mark.usefixtures("certified")
def test_with_tls_and_no_shared_folder_the_same_bytes_and_nobody_without_the_certificate(
    tmp_path: Path, initialised_store: Path, finished: Project
) -> None:
    project = Project.create(tmp_path / "project")
    project.store(initialised_store)
    try:
        with Cluster(tmp_path) as cluster:
            stranger = project.start("run", "linear.toml", "--scheduler", cluster.address, DASK_CONFIG="")
            done = finish(_run(project, cluster.add_elsewhere()))
            assert done.returncode == 0, done.stderr + cluster.log()
            refused = finish(stranger)
    finally:
        project.stop()
    assert project.results == finished.results
    assert _artifacts(project) == _artifacts(finished)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "error: --scheduler: no Dask scheduler answers (got tls://127.0.0.1:" in refused.stderr
    assert "its certificate named in Dask's configuration" in refused.stderr
    assert "Traceback" not in refused.stderr


def _artifacts(project: Project) -> Counter[str]:
    """How many runs have a file of this name."""
    root = project.folder / "mlruns" / "artifacts"
    return Counter(str(path).partition("/artifacts/")[2] for path in (p.relative_to(root) for p in root.rglob("*")))


def _run(project: Project, cluster: Cluster) -> subprocess.Popen[str]:
    return project.start("run", "linear.toml", ABLATE_SCHEDULER=cluster.address)


def _wait_for(project: Project, count: int, process: subprocess.Popen[str]) -> None:
    wait_until(lambda: process.poll() is not None or project.statuses().count("FINISHED") >= count)
    assert process.poll() is None, finish(process)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_five_hundred_cells_on_eight_workers(tmp_path: Path, initialised_store: Path) -> None:
    """Twelve of them are killed, evenly over the study, and replaced."""
    seeds, deaths, rng = 167, 12, random.Random(2)
    spread, alone = (_large(tmp_path / name, seeds, initialised_store) for name in ("spread", "alone"))
    try:
        with Cluster(tmp_path) as cluster:
            cluster.add(8)
            process = _run(spread, cluster)
            for death in range(1, deaths + 1):
                _wait_for(spread, 3 * seeds * death // (deaths + 1), process)
                _kill_one(cluster, rng)
            done = finish(process, 3600)
            assert done.returncode == 0, done.stderr + cluster.log()
        assert finish(alone.start("run", "linear.toml", "--workers", "1"), 3600).returncode == 0
    finally:
        spread.stop()
        alone.stop()
    ended = Counter((r.arm, r.seed, r.status) for r in spread.records() if r.status != "KILLED")
    assert ended == {(arm, s, "FINISHED"): 1 for arm in ("plain", "garden", "mean") for s in range(1, seeds + 1)}
    assert spread.results == alone.results


def _large(folder: Path, seeds: int, store: Path) -> Project:
    """Three arms without tuning."""
    project = Project.create(folder)
    project.without_tuning()
    project.edit(("seeds = [1, 2]", f"seeds = {list(range(1, seeds + 1))}"))
    project.store(store)
    return project
