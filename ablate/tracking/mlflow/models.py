"""Log a finished run's network as an MLflow LoggedModel that `mlflow.pyfunc.load_model` can load.

The weights stay safetensors and the settings JSON: nothing is pickled.
"""

from __future__ import annotations

import json
import platform
import shutil
import tempfile
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput
from mlflow.models import Model
from mlflow.models.signature import ModelSignature
from mlflow.types import Schema, TensorSpec

from ablate.tracking.mlflow.store import artifacts
from ablate.tracking.record_format import MODEL, MODEL_DATA

LOADER = "ablate.tracking.mlflow.mlflow_pyfunc"
REQUIREMENTS = ("mlflow", "torch", "safetensors", "numpy", "pydantic", "jaxtyping")


def log_model(
    client: MlflowClient,
    uri: str,
    experiment_id: str,
    run_id: str,
    folder: Path,
    tags: dict[str, str],
    started: list[str],
) -> str:
    """Log `folder` (weights.safetensors, model.json) as the model of the run. Returns the model id.

    `started`: ids of models that an interrupted call has created; the first of them is completed, no new one made.
    """
    if started:
        logged = client.get_logged_model(started[0])
    else:
        logged = client.create_logged_model(experiment_id, MODEL, run_id, tags, model_type="torch")
    outputs = client.get_run(run_id).outputs if started else None
    if not (outputs and outputs.model_outputs):
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        shutil.copytree(folder, root / MODEL_DATA)
        _describe(root, logged.model_id, run_id, json.loads((folder / "model.json").read_text(encoding="utf-8")))
        artifacts(logged.artifact_location, uri).log_artifacts(str(root))
    client.finalize_logged_model(logged.model_id, "READY")
    return str(logged.model_id)


def _describe(root: Path, model_id: str, run_id: str, settings: dict[str, Any]) -> None:
    """Write MLmodel and the environment files.

    `mlflow.pyfunc.save_model` writes absolute paths into MLmodel and takes several times as long (measured).
    """
    shape = (-1, *settings["inputs_shape"])
    signature = ModelSignature(inputs=Schema([TensorSpec(np.dtype(np.float32), shape)]))
    model = Model(artifact_path=MODEL, run_id=run_id, model_id=model_id, model_uuid=model_id, signature=signature)
    model.add_flavor(
        "python_function",  # as mlflow.pyfunc.add_to_model does; that module takes a second to import
        loader_module=LOADER,
        data=MODEL_DATA,
        env={"virtualenv": "python_env.yaml"},
        python_version=platform.python_version(),
    )
    model.model_size_bytes = sum(file.stat().st_size for file in (root / MODEL_DATA).iterdir())
    # JSON is also YAML; Model.save takes 2 ms more, because its YAML dumper is pure Python
    (root / "MLmodel").write_text(json.dumps(model.to_dict(), indent=2) + "\n", encoding="utf-8")
    (root / "requirements.txt").write_text(_requirements(), encoding="utf-8")
    python = f"python: {platform.python_version()}\ndependencies:\n- -r requirements.txt\n"
    (root / "python_env.yaml").write_text(python, encoding="utf-8")


@cache  # takes 10 ms: reads one metadata file per package
def _requirements() -> str:
    # Without the local part of a version: no package index offers "+cpu" builds.
    return "".join(f"{name}=={version(name).partition('+')[0]}\n" for name in REQUIREMENTS)
