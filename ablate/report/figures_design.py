"""What each part of a design does, as dots with intervals: main effects, Shapley values, interactions of two parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ablate.analysis import numbers
from ablate.analysis.design import DesignEffects
from ablate.analysis.statistics import Effect
from ablate.report import dot_plot, scales, style, svg
from ablate.report.tables import named

SEEDS_IN = 0.08  # the seeds' dots are this far below their mean
WRAP = 24  # characters of a label on one line
MOST_PAIRS = 15  # interactions in one figure; the table has them all
MAIN, SHAPLEY, PAIR = ("o", "#0072B2"), ("D", "#E69F00"), ("s", style.GREY)


@dataclass(frozen=True)
class _Row:
    label: str
    effect: Effect
    mark: tuple[str, str]  # marker and colour
    first: bool  # of a group, with a gap above


def design(effects: DesignEffects) -> Figure | None:
    """One row for every main effect, Shapley value and interaction, each with its interval and every seed a dot."""
    rows = [row for row in _rows(effects) if row.effect.difference.n]
    if not rows:
        return None
    labels, groups = [row.label for row in rows], [index for index, row in enumerate(rows) if row.first and index]
    positions, height = dot_plot.positions(labels, SEEDS_IN, gaps=groups, wrap=WRAP)
    drawing, (panel,) = style.panels(1, row_in=0.75 + height)
    scale = scales.limits([dot_plot.hull(row.effect) for row in rows], [], include_zero=True)
    panel.axvline(0, color="black", linewidth=0.8, zorder=1)
    for y, row in zip(positions, rows, strict=True):
        _draw(panel, y, row, effects.places)
    better = "left" if effects.metric.direction == "lower" else "right"
    title = f"{named(effects.metric)},\nchange by a part ({better} is better)"
    dot_plot.frame(panel, (labels, positions, height), scale, title=title, wrap=WRAP)
    _legend(drawing, effects, rows)
    return drawing


def _rows(effects: DesignEffects) -> list[_Row]:
    mains = [_Row(part.label, part.effect, MAIN, index == 0) for index, part in enumerate(effects.parts)]
    values = [(part.label, part.shapley) for part in effects.parts if part.shapley is not None]
    shapley = [_Row(label, value, SHAPLEY, index == 0) for index, (label, value) in enumerate(values)]
    pairs = [each for each in effects.interactions if len(each.parts) == 2][:MOST_PAIRS]
    together = [_Row(each.name, each.effect, PAIR, index == 0) for index, each in enumerate(pairs)]
    return [*mains, *shapley, *together]


def _draw(panel: Axes, y: float, row: _Row, places: int) -> None:
    marker, colour = row.mark
    gap, by_seed = row.effect.difference, row.effect.by_seed
    tips = [f"{row.label}, seed {seed}: {numbers.signed(value, places)}" for seed, value in by_seed.items()]
    panel.scatter(list(by_seed.values()), [y + SEEDS_IN] * len(by_seed), s=6, color=colour, alpha=0.6, linewidths=0,
                  gid=svg.tag(tips=tips))  # fmt: skip
    gid = svg.tag(tip=f"{row.label}: {numbers.difference(gap, places)}")
    if gap.low is not None and gap.high is not None:
        panel.plot([gap.low, gap.high], [y, y], color=colour, linewidth=1.6, solid_capstyle="butt", gid=gid)
    face = colour if gap.excludes_zero else "white"
    panel.plot(gap.mean or 0.0, y, marker=marker, markersize=4.5, color=colour, linestyle="none", markerfacecolor=face,
               gid=gid)  # fmt: skip


def _legend(drawing: Figure, effects: DesignEffects, rows: Sequence[_Row]) -> None:
    """Which mark is what; none where all rows are of one kind."""
    names = {MAIN: "main effect", SHAPLEY: "Shapley value", PAIR: "interaction"}
    used = [mark for mark in names if any(row.mark == mark for row in rows)]
    if len(used) > 1:
        handles = [Line2D([], [], marker=m, color=c, linestyle="none", markersize=4.5) for m, c in used]
        drawing.legend(handles, [names[mark] for mark in used], loc="outside upper center", ncols=3, columnspacing=1.0)
