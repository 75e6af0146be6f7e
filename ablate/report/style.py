"""How every figure looks: size, palette, marks, and bytes that depend on nothing but the drawing. Knows no study."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase, SubFigure
from matplotlib.transforms import Bbox

WIDTH_IN = 3.4  # one column of a two-column paper
DPI = 250
PLACES = 9  # of a figure's width: far below a pixel
# Okabe & Ito (2008), without the yellow that vanishes on white: told apart by colour-blind readers.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">", "p", "h", "d", "*", "8")  # an eighth arm has a first's colour
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
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same glyphs everywhere
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
    "text.parse_math": False,  # what a study says is no formula: a label with two dollars would be one, or an error
    "figure.constrained_layout.use": True,
    "savefig.facecolor": "white",
}


def look() -> Any:
    """Context in which figures are made and saved: matplotlib's defaults and ours, never a person's own."""
    return matplotlib.style.context(["default", RC])


def figure(height_in: float) -> Figure:
    """An empty figure of column width."""
    return Figure(figsize=(WIDTH_IN, height_in), layout="constrained")


def save(drawing: Figure, path: Path) -> None:
    """PNG; the same drawing gives the same bytes (no date, no library version)."""
    with warnings.catch_warnings():  # a label in a script that the font lacks; the tables have its text
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        warnings.filterwarnings("ignore", message="constrained_layout not applied")  # labels longer than the figure
        settle(drawing)
        drawing.savefig(path, format="png", dpi=DPI, metadata={"Software": None})


def settle(drawing: Figure) -> None:
    """Lay out for good, places rounded: the solver's last bits depend on where in memory its variables lie.

    Seen as a pixel that differed by 1 of 255 between two processes.
    """
    drawing.set_dpi(DPI)
    drawing.draw_without_rendering()
    drawing.set_layout_engine("none")
    parts: list[FigureBase] = [drawing, *drawing.subfigs]
    for part in parts:
        if isinstance(part, SubFigure):
            part.bbox_relative.set_points(part.bbox_relative.get_points().round(PLACES))
        for text in part.texts:
            x, y = text.get_position()
            text.set_position((round(x, PLACES), round(y, PLACES)))
    for axis in drawing.axes:
        box = axis.get_position(original=True)
        axis.set_position(Bbox(box.get_points().round(PLACES)), which="original")
        if axis.get_adjustable() == "datalim":  # then equal scales have turned the box's last bits into limits
            axis.set(xlim=np.round(axis.get_xlim(), PLACES), ylim=np.round(axis.get_ylim(), PLACES))


class Marks:
    """Colour, marker and dashes of every arm: by its place in the study, the same in all figures."""

    def __init__(self, arms: Sequence[str]) -> None:
        self._place = {arm: place for place, arm in enumerate(arms)}

    def colour(self, arm: str) -> str:
        return PALETTE[self._place[arm] % len(PALETTE)]

    def marker(self, arm: str) -> str:
        return MARKERS[self._place[arm] % len(MARKERS)]

    def dashes(self, arm: str) -> Any:
        return DASHES[self._place[arm] % len(DASHES)]


def wrap(text: str, width: int = 18) -> str:
    """Break a label into lines."""
    return "\n".join(textwrap.wrap(text, width)) or text


def legend_above(drawing: Figure, *axes: Axes, columns: int = 2) -> None:
    """One legend for the whole figure, above its panels; every label once."""
    found = [axis.get_legend_handles_labels() for axis in axes]
    entries = {label: handle for handles, labels in found for handle, label in zip(handles, labels, strict=True)}
    labels, handles = list(entries), list(entries.values())
    drawing.legend(
        handles,
        [wrap(label, 26) for label in labels],
        loc="outside upper center",
        ncols=columns,
        handlelength=2.6,
        columnspacing=1.2,
    )
