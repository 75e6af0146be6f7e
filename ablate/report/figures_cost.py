"""Scores against costs: a mark for each arm, one panel for each cost. Draws CostPoints; computes nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from ablate.analysis import numbers
from ablate.analysis.costs import COSTS, CostPoint
from ablate.analysis.phrasing import measures
from ablate.analysis.records import MetricInfo
from ablate.report import scales, style, svg
from ablate.report.tables import named

PANEL_IN, LINE_IN = 1.85, 0.1
NEAR = 0.03  # of either axis: marks closer than this hide each other, unless the later one is a larger, hollow one
SAME = 0.01  # costs that span less than this on a log scale look the same, and the axis gets more room
SIZES = (5.0, 7.0, 9.0, 11.0)  # points: of a mark, and of those around it
NO_PARAMETERS = "none"  # tick label of 0 parameters, for which a logarithmic axis has no position
PER_LINE = 60


def cost(
    points: Sequence[CostPoint], metric: MetricInfo, marks: style.Marks, families: Mapping[str, str]
) -> Figure | None:
    """One panel for each cost, on a logarithmic axis: mean over seeds with its 95 % interval, where it was measured.

    A mark on another is a larger, hollow one around it. References are grey. `families`: see `figures.families`; an arm
    at several levels is one entry of the legend.
    """
    near = [point.scores[metric.name] for point in points if not point.reference]
    limits = scales.limits(near, [point.scores[metric.name] for point in points], include_zero=False)
    inside = [p for p in points if limits[0] <= _mean(p, metric) <= limits[1]]
    shown = [key for key in COSTS if sum(bool(point.costs[key]) for point in inside) > 1]
    if not shown:
        return None
    names = {point.arm: families.get(marks.family(point.arm), point.label) for point in points}
    entries = len({names[point.arm] for point in inside})
    drawing, panels = style.panels(len(shown), base_in=LINE_IN * (3 + entries), row_in=PANEL_IN, sharey=True)
    for panel, key in zip(panels, shown, strict=True):
        _panel(panel, key, inside, metric, limits[1] - limits[0], marks, names)
        panel.set_ylim(*limits)
    outside = _outside([point for point in points if point not in inside], metric, names)
    if outside:
        drawing.supxlabel(style.wrap(f"Off the scale: {', '.join(outside)}", PER_LINE), fontsize=6.5, color=style.GREY)
    style.legend_above(drawing, *panels)
    return drawing


def _outside(points: Sequence[CostPoint], metric: MetricInfo, names: Mapping[str, str]) -> list[str]:
    """What the figure has no room for: arms with their intervals, references from their lowest to their highest."""
    texts, means = [], dict[str, list[float]]()
    for point in points:
        score = point.scores[metric.name]
        if point.reference or score.half_width is None:
            means.setdefault(names[point.arm], []).append(_mean(point, metric))
        else:
            places = numbers.decimals_for([score], coarse=True)
            texts.append(f"{point.label} {numbers.with_unit(numbers.score(score, places), metric.unit)}")
    return [*texts, *(f"{name} {measures(values, metric, 1)}" for name, values in means.items())]


def _mean(point: CostPoint, metric: MetricInfo) -> float:
    mean = point.scores[metric.name].mean
    return math.nan if mean is None else mean


def _panel(
    panel: Axes,
    key: str,
    points: Sequence[CostPoint],
    metric: MetricInfo,
    span: float,
    marks: style.Marks,
    names: Mapping[str, str],
) -> None:
    costs = {point.arm: value for point in points if (value := point.costs[key]) is not None}
    above_zero = [value for value in costs.values() if value]
    zero_position = min(above_zero) / 2.5 if above_zero and 0 in costs.values() else None
    positions = {arm: position for arm, value in costs.items() if (position := value or zero_position)}
    reach = max(math.log(max(positions.values()) / min(positions.values())), SAME)
    shown: list[tuple[float, float]] = []
    for point in points:
        if point.arm in positions:
            here = math.log(positions[point.arm]) / reach, _mean(point, metric) / span
            around = sum(max(abs(here[0] - x), abs(here[1] - y)) < NEAR for x, y in shown)
            shown.append(here)
            _mark(panel, positions[point.arm], point, metric, marks, around, names[point.arm])
    _scale(panel, list(positions.values()), zero_position)
    panel.set_xlabel(COSTS[key])
    panel.set_title(named(metric), loc="left")


def _mark(
    panel: Axes, x: float, point: CostPoint, metric: MetricInfo, marks: style.Marks, around: int, name: str
) -> None:
    """`around`: how many marks are there already; `name`: of its entry in the legend."""
    score, colour = point.scores[metric.name], style.GREY if point.reference else marks.colour(point.arm)
    places = numbers.decimals_for([score], coarse=True)
    gid = svg.tag(arm=marks.family(point.arm), tip=f"{point.label}: {numbers.score(score, places)}")
    if score.low is not None and score.high is not None:
        panel.plot([x, x], [score.low, score.high], color=colour, linewidth=1.2, solid_capstyle="butt", zorder=2,
                   gid=gid)  # fmt: skip
    panel.plot(x, _mean(point, metric), marker=marks.marker(point.arm), color=colour, linestyle="none", zorder=3,
               markersize=SIZES[min(around, len(SIZES) - 1)], label=name, gid=gid,
               markerfacecolor="none" if around else "white" if point.reference else colour)  # fmt: skip


def _scale(panel: Axes, positions: Sequence[float], zero_position: float | None) -> None:
    low, high = min(positions), max(positions)
    room = (high / low) ** 0.07 if math.log(high / low) > SAME else 1.35
    panel.set_xscale("log")
    panel.set_xlim(low / room, high * room)
    decades = math.log10(high / low) if high > low else 0.0
    decades_ticks = LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2.5 else (1.0,), numticks=12).tick_values(
        low / room, high * room
    )
    ticks = [t for t in decades_ticks if (zero_position or 0.0) * 1.6 < t and low / room <= t <= high * room]
    texts = [numbers.count(t) if t >= 1000 else f"{t:g}" for t in ticks]
    if zero_position:
        ticks, texts = [zero_position, *ticks], [NO_PARAMETERS, *texts]
    panel.set_xticks(ticks, texts)
    panel.xaxis.set_minor_locator(NullLocator())
    panel.locator_params(axis="y", nbins=5)
    style.grid(panel)
