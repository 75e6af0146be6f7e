"""What a server or a shared database keeps of discarded runs. Only reads.

MLflow has no request that removes a run for good: its own `mlflow gc` does that, where the database can be reached.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ablate.tracking.mlflow import store  # isort: skip  # first: it silences MLflow before MLflow is imported
from mlflow import MlflowClient
from mlflow.entities import Experiment, Run, ViewType
from mlflow.exceptions import MlflowException

from ablate.tracking.mlflow.client_reader import ClientReader
from ablate.tracking.mlflow.tracker import MlflowTracker
from ablate.tracking.record_format import ROLE
from ablate.untrusted.addresses import local_path, redacted


class Kept(NamedTuple):
    """A discarded run. `places`: what of it may lie in local folders, each with its kind, "run" or "model"."""

    study: str
    run_id: str
    places: list[tuple[str, Path]]


def kept(uri: str | None, root: Path) -> list[Kept]:
    """Every discarded run in the store at `uri`, with the folders of a store that has its artifacts in local ones."""
    tracker = MlflowTracker(uri, root)
    reader = ClientReader(tracker.client, tracker.uri)
    return [
        Kept(experiment.name, run.info.run_id, list(_places(tracker.client, experiment, run)))
        for experiment in reader.experiments(ViewType.ALL)
        for run in reader.search(experiment.experiment_id, view=ViewType.DELETED_ONLY)
        if ROLE in run.data.tags
    ]


def advice(uri: str) -> str:
    """The command with which whoever runs the server at `uri` removes what was discarded."""
    address = redacted(store.usable(uri))
    return (
        f"MLFLOW_TRACKING_URI={address} mlflow gc --backend-store-uri DATABASE --artifacts-destination FOLDER, "
        "with the addresses that `mlflow server` was given; it removes what others have deleted there, too"
    )


def _places(client: MlflowClient, experiment: Experiment, run: Run) -> Iterator[tuple[str, Path]]:
    base, place = local_path(experiment.artifact_location), local_path(run.info.artifact_uri)
    if base is None or place is None:
        return
    yield "run", place
    for output in run.outputs.model_outputs if run.outputs else []:
        if _is_deleted(client, output.model_id):
            yield "model", base / "models" / output.model_id / "artifacts"


def _is_deleted(client: MlflowClient, model_id: str) -> bool:
    try:
        client.get_logged_model(model_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return True
    return False
