"""The loader module of logged models: MLflow imports it and calls `_load_pyfunc`. Must not import mlflow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ablate.trainers.builtin.checkpoints import inputs_form, load_model, read_settings
from ablate.trainers.contract import Tree


class ServedModel:
    """A finished run's network behind MLflow's `predict`."""

    def __init__(self, model: torch.nn.Module, form: Mapping[str, Any]) -> None:
        self.model, self.form = model, form

    def predict(self, inputs: Any) -> Any:
        """Outputs for inputs (batch, …) in the form that the network was trained with, on the CPU: arrays, or dicts or
        lists of arrays."""
        with torch.inference_mode():
            return _arrays(self.model(_tensors(self.form, inputs)))


def _tensors(form: Mapping[str, Any], inputs: Any) -> Tree:
    """Tensors in this form (see `trainers.builtin.trees`) from arrays in the same places."""
    if "mapping" in form:
        return {name: _tensors(below, inputs[name]) for name, below in form["mapping"].items()}
    if "tuple" in form or "list" in form:
        items = form.get("tuple", form.get("list"))
        made = [_tensors(below, item) for below, item in zip(items, inputs, strict=True)]
        return tuple(made) if "tuple" in form else made
    dtype = getattr(torch, form["dtype"])
    return torch.as_tensor(np.asarray(inputs, dtype=np.float32 if dtype.is_floating_point else None)).to(dtype)


def _arrays(output: Any) -> Any:
    if isinstance(output, torch.Tensor):
        return output.float().numpy()
    if isinstance(output, Mapping):
        return {name: _arrays(value) for name, value in output.items()}
    return [_arrays(item) for item in output]


def _load_pyfunc(path: str) -> ServedModel:
    """Called by `mlflow.pyfunc.load_model` with the folder that holds `weights.safetensors` and `model.json`."""
    folder = Path(path)
    return ServedModel(load_model(folder), inputs_form(read_settings(folder)))
