"""What tuning was allotted, used and chose, for every arm. Knows Records; reads no store."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ablate.claims.records import MetricInfo, speaking, status, training_seconds
from ablate.study import Arm, Record, Scalar, Study


@dataclass(frozen=True)
class Trial:
    """One choice of settings and what it gave on validation; None when it failed or has not finished."""

    number: int  # from 0, as the study counts them
    value: float | None
    settings: Mapping[str, Scalar]


@dataclass(frozen=True)
class ArmTuning:
    """What tuning was allotted, spent on one arm and chose. What no trial reports is None.

    A trial is finished when every tuning seed is, with a score that is a number; one that ran and is not is failed.
    """

    allotted: int
    finished: int
    failed: int
    epochs: int
    tuned: Mapping[str, Scalar] = field(default_factory=dict)
    seconds: float | None = None
    trials: tuple[Trial, ...] = ()  # in order
    allotted_epochs: int = 0  # of all trials and tuning seeds
    used_epochs: float | None = None
    used_examples: float | None = None  # seen in training, with repetition


def tunings(
    study: Study,
    metrics: Mapping[str, MetricInfo],
    records: Sequence[Record],
    finished: Mapping[tuple[str, int], Record],
) -> dict[str, ArmTuning]:
    """The tuning of every arm that is tuned, by arm; empty when the study is untuned.

    `finished` are the comparison runs that count: the values they were given are the tuned ones, and before there
    is one, those of the best finished trial.
    """
    if study.tuning is None:
        return {}
    trials = [record for record in records if record.phase == "tune"]
    return {
        name: _arm_tuning(study, metrics, arm, [r for r in trials if r.arm == name], _used(name, finished))
        for name, arm in study.arms.items()
        if not arm.reference
    }


def _used(arm: str, finished: Mapping[tuple[str, int], Record]) -> Mapping[str, Scalar]:
    """The tuned values the arm's comparison runs were really given."""
    return next((record.overrides for (name, _), record in finished.items() if name == arm and record.overrides), {})


def _arm_tuning(
    study: Study, metrics: Mapping[str, MetricInfo], arm: Arm, records: Sequence[Record], used: Mapping[str, Scalar]
) -> ArmTuning:
    assert study.tuning is not None
    tuning = study.tuning
    by_trial = {
        trial: {seed: r for (_, seed), r in speaking([r for r in records if r.trial == trial], "tune").items()}
        for trial in sorted({record.trial for record in records if record.trial is not None})
    }
    values = {trial: _trial_value(found, tuning.seeds, tuning.metric) for trial, found in by_trial.items()}
    done = {trial: value for trial, value in values.items() if value is not None}
    failed = [t for t, found in by_trial.items() if any(status(r) == "failed" for r in found.values())]
    epochs = tuning.epochs or int(study.settings["training"]["epochs"])
    runs = [r.scores for found in by_trial.values() for r in found.values()]
    return ArmTuning(
        allotted=tuning.trials,
        finished=len(done),
        failed=len(failed),
        epochs=epochs,
        tuned=used or _best(done, by_trial, metrics.get(tuning.metric.removeprefix("val/"))),
        seconds=_total(training_seconds(scores) for scores in runs),
        trials=tuple(Trial(t, values[t], next(iter(by_trial[t].values())).overrides) for t in by_trial),
        allotted_epochs=tuning.trials * len(tuning.seeds) * epochs,
        used_epochs=_total(scores.get("count/epochs") for scores in runs),
        used_examples=_total(scores.get("count/examples") for scores in runs),
    )


def _total(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _trial_value(found: Mapping[int, Record], seeds: Sequence[int], metric: str) -> float | None:
    """Mean over the tuning seeds; None unless every one of them finished with a finite score."""
    values = [found[s].scores.get(metric, math.nan) for s in seeds if s in found and status(found[s]) == "done"]
    mean = sum(values) / len(values) if len(values) == len(seeds) else math.nan
    return mean if math.isfinite(mean) else None


def _best(
    done: Mapping[int, float], by_trial: Mapping[int, Mapping[int, Record]], metric: MetricInfo | None
) -> Mapping[str, Scalar]:
    if not done:
        return {}
    sign = -1 if metric is not None and metric.direction == "higher" else 1
    best = min(done, key=lambda trial: (sign * done[trial], trial))
    return next(iter(by_trial[best].values())).overrides
