"""What tuning and training were allotted, what they used and what tuning chose, for every arm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ablate.analysis.costs import count, label, mean_of, trained
from ablate.analysis.records import status, training_seconds
from ablate.analysis.results import Results
from ablate.planning.trials import TrialOutcome, best, by_tuning
from ablate.study import Scalar, Study
from ablate.study.resolve import resolve


@dataclass(frozen=True)
class Trial:
    """One choice of settings and its score on validation, `value`; None when the trial failed or has not finished."""

    number: int  # from 0, as the study counts them
    value: float | None
    settings: Mapping[str, Scalar]
    seed: int | None = None  # the comparison seed whose tuning it is of; None: the one tuning of all seeds
    pruned: bool = False  # it ended early by `tuning.pruner`, so that it has no value


@dataclass(frozen=True)
class SeedBudget:
    """What the tuning of one comparison seed of an arm has used. `epochs`: None where no trial reports any."""

    seed: int
    finished: int
    pruned: int
    failed: int
    epochs: float | None

    @property
    def used(self) -> int:
        return self.finished + self.pruned + self.failed


@dataclass(frozen=True)
class BudgetRow:
    """Budget of one arm, allotted and used. The allotted numbers are None for an untuned arm.

    A trial is finished when each of its seeds has a finite score, pruned when `tuning.pruner` ended it early, and
    failed when it ran without a score. Trials, epochs, examples and seconds of tuning are sums over all tunings of the
    arm, of which it has one, or one for each seed.
    Those of trials that report none are left out, None where no trial reports any.
    """

    arm: str
    label: str
    allotted: int | None
    finished_trials: int
    failed_trials: int
    tuning_epochs: int | None  # of a trial
    allotted_epochs: int | None  # of all trials and their seeds
    used_epochs: float | None
    used_examples: float | None  # seen in tuning, with repetition
    tuning_seconds: float | None
    runs: int
    expected_runs: int
    epochs: float | None  # of each comparison run
    examples: float | None  # seen in training, with repetition
    training_seconds: float | None  # mean of its comparison runs
    tuned: Mapping[str, Scalar]  # settings of the best trial so far; empty where each seed has its own
    tuning_budget: float | None = None  # the setting `budget` of a command or a function, in a run of a trial …
    run_budget: float | None = None  # … and in a comparison run; None too where it differs between the seeds
    tuned_by_seed: Mapping[int, Mapping[str, Scalar]] = field(default_factory=dict)  # where each seed has its own
    by_seed: tuple[SeedBudget, ...] = ()  # where each seed has a tuning of its own
    pruned_trials: int | None = None  # None where the study prunes none

    @property
    def used(self) -> int:
        """Trials that were run: finished, pruned or failed."""
        return self.finished_trials + (self.pruned_trials or 0) + self.failed_trials

    @property
    def chosen(self) -> tuple[Mapping[str, Scalar], ...]:
        """The settings that each tuning of the arm chose."""
        return tuple(self.tuned_by_seed.values()) or ((self.tuned,) if self.tuned else ())


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
    direction = metric.direction if metric else "lower"
    groups = by_tuning(study, finished) if tuning else {}
    tunings = by_tuning(study, outcomes) if tuning else {}
    chosen = {seed: best(of_seed, direction) for seed, of_seed in groups.items() if of_seed}
    budgets = {_budget(study, arm, tuned) for tuned in chosen.values() or [{}]}
    run_budget = budgets.pop() if len(budgets) == 1 else None
    return BudgetRow(
        arm=arm,
        label=label(results, arm),
        allotted=tuning.trials * len(groups) if tuning else None,
        finished_trials=len(finished),
        failed_trials=sum(any(status(record) == "failed" for record in records) for records in records_by_trial),
        tuning_epochs=epochs,
        allotted_epochs=tuning.trials * len(study.tuning_seeds) * epochs if tuning and epochs else None,
        used_epochs=_total(each.get("count/epochs") for each in scores),
        used_examples=_total(each.get("count/examples") for each in scores),
        tuning_seconds=_total(training_seconds(each) for each in scores),
        runs=int((runs.status == "done").sum()),
        expected_runs=len(runs),
        epochs=count(results, arm, "count/epochs"),
        examples=count(results, arm, "count/examples"),
        training_seconds=mean_of(results.training_seconds(arm)),
        tuned=chosen.get(None, {}),
        tuning_budget=(tuning.budget or run_budget) if tuning else None,
        run_budget=run_budget,
        tuned_by_seed={seed: tuned for seed, tuned in chosen.items() if seed is not None},
        by_seed=tuple(_seed_budget(seed, of_seed) for seed, of_seed in tunings.items() if seed is not None),
        pruned_trials=sum(outcome.pruned for outcome in outcomes) if tuning and tuning.pruner else None,
    )


def _seed_budget(seed: int, outcomes: Sequence[TrialOutcome]) -> SeedBudget:
    records = [[record for record in outcome.records if record] for outcome in outcomes]
    return SeedBudget(
        seed,
        finished=sum(outcome.value is not None for outcome in outcomes),
        pruned=sum(outcome.pruned for outcome in outcomes),
        failed=sum(any(status(record) == "failed" for record in each) for each in records),
        epochs=_total(record.scores.get("count/epochs") for each in records for record in each),
    )


def _budget(study: Study, arm: str, tuned: Mapping[str, Scalar]) -> float | None:
    """The setting `budget` of a command or a function, as the arm's comparison runs have it."""
    value = resolve(study, arm, tuned).get("run", {}).get("budget")
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _total(values: Iterable[float | None]) -> float | None:
    reported = [value for value in values if value is not None]
    return sum(reported) if reported else None
