"""Search the value of a setting at which two networks have as many parameters. Pure: knows no network, no trainer."""

from __future__ import annotations

import functools
from collections.abc import Callable

from ablate.study import InputError, Problem
from ablate.untrusted.wording import place

TOLERANCE = 0.01  # a matched arm's parameter count may differ by this share of the other arm's
LARGEST_VALUE = 2**24  # the search for a matching setting ends here


def matching_value(count: Callable[[int], int], target: int, start: int, by: str) -> int:
    """The whole number for the setting `by` whose `count` is nearest to `target`.

    `start` is its value in the arm. Doubles it until the count is passed, then bisects: counts grow with the setting.
    Raises InputError where no number brings the count within 1 % of the target.
    """
    count = functools.cache(count)
    low = high = max(1, start)
    if count(high) > target:
        low = 1
    while count(high) < target and high < LARGEST_VALUE:
        low, high = high, 2 * high
        if count(high) == count(low):
            raise match_error(f"{by} does not change the number of parameters", f"{count(low):,}")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) < target else (low, middle)
    best = min((low, high), key=lambda value: abs(count(value) - target))
    if abs(count(best) - target) > TOLERANCE * target:
        nearest_counts = " and ".join(f"{count(value):,} at {value}" for value in dict.fromkeys((low, high)))
        rule = f"no {by} comes within {TOLERANCE:.0%} of {target:,} parameters"
        raise match_error(rule, hint=f"the nearest are {nearest_counts}")
    return best


def match_error(rule: str, value: str = "", hint: str = "") -> InputError:
    """The error of a control that cannot match parameters."""
    return InputError(Problem("settings", place("control", "match_parameters"), rule, value, hint))
