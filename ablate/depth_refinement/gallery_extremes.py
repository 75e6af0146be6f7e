"""Every arm's own median and worst test pose: the 2D input beside the person in 3D with true and predicted camera."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ablate.depth_refinement.skeleton import L_HIP, L_SHOULDER, R_HIP, R_SHOULDER
from ablate.depth_refinement.stick_figure import (
    LIGHT,
    MIDDLE,
    TRUTH,
    WIDTH_IN,
    bare,
    image,
    mark_of,
    stick_figure,
)

ROLES = {1: "Median", 2: "Worst"}  # `role` in examples.npz; 0 is for examples spread evenly over the split
ROW_IN, HEAD_IN, LINE_IN, LEGEND_IN = 1.02, 0.42, 0.12, 0.22
LABEL_CHARACTERS = 54
REACH_M = 1.15  # distance from the pelvis at which cameras are drawn: only their direction is predicted
FROM_AZIMUTH, FROM_ELEVATION = np.deg2rad(62.0), np.deg2rad(18.0)  # viewpoint, to the side of the true camera
Arrays = Mapping[str, np.ndarray]


def has_extremes(examples: Mapping[str, Arrays]) -> bool:
    """Whether the arrays of every arm include its median and worst example, and the true pose in world axes."""
    return all(
        "target/pose_world" in arrays and set(ROLES) <= set(arrays.get("role", np.array([])).tolist())
        for arrays in examples.values()
    )


def draw_extremes(examples: Mapping[str, Arrays]) -> Figure:
    """One row for each arm: its median and its worst pose, each as 2D input and in 3D, with the errors in degrees.

    `examples` maps an arm's label to its arrays: `role` (k,), `inputs` (k, 17, 6), `target/azimuth_deg` and
    `target/elevation_deg` (k,), `target/pose_world` (k, 17, 3: metres, +Y up), `output/angles` (k, 3: sin, cos of
    azimuth, elevation in radians).
    """
    heights = [ROW_IN + HEAD_IN + LINE_IN * _wrapped(arm).count("\n") for arm in examples] + [LEGEND_IN]
    drawing = Figure(figsize=(WIDTH_IN, sum(heights)), layout="constrained")
    parts = drawing.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    for number, (arm, arrays) in enumerate(examples.items()):
        _arm(parts[number], arm, arrays, number)
    _legend(parts[-1], len(examples))
    return drawing


def body_frame(pose: np.ndarray) -> np.ndarray:
    """(17, 3) in world axes → left, up, forward of the body, pelvis at 0: like `geometry.body_axes`, without torch."""
    across = (pose[L_SHOULDER] - pose[R_SHOULDER] + pose[L_HIP] - pose[R_HIP]) / 2
    left = np.array([across[0], 0.0, across[2]])
    left = left / (np.linalg.norm(left) or 1.0)
    up = np.array([0.0, 1.0, 0.0])
    body: np.ndarray = (pose - pose[[L_HIP, R_HIP]].mean(0)) @ np.stack([left, up, np.cross(left, up)]).T
    return body


def towards(azimuth: float, elevation: float) -> np.ndarray:
    """Unit direction (left, up, forward) of a camera; the azimuth turns from forward to the subject's right."""
    flat = np.cos(elevation)
    return np.array([-np.sin(azimuth) * flat, np.sin(elevation), np.cos(azimuth) * flat])


def seen_from(azimuth: float, elevation: float) -> np.ndarray:
    """(3, 2): points (left, up, forward) @ this = right and up on the page, for an observer far away there."""
    look = -towards(azimuth, elevation)
    right = np.cross(look, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(right, look)], axis=1)


def _arm(part: Any, label: str, arrays: Arrays, number: int) -> None:
    part.suptitle(_wrapped(label), x=0.01, ha="left", fontsize=8)
    axes = part.subplots(1, 2 * len(ROLES), width_ratios=[0.7, 1.3] * len(ROLES))
    for pair, (role, name) in enumerate(ROLES.items()):
        row = int(np.flatnonzero(arrays["role"] == role)[0])
        flat, deep = axes[2 * pair], axes[2 * pair + 1]
        image(flat, arrays["inputs"][row, :, :2])
        true, guess = _angles(arrays, row)
        _scene(deep, arrays["target/pose_world"][row], true, guess, number)
        azimuth, elevation = errors_deg(true, guess)
        flat.set_title(f"{name}: azimuth off {azimuth:.1f}°,\nelevation off {elevation:.1f}°", loc="left", fontsize=6.5)


def _wrapped(label: str) -> str:
    return "\n".join(textwrap.wrap(label, LABEL_CHARACTERS))


def _angles(arrays: Arrays, row: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """True and predicted azimuth and elevation in radians."""
    sin, cos, tilt = (float(value) for value in arrays["output/angles"][row])
    azimuth, elevation = (float(np.deg2rad(arrays[f"target/{name}_deg"][row])) for name in ("azimuth", "elevation"))
    return (azimuth, elevation), (float(np.arctan2(sin, cos)), tilt)


def errors_deg(true: tuple[float, float], guess: tuple[float, float]) -> tuple[float, float]:
    """Azimuth error around the circle and elevation error, both absolute, of angles in radians."""
    azimuth = np.mod(guess[0] - true[0] + np.pi, 2 * np.pi) - np.pi
    return float(np.rad2deg(abs(azimuth))), float(np.rad2deg(abs(guess[1] - true[1])))


def _scene(axis: Axes, pose: np.ndarray, true: tuple[float, float], guess: tuple[float, float], number: int) -> None:
    """The person on the floor, from a viewpoint that puts the true camera on the right."""
    view = seen_from(true[0] + FROM_AZIMUTH, FROM_ELEVATION)
    body = body_frame(pose)
    floor = float(body[:, 1].min())
    _floor(axis, view, floor)
    stick_figure(axis, body @ view, zorder=3)
    predicted_colour, predicted_mark = mark_of(number)
    for angles, colour, mark in ((true, TRUTH, "*"), (guess, predicted_colour, predicted_mark)):
        camera = REACH_M * towards(*angles)
        foot = np.array([camera[0], floor, camera[2]])
        axis.plot(*(np.stack([camera, np.zeros(3)]) @ view).T, color=colour, linewidth=0.8, zorder=4)
        axis.plot(*(np.stack([camera, foot]) @ view).T, color=colour, linewidth=0.6, linestyle=(0, (1, 1.5)), zorder=1)
        axis.plot(*(camera @ view), marker=mark, color=colour, markersize=6 if mark == "*" else 4.5, zorder=5,
                  markeredgecolor="white", markeredgewidth=0.4)  # fmt: skip
    bare(axis)
    axis.set_aspect("equal")
    axis.set_xlim(-1.25, 1.25)
    axis.set_ylim(-1.32, 1.2)


def _floor(axis: Axes, view: np.ndarray, height: float) -> None:
    """A circle around the feet, and an arrow in the direction the person faces."""
    turn = np.linspace(0, 2 * np.pi, 73)
    ring = np.stack([REACH_M * np.sin(turn), np.full_like(turn, height), REACH_M * np.cos(turn)], axis=1)
    axis.plot(*(ring @ view).T, color=LIGHT, linewidth=0.6, zorder=0)
    tail, head = (np.array([0.0, height, reach]) @ view for reach in (0.0, REACH_M))
    axis.annotate("", head, tail, arrowprops={"arrowstyle": "->", "color": LIGHT, "linewidth": 0.8}, zorder=0)
    axis.annotate("front", head, color=MIDDLE, fontsize=6, ha="center", va="center",
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4}, zorder=1)  # fmt: skip


def _legend(part: Any, arms: int) -> None:
    handles: Sequence[Line2D] = [
        Line2D([], [], color=TRUTH, marker="*", markersize=6, linewidth=0.8, label="true camera"),
        *(
            Line2D([], [], color=mark_of(i)[0], marker=mark_of(i)[1], markersize=4, linewidth=0.8,
                   label="predicted" if i == arms - 1 else "")
            for i in range(arms)
        ),
        Line2D([], [], color="#222222", linewidth=1.2, label="person's left side"),
    ]  # fmt: skip
    part.legend(handles=handles, loc="center", ncols=len(handles), fontsize=6.5, frameon=False, handlelength=1.5,
                columnspacing=0.6, handletextpad=0.4)  # fmt: skip
