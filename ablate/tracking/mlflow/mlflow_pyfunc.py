"""The loader module of logged models: MLflow imports it and calls `_load_pyfunc`. Must not import mlflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ablate.trainers.builtin.checkpoints import load_model

Array = NDArray[np.float32]


class ServedModel:
    """A finished run's network behind MLflow's `predict`."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model

    def predict(self, inputs: Array) -> Any:
        """Outputs for inputs (batch, …) float32, on the CPU: arrays, or dicts or lists of arrays."""
        with torch.inference_mode():
            return _arrays(self.model(torch.as_tensor(np.asarray(inputs, dtype=np.float32))))


def _arrays(output: Any) -> Any:
    if isinstance(output, torch.Tensor):
        return output.float().numpy()
    if isinstance(output, dict):
        return {name: _arrays(value) for name, value in output.items()}
    return [_arrays(item) for item in output]


def _load_pyfunc(path: str) -> ServedModel:
    """Called by `mlflow.pyfunc.load_model` with the folder that holds `weights.safetensors` and `model.json`."""
    return ServedModel(load_model(Path(path)))
