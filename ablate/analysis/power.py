"""What a number of seeds can show, before they are run. Numbers in, numbers out."""

from __future__ import annotations

import math
from bisect import bisect_left

from scipy import special

from ablate.analysis.statistics import ALPHA
from ablate.analysis.verdicts import MIN_SEEDS

POWER = 0.8
MOST_SEEDS = 10_000


def level(hypotheses: int, alpha: float = ALPHA) -> float:
    """The one-sided level at which Holm's method judges the first of `hypotheses`: alpha over two tests for each."""
    return alpha / (2 * max(1, hypotheses))


def smallest_p(seeds: int, hypotheses: int = 1) -> float:
    """The smallest adjusted p of the exact two-sided sign-flip test: 2/2ⁿ times Holm's factor, at most 1.

    The t-test of the verdict has no such floor: its p falls with the size of the difference alone.
    """
    return min(1.0, max(1, hypotheses) * 2.0 ** (1 - seeds))


def detectable(
    sd: float, seeds: int, hypotheses: int = 1, *, power: float = POWER, overlap: float | None = None
) -> float | None:
    """How far the true improvement must lie from the margin to be judged with this `power` by `seeds` pairs.

    `sd` is the standard deviation of the paired differences, in any unit; the result has the same unit. None below 5
    seeds, where there is no verdict. A one-sided t-test at the corrected level, its power from the noncentral t
    distribution.
    """
    if seeds < MIN_SEEDS:
        return None
    degrees = seeds - 1
    critical = special.stdtrit(degrees, 1 - level(hypotheses))
    return float(special.nctdtrinc(degrees, 1 - power, critical)) * sd * math.sqrt(1 / seeds + (overlap or 0.0))


def seeds_needed(
    sd: float, difference: float, hypotheses: int = 1, *, power: float = POWER, overlap: float | None = None
) -> int | None:
    """The fewest seeds that detect a true improvement this far from the margin; None when no number of seeds does.

    `sd` and `difference` have the same unit. With overlapping splits the error of the mean does not fall to 0, however
    many seeds there are.
    """

    def reaches(seeds: int) -> bool:
        distance = detectable(sd, seeds, hypotheses, power=power, overlap=overlap)
        return distance is not None and distance <= abs(difference)

    numbers = range(MIN_SEEDS, MOST_SEEDS + 1)
    index = bisect_left(numbers, True, key=reaches)
    return numbers[index] if index < len(numbers) else None
