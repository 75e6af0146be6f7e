"""A metric at the levels of a study's factor, and below it the difference to the baseline. Draws a FactorCurve."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from ablate.analysis import numbers
from ablate.analysis.factor import FactorCurve, FactorLine, FactorSeries
from ablate.analysis.phrasing import measure, measures, quoted
from ablate.analysis.statistics import Estimate
from ablate.report import scales, style, svg
from ablate.report.tables import named

ROOM_ABOVE = 0.2  # of the axis, for the names of what is off the scale
LINE_DASHES = ((0, (1, 1.5)), (0, (4, 2)), (0, (6, 2, 1, 2)), (0, (2, 2)))


def factor(curve: FactorCurve, marks: style.Marks) -> Figure | None:
    """Above: a line for each family with its 95 % interval as a band, horizontal lines for other arms. Below:
    differences."""
    with_scores = [each for each in curve.series if any(e.n for e in each.scores)]
    series = sorted(with_scores, key=lambda each: each.reference)
    if not series or series[0].reference:
        return None
    compared = [each for each in series if not each.reference and any(e.difference.n for e in each.effects)]
    entries = len(series) + len(curve.lines)
    drawing, panels = style.panels(
        2 if compared else 1, base_in=0.9 + 0.14 * math.ceil(entries / 2), row_in=1.35, sharex=True
    )
    x, logarithmic = _positions(curve)
    _scores(panels[0], curve, series, x, marks)
    if compared:
        _differences(panels[1], curve, compared, x, marks)
    _axis(panels[-1], curve, x, logarithmic=logarithmic)
    style.legend_above(drawing, panels[0])
    return drawing


def _positions(curve: FactorCurve) -> tuple[np.ndarray, bool]:
    """Positions of the levels, and whether the axis is logarithmic: when numeric levels span a factor above eight.

    Levels that are not all numbers are spread evenly.
    """
    if curve.positions is None:
        return np.arange(len(curve.levels), dtype=float), False
    return np.array(curve.positions, dtype=float), scales.logarithmic(curve.positions)


def _scores(
    panel: Axes,
    curve: FactorCurve,
    series: Sequence[FactorSeries],
    x: np.ndarray,
    marks: style.Marks,
) -> None:
    """The arms set the limits of the axis; references outside them are named with their values."""
    others = [*(line.score for line in curve.lines), *(e for each in series if each.reference for e in each.scores)]
    arms = [e for each in series if not each.reference for e in each.scores]
    limits = scales.limits(arms, others, include_zero=False)
    absent = []
    for each in series:
        means = [e.mean for e in each.scores if e.mean is not None]
        if not each.reference or (limits[0] <= min(means) and max(means) <= limits[1]):
            _line(panel, curve, x, each.scores, each, marks, curve.score_places)
        else:
            absent.append(f"{each.label} {measures(means, curve.metric, curve.score_places)}")
    for index, line in enumerate(curve.lines):
        if line.score.mean is not None and limits[0] <= line.score.mean <= limits[1]:
            _level(panel, line, index)
        elif line.score.mean is not None:
            absent.append(f"{line.label} {measure(line.score.mean, curve.metric, curve.score_places)}")
    low, high = limits
    panel.set_ylim(low, high + (ROOM_ABOVE * (high - low) if absent else 0.0))
    _finish(panel, named(curve.metric))
    if absent:
        panel.annotate(style.wrap(f"off the scale: {', '.join(absent)}", 60), (0, 1), xycoords="axes fraction",
                       fontsize=6, color=style.GREY, va="top", xytext=(2, 0), textcoords="offset points")  # fmt: skip


def _differences(
    panel: Axes,
    curve: FactorCurve,
    series: Sequence[FactorSeries],
    x: np.ndarray,
    marks: style.Marks,
) -> None:
    panel.axhline(0, color="black", linewidth=0.8, zorder=1)
    for each in series:
        _line(panel, curve, x, [e.difference for e in each.effects], each, marks, curve.places, sign=True)
    labels = [s.label for s in curve.series if s.baseline] + [line.label for line in curve.lines if line.baseline]
    baseline = quoted(labels[0]) if labels else "the baseline"
    better = "below" if curve.metric.direction == "lower" else "above"
    unit = numbers.in_brackets(curve.metric.unit)
    _finish(panel, style.wrap(f"Difference to {baseline}{unit}; {better} 0 is better", 54))


def _line(
    panel: Axes,
    curve: FactorCurve,
    x: np.ndarray,
    estimates: Sequence[Estimate],
    each: FactorSeries,
    marks: style.Marks,
    places: int,
    *,
    sign: bool = False,
) -> None:
    """A hollow mark at each level, so that one on another is seen; a band for the intervals."""
    mean, low, high = scales.band(estimates)
    colour = style.GREY if each.reference else marks.colour(each.family)
    gid = svg.tag(arm=each.family)
    panel.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0, zorder=1.5, gid=gid)
    panel.vlines(x, low, high, color=colour, linewidth=0.8, zorder=2, gid=gid)
    texts = [
        numbers.difference(e, places) if sign else numbers.score(e, places) for e in estimates if e.mean is not None
    ]
    levels = [text for text, e in zip(curve.level_labels, estimates, strict=True) if e.mean is not None]
    tips = [f"{each.label}, {level}: {text}" for level, text in zip(levels, texts, strict=True)]
    line = marks.line(each.family) | {"color": colour}
    panel.plot(x, mean, **line, markersize=4.5, markerfacecolor="none", linewidth=1.1, label=each.label, zorder=3,
               gid=svg.tag(arm=each.family, tips=["", *tips]))  # fmt: skip


def _level(panel: Axes, line: FactorLine, index: int) -> None:
    """An arm or reference outside the factor: the same at every level."""
    low, high = scales.ends(line.score)
    panel.axhspan(low, high, color=style.GREY, alpha=0.12, linewidth=0, zorder=0)
    panel.axhline(line.score.mean or 0.0, color=style.GREY, linewidth=0.9, zorder=1, label=line.label,
                  linestyle=LINE_DASHES[index % len(LINE_DASHES)])  # fmt: skip


def _axis(panel: Axes, curve: FactorCurve, x: np.ndarray, *, logarithmic: bool) -> None:
    if logarithmic:
        panel.set_xscale("log")
        panel.xaxis.set_minor_formatter(NullFormatter())
    panel.xaxis.set_major_locator(FixedLocator(x.tolist()))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xticks(x, [style.wrap(text, 12) for text in curve.level_labels])
    panel.set_xlabel(curve.label)


def _finish(panel: Axes, title: str) -> None:
    panel.locator_params(axis="y", nbins=5)
    style.grid(panel)
    panel.set_title(title, loc="left")
