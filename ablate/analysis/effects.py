"""Scores and paired differences of a study's arms, computed the same way for every table."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ablate.analysis import numbers
from ablate.analysis.costs import trained
from ablate.analysis.results import Results
from ablate.analysis.statistics import Effect, Estimate, estimate, paired
from ablate.study import Study


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


def score_decimals(results: Results, metric: str) -> int:
    """Decimals for all scores in a metric, in tables and sentences: from the scores of the trained arms."""
    key = results.study.score_key(metric)
    scores = (score(results, results.by_seed(arm, key)) for arm in trained(results))
    return numbers.decimals_for(scores, coarse=True)


def paired_means(results: Results, found: Effect, arm: str, against: str, metric: str) -> tuple[float, float] | None:
    """Mean scores of both arms over the seeds of their difference; None without such a seed."""
    key, seeds = results.study.score_key(metric), list(found.by_seed)
    if not seeds:
        return None
    ours, theirs = (results.by_seed(name, key) for name in (arm, against))
    return math.fsum(ours[s] for s in seeds) / len(seeds), math.fsum(theirs[s] for s in seeds) / len(seeds)


def margin_of(study: Study, arm: str, against: str, metric: str) -> float | None:
    """The margin that a hypothesis asks of this difference: that of `better`, or of `equivalent`; None without one.

    A margin of `not_worse` is how much worse is allowed, and says nothing of what counts as better.
    """
    of_pair = [h for h in study.hypotheses if (h.arm, h.against, h.metric) == (arm, against, metric) and h.margin > 0]
    return next((h.margin for kind in ("better", "equivalent") for h in of_pair if h.kind == kind), None)
