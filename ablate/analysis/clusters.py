"""The difference of two arms over seeds and over the clusters of test examples that the study names, at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ablate.analysis import two_way
from ablate.analysis.phrasing import counted
from ablate.analysis.results import Results
from ablate.analysis.statistics import Effect, Estimate


@dataclass(frozen=True)
class OverClusters:
    """The interval over seeds and clusters of a difference, and the shares of its variance.

    `interval` is None where `note` says why. `shares`: of seeds with their tuning, of clusters, of single examples.
    """

    column: str
    clusters: int
    seeds: int
    interval: Estimate | None
    shares: tuple[float, float, float] | None = None
    note: str = ""

    @property
    def decides(self) -> bool:
        """Whether a verdict may rest on this interval; with fewer than 4 clusters it is shown and decides nothing."""
        enough = self.clusters >= two_way.MIN_CLUSTERS
        return enough and self.interval is not None and bool(self.interval.standard_error)

    @property
    def words(self) -> str:
        """`7 seeds and 10 clusters (subject)`."""
        return f"{counted(self.seeds, 'seed')} and {counted(self.clusters, 'cluster')} ({self.column})"


def over_clusters(results: Results, arm: str, against: str, metric: str, effect: Effect) -> OverClusters | None:
    """The interval over seeds and clusters around the mean of `effect`; None where the study names no cluster."""
    column = results.study.cluster
    if not column:
        return None
    rows, clusters = [], None
    for seed in effect.by_seed:
        tables = results.columns(arm, seed), results.columns(against, seed)
        if tables[0] is None or tables[1] is None:
            return _none(column, "a run kept no test examples")
        if missing := _missing(column, metric, results):
            return _none(column, missing)
        if any(name not in table for table in tables for name in (column, metric) if table is not None):
            return _none(column, f"the test examples have no {column} or no value of {metric}")
        ours, theirs = ({name: t[name].astype(float) for name in (column, metric)} for t in tables if t is not None)
        clusters = ours[column] if clusters is None else clusters
        if not np.isfinite(clusters).all():
            return _none(column, f"not every test example has a {column}")
        if not all(np.array_equal(clusters, each[column]) for each in (ours, theirs)):
            return _none(column, f"the test examples or their {column} are not the same in every run")
        if any(not np.isfinite(each[metric]).any() for each in (ours, theirs)):
            return _none(column, f"{metric} is undefined in a run")
        parts = PARTS[results.metrics[metric].reduction]
        rows.append(parts(ours[metric]) - parts(theirs[metric]))
    if clusters is None or effect.difference.mean is None:
        return _none(column, "no seed has a score of both arms")
    count, seeds = len(np.unique(clusters)), len(rows)
    found = two_way.variances(np.array(rows), clusters)
    if found is None:
        why = f"{counted(count, 'cluster')} ({column})" if count < 2 else counted(seeds, "seed")
        return OverClusters(column, count, seeds, None, None, f"{why}: no interval over both")
    interval = two_way.interval(effect.difference.mean, found, seeds, count)
    few = f"fewer than {two_way.MIN_CLUSTERS} clusters ({column}) give no verdict on others: it is over seeds alone"
    return OverClusters(column, count, seeds, interval, found.shares, few if count < two_way.MIN_CLUSTERS else "")


PARTS = {"mean": two_way.parts_of_mean, "rms": two_way.parts_of_rms}


def _missing(column: str, metric: str, results: Results) -> str:
    """Why the metric has no interval over clusters in any study of this kind; empty where it may have one."""
    if results.overlap:
        return f"every seed draws its own test examples, so that no {column} is in all of them"
    reduction = results.metrics[metric].reduction
    return "" if reduction in PARTS else f"a {reduction} is no sum over examples"


def _none(column: str, note: str) -> OverClusters:
    return OverClusters(column, 0, 0, None, None, note)
