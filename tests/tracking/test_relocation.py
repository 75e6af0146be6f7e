"""A local store that was moved or copied: artifacts are read from and written to the folder beside its database."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import mlflow
import numpy as np
import pytest
import test_tracking
import torch
import toy_runs as toy

from ablate.tracking.mlflow import relocation
from ablate.tracking.mlflow.sqlite_reader import LocalStore
from ablate.tracking.mlflow.tracker import MlflowTracker
from ablate.trainers.builtin.checkpoints import load_model

STUDY = "toy"


@pytest.fixture
def store(mlruns: Path, tmp_path: Path) -> Path:
    """A study with one finished run, in `mlruns` of a folder with nothing else in it."""
    tracker = MlflowTracker(None, mlruns)
    tracker.open(STUDY, toy.DOCUMENT)
    toy.run(tracker, toy.spec(STUDY, seed=3), toy.artifacts(tmp_path / "out", seed=3))
    return mlruns


def run_id(mlruns: Path) -> str:
    return LocalStore(mlruns / "mlflow.db").records(STUDY)[0].run_id


def addresses(mlruns: Path) -> list[str]:
    with closing(sqlite3.connect(mlruns / "mlflow.db")) as connection:
        return [
            address
            for table, column in relocation.ADDRESSES
            for (address,) in connection.execute(f"SELECT {column} FROM {table} ORDER BY 1")
        ]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def moved_or_copied(store: Path, how: str) -> Path:
    target = store.parent / "elsewhere ü" / "mlruns"
    target.parent.mkdir()
    return Path(shutil.move(store, target) if how == "moved" else shutil.copytree(store, target))


@pytest.mark.parametrize("how", ["moved", "copied"])
def test_what_is_read_lies_beside_the_database_and_nothing_is_written(store: Path, how: str) -> None:
    here = moved_or_copied(store, how)
    before, db = files(here), here / "mlflow.db"
    reader = LocalStore(db)
    assert reader.document(STUDY) == toy.DOCUMENT
    for _ in ("without its list of folders", "with it"):
        for name in ("scores.parquet", "model"):
            artifact = reader.artifact(run_id(here), name)
            assert artifact is not None
            assert artifact.is_relative_to(here)
        reader.records(STUDY)
    assert files(here) == before


@test_tracking.loads_models
@pytest.mark.parametrize("how", ["moved", "copied"])
def test_what_is_written_goes_beside_the_database(store: Path, how: str, tmp_path: Path) -> None:
    here = moved_or_copied(store, how)
    before = files(store) if how == "copied" else {}
    tracker = MlflowTracker(None, here)
    assert tracker.document(STUDY) == toy.DOCUMENT
    assert all(address.startswith(here.as_uri()) for address in addresses(here))
    tracker.open(STUDY, {**toy.DOCUMENT, "created": "later"})
    new = toy.run(tracker, toy.spec(STUDY, seed=4), toy.artifacts(tmp_path / "out 4", seed=4))
    for run, seed in ((run_id(here), 3), (new, 4)):
        model = tracker.artifact(run, "model")
        assert model is not None
        assert model.is_relative_to(here)
        assert torch.equal(load_model(model).weight, toy.linear(seed).weight)
        mlflow.set_tracking_uri(tracker.uri)
        try:
            answer = mlflow.pyfunc.load_model(f"runs:/{run}/plain-seed{seed}").predict(np.ones((1, 17, 6), np.float32))
        finally:
            mlflow.set_tracking_uri(None)
        np.testing.assert_array_equal(answer, toy.linear(seed)(torch.ones(1, 17, 6)).detach().numpy())
    assert tracker.document(STUDY) == {**toy.DOCUMENT, "created": "later"}
    assert (files(store) if store.exists() else {}) == before


def test_a_copy_of_the_database_alone_keeps_the_artifacts_that_it_names(store: Path, tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    shutil.copy(store / "mlflow.db", tmp_path / "alone")
    before = addresses(tmp_path / "alone")
    tracker = MlflowTracker(None, tmp_path / "alone")
    model = tracker.artifact(run_id(store), "model")
    assert model is not None
    assert model.is_relative_to(store)
    assert [address for address in addresses(tmp_path / "alone") if STUDY in address] == [
        a for a in before if STUDY in a
    ]


def test_addresses_of_other_peoples_experiments_stay(store: Path, tmp_path: Path) -> None:
    theirs = (tmp_path / "theirs" / "artifacts" / "x").as_uri()
    MlflowTracker(None, store).client.create_experiment("not x", theirs)
    here = moved_or_copied(store, "moved")
    MlflowTracker(None, here)
    assert theirs in addresses(here)


def test_addresses_are_updated_in_one_transaction_and_once(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = moved_or_copied(store, "moved")
    before = addresses(here)
    with monkeypatch.context() as broken:
        broken.setattr(relocation, "ADDRESSES", (*relocation.ADDRESSES, ("tags", "no such column")))
        with pytest.raises(Exception, match="cannot be rewritten"):
            relocation.rewrite(here / "mlflow.db")
    assert addresses(here) == before
    relocation.rewrite(here / "mlflow.db")
    after = (here / "mlflow.db").read_bytes()
    assert all(address.startswith(here.as_uri()) for address in addresses(here))
    relocation.rewrite(here / "mlflow.db")
    assert (here / "mlflow.db").read_bytes() == after
