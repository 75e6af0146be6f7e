"""Differences as parts of a sentence: what an interval shows and includes, and how large the difference is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ablate.analysis import numbers
from ablate.analysis.records import MetricInfo
from ablate.analysis.statistics import Effect, Estimate

# What an interval shows for the first arm of a difference. `better` and `worse`: the whole interval lies beyond the
# margin of a hypothesis, or beyond 0 without one; `equal`: the whole interval lies inside the margin; `not shown`: none
# of these; `no interval`: fewer than two pairs, or no spread.
Shown = Literal["better", "worse", "equal", "not shown", "no interval"]


def shown(effect: Effect, metric: MetricInfo, margin: float | None = None) -> Shown:
    """What the 95 % interval alone shows. Without a margin it is never "equal"."""
    ends = improvement_ends(effect.difference, metric)
    if ends is None or ends[0] == ends[1]:
        return "no interval"
    low, high = ends
    limit = margin or 0.0
    if low > limit:
        return "better"
    if high < -limit:
        return "worse"
    return "equal" if margin and max(-low, high) < margin else "not shown"


def improvement_ends(gap: Estimate, metric: MetricInfo) -> tuple[float, float] | None:
    """The ends of the interval with the sign that makes positive better; None without an interval."""
    if gap.mean is None or gap.low is None or gap.high is None:
        return None
    return (-gap.high, -gap.low) if metric.direction == "lower" else (gap.low, gap.high)


def size(gap: Estimate, metric: MetricInfo, decimals: int) -> str:
    """`0.41° (95 % interval 0.10° to 0.72°, 7 seeds)`, for a sentence that names the better arm."""
    return f"{measure(abs(gap.mean or 0.0), metric, decimals)} ({details(gap, metric, decimals)})"


def better_by(gap: Estimate, metric: MetricInfo, decimals: int) -> str:
    """`0.41° better`, `0.41° worse`; `0.00°` where that is all the digits tell."""
    mean = gap.mean or 0.0
    value = measure(abs(mean), metric, decimals)
    if numbers.number(mean, decimals) == numbers.number(0.0, decimals):
        return value
    return f"{value} better" if (mean < 0) == (metric.direction == "lower") else f"{value} worse"


def found(gap: Estimate, metric: MetricInfo, decimals: int) -> str:
    """`0.10° better, 95 % interval from 0.30° better to 0.10° worse, 7 seeds`."""
    return f"{better_by(gap, metric, decimals)}, {details(gap, metric, decimals)}"


def details(gap: Estimate, metric: MetricInfo, decimals: int) -> str:
    """`95 % interval 0.10° to 0.72°, 7 seeds`; why there is none."""
    seeds = counted(gap.n, "seed")
    if gap.low is None or gap.high is None:
        return f"{seeds}, no interval"
    if gap.low == gap.high:
        return f"the same at {seeds}, no spread to judge it by"
    return f"95 % interval {ends_text(gap, metric, decimals)}, {seeds}"


def ends_text(gap: Estimate, metric: MetricInfo, decimals: int) -> str:
    """`0.10° to 0.72°` where both ends are on the side of the mean, else `from 0.30° better to 0.10° worse`."""
    ends = improvement_ends(gap, metric)
    if ends is None:
        return numbers.GAP
    low, high = ends
    if low * high > 0:
        return " to ".join(end_text(value, metric, decimals) for value in sorted((abs(low), abs(high))))
    return f"from {end_text(high, metric, decimals)} better to {end_text(-low, metric, decimals)} worse"


def includes(gap: Estimate, metric: MetricInfo, margin: float | None) -> str:
    """`0`, `the margin of 0.5°`, or both: what an interval that shows nothing includes of what was asked."""
    ends = improvement_ends(gap, metric)
    if ends is None:
        return ""
    low, high = ends
    parts = ["0"] if low <= 0 <= high else []
    if margin and (low <= margin <= high or low <= -margin <= high):
        parts.append(f"the margin of {margin_text(margin, metric)}")
    return listed(parts)


def signed_size(gap: Estimate, metric: MetricInfo, decimals: int, of: str = "seed") -> str:
    """`−0.10°, 95 % interval −0.30° to 0.10°, 7 seeds`."""
    mean = numbers.with_unit(numbers.signed(gap.mean, decimals), metric.unit)
    if gap.low is None or gap.high is None:
        return f"{mean}, {counted(gap.n, of)}, no interval"
    if gap.low == gap.high:
        return f"{mean}, the same at {counted(gap.n, of)}, no spread to judge it by"
    ends = " to ".join(end_text(value, metric, decimals) for value in (gap.low, gap.high))
    return f"{mean}, 95 % interval {ends}, {counted(gap.n, of)}"


def measure(value: float, metric: MetricInfo, decimals: int) -> str:
    """`0.41°`."""
    return numbers.with_unit(numbers.number(value, decimals), metric.unit)


def measures(values: Sequence[float], metric: MetricInfo, decimals: int) -> str:
    """`9.9 to 11.1°`: the lowest and the highest; `9.9°` where they read alike."""
    ends = dict.fromkeys(numbers.number(value, decimals) for value in (min(values), max(values)))
    return numbers.with_unit(" to ".join(ends), metric.unit)


def margin_text(margin: float, metric: MetricInfo) -> str:
    """`0.5°`."""
    return numbers.with_unit(f"{margin:g}", metric.unit)


def quoted(label: str) -> str:
    """A label of an arm inside a sentence, where its words would be read as the sentence's."""
    return f"“{label}”"


def counted(n: int, word: str, several: str = "") -> str:
    """`1 seed`, `7 seeds`; `several` is the plural where it takes more than an s."""
    return f"{n} {word}" if n == 1 else f"{n} {several or f'{word}s'}"


def duration(seconds: float) -> str:
    """`40 seconds`, `12 minutes`, `3.5 hours`: as precise as a forecast is."""
    if seconds < 90:
        return counted(max(1, round(seconds)), "second")
    if seconds < 90 * 60:
        return counted(round(seconds / 60), "minute")
    hours = seconds / 3600
    return f"{hours:.0f} hours" if hours >= 10 else f"{hours:.1f} hours"


def listed(words: Sequence[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    return f" {last} ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)


def sentence(text: str) -> str:
    """The text with a capital first letter and a full stop."""
    return f"{numbers.capital(text)}."


def end_text(value: float, metric: MetricInfo, decimals: int) -> str:
    """An end of an interval with its unit."""
    return numbers.with_unit(numbers.end(value, decimals), metric.unit)
