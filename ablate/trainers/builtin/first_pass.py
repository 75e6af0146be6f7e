"""One forward pass and one score before any training, so that what cannot be scored shows at once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from contextlib import suppress

import torch

from ablate.study import Metric
from ablate.trainers.builtin import evaluation
from ablate.trainers.builtin.fitting import takes_run
from ablate.trainers.contract import Batch, Data, Fits
from ablate.trainers.errors import RunFailed

FEW = 4  # examples: enough to see shapes; what fails with them is tried again with the whole split


class NetworkFailed(RunFailed):
    """The network itself raised in its forward pass."""


def first_pass(
    model: torch.nn.Module, data: Data, validation: Batch, metrics: Sequence[Metric], tuning: Metric | None
) -> None:
    """Score a few validation examples by these metrics with the untrained network.

    Raises NetworkFailed, and WrongOutput where the output or a metric is of a wrong kind, or where the metric of the
    tuning is undefined for every validation example. A model that is fitted is fitted to a few training examples
    first; one that cannot be, or whose `fit` takes `run` and may take as long as a training, is not looked at.
    """
    with torch.random.fork_rng(devices=[]):
        if isinstance(model, Fits) and (takes_run(model) or not _fit(model, data)):
            return
        for batch in (evaluation.first_rows(validation, FEW), validation):
            try:
                _pass(model, batch, metrics, tuning)
            except RunFailed:
                if batch is validation:
                    raise
            else:
                return


def _pass(model: torch.nn.Module, batch: Batch, metrics: Iterable[Metric], tuning: Metric | None) -> None:
    try:
        output = evaluation.predict(model, batch)
    except RunFailed:
        raise
    except Exception as error:  # a network may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise NetworkFailed(f"the network cannot be called with validation examples: {reason}") from error
    scores = evaluation.score(output, batch.targets, metrics)
    # a pooled metric may become defined by training, as a precision does with the first positive answer
    if tuning is not None and not tuning.pooled and math.isnan(scores[tuning.name]):
        rule = "is undefined (NaN) for every validation example, so it cannot be tuned"
        raise evaluation.WrongOutput(f"metric {tuning.name!r} {rule}")


def _fit(model: Fits, data: Data) -> bool:
    """Whether the model could be fitted to a few examples: some need more."""
    index = torch.arange(min(data.train_size, FEW**2))
    with suppress(Exception), torch.no_grad():
        model.fit(itertools.repeat(data.sample(index, generator=torch.Generator().manual_seed(0)), 1))
        return True
    return False
