"""End tuning trials early by one of Optuna's pruners, so that every decision can be repeated from the recorded curves.

The trials of one tuning run one after the other, and a trial is compared with those of lower numbers alone. So its end
is a function of recorded curves, whatever the number of workers, and also after the study was killed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import TrialState

from ablate.planning.trials import TrialOutcome, tuning_direction, tuning_of
from ablate.study import (
    Direction,
    HalvingPruner,
    MedianPruner,
    PercentilePruner,
    Pruner,
    RunSpec,
    Study,
    ThresholdPruner,
)

Curve = Sequence[Mapping[str, float]]  # as `RunResult.history`
_CLASSES: Mapping[type[Pruner], type[optuna.pruners.BasePruner]] = {
    MedianPruner: optuna.pruners.MedianPruner,
    PercentilePruner: optuna.pruners.PercentilePruner,
    HalvingPruner: optuna.pruners.SuccessiveHalvingPruner,
    ThresholdPruner: optuna.pruners.ThresholdPruner,
}

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Earlier:
    """A trial of a lower number that has ended with a value, or pruned (None). `points`: of its curve."""

    points: tuple[tuple[int, float], ...]
    value: float | None


@dataclass(frozen=True)
class TrialPruning:
    """The rule by which one trial ends early. `earlier`: the trials before it in its tuning, in order."""

    pruner: Pruner
    direction: Direction
    metric: str  # "val/<metric>"
    earlier: tuple[Earlier, ...]
    epochs: int | None  # of the trial where they are known: its last one prunes nothing any more

    def start(self) -> _Rule:
        """The rule at the beginning of the trial's curve."""
        return _Rule(self)


class _Rule:
    """Told the epochs of the trial in order, it says after which the trial ends."""

    def __init__(self, pruning: TrialPruning) -> None:
        self._pruning, self._last = pruning, -math.inf
        self._optuna_study = _with_earlier(pruning)
        self._trial = self._optuna_study.ask()

    def __call__(self, entry: Mapping[str, float]) -> bool:
        for step, value in points([entry], self._pruning.metric, after=self._last):
            self._last = step
            self._trial.report(value, step)
            if self._pruning.epochs is None or step < self._pruning.epochs:
                return bool(self._trial.should_prune())  # a numpy.bool of some pruners
        return False


def of_trial(
    study: Study, spec: RunSpec, earlier: Sequence[TrialOutcome], curves: Mapping[str, Curve]
) -> TrialPruning | None:
    """The rule for the trial of `spec`; None where the study prunes nothing.

    `earlier`: the trials of lower numbers in its tuning, all ended. `curves`: theirs, by run id.
    """
    tuning = tuning_of(study)
    if tuning.pruner is None:
        return None
    epochs = spec.settings.get("training", {}).get("epochs")
    ended = tuple(
        Earlier(tuple(points(curves.get(record.run_id, ()), tuning.metric)), outcome.value)
        for outcome in earlier
        for record in outcome.records
        if record is not None and (outcome.value is not None or outcome.pruned)
    )
    return TrialPruning(tuning.pruner, tuning_direction(study), tuning.metric, ended, epochs)


def points(curve: Curve, metric: str, after: float = -math.inf) -> Iterator[tuple[int, float]]:
    """Epoch and score of the entries that count: of whole epochs, each above those before it, with a finite score."""
    for entry in curve:
        epoch, value = entry.get("epoch", math.nan), entry.get(metric, math.nan)
        if math.isfinite(value) and epoch >= 0 and epoch > after and float(epoch).is_integer():
            after = epoch
            yield int(epoch), value


def _with_earlier(pruning: TrialPruning) -> optuna.Study:
    """An Optuna study in memory in which the earlier trials took their course: pruners note what they have seen."""
    options: dict[str, Any] = pruning.pruner.model_dump(exclude={"type"})
    optuna_study = optuna.create_study(
        sampler=optuna.samplers.RandomSampler(seed=0),  # it draws nothing
        pruner=_CLASSES[type(pruning.pruner)](**options),
        direction="minimize" if pruning.direction == "lower" else "maximize",
    )
    for each in pruning.earlier:
        trial = optuna_study.ask()
        for step, value in each.points:
            trial.report(value, step)
            trial.should_prune()
        if each.value is None:
            optuna_study.tell(trial, state=TrialState.PRUNED)
        else:
            optuna_study.tell(trial, each.value)
    return optuna_study
