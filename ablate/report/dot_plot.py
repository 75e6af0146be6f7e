"""The frame of a plot with a row for each estimate: where rows lie, what the axis shows, labels. Draws no estimate."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from matplotlib.axes import Axes

from ablate.analysis.statistics import Effect, Estimate
from ablate.report import style

ROW_IN, LINE_IN, GAP_IN = 0.25, 0.125, 0.12
WRAP = 21  # characters of a label on one line


def positions(
    labels: Sequence[str], room_below: float = 0.0, *, gaps: Collection[int] = (), wrap: int = WRAP
) -> tuple[list[float], float]:
    """Position of each row and total height, in inches: a label of several lines takes more room.

    `room_below`: free height under every row's mark. `gaps`: the rows with a gap above.
    """
    found, top = [], 0.0
    for index, label in enumerate(labels):
        lines = style.wrap(label, wrap).count("\n") + 1
        height = max(ROW_IN, LINE_IN * lines + 0.05) + room_below / 2
        top += GAP_IN if index in gaps else 0.0
        found.append(top + (height - room_below / 2) / 2)
        top += height
    return found, top


def hull(effect: Effect) -> Estimate:
    """The difference with an interval that is widened to include every seed: the range that the axis has to show."""
    gap, values = effect.difference, list(effect.by_seed.values())
    ends = [v for v in (gap.low, gap.high) if v is not None] + values
    return Estimate(gap.mean, min(ends, default=None), max(ends, default=None), gap.n)


def frame(
    panel: Axes,
    rows: tuple[Sequence[str], Sequence[float], float],
    scale: tuple[float, float],
    *,
    title: str,
    wrap: int = WRAP,
) -> None:
    """Axes and labels around the dots; `rows`: labels, positions and total height."""
    labels, places, height = rows
    panel.set_xlim(*scale)
    panel.set_ylim(height, 0)
    panel.set_yticks(places, [style.wrap(label, wrap) for label in labels])
    panel.tick_params(axis="y", length=0)
    style.grid(panel, "x")
    panel.locator_params(axis="x", nbins=6)
    panel.set_title(title, loc="left")
