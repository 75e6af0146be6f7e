"""How tuning went: trial values with the best so far, and rank correlations. Draws a TuningHistory."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from ablate.analysis import numbers
from ablate.analysis.tuning_history import ArmHistory, TuningHistory
from ablate.report import scales, style, svg

COLUMNS, PANEL_IN = 2, 1.15
ROW_IN = 0.3
MAX_TICKS = 10


def history(history: TuningHistory, marks: style.Marks) -> Figure | None:
    """One small panel for each arm: a mark for every trial, steps for the best so far.

    At the top a cross for a failed trial, a bar for a pruned one. Where each seed has a tuning of its own, each has its
    steps.
    """
    arms = [arm for arm in history.arms if arm.finished]
    if not arms:
        return None
    columns = min(COLUMNS, len(arms))
    drawing, panels = style.panels(len(arms), base_in=0.5, row_in=PANEL_IN, columns=columns, sharex=True, sharey=True)
    for index, (panel, arm) in enumerate(zip(panels, arms, strict=True)):
        _trials(panel, arm, marks)
        panel.tick_params(axis="x", labelbottom=index + columns >= len(arms))
        panel.set_xlabel("trial" if index + columns >= len(arms) else "")
    _scale(panels[0], arms)
    drawing.supylabel(f"{history.metric.short}, validation{numbers.in_brackets(history.metric.unit)}", fontsize=8)
    return drawing


def importances(history: TuningHistory, marks: style.Marks) -> Figure | None:
    """One row for each setting, a mark for each arm: how closely the trials' order by the setting is that by score."""
    settings = history.ranked
    if not settings:
        return None
    arms = [arm for arm in history.arms if any(arm.correlations[s] is not None for s in settings)]
    drawing = style.figure(0.75 + (ROW_IN + 0.06 * len(arms)) * len(settings) + 0.1 * len(arms))
    panel = drawing.subplots()
    for index, arm in enumerate(arms):
        shift = 0.5 * ((index + 0.5) / len(arms) - 0.5)  # so that marks with the same value do not overlap
        known = [(row, rho) for row, s in enumerate(settings) if (rho := arm.correlations[s]) is not None]
        points = [(abs(rho), row + shift) for row, rho in known]
        tips = [f"{arm.label}: {numbers.signed(rho, 2)}" for _, rho in known]
        panel.plot(*zip(*points, strict=True), marker=marks.marker(arm.arm), color=marks.colour(arm.arm),
                   markersize=4.5, linestyle="none", label=arm.label,
                   gid=svg.tag(arm=marks.family(arm.arm), tips=tips))  # fmt: skip
    panel.set_xlim(-0.03, 1.03)
    panel.set_ylim(len(settings) - 0.4, -0.6)
    panel.set_yticks(range(len(settings)), [style.wrap(s.rpartition(".")[2].replace("_", " ")) for s in settings])
    panel.tick_params(axis="y", length=0)
    style.grid(panel, "x")
    panel.set_xlabel("|Spearman's ρ| of setting and score")
    style.legend_above(drawing, panel)
    return drawing


def _trials(panel: Axes, arm: ArmHistory, marks: style.Marks) -> None:
    colour, family = marks.colour(arm.arm), marks.family(arm.arm)
    done = [(trial.number + 1, trial.value) for trial in arm.finished]
    failed = [trial.number + 1 for trial in arm.trials if trial.value is None and not trial.pruned]
    pruned = [trial.number + 1 for trial in arm.trials if trial.pruned]
    for tuning in arm.tunings:
        best = [(trial.number + 1, value) for trial, value in tuning if value is not None]
        if best:
            panel.plot(*zip(*best, strict=True), color=colour, linewidth=1.2 if len(arm.tunings) == 1 else 0.7,
                       drawstyle="steps-post", zorder=2, gid=svg.tag(arm=family))  # fmt: skip
    panel.plot(*zip(*done, strict=True), marker=marks.marker(arm.arm), color=colour, markersize=3.6, linestyle="none",
               markerfacecolor="white", markeredgewidth=0.9, zorder=3,
               gid=svg.tag(arm=family, tips=[f"{arm.label}, trial {n}: {value:.4g}" for n, value in done]))  # fmt: skip
    for without_value, marker in ((failed, "x"), (pruned, "|")):
        if without_value:
            panel.plot(without_value, [0.95] * len(without_value), marker=marker, color=style.GREY, markersize=4,
                       linestyle="none", transform=panel.get_xaxis_transform())  # fmt: skip
    panel.set_title(style.wrap(arm.label, 26), loc="left", fontsize=7.5)
    style.grid(panel)


def _scale(panel: Axes, arms: list[ArmHistory]) -> None:
    scales.stretch(panel, (trial.value for arm in arms for trial in arm.finished if trial.value is not None))
    last = max(trial.number + 1 for arm in arms for trial in arm.trials)
    panel.set_xlim(0.5, last + 0.5)
    ticks = range(1, last + 1) if last <= MAX_TICKS else sorted({round(t) for t in np.linspace(1, last, 5)})
    panel.xaxis.set_major_locator(FixedLocator(ticks))
