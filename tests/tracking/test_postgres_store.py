"""The tracker's contract on a real PostgreSQL: behind an `mlflow server`, and as the store itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import test_tracking
import toy_runs as toy
from servers import PASSWORD, QUOTED, Postgres, TrackingServer

from ablate.study import InputError
from ablate.tracking.mlflow.tracker import MlflowTracker
from ablate.untrusted.addresses import default_uri


@pytest.fixture(scope="module")
def database(postgres: Postgres, _make_database: Callable[[bool], str]) -> str:
    return _make_database(True)


# Without a server a whole study runs in test_postgres_study.py.
@pytest.fixture(params=["server", pytest.param("database", marks=pytest.mark.long)])
def tracker(
    request: pytest.FixtureRequest, postgres: Postgres, tracking_server: TrackingServer, database: str, tmp_path: Path
) -> MlflowTracker:
    where, uri = {
        "server": (tracking_server.database, tracking_server.address),
        "database": (database, database),
    }[request.param]
    postgres.hide_studies(where)
    return MlflowTracker(uri, tmp_path / "mlruns")


study, opened = test_tracking.study, test_tracking.opened  # fixtures of the contract


class TestTrackerContractOnPostgres(test_tracking.TestTrackerContract):
    pass


@pytest.mark.long  # two processes migrate or wait: 10 s on two cores
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_two_cold_starts_at_once_make_one_database(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """By two projects, each with a folder of its own."""
    code = "import sys; from pathlib import Path; from ablate.tracking.mlflow.tracker import MlflowTracker as T;"
    code += "T(sys.argv[1], Path(sys.argv[2])).open(sys.argv[3], {})"
    address = default_uri(tmp_path) if kind == "sqlite" else request.getfixturevalue("new_database")()
    folders = {name: tmp_path / name for name in "ab"}
    starts: list[subprocess.Popen[Any]] = [
        subprocess.Popen([sys.executable, "-c", code, address, str(folder), name], stderr=subprocess.PIPE)
        for name, folder in folders.items()
    ]
    assert [(start.communicate()[1].decode(), start.returncode) for start in starts] == [("", 0), ("", 0)]
    assert MlflowTracker(address, tmp_path).studies() == ["a", "b"]


def test_a_wrong_password_is_refused_and_not_shown(postgres: Postgres, tmp_path: Path) -> None:
    address = postgres.address("postgres").replace(QUOTED, "wr0ng%2Fpass")
    with pytest.raises(InputError, match="password authentication failed") as caught:
        MlflowTracker(address, tmp_path)
    for part in ("wr0ng", QUOTED, PASSWORD):
        assert part not in str(caught.value)


def test_a_server_that_asks_for_a_login_gets_it_and_its_errors_do_not_name_it(
    tracking_server: TrackingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")  # put back afterwards
    login = tracking_server.address.replace("://", f"://me:{QUOTED}@")
    tracker = MlflowTracker(login, tmp_path)
    assert tracker.uri == tracking_server.address
    tracker.open("toy", toy.DOCUMENT)
    with pytest.raises(Exception, match="nowhere") as caught:
        tracker.client.get_run("nowhere")
    for part in (QUOTED, PASSWORD):
        assert part not in str(caught.value)
