"""The seams a subject plugs into: what data, model and loss must look like. Callables, no base class, no registry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from ablate.trainers.errors import Stopped as Stopped
from ablate.trainers.errors import Unavailable as Unavailable

Split = Literal["val", "test", "all"]


class Batch(NamedTuple):
    """What a model sees and what it is judged by."""

    inputs: Tensor  # (batch, …) float32: the model is called with this one tensor
    targets: Mapping[str, Tensor]  # labels and per-example conditions, each with first dimension batch


class Data(Protocol):
    """Made by `settings.data.factory(device=…, **rest)`; a setting named `file` arrives as a found `Path`.

    Optional, for controls: `inputs: Mapping[str, tuple[int, int]]` names ranges of `Batch.inputs`' last dimension,
    `joints: Sequence[str]` names the places of its dimension 1; a target "subject" (batch,) says whose example it is.
    """

    digest: str  # of the content actually used
    train_size: int

    def sample(self, index: Tensor, *, generator: torch.Generator) -> Batch:
        """Training examples for `index` (batch,) int64 into the training split; every draw from `generator`."""

    def examples(self, split: Split) -> Batch:
        """The fixed examples of a split ("all": everything in the file), the same at every call."""


class Model(Protocol):
    """Made by `settings.model.factory(**rest)`: a torch.nn.Module called with `Batch.inputs`.

    Optional: `set_epoch(epoch)` is called before every epoch (from 0); `parameter_counts()` names parts of the
    parameter count, logged as `cost/parameters_<name>`.
    """

    def __call__(self, inputs: Tensor) -> Any: ...


@runtime_checkable
class Fits(Protocol):
    """A model without gradient training: a torch.nn.Module that is given one epoch of training batches instead."""

    def fit(self, batches: Iterable[Batch]) -> None: ...


@runtime_checkable
class UsesTargets(Protocol):
    """A yardstick told part of the truth: it answers whole batches, and on inputs alone it knows nothing."""

    def answer(self, batch: Batch) -> Any:
        """Output as a network's, each tensor with first dimension batch."""


class Loss(Protocol):
    """Made by `settings.loss.factory(**rest)`."""

    def __call__(self, output: Any, targets: Mapping[str, Tensor]) -> Tensor:
        """Scalar to minimise."""
