"""A study goes to a real server and to a real database as bundles, and comes back the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
import toy_runs as toy
from servers import Postgres, TrackingServer
from toy_study import bundles, contents, ended, filled, no_progress

from ablate.archive.deliver import deliver
from ablate.tracking.memory import MemoryTracker
from ablate.tracking.mlflow.tracker import MlflowTracker


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> MemoryTracker:
    return filled(tmp_path_factory.mktemp("source"))


@pytest.fixture
def folder(source: MemoryTracker, tmp_path: Path) -> Path:
    return bundles(source, tmp_path / "bundles")


@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")
def test_to_a_server_and_back(
    source: MemoryTracker, folder: Path, tracking_server: TrackingServer, postgres: Postgres, tmp_path: Path
) -> None:
    postgres.hide_studies(tracking_server.database)

    def there() -> MlflowTracker:
        return MlflowTracker(tracking_server.address, tmp_path / "unused")

    added = deliver("toy", folder, there(), no_progress)
    assert (len(added), sum(added.values())) == (4, 2)
    assert deliver("toy", folder, there(), no_progress) == {}
    tracker = MlflowTracker(tracking_server.address, tmp_path / "unused before")  # nothing of it is cached there
    for copy, run in zip(ended(tracker), ended(source), strict=True):
        assert repr(replace(copy.record, run_id="")) == repr(replace(run.record, run_id=""))
        assert toy.curves(tracker, copy.record.run_id) == toy.curves(source, run.record.run_id)
    assert contents(bundles(there(), tmp_path / "back")) == contents(folder)
    first = next(run for run in ended(tracker) if run.model)
    mlflow.set_tracking_uri(tracking_server.address)
    try:
        network = mlflow.pyfunc.load_model(f"runs:/{first.record.run_id}/{first.record.name}")
    finally:
        mlflow.set_tracking_uri(None)
    answer = toy.linear(first.record.seed)(torch.ones(2, 17, 6)).detach().numpy()
    np.testing.assert_array_equal(network.predict(np.ones((2, 17, 6), np.float32)), answer)
    tracker.forget("toy")
    assert deliver("toy", folder, there(), no_progress) == {}  # the study was discarded there and is not added again
