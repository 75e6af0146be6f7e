"""Write to one MLflow run: settings, metrics, tags, a text and its model, in requests that MLflow's limits allow."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput, Metric, Param, RunTag

from ablate.tracking.mlflow import store
from ablate.tracking.mlflow.errors import passing_faults
from ablate.tracking.mlflow.models import describe
from ablate.tracking.mlflow.schema import batches
from ablate.tracking.record_format import MODEL_DATA

METRICS_PER_BATCH, PARAMS_PER_BATCH = 900, 100  # MLflow takes 1000 metrics, params and tags in one request


def model_name(tags: Mapping[str, str]) -> str:
    """`hybrid-seed3`, for the tags of a run, without the characters that MLflow refuses in such a name."""
    arm, seed = (tags.get(f"ablate.{name}", "") for name in ("arm", "seed"))
    return re.sub(r"[/:.%\"']", "_", f"{arm}-seed{seed}")


@dataclass(frozen=True)
class RunWriter:
    """Writes to runs of the store `uri`. Its client raises StoreUnavailable for faults that may pass."""

    client: MlflowClient
    uri: str

    def log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        """Log the settings of a run."""
        for batch in batches([Param(name, value) for name, value in params.items()], PARAMS_PER_BATCH):
            self.client.log_batch(run_id, params=batch)

    def log_metrics(self, run_id: str, metrics: list[Metric], tags: Sequence[RunTag] = ()) -> None:
        """Log metrics and tags in as few requests as MLflow's limit allows."""
        *first, last = list(batches(metrics, METRICS_PER_BATCH)) or [[]]
        for batch in first:
            self.client.log_batch(run_id, metrics=batch)
        self.client.log_batch(run_id, metrics=last, tags=tags)

    def log_text(self, run_id: str, name: str, text: str) -> None:
        """Log the file `name` with this text."""
        with passing_faults(), tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch, name)
            path.write_text(text, encoding="utf-8")
            # not `client.log_artifact`, which caches the address that the run had before its store was moved
            address = self.client.get_run(run_id).info.artifact_uri
            store.check_own_folder(run_id, address)
            store.artifacts(address, self.uri).log_artifact(str(path))

    def log_model(
        self, experiment_id: str, run_id: str, folder: Path, tags: dict[str, str], *, interrupted: bool = True
    ) -> str:
        """Log the folder (weights.safetensors, model.json) as the run's model, named for arm and seed; returns its id.

        `interrupted`: an earlier call may have begun it; then that model is completed, no new one made.
        """
        started = self.models(experiment_id, run_id) if interrupted else []
        if started:
            logged = self.client.get_logged_model(started[0])
        else:
            logged = self.client.create_logged_model(experiment_id, model_name(tags), run_id, tags, model_type="torch")
        outputs = self.client.get_run(run_id).outputs if started else None
        if not (outputs and outputs.model_outputs):
            self.client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
        with passing_faults(), tempfile.TemporaryDirectory() as scratch:
            shutil.copytree(folder, Path(scratch, MODEL_DATA))
            describe(Path(scratch), logged.model_id, run_id)
            store.artifacts(logged.artifact_location, self.uri).log_artifacts(scratch)
        self.client.finalize_logged_model(logged.model_id, "READY")
        return str(logged.model_id)

    def models(self, experiment_id: str, run_id: str) -> list[str]:
        """Ids of the models created for a run, also of those that a killed process had not linked to it yet."""
        models = self.client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'")
        return [str(model.model_id) for model in models]

    def delete_models(self, experiment_id: str, run_id: str) -> None:
        """Delete the models of a run."""
        for model_id in self.models(experiment_id, run_id):
            self.client.delete_logged_model(model_id)
