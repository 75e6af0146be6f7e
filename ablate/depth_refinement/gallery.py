"""Pictures of test examples: the 2D pose, with the true direction of the camera and the one each arm predicts."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ablate.depth_refinement.gallery_extremes import draw_extremes, has_extremes
from ablate.depth_refinement.stick_figure import MIDDLE, TRUTH, WIDTH_IN, bare, image, mark_of

MAX_ROWS = 4
LABEL_CHARACTERS = 26
ROW_IN = 1.12
TITLES = ("2D input,\nleft side solid", "azimuth,\nfrom above", "elevation,\nfrom the side")

Arrays = Mapping[str, np.ndarray]


def draw(examples: Mapping[str, Arrays]) -> Figure:
    """Every arm's median and worst example; where runs did not store these, the same examples for all arms."""
    return draw_extremes(examples) if has_extremes(examples) else draw_spread(examples)


def draw_spread(examples: Mapping[str, Arrays]) -> Figure:
    """One row for each example (at most four): 2D input, azimuth seen from above, elevation seen from the side.

    `examples` maps an arm's label to its arrays: `index` (k,), `inputs` (k, 17, 6), `target/azimuth_deg` and
    `target/elevation_deg` (k,), `output/angles` (k, 3: sin, cos of azimuth, elevation in radians). Only examples
    that every arm has are drawn, spread evenly over them.
    """
    rows = common_rows(examples)
    drawing = Figure(figsize=(WIDTH_IN, 0.62 + ROW_IN * len(rows)), layout="constrained")
    panels: Any = drawing.subplots(len(rows), 3, squeeze=False)
    for axes, example_rows in zip(panels, rows, strict=True):
        _example(axes, examples, example_rows)
    for axis, title in zip(panels[0], TITLES, strict=True):
        axis.set_title(title, fontsize=7.5)
    handles, labels = panels[0][1].get_legend_handles_labels()
    wrapped = ["\n".join(textwrap.wrap(label, LABEL_CHARACTERS)) for label in labels]
    columns = 3 if max(map(len, labels)) <= LABEL_CHARACTERS // 2 else 2
    drawing.legend(handles, wrapped, loc="outside lower center", ncols=columns, fontsize=7, frameon=False,
                   handlelength=1.8, columnspacing=1.2)  # fmt: skip
    return drawing


def common_rows(examples: Mapping[str, Arrays]) -> list[dict[str, int]]:
    """For each example to draw, its row in every arm's arrays. Raises ValueError when the arms share no example."""
    row_of = {arm: {int(index): row for row, index in enumerate(arrays["index"])} for arm, arrays in examples.items()}
    shared = sorted(set.intersection(*(set(rows) for rows in row_of.values())))
    if not shared:
        raise ValueError("the arms have no example in common")
    count = min(MAX_ROWS, len(shared))
    chosen = [shared[round(i * (len(shared) - 1) / max(1, count - 1))] for i in range(count)]
    return [{arm: rows[index] for arm, rows in row_of.items()} for index in chosen]


def _example(axes: Any, examples: Mapping[str, Arrays], rows: Mapping[str, int]) -> None:
    arm, row = next(iter(rows.items()))
    azimuth = float(np.deg2rad(examples[arm]["target/azimuth_deg"][row]))
    elevation = float(np.deg2rad(examples[arm]["target/elevation_deg"][row]))
    image(axes[0], examples[arm]["inputs"][row, :, :2])
    _compass(axes[1])
    _gauge(axes[2])
    _ray(axes[1], *_above(azimuth), label="truth")
    _ray(axes[2], *_aside(elevation), label="truth")
    for number, (name, example_row) in enumerate(rows.items()):
        sin, cos, tilt = (float(v) for v in examples[name]["output/angles"][example_row])
        radius = 1.0 - 0.16 * number  # so that arms that agree do not overlap
        _guess(axes[1], _above(float(np.arctan2(sin, cos))), radius, number, name)
        _guess(axes[2], _aside(tilt), radius, number, name)


def _above(azimuth: float) -> tuple[float, float]:
    """Subject faces up the page; azimuth turns towards the subject's right (DOMAIN), which is right on the page."""
    return float(np.sin(azimuth)), float(np.cos(azimuth))


def _aside(elevation: float) -> tuple[float, float]:
    return float(np.cos(elevation)), float(np.sin(elevation))


def _ray(axis: Axes, x: float, y: float, *, label: str) -> None:
    axis.plot([0, 1.1 * x], [0, 1.1 * y], color=TRUTH, linewidth=1.0, zorder=3, label=label)


def _guess(axis: Axes, direction: tuple[float, float], radius: float, number: int, label: str) -> None:
    colour, mark = mark_of(number)
    axis.plot(radius * direction[0], radius * direction[1], linestyle="none", marker=mark,
              markersize=4.2, color=colour, markeredgecolor="white", markeredgewidth=0.4,
              zorder=4, label=label)  # fmt: skip


def _compass(axis: Axes) -> None:
    """Head, shoulders and nose from above, with front, right, back and left around them."""
    turn = np.linspace(0, 2 * np.pi, 73)
    axis.plot(np.sin(turn), np.cos(turn), color="#BBBBBB", linewidth=0.6, zorder=1)
    axis.fill(0.3 * np.sin(turn), 0.11 * np.cos(turn), color="#DDDDDD", zorder=1)
    axis.fill(0.12 * np.sin(turn), 0.12 * np.cos(turn), color="#AAAAAA", zorder=2)
    axis.fill([-0.05, 0, 0.05], [0.1, 0.2, 0.1], color="#AAAAAA", zorder=2)
    for text, x, y in (("front", 0, 1.33), ("right", 1.5, 0), ("back", 0, -1.33), ("left", -1.45, 0)):
        axis.text(x, y, text, ha="center", va="center", fontsize=6, color=MIDDLE)
    bare(axis)
    axis.set_xlim(-1.75, 1.75)
    axis.set_ylim(-1.45, 1.45)
    axis.set_aspect("equal")


def _gauge(axis: Axes) -> None:
    """The half circle from straight below to straight above, the horizon at 0°."""
    turn = np.linspace(-np.pi / 2, np.pi / 2, 37)
    axis.plot(np.cos(turn), np.sin(turn), color="#BBBBBB", linewidth=0.6, zorder=1)
    axis.plot([0, 1], [0, 0], color="#BBBBBB", linewidth=0.6, linestyle=(0, (3, 2)), zorder=1)
    for text, x, y in (("90°", 0, 1.3), ("0°", 1.35, 0), ("−90°", 0, -1.3)):
        axis.text(x, y, text, ha="center", va="center", fontsize=6, color=MIDDLE)
    bare(axis)
    axis.set_xlim(-0.85, 1.85)
    axis.set_ylim(-1.45, 1.45)
    axis.set_aspect("equal")
