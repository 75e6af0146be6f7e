"""Per-example scores of a model on fixed examples, their summary, and a few examples saved for pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ablate.study import Metric
from ablate.study.columns import columns
from ablate.trainers.contract import Batch, UsesTargets

CHUNK = 2048  # examples per forward pass: limits memory, changes no result
SPREAD, MEDIAN, WORST = 0, 1, 2  # why an example was chosen


@torch.no_grad()
def predict(model: torch.nn.Module, examples: Batch | Tensor) -> Any:
    """The model's output for all inputs, in float32 and eval mode: a tensor or a mapping of tensors.

    A `UsesTargets` model gets whole batches; any other model gets the inputs alone.
    """
    model.eval()
    if isinstance(examples, Batch) and isinstance(model, UsesTargets):
        outputs = [model.answer(chunk) for chunk in _chunks(examples)]
    else:
        inputs = examples.inputs if isinstance(examples, Batch) else examples
        outputs = [model(chunk) for chunk in inputs.split(CHUNK)]
    if isinstance(outputs[0], Mapping):
        return {name: torch.cat([output[name] for output in outputs]) for name in outputs[0]}
    return torch.cat(outputs)


def _chunks(examples: Batch) -> Iterator[Batch]:
    for start in range(0, len(examples.inputs), CHUNK):
        rows = slice(start, start + CHUNK)
        yield Batch(examples.inputs[rows], {name: value[rows] for name, value in examples.targets.items()})


@torch.no_grad()
def score(output: Any, targets: Mapping[str, Tensor], metrics: Iterable[Metric]) -> dict[str, float]:
    """One number per metric, over the examples where it is defined (not NaN); NaN where there is none."""
    return {m.name: reduce(m, m.per_example(output, targets)) for m in metrics}


def reduce(metric: Metric, values: Tensor) -> float:
    """The score of a split from its examples' values (batch,), ignoring NaN."""
    values = values.double()
    defined = values[~values.isnan()]
    if defined.numel() == 0:
        return float("nan")
    if metric.reduction == "median":  # numpy averages the two middle values, torch takes the lower one
        return float(np.median(defined.cpu().numpy()))
    return float(defined.square().mean().sqrt() if metric.reduction == "rms" else defined.mean())


def condition_frame(targets: Mapping[str, Tensor]) -> pd.DataFrame:
    """One row per example, one column per target of shape (batch,): integers stay integers, floats become float32."""
    numbers = {name: value for name, value in targets.items() if value.ndim == 1}
    return pd.DataFrame(
        {name: (v.float() if v.is_floating_point() else v).cpu().numpy() for name, v in numbers.items()}
    )


@torch.no_grad()
def score_frame(output: Any, targets: Mapping[str, Tensor], metrics: Sequence[Metric]) -> pd.DataFrame:
    """One row per example: the values of every metric in float32, rounded (see `rounded`).

    Left out are pooled metrics, metrics with the function of an earlier one (see `study.columns`), and metrics that
    only repeat the target of their own name.
    """
    by_name = {metric.name: metric for metric in metrics}
    values = {
        name: by_name[name].per_example(output, targets).float()
        for name, column in columns(metrics).items()
        if column == name
    }
    return pd.DataFrame(
        {
            name: rounded(value.cpu().numpy())
            for name, value in values.items()
            if name not in targets or not _equal(value, targets[name])
        }
    )


def rounded(values: np.ndarray) -> np.ndarray:
    """float32 values rounded to 10 bits after the leading one (to 0.05 %): they compress to half the space."""
    bits = values.astype(np.float32).view(np.uint32)
    nearest = (bits + 0xFFF + ((bits >> 13) & 1)) & np.uint32(0xFFFFE000)  # ties to even
    return np.where(np.isfinite(values), nearest.view(np.float32), values).astype(np.float32)


def save_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write Parquet, split by byte: the values of a column mostly share their high bytes, which then compress well."""
    split = dict.fromkeys(frame.columns, "BYTE_STREAM_SPLIT")
    frame.to_parquet(path, compression="zstd", index=False, use_dictionary=False, column_encoding=split)


@torch.no_grad()
def example_arrays(batch: Batch, output: Any, metric: Metric, *, spread: int) -> dict[str, np.ndarray]:
    """Examples of a split for pictures: inputs, `target/…`, `output/…`, their `index` in the split and their `role`.

    First the example with the median value of the metric (role 1) and the one with the worst (role 2), where the
    metric is defined for any; then `spread` evenly spaced examples (role 0), the same in every run on the same data.
    """
    size = len(batch.inputs)
    even = torch.linspace(0, size - 1, min(spread, size)).long().tolist()
    chosen = median_and_worst(metric, metric.per_example(output, batch.targets))
    index = torch.tensor([*chosen, *even], device=batch.inputs.device)
    outputs = output if isinstance(output, Mapping) else {"value": output}
    arrays = {"inputs": batch.inputs}
    arrays |= {f"target/{name}": value for name, value in batch.targets.items()}
    arrays |= {f"output/{name}": value for name, value in outputs.items()}
    selected = {name: value[index.to(value.device)].cpu().numpy() for name, value in arrays.items()}
    role = np.array([*(MEDIAN, WORST)[: len(chosen)], *[SPREAD] * len(even)])
    return {"index": index.cpu().numpy(), "role": role, **selected}


def median_and_worst(metric: Metric, values: Tensor) -> list[int]:
    """Index of the example with the lower median and of the one with the worst value (batch,); [] when all are NaN."""
    cost = (values if metric.direction == "lower" else -values).double().cpu().numpy()
    order = np.argsort(cost, kind="stable")[: (~np.isnan(cost)).sum()]
    return [int(order[(len(order) - 1) // 2]), int(order[-1])] if len(order) else []


def _equal(values: Tensor, target: Tensor) -> bool:
    return values.shape == target.shape and torch.allclose(values, target.float(), rtol=0, atol=0, equal_nan=True)
