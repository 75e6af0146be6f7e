"""True against predicted values as a density, a panel for each arm. Draws a DensityTable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator, StrMethodFormatter

from ablate.analysis import numbers
from ablate.analysis.densities import ArmDensity, DensityTable
from ablate.report import style

COLUMNS, PANEL_IN = 2, 1.75
FAINTEST = 0.1  # per cent: the share with the palest colour
COLOURS = "cividis"  # its lightness is monotonic, so that colour-blind readers and grey prints show the same order


def density(table: DensityTable, arms: Sequence[str]) -> Figure | None:
    """One panel for each of `arms`. A column of cells is the distribution of predictions for one true value, in %."""
    shown = [table.arms[arm] for arm in arms if arm in table.arms]
    if not shown:
        return None
    columns = min(COLUMNS, len(shown))
    drawing, panels = style.panels(
        len(shown),
        base_in=0.75,
        row_in=PANEL_IN * (1 if columns == COLUMNS else 1.6),
        columns=columns,
        sharex=True,
        sharey=True,
    )
    for index, (panel, arm) in enumerate(zip(panels, shown, strict=True)):
        image = _panel(panel, table, arm)
        _label(panel, table, left=index % columns == 0, last=index + columns >= len(shown))
    _colour_bar(drawing, image)
    return drawing


def _panel(panel: Axes, table: DensityTable, arm: ArmDensity) -> Any:
    counts = np.array(arm.counts, dtype=float)
    totals = counts.sum(axis=1, keepdims=True)
    share = np.divide(100 * counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    low, high = table.edges[0], table.edges[-1]
    _guides(panel, low, high, table.period)
    image = panel.imshow(
        np.ma.masked_equal(share.T, 0.0),
        origin="lower",
        extent=(low, high, low, high),
        cmap=colormaps[COLOURS].reversed(),
        norm=LogNorm(FAINTEST, 100.0, clip=True),
        interpolation="none",
        aspect="auto",
        zorder=2,
    )
    panel.set_title(style.wrap(arm.label, 24), loc="left")
    panel.set_xlim(low, high)
    panel.set_ylim(low, high)
    return image


def _guides(panel: Axes, low: float, high: float, period: float | None) -> None:
    """The line of exact predictions; on a periodic scale also the lines of predictions half a period off."""
    panel.plot([low, high], [low, high], color=style.GREY, linewidth=0.5, zorder=1)
    if period is not None:
        for shift in (-period / 2, period / 2):
            panel.plot([low, high], [low + shift, high + shift], color=style.GREY, linewidth=0.7, zorder=1,
                       linestyle=(0, (1, 2)))  # fmt: skip


def _label(panel: Axes, table: DensityTable, *, left: bool, last: bool) -> None:
    for axis in (panel.xaxis, panel.yaxis):
        if table.period is None:
            axis.set_major_locator(MaxNLocator(nbins=5))
        else:
            axis.set_ticks([table.period * i / 4 for i in range(5)])
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    panel.tick_params(axis="x", labelbottom=last, labelsize=6.5)
    panel.tick_params(axis="y", labelsize=6.5)
    panel.set_xlabel(style.wrap(f"True: {numbers.in_text(table.label)}", 26) if last else "", fontsize=7)
    panel.set_ylabel("predicted" if left else "", fontsize=7)


def _colour_bar(drawing: Figure, image: Any) -> None:
    bar = drawing.colorbar(image, ax=drawing.axes, orientation="horizontal", fraction=0.05, aspect=32, pad=0.03)
    bar.set_label("share of the answers to a true value (%)", fontsize=7)
    bar.set_ticks([0.1, 1, 10, 100], labels=["≤ 0.1", "1", "10", "100"])
    bar.ax.xaxis.set_minor_locator(NullLocator())
    bar.ax.tick_params(labelsize=6.5, width=0.6)
    bar.outline.set_linewidth(0.5)
