"""Search the value of a setting at which two networks count the same. Pure: knows no network and no trainer."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from typing import Any

from ablate.study import InputError, Problem
from ablate.study.resolve import replace
from ablate.untrusted.wording import place

TOLERANCE = 0.01  # a matched arm's count may differ by this share of the other arm's
LARGEST_VALUE = 2**24  # the search for a matching setting ends here


def matching_value(
    count: Callable[[int], int],
    target: int,
    start: int,
    by: str,
    *,
    key: str = "match_parameters",
    of: str = "parameters",
) -> int:
    """The whole number for the setting `by` whose `count` is nearest to `target`.

    `key` is the control that asks for it and `of` what is counted, for messages; `start` is its value in the arm.
    Doubles it until the count is passed, then bisects: counts grow with the setting. Raises InputError where no
    number brings the count within 1 % of the target.
    """
    count = functools.cache(count)
    low = high = max(1, start)
    if count(high) > target:
        low = 1
    while count(high) < target and high < LARGEST_VALUE:
        low, high = high, 2 * high
        if count(high) == count(low):
            raise match_error(f"{by} does not change the number of {of}", f"{count(low):,}", key=key)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) < target else (low, middle)
    best = min((low, high), key=lambda value: abs(count(value) - target))
    if abs(count(best) - target) > TOLERANCE * target:
        nearest_counts = " and ".join(f"{count(value):,} at {value}" for value in dict.fromkeys((low, high)))
        rule = f"no {by} comes within {TOLERANCE:.0%} of {target:,} {of}"
        raise match_error(rule, hint=f"the nearest are {nearest_counts}", key=key)
    return best


def with_setting(section: Mapping[str, Any], by: str, value: int) -> dict[str, Any]:
    """A copy of a section with the setting at the dotted path `by`, which begins with the section's name, replaced."""
    name = by.partition(".")[0]
    settings: dict[str, dict[str, Any]] = {name: json.loads(json.dumps(section))}
    replace(settings, by, value)
    return settings[name]


def match_error(rule: str, value: str = "", hint: str = "", *, key: str = "match_parameters") -> InputError:
    """The error of a control that cannot match parameters, or what else it counts."""
    return InputError(Problem("settings", place("control", key), rule, value, hint))
