# Question:    How often are the intervals and verdicts of a report wrong when the truth is known?
# Command:     python benchmarks/calibration.py
# Cost:        about 2 minutes on one CPU core
# Expectation: 95 % intervals cover the truth in 94–96.5 % of Gaussian cases, in at least 94 % under symmetric heavy
#              tails and at least 92 % under the skew of a gamma distribution of shape 4; no more than 5 % of studies
#              with six true nulls and symmetric differences make any false claim. Skew breaks the t-test's promise
#              for the family: how far is published, not gated. Exit code 1 when a gate fails.
"""Simulate whole studies with a known truth and run the report's own `paired` and `judge` on them.

    python benchmarks/calibration.py [--studies 4000] [--quick] [--json]

A study has six declared hypotheses, every one with its true improvement exactly at the margin: both `supported` and
`refuted` are then false claims. Half of the margins are 0, so that p and the sign-flip p can be counted too. The
distributions are those of the paired differences; of two arms that are skewed alike the difference is symmetric.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import calibration_options
import numpy as np

from ablate.analysis.statistics import ALPHA, Effect, paired
from ablate.analysis.verdicts import Claim, judge
from ablate.study import Direction

SEEDS = (5, 7, 10, 20)
MARGINS = (0.0, 0.5, 0.0, 0.5, 0.0, 0.5)
DIRECTIONS: tuple[Direction, ...] = ("lower", "higher", "higher", "lower", "lower", "higher")
PEOPLE, TESTED = 60, 12  # of the overlap simulation: a fifth is test people, drawn anew by every seed
Z = 2.33  # Monte-Carlo error allowed above 5 % of studies: one in a hundred honest runs would exceed it


@dataclass(frozen=True)
class Shape:
    """A distribution of differences with mean 0; its gates: coverage between two bounds, false claims at most 5 %."""

    name: str
    draw: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
    coverage: tuple[float, float] | None = None
    family: bool = False


SHAPES = (
    Shape("Gaussian", lambda rng, size: rng.standard_normal(size), (0.94, 0.965), True),
    Shape("t, 3 df", lambda rng, size: rng.standard_t(3, size), (0.94, 1.0), True),
    Shape("gamma, shape 4", lambda rng, size: rng.gamma(4.0, 1.0, size) - 4.0, (0.92, 1.0)),
    Shape("exponential", lambda rng, size: rng.exponential(1.0, size) - 1.0),
    Shape("lognormal", lambda rng, size: rng.lognormal(0.0, 1.0, size) - math.exp(0.5)),
)


@dataclass(frozen=True)
class Cell:
    """Shares in one distribution and number of seeds. `excludes` and the p count single comparisons or any of six."""

    shape: str
    seeds: int
    studies: int
    coverage: float  # of single 95 % intervals
    p: float  # of single comparisons without a difference: t-test p ≤ 0.05
    p_sign_flip: float  # the same for the sign-flip test
    uncorrected: float  # of studies: any of the six intervals misses the truth
    false_claims: float  # of studies: any `supported` or `refuted`
    failures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Overlap:
    """Coverage of 95 % intervals when every seed redraws the test people, with and without the correction."""

    seeds: int
    studies: int
    naive: float
    corrected: float


def simulate(shape: Shape, seeds: int, studies: int, seed: int = 0) -> Cell:
    """Run `studies` studies of six true nulls through `paired` and `judge`."""
    rng = np.random.default_rng([seed, SHAPES.index(shape), seeds])
    against = 10 + rng.standard_normal((studies, len(MARGINS), seeds))
    sign = np.array([-1.0 if direction == "lower" else 1.0 for direction in DIRECTIONS])
    truth = sign * np.array(MARGINS)
    # noise turned like the improvement, so that its skew is on the same side of every hypothesis
    arm = against + truth[:, None] + sign[:, None] * shape.draw(rng, against.shape)
    covered, p, flips, wrong, claimed = [], [], [], [], []
    for ours, theirs in zip(arm.tolist(), against.tolist(), strict=True):
        effects = [paired(dict(enumerate(a)), dict(enumerate(b))) for a, b in zip(ours, theirs, strict=True)]
        hits = [covers(effect, float(true)) for effect, true in zip(effects, truth, strict=True)]
        covered += hits
        wrong.append(not all(hits))
        nulls = [effect for effect, margin in zip(effects, MARGINS, strict=True) if margin == 0]
        p += [effect.p is not None and effect.p <= ALPHA for effect in nulls]
        flips += [effect.p_sign_flip is not None and effect.p_sign_flip <= ALPHA for effect in nulls]
        verdicts = judge([Claim(*each) for each in zip(effects, DIRECTIONS, MARGINS, strict=True)])
        claimed.append(any(v.outcome in ("supported", "refuted") for v in verdicts))
    shares = [float(np.mean(each)) for each in (covered, p, flips, wrong, claimed)]
    return Cell(shape.name, seeds, studies, *shares, tuple(gates(shape, shares[0], shares[-1], studies)))


def covers(effect: Effect, truth: float) -> bool:
    low, high = effect.difference.low, effect.difference.high
    return low is not None and high is not None and low <= truth <= high


def gates(shape: Shape, coverage: float, false_claims: float, studies: int) -> Iterator[str]:
    """What the cell promised and did not keep, in words."""
    if shape.coverage and not shape.coverage[0] <= coverage <= shape.coverage[1]:
        yield f"coverage {coverage:.2%} is not within {shape.coverage[0]:.1%} to {shape.coverage[1]:.1%}"
    limit = ALPHA + Z * math.sqrt(ALPHA * (1 - ALPHA) / studies)
    if shape.family and false_claims > limit:
        yield f"false claims in {false_claims:.2%} of studies, more than {limit:.2%}"


def simulate_overlap(seeds: int, studies: int, seed: int = 0) -> Overlap:
    """Two predictors of a person's value, the mean of the training people and always 0, scored by squared error.

    Every seed draws the test people anew from the same people, so its training people and its score overlap with the
    other seeds'. The truth is the expected difference for a new set of people, known in closed form.
    """
    rng = np.random.default_rng([seed, len(SHAPES), seeds])
    trained = PEOPLE - TESTED
    people = 1 + rng.standard_normal((studies, PEOPLE))
    scores = np.empty((2, studies, seeds))
    for column in range(seeds):
        drawn = rng.permuted(people, axis=1)
        mean = drawn[:, TESTED:].mean(axis=1, keepdims=True)
        for row, guess in enumerate((mean, np.zeros_like(mean))):
            scores[row, :, column] = ((drawn[:, :TESTED] - guess) ** 2).mean(axis=1)
    truth = (1 + 1 / trained) - 2.0  # values have variance 1 and mean 1, so always 0 errs by 1 + 1²
    hits: tuple[list[bool], list[bool]] = ([], [])
    for ours, theirs in zip(scores[0].tolist(), scores[1].tolist(), strict=True):
        for found, overlap in zip(hits, (None, TESTED / trained), strict=True):
            effect = paired(dict(enumerate(ours)), dict(enumerate(theirs)), overlap=overlap)
            found.append(covers(effect, truth))
    return Overlap(seeds, studies, *(float(np.mean(found)) for found in hits))


def table(cells: list[Cell], overlaps: list[Overlap]) -> Iterator[str]:
    """The table as markdown; a gated number that failed is marked with !."""
    yield "| Differences | Seeds | Coverage | p ≤ 0.05 | Sign-flip p ≤ 0.05 | Uncorrected | False claims |"
    yield "|---|---|---|---|---|---|---|"
    for c in cells:
        numbers = (c.coverage, c.p, c.p_sign_flip, c.uncorrected, c.false_claims)
        shown = " | ".join(f"{100 * value:.1f} %" for value in numbers)
        yield f"| {c.shape} | {c.seeds} | {shown} |" + "".join(f" ! {failure}" for failure in c.failures)
    yield ""
    yield "| Splits redrawn by every seed | Coverage without correction | Coverage, Nadeau–Bengio |"
    yield "|---|---|---|"
    for o in overlaps:
        yield f"| {o.seeds} seeds | {100 * o.naive:.1f} % | {100 * o.corrected:.1f} % |"


def main() -> None:
    options = calibration_options.parse(
        __doc__, studies=4000, of="cell", few=300, quick=", 5 and 10 seeds", as_json=True
    )
    studies, counts = options.studies, (5, 10) if options.quick else SEEDS
    started = time.perf_counter()
    cells = [simulate(shape, n, studies, options.seed) for shape in SHAPES for n in counts]
    overlaps = [simulate_overlap(n, studies, options.seed) for n in counts]
    failures = [f"{c.shape}, {c.seeds} seeds: {failure}" for c in cells for failure in c.failures]
    if options.json:
        document = {"cells": [asdict(c) for c in cells], "overlap": [asdict(o) for o in overlaps], "failed": failures}
        print(json.dumps(document))
    else:
        print("\n".join(table(cells, overlaps)))
        print(f"\n{studies} studies a cell, {len(MARGINS)} hypotheses each, {time.perf_counter() - started:.0f} s")
    calibration_options.end(failures, quiet=options.json)


if __name__ == "__main__":
    main()
