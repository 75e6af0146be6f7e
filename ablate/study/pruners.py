"""`[tuning.pruner]`: which trials end early. Names and defaults are those of Optuna."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Pruner(BaseModel):
    """One of Optuna's pruners. A step is an epoch of the trial's curve."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)  # as all of a study file


class PercentileSettings(Pruner):
    """What the pruners have that compare a trial with a percentile of the trials before it."""

    n_startup_trials: int = Field(default=5, ge=0)  # trials that must have been trained in full before any is pruned
    n_warmup_steps: int = Field(default=0, ge=0)  # no trial is pruned in an epoch below
    interval_steps: int = Field(default=1, ge=1)
    n_min_trials: int = Field(default=1, ge=1)  # that must have a score at the same epoch


class MedianPruner(PercentileSettings):
    """A trial ends where its best score so far is worse than the median of the others' scores at this epoch."""

    type: Literal["median"]


class PercentilePruner(PercentileSettings):
    """A trial ends where its best score so far is not among the best `percentile` % of the others at this epoch."""

    type: Literal["percentile"]
    percentile: float = Field(ge=0, le=100)


class HalvingPruner(Pruner):
    """A trial ends at a rung where its score is not among the best of the trials that came to it.

    The first rung is at `min_resource` × `reduction_factor` ** `min_early_stopping_rate` epochs, each next one at
    `reduction_factor` times as many.
    """

    type: Literal["successive_halving"]
    min_resource: int = Field(default=1, ge=1)
    reduction_factor: int = Field(default=4, ge=2)
    min_early_stopping_rate: int = Field(default=0, ge=0)


class ThresholdPruner(Pruner):
    """A trial ends where a score is below `lower` or above `upper`."""

    type: Literal["threshold"]
    lower: float | None = None
    upper: float | None = None
    n_warmup_steps: int = Field(default=0, ge=0)
    interval_steps: int = Field(default=1, ge=1)


AnyPruner = Annotated[MedianPruner | PercentilePruner | HalvingPruner | ThresholdPruner, Field(discriminator="type")]
