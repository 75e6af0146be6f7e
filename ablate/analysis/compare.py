"""Two arms side by side, seed by seed, in any metric. Reads Results; a verdict only where one was declared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ablate.analysis.answer import Comparison
from ablate.analysis.clusters import OverClusters
from ablate.analysis.costs import label
from ablate.analysis.phrasing import quoted
from ablate.analysis.population import Population, names_people, population
from ablate.analysis.records import MetricInfo
from ablate.analysis.results import Results
from ablate.analysis.same_question import SameQuestion
from ablate.analysis.statistics import Effect
from ablate.analysis.study_analysis import compare, comparison
from ablate.study import ClaimKind


@dataclass(frozen=True)
class Pair:
    """The scores of both arms with one seed, None where a run has none; `reason` says why it has none."""

    seed: int
    arm: float | None
    against: float | None
    difference: float | None
    reason: str


@dataclass(frozen=True)
class OtherHypothesis:
    """A further hypothesis about the same difference, such as one with a margin; fields as in ArmComparison."""

    kind: ClaimKind
    margin: float | None
    verdict: str
    p_adjusted: float | None
    reason: str
    elsewhere: SameQuestion | None


@dataclass(frozen=True)
class ArmComparison:
    """One arm against another in one metric; a difference is `arm` minus `against`.

    Where several hypotheses are about it, the verdict is that of the first in the study file.
    """

    arm: str
    label: str
    against: str
    against_label: str
    metric: MetricInfo
    pairs: tuple[Pair, ...]
    effect: Effect
    population: Population | None  # None where no run's examples name people; those of several data sets not pooled
    verdict: str  # of the hypothesis that declares this comparison, else "exploratory"
    margin: float | None
    p_adjusted: float | None
    reason: str
    places: int  # decimals of the differences
    over_clusters: OverClusters | None = None  # None where the study names no cluster of test examples
    elsewhere: SameQuestion | None = None  # of a declared one: None where no other study of the store asks the same
    kind: ClaimKind = "better"  # of the hypothesis
    score_places: int = 0  # decimals of mean scores
    folds: bool = False  # every seed is a fold
    others: tuple[OtherHypothesis, ...] = ()  # hypotheses about this difference after the first
    repeated: bool = False  # the intervals over seeds, and over seeds and clusters, hold at all planned looks together

    @property
    def declared(self) -> bool:
        """A hypothesis of the study asks for this comparison, in this direction."""
        return self.verdict != "exploratory"


def arm_comparisons(results: Results, arm: str, against: str, metrics: Sequence[str]) -> list[ArmComparison]:
    """The comparison in each metric. The caller has checked that the names exist and that the arms differ."""
    declared = [c for c in compare(results) if not c.exploratory and (c.arm, c.against) == (arm, against)]
    found = []
    for metric in metrics:
        of_metric = [c for c in declared if c.metric.name == metric] or [comparison(results, arm, against, metric)]
        found.append(_arm_comparison(results, *of_metric))
    return found


def scored_metrics(results: Results) -> list[str]:
    """The metrics that any run has a score in on the split that is compared, the study's own first."""
    own, recorded = list(results.study.metrics), set(results.scores.metric)
    others = (name for name in results.metrics if name not in own and results.study.score_key(name) in recorded)
    return [*own, *sorted(others)]


def _arm_comparison(results: Results, found: Comparison, *others: Comparison) -> ArmComparison:
    names = found.arm, found.against, found.metric.name
    return ArmComparison(
        arm=found.arm,
        label=found.label,
        against=found.against,
        against_label=found.against_label,
        metric=found.metric,
        pairs=_pairs(results, *names),
        effect=found.effect,
        population=population(results, *names) if found.arm in results.study.arms and names_people(results) else None,
        verdict=found.verdict,
        margin=found.margin,
        p_adjusted=found.p_adjusted,
        reason="" if found.exploratory else found.reason,
        places=found.places,
        over_clusters=found.over_clusters,
        elsewhere=found.elsewhere,
        kind=found.kind,
        score_places=found.score_places,
        folds="fold" in results.study.vary,
        others=tuple(OtherHypothesis(c.kind, c.margin, c.verdict, c.p_adjusted, c.reason, c.elsewhere) for c in others),
        repeated=results.study.stopping is not None and not found.exploratory,
    )


def _pairs(results: Results, arm: str, against: str, metric: str) -> tuple[Pair, ...]:
    key = results.study.score_key(metric)
    ours, theirs = results.by_seed(arm, key), results.by_seed(against, key)
    return tuple(
        Pair(
            seed,
            _finite(ours[seed]),
            _finite(theirs[seed]),
            _finite(ours[seed] - theirs[seed]),
            "; ".join(
                reason
                for name, scores in ((arm, ours), (against, theirs))
                if (reason := _missing_reason(results, name, seed, metric, scores))
            ),
        )
        for seed in results.study.seeds
    )


def _missing_reason(results: Results, arm: str, seed: int, metric: str, scores: Mapping[int, float]) -> str:
    """`“Hybrid” failed: loss is not finite`; empty when there is a number.

    Where the name stands for one arm on each data set, it names those that have none.
    """
    if math.isfinite(scores[seed]):
        return ""
    members, key = results.study.members(arm), results.study.score_key(metric)
    lacking = [member for member in members if not math.isfinite(results.by_seed(member, key)[seed])]
    return "; ".join(_why(results, member, seed) for member in lacking)


def _why(results: Results, arm: str, seed: int) -> str:
    runs, name = results.runs, quoted(label(results, arm))
    run = runs[(runs.arm == arm) & (runs.seed == seed)].iloc[0]
    if run.status == "done":
        return f"{name} has no finite score"
    error = f": {run.error}" if run.error else ""
    return f"{name} {'failed' if run.status == 'failed' else 'has not been run'}{error}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
