"""What a study's results say: matrix, comparisons, gaps, everything a page shows. Pure: Results in, dataclasses out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ablate.claims import numbers
from ablate.claims.answer import Comparison, answers
from ablate.claims.conditions import ConditionTable, condition_tables
from ablate.claims.costs import (
    BudgetRow,
    ParameterRow,
    budget_rows,
    count,
    label,
    parameter_rows,
    trained,
)
from ablate.claims.curves import CurvePanel, curve_panels
from ablate.claims.records import MetricInfo
from ablate.claims.results import Results
from ablate.claims.statistics import Effect, Estimate, estimate, holm, paired


@dataclass(frozen=True)
class MatrixRow:
    """One arm: what it knows, what it weighs, how well it does, and by how much it differs from the baseline."""

    arm: str
    label: str
    baseline: bool
    reference: bool
    information: Mapping[str, str]
    parameters: float | None
    scores: Mapping[str, Estimate]  # by metric
    effects: Mapping[str, Effect]  # by metric; empty for the baseline
    runs: int
    expected_runs: int


@dataclass(frozen=True)
class Gap:
    """A run that gave no number."""

    label: str
    seed: int
    status: str
    error: str


@dataclass(frozen=True)
class Analysis:
    """All that is claimed and shown of a study."""

    name: str
    question: str
    labels: Mapping[str, str]
    baseline: str
    focus: tuple[str, ...]  # the arms that the answer is about, baseline first
    seeds: tuple[int, ...]
    metrics: tuple[MetricInfo, ...]
    matrix: tuple[MatrixRow, ...]
    comparisons: tuple[Comparison, ...]
    answers: tuple[str, ...]  # the first is the answer in one sentence
    parameters: tuple[ParameterRow, ...]
    budget: tuple[BudgetRow, ...]
    conditions: tuple[ConditionTable, ...]
    curves: tuple[CurvePanel, ...]
    gaps: tuple[Gap, ...]
    behind: tuple[str, ...]  # where a yardstick does as well as an arm, a sentence a metric
    places: Mapping[str, int]  # decimals of the differences, by metric
    tuned: bool
    test_examples: int | None  # of one run

    @property
    def information(self) -> tuple[str, ...]:
        """What the arms say they can read each quantity from: the keys, in order of appearance."""
        return tuple(dict.fromkeys(key for row in self.matrix for key in row.information))


def analyse(results: Results) -> Analysis:
    """Everything a report shows, computed once."""
    study = results.study
    comparisons = compare(results)
    rows = matrix(results)
    pairs = [arm for c in comparisons for arm in (c.against, c.arm)]
    return Analysis(
        name=study.name,
        question=study.question,
        labels={arm: label(results, arm) for arm in study.arms},
        baseline=study.baseline,
        focus=tuple(dict.fromkeys([study.baseline, *pairs])),
        seeds=tuple(study.seeds),
        metrics=tuple(results.metrics[name] for name in study.metrics),
        matrix=rows,
        comparisons=comparisons,
        answers=answers(comparisons, {row.arm: row.total for row in parameter_rows(results)}),
        parameters=tuple(parameter_rows(results)),
        budget=tuple(budget_rows(results)),
        conditions=tuple(condition_tables(results)),
        curves=tuple(curve_panels(results)),
        gaps=gaps(results),
        behind=tuple(filter(None, (behind_yardstick(rows, results.metrics[name]) for name in study.metrics))),
        places={metric: effect_places(results, metric) for metric in study.metrics},
        tuned=study.tuning is not None,
        test_examples=_test_examples(results),
    )


def matrix(results: Results) -> tuple[MatrixRow, ...]:
    """A row for every arm in study order, yardsticks last."""
    arms = results.study.arms
    ordered = [*trained(results), *(name for name, arm in arms.items() if arm.reference)]
    return tuple(_matrix_row(results, arm) for arm in ordered)


def compare(results: Results) -> tuple[Comparison, ...]:
    """The comparisons the answer is made of, with Holm's adjustment over all of them.

    These are the study's hypotheses; without hypotheses, every trained arm against the baseline in every metric.
    What a study did not ask beforehand stays out of its answer: it stands in the matrix.
    """
    study = results.study
    margins = {(h.arm, h.against, h.metric): h.margin for h in study.hypotheses}
    others = [arm for arm in trained(results) if arm != study.baseline]
    asked = list(margins) or [(arm, study.baseline, metric) for arm in others for metric in study.metrics]
    effects = [_effect(results, *each) for each in asked]
    adjusted = holm([effect.p for effect in effects])
    return tuple(
        Comparison(
            arm=arm,
            label=label(results, arm),
            against=against,
            against_label=label(results, against),
            metric=results.metrics[metric],
            effect=effect,
            p_adjusted=p,
            places=effect_places(results, metric),
            family=sum(q is not None for q in adjusted),
            margin=margins.get((arm, against, metric)),
        )
        for (arm, against, metric), effect, p in zip(asked, effects, adjusted, strict=True)
    )


def effect_places(results: Results, metric: str) -> int:
    """Decimals for the differences in a metric: one choice for table and sentence, made by the trained arms."""
    others = [arm for arm in trained(results) if arm != results.study.baseline]
    return numbers.decimals(_effect(results, arm, results.study.baseline, metric).difference for arm in others)


def behind_yardstick(rows: Sequence[MatrixRow], metric: MetricInfo) -> str:
    """Which arms do not beat the best yardstick's mean, as a sentence; empty when all do or there is none.

    A comparison of networks means little while a constant or a formula does as well.
    """
    sign = 1 if metric.direction == "lower" else -1
    means = [(row, sign * mean) for row in rows if (mean := row.scores[metric.name].mean) is not None]
    yardsticks = [(mean, row.label) for row, mean in means if row.reference]
    if not yardsticks:
        return ""
    best, name = min(yardsticks)
    behind = [row.label for row, mean in means if not row.reference and mean >= best]
    return f"{name} does as well as or better than {_listed(behind)} in {metric.in_text}." if behind else ""


def gaps(results: Results) -> tuple[Gap, ...]:
    """Every run of the study that failed or is missing, in study order."""
    return tuple(
        Gap(label(results, str(run.arm)), int(str(run.seed)), str(run.status), str(run.error))
        for run in results.runs.itertuples()
        if run.status != "done"
    )


def _matrix_row(results: Results, arm: str) -> MatrixRow:
    study = results.study
    runs = results.runs[results.runs.arm == arm]
    keys = {name: results.metrics[name].test for name in study.metrics}
    return MatrixRow(
        arm=arm,
        label=label(results, arm),
        baseline=arm == study.baseline,
        reference=study.arms[arm].reference,
        information=study.arms[arm].information,
        parameters=count(results, arm),
        scores={name: estimate(list(results.by_seed(arm, key).values())) for name, key in keys.items()},
        effects={} if arm == study.baseline else {n: _effect(results, arm, study.baseline, n) for n in study.metrics},
        runs=int((runs.status == "done").sum()),
        expected_runs=len(runs),
    )


def _listed(words: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def _test_examples(results: Results) -> int | None:
    frames = (results.examples(str(run.arm), int(str(run.seed))) for run in results.done().itertuples())
    return next((len(frame) for frame in frames if frame is not None), None)


def _effect(results: Results, arm: str, against: str, metric: str) -> Effect:
    key = results.metrics[metric].test
    return paired(results.by_seed(arm, key), results.by_seed(against, key))
