"""The look of every figure: size, fonts, palette, marks; and saving, so that the bytes depend on the drawing alone."""

from __future__ import annotations

import itertools
import json
import math
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase, SubFigure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.transforms import Bbox

from ablate.report import svg
from ablate.study import Color

WIDTH_IN = 3.4  # one column of a two-column paper
SLIDE_IN, SLIDE_COLUMNS = 7.0, 2  # a slide's: panels stand side by side, and 8 points become 15 on a slide of 13.3 in
DPI = 250
DECIMALS = 9  # to which positions, in shares of the figure, are rounded: far below a pixel
# Okabe & Ito (2008), which colour-blind readers can distinguish, without the yellow that is invisible on white.
COLORS: Mapping[Color, str] = {
    "blue": "#0072B2",
    "vermilion": "#D55E00",
    "green": "#009E73",
    "purple": "#CC79A7",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "black": "#000000",
}
PALETTE = tuple(COLORS.values())
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

FONT = "DejaVu Sans"  # part of matplotlib: the same glyphs on every machine
# Of these the installed ones draw the signs that it lacks: Chinese, Japanese, Korean, emoji.
OTHER_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Noto Sans JP", "Noto Sans KR", "Source Han Sans SC"),
    *("WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback", "Microsoft YaHei", "SimHei", "PingFang SC"),
    *("Hiragino Sans", "Malgun Gothic", "Arial Unicode MS", "Noto Emoji", "Symbola", "Segoe UI Emoji", "Unifont"),
)
RC = {
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
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "ablate",
    "pdf.fonttype": 42,
}
NO_DATE: Mapping[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": dict.fromkeys(("Creator", "Date", "Format", "Type")),
    "pdf": dict.fromkeys(("Creator", "Producer", "CreationDate")),
}
_slide: ContextVar[bool] = ContextVar("slide", default=False)


@contextmanager
def look(*, slide: bool = False, more: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Context in which figures are made and saved: matplotlib's defaults and RC, never a user's matplotlibrc.

    `slide`: figures have a slide's width instead of a column's. `more`: further settings of matplotlib.
    """
    token = _slide.set(slide)
    try:
        with matplotlib.style.context(["default", RC | {"font.family": _fonts()} | dict(more or {})]):
            yield
    finally:
        _slide.reset(token)


def _fonts() -> list[str]:
    """The font, and the installed ones for signs that it lacks."""
    installed = {font.name for font in fontManager.ttflist}
    return [FONT, *(name for name in OTHER_FONTS if name in installed)]


def without_glyphs(texts: Iterable[str]) -> list[str]:
    """The texts with a sign that no font here can draw, each once."""
    signs = {text: {ord(sign) for sign in text if not sign.isspace()} for text in texts}
    drawn: set[int] = set()
    for name in _fonts():
        if all(codes <= drawn for codes in signs.values()):
            break
        drawn |= set(get_font(findfont(FontProperties(family=[name]))).get_charmap())
    return [text for text, codes in signs.items() if not codes <= drawn]


def width_in() -> float:
    """The width of figures: a column's, or a slide's."""
    return SLIDE_IN if _slide.get() else WIDTH_IN


def figure(height_in: float) -> Figure:
    """An empty figure of column width, or of a slide's."""
    return Figure(figsize=(width_in(), height_in), layout="constrained")


def panels(
    count: int, *, base_in: float = 0.0, row_in: float, columns: int = 1, **options: Any
) -> tuple[Figure, list[Axes]]:
    """A figure with panels in rows of `columns`, of twice as many on a slide; `options` are those of `subplots`."""
    columns = min(count, SLIDE_COLUMNS * columns) if _slide.get() else columns
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


def save(drawing: Figure, path: Path, kinds: Sequence[str] = ("png",), *, dots_per_in: int = DPI) -> None:
    """A file of each kind, `png`, `svg` or `pdf`, named `path` and the kind. The same drawing gives the same bytes (no
    date, no library version)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the tables have the label's text
        warnings.filterwarnings("ignore", message="constrained_layout not applied")  # labels longer than the figure
        settle(drawing)
        for kind in kinds:
            file = path.with_name(f"{path.name}.{kind}")
            drawing.savefig(file, format=kind, dpi=dots_per_in, metadata=NO_DATE[kind])
            if kind == "svg":
                file.write_text(svg.clean(file.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")


def settle(drawing: Figure) -> None:
    """Compute the layout once and round its positions: the solver's last bits depend on memory addresses.

    Without the rounding, a pixel differed by 1 of 255 between two processes. `Figure.draw_without_rendering` does the
    same and then goes through all artists, which takes as long as the layout.
    """
    drawing.set_dpi(DPI)
    _apply_aspects(drawing)
    if (engine := drawing.get_layout_engine()) is not None:
        engine.execute(drawing)
    _apply_aspects(drawing)
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


def _apply_aspects(drawing: Figure) -> None:
    """What drawing does first: panels of equal scales get their limits from their boxes. Insets have places of their
    own."""
    for panel in drawing.axes:
        if panel.get_axes_locator() is None:
            panel.apply_aspect()


class Marks:
    """Colour, marker and dashes of every arm, by its place in the study: the same in all figures.

    An arm has one place at all levels of a factor and on all data sets: `hybrid@0.5` and `hybrid@1.0` are `hybrid`.
    `colors`: of arms that have the same colour in every study, whatever their place; the others get the places left.
    """

    def __init__(self, arms: Sequence[str], colors: Mapping[str, Color] | None = None) -> None:
        places = {family: list(COLORS).index(color) for family, color in (colors or {}).items()}
        free = (index for index in itertools.count() if index not in {*places.values()})
        for family in dict.fromkeys(arm.partition("@")[0] for arm in arms):
            if family not in places:
                places[family] = next(free)
        self._index = {arm: places[arm.partition("@")[0]] for arm in arms} | places

    def number(self, arm: str) -> int:
        """The place of the arm's colour in the palette."""
        return self._index[arm] % len(PALETTE)

    def family(self, arm: str) -> str:
        """The arm without its level or data set."""
        return arm.partition("@")[0]

    def colour(self, arm: str) -> str:
        return PALETTE[self.number(arm)]

    def marker(self, arm: str) -> str:
        return MARKERS[self._index[arm] % len(MARKERS)]

    def line(self, arm: str) -> dict[str, Any]:
        """Options of `plot` for a line with marks."""
        dashes = DASHES[self._index[arm] % len(DASHES)]
        return {"color": self.colour(arm), "marker": self.marker(arm), "linestyle": dashes}


def variables() -> dict[str, str]:
    """The colours of figures, as hexadecimal numbers → the names that a page has for them, light or dark."""
    named = {colour.lower(): f"c{index}" for index, colour in enumerate(PALETTE)}
    return named | {GREY.lower(): "grey", GRID.lower(): "grid", "#ffffff": "paper", "#000000": "ink"}


def wrap(text: str, width: int = 18) -> str:
    """Break a label into lines."""
    return "\n".join(textwrap.wrap(text, width)) or text


def legend_above(drawing: Figure, *axes: Axes, columns: int = 2) -> None:
    """One legend for the whole figure, above its panels; every label once, with its first mark."""
    entries: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    labels, handles = list(entries), list(entries.values())
    legend = drawing.legend(
        handles,
        [wrap(label, 26) for label in labels],
        loc="outside upper center",
        ncols=columns,
        handlelength=2.6,
        columnspacing=1.2,
    )
    for handle, shown, text in zip(handles, legend.legend_handles, legend.get_texts(), strict=True):
        facts = (handle.get_gid() or "") if hasattr(handle, "get_gid") else ""
        if facts.startswith("{") and shown is not None:
            gid = svg.tag(arm=json.loads(facts).get("arm", ""), legend=True)
            shown.set_gid(gid)
            text.set_gid(gid)
