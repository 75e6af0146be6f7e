"""List the discarded runs of a server or a shared database, with their artifact folders. Only reads.

MLflow has no request that deletes a run for good: `mlflow gc` does, on a machine that reaches the server's database.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ablate.tracking.mlflow import store  # isort: skip  # first: it silences MLflow before MLflow is imported
from mlflow.entities import Experiment, Run, ViewType

from ablate.tracking.mlflow.client_reader import ClientReader
from ablate.tracking.mlflow.tracker import MlflowTracker
from ablate.tracking.record_format import ROLE
from ablate.untrusted.addresses import local_path, redacted


class DiscardedRun(NamedTuple):
    """A discarded run. `folders`: ("run" or "model", its artifact folder), where artifacts are in local folders."""

    study: str
    run_id: str
    folders: list[tuple[str, Path]]


def discarded_runs(uri: str | None, root: Path) -> list[DiscardedRun]:
    """Every discarded run in the store at `uri`; `root` is the `mlruns` folder."""
    tracker = MlflowTracker(uri, root)
    reader = ClientReader(tracker.client, tracker.uri)
    return [
        DiscardedRun(experiment.name, run.info.run_id, list(_folders(reader, experiment, run)))
        for experiment in reader.experiments(ViewType.ALL)
        for run in reader.search(experiment.experiment_id, view=ViewType.DELETED_ONLY)
        if ROLE in run.data.tags
    ]


def advice(uri: str) -> str:
    """The command with which the operator of the server at `uri` deletes discarded runs for good."""
    address = redacted(store.usable(uri))
    return (
        f"MLFLOW_TRACKING_URI={address} mlflow gc --backend-store-uri DATABASE --artifacts-destination FOLDER, "
        "with the addresses that `mlflow server` was given; it removes what others have deleted there, too"
    )


def _folders(reader: ClientReader, experiment: Experiment, run: Run) -> Iterator[tuple[str, Path]]:
    base, artifacts = local_path(experiment.artifact_location), local_path(run.info.artifact_uri)
    if base is None or artifacts is None:
        return
    yield "run", artifacts
    for output in run.outputs.model_outputs if run.outputs else []:
        if reader.model(output.model_id) is None:
            yield "model", base / "models" / output.model_id / "artifacts"
