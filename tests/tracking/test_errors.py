"""Runs of a process that died, repeated calls, and faults that may pass, in a real MLflow database."""

from __future__ import annotations

import errno
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
import toy_runs as toy
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from ablate.study import StoreUnavailable
from ablate.tracking.mlflow import run_writer, store
from ablate.tracking.mlflow.errors import passing_faults, translated
from ablate.tracking.mlflow.schema import datasets
from ablate.tracking.mlflow.tracker import MlflowTracker
from ablate.tracking.record_format import STATUS

STUDY = "toy"


@pytest.fixture
def tracker(mlruns: Path) -> MlflowTracker:
    tracker = MlflowTracker(None, mlruns)
    tracker.open(STUDY, toy.DOCUMENT)
    return tracker


def query(tracker: MlflowTracker, text: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(tracker.root / "mlflow.db")) as connection:
        return connection.execute(text).fetchall()


MODELS = "SELECT source_run_id, status, lifecycle_stage FROM logged_models"
READY, PENDING = 2, 1


class FailsOnce:
    """A client whose method `call` does its work and then raises, the first time; everything else works."""

    def __init__(self, client: Any, call: str) -> None:
        self.client, self.call = client, call

    def __getattr__(self, name: str) -> Any:
        def lost(*args: Any, **kwargs: Any) -> Any:
            self.call = ""
            getattr(self.client, name)(*args, **kwargs)
            raise ConnectionResetError(errno.EIO, "the answer was lost")

        return lost if name == self.call else getattr(self.client, name)


class TestRepeatedCalls:
    @pytest.mark.parametrize(
        "call",
        ["create_logged_model", "log_outputs", "artifacts", "finalize_logged_model", "set_terminated"],
    )
    def test_a_run_whose_recording_was_cut_off_is_recorded_once(
        self, tracker: MlflowTracker, tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(run_writer, "store", FailsOnce(store, call))
        spec = toy.spec(STUDY)
        result = toy.finished(spec, toy.artifacts(tmp_path / "out"))
        run_id = tracker.start(spec)
        client = tracker.client
        vars(tracker)["client"] = translated(FailsOnce(client, call))  # type: ignore[arg-type]
        with pytest.raises(StoreUnavailable, match="the answer was lost"):
            tracker.finish(run_id, spec, result)
        tracker.finish(run_id, spec, result)
        assert [record.status for record in tracker.records(STUDY)] == ["FINISHED"]
        assert query(tracker, MODELS) == [(run_id, READY, "active")]
        assert toy.curves(tracker, run_id) == toy.history()
        model = tracker.artifact(run_id, "model")
        assert model is not None
        assert (model / "weights.safetensors").read_bytes() == (tmp_path / "out/model/weights.safetensors").read_bytes()

    @pytest.mark.parametrize("call", ["create_run", "log_batch", "log_inputs"])
    def test_a_run_begun_twice_is_there_once(self, tracker: MlflowTracker, call: str) -> None:
        spec = toy.spec(STUDY)
        client = tracker.client
        vars(tracker)["client"] = translated(FailsOnce(client, call))  # type: ignore[arg-type]
        with pytest.raises(StoreUnavailable):
            tracker.start(spec)
        run_id = tracker.start(spec)
        assert [(r.run_id, r.status) for r in tracker.records(STUDY)] == [(run_id, "RUNNING")]
        assert query(tracker, "SELECT count(*) FROM runs WHERE status = 'RUNNING'") == [(2,)]  # it and the study's

    def test_a_dataset_that_another_process_adds_at_once(self, tracker: MlflowTracker) -> None:
        """MLflow checks for the dataset and then inserts it, which fails if another process inserted it between."""
        spec = toy.spec(STUDY)
        (dataset, *_) = datasets(spec)
        experiment = tracker.client.get_experiment_by_name(STUDY)
        assert experiment is not None
        rival = f"""CREATE TRIGGER rival BEFORE INSERT ON datasets WHEN NEW.dataset_uuid != 'rival' BEGIN
            INSERT INTO datasets (dataset_uuid, experiment_id, name, digest, dataset_source_type, dataset_source)
            VALUES ('rival', {experiment.experiment_id}, NEW.name, NEW.digest, 'local', '{{}}'); END"""
        with closing(sqlite3.connect(tracker.root / "mlflow.db")) as connection:
            connection.execute(rival)
            with pytest.raises(StoreUnavailable, match=r"UNIQUE constraint failed: datasets"):
                tracker.start(spec)
            connection.execute("DROP TRIGGER rival")
        run_id = tracker.start(spec)
        assert [(r.run_id, r.status) for r in tracker.records(STUDY)] == [(run_id, "RUNNING")]
        assert dataset.dataset.digest == spec.dataset == tracker.records(STUDY)[0].dataset

    def test_an_epoch_that_was_not_logged_is_logged_again(self, tracker: MlflowTracker) -> None:
        spec = toy.spec(STUDY)
        run_id = tracker.start(spec)
        vars(tracker)["client"] = translated(FailsOnce(tracker.client, "log_batch"))  # type: ignore[arg-type]
        with pytest.raises(StoreUnavailable):
            tracker.log_epochs(run_id, [toy.history()[0]])
        for entry in toy.history():
            tracker.log_epochs(run_id, [entry])
        assert toy.curves(tracker, run_id) == toy.history()


class TestSweep:
    def test_running_runs_of_a_dead_process_are_killed(self, tracker: MlflowTracker, tmp_path: Path) -> None:
        done = toy.run(tracker, toy.spec(STUDY, "done"), toy.artifacts(tmp_path / "out"))
        running = [tracker.start(toy.spec(STUDY, "left")), tracker.start(toy.trial(STUDY, 0))]
        experiment = tracker.client.get_run(done).info.experiment_id
        # As if the process was killed before it had linked the model to the run.
        tracker.client.create_logged_model(experiment, "model", running[0])
        later = MlflowTracker(None, tracker.root)
        assert later.sweep("another") == 0
        assert later.sweep(STUDY) == 2
        assert {r.run_id: r.status for r in later.records(STUDY)} == {
            done: "FINISHED", **dict.fromkeys(running, "KILLED"),
        }  # fmt: skip
        assert sorted(query(tracker, MODELS)) == sorted([(done, READY, "active"), (running[0], PENDING, "deleted")])
        assert later.sweep(STUDY) == 0

    @pytest.mark.parametrize("status", ["FINISHED", "FAILED"])
    def test_a_run_that_its_script_has_ended_is_not_done(self, tracker: MlflowTracker, status: str) -> None:
        """A script's end_run sets MLflow's status; ablate was killed before it recorded the run."""
        left = tracker.start(toy.spec(STUDY))
        MlflowClient(tracker.uri).set_terminated(left, status)
        later = MlflowTracker(None, tracker.root)
        assert [record.status for record in later.records(STUDY)] == ["RUNNING"]
        assert [run.record.status for run in later.stored(STUDY)] == ["RUNNING"]
        assert later.sweep(STUDY) == 1
        assert [record.status for record in later.records(STUDY)] == ["KILLED"]
        assert later.sweep(STUDY) == 0
        done = toy.run(later, toy.spec(STUDY))
        assert [(record.run_id, record.status) for record in later.records(STUDY)] == [(done, "FINISHED")]

    def test_a_run_with_its_scores_alone_is_not_done(self, tracker: MlflowTracker) -> None:
        """Its tag is written with the scores, in one request; ablate was killed before the next, which ends the run."""
        left = tracker.start(toy.spec(STUDY))
        tracker.client.set_tag(left, STATUS, "FINISHED")
        later = MlflowTracker(None, tracker.root)
        assert [record.status for record in later.records(STUDY)] == ["RUNNING"]
        assert later.sweep(STUDY) == 1
        assert [record.status for record in later.records(STUDY)] == ["KILLED"]

    def test_a_run_of_an_earlier_version_has_the_status_that_mlflow_gives_it(self, tracker: MlflowTracker) -> None:
        ids = [toy.run(tracker, toy.spec(STUDY, "done")), tracker.start(toy.spec(STUDY, "left"))]
        for run_id in ids:
            tracker.client.delete_tag(run_id, STATUS)
        later = MlflowTracker(None, tracker.root)
        assert [record.status for record in later.records(STUDY)] == ["FINISHED", "RUNNING"]
        assert later.sweep(STUDY) == 1
        assert [record.status for record in later.records(STUDY)] == ["FINISHED", "KILLED"]

    def test_a_failed_trial_keeps_its_log(self, tracker: MlflowTracker, tmp_path: Path) -> None:
        spec = toy.trial(STUDY, 0)
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "run.log").write_text("Traceback: it was not to be\n")
        run_id = tracker.start(spec)
        tracker.finish(run_id, spec, replace(toy.failed(spec), artifacts=tmp_path / "out"))
        log = tracker.artifact(run_id, "run.log")
        assert log is not None
        assert "it was not to be" in log.read_text()


def opens_nothing() -> None:
    sqlalchemy.create_engine("sqlite:////no/such/folder/x.db").connect()


class TestFaults:
    @pytest.mark.parametrize(
        ("fault", "reason"),
        [
            (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
            (OSError(errno.EROFS, "Read-only file system"), "Read-only file system"),
            (MlflowException("API request failed: Max retries exceeded\n<html>"), "API request failed"),
            (MlflowException("try later", error_code=8), "try later"),
        ],
    )
    def test_a_passing_fault_is_reported_in_one_line(self, fault: Exception, reason: str) -> None:
        with pytest.raises(StoreUnavailable, match=reason) as caught, passing_faults():
            raise fault
        assert "\n" not in str(caught.value)

    def test_a_server_that_is_not_there_is_named_once_with_the_systems_reason(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            server = f"http://user:secret@127.0.0.1:{reserved.getsockname()[1]}"
            with pytest.raises(StoreUnavailable) as caught:
                translated(MlflowClient(server)).get_run("0" * 32)
        assert str(caught.value) == f"{server.replace('user:secret', '***')}: Connection refused"

    @pytest.mark.parametrize("fault", [FileNotFoundError(errno.ENOENT, "no"), ValueError("no"), KeyError("no")])
    def test_a_lasting_fault_is_raised_unchanged(self, fault: Exception) -> None:
        with pytest.raises(type(fault)), passing_faults():
            raise fault

    def test_a_database_that_cannot_be_opened_may_come_back(self) -> None:
        with pytest.raises(StoreUnavailable, match="unable to open database file"), passing_faults():
            opens_nothing()

    def test_a_wrong_request_stays_wrong(self, tracker: MlflowTracker) -> None:
        wrong: Callable[[str], Any] = tracker.client.get_run
        with pytest.raises(MlflowException, match="not found"):
            wrong("0" * 32)
