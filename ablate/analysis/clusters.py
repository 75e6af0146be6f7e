"""The difference of two arms over seeds and over the clusters of test examples that the study names, at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ablate.analysis import two_way
from ablate.analysis.phrasing import counted, quoted
from ablate.analysis.results import Results
from ablate.analysis.statistics import Effect, Estimate

DATA_SET = "data set"  # in place of a column, where the clusters are the study's data sets


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
        """`7 seeds and 10 clusters (subject)`, `7 seeds and 5 data sets`."""
        if self.column == DATA_SET:
            return f"{counted(self.seeds, 'seed')} and {counted(self.clusters, DATA_SET)}"
        return f"{counted(self.seeds, 'seed')} and {counted(self.clusters, 'cluster')} ({self.column})"


def of_what(known: Iterable[OverClusters]) -> str:
    """`clusters`, `data sets` or `clusters or data sets`: what intervals over seeds and these are over."""
    return " or ".join(sorted({"data sets" if each.column == DATA_SET else "clusters" for each in known}))


def over_clusters(results: Results, arm: str, against: str, metric: str, effect: Effect) -> OverClusters | None:
    """The interval over seeds and clusters around the mean of `effect`; None where the study names no cluster.

    For arms on all data sets together, the clusters are the data sets.
    """
    if results.study.over_datasets(arm):
        return _over_datasets(results, arm, against, metric, effect)
    column = results.study.cluster
    if not column:
        return None
    rows, clusters = [], None
    for seed in effect.by_seed:
        tables = results.columns(arm, seed), results.columns(against, seed)
        if tables[0] is None or tables[1] is None:
            return _none(column, "a run kept no examples")
        if missing := _missing(column, metric, results):
            return _none(column, missing)
        if any(name not in table for table in tables for name in (column, metric) if table is not None):
            return _none(column, f"the examples have no column {quoted(column)} or no value of {metric}")
        ours, theirs = ({name: t[name].astype(float) for name in (column, metric)} for t in tables if t is not None)
        clusters = ours[column] if clusters is None else clusters
        if not np.isfinite(clusters).all():
            return _none(column, f"not every example has a value in the column {quoted(column)}")
        if not all(np.array_equal(clusters, each[column]) for each in (ours, theirs)):
            return _none(column, f"the examples, or their values of {quoted(column)}, are not the same in every run")
        if any(not np.isfinite(each[metric]).any() for each in (ours, theirs)):
            return _none(column, f"{metric} is undefined in a run")
        parts = PARTS[results.metrics[metric].reduction]
        rows.append(parts(ours[metric]) - parts(theirs[metric]))
    if clusters is None or effect.difference.mean is None:
        return _none(column, "no seed has a score of both arms")
    sizes = np.unique(clusters, return_counts=True)[1].tolist()
    count, seeds = len(sizes), len(rows)
    found = two_way.variances(np.array(rows), clusters)
    if found is None:
        why = f"{counted(count, 'cluster')} ({column})" if count < 2 else counted(seeds, "seed")
        return OverClusters(column, count, seeds, None, None, f"{why}: no interval over both")
    interval = two_way.interval(effect.difference.mean, found, seeds, sizes)
    few = f"fewer than {two_way.MIN_CLUSTERS} clusters ({column}) give no verdict on others: it is over seeds alone"
    return OverClusters(column, count, seeds, interval, found.shares, few if count < two_way.MIN_CLUSTERS else "")


def _over_datasets(results: Results, arm: str, against: str, metric: str, effect: Effect) -> OverClusters:
    """The interval over seeds and data sets of the mean of the differences, every data set with the same weight."""
    key, names = results.study.score_key(metric), (arm, against)
    ours, theirs = ([results.by_seed(member, key) for member in results.study.members(name)] for name in names)
    rows = [[a[seed] - b[seed] for a, b in zip(ours, theirs, strict=True)] for seed in effect.by_seed]
    if not rows or effect.difference.mean is None:
        return _none(DATA_SET, "no seed has a score of both arms on every data set")
    seeds, count = len(rows), len(ours)
    found = two_way.crossed(np.array(rows))
    if found is None:
        return OverClusters(DATA_SET, count, seeds, None, None, f"{counted(seeds, 'seed')}: no interval over both")
    interval = two_way.interval(effect.difference.mean, found, seeds, [1] * count)
    few = f"fewer than {two_way.MIN_CLUSTERS} data sets give no verdict on others: it is over seeds alone"
    return OverClusters(DATA_SET, count, seeds, interval, found.shares, few if count < two_way.MIN_CLUSTERS else "")


PARTS = {"mean": two_way.parts_of_mean, "rms": two_way.parts_of_rms}


def _missing(column: str, metric: str, results: Results) -> str:
    """Why the metric has no interval over clusters in any study of this kind; empty where it may have one."""
    if results.overlap:
        return f"every seed draws its own examples, so that no value of {quoted(column)} is in all of them"
    reduction = results.metrics[metric].reduction
    return "" if reduction in PARTS else f"a {reduction} is no sum over examples"


def _none(column: str, note: str) -> OverClusters:
    return OverClusters(column, 0, 0, None, None, note)
