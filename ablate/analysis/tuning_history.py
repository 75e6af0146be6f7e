"""How tuning went: every trial's value, the best so far, and how settings correlate with it. Draws nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby

import numpy as np
from scipy import stats

from ablate.analysis.budget import Trial
from ablate.analysis.costs import label
from ablate.analysis.records import MetricInfo
from ablate.analysis.results import Results
from ablate.planning.trials import tunings

MIN_TRIALS = 4  # three values have six orders, of which two give |ρ| = 1: a third of all cases by chance


@dataclass(frozen=True)
class ArmHistory:
    """One arm's trials, those of one tuning after those of another. `best` is the best value of its tuning up to each
    trial, None before any trial has a value.

    `correlations` maps a setting → Spearman's ρ between its value and the score on validation over the finished
    trials. None with fewer than four trials that have the setting, with one value only, or for text values.
    """

    arm: str
    label: str
    allotted: int
    trials: tuple[Trial, ...]
    best: tuple[float | None, ...]
    correlations: Mapping[str, float | None]

    @property
    def finished(self) -> tuple[Trial, ...]:
        return tuple(trial for trial in self.trials if trial.value is not None)

    @property
    def tunings(self) -> tuple[tuple[tuple[Trial, float | None], ...], ...]:
        """The trials of each tuning, each with the best value up to it."""
        pairs = zip(self.trials, self.best, strict=True)
        return tuple(tuple(group) for _, group in groupby(pairs, key=lambda pair: pair[0].seed))


@dataclass(frozen=True)
class TuningHistory:
    """The metric that tuning optimised, the settings it searched, and every arm's trials."""

    metric: MetricInfo
    settings: tuple[str, ...]
    arms: tuple[ArmHistory, ...]

    @property
    def ranked(self) -> tuple[str, ...]:
        """The settings that can be ranked: none when only one was tuned, or when no arm has enough trials."""
        correlated = [s for s in self.settings if any(arm.correlations[s] is not None for arm in self.arms)]
        return tuple(correlated) if len(self.settings) > 1 else ()


def tuning_history(results: Results) -> TuningHistory | None:
    """None when the study is untuned or no trial has been run."""
    tuning = results.study.tuning
    trials_by_arm = {
        arm: tuple(
            Trial(outcome.index, outcome.value, outcome.overrides, outcome.seed, outcome.pruned) for outcome in outcomes
        )
        for arm, outcomes in results.trials.items()
        if outcomes
    }
    if tuning is None or not trials_by_arm:
        return None
    name = tuning.metric.removeprefix("val/")
    metric = results.metrics.get(name) or MetricInfo(name, name)
    return TuningHistory(
        metric=metric,
        settings=tuple(tuning.space),
        arms=tuple(
            ArmHistory(
                arm=arm,
                label=label(results, arm),
                allotted=tuning.trials * len(tunings(results.study)),
                trials=trials,
                best=_best(trials, lower=metric.direction == "lower"),
                correlations={setting: rank_correlation(setting, trials) for setting in tuning.space},
            )
            for arm, trials in trials_by_arm.items()
        ),
    )


def _best(trials: Sequence[Trial], *, lower: bool) -> tuple[float | None, ...]:
    groups = (list(group) for _, group in groupby(trials, key=lambda trial: trial.seed))
    return tuple(value for group in groups for value in best_so_far([trial.value for trial in group], lower=lower))


def best_so_far(values: Sequence[float | None], *, lower: bool) -> tuple[float | None, ...]:
    """The best value up to and including each trial; a failed trial repeats the one before."""
    better = min if lower else max
    return tuple(accumulate(values, lambda a, b: b if a is None else a if b is None else better(a, b)))


def rank_correlation(setting: str, trials: Sequence[Trial]) -> float | None:
    """Spearman's ρ of a numeric setting and the trials' values; None where it is undefined or too uncertain."""
    pairs = [
        (float(chosen), trial.value)
        for trial in trials
        if trial.value is not None and isinstance(chosen := trial.settings.get(setting), int | float)
    ]
    x, y = np.array(pairs).reshape(-1, 2).T
    if len(pairs) < MIN_TRIALS or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return float(stats.spearmanr(x, y).statistic)
