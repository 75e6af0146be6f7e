"""How far an axis reaches, and whether it is logarithmic. Arms beyond it are drawn as a number at the edge."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from ablate.analysis.statistics import Estimate

ROOM = 1.5  # an arm is on scale when it lies within this many focus spans of the arms the answer is about
MARGIN = 0.08
LOG_FROM = 8.0  # values that span more than this factor stand on a logarithmic axis


def limits(focus: Sequence[Estimate], everyone: Sequence[Estimate], *, include_zero: bool) -> tuple[float, float]:
    """Low and high end for the arms in focus and for others near them, with a little room on either side."""
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
    found = [end for e in estimates if e.mean is not None for end in ends(e)]
    return (min(found), max(found)) if found else None


def ends(e: Estimate) -> tuple[float, float]:
    """The interval's, else the mean twice."""
    mean = e.mean or 0.0
    return (mean if e.low is None else e.low, mean if e.high is None else e.high)


def stretch(panel: Axes, values: Iterable[float]) -> None:
    """A y axis fit for these values: logarithmic with plain numbers at 1, 2 and 5, else straight with few ticks."""
    if logarithmic(values):
        panel.set_yscale("log")
        panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        panel.yaxis.set_minor_formatter(NullFormatter())
    else:
        panel.locator_params(axis="y", nbins=5)


def logarithmic(values: Iterable[float]) -> bool:
    """Whether the values are all positive and span more than a factor of eight."""
    found = list(values)
    return bool(found) and min(found) > 0 and max(found) > LOG_FROM * min(found)
