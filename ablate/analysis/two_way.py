"""Intervals over seeds and over clusters of test examples at once. Numbers in, numbers out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from ablate.analysis.statistics import CONFIDENCE, ROUNDING, Estimate

MIN_CLUSTERS = 4  # with fewer, the interval is shown and the verdict is about these clusters alone

MOST_JACKKNIFED = 100  # with more clusters the correction is below 1 %, and takes seconds


@dataclass(frozen=True)
class Variances:
    """The variance of a mean over seeds × examples, in the metric's unit squared, with rows taken as independent
    between seeds, between clusters, between examples, and between cells of seed and cluster."""

    seeds: float
    clusters: float
    examples: float
    cells: float

    @property
    def both(self) -> float:
        """Two-way clustered; the larger one-way variance where the two-way one is not positive.

        Source: A. C. Cameron, J. B. Gelbach, D. L. Miller, "Robust Inference With Multiway Clustering", J. Bus. Econ.
        Stat. 29 (2011), equation 2.11 and section 2.3.
        """
        two_way = self.seeds + self.clusters - self.cells
        return two_way if two_way > 0 else max(self.seeds, self.clusters)

    @property
    def shares(self) -> tuple[float, float, float]:
        """Shares of seeds, of clusters and of single examples in the two-way variance, which is their sum; a negative
        part counts as 0."""
        parts = [max(0.0, v) for v in (self.seeds - self.cells, self.clusters - self.examples, self.examples)]
        total = sum(parts)
        return (parts[0] / total, parts[1] / total, parts[2] / total) if total > 0 else (0.0, 0.0, 0.0)


def variances(table: np.ndarray, clusters: np.ndarray) -> Variances | None:
    """Variances of the mean of `table` (seeds, examples), by statsmodels' clustered covariances of a constant.

    `clusters` (examples,) names each example's cluster. None with fewer than two seeds or two clusters. The variance
    over clusters is the jackknife one (CRV3), the same as the usual one for equal sizes. With four people of sizes
    1870, 440, 42 and 435 who differ much, the usual one covers in 82 % of simulations and the jackknife one in 91 %;
    with the degrees of freedom of `degrees` in 95 % (benchmarks/README.md).
    """
    from statsmodels.regression.linear_model import OLS
    from statsmodels.stats.sandwich_covariance import cov_cluster

    seeds, examples = table.shape
    names, of_example = np.unique(clusters, return_inverse=True)
    if seeds < 2 or len(names) < 2:
        return None
    seed, cluster = np.repeat(np.arange(seeds), examples), np.tile(of_example, seeds)
    fit = OLS(table.ravel(), np.ones(table.size)).fit()

    def variance(groups: np.ndarray, kind: str = "cluster") -> float:
        return float(cov_cluster(fit, groups, crv_type=kind)[0, 0])

    return Variances(
        seeds=variance(seed),
        clusters=variance(cluster, "cluster-crv3" if len(names) <= MOST_JACKKNIFED else "cluster"),
        examples=variance(np.tile(np.arange(examples), seeds)),
        cells=variance(seed * len(names) + cluster),
    )


def crossed(table: np.ndarray) -> Variances | None:
    """Variances of the mean of `table` (seeds, data sets) with one value in each cell, from its mean squares.

    Unbiased for seeds and data sets that are drawn at random and may interact, by the expected mean squares of two
    crossed random factors. None with fewer than two of either. With `interval` it covers in 92 to 99 % of simulated
    cases: 5 to 20 seeds, 4 to 12 data sets, the spread in seeds, in data sets, in their interaction, or in several
    (measured).
    """
    seeds, sets = table.shape
    if seeds < 2 or sets < 2:
        return None
    mean, of_seed, of_set = table.mean(), table.mean(axis=1, keepdims=True), table.mean(axis=0, keepdims=True)
    between_seeds = sets * float(((of_seed - mean) ** 2).sum()) / (seeds - 1)
    between_sets = seeds * float(((of_set - mean) ** 2).sum()) / (sets - 1)
    rest = float(((table - of_seed - of_set + mean) ** 2).sum()) / ((seeds - 1) * (sets - 1))
    scaled = [square / table.size for square in (between_seeds, between_sets, rest)]
    return Variances(seeds=scaled[0], clusters=scaled[1], examples=scaled[2], cells=scaled[2])


def interval(mean: float, found: Variances, seeds: int, sizes: Sequence[int]) -> Estimate:
    """The two-way interval around a mean; `sizes`: examples of each cluster, `n` is the smaller of both counts."""
    n = min(seeds, len(sizes))
    error = math.sqrt(found.both)
    if not error > ROUNDING * abs(mean):
        return Estimate(mean, mean, mean, n, "no variation, and so no interval", 0.0)
    free = degrees(seeds, sizes)
    half = float(special.stdtrit(free, (1 + CONFIDENCE) / 2)) * error
    return Estimate(mean, mean - half, mean + half, n, "", error, None if free == n - 1 else free)


def degrees(seeds: int, sizes: Sequence[int]) -> float:
    """The smaller count less one; the effective number of clusters, (Σn)²/Σn², where unequal sizes make it smaller.

    Source: A. V. Carter, K. T. Schnepel, D. G. Steigerwald, "Asymptotic Behavior of a t-Test Robust to Cluster
    Heterogeneity", Rev. Econ. Stat. 99 (2017), for values that vary only between clusters.
    """
    effective = sum(sizes) ** 2 / sum(size**2 for size in sizes)
    return min(seeds - 1.0, len(sizes) - 1.0, effective)


def parts_of_mean(values: np.ndarray) -> np.ndarray:
    """One number for each example (n,), whose mean is the mean of the finite `values`; NaN counts as the mean.

    The spread of these numbers is the influence of each example on the mean, so that clustering them is right although
    examples without a value differ between runs.
    """
    finite = np.isfinite(values)
    mean = float(values[finite].mean())
    return np.where(finite, mean + (np.where(finite, values, mean) - mean) * (len(values) / finite.sum()), mean)


def parts_of_rms(values: np.ndarray) -> np.ndarray:
    """The same for a root mean square, by its first-order change with each example."""
    squares = parts_of_mean(values**2)
    rms = math.sqrt(float(squares.mean()))
    return rms + (squares - rms**2) / (2 * rms) if rms > 0 else np.zeros_like(squares)
