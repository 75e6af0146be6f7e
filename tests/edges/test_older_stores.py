"""Stores that an older or newer MLflow wrote: opened by migration with nothing lost, or refused and left alone."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
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

from ablate.edges import ledger, transfer
from ablate.edges import snapshot_parts as parts
from ablate.edges import snapshot_store as stores
from ablate.edges import snapshot_views as views
from ablate.edges.tracking import MlflowTracker
from ablate.study import InputError

OLD = "6953534de441"  # of MLflow 3.0, the first with models of runs


def run_of(tracker: MlflowTracker, folder: Path) -> None:
    tracker.open("toy", toy.DOCUMENT)
    toy.run(tracker, toy.spec("toy", "plain", 1), toy.artifacts(folder, 1))
    toy.run(tracker, toy.trial("toy", 0))
    tracker.close("toy", finished=True)


@pytest.fixture(scope="module")
def older(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with MLflow's own older schema: its migrations stopped there, then filled with a real study's rows."""
    folder = tmp_path_factory.mktemp("older")
    (folder / "now" / "mlruns").mkdir(parents=True)
    shutil.copy(empty_store, folder / "now" / "mlruns" / "mlflow.db")
    run_of(MlflowTracker(None, folder / "now" / "mlruns"), folder / "run")
    mlruns = folder / "older" / "mlruns"
    mlruns.mkdir(parents=True)
    uri = f"sqlite:///{views.database(mlruns)}"
    engine = sqlalchemy.create_engine(uri)
    InitialBase.metadata.create_all(engine)
    command.upgrade(utils._get_alembic_config(uri), OLD)
    engine.dispose()
    stores.copy_study("toy", folder / "now" / "mlruns", mlruns)
    assert views.schema_version(views.database(mlruns)) == OLD
    return mlruns


@pytest.fixture
def store(older: Path, tmp_path: Path) -> Path:
    """The older store, moved here with its addresses, for a test to change."""
    shutil.copytree(older, tmp_path / "mlruns")
    with closing(sqlite3.connect(tmp_path / "mlruns" / "mlflow.db")) as db, db:
        for table, column in (
            ("runs", "artifact_uri"), ("logged_models", "artifact_location"), ("experiments", "artifact_location")
        ):  # fmt: skip
            db.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (str(older), str(tmp_path / "mlruns")))
    _artifact_repos_cache.clear()
    return tmp_path / "mlruns"


def test_it_is_read_as_it_is_and_opens_by_migration(store: Path) -> None:
    db = views.database(store)
    before = ledger.records_from_sqlite(db, "toy")
    assert [record.phase for record in before] == ["compare", "tune"]
    assert ledger.document_from_sqlite(db, "toy") == toy.DOCUMENT
    assert views.schema_version(db) == OLD
    tracker = MlflowTracker(None, store)
    assert views.schema_version(db) != OLD
    assert tracker.records("toy") == before == ledger.records_from_sqlite(db, "toy")
    assert tracker.document("toy") == toy.DOCUMENT
    assert tracker.history(before[0].run_id) == toy.history()
    model = tracker.artifact(before[0].run_id, "model")
    assert model is not None
    toy.run(tracker, toy.spec("toy", "plain", 2))
    assert len(tracker.records("toy")) == 3


def test_an_export_and_a_snapshot_of_it_join_a_newer_store(
    store: Path, new_mlruns: Callable[[Path], Path], tmp_path: Path
) -> None:
    wanted = ledger.records_from_sqlite(views.database(store), "toy")
    transfer.export("toy", store, tmp_path / "toy.zip")
    staged = tmp_path / "staged" / "mlruns"
    stores.create(staged, views.database(store), portable=True)
    stores.copy_study("toy", store, staged, portable=True)
    newest = new_mlruns(tmp_path / "newest")
    transfer.bring_in(tmp_path / "toy.zip", newest)
    assert ledger.records_from_sqlite(views.database(newest), "toy") == wanted
    MlflowTracker(None, store).discard([])  # migrates it
    run_of_more = MlflowTracker(None, store)
    toy.run(run_of_more, toy.spec("toy", "plain", 2))
    document = {"study": {**_STUDY, "name": "toy"}, "metrics": {}, "hypotheses_digest": "", "amendments": []}
    run_of_more.open("toy", document)
    run_of_more.close("toy", finished=True)
    assert parts.pack_increment("toy", store, staged) == stores.Copied(1, 0)
    assert views.schema_version(views.database(staged)) == OLD  # what is there stays as it is
    ((_, whole),) = [(study, len(_known(part))) for study, part in parts.studies(staged)]
    assert whole == 3


_STUDY = {"question": "?", "baseline": "plain", "seeds": [1, 2], "metrics": ["error"], "catalogue": "toy:METRICS"}
_STUDY |= {"settings": {}, "arms": {"plain": {}}}  # type: ignore[dict-item]


def _known(mlruns: Path) -> list[object]:
    return list(ledger.records_from_sqlite(views.database(mlruns), "toy"))


def test_a_store_of_a_newer_mlflow_is_refused_and_left_as_it_is(store: Path) -> None:
    with closing(sqlite3.connect(views.database(store))) as db, db:
        db.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    before = views.database(store).read_bytes()
    with pytest.raises(InputError, match="cannot be brought to this MLflow's schema"):
        MlflowTracker(None, store)
    assert views.database(store).read_bytes() == before
