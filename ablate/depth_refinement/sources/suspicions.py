"""Checks of a converted motion: rest poses, bones that stretch, exchanged sides, missing bones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ablate.depth_refinement.skeleton import BONES, JOINTS
from ablate.depth_refinement.sources.anatomy import ARM_LENGTHS, LENGTHS
from ablate.depth_refinement.sources.bvh import Motion

Array = NDArray[np.float64]
Points = Mapping[str, Array]  # role → (F, 3) metres, +Y up
Finding = tuple[str, str]  # rule, value

_LEG = LENGTHS["thigh"] + LENGTHS["shank"]
_EXPECTED = {  # of stature, by the joint at the far end
    "elbow": ARM_LENGTHS["upper_arm"],
    "wrist": ARM_LENGTHS["forearm"],
    "knee": LENGTHS["thigh"],
    "ankle": LENGTHS["shank"],
}
_STRETCH_WARNED_M = 0.01
_STRETCH_REFUSED = 0.10  # of the bone
_REST_SEARCHED = 5  # frames at the start that are searched for a rest pose
_JUMP_M = 0.02  # smallest jump: mean movement of the joints within one frame; also eight times the clip's median


def rest_frames(motion: Motion, points: Points) -> int:
    """Number of leading frames in a rest pose: all rotations zero, or a T-pose from which the body jumps."""
    turning = _rotation_columns(motion)
    zero = np.abs(motion.values[:_REST_SEARCHED, turning]).max(axis=1, initial=0) < 1e-3
    count = int(np.argmin(zero)) if not zero.all() else len(zero)
    if count:
        return count if count < len(motion.values) else 0
    body = np.stack([point for role, point in points.items() if role != "head"], axis=1)
    body = body - (points["l_hip"] + points["r_hip"])[:, None] / 2
    moved = np.linalg.norm(np.diff(body, axis=0), axis=2).mean(axis=1)
    if not len(moved):
        return 0
    jumps = np.flatnonzero(moved[:_REST_SEARCHED] > max(_JUMP_M, 8 * float(np.median(moved))))
    return int(jumps[0]) + 1 if len(jumps) and _is_t_pose(points, 0) else 0


def _rotation_columns(motion: Motion) -> list[int]:
    """Columns of rotation channels without the root's, which need not be zero in a rest pose."""
    columns, first = [], 0
    for parent, names in zip(motion.parents, motion.channels, strict=True):
        columns += [first + i for i, name in enumerate(names) if name.endswith("rotation") and parent >= 0]
        first += len(names)
    return columns


def _is_t_pose(points: Points, frame: int) -> bool:
    at = {role: point[frame] for role, point in points.items()}
    arms = [at[f"{side}_wrist"] - at[f"{side}_shoulder"] for side in "lr"]
    level = all(abs(arm[1]) < 0.26 * np.linalg.norm(arm) for arm in arms)  # within 15°
    apart = arms[0] @ arms[1] < -0.8 * np.linalg.norm(arms[0]) * np.linalg.norm(arms[1])
    return bool(level and apart)


def check_bones(joints: Array, stature: float) -> tuple[list[Finding], list[str]]:
    """Problems: bones without length or that stretch. Warnings: bones that stretch a little or have an odd length."""
    problems: list[Finding] = []
    warnings = []
    for a, b in BONES[:10]:  # without shoulder to hip, whose distance changes as the spine bends
        name = f"{JOINTS[a]}–{JOINTS[b]}"
        lengths = np.linalg.norm(joints[:, a] - joints[:, b], axis=1)
        middle, stretch = float(np.median(lengths)), float(np.ptp(lengths))
        expected = _EXPECTED.get(JOINTS[b][2:], 0.0) * stature
        if middle < 0.01 * stature:
            problems.append((f"{name}: the two joints lie in one place", f"{1000 * middle:.1f} mm apart"))
        elif stretch > _STRETCH_REFUSED * middle and _is_limb(a, b):
            problems.append((f"{name}: a bone must keep its length", f"{middle:.2f} m ± {stretch / 2:.2f}"))
        elif stretch > _STRETCH_WARNED_M and _is_limb(a, b):
            warnings.append(f"{name} changes its length by {1000 * stretch:.0f} mm")
        elif expected and not 0.6 < middle / expected < 1.5:
            warnings.append(f"{name} is {middle:.2f} m long, about {expected:.2f} m expected")
    return problems, warnings


def _is_limb(a: int, b: int) -> bool:
    return JOINTS[a][2:] != JOINTS[b][2:]  # the distance between the shoulders changes with the collar bones


def check_sides(points: Points) -> tuple[list[Finding], list[str]]:
    """Whether the feet (or knees, without toes) point to the body's front, which its left and right joints define.

    Gives problems and warnings.
    """
    left = points["l_hip"] - points["r_hip"] + points["l_shoulder"] - points["r_shoulder"]
    forward = np.cross(left, [0.0, 1.0, 0.0])
    if "l_toe" in points and "r_toe" in points:
        part = "toes"
        ahead = sum(points[f"{side}_toe"] - points[f"{side}_ankle"] for side in "lr")
    else:
        part = "knees"
        middle = [(points[f"{side}_hip"] + points[f"{side}_ankle"]) / 2 for side in "lr"]
        ahead = points["l_knee"] - middle[0] + points["r_knee"] - middle[1]
    share = float(((forward * ahead).sum(axis=1) > 0).mean())
    if share < 0.2:
        rule = "left and right are exchanged, or the axes are left-handed: export it right-handed"
        return [(rule, f"{part} point ahead in {share:.0%} of the frames")], []
    return [], [] if share > 0.8 else [f"{part} point ahead in only {share:.0%} of the frames: check left and right"]


def spine_arms(motion: Motion, roles: Mapping[str, int], joints: Array) -> list[str]:
    """A warning where arms and neck both begin at the spine, because a converter dropped the bones in between."""
    lengths = np.linalg.norm(motion.offsets, axis=1)
    none = 1e-4 * lengths.max()
    collars = [roles[f"{side}_collar"] for side in "lr" if f"{side}_collar" in roles]
    if not collars or any(lengths[collar] > none for collar in collars):
        return []
    spine = motion.parents[collars[0]]
    neck = roles["head"]
    while neck >= 0 and motion.parents[neck] != spine:
        neck = motion.parents[neck]
    if neck < 0 or lengths[neck] > none:
        return []
    trunk = np.median(np.linalg.norm((joints[:, 5] + joints[:, 6] - joints[:, 11] - joints[:, 12]) / 2, axis=1))
    leg = np.linalg.norm(joints[0, 11] - joints[0, 13]) + np.linalg.norm(joints[0, 13] - joints[0, 15])
    short = LENGTHS["trunk"] / _LEG * leg - trunk
    return [
        f"arms begin at the spine joint '{motion.names[spine]}' (collar and neck of no length, as in cgspeed's CMU "
        f"files): shoulders and head about {max(0.0, short):.2f} m too low, wrists often short of the hand"
    ]
