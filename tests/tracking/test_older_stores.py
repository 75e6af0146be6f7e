"""Stores that an older or newer MLflow wrote: opened by migration with nothing lost, or refused and left alone."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy
import toy_runs as toy
from alembic import command
from mlflow.store.db import utils
from mlflow.store.db.base_sql_model import Base  # noqa: F401  # registers what the first migration builds on
from mlflow.store.tracking.dbmodels.initial_models import Base as InitialBase
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

from ablate.study import InputError
from ablate.tracking.mlflow.sqlite_reader import LocalStore
from ablate.tracking.mlflow.tracker import MlflowTracker

OLD = "6953534de441"  # of MLflow 3.0, the first with models of runs


def run_of(tracker: MlflowTracker, folder: Path) -> None:
    tracker.open("toy", toy.DOCUMENT)
    toy.run(tracker, toy.spec("toy", "plain", 1), toy.artifacts(folder, 1))
    toy.run(tracker, toy.trial("toy", 0))
    tracker.close("toy", finished=True)


@pytest.fixture(scope="module")
def older(initialised_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with MLflow's own older schema: its migrations stopped there, then filled with a real study's rows."""
    folder = tmp_path_factory.mktemp("older")
    (folder / "now" / "mlruns").mkdir(parents=True)
    shutil.copy(initialised_store, folder / "now" / "mlruns" / "mlflow.db")
    run_of(MlflowTracker(None, folder / "now" / "mlruns"), folder / "run")
    mlruns = folder / "older" / "mlruns"
    mlruns.mkdir(parents=True)
    uri = f"sqlite:///{mlruns / 'mlflow.db'}"
    engine = sqlalchemy.create_engine(uri)
    InitialBase.metadata.create_all(engine)
    command.upgrade(utils._get_alembic_config(uri), OLD)
    engine.dispose()
    copy_rows(folder / "now" / "mlruns" / "mlflow.db", mlruns / "mlflow.db")
    shutil.copytree(folder / "now" / "mlruns" / "artifacts", mlruns / "artifacts")
    move(mlruns, folder / "now" / "mlruns")
    assert schema_version(mlruns / "mlflow.db") == OLD
    return mlruns


def copy_rows(new: Path, old: Path) -> None:
    """Of every table that both have, the columns that both have."""
    with closing(sqlite3.connect(old)) as db, db:
        db.execute("ATTACH ? AS new", (str(new),))
        for (table,) in db.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'").fetchall():
            both = [{row[1] for row in db.execute(f"PRAGMA {where}.table_info({table})")} for where in ("main", "new")]
            if table != "alembic_version" and (shared := ", ".join(sorted(both[0] & both[1]))):
                db.execute(f"INSERT OR IGNORE INTO main.{table} ({shared}) SELECT {shared} FROM new.{table}")


def move(mlruns: Path, before: Path) -> None:
    """Let the addresses of a store that was copied lead to its place."""
    with closing(sqlite3.connect(mlruns / "mlflow.db")) as db, db:
        for table, column in (
            ("runs", "artifact_uri"), ("logged_models", "artifact_location"), ("experiments", "artifact_location")
        ):  # fmt: skip
            db.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (str(before), str(mlruns)))
    _artifact_repos_cache.clear()


def schema_version(file: Path) -> str:
    with closing(sqlite3.connect(file)) as db:
        return str(db.execute("SELECT version_num FROM alembic_version").fetchone()[0])


@pytest.fixture
def store(older: Path, tmp_path: Path) -> Path:
    """The older store, moved here with its addresses, for a test to change."""
    shutil.copytree(older, tmp_path / "mlruns")
    move(tmp_path / "mlruns", older)
    return tmp_path / "mlruns"


def test_it_is_read_as_it_is_and_opens_by_migration(store: Path) -> None:
    db = store / "mlflow.db"
    before = LocalStore(db).records("toy")
    assert [record.phase for record in before] == ["compare", "tune"]
    assert LocalStore(db).document("toy") == toy.DOCUMENT
    assert schema_version(db) == OLD
    tracker = MlflowTracker(None, store)
    assert schema_version(db) != OLD
    assert tracker.records("toy") == before == LocalStore(db).records("toy")
    assert tracker.document("toy") == toy.DOCUMENT
    assert toy.curves(tracker, before[0].run_id) == toy.history()
    model = tracker.artifact(before[0].run_id, "model")
    assert model is not None
    toy.run(tracker, toy.spec("toy", "plain", 2))
    assert len(tracker.records("toy")) == 3


def test_a_store_of_a_newer_mlflow_is_refused_and_left_as_it_is(store: Path) -> None:
    with closing(sqlite3.connect(store / "mlflow.db")) as db, db:
        db.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    before = (store / "mlflow.db").read_bytes()
    with pytest.raises(InputError, match="cannot be brought to this MLflow's schema"):
        MlflowTracker(None, store)
    assert (store / "mlflow.db").read_bytes() == before
