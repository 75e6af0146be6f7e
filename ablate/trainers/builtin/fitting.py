"""A model that fits itself: what its `fit` may be given beside the batches."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ablate.trainers.contract import Batch, Fits


@dataclass(frozen=True)
class FitRun:
    """`run` of a model's `fit(batches, run)`. Nothing of it has to be used."""

    seed: int  # the global generators of torch, NumPy and random are seeded with it
    device: torch.device
    threads: int
    epochs: int  # `training.epochs`
    folder: Path | None  # for files of its own; None where a network is trained outside a study
    batches: Callable[[int], Iterator[Batch]] = field(repr=False)  # the examples of an epoch (from 0) in its order
    _report: Callable[[float, Mapping[str, float]], None] = field(repr=False)

    def epoch(self, number: float, scores: Mapping[str, float] | None = None) -> None:
        """Report an epoch (from 1), with numbers such as its loss: the model is scored on the validation examples.

        Both are the run's curve, `train/<name>` and `val/<metric>`. Raises Stopped when the run is to stop; a fit that
        was stopped starts anew.
        """
        self._report(float(number), {f"train/{name}": float(value) for name, value in (scores or {}).items()})


def takes_run(model: Fits) -> bool:
    """Whether `fit` has the argument `run`."""
    return "run" in inspect.signature(model.fit).parameters
