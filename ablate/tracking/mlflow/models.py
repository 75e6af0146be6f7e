"""Describe a finished run's network as an MLflow LoggedModel that `mlflow.pyfunc.load_model` can load.

The weights stay safetensors and the settings JSON: nothing is pickled.
"""

from __future__ import annotations

import json
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.models import Model
from mlflow.models.signature import ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec

from ablate.tracking.record_format import MODEL, MODEL_DATA

LOADER = "ablate.tracking.mlflow.mlflow_pyfunc"
REQUIREMENTS = ("mlflow", "torch", "safetensors", "numpy", "pydantic", "jaxtyping")


def describe(root: Path, model_id: str, run_id: str) -> None:
    """Write MLmodel and the environment files beside the network, which is in MODEL_DATA of the folder `root`.

    `mlflow.pyfunc.save_model` writes absolute paths into MLmodel and takes several times as long (measured).
    """
    settings = json.loads((root / MODEL_DATA / "model.json").read_text(encoding="utf-8"))
    signature = _signature(settings["inputs_shape"])
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


def _signature(inputs_shape: Any) -> ModelSignature | None:
    """Of a network whose input is a tensor or a dict of tensors; None for other inputs, which MLflow cannot describe.

    `inputs_shape` is as in `model.json`: the shape of an example of float32, or a form as in `trainers.builtin.trees`.
    """
    form = inputs_shape if isinstance(inputs_shape, dict) else {"shape": inputs_shape, "dtype": "float32"}
    named = form.get("mapping", {None: form})
    try:
        specs: list[ColSpec | TensorSpec] = [
            TensorSpec(np.dtype(f["dtype"]), (-1, *f["shape"]), name) for name, f in named.items()
        ]
    except (KeyError, TypeError):  # a tuple, a mapping of mappings, or a dtype that NumPy lacks
        return None
    return ModelSignature(inputs=Schema(specs))


@cache  # takes 10 ms: reads one metadata file per package
def _requirements() -> str:
    # Without the local part of a version: no package index offers "+cpu" builds.
    return "".join(f"{name}=={version(name).partition('+')[0]}\n" for name in REQUIREMENTS)
