"""The look of every figure: size, palette, marks; and saving, so that the bytes depend on the drawing alone."""

from __future__ import annotations

import math
import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase, SubFigure
from matplotlib.transforms import Bbox

WIDTH_IN = 3.4  # one column of a two-column paper
DPI = 250
DECIMALS = 9  # to which positions, in shares of the figure, are rounded: far below a pixel
# Okabe & Ito (2008), which colour-blind readers can distinguish, without the yellow that is invisible on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# More markers than colours: an eighth arm has the colour of the first and a marker of its own.
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">", "p", "h", "d", "*", "8")
DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (1, 1)),
    (0, (5, 1.5, 1, 1.5)),
    (0, (8, 2)),
    (0, (3, 1)),
    (0, (2, 2)),
)
GREY = "#6E6E6E"
GRID = "#D9D9D9"

RC = {
    "font.family": "DejaVu Sans",  # part of matplotlib: the same glyphs on every machine
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.0,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.unicode_minus": True,
    "text.parse_math": False,  # labels come from the study file: two dollar signs would be read as a formula
    "figure.constrained_layout.use": True,
    "savefig.facecolor": "white",
}


def look() -> Any:
    """Context in which figures are made and saved: matplotlib's defaults and RC, never a user's matplotlibrc."""
    return matplotlib.style.context(["default", RC])


def figure(height_in: float) -> Figure:
    """An empty figure of column width."""
    return Figure(figsize=(WIDTH_IN, height_in), layout="constrained")


def panels(
    count: int, *, base_in: float = 0.0, row_in: float, columns: int = 1, **options: Any
) -> tuple[Figure, list[Axes]]:
    """A figure with panels in rows of `columns`; `options` are those of matplotlib's `subplots`."""
    rows = math.ceil(count / columns)
    drawing = figure(base_in + row_in * rows)
    axes = list(drawing.subplots(rows, columns, squeeze=False, **options).ravel())
    for unused in axes[count:]:
        unused.remove()
    return drawing, axes[:count]


def grid(panel: Axes, axis: Literal["x", "y"] = "y") -> None:
    """Faint lines behind the marks."""
    panel.grid(axis=axis, color=GRID, linewidth=0.5)
    panel.set_axisbelow(True)


def save(drawing: Figure, path: Path) -> None:
    """PNG; the same drawing gives the same bytes (no date, no library version)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the tables have the label's text
        warnings.filterwarnings("ignore", message="constrained_layout not applied")  # labels longer than the figure
        settle(drawing)
        drawing.savefig(path, format="png", dpi=DPI, metadata={"Software": None})


def settle(drawing: Figure) -> None:
    """Compute the layout once and round its positions: the solver's last bits depend on memory addresses.

    Without the rounding, a pixel differed by 1 of 255 between two processes.
    """
    drawing.set_dpi(DPI)
    drawing.draw_without_rendering()
    drawing.set_layout_engine("none")
    parts: list[FigureBase] = [drawing, *drawing.subfigs]
    for part in parts:
        if isinstance(part, SubFigure):
            part.bbox_relative.set_points(part.bbox_relative.get_points().round(DECIMALS))
        for text in part.texts:
            x, y = text.get_position()
            text.set_position((round(x, DECIMALS), round(y, DECIMALS)))
    for axis in drawing.axes:
        box = axis.get_position(original=True)
        axis.set_position(Bbox(box.get_points().round(DECIMALS)), which="original")
        if axis.get_adjustable() == "datalim":  # with equal scales the limits are computed from the unrounded box
            axis.set(xlim=np.round(axis.get_xlim(), DECIMALS), ylim=np.round(axis.get_ylim(), DECIMALS))


class Marks:
    """Colour, marker and dashes of every arm, by its position in the study: the same in all figures."""

    def __init__(self, arms: Sequence[str]) -> None:
        self._index = {arm: index for index, arm in enumerate(arms)}

    def colour(self, arm: str) -> str:
        return PALETTE[self._index[arm] % len(PALETTE)]

    def marker(self, arm: str) -> str:
        return MARKERS[self._index[arm] % len(MARKERS)]

    def line(self, arm: str) -> dict[str, Any]:
        """Options of `plot` for a line with marks."""
        dashes = DASHES[self._index[arm] % len(DASHES)]
        return {"color": self.colour(arm), "marker": self.marker(arm), "linestyle": dashes}


def wrap(text: str, width: int = 18) -> str:
    """Break a label into lines."""
    return "\n".join(textwrap.wrap(text, width)) or text


def legend_above(drawing: Figure, *axes: Axes, columns: int = 2) -> None:
    """One legend for the whole figure, above its panels; every label once."""
    per_panel = [axis.get_legend_handles_labels() for axis in axes]
    entries = {label: handle for handles, labels in per_panel for handle, label in zip(handles, labels, strict=True)}
    labels, handles = list(entries), list(entries.values())
    drawing.legend(
        handles,
        [wrap(label, 26) for label in labels],
        loc="outside upper center",
        ncols=columns,
        handlelength=2.6,
        columnspacing=1.2,
    )
