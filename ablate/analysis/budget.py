"""What tuning and training were allotted, what they used and what tuning chose, for every arm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ablate.analysis.costs import count, label, mean_of, trained
from ablate.analysis.records import status, training_seconds
from ablate.analysis.results import Results
from ablate.planning.trials import best
from ablate.study import Scalar, Study
from ablate.study.resolve import resolve


@dataclass(frozen=True)
class Trial:
    """One choice of settings and its score on validation, `value`; None when the trial failed or has not finished."""

    number: int  # from 0, as the study counts them
    value: float | None
    settings: Mapping[str, Scalar]


@dataclass(frozen=True)
class BudgetRow:
    """Budget of one arm, allotted and used. The allotted numbers are None for an untuned arm.

    A trial is finished when every tuning seed has a finite score, and failed when it ran without one. Epochs, examples
    and seconds of tuning are sums over the trials that report them, None where none does.
    """

    arm: str
    label: str
    allotted: int | None
    finished_trials: int
    failed_trials: int
    tuning_epochs: int | None  # of a trial
    allotted_epochs: int | None  # of all trials and tuning seeds
    used_epochs: float | None
    used_examples: float | None  # seen in tuning, with repetition
    tuning_seconds: float | None
    runs: int
    expected_runs: int
    epochs: float | None  # of each comparison run
    examples: float | None  # seen in training, with repetition
    training_seconds: float | None  # mean of its comparison runs
    tuned: Mapping[str, Scalar]  # settings of the best trial so far
    tuning_budget: float | None = None  # the setting `budget` of a command or a function, in a run of a trial …
    run_budget: float | None = None  # … and in a comparison run

    @property
    def used(self) -> int:
        """Trials that were run, finished or failed."""
        return self.finished_trials + self.failed_trials


def budget_rows(results: Results) -> list[BudgetRow]:
    """A row for every trained arm."""
    return [_budget_row(results, arm) for arm in trained(results)]


def _budget_row(results: Results, arm: str) -> BudgetRow:
    study, runs = results.study, results.runs[results.runs.arm == arm]
    tuning, outcomes = study.tuning if arm in results.trials else None, results.trials.get(arm, ())
    records_by_trial = [[record for record in outcome.records if record] for outcome in outcomes]
    scores = [record.scores for records in records_by_trial for record in records]
    finished = [outcome for outcome in outcomes if outcome.value is not None]
    metric = results.metrics.get(tuning.metric.removeprefix("val/")) if tuning else None
    epochs = (tuning.epochs or study.settings.get("training", {}).get("epochs")) if tuning else None
    tuned = best(finished, metric.direction if metric else "lower") if finished else {}
    run_budget = _budget(study, arm, tuned)
    return BudgetRow(
        arm=arm,
        label=label(results, arm),
        allotted=tuning.trials if tuning else None,
        finished_trials=len(finished),
        failed_trials=sum(any(status(record) == "failed" for record in records) for records in records_by_trial),
        tuning_epochs=epochs,
        allotted_epochs=tuning.trials * len(tuning.seeds) * epochs if tuning and epochs else None,
        used_epochs=_total(each.get("count/epochs") for each in scores),
        used_examples=_total(each.get("count/examples") for each in scores),
        tuning_seconds=_total(training_seconds(each) for each in scores),
        runs=int((runs.status == "done").sum()),
        expected_runs=len(runs),
        epochs=count(results, arm, "count/epochs"),
        examples=count(results, arm, "count/examples"),
        training_seconds=mean_of(results.training_seconds(arm)),
        tuned=tuned,
        tuning_budget=(tuning.budget or run_budget) if tuning else None,
        run_budget=run_budget,
    )


def _budget(study: Study, arm: str, tuned: Mapping[str, Scalar]) -> float | None:
    """The setting `budget` of a command or a function, as the arm's comparison runs have it."""
    value = resolve(study, arm, tuned).get("run", {}).get("budget")
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _total(values: Iterable[float | None]) -> float | None:
    reported = [value for value in values if value is not None]
    return sum(reported) if reported else None
