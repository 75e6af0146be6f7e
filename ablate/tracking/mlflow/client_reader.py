"""The reading half of a Tracker, through MLflow's client, for servers and databases other than SQLite. It never writes.

Every page of runs, every curve and every file costs a request to a server; a `FinishedCache` saves those for finished
runs.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Collection, Iterator
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from mlflow import MlflowClient
from mlflow.entities import Experiment, LoggedModel, Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.utils import get_results_from_paginated_fn

from ablate.study import Record
from ablate.tracking.mlflow import store
from ablate.tracking.mlflow.errors import passing_faults
from ablate.tracking.mlflow.finished_cache import TABLES, FinishedCache
from ablate.tracking.record_format import MODEL, MODEL_DATA, curves, record_of, status_of
from ablate.untrusted.addresses import database_file, local_path

# Names with one value per run, so without a curve: each name would cost a request.
WITHOUT_CURVE = ("test/", "cost/", "count/", "time/", "external/")
PAGE_SIZE = 1000  # runs or experiments

T = TypeVar("T")


class ClientReader:
    """Reads the store `uri`. Files of a server are downloaded, into a folder that is deleted with the reader."""

    def __init__(self, client: MlflowClient, uri: str, cache: FinishedCache | None = None) -> None:
        self.client, self.uri, self.cache = client, uri, cache

    @cached_property
    def downloads(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="ablate-artifacts-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder

    def records(self, study: str) -> list[Record]:
        """Oldest first."""
        experiment = self.client.get_experiment_by_name(study)
        if experiment is None or experiment.lifecycle_stage != "active":
            return []
        runs = [run for run in self.search(experiment.experiment_id) if "ablate.key" in run.data.tags]
        runs.sort(key=lambda run: (run.info.start_time, run.info.run_id))
        return [
            record_of(run.info.run_id, run.info.status, run.data.tags, run.data.metrics, dataset_of(run))
            for run in runs
        ]

    def times(self, study: str) -> dict[str, tuple[int, int]]:
        experiment = self.client.get_experiment_by_name(study)
        if experiment is None or experiment.lifecycle_stage != "active":
            return {}
        runs = [run for run in self.search(experiment.experiment_id) if "ablate.key" in run.data.tags]
        return {run.info.run_id: (int(run.info.start_time or 0), int(run.info.end_time or 0)) for run in runs}

    def histories(self, study: str, run_ids: Collection[str]) -> Iterator[tuple[str, list[dict[str, float]]]]:
        return ((run_id, self._history(run_id)) for run_id in run_ids)

    def _history(self, run_id: str) -> list[dict[str, float]]:
        cached = self.cache.history(run_id) if self.cache else None
        if cached is not None:
            return cached
        run = self.client.get_run(run_id)
        names = [name for name in run.data.metrics if not name.startswith(WITHOUT_CURVE)]
        points = [point for name in names for point in self.client.get_metric_history(run_id, name)]
        history = curves((point.key, point.value, point.step, point.timestamp) for point in points)
        if self.cache and status_of(run.info.status, run.data.tags) == "FINISHED":
            self.cache.keep_history(run_id, history)
        return history

    def artifact(self, run_id: str, path: str) -> Path | None:
        cache = self.cache if path in TABLES else None
        is_cached, table = cache.table(run_id, path) if cache else (False, None)
        if is_cached:
            return table
        run = self.client.get_run(run_id)
        address, inside = run.info.artifact_uri, path
        if path == MODEL:
            outputs = run.outputs.model_outputs if run.outputs else []
            model = self.model(outputs[0].model_id) if outputs else None
            if model is None:
                return None
            address, inside = model.artifact_location, MODEL_DATA
        folder = local_path(address)
        if folder is not None:
            return folder / inside if (folder / inside).exists() else None
        if database_file(self.uri) is not None:
            return None  # a local store's artifacts are local files: other addresses in it are not fetched
        downloaded = self._download(address, inside, self.downloads / run_id)
        if cache and status_of(run.info.status, run.data.tags) == "FINISHED":
            cache.keep_table(run_id, path, downloaded)
        return downloaded

    def _download(self, address: str, inside: str, target: Path) -> Path | None:
        """A file or folder below an address; None where the list of artifacts there does not have it."""
        folder, _, _ = inside.rpartition("/")
        target.mkdir(exist_ok=True)
        with passing_faults():
            repository = store.artifacts(address, self.uri)
            if inside not in [entry.path for entry in repository.list_artifacts(folder or None)]:
                return None
            return Path(repository.download_artifacts(inside, str(target)))

    def model(self, model_id: str) -> LoggedModel | None:
        """None for a deleted model."""
        try:
            return self.client.get_logged_model(model_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None

    def experiments(self, view: int = ViewType.ACTIVE_ONLY) -> list[Experiment]:
        """Every experiment."""
        return _all_pages(lambda size, token: self.client.search_experiments(view, size, page_token=token))

    def search(self, experiment_id: str, condition: str = "", view: int = ViewType.ACTIVE_ONLY) -> list[Run]:
        """Every run that meets the condition, oldest first."""
        order = ["attributes.start_time ASC"]
        return _all_pages(
            lambda size, token: self.client.search_runs([experiment_id], condition, view, size, order, token)
        )


def _all_pages(page: Callable[[int, str | None], list[T]]) -> list[T]:
    all_pages: Callable[..., list[T]] = get_results_from_paginated_fn  # which has no type annotations
    return all_pages(page, PAGE_SIZE)


def dataset_of(run: Run) -> str:
    """The digest of the data that a run read."""
    inputs = run.inputs.dataset_inputs if run.inputs else []
    return str(inputs[0].dataset.digest) if inputs else ""
