"""Stores for the tests: an initialised empty database, made once. Servers: see ../servers.py."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an initialised MLflow database without studies: migrating one takes seconds, copying it none."""
    from ablate.edges.tracking import MlflowTracker

    folder = tmp_path_factory.mktemp("empty")
    MlflowTracker(None, folder)
    return folder / "mlflow.db"


@pytest.fixture
def new_mlruns(empty_store: Path) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "mlruns").mkdir(parents=True)
        shutil.copy(empty_store, folder / "mlruns" / "mlflow.db")
        return folder / "mlruns"

    return make


@pytest.fixture
def mlruns(new_mlruns: Callable[[Path], Path], tmp_path: Path) -> Path:
    """A fresh store of the default kind."""
    return new_mlruns(tmp_path)
