"""What tuning was allotted, used and chose, for every arm. Works on Records; reads no store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ablate.analysis.records import MetricInfo, status, training_seconds
from ablate.planning.trials import TrialOutcome, best
from ablate.study import Direction, Scalar, Study, Tuning


@dataclass(frozen=True)
class Trial:
    """One choice of settings and its score on validation, `value`; None when the trial failed or has not finished."""

    number: int  # from 0, as the study counts them
    value: float | None
    settings: Mapping[str, Scalar]


@dataclass(frozen=True)
class ArmTuning:
    """What tuning was allotted for one arm, what it used and what it chose. A total that no trial reports is None.

    A trial is finished when every tuning seed has a finite score. A trial that ran without one is failed.
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
    study: Study, metrics: Mapping[str, MetricInfo], trials: Mapping[str, Sequence[TrialOutcome]]
) -> dict[str, ArmTuning]:
    """The tuning of every arm that is tuned, by arm; empty when the study is untuned.

    `trials`: those of every arm, from the plan. The tuned values are those of the best trial so far.
    """
    if study.tuning is None:
        return {}
    metric = metrics.get(study.tuning.metric.removeprefix("val/"))
    direction = metric.direction if metric else "lower"
    return {arm: _arm_tuning(study, study.tuning, outcomes, direction) for arm, outcomes in trials.items()}


def _arm_tuning(study: Study, tuning: Tuning, outcomes: Sequence[TrialOutcome], direction: Direction) -> ArmTuning:
    records_by_trial = [[record for record in outcome.records if record] for outcome in outcomes]
    epochs = tuning.epochs or int(study.settings.get("training", {}).get("epochs", 0))
    scores_of_runs = [record.scores for records in records_by_trial for record in records]
    valued = [outcome for outcome in outcomes if outcome.value is not None]
    return ArmTuning(
        allotted=tuning.trials,
        finished=len(valued),
        failed=sum(any(status(record) == "failed" for record in records) for records in records_by_trial),
        epochs=epochs,
        tuned=best(outcomes, direction) if valued else {},
        seconds=_total(training_seconds(scores) for scores in scores_of_runs),
        trials=tuple(Trial(outcome.index, outcome.value, outcome.overrides) for outcome in outcomes),
        allotted_epochs=tuning.trials * len(tuning.seeds) * epochs,
        used_epochs=_total(scores.get("count/epochs") for scores in scores_of_runs),
        used_examples=_total(scores.get("count/examples") for scores in scores_of_runs),
    )


def _total(values: Iterable[float | None]) -> float | None:
    reported = [value for value in values if value is not None]
    return sum(reported) if reported else None
