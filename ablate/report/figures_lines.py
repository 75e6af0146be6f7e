"""Figures of lines with bands: learning curves, and scores by a condition on a straight or a polar axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.projections.polar import PolarAxes
from matplotlib.ticker import MaxNLocator

from ablate.analysis import numbers
from ablate.analysis.conditions import ConditionTable
from ablate.analysis.curves import CurvePanel
from ablate.analysis.study_analysis import Analysis
from ablate.report import scales, style
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
    drawing = style.figure(0.5 + 1.35 * len(panels))
    axes = drawing.subplots(len(panels), 1, squeeze=False, sharex=True)[:, 0]
    for index, (axis, panel) in enumerate(zip(axes, panels, strict=True)):
        for arm in arms:
            if arm in panel.arms:
                _curve(axis, panel, arm, analysis, marks)
        _curve_scale(axis, panel, arms)
        axis.set_title(f"{numbers.capital(panel.label)}{numbers.in_brackets(panel.unit)}", loc="left")
        if index == len(panels) - 1:
            axis.set_xlabel("epoch")
    style.legend_above(drawing, axes[0])
    return drawing


def by_condition(tables: Sequence[ConditionTable], analysis: Analysis, marks: style.Marks) -> Figure | None:
    """One panel for each metric along one condition: mean over seeds, band = 95 % interval."""
    arms = [arm for arm in drawn(analysis) if any(arm in table.scores for table in tables)]
    if not arms:
        return None
    round_ = tables[0].bins.period is not None and not any(_negative(table, arms) for table in tables)
    drawing, axes = _round_panels(len(tables)) if round_ else _straight_panels(len(tables))
    for axis, table in zip(axes, tables, strict=True):
        for arm in arms:
            if arm in table.scores:
                (_round_line if round_ else _straight_line)(axis, table, arm, analysis, marks)
        low, high = _limits(table, arms)
        axis.set_ylim(0 if round_ else low, high)
        if round_:
            _round_axis(axis, table, small=len(tables) > MAX_LARGE)
        else:
            _straight_axis(axis, table, last=table is tables[-1])
    style.legend_above(drawing, axes[0])
    return drawing


def _negative(table: ConditionTable, arms: Sequence[str]) -> bool:
    """Whether any mean is negative: a radius starts at 0, so such a metric is not drawn on a polar axis."""
    return any((e.mean or 0.0) < 0 for arm in arms for e in table.scores.get(arm, ()))


def _straight_panels(count: int) -> tuple[Figure, list[Axes]]:
    drawing = style.figure(0.7 + 1.35 * count)
    return drawing, list(drawing.subplots(count, 1, squeeze=False, sharex=True)[:, 0])


def _round_panels(count: int) -> tuple[Figure, list[Axes]]:
    """Polar axes in one column, or in two columns of smaller panels when there are many."""
    columns = 1 if count <= MAX_LARGE else 2
    rows = math.ceil(count / columns)
    drawing = style.figure(0.4 + (2.7 if columns == 1 else 2.0) * rows)
    axes = drawing.subplots(rows, columns, squeeze=False, subplot_kw={"projection": "polar"}).ravel()
    for unused in axes[count:]:
        unused.remove()
    return drawing, list(axes[:count])


def _curve(axis: Axes, panel: CurvePanel, arm: str, analysis: Analysis, marks: style.Marks) -> None:
    table = panel.arms[arm]
    axis.fill_between(table.epoch, table.low, table.high, color=marks.colour(arm), alpha=0.18, linewidth=0)
    axis.plot(table.epoch, table["mean"], color=marks.colour(arm), linestyle=marks.dashes(arm), linewidth=1.3,
              label=analysis.labels[arm], marker=marks.marker(arm), markersize=3,
              markevery=max(1, len(table) // 6))  # fmt: skip


def _curve_scale(axis: Axes, panel: CurvePanel, arms: Sequence[str]) -> None:
    tables = [panel.arms[arm] for arm in arms if arm in panel.arms]
    low, high = min(t.low.min() for t in tables), max(t.high.max() for t in tables)
    scales.stretch(axis, (low, high))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    axis.grid(axis="y", color=style.GRID, linewidth=0.5)
    axis.set_axisbelow(True)


def _columns(table: ConditionTable, arm: str) -> Band:
    """Mean, low and high of every bin; NaN, a gap in the line, where there is no estimate."""
    estimates = table.scores[arm]
    means = np.array([math.nan if e.mean is None else e.mean for e in estimates])
    lows = np.array([m if e.low is None else e.low for e, m in zip(estimates, means, strict=True)])
    highs = np.array([m if e.high is None else e.high for e, m in zip(estimates, means, strict=True)])
    return means, lows, highs


def _limits(table: ConditionTable, arms: Sequence[str]) -> tuple[float, float]:
    """Limits of the axis of scores: the bands fit, but beyond the means there is at most the means' own span.

    With few seeds or small bins the intervals are so wide that the means would otherwise look like a flat line.
    """
    bands = np.array([_columns(table, arm) for arm in arms if arm in table.scores])
    means, lows, highs = bands[:, 0], bands[:, 1], bands[:, 2]
    if np.isnan(means).all():
        return 0.0, 1.0
    span = max(float(np.nanmax(means) - np.nanmin(means)), 0.25 * float(np.nanmax(np.abs(means)))) or 1.0
    low = max(float(np.nanmin(lows)), float(np.nanmin(means)) - span)
    high = min(float(np.nanmax(highs)), float(np.nanmax(means)) + span)
    return low - 0.05 * span, high + 0.05 * span


def _straight_line(axis: Axes, table: ConditionTable, arm: str, analysis: Analysis, marks: style.Marks) -> None:
    x = np.array(table.bins.centres)
    if table.bins.categorical:
        arms = [each for each in drawn(analysis) if each in table.scores]
        _dots(axis, x + _beside(arm, arms), _columns(table, arm), arm, analysis, marks)
    else:
        _line(axis, x, _columns(table, arm), arm, analysis, marks)


def _beside(arm: str, arms: Sequence[str]) -> float:
    """Offset of an arm from the centre of a name, whose width on the axis is 1."""
    return DODGE * (arms.index(arm) - (len(arms) - 1) / 2) / len(arms)


def _dots(axis: Axes, x: np.ndarray, band: Band, arm: str, analysis: Analysis, marks: style.Marks) -> None:
    """Points without a connecting line: names have no order."""
    mean, low, high = band
    axis.errorbar(x, mean, yerr=[mean - low, high - mean], color=marks.colour(arm), linestyle="none", elinewidth=0.9,
                  marker=marks.marker(arm), markersize=3, label=analysis.labels[arm])  # fmt: skip


def _round_line(axis: Axes, table: ConditionTable, arm: str, analysis: Analysis, marks: style.Marks) -> None:
    """A closed line: the first bin is repeated at the end."""
    angle = 2 * np.pi * np.array(table.bins.centres) / (table.bins.period or 1.0)
    mean, low, high = (np.append(values, values[0]) for values in _columns(table, arm))
    _line(axis, np.append(angle, 2 * np.pi), (mean, low, high), arm, analysis, marks)


def _line(axis: Axes, x: np.ndarray, band: Band, arm: str, analysis: Analysis, marks: style.Marks) -> None:
    mean, low, high = band
    colour = marks.colour(arm)
    axis.fill_between(x, np.maximum(low, 0.0) if isinstance(axis, PolarAxes) else low, high, color=colour, alpha=0.18,
                      linewidth=0)  # fmt: skip
    axis.plot(x, mean, color=colour, linestyle=marks.dashes(arm), linewidth=1.3, marker=marks.marker(arm),
              markersize=3, label=analysis.labels[arm])  # fmt: skip


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
    axis.grid(axis="y", color=style.GRID, linewidth=0.5)
    axis.set_axisbelow(True)


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
