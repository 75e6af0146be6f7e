"""Figures of lines with bands: learning curves, and scores by a condition on a straight or a polar axis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.projections.polar import PolarAxes
from matplotlib.ticker import MaxNLocator

from ablate.analysis import numbers
from ablate.analysis.conditions import ConditionTable
from ablate.analysis.study_analysis import Analysis
from ablate.report import scales, style, svg
from ablate.report.tables import named

MAX_LINES = 4  # more are hard to distinguish; the tables have every arm
Band = tuple[np.ndarray, np.ndarray, np.ndarray]  # mean, low and high of every bin

DODGE = 0.6  # share of a name's width on the axis that its arms, side by side, take
MAX_UPRIGHT = 12  # with more names along an axis, their labels are rotated
MAX_LARGE = 2  # with more polar panels, they are arranged in two columns


def drawn(analysis: Analysis) -> list[str]:
    """The arms that line figures show, at most four: those the answer is about, then others in study order.

    Where the answer is about more than four arms at levels of a factor, each family's arms at the first and the last
    level are preferred, or at the last level alone if those are too many.
    """
    arms = [row.arm for row in analysis.matrix if not row.reference]
    preferred = list(analysis.focus)
    if analysis.factor and len(preferred) > MAX_LINES:
        series = [each.arms for each in analysis.factor[0].series if each.arms]
        preferred = [arm for arms_of_family in series for arm in (arms_of_family[0], arms_of_family[-1])]
        if len(preferred) > MAX_LINES:
            preferred = [arms_of_family[-1] for arms_of_family in series]
    chosen = list(dict.fromkeys(chain(preferred, arms)))[:MAX_LINES]
    return [arm for arm in arms if arm in chosen]


def learning_curves(analysis: Analysis, marks: style.Marks) -> Figure | None:
    """One panel for each score: mean over seeds, band from the lowest to the highest seed."""
    arms = drawn(analysis)
    panels = [panel for panel in analysis.curves if any(arm in panel.arms for arm in arms)]
    if not panels:
        return None
    drawing, axes = style.panels(len(panels), base_in=0.5, row_in=1.35, sharex=True)
    for axis, panel in zip(axes, panels, strict=True):
        shown = [arm for arm in arms if arm in panel.arms]
        for arm in shown:
            _curve(axis, panel.arms[arm], arm, analysis.labels[arm], marks)
        scales.stretch(axis, [end for arm in shown for end in (panel.arms[arm].low.min(), panel.arms[arm].high.max())])
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
        style.grid(axis)
        axis.set_title(f"{numbers.capital(panel.label)}{numbers.in_brackets(panel.unit)}", loc="left")
    axes[-1].set_xlabel("epoch" if analysis.trainer == "built-in" else "epoch or step")
    style.legend_above(drawing, axes[0])
    return drawing


def by_condition(tables: Sequence[ConditionTable], analysis: Analysis, marks: style.Marks) -> Figure | None:
    """One panel for each metric along one condition: mean over seeds, band = 95 % interval."""
    arms = drawn(analysis)
    bands = [{arm: scales.band(table.scores[arm]) for arm in arms if arm in table.scores} for table in tables]
    if not any(bands):
        return None
    # a radius starts at 0, so that a metric with a negative mean is drawn on straight axes
    negative = any((mean < 0).any() for panel in bands for mean, _, _ in panel.values())
    round_ = tables[0].bins.period is not None and not negative
    drawing, axes = (
        _round_panels(len(tables)) if round_ else style.panels(len(tables), base_in=0.7, row_in=1.35, sharex=True)
    )
    for axis, table, panel in zip(axes, tables, bands, strict=True):
        if round_:
            _round_lines(axis, table, panel, analysis, marks)
        elif table.bins.categorical:
            _dots(axis, table, panel, analysis, marks)
        else:
            for arm, band in panel.items():
                _line(axis, np.array(table.bins.centres), band, arm, table, analysis, marks)
        low, high = _limits(list(panel.values()))
        axis.set_ylim(0 if round_ else low, high)
        if round_:
            _round_axis(axis, table, small=len(tables) > MAX_LARGE)
        else:
            _straight_axis(axis, table, last=table is tables[-1])
    style.legend_above(drawing, axes[0])
    return drawing


def _round_panels(count: int) -> tuple[Figure, list[Axes]]:
    """Polar axes in one column, or in two columns of smaller panels when there are many."""
    columns, row_in = (1, 2.7) if count <= MAX_LARGE else (2, 2.0)
    return style.panels(count, base_in=0.4, row_in=row_in, columns=columns, subplot_kw={"projection": "polar"})


def _curve(axis: Axes, table: pd.DataFrame, arm: str, label: str, marks: style.Marks) -> None:
    family, every = marks.family(arm), max(1, len(table) // 6)
    axis.fill_between(table.epoch, table.low, table.high, color=marks.colour(arm), alpha=0.18, linewidth=0,
                      gid=svg.tag(arm=family, tip=label))  # fmt: skip
    tips = [
        f"{label}, {row.epoch:g}: {row.mean:.4g} ({row.low:.4g} to {row.high:.4g})"
        for row in table[::every].itertuples()
    ]
    axis.plot(table.epoch, table["mean"], **marks.line(arm), linewidth=1.3, label=label, markersize=3,
              markevery=every, gid=svg.tag(arm=family, tips=[label, *tips]))  # fmt: skip


def _limits(bands: Sequence[Band]) -> tuple[float, float]:
    """Limits of the axis of scores: the bands fit, but beyond the means there is at most the means' own span.

    With few seeds or small bins the intervals are so wide that the means would otherwise look like a flat line.
    """
    means, lows, highs = (np.array(values) for values in zip(*bands, strict=True))
    if np.isnan(means).all():
        return 0.0, 1.0
    span = max(float(np.nanmax(means) - np.nanmin(means)), 0.25 * float(np.nanmax(np.abs(means)))) or 1.0
    low = max(float(np.nanmin(lows)), float(np.nanmin(means)) - span)
    high = min(float(np.nanmax(highs)), float(np.nanmax(means)) + span)
    return low - 0.05 * span, high + 0.05 * span


def _dots(axis: Axes, table: ConditionTable, bands: Mapping[str, Band], analysis: Analysis, marks: style.Marks) -> None:
    """Points side by side at each name, without a connecting line: names have no order."""
    for index, (arm, (mean, low, high)) in enumerate(bands.items()):
        x = np.array(table.bins.centres) + DODGE * (index - (len(bands) - 1) / 2) / len(bands)
        colour, family = marks.colour(arm), marks.family(arm)
        axis.vlines(x, low, high, color=colour, linewidth=0.9, gid=svg.tag(arm=family))
        axis.plot(x, mean, color=colour, linestyle="none", marker=marks.marker(arm), markersize=3,
                  label=analysis.labels[arm], gid=svg.tag(arm=family, tips=_tips(table, arm, analysis)))  # fmt: skip


def _round_lines(
    axis: Axes, table: ConditionTable, bands: Mapping[str, Band], analysis: Analysis, marks: style.Marks
) -> None:
    """Closed lines: the first bin is repeated at the end."""
    angle = 2 * np.pi * np.array(table.bins.centres) / (table.bins.period or 1.0)
    for arm, band in bands.items():
        mean, low, high = (np.append(values, values[0]) for values in band)
        _line(axis, np.append(angle, 2 * np.pi), (mean, np.maximum(low, 0.0), high), arm, table, analysis, marks)


def _line(
    axis: Axes, x: np.ndarray, band: Band, arm: str, table: ConditionTable, analysis: Analysis, marks: style.Marks
) -> None:
    mean, low, high = band
    axis.fill_between(x, low, high, color=marks.colour(arm), alpha=0.18, linewidth=0,
                      gid=svg.tag(arm=marks.family(arm)))  # fmt: skip
    tips = ["", *_tips(table, arm, analysis)]  # the line itself has none
    axis.plot(x, mean, **marks.line(arm), linewidth=1.3, markersize=3, label=analysis.labels[arm],
              gid=svg.tag(arm=marks.family(arm), tips=tips))  # fmt: skip


def _tips(table: ConditionTable, arm: str, analysis: Analysis) -> list[str]:
    """What to say of each mark, one for each bin that has a score."""
    places = numbers.decimals_for(table.scores[arm], coarse=True)
    bins = zip(table.bins.labels, table.scores[arm], strict=True)
    return [f"{analysis.labels[arm]}, {name}: {numbers.score(e, places)}" for name, e in bins if e.mean is not None]


def _straight_axis(axis: Axes, table: ConditionTable, *, last: bool) -> None:
    axis.set_title(named(table.metric), loc="left")
    axis.set_xlabel(table.label if last else "")
    axis.locator_params(axis="y", nbins=5)
    if table.bins.values:
        axis.set_xticks(table.bins.centres, table.bins.labels)
    if table.bins.categorical:
        axis.set_xlim(-0.5, len(table.bins.labels) - 0.5)
        if len(table.bins.labels) > MAX_UPRIGHT:
            axis.tick_params(axis="x", labelrotation=90, labelsize=5.5)
    style.grid(axis)


def _round_axis(axis: Axes, table: ConditionTable, *, small: bool) -> None:
    """0 at the top and clockwise, like a compass; the radius starts at 0."""
    assert isinstance(axis, PolarAxes)
    period = table.bins.period or 1.0
    axis.set_theta_zero_location("N")
    axis.set_theta_direction(-1)
    sign = "°" if period == 360 else ""
    ticks = [period * i / (4 if small else 8) for i in range(4 if small else 8)]
    axis.set_xticks([2 * math.pi * t / period for t in ticks], [f"{t:g}{sign}" for t in ticks])
    axis.set_rlabel_position(22.5)
    axis.set_yticks(
        [r for r in MaxNLocator(nbins=3 if small else 4).tick_values(0, axis.get_rmax()) if 0 < r < axis.get_rmax()]
    )
    for label in axis.get_yticklabels():
        label.set_bbox({"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.6})
    axis.tick_params(axis="x", pad=-1)
    axis.tick_params(axis="y", labelsize=6.5)
    axis.grid(color=style.GRID, linewidth=0.5)
    axis.spines["polar"].set_visible(False)
    condition = numbers.in_text(table.label).partition(" (")[0]
    title = f"{named(table.metric)} by {condition}"
    axis.set_title(style.wrap(title, 24) if small else title, loc="center" if small else "left", pad=9)
