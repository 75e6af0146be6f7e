# Question:    Do the intervals over seeds and clusters cover, and how often are claims of each kind wrongly supported?
# Command:     python benchmarks/calibration_clusters.py
# Cost:        about a minute on one CPU core
# Expectation: the two-way interval covers at least 93 %, and 93–97 % where there are as many clusters as seeds or more;
#              the wider of both intervals covers at least 93 %; no kind of claim is wrongly supported or refuted in
#              more than 5 % of studies. Exit code 1 when a gate fails.
"""Simulate differences with a known truth over seeds and clusters, and run the report's own intervals on them.

    python benchmarks/calibration_clusters.py [--studies 2000] [--quick] [--seed 0]

A difference is an effect of the seed, one of the cluster, one of both together and one of the example; all Gaussian.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import calibration_options
import numpy as np

from ablate.analysis import two_way
from ablate.analysis.statistics import ALPHA, Estimate, paired
from ablate.analysis.verdicts import Claim, judge
from ablate.study import ClaimKind

Z = 2.33  # Monte-Carlo error allowed: one in a hundred honest runs would exceed it
EQUAL = (6,) * 4
UNEQUAL = (40, 9, 1, 9)  # as in a motion capture test set: 1870, 440, 42 and 435 poses
KINDS: tuple[ClaimKind, ...] = ("better", "not_worse", "equivalent")
MARGIN = 0.5


@dataclass(frozen=True)
class Design:
    """Seeds, examples of every cluster, standard deviations of the effects; which gates it has."""

    seeds: int
    sizes: Sequence[int]
    of_seed: float
    of_cluster: float
    two_sided: bool = False


DESIGNS = (
    Design(5, EQUAL, 1.0, 0.0),
    Design(5, EQUAL, 0.2, 1.0),
    Design(7, EQUAL, 1.0, 1.0),
    Design(7, (6,) * 10, 1.0, 0.2, two_sided=True),
    Design(7, (6,) * 10, 0.2, 1.0, two_sided=True),
    Design(7, (6,) * 10, 1.0, 1.0, two_sided=True),
    Design(10, (3,) * 30, 1.0, 0.2, two_sided=True),
    Design(7, UNEQUAL, 1.0, 0.2),
    Design(7, UNEQUAL, 1.0, 1.0),
    Design(7, UNEQUAL, 0.2, 1.0),
)


@dataclass(frozen=True)
class Coverage:
    """Shares of 95 % intervals that cover the truth: for other seeds and the same clusters, and for others of both."""

    seeds_alone: float  # of the mean of these clusters
    two_way: float
    wider: float
    usual: float  # two-way with the usual clustered variance, and t with the smaller count less one

    def failures(self, design: Design, studies: int) -> Iterator[str]:
        """What the design promised and did not keep, in words."""
        error = Z * math.sqrt(0.93 * 0.07 / studies)
        if not 0.93 - error <= self.seeds_alone <= 0.97 + error:
            yield f"the interval over seeds covers {self.seeds_alone:.1%}"
        if min(self.two_way, self.wider) < 0.93 - error:
            yield f"two-way covers {self.two_way:.1%}, the wider {self.wider:.1%}"
        if design.two_sided and self.two_way > 0.97 + error:
            yield f"two-way covers {self.two_way:.1%}"


def simulate(design: Design, studies: int, seed: int = 0) -> Coverage:
    """Run the report's intervals on `studies` studies whose true difference is 0."""
    rng = np.random.default_rng([seed, *design.sizes, design.seeds, round(10 * design.of_seed)])
    cluster = np.repeat(np.arange(len(design.sizes)), design.sizes)
    equal, hits = [1] * len(design.sizes), []  # equal sizes take no degree of freedom away
    for _ in range(studies):
        of_cluster = design.of_cluster * rng.standard_normal(len(design.sizes))
        of_example = of_cluster[cluster] + 0.5 * rng.standard_normal(len(cluster))
        of_seed = design.of_seed * rng.standard_normal((design.seeds, 1))
        together = 0.5 * rng.standard_normal((design.seeds, len(design.sizes)))
        table = of_example + of_seed + together[:, cluster]
        difference = paired(dict(enumerate(table.mean(axis=1).tolist())), dict.fromkeys(range(design.seeds), 0.0))
        alone, found = difference.difference, two_way.variances(table, cluster)
        assert alone.mean is not None
        assert found is not None
        both = two_way.interval(alone.mean, found, design.seeds, design.sizes)
        wider = Claim(difference, "higher", over_clusters=both).deciding
        usual = two_way.interval(alone.mean, replace(found, clusters=one_way(table, cluster)), design.seeds, equal)
        hits.append([covers(alone, float(of_example.mean())), *(covers(each, 0.0) for each in (both, wider, usual))])
    return Coverage(*np.mean(hits, axis=0).tolist())


def one_way(table: np.ndarray, cluster: np.ndarray) -> float:
    """The usual variance of the mean over clusters (CRV1)."""
    names = np.unique(cluster)
    sums = [(table[:, cluster == name] - table.mean()).sum() for name in names]
    return float(len(names) / (len(names) - 1) * np.square(sums).sum() / table.size**2)


def covers(estimate: Estimate, truth: float) -> bool:
    return estimate.low is not None and estimate.high is not None and estimate.low <= truth <= estimate.high


def false_claims(kind: ClaimKind, seeds: int, studies: int, seed: int = 0) -> tuple[float, float]:
    """Shares of studies with one hypothesis that is wrongly supported, and wrongly refuted: truths at the limits."""
    rng = np.random.default_rng([seed, KINDS.index(kind), seeds])
    limits = {"better": [MARGIN], "not_worse": [-MARGIN], "equivalent": [MARGIN, -MARGIN]}[kind]
    found = []
    for study in range(studies):
        values = limits[study % len(limits)] + 0.3 * rng.standard_normal(seeds)
        effect = paired(dict(enumerate(values.tolist())), dict.fromkeys(range(seeds), 0.0))
        found.append(judge([Claim(effect, "higher", MARGIN, kind=kind)])[0].outcome)
    return found.count("supported") / studies, found.count("refuted") / studies


def main() -> None:
    options = calibration_options.parse(__doc__, studies=2000, of="row", few=200, quick="")
    studies = options.studies
    failures = []
    print(
        "| Seeds | Clusters | sd of seeds | sd of clusters | Seeds alone | Two-way | The wider | Usual variance |\n"
        + "|---" * 8
        + "|"
    )
    for d in DESIGNS:
        found = simulate(d, studies, options.seed)
        failures += [f"{d}: {failure}" for failure in found.failures(d, studies)]
        sizes = (
            f"{len(d.sizes)}" if len(set(d.sizes)) == 1 else f"{len(d.sizes)}, of sizes {', '.join(map(str, d.sizes))}"
        )
        shares = " | ".join(f"{100 * x:.1f} %" for x in (found.seeds_alone, found.two_way, found.wider, found.usual))
        print(f"| {d.seeds} | {sizes} | {d.of_seed} | {d.of_cluster} | {shares} |")
    print("\n| Claim | Seeds | Wrongly supported | Wrongly refuted |\n|---|---|---|---|")
    limit = ALPHA + Z * math.sqrt(ALPHA * (1 - ALPHA) / studies)
    for kind in KINDS:
        for seeds in (5, 7, 20):
            wrong = false_claims(kind, seeds, studies, options.seed)
            failures += [f"{kind}, {seeds} seeds: {wrong}"] * (sum(wrong) > limit)
            print(f"| {kind} | {seeds} | {100 * wrong[0]:.1f} % | {100 * wrong[1]:.1f} % |")
    print()
    calibration_options.end(failures)


if __name__ == "__main__":
    main()
