"""A person of 17 joints as lines in the plane, and the palette of the galleries."""

from __future__ import annotations

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes

from ablate.depth_refinement.skeleton import (
    BONES,
    L_EAR,
    L_HIP,
    L_SHOULDER,
    NOSE,
    R_EAR,
    R_HIP,
    R_SHOULDER,
)

WIDTH_IN = 3.4
# Okabe & Ito (2008), which colour-blind readers can distinguish; the marks distinguish the arms in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKS = ("o", "s", "D", "^", "v", "P")
TRUTH, LEFT, RIGHT, MIDDLE, LIGHT = "black", "#222222", "#8A8A8A", "#6E6E6E", "#BBBBBB"
LEFT_JOINTS = {i for bone in BONES for i in bone if i % 2 == 1}  # COCO: odd joints are the subject's left
FACE = ((NOSE, L_EAR), (NOSE, R_EAR))


def mark_of(number: int) -> tuple[str, str]:
    """Colour and mark of the arm with this number, counted from 0: as in the report's other figures, if it says."""
    cycle = rcParams["axes.prop_cycle"].by_key()
    colours, marks = (cycle["color"], cycle["marker"]) if "marker" in cycle else (COLOURS, MARKS)
    return colours[number % len(colours)], marks[number % len(marks)]


def stick_figure(axis: Axes, points: np.ndarray, *, zorder: float = 2) -> None:
    """`points` (17, 2) in the axes' directions. The subject's left is dark and solid, its right grey and dashed."""
    neck, pelvis = points[[L_SHOULDER, R_SHOULDER]].mean(0), points[[L_HIP, R_HIP]].mean(0)
    axis.plot(*np.stack([points[NOSE], neck, pelvis]).T, color=MIDDLE, linewidth=0.9, zorder=zorder)
    for bone in (*BONES, *FACE):
        left = all(i in LEFT_JOINTS or i == L_EAR for i in bone if i != NOSE)
        right = all(i not in LEFT_JOINTS and i != L_EAR for i in bone if i != NOSE)
        colour = LEFT if left else RIGHT if right else MIDDLE
        axis.plot(*points[list(bone)].T, color=colour, linewidth=1.2, linestyle=(0, (2, 0.8)) if right else "-",
                  zorder=zorder)  # fmt: skip


def image(axis: Axes, points: np.ndarray) -> None:
    """A 2D pose as the camera sees it: x right, y down."""
    stick_figure(axis, points)
    bare(axis)
    axis.set_aspect("equal", adjustable="datalim")
    axis.invert_yaxis()


def bare(axis: Axes) -> None:
    """No ticks and no frame."""
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(False)
