"""Per-example scores of a model on fixed examples, their summary, and a few examples saved for pictures."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ablate.study import Metric
from ablate.study.columns import columns
from ablate.trainers.builtin import trees
from ablate.trainers.contract import Batch, Tree, UsesTargets
from ablate.trainers.errors import RunFailed

CHUNK = 2048  # examples per forward pass: limits memory, changes no result
SPREAD, MEDIAN, WORST = 0, 1, 2  # why an example was chosen


class WrongOutput(RunFailed):
    """A network's output, or the values of a metric, are not of the kind that can be scored; the text says how."""


@torch.no_grad()
def predict(model: torch.nn.Module, examples: Batch | Tree) -> Any:
    """The model's output for all inputs, in float32 and eval mode: a tensor, or a dict, tuple or list of tensors.

    A `UsesTargets` model gets whole batches; any other model gets the inputs alone. Raises WrongOutput where the
    output is of another kind, or a tensor in it has not one row an example.
    """
    batch = examples if isinstance(examples, Batch) else Batch(examples, {})
    return trees.concatenate([output for output, _ in _outputs(model, batch, answer=isinstance(examples, Batch))])


def _outputs(model: torch.nn.Module, examples: Batch, *, answer: bool = True) -> Iterator[tuple[Any, Batch]]:
    """The output for each chunk of the examples, and the chunk."""
    model.eval()
    for chunk in _chunks(examples):
        output = model.answer(chunk) if answer and isinstance(model, UsesTargets) else model(chunk.inputs)
        _check_output(output, trees.row_count(chunk.inputs))
        yield output, chunk


def _raise(metric: Metric, error: WrongOutput) -> None:
    raise error


@torch.no_grad()
def score_model(
    model: torch.nn.Module,
    examples: Batch,
    metrics: Sequence[Metric],
    leave_out: Callable[[Metric, WrongOutput], None] = _raise,
) -> dict[str, float]:
    """`score` of the model's output, which is not kept where every metric adds up its score.

    Raises WrongOutput as `predict` and `score` do; one that is added up goes to `leave_out`.
    """
    if not all(metric.accumulator for metric in metrics):
        return score(predict(model, examples), examples.targets, metrics)
    added = {metric.name: _Accumulated(metric) for metric in metrics}
    for output, chunk in _outputs(model, examples):
        for accumulated in added.values():
            accumulated.update(output, chunk.targets)
    scores = {}
    for metric in metrics:
        try:
            scores[metric.name] = added[metric.name].score()
        except WrongOutput as error:
            leave_out(metric, error)
    return scores


class _Accumulated:
    """The score of a metric that adds it up; `score` raises WrongOutput, which names the metric."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._accumulator: Any = None
        self._error: Exception | None = None

    def update(self, output: Any, targets: Mapping[str, Tensor]) -> None:
        """An error is kept for `score`: another metric's updates go on."""
        if self._error:
            return
        try:
            if self._accumulator is None and self._metric.accumulator:
                self._accumulator = self._metric.accumulator()
            self._accumulator.update(output, targets)
        except Exception as error:  # the function may raise anything
            self._error = error

    def score(self) -> float:
        try:
            if self._error:
                raise self._error
            return float(self._accumulator.compute())
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise WrongOutput(f"metric {self._metric.name!r} cannot be computed: {reason}") from error


def _check_output(output: Any, examples: int) -> None:
    try:
        count = trees.row_count(output, "output")
    except trees.NoTree as error:
        raise WrongOutput(f"the network's {error}") from None
    if count != examples:
        raise WrongOutput(f"the network's output must have one row an example: {examples}, not {count}")


def _chunks(examples: Batch) -> Iterator[Batch]:
    for start in range(0, max(1, trees.row_count(examples.inputs)), CHUNK):
        yield chosen(examples, slice(start, start + CHUNK))


def first_rows(examples: Batch, count: int) -> Batch:
    """At most `count` examples."""
    return chosen(examples, slice(count))


def chosen(examples: Batch, rows: slice | Tensor) -> Batch:
    """The examples at these places."""
    return Batch(trees.rows(examples.inputs, rows), trees.rows(examples.targets, rows))


def evenly_spaced(size: int, count: int) -> Tensor:
    """The indices of at most `count` of `size` examples, int64."""
    return torch.linspace(0, size - 1, min(count, size)).long()


def metric_values(metric: Metric, output: Any, targets: Mapping[str, Tensor]) -> Tensor:
    """What the metric's function gives: (batch,), or for a pooled metric a tensor of any shape.

    Of a metric that adds up its score, that number. Raises WrongOutput, which names the metric and the rule.
    """
    if metric.accumulator:
        accumulated = _Accumulated(metric)
        accumulated.update(output, targets)
        return torch.tensor(accumulated.score(), dtype=torch.float64)
    name = f"metric {metric.name!r}"
    try:
        values = metric.per_example(output, targets)
    except Exception as error:  # the function may raise anything
        raise WrongOutput(f"{name} cannot be computed: {type(error).__name__}: {error}") from error
    if not isinstance(values, Tensor):
        kind = f"{type(values).__module__}.{type(values).__qualname__}"
        raise WrongOutput(f"{name} must give a torch tensor, one number an example; it gave {kind}")
    if values.is_complex():
        raise WrongOutput(f"{name} must give real numbers; it gave {values.dtype}")
    examples = next((len(target) for target in targets.values() if target.ndim), None)
    if not metric.pooled and (values.ndim != 1 or examples not in (None, len(values))):
        shape, expected = tuple(values.shape), "(batch,)" if examples is None else f"({examples},)"
        hint = "" if shape != (examples, examples) else "; (batch, 1) minus (batch,) is (batch, batch)"
        raise WrongOutput(f"{name} must give one number an example, shape {expected}; it gave shape {shape}{hint}")
    return values


@torch.no_grad()
def values_by_name(
    metrics: Iterable[Metric],
    output: Any,
    targets: Mapping[str, Tensor],
    leave_out: Callable[[Metric, WrongOutput], None] = _raise,
) -> dict[str, Tensor]:
    """`metric_values` of every metric, by name; the error of one that cannot be computed goes to `leave_out`."""
    values = {}
    for metric in metrics:
        try:
            values[metric.name] = metric_values(metric, output, targets)
        except WrongOutput as error:
            leave_out(metric, error)
    return values


def leaving_out(needed: Collection[str], log: Callable[[str], None]) -> Callable[[Metric, WrongOutput], None]:
    """What to do with a metric that cannot be computed: tell `log`, or where it is in `needed`, raise the error."""

    def leave_out(metric: Metric, error: WrongOutput) -> None:
        if metric.name in needed:
            raise error
        log(f"{error}; the study does not ask for it, so it is left out of the scores")

    return leave_out


def score(output: Any, targets: Mapping[str, Tensor], metrics: Iterable[Metric]) -> dict[str, float]:
    """One number per metric, over the examples where it is defined (not NaN); NaN where there is none.

    Raises WrongOutput for a metric that cannot be computed.
    """
    metrics = list(metrics)
    return reduced(values_by_name(metrics, output, targets), metrics)


def reduced(values: Mapping[str, Tensor], metrics: Iterable[Metric]) -> dict[str, float]:
    """One number for each metric that has values, in the order of the metrics."""
    return {metric.name: reduce(metric, values[metric.name]) for metric in metrics if metric.name in values}


def reduce(metric: Metric, values: Tensor) -> float:
    """The score of a split from its examples' values (batch,), ignoring NaN."""
    if metric.accumulator:
        return float(values)
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


def score_frame(values: Mapping[str, Tensor], targets: Mapping[str, Tensor], metrics: Iterable[Metric]) -> pd.DataFrame:
    """One row per example: the values of every metric that has any, in float32, rounded (see `rounded`).

    Left out are pooled metrics, metrics with the function of an earlier one (see `study.columns`), and metrics that
    only repeat the target of their own name.
    """
    shown = columns([metric for metric in metrics if metric.name in values])
    frame = {name: values[name].float() for name, column in shown.items() if column == name}
    return pd.DataFrame(
        {
            name: rounded(value.cpu().numpy())
            for name, value in frame.items()
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
    size = trees.row_count(batch.inputs)
    even = evenly_spaced(size, spread).tolist()
    notable = median_and_worst(metric, metric_values(metric, output, batch.targets))
    index = torch.tensor([*notable, *even])
    named_inputs = trees.flat(batch.inputs)
    arrays = {f"inputs/{name}" if name else "inputs": value for name, value in named_inputs.items()}
    arrays |= {f"target/{name}": value for name, value in batch.targets.items()}
    arrays |= {f"output/{name}": value for name, value in trees.flat(output, "value").items()}
    selected = {name: _numbers(value[index.to(value.device)]) for name, value in arrays.items()}
    role = np.array([*(MEDIAN, WORST)[: len(notable)], *[SPREAD] * len(even)])
    return {"index": index.numpy(), "role": role, **selected}


def _numbers(tensor: Tensor) -> np.ndarray:
    """As an array; of a dtype that NumPy lacks, such as bfloat16, in float32."""
    return (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).cpu().numpy()


def median_and_worst(metric: Metric, values: Tensor) -> list[int]:
    """Index of the example with the lower median and of the one with the worst value (batch,); [] when all are NaN, or
    when a pooled metric gives no value an example."""
    if values.ndim != 1:
        return []
    cost = (values if metric.direction == "lower" else -values).double().cpu().numpy()
    order = np.argsort(cost, kind="stable")[: (~np.isnan(cost)).sum()]
    return [int(order[(len(order) - 1) // 2]), int(order[-1])] if len(order) else []


def _equal(values: Tensor, target: Tensor) -> bool:
    return values.shape == target.shape and torch.allclose(values, target.float(), rtol=0, atol=0, equal_nan=True)
