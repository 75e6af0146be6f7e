"""The tracker's contract on a real PostgreSQL: behind an `mlflow server`, and as the store itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import test_tracking
import torch
import toy_runs as toy
from servers import PASSWORD, QUOTED, Postgres, TrackingServer

from ablate.study import InputError, Record
from ablate.tracking.memory import MemoryTracker
from ablate.tracking.mlflow.tracker import MlflowTracker
from ablate.trainers.builtin.checkpoints import load_model


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


@test_tracking.loads_models
def test_a_server_keeps_the_same_study_and_its_artifacts(tracking_server: TrackingServer, tmp_path: Path) -> None:
    server = tracking_server.address
    tracker, memory = MlflowTracker(server, tmp_path / "unused"), MemoryTracker()
    folder, study, runs = toy.artifacts(tmp_path / "out", seed=2), "toy °", {}
    for each in (tracker, memory):
        each.open(study, toy.DOCUMENT)
        runs[each] = toy.run(each, toy.spec(study), folder)
        toy.run(each, toy.trial(study, 3, **{"training.learning_rate": 0.5}))
        again = toy.spec(study, "hybrid")
        each.kill(each.start(again))
        each.finish(each.start(again), again, toy.failed(again))
        each.discard([toy.run(each, toy.spec(study, seed=9))])
        each.add_scores([runs[each]], {"cost/latency_ms_p50": 1.5})
        each.close(study, finished=True)
    assert _anonymous(tracker.records(study)) == _anonymous(memory.records(study))
    reader = MlflowTracker(server, tmp_path / "unused")
    run_id = runs[tracker]
    assert reader.document(study) == toy.DOCUMENT
    assert toy.curves(reader, run_id, study) == toy.history()
    assert reader.artifact(run_id, "nothing") is None
    table, model = reader.artifact(run_id, "scores.parquet"), reader.artifact(run_id, "model")
    assert table is not None
    assert model is not None
    assert table.read_bytes() == (folder / "scores.parquet").read_bytes()
    assert torch.equal(load_model(model).weight, toy.linear(2).weight)
    mlflow.set_tracking_uri(server)
    try:
        answer = mlflow.pyfunc.load_model(f"runs:/{run_id}/model").predict(np.ones((1, 17, 6), np.float32))
    finally:
        mlflow.set_tracking_uri(None)
    np.testing.assert_array_equal(answer, toy.linear(2)(torch.ones(1, 17, 6)).detach().numpy())
    assert [path.name for path in (tmp_path / "unused").iterdir()] == ["cache"]


def _anonymous(records: list[Record]) -> list[Record]:
    return [replace(record, run_id="") for record in records]


@pytest.mark.long  # as its sibling of SQLite
def test_two_cold_starts_on_two_machines_make_one_database(new_database: Callable[[], str], tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from ablate.tracking.mlflow.tracker import MlflowTracker as T;"
    code += "T(sys.argv[1], Path(sys.argv[2])).open(sys.argv[2][-1], {})"
    address = new_database()
    starts: list[subprocess.Popen[Any]] = [
        subprocess.Popen([sys.executable, "-c", code, address, str(tmp_path / name)], stderr=subprocess.PIPE)
        for name in "ab"
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
