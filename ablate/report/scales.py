"""The limits of an axis, and whether it is logarithmic. Arms outside the limits are shown as a number at the edge."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from ablate.analysis.statistics import Estimate

ROOM = 1.5  # an arm is on the scale when it is within this many spans of the arms that the answer is about
MARGIN = 0.08
DECADES_FROM = 100.0  # values that span more than this factor are labelled at whole decades alone
LOG_FROM = 8.0  # values that span more than this factor get a logarithmic axis


def limits(focus: Sequence[Estimate], everyone: Sequence[Estimate], *, include_zero: bool) -> tuple[float, float]:
    """Low and high limit that show the estimates in focus and others near them, with a margin on either side."""
    low, high = span(focus) or span(everyone) or (0.0, 1.0)
    if include_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    room = ROOM * ((high - low) or abs(high) or 1.0)
    near = [ends(e) for e in everyone if (s := span([e])) and s[0] >= low - room and s[1] <= high + room]
    low, high = min([low, *(e[0] for e in near)]), max([high, *(e[1] for e in near)])
    margin = MARGIN * ((high - low) or abs(high) or 1.0)
    return low - margin, high + margin


def span(estimates: Iterable[Estimate]) -> tuple[float, float] | None:
    """From the lowest to the highest end of all intervals; None without any value."""
    all_ends = [end for e in estimates if e.mean is not None for end in ends(e)]
    return (min(all_ends), max(all_ends)) if all_ends else None


def ends(e: Estimate) -> tuple[float, float]:
    """The ends of the interval; without one, the mean twice."""
    mean = e.mean or 0.0
    return (mean if e.low is None else e.low, mean if e.high is None else e.high)


def band(estimates: Sequence[Estimate]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, low and high of each estimate; NaN, a gap in a line, where there is none."""
    means = np.array([math.nan if e.mean is None else e.mean for e in estimates])
    interval = np.array([ends(e) if e.mean is not None else (math.nan, math.nan) for e in estimates])
    return means, interval[:, 0], interval[:, 1]


def stretch(panel: Axes, values: Iterable[float]) -> None:
    """Set the y axis for these values: logarithmic with plain numbers at 1, 2 and 5, else linear with few ticks."""
    numbers = list(values)
    if logarithmic(numbers):
        panel.set_yscale("log")
        subs = (1.0, 2.0, 5.0) if max(numbers) < DECADES_FROM * min(numbers) else (1.0,)
        panel.yaxis.set_major_locator(LogLocator(subs=subs, numticks=99))  # the default leaves some axes without any
        panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        panel.yaxis.set_minor_formatter(NullFormatter())
    else:
        panel.locator_params(axis="y", nbins=5)


def logarithmic(values: Iterable[float]) -> bool:
    """Whether the values are all positive and span more than a factor of eight."""
    numbers = list(values)
    return bool(numbers) and min(numbers) > 0 and max(numbers) > LOG_FROM * min(numbers)
