"""One picture of a study for talks: the question, the verdicts, the scores and the differences. Computes nothing."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ablate.analysis import numbers
from ablate.analysis.records import MetricInfo
from ablate.analysis.short_answer import scope, short_verdicts
from ablate.analysis.statistics import Estimate
from ablate.analysis.study_analysis import Analysis, MatrixRow
from ablate.report import scales, style, tables_results
from ablate.report.tables import named

SIZE_IN, DOTS_PER_IN = (12.8, 7.2), 150  # 1920 × 1080
MOST_ARMS, MOST_METRICS, MOST_CLAIMS = 8, 2, 4
BADGES = {
    "supported": ("#e2f3ea", "#0b5c3d"),
    "refuted": ("#fbe5e1", "#8f2012"),
    "too few seeds": ("#fdf0d5", "#6d4700"),
}
OTHER_BADGE = ("#ececea", "#45453f")
LEFT, RIGHT, LINE = 0.04, 0.96, 0.047  # in shares of the card
SCORES_RIGHT = 0.525
SETTINGS = {
    "figure.constrained_layout.use": False,
    "axes.titlesize": 14.0,
    "axes.labelsize": 12.0,
    "xtick.labelsize": 12.0,
    "ytick.labelsize": 13.0,
}


def save(analysis: Analysis, marks: style.Marks, path: Path) -> None:
    """The card as a PNG of 1920 × 1080 pixels."""
    with style.look(more=SETTINGS):
        style.save(card(analysis, marks), path.with_suffix(""), dots_per_in=DOTS_PER_IN)


def card(analysis: Analysis, marks: style.Marks) -> Figure:
    """Above the question and a line for each hypothesis, below the scores on the left and the differences on the right.

    At most eight arms, those of the answer first, two metrics and four hypotheses; what is left out is counted.
    """
    drawing = Figure(figsize=SIZE_IN)
    y = _question(drawing, analysis)
    y = _claims(drawing, analysis, y - 0.02)
    rows = _rows(analysis)
    metrics = analysis.metrics[:MOST_METRICS]
    _scores(drawing, analysis, rows, metrics, marks, y - 0.05)
    _differences(drawing, analysis, rows, metrics, marks, y - 0.05)
    over = "95 % intervals of scores and figures are over seeds"
    runs = f"{analysis.name} · {len(analysis.seeds)} seeds · {over} · {scope(analysis)}"
    left_out = [
        f"{count} more {what}"
        for count, what in (
            (len([row for row in analysis.matrix if not row.reference]) - len(rows), "arms"),
            (len(analysis.metrics) - len(metrics), "metrics"),
            (len(short_verdicts(analysis)) - MOST_CLAIMS, "hypotheses"),
        )
        if count > 0
    ]
    drawing.text(LEFT, 0.03, "; ".join([runs, *left_out]), fontsize=11, color=style.GREY)
    return drawing


def _question(drawing: Figure, analysis: Analysis) -> float:
    lines = textwrap.wrap(analysis.question, 66) or [analysis.name]
    for index, line in enumerate(lines[:3]):
        drawing.text(LEFT, 0.925 - 0.06 * index, line, fontsize=22, fontweight="bold", va="center")
    return 0.925 - 0.06 * (min(len(lines), 3) - 1) - 0.03


def _claims(drawing: Figure, analysis: Analysis, y: float) -> float:
    verdicts = short_verdicts(analysis)[:MOST_CLAIMS]
    if not verdicts:
        lines = textwrap.wrap(analysis.answers[0] if analysis.answers else "", 120)[:3]
        for index, line in enumerate(lines):
            drawing.text(LEFT, y - LINE * (index + 0.5), line, fontsize=14, va="center")
        return y - LINE * len(lines)
    texts = [f"{verdict.claim}: {verdict.difference}, {verdict.over}" for verdict in verdicts]
    size = max(9.0, 14 * min(1.0, 106 / max(map(len, texts))))  # of all lines, so that the longest fits
    for index, (verdict, text) in enumerate(zip(verdicts, texts, strict=True)):
        _claim(drawing, verdict.badge, text, size, y - (LINE + 0.008) * (index + 0.5))
    return y - (LINE + 0.008) * len(verdicts)


def _claim(drawing: Figure, badge: str, text: str, size: float, y: float) -> None:
    face, ink = BADGES.get(badge, OTHER_BADGE)
    drawing.text(LEFT + 0.055, y, badge, fontsize=13, color=ink, fontweight="bold", ha="center", va="center",
                 bbox={"facecolor": face, "edgecolor": "none", "boxstyle": "round,pad=0.3"})  # fmt: skip
    drawing.text(LEFT + 0.125, y, text, fontsize=size, va="center")


def _rows(analysis: Analysis) -> list[MatrixRow]:
    """The arms, those of the answer first where there are too many."""
    arms = [row for row in analysis.matrix if not row.reference]
    chosen = sorted(arms, key=lambda row: row.arm not in analysis.focus)[:MOST_ARMS]
    return [row for row in arms if row in chosen]


def _scores(
    drawing: Figure,
    analysis: Analysis,
    rows: Sequence[MatrixRow],
    metrics: Sequence[MetricInfo],
    marks: style.Marks,
    top: float,
) -> None:
    table = tables_results.matrix(analysis).table
    columns = [table.header.index(named(metric)) for metric in metrics]
    columns += [table.header.index("Parameters")] if "Parameters" in table.header else []
    texts = dict(zip((row.arm for row in analysis.matrix), table.rows, strict=True))
    height = (top - 0.1) / (len(rows) + 1)
    widths = [0.118] * len(metrics) + [0.085] * (len(columns) - len(metrics))
    rights = [SCORES_RIGHT - sum(widths[index + 1 :]) for index in range(len(columns))]
    for x, column in zip(rights, columns, strict=True):
        header = "\n".join(textwrap.wrap(table.header[column], 12))
        drawing.text(x, top - height * 0.5, header, fontsize=12, ha="right", va="center", color=style.GREY)
    for index, row in enumerate(rows):
        y = top - height * (index + 1.5)
        mark = drawing.add_axes((LEFT, y - 0.012, 0.014, 0.024))
        mark.plot(0, 0, marker=marks.marker(row.arm), color=marks.colour(row.arm), markersize=9)
        mark.axis("off")
        label = style.wrap(row.label, 22)
        drawing.text(LEFT + 0.02, y, label, fontsize=10.5 if "\n" in label else 13, va="center")
        for x, column in zip(rights, columns, strict=True):
            drawing.text(x, y, texts[row.arm][column].text, fontsize=12.5, ha="right", va="center")


def _differences(
    drawing: Figure,
    analysis: Analysis,
    rows: Sequence[MatrixRow],
    metrics: Sequence[MetricInfo],
    marks: style.Marks,
    top: float,
) -> None:
    """A panel for each metric, its rows beside those of the scores."""
    left, gap = 0.56, 0.03
    width = (RIGHT - left - gap * (len(metrics) - 1)) / len(metrics)
    height = (top - 0.1) / (len(rows) + 1)
    for index, metric in enumerate(metrics):
        panel = drawing.add_axes((left + index * (width + gap), 0.1, width, height * len(rows)))
        found = {row.arm: row.effects[metric.name].difference for row in rows if metric.name in row.effects}
        focus = [gap for arm, gap in found.items() if arm in analysis.focus]
        scale = scales.limits(focus, list(found.values()), include_zero=True)
        for place, row in enumerate(rows):
            if row.arm in found and found[row.arm].mean is not None:
                _dot(panel, place, row.arm, found[row.arm], analysis.places[metric.name], marks, scale)
        panel.set_xlim(*scale)
        _finish(panel, metric, analysis, len(rows))


def _dot(
    panel: Axes, y: float, arm: str, each: Estimate, places: int, marks: style.Marks, scale: tuple[float, float]
) -> None:
    """Mean and interval; beyond the scale in numbers."""
    mean = each.mean or 0.0
    if not scale[0] <= mean <= scale[1]:
        right, text = mean > scale[1], numbers.difference(each, places)
        panel.annotate(f"{text} →" if right else f"← {text}", (1 if right else 0, y),
                       xycoords=("axes fraction", "data"), ha="right" if right else "left", va="center", fontsize=10.5,
                       color=style.GREY, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8})  # fmt: skip
        return
    if each.low is not None and each.high is not None:
        panel.plot([each.low, each.high], [y, y], color=marks.colour(arm), linewidth=2.5, solid_capstyle="butt")
    panel.plot(mean, y, marker=marks.marker(arm), color=marks.colour(arm), markersize=7.5)


def _finish(panel: Axes, metric: MetricInfo, analysis: Analysis, rows: int) -> None:
    panel.axvline(0, color="black", linewidth=1, zorder=1)
    panel.set_ylim(rows - 0.5, -0.5)
    panel.set_yticks([])
    panel.spines["left"].set_visible(False)
    panel.locator_params(axis="x", nbins=4)
    style.grid(panel, "x")
    better = "left" if metric.direction == "lower" else "right"
    title = f"Δ {named(metric)} to\n{analysis.labels[analysis.baseline]}; {better} is better"
    panel.set_title(title, loc="left", fontsize=11.5)
