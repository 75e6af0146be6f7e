"""Figures of estimates as dots with intervals: the matrix, and the paired differences with every seed."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ablate.analysis import numbers
from ablate.analysis.phrasing import quoted
from ablate.analysis.statistics import Estimate
from ablate.analysis.study_analysis import Analysis, MatrixRow
from ablate.report import dot_plot, scales, style, svg
from ablate.report.tables import named

PANEL_IN = 0.62
SEEDS_IN = 0.1  # the seeds' dots are this far below their mean
BY_CHANCE = "95 % intervals over seeds; without a difference, 1 in 20 excludes 0 by chance"


def matrix(analysis: Analysis, marks: style.Marks) -> Figure | None:
    """One panel for each metric, one row for each arm: mean over seeds and 95 % interval."""
    rows = [row for row in analysis.matrix if any(e.n for e in row.scores.values())]
    if not rows:
        return None
    labels = [row.label for row in rows]
    positions, height = dot_plot.positions(labels)
    drawing, panels = style.panels(len(analysis.metrics), row_in=PANEL_IN + height)
    for panel, metric in zip(panels, analysis.metrics, strict=True):
        estimates = [row.scores[metric.name] for row in rows]
        focus = [e for e, row in zip(estimates, rows, strict=True) if row.arm in analysis.focus]
        scale = scales.limits(focus, estimates, include_zero=False)
        places = numbers.decimals_for(
            (e for e, row in zip(estimates, rows, strict=True) if not row.reference), coarse=True
        )
        for y, row, each in zip(positions, rows, estimates, strict=True):
            _dot(panel, y, row, each, numbers.score(each, places), marks, scale)
        dot_plot.frame(panel, (labels, positions, height), scale, title=named(metric))
    return drawing


def differences(analysis: Analysis, marks: style.Marks) -> Figure | None:
    """One panel for each metric, one row for each trained arm: difference to the baseline, every seed a small dot."""
    rows = [row for row in analysis.matrix if not row.reference and any(e.difference.n for e in row.effects.values())]
    if not rows:
        return None
    labels = [row.label for row in rows]
    positions, height = dot_plot.positions(labels, SEEDS_IN)
    drawing, panels = style.panels(len(analysis.metrics), base_in=0.15, row_in=PANEL_IN + 0.1 + height)
    baseline = analysis.labels[analysis.baseline]
    same = "data set" if analysis.across else "level"
    level = f", same {same}" if len(set(analysis.baselines.values())) > 1 else ""
    for panel, metric in zip(panels, analysis.metrics, strict=True):
        estimates = [dot_plot.hull(row.effects[metric.name]) for row in rows]
        focus = [e for e, row in zip(estimates, rows, strict=True) if row.arm in analysis.focus]
        scale = scales.limits(focus, estimates, include_zero=True)
        panel.axvline(0, color="black", linewidth=0.8, zorder=1)
        for y, row in zip(positions, rows, strict=True):
            effect = row.effects[metric.name]
            inside = {seed: v for seed, v in effect.by_seed.items() if scale[0] <= v <= scale[1]}
            places = analysis.places[metric.name]
            tips = [f"{row.label}, seed {seed}: {numbers.signed(v, places)}" for seed, v in inside.items()]
            panel.scatter(list(inside.values()), [y + SEEDS_IN] * len(inside), s=7, color=marks.colour(row.arm),
                          alpha=0.6, linewidths=0, gid=svg.tag(arm=marks.family(row.arm), tips=tips))  # fmt: skip
            _dot(panel, y, row, effect.difference, numbers.difference(effect.difference, places), marks, scale)
        better = "left" if metric.direction == "lower" else "right"
        title = f"{named(metric)} minus\nthat of {quoted(baseline)}{level} ({better} is better)"
        dot_plot.frame(panel, (labels, positions, height), scale, title=title)
    if any(e.difference.excludes_zero for row in rows for e in row.effects.values()):
        drawing.supxlabel(BY_CHANCE, fontsize=6.0, color=style.GREY)
    return drawing


def _dot(
    panel: Axes,
    y: float,
    row: MatrixRow,
    each: Estimate,
    text: str,
    marks: style.Marks,
    scale: tuple[float, float],
) -> None:
    """Mean and interval, which `text` says; beyond the scale the text itself."""
    gid = svg.tag(arm=marks.family(row.arm), tip=f"{row.label}: {text}")
    colour = style.GREY if row.reference else marks.colour(row.arm)
    if each.mean is None:
        panel.annotate("no finished run", (0.5, y), xycoords=("axes fraction", "data"), color=style.GREY,
                       ha="center", va="center", fontsize=6.5)  # fmt: skip
    elif not scale[0] <= each.mean <= scale[1]:
        _off_scale(panel, y, each.mean, text, scale, gid)
    else:
        if each.low is not None and each.high is not None:
            panel.plot([each.low, each.high], [y, y], color=colour, linewidth=1.6, solid_capstyle="butt", gid=gid)
        panel.plot(each.mean, y, marker=marks.marker(row.arm), markersize=5, color=colour, linestyle="none",
                   markerfacecolor="white" if row.reference else colour, gid=gid)  # fmt: skip


def _off_scale(panel: Axes, y: float, value: float, text: str, scale: tuple[float, float], gid: str) -> None:
    """The numbers with an arrow at the edge, so that an arm far from the others does not compress the scale."""
    right = value > scale[1]
    panel.annotate(
        f"{text} →" if right else f"← {text}",
        (0.99 if right else 0.01, y),
        xycoords=("axes fraction", "data"),
        ha="right" if right else "left",
        va="center",
        color=style.GREY,
        fontsize=6.5,
        gid=gid,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},  # hides lines behind the number
    )
