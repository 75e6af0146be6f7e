"""Two arms side by side, seed by seed, in any metric. Reads Results; a verdict only where one was declared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ablate.analysis import numbers
from ablate.analysis.answer import Comparison
from ablate.analysis.costs import label
from ablate.analysis.effects import effect
from ablate.analysis.population import Population, population
from ablate.analysis.records import MetricInfo
from ablate.analysis.results import Results
from ablate.analysis.statistics import Effect
from ablate.analysis.study_analysis import compare


@dataclass(frozen=True)
class Pair:
    """One seed: both scores, None where a run has none; `reason`: why, in words."""

    seed: int
    arm: float | None
    against: float | None
    difference: float | None
    reason: str


@dataclass(frozen=True)
class ArmComparison:
    """One arm against another in one metric; a difference is `arm` minus `against`."""

    arm: str
    label: str
    against: str
    against_label: str
    metric: MetricInfo
    pairs: tuple[Pair, ...]
    effect: Effect
    population: Population
    verdict: str  # of the hypothesis that declares this comparison, else "exploratory"
    margin: float | None
    p_adjusted: float | None
    reason: str
    places: int  # decimals of the differences

    @property
    def declared(self) -> bool:
        """A hypothesis of the study asks for this comparison, in this direction."""
        return self.verdict != "exploratory"


def versus(results: Results, arm: str, against: str, metrics: Sequence[str]) -> list[ArmComparison]:
    """The comparison in each metric. All names are known ones; the arms differ."""
    declared = {(c.arm, c.against, c.metric.name): c for c in compare(results) if not c.exploratory}
    return [_versus(results, arm, against, metric, declared.get((arm, against, metric))) for metric in metrics]


def scored(results: Results) -> list[str]:
    """The metrics that some run has a score of on the test split, the study's own first."""
    known = {str(key).removeprefix("test/") for key in results.scores.metric.unique() if str(key).startswith("test/")}
    own = list(results.study.metrics)
    return [*own, *sorted(name for name in known & results.metrics.keys() if name not in own)]


def _versus(results: Results, arm: str, against: str, metric: str, declared: Comparison | None) -> ArmComparison:
    found = effect(results, arm, against, metric)
    return ArmComparison(
        arm=arm,
        label=label(results, arm),
        against=against,
        against_label=label(results, against),
        metric=results.metrics[metric],
        pairs=_pairs(results, arm, against, metric),
        effect=found,
        population=population(results, arm, against, metric),
        verdict=declared.verdict if declared else "exploratory",
        margin=declared.margin if declared else None,
        p_adjusted=declared.p_adjusted if declared else None,
        reason=declared.reason if declared else "",
        places=numbers.decimals([found.difference]),
    )


def _pairs(results: Results, arm: str, against: str, metric: str) -> tuple[Pair, ...]:
    key = results.metrics[metric].test
    ours, theirs = results.by_seed(arm, key), results.by_seed(against, key)
    return tuple(
        Pair(
            seed,
            _finite(ours[seed]),
            _finite(theirs[seed]),
            _finite(ours[seed] - theirs[seed]),
            "; ".join(
                filter(None, (_absence(results, each, seed, by) for each, by in ((arm, ours), (against, theirs))))
            ),
        )
        for seed in results.study.seeds
    )


def _absence(results: Results, arm: str, seed: int, scores: Mapping[int, float]) -> str:
    """`Hybrid failed: loss is not finite`; empty when there is a number."""
    if math.isfinite(scores[seed]):
        return ""
    runs = results.runs
    run = runs[(runs.arm == arm) & (runs.seed == seed)].iloc[0]
    if run.status == "done":
        return f"{label(results, arm)} has no finite score"
    why = f": {run.error}" if run.error else ""
    return f"{label(results, arm)} {'failed' if run.status == 'failed' else 'has not been run'}{why}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
