"""Scores and paired differences of a study's arms, computed the same way for every table."""

from __future__ import annotations

from collections.abc import Mapping

from ablate.analysis import numbers
from ablate.analysis.costs import trained
from ablate.analysis.results import Results
from ablate.analysis.statistics import Effect, Estimate, estimate, paired


def baseline_of(results: Results, arm: str) -> str | None:
    """The arm that this one is compared with: None for a baseline, and where the arm's level has no baseline."""
    against = results.study.baseline_of(arm)
    return against if against != arm and against in results.study.arms else None


def effect(results: Results, arm: str, against: str, metric: str) -> Effect:
    """The difference of two arms in a metric, on the split that is compared, paired by seed."""
    key = results.study.score_key(metric)
    return difference(results, results.by_seed(arm, key), results.by_seed(against, key))


def difference(results: Results, ours: Mapping[int, float], theirs: Mapping[int, float]) -> Effect:
    """The paired difference of any two scores by seed; the interval allows for splits that share training examples."""
    return paired(ours, theirs, overlap=results.overlap)


def score(results: Results, by_seed: Mapping[int, float]) -> Estimate:
    """Mean over seeds with its interval."""
    return estimate(list(by_seed.values()), overlap=results.overlap)


def effect_decimals(results: Results, metric: str) -> int:
    """Decimals for all differences in a metric, in tables and sentences: from the differences of the trained arms."""
    pairs = [(arm, baseline_of(results, arm)) for arm in trained(results)]
    return numbers.decimals_for(effect(results, arm, base, metric).difference for arm, base in pairs if base)
