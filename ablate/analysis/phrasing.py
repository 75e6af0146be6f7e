"""Differences as parts of a sentence: what an interval shows, and how large the difference is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ablate.analysis import numbers
from ablate.analysis.records import MetricInfo
from ablate.analysis.statistics import Effect, Estimate

# What an interval shows for the first arm of a difference. `equal`: the whole interval lies inside the margin of a
# hypothesis; `not shown`: it includes 0; `no interval`: fewer than two pairs, or no spread.
Shown = Literal["better", "worse", "equal", "not shown", "no interval"]


def shown(effect: Effect, metric: MetricInfo, margin: float | None = None) -> Shown:
    """What the 95 % interval alone shows. Without a margin, an interval that includes 0 is never "equal"."""
    gap = effect.difference
    if gap.mean is None or gap.low is None or gap.high is None or gap.low == gap.high:
        return "no interval"
    if gap.excludes_zero:
        return "better" if (gap.mean < 0) == (metric.direction == "lower") else "worse"
    return "equal" if margin and max(-gap.low, gap.high) < margin else "not shown"


def size(gap: Estimate, metric: MetricInfo, decimals: int) -> str:
    """`0.41° (95 % interval 0.10° to 0.72°, 7 seeds)`, for a sentence that names the better arm."""
    value, details = unsigned(gap, metric, decimals)
    return f"{value} ({details})"


def unsigned(gap: Estimate, metric: MetricInfo, decimals: int) -> tuple[str, str]:
    """`0.41°` and `95 % interval 0.10° to 0.72°, 7 seeds`; an end whose sign is opposite to the mean's has a minus."""
    sign = -1 if (gap.mean or 0.0) < 0 else 1
    low, high = (None if end is None else sign * end for end in (gap.low, gap.high)[::sign])
    return measure(abs(gap.mean or 0.0), metric, decimals), _details(gap, low, high, metric, decimals, "seed")


def unsigned_ends(gap: Estimate, metric: MetricInfo, decimals: int) -> str:
    """`0.10° to 0.72°`, the ends as in `unsigned`."""
    sign = -1 if (gap.mean or 0.0) < 0 else 1
    return " to ".join(measure(sign * (end or 0.0), metric, decimals) for end in (gap.low, gap.high)[::sign])


def signed_size(gap: Estimate, metric: MetricInfo, decimals: int, of: str = "seed") -> str:
    """`−0.10°, 95 % interval −0.30° to 0.10°, 7 seeds`."""
    mean = numbers.with_unit(numbers.signed(gap.mean, decimals), metric.unit)
    return f"{mean}, {_details(gap, gap.low, gap.high, metric, decimals, of)}"


def measure(value: float, metric: MetricInfo, decimals: int) -> str:
    """`0.41°`."""
    return numbers.with_unit(numbers.number(value, decimals), metric.unit)


def margin_text(margin: float, metric: MetricInfo) -> str:
    """`0.5°`."""
    return numbers.with_unit(f"{margin:g}", metric.unit)


def counted(n: int, word: str, several: str = "") -> str:
    """`1 seed`, `7 seeds`; `several` is the plural where it takes more than an s."""
    return f"{n} {word}" if n == 1 else f"{n} {several or f'{word}s'}"


def listed(words: Sequence[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    return f" {last} ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)


def sentence(text: str) -> str:
    """The text with a capital first letter and a full stop."""
    return f"{numbers.capital(text)}."


def _details(gap: Estimate, low: float | None, high: float | None, metric: MetricInfo, decimals: int, of: str) -> str:
    if low is None or high is None:
        return f"{counted(gap.n, of)}, no interval"
    if low == high:
        return f"the same at {counted(gap.n, of)}, no spread to judge it by"
    return f"95 % interval {measure(low, metric, decimals)} to {measure(high, metric, decimals)}, {counted(gap.n, of)}"
