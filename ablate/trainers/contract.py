"""What data, model and loss of a subject must look like: callables, with no base class and no registry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

Split = Literal["val", "test", "all"]
Tree = Any  # a tensor, or a mapping, tuple or list of trees: every tensor with first dimension batch, of any dtype


class Batch(NamedTuple):
    """What a model gets and what its output is scored against."""

    inputs: Tree  # the model is called with this one argument: mostly a tensor (batch, …)
    targets: Mapping[str, Tensor]  # labels and per-example conditions, each with first dimension batch


class Data(Protocol):
    """Made by `settings.data.factory(device=…, **rest)`; a setting named `file` is replaced by the `Path` of the file.

    Optional, for controls of inputs that are one tensor: `inputs: Mapping[str, tuple[int, int]]` names ranges of the
    last dimension of `Batch.inputs`, `joints: Sequence[str]` the indices of its dimension 1; a target "subject"
    (batch,) numbers the subjects.
    """

    digest: str  # of the content actually used
    train_size: int

    def sample(self, index: Tensor, *, generator: torch.Generator) -> Batch:
        """Training examples for `index` (batch,) int64 into the training split; every draw from `generator`."""

    def examples(self, split: Split) -> Batch:
        """The fixed examples of a split ("all": everything in the file), the same at every call."""


class Model(Protocol):
    """Made by `settings.model.factory(**rest)`: a torch.nn.Module called with `Batch.inputs`.

    Its output goes to the loss as it is, and to the metrics as a tensor or a dict, tuple or list of tensors.

    Optional: `set_epoch(epoch)` is called before every epoch (from 0); `parameter_counts()` names parts of the
    parameter count, logged as `cost/parameters_<name>`.
    """

    def __call__(self, inputs: Tree) -> Tree: ...


@runtime_checkable
class Fits(Protocol):
    """A model that fits itself: a torch.nn.Module whose `fit` gets one epoch of training batches, without gradients.

    Where `fit` has an argument `run`, a `builtin.fitting.FitRun`, gradients are on, and it may ask for more epochs.
    """

    def fit(self, batches: Iterable[Batch]) -> None: ...


@runtime_checkable
class UsesTargets(Protocol):
    """A reference model that is given the targets too: it answers whole batches and does nothing on inputs alone."""

    def answer(self, batch: Batch) -> Tree:
        """Output in the form of a network's, each tensor with first dimension batch."""


class Loss(Protocol):
    """Made by `settings.loss.factory(**rest)`. It has no parameters to train: those belong to the model."""

    def __call__(self, output: Tree, targets: Mapping[str, Tensor]) -> Tensor:
        """Scalar to minimise."""
