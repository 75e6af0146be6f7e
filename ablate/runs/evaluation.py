"""Per-example scores of a model on fixed examples, their summary, and a few examples kept for pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ablate.runs.contract import Batch
from ablate.study import Metric

CHUNK = 2048  # examples a forward pass: bounds memory, changes no result


@torch.no_grad()
def predict(model: torch.nn.Module, inputs: Tensor) -> Any:
    """The model's output for all inputs, in float32 and eval mode: a tensor or a mapping of tensors."""
    model.eval()
    parts = [model(chunk) for chunk in inputs.split(CHUNK)]
    if isinstance(parts[0], Mapping):
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return torch.cat(parts)


@torch.no_grad()
def score(output: Any, targets: Mapping[str, Tensor], metrics: Iterable[Metric]) -> dict[str, float]:
    """One number a metric. An example where the metric is undefined (NaN) is left out of it; none left gives NaN."""
    return {m.name: reduce(m, m.per_example(output, targets)) for m in metrics}


def reduce(metric: Metric, values: Tensor) -> float:
    """The score of a split from its examples' values (batch,), NaN left out."""
    values = values.double()
    kept = values[~values.isnan()]
    if kept.numel() == 0:
        return float("nan")
    # numpy's median averages the two middle values; torch's takes the lower
    return float(np.median(kept.cpu().numpy())) if metric.reduction == "median" else float(kept.mean())


@torch.no_grad()
def example_frame(output: Any, targets: Mapping[str, Tensor], metrics: Iterable[Metric]) -> pd.DataFrame:
    """A row an example: every metric, and every target that is one number (float32 columns)."""
    columns = {name: value for name, value in targets.items() if value.ndim == 1}
    columns |= {m.name: m.per_example(output, targets) for m in metrics}
    return pd.DataFrame({name: value.float().cpu().numpy() for name, value in columns.items()})


def example_arrays(batch: Batch, output: Any, *, count: int) -> dict[str, np.ndarray]:
    """`count` examples spread evenly over a split, for pictures: inputs, `target/…`, `output/…` and their index."""
    size = len(batch.inputs)
    index = torch.linspace(0, size - 1, min(count, size)).long()
    outputs = output if isinstance(output, Mapping) else {"value": output}
    arrays = {"index": index, "inputs": batch.inputs}
    arrays |= {f"target/{name}": value for name, value in batch.targets.items()}
    arrays |= {f"output/{name}": value for name, value in outputs.items()}
    return {
        name: (value if name == "index" else value[index.to(value.device)]).cpu().numpy()
        for name, value in arrays.items()
    }
