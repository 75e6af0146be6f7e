"""The standard-library reader returns what MLflow returns, from the same file, and writes nothing."""

from __future__ import annotations

import math
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import toy_runs as toy

from ablate.study import InputError
from ablate.tracking.mlflow import sqlite_reader
from ablate.tracking.mlflow.client_reader import ClientReader
from ablate.tracking.mlflow.sqlite_reader import LocalStore
from ablate.tracking.mlflow.tracker import MlflowTracker
from ablate.untrusted import addresses


@pytest.fixture(scope="module")
def tracker(initialised_store: Path, tmp_path_factory: pytest.TempPathFactory) -> MlflowTracker:
    """A study with a run of every kind: finished, failed, killed, running, tuning, discarded; and another study.

    No test changes it.
    """
    folder = tmp_path_factory.mktemp("store")
    (folder / "mlruns").mkdir()
    shutil.copy(initialised_store, folder / "mlruns" / "mlflow.db")
    tracker = MlflowTracker(None, folder / "mlruns")
    for study in ("toy", "other"):
        tracker.open(study, {**toy.DOCUMENT, "created": study})
        toy.run(tracker, toy.spec(study, "plain", 1), toy.artifacts(folder / study))
    odd = {"test/nan": math.nan, "test/inf": math.inf, "test/-inf": -math.inf, "test/ü": 0.1}
    toy.run(tracker, toy.spec("toy", "hybrid", 1), scores=odd)
    toy.run(tracker, toy.trial("toy", 0, **{"training.learning_rate": 1e-5, "model.bias": False}))
    tracker.discard([toy.run(tracker, toy.spec("toy", "plain", 9))])
    broken = toy.spec("toy", "hybrid", 2)
    tracker.finish(tracker.start(broken), broken, toy.failed(broken, "Error: “why”\nsecond line"))
    tracker.kill(tracker.start(toy.spec("toy", "hybrid", 3)))
    tracker.log_epochs(tracker.start(toy.spec("toy", "hybrid", 4)), [toy.history()[0]])
    return tracker


@pytest.fixture
def db(tracker: MlflowTracker) -> Path:
    return tracker.root / "mlflow.db"


def test_answers_as_mlflow_does(tracker: MlflowTracker, db: Path) -> None:
    client, reader = ClientReader(tracker.client, tracker.uri), LocalStore(db)
    assert reader.studies() == tracker.studies() == ["other", "toy"]
    for study in ("toy", "other"):
        expected = client.records(study)
        records = reader.records(study)
        assert repr(records) == repr(expected) == repr(tracker.records(study))  # nan differs from itself, not its repr
        assert [record.status for record in records][-1] == {"toy": "RUNNING", "other": "FINISHED"}[study]
        assert reader.document(study) == tracker.document(study) == {**toy.DOCUMENT, "created": study}
        for record in records:
            for path in ("model", "scores.parquet", "examples.npz", "provenance.json", "nothing"):
                expected_path = client.artifact(record.run_id, path)
                assert reader.artifact(record.run_id, path) == expected_path
                assert tracker.artifact(record.run_id, path) == expected_path
        ids = [record.run_id for record in expected]
        with_curves = dict(sorted(each for each in client.histories(study, ids) if each[1]))
        assert repr(dict(reader.histories(study, ids))) == repr(with_curves)
        assert dict(tracker.histories(study, ids[:1])).keys() == {ids[0]}
    assert len(reader.records("toy")) == 6


def test_a_deleted_study_is_gone(db: Path, tmp_path: Path) -> None:
    reader = LocalStore(Path(shutil.copy(db, tmp_path)))
    with closing(sqlite3.connect(reader.database)) as store, store:
        store.execute("UPDATE experiments SET lifecycle_stage = 'deleted' WHERE name = 'toy'")
    assert (reader.records("toy"), reader.document("toy"), reader.studies()) == ([], None, ["other"])
    assert len(reader.records("other")) == 1


def test_nothing_is_written(db: Path) -> None:
    before = db.read_bytes(), sorted(db.parent.iterdir())
    LocalStore(db).records("toy")
    LocalStore(db).document("toy")
    assert (db.read_bytes(), sorted(db.parent.iterdir())) == before
    with sqlite_reader.reading(db) as connection, pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("DELETE FROM runs")


def test_a_missing_file_or_study_is_empty(tmp_path: Path, initialised_store: Path) -> None:
    missing = tmp_path / "mlruns" / "mlflow.db"
    for reader in (LocalStore(missing), LocalStore(initialised_store)):
        assert (reader.studies(), reader.records("toy"), reader.document("toy")) == ([], [], None)
        assert list(reader.histories("toy", ["0"])) == []
        assert reader.artifact("0", "model") is None
    assert not missing.parent.exists()


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database, however long this text may be")
    with pytest.raises(InputError, match=r"mlflow\.db"):
        LocalStore(tmp_path / "mlflow.db").records("toy")


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("/a b/c", "/a b/c"),
        ("file:///a%20b/%C3%BC%231", "/a b/ü#1"),
        ("mlruns/artifacts/x", "mlruns/artifacts/x"),
        ("mlflow-artifacts:/0/x", None),
        ("s3://bucket/x", None),
    ],
)
def test_artifact_addresses(address: str, path: str | None) -> None:
    assert addresses.local_path(address) == (Path(path) if path else None)


@pytest.mark.parametrize(
    ("uri", "file"),
    [("sqlite:////a/b.db", "/a/b.db"), ("sqlite:///b.db", "b.db"), ("postgresql://h/x", None), ("http://h", None)],
)
def test_database_files(uri: str, file: str | None) -> None:
    assert addresses.database_file(uri) == (Path(file) if file else None)


@pytest.mark.parametrize("uri", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:////a/b.db?timeout=60"])
def test_a_database_that_is_no_file_or_more_than_one_is_refused(uri: str) -> None:
    """It was once taken for a file of that name, so that all finished runs seemed to be missing."""
    with pytest.raises(InputError, match="must name one file"):
        addresses.database_file(uri)


def test_the_default_store_is_in_the_folder(tmp_path: Path) -> None:
    assert addresses.database_file(addresses.default_uri(tmp_path)) == tmp_path / "mlflow.db"


def test_needs_neither_mlflow_nor_pandas() -> None:
    heavy = "[m for m in ('mlflow', 'pandas', 'torch') if m in sys.modules]"
    code = f"import sys, ablate.tracking.mlflow.sqlite_reader; print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
