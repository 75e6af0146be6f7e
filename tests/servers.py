"""Real servers for the tests: a PostgreSQL and an `mlflow server` over it, on 127.0.0.1, in folders of their own.

Fixtures (conftest.py shares them with every test; each starts when first asked for, once in a process):

    postgres          Postgres         .create() gives the address of a new empty database; .stop(), .start(), .query()
    new_database      () -> str        a database of one's own, dropped afterwards; with_mlflow=True: MLflow's tables
    tracking_server   TrackingServer   shared; .address is for --tracking-uri. Do not stop it: make one's own
    new_tracking_server  () -> TrackingServer  over a database of one's own; .stop() and .start() as often as one likes

A test that stops PostgreSQL starts it again; `tracking_server` notices nothing but the time in between.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

USER, PASSWORD = "ablate", "s3cr:t/w@rd"  # its characters must be quoted in an address, which is where leaks come from
QUOTED = "s3cr%3At%2Fw%40rd"
START_S = 120  # a busy machine
GONE_S = 20  # for a process that was killed
DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)

CUT = signal.SIGINT  # to PostgreSQL; at SIGTERM it waits until the last client has gone, however long that is
# Durability is what a test does not need; two connections a run are plenty.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def binaries() -> Path:
    """PostgreSQL's own folder of programs. Tests are skipped where there is none, except in CI."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders:
        stop = pytest.fail if os.environ.get("CI") else pytest.skip
        stop("PostgreSQL is not installed: .ci/run installs it")
    return folders[-1]


def _owner() -> pwd.struct_passwd | None:
    """Whom PostgreSQL runs as: it refuses root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return known.get("postgres") or known["nobody"]


def _end_with_parent(how: signal.Signals) -> None:
    """A test process that is killed leaves no server behind (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DIES_WITH_PARENT, how)


@dataclass
class Postgres:
    """A cluster in a temporary folder. Its user must give a password."""

    folder: Path
    bin: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def address(self, database: str, scheme: str = "postgresql") -> str:
        return f"{scheme}://{USER}:{QUOTED}@127.0.0.1:{self.port}/{database}"

    def create(self, template: str = "template1") -> str:
        """The address of a new database."""
        name = f"db_{uuid.uuid4().hex[:12]}"
        self.query(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.address(name)

    def drop(self, address: str) -> None:
        self.query(f"DROP DATABASE IF EXISTS {address.rpartition('/')[2]} WITH (FORCE)")

    def query(self, text: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """The rows of one statement; `database` is a name or an address."""
        import psycopg

        name = database.rpartition("/")[2]
        with psycopg.connect(self.address(name), autocommit=True) as connection:
            cursor = connection.execute(text)
            return cursor.fetchall() if cursor.description else []

    def hide_studies(self, address: str) -> None:
        """Make an MLflow database look new to whoever goes by names: making one takes a second."""
        self.query("UPDATE experiments SET lifecycle_stage = 'deleted', name = gen_random_uuid()::text", address)

    def dump(self, address: str) -> str:
        """Everything in a database, as SQL."""
        done = subprocess.run([self.bin / "pg_dump", address], capture_output=True, text=True, check=True)
        return done.stdout

    def initialise(self) -> None:
        owner = _owner()
        secret = self.folder / "password"
        secret.write_text(PASSWORD, encoding="utf-8")
        if owner:
            for path in (self.folder, secret):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        options = ["-U", USER, f"--pwfile={secret}", "--auth=scram-sha-256", "--no-sync", "--locale=C", "-E", "UTF8"]
        self._run("initdb", "-D", str(self.folder / "data"), *options)

    def start(self) -> None:
        settings = {**FAST, "listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": ""}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.bin / "postgres", "-D", self.folder / "data", *options],
                **self._as_owner(),
                stdout=log,
                stderr=log,
            )
        check = [str(self.bin / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-d", "postgres"]
        _wait(lambda: subprocess.run(check, check=False).returncode == 0, self.process, self.folder / "log")

    def stop(self) -> None:
        """As an administrator's restart does it: connections are cut, nothing that was committed is lost."""
        _stop(self.process, CUT, patience_s=60)
        self.process = None

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self.bin / program, *arguments], **self._as_owner(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def _as_owner(self) -> dict[str, Any]:
        owner = _owner()
        as_user = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if owner else {}
        return {
            **as_user,
            "cwd": self.folder,
            "env": {"PATH": os.defpath},
            "preexec_fn": partial(_end_with_parent, CUT),
        }


@dataclass
class TrackingServer:
    """`mlflow server` over a database; it keeps the artifacts itself. The password is in its environment alone."""

    folder: Path
    database: str  # address
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--artifacts-destination", str(self.folder)]
        environment = {
            **os.environ,
            "MLFLOW_BACKEND_STORE_URI": self.database,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # half the processes, half the start
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
        }
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=environment,
                start_new_session=True,
                preexec_fn=partial(_end_with_parent, signal.SIGTERM),
            )
        _wait(lambda: answers(f"{self.address}/health"), self.process, self.folder / "log")

    def stop(self) -> None:
        _stop(self.process, signal.SIGTERM, patience_s=2, group=True)  # it waits for connections that are kept alive
        self.process = None


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=1).close()
    except (urllib.error.URLError, OSError):
        return False
    return True


def _wait(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_S
    while not ready():
        assert process.poll() is None, log.read_text(errors="replace")
        assert time.monotonic() < end, log.read_text(errors="replace")
        time.sleep(0.05)


def _stop(
    process: subprocess.Popen[bytes] | None, how: signal.Signals, *, patience_s: float, group: bool = False
) -> None:
    if process is None:
        return
    if process.poll() is None:
        process.send_signal(how)
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        assert group, f"{process.args} has not stopped in {patience_s:g} s of {how.name}"
        process.kill()
    if group:  # and its children
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait(GONE_S)


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A new cluster, gone afterwards."""
    programs = binaries()
    # not pytest's folder: the user `postgres` may not go through it
    with tempfile.TemporaryDirectory(prefix="ablate-postgres-", ignore_cleanup_errors=True) as folder:
        server = Postgres(Path(folder), programs)
        server.initialise()
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def running_tracking_server(database: str) -> Iterator[TrackingServer]:
    """An `mlflow server` over the database at this address, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="ablate-mlflow-", ignore_cleanup_errors=True) as folder:
        server = TrackingServer(Path(folder), database)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def mlflow_template(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a database with MLflow's tables: making them takes seconds, a copy of them none."""
    from ablate.tracking.mlflow import store

    address = postgres.create()
    store.connect(address.replace("postgresql:", "postgresql+psycopg:"), tmp_path_factory.mktemp("template"))
    return address.rpartition("/")[2]


@pytest.fixture(scope="session")
def _make_database(postgres: Postgres, request: pytest.FixtureRequest) -> Callable[[bool], str]:
    def make(with_mlflow: bool) -> str:
        if not with_mlflow:
            return postgres.create()
        template = request.getfixturevalue("mlflow_template")
        cut = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{template}'"
        postgres.query(cut)  # a database that is in use cannot be copied
        return postgres.create(template)

    return make


@pytest.fixture
def new_database(postgres: Postgres, _make_database: Callable[[bool], str]) -> Iterator[Callable[..., str]]:
    made: list[str] = []

    def make(*, with_mlflow: bool = False) -> str:
        made.append(_make_database(with_mlflow))
        return made[-1]

    yield make
    if postgres.process is None:
        postgres.start()
    for address in made:
        postgres.drop(address)


@pytest.fixture(scope="session")
def tracking_server(_make_database: Callable[[bool], str]) -> Iterator[TrackingServer]:
    with running_tracking_server(_make_database(True)) as server:
        yield server


@pytest.fixture
def new_tracking_server(new_database: Callable[..., str]) -> Iterator[Callable[[], TrackingServer]]:
    with ExitStack() as servers:
        yield lambda: servers.enter_context(running_tracking_server(new_database(with_mlflow=True)))
