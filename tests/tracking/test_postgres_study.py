"""A whole study over real servers, PostgreSQL away for a while in its middle: same bytes, no secrets, no strangers.

One command with a password in every address it is given; what it did is looked at from all sides.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from servers import PASSWORD, QUOTED, Postgres, TrackingServer, answers, free_port
from socket_audit import SocketAudit
from toy_cluster import NO_PAGE
from toy_project import GONE_S, Project, end, finish, group_members, wait_until

from ablate.study import InputError
from ablate.tracking.mlflow import server_lock

CELLS = 2 * 2 + 3 * 2  # tuning trials of two arms, and three arms with two seeds
OUTAGE_S = 3
RUNS = "FROM runs JOIN experiments USING (experiment_id) WHERE experiments.name = 'linear' AND runs.name LIKE '%-seed%'"
FINISHED = f"SELECT count(*) {RUNS} AND status = 'FINISHED'"


@dataclass
class Done:
    """A study that ran over servers, and what could be seen meanwhile."""

    project: Project
    server: TrackingServer
    storage: str
    outputs: str = ""
    returncode: int = -1
    commands: set[str] = field(default_factory=set)  # command lines of all processes but the one that was typed
    sockets: set[str] = field(default_factory=set)
    strangers: set[str] = field(default_factory=set)
    refused: str = ""  # what a second driver was told, going by the tracking server alone

    def texts(self) -> Iterator[tuple[str, str]]:
        """Everything it said or left behind."""
        yield "outputs", self.outputs
        for folder in (self.project.folder, self.server.folder):
            for path in folder.rglob("*"):
                if path.is_file():
                    yield str(path), path.read_bytes().decode("latin-1")


@pytest.fixture(scope="module")
def done(
    postgres: Postgres,
    tracking_server: TrackingServer,
    _make_database: Callable[[bool], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Done:
    audit = SocketAudit(tmp_path_factory.mktemp("audit"))
    project = Project.create(tmp_path_factory.mktemp("project"))
    seen = Done(project, tracking_server, _make_database(False))
    postgres.hide_studies(tracking_server.database)
    process = project.start(
        *("run", "linear.toml", "--workers", "2", "--storage", seen.storage),
        MLFLOW_TRACKING_URI=tracking_server.address.replace("://", f"://{QUOTED}:{QUOTED}@"),
        LINEAR_TOY_DELAY_S="0.02",
        **audit.environment,
    )
    try:
        _look(process, seen, postgres)
        ended = finish(process)
    finally:
        project.stop()
        if postgres.process is None:
            postgres.start()
    seen.outputs, seen.returncode = ended.stdout + ended.stderr, ended.returncode
    seen.sockets, seen.strangers = audit.seen(), audit.strangers()
    return seen


def _look(process: subprocess.Popen[str], seen: Done, postgres: Postgres) -> None:
    """Try to be the second driver; take the database away when two runs are in it; note what `ps` shows."""

    def looked(enough: int) -> bool:
        for member in set(group_members(process.pid)) - {process.pid}:
            with suppress(OSError):
                seen.commands.add(_command(member))
        with suppress(OSError):  # a child has its parent's command between fork and exec
            seen.commands.discard(_command(process.pid))
        assert process.poll() is None, finish(process)
        return bool(postgres.query(FINISHED, seen.server.database)[0][0] >= enough)

    wait_until(lambda: looked(2))
    here = seen.project.folder / "mlruns"
    with pytest.raises(InputError) as caught, server_lock.hold(seen.server.address, "linear", here, lost=pytest.fail):
        pass
    seen.refused = str(caught.value)
    postgres.stop()
    time.sleep(OUTAGE_S)
    postgres.start()
    wait_until(lambda: looked(3))


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")


def test_the_results_are_those_of_one_worker_and_a_local_store(done: Done, finished: Project) -> None:
    assert done.returncode == 0, done.outputs
    assert "the store does not answer" in done.outputs
    assert "the store answers again" in done.outputs
    assert done.project.results == finished.results
    assert not (done.project.folder / "mlruns" / "mlflow.db").exists()


def test_every_cell_is_recorded_once_and_nothing_is_left_running(done: Done, postgres: Postgres) -> None:
    select = f"SELECT runs.name, status {RUNS} AND runs.lifecycle_stage = 'active'"
    runs = Counter(postgres.query(select, done.server.database))
    assert len(runs) == CELLS
    assert {(status, count) for (_, status), count in runs.items()} == {("FINISHED", 1)}
    assert postgres.query(f"SELECT count(*) {RUNS} AND status = 'RUNNING'", done.server.database) == [(0,)]


def test_optuna_has_what_ended_in_its_own_database(done: Done, postgres: Postgres) -> None:
    select = "SELECT study_name, state::text, count(*) FROM trials JOIN studies USING (study_id) GROUP BY 1, 2"
    assert sorted(postgres.query(select, done.storage)) == [
        ("linear/compare", "COMPLETE", 6),
        ("linear/garden", "COMPLETE", 2),
        ("linear/plain", "COMPLETE", 2),
    ]


def test_a_second_driver_is_told_who_is_at_work(done: Done) -> None:
    assert f"process {done.project.processes[0].pid} on" in done.refused
    assert "it runs: ablate run linear.toml --workers 2" in done.refused


def test_no_password_is_said_kept_or_shown_by_ps(done: Done, postgres: Postgres) -> None:
    dumps = [postgres.dump(address) for address in (done.server.database, done.storage)]
    assert all("linear" in dump for dump in dumps)
    texts = [
        *done.texts(),
        ("ps", "\n".join(done.commands)),
        ("refusals", done.refused),
        *zip("mo", dumps, strict=True),
    ]
    assert len(texts) > 20
    told = [(place, secret) for place, text in texts for secret in (PASSWORD, QUOTED, "s3cr") if secret in text]
    assert told == []
    report = (done.project.folder / "reports" / "linear" / "report.md").read_text(encoding="utf-8")
    assert re.search(r"ablate run linear.toml .*--storage 'postgresql://\*\*\*@127.0.0.1:\d+/", report)


def test_it_listens_and_talks_on_this_machine_alone(done: Done) -> None:
    """No telemetry of any library, in any process."""
    assert "socket.connect 127.0.0.1" in done.sockets
    assert done.strangers == set()


@pytest.mark.long  # two starts of a server: 20 s on two cores
def test_an_mlflow_server_that_is_away_for_a_while(
    new_tracking_server: Callable[[], TrackingServer], project: Project, finished: Project, postgres: Postgres
) -> None:
    server = new_tracking_server()
    process = project.start("run", "linear.toml", "--tracking-uri", server.address, LINEAR_TOY_DELAY_S="0.05")
    wait_until(lambda: postgres.query(FINISHED, server.database)[0][0] >= 2)
    server.stop()
    time.sleep(10)
    server.start()
    ended = finish(process)
    assert ended.returncode == 0, ended.stderr
    assert project.results == finished.results
    select = f"SELECT status, count(*) {RUNS} AND runs.lifecycle_stage = 'active' GROUP BY 1"
    assert postgres.query(select, server.database) == [("FINISHED", CELLS)]


@pytest.mark.long  # a study and three starts: 30 s on two cores
def test_two_machines_that_share_only_a_server(
    new_tracking_server: Callable[[], TrackingServer], project: Project, finished: Project, tmp_path: Path
) -> None:
    """Two folders stand for them: neither sees the lock file of the other. One driver; killed, the other takes over."""
    server, other = new_tracking_server(), Project.create(tmp_path / "other")
    where = ("run", "linear.toml", "--tracking-uri", server.address)
    try:
        first = project.start(*where, LINEAR_TOY_DELAY_S="0.2")
        wait_until(lambda: list(project.folder.glob("mlruns/work/linear/*/worker.json")), tell=partial(end, first))
        refused = other.call(*where)
        assert refused.returncode == 2
        assert f"at work: process {first.pid} on" in refused.stderr
        assert "it runs: ablate run linear.toml" in refused.stderr
        assert first.poll() is None
        first.kill()
        finish(first)
        done = other.call(*where)
        assert done.returncode == 0, done.stderr
        assert other.results == finished.results
    finally:
        other.stop()


def test_postgres_itself_as_the_store(
    new_database: Callable[..., str],
    project: Project,
    finished: Project,
    postgres: Postgres,
    cli: Callable[..., Any],
    threads: None,
) -> None:
    """Without a server in between; the other commands read it too."""
    store = new_database(with_mlflow=True)
    where = ("--tracking-uri", store)
    ran = cli("run", "linear.toml", "--workers", "1", *where)
    assert ran.code == 0, ran.err
    assert project.results == finished.results
    assert postgres.query("SELECT count(*) FROM runs", store) == [(CELLS + 1 + 3,)]  # the study, and three arms
    assert "ablate ui --tracking-uri 'postgresql://***@" in ran.out
    assert cli("status", "linear.toml", *where).code == 0
    assert "error" in cli("compare", "linear", "garden", "plain", *where).out
    wrong = cli("status", "linear.toml", "--tracking-uri", store.replace("127.0.0.1", "s3cr:t@127.0.0.1"))
    assert wrong.code == 2
    assert "s3cr" not in wrong.out + wrong.err


@pytest.mark.long  # a server of many processes, and DVC
def test_the_page_a_snapshot_and_a_cluster_stay_on_this_machine_too(
    postgres: Postgres, new_database: Callable[..., str], finished: Project, tmp_path: Path
) -> None:
    audit, project = SocketAudit(tmp_path), Project.create(tmp_path / "project")
    try:
        shutil.copytree(finished.folder, project.folder, dirs_exist_ok=True)
        for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
            environment = {**os.environ, **audit.environment, "DVC_NO_ANALYTICS": "1"}
            subprocess.run(command, cwd=project.folder, check=True, env=environment)
        kept = project.call("snapshot", "linear", **audit.environment)
        assert kept.returncode == 0, kept.stderr
        port = free_port()
        page = project.start(
            "ui", "--port", str(port), MLFLOW_TRACKING_URI=new_database(with_mlflow=True), **audit.environment
        )
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/health"))
        processes = [psutil.Process(pid) for pid in group_members(page.pid)]
        assert not any(secret in " ".join(p.cmdline()) for p in processes for secret in (PASSWORD, QUOTED))
        listening = {c.laddr.ip for p in processes for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN}
        assert listening == {"127.0.0.1"}
        _a_scheduler_and_a_worker(tmp_path, audit.environment)
    finally:
        project.stop()
    assert audit.strangers() == set()


def _a_scheduler_and_a_worker(folder: Path, environment: dict[str, str]) -> None:
    file = folder / "scheduler.json"
    here = ["--host", "127.0.0.1", *NO_PAGE, "--scheduler-file", str(file)]
    with (folder / "log").open("w") as log:
        started = [
            subprocess.Popen(
                [sys.executable, "-m", "dask", role, *here], env={**os.environ, **environment}, stderr=log, cwd=folder
            )
            for role in ("scheduler", "worker")
        ]
    try:
        wait_until(lambda: "Registered to" in (folder / "log").read_text())
    finally:
        for process in started:
            process.terminate()
            process.wait(GONE_S)
