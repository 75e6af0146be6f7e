"""Convert one BVH motion of any skeleton to COCO-17 poses in metres, +Y up, and check them. No file access."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from ablate import InputError, Problem
from ablate.depth_refinement.skeleton import INDEX, JOINTS
from ablate.depth_refinement.sources.anatomy import FACE, LENGTHS
from ablate.depth_refinement.sources.bvh import END_SITE, Motion, forward_kinematics
from ablate.depth_refinement.sources.mocap import measured_stature
from ablate.depth_refinement.sources.naming import find_roles
from ablate.depth_refinement.sources.suspicions import check_bones, check_sides, rest_frames, spine_arms

Array = NDArray[np.float64]
Points = Mapping[str, Array]  # role → (F, 3)

# Metres in one file unit. cgspeed's CMU conversion: inches divided by the ASF files' scale of 0.45.
UNITS = {"m": 1.0, "dm": 0.1, "cm": 0.01, "mm": 0.001, "inch": 0.0254, "foot": 0.3048, "inch/0.45 (CMU)": 0.0254 / 0.45}
PLAUSIBLE_STATURE_M = (1.3, 2.2)
_TYPICAL_STATURE_M = 1.70
UP_AXES = {"+x": (0, 1.0), "-x": (0, -1.0), "+y": (1, 1.0), "-y": (1, -1.0), "+z": (2, 1.0), "-z": (2, -1.0)}

# The head frame of the CMU skeleton points about 15° too far down. After this correction the nose points 10° down (mean
# over 15,000 poses of 23 people), as for a level head, whose nose tip is 13° below the line of the ears.
_CMU_HEAD_PITCH_DEG = 15.0
_EARS_ABOVE_HEAD_JOINT = 0.026  # of stature, from CMU 02_01: the joint is at the base of the skull
_HIGHEST_TURN_DEG = 60.0  # of the head against the body, on average over a clip
_ANKLE_ON_FLOOR_M = 0.08


@dataclass(frozen=True)
class Retargeted:
    """The poses of one file, with the unit and axis that were detected."""

    joints: NDArray[np.float32]  # (F, 17, 3) metres, +Y up
    frame_time: float  # seconds between poses
    native_frames: int
    native_fps: float
    unit: str
    metres_per_unit: float
    up_axis: str  # of the file
    stature_m: float
    warnings: tuple[str, ...]


def retarget(
    motion: Motion, file: str, *, fps: float = 12.0, metres_per_unit: float | None = None, up_axis: str | None = None
) -> Retargeted:
    """COCO-17 poses of a motion; `file` is named in errors.

    Frames are picked and not interpolated, so that bones keep their length. Unit and up axis are determined from the
    body unless given. Raises InputError where joints are missing or coincide, or left and right are exchanged.
    """
    roles = _roles_of(motion, file)
    positions, rotations = forward_kinematics(motion)
    up_name, warnings = _find_up(positions, roles) if up_axis is None else (up_axis, [])
    upright = _to_y_up(up_name)
    positions, rotations = positions @ upright.T, upright @ rotations
    points = {role: positions[:, index] for role, index in roles.items()}
    size = _stature(_body(points))
    if size < 1e-6:
        raise InputError(Problem(file, "skeleton", "trunk and legs have no length", f"{size:g} units"))
    scale, unit, found = _find_unit(size, metres_per_unit)
    warnings += found
    points = {role: scale * point for role, point in points.items()}
    first = rest_frames(motion, points)
    if first:
        warnings.append(f"{first} leading frame{'s' * (first > 1)} in a rest pose left out")
    stature = _stature(_body(points))
    axes, found = _head_axes(motion, roles, points, rotations[:, roles["head"]], upright)
    warnings += found
    joints = _body(points)
    _place_face(joints, points, axes, 0.130 * stature)
    joints = joints[_picked(len(joints), first, motion.frame_time, fps)]
    joints[..., 1] += _ANKLE_ON_FLOOR_M - np.percentile(joints[:, [15, 16], 1].min(axis=1), 1)
    problems, found = check_bones(joints, stature)
    warnings += found + spine_arms(motion, roles, joints)
    wrong_sides, found = check_sides({role: point[first:] for role, point in points.items()})
    warnings += found
    if problems + wrong_sides:
        raise InputError(*(Problem(file, "skeleton", rule, value) for rule, value in problems + wrong_sides))
    return Retargeted(
        joints=joints.astype(np.float32),
        frame_time=_step(motion.frame_time, fps) * motion.frame_time,
        native_frames=len(motion.values),
        native_fps=1 / motion.frame_time,
        unit=unit,
        metres_per_unit=scale,
        up_axis=up_name,
        stature_m=stature,
        warnings=tuple(warnings),
    )


def _roles_of(motion: Motion, file: str) -> dict[str, int]:
    roles, missing = find_roles(motion.names)
    if missing:
        raise InputError(
            *(
                Problem(
                    file,
                    "HIERARCHY",
                    f"no joint for the {joint.role}: known names are {joint.known_names}",
                    nearest=f"nearest in the file: {joint.nearest}" if joint.nearest else "",
                )
                for joint in missing
            )
        )
    lengths = np.linalg.norm(motion.offsets, axis=1)
    for side in "lr":
        ends = [i for i, parent in enumerate(motion.parents) if parent == roles[f"{side}_ankle"]]
        toes = [roles[f"{side}_toe"]] if f"{side}_toe" in roles else [i for i in ends if END_SITE in motion.names[i]]
        roles.pop(f"{side}_toe", None)
        if toes and lengths[toes[0]] > 1e-3 * lengths.max():  # a toe at the ankle's position has no direction
            roles[f"{side}_toe"] = toes[0]
    return roles


def _body(points: Points) -> Array:
    """(F, 17, 3) with the points of the face at 0, to be set later."""
    joints = np.zeros((len(points["head"]), len(JOINTS), 3))
    for name, index in INDEX.items():
        if name in points and index >= INDEX["l_shoulder"]:
            joints[:, index] = points[name]
    return joints


def _stature(joints: Array) -> float:
    return float(np.median(measured_stature(joints.astype(np.float32))))


def _find_up(positions: Array, roles: Mapping[str, int]) -> tuple[str, list[str]]:
    """The file axis nearest to the mean direction from ankles to head."""
    ankles = (positions[:, roles["l_ankle"]] + positions[:, roles["r_ankle"]]) / 2
    body = positions[:, roles["head"]] - ankles
    mean = (body / np.maximum(np.linalg.norm(body, axis=1, keepdims=True), 1e-12)).mean(axis=0)
    name = max(UP_AXES, key=lambda axis: mean[UP_AXES[axis][0]] * UP_AXES[axis][1])
    share = abs(mean[UP_AXES[name][0]])
    clear = share > 0.7
    return name, [] if clear else [f"the up axis is unclear (body along {name} by {share:.2f}); give it with --up"]


def _to_y_up(axis: str) -> Array:
    """Rotation (never a reflection) from file axes to +Y up."""
    index, sign = UP_AXES[axis]
    up = sign * np.eye(3)[index]
    forward = np.eye(3)[(index + 1) % 3]
    return np.stack([np.cross(up, forward), up, forward])


def _find_unit(stature: float, given: float | None) -> tuple[float, str, list[str]]:
    """Metres per unit, the unit's name, warnings; `stature` in file units."""
    low, high = PLAUSIBLE_STATURE_M
    if given is not None:
        odd = [] if low <= given * stature <= high else [f"stature of {given * stature:.2f} m with the unit given"]
        return given, "as given", odd
    fitting = {name: metres for name, metres in UNITS.items() if low <= metres * stature <= high}
    if not fitting:
        rule = f"unit unknown ({stature:.4g} units tall): scaled to a stature of {_TYPICAL_STATURE_M:.2f} m"
        return _TYPICAL_STATURE_M / stature, "unknown", [rule]
    name = min(fitting, key=lambda unit: abs(fitting[unit] * stature - _TYPICAL_STATURE_M))
    return fitting[name], name, []


def _head_axes(
    motion: Motion, roles: Mapping[str, int], points: Points, head: Array, upright: Array
) -> tuple[Array, list[str]]:
    """(F, 3, 3) with columns left, up, forward of the head, and warnings.

    Where the file's zero pose is a standing person, the head's axes in that pose are those of the world. Otherwise
    (each bone along its own axis) the head is assumed to face, on average over the clip, the same way as the body.
    """
    body = _body_axes(points)
    mean = np.linalg.svd(np.einsum("fji,fjk->fik", head, body).mean(axis=0))
    facing = mean[0] @ mean[2]
    local = _zero_pose_axes(motion, roles, upright)
    if local is None:
        return head @ facing, ["the zero pose is no standing person: head taken to face ahead on average"]
    turned = np.rad2deg(np.arccos(np.clip(local[:, 2] @ facing[:, 2], -1, 1)))
    if turned > _HIGHEST_TURN_DEG:
        return head @ facing, [f"head frame turned by {turned:.0f}° on average: head taken to face ahead on average"]
    if any(name.lower() == "lhipjoint" for name in motion.names):
        local = local @ Rotation.from_euler("x", -_CMU_HEAD_PITCH_DEG, degrees=True).as_matrix()
    return head @ local, []


def _zero_pose_axes(motion: Motion, roles: Mapping[str, int], upright: Array) -> Array | None:
    """Left, up, forward (columns, in the head's own axes); None unless the pose of all zeros is a standing person."""
    zeros, turns = forward_kinematics(motion, np.zeros((1, motion.values.shape[1])))
    at = {role: zeros[0, index] for role, index in roles.items()}
    ankles, hips = (at["l_ankle"] + at["r_ankle"]) / 2, (at["l_hip"] + at["r_hip"]) / 2
    up = _nearest_axis(at["head"] - ankles)
    left = _nearest_axis(at["l_hip"] - at["r_hip"])
    ordered = (ankles - hips) @ up < -0.5 * np.linalg.norm(ankles - hips) and (at["head"] - hips) @ up > 0
    if not ordered or abs(up @ left) > 0.5:
        return None
    forward = np.cross(left, up)
    if "l_toe" in at and "r_toe" in at and (at["l_toe"] + at["r_toe"] - at["l_ankle"] - at["r_ankle"]) @ forward < 0:
        return None
    local: Array = turns[0, roles["head"]].T @ np.stack([left, up, forward], axis=1)
    return local


def _nearest_axis(vector: Array) -> Array:
    index = int(np.argmax(np.abs(vector)))
    return np.asarray(np.sign(vector[index]) * np.eye(3)[index])


def _body_axes(points: Points) -> Array:
    """(F, 3, 3) with columns left, up, forward; left and forward horizontal, as in `geometry.body_axes`."""
    left = points["l_hip"] - points["r_hip"] + points["l_shoulder"] - points["r_shoulder"]
    left = left * [1, 0, 1]
    left /= np.maximum(np.linalg.norm(left, axis=1, keepdims=True), 1e-9)
    up = np.broadcast_to([0.0, 1.0, 0.0], left.shape)
    return np.stack([left, up, np.cross(left, up)], axis=2)


def _place_face(joints: Array, points: Points, axes: Array, head_height: float) -> None:
    """Set nose, eyes and ears relative to the head joint, or to the eyes where the skeleton has them."""
    if "l_eye" in points and "r_eye" in points:
        _, up, ahead = FACE["eye"]
        ears = (points["l_eye"] + points["r_eye"]) / 2 - head_height * (axes @ np.array([0, up, ahead]))
    else:
        rise = _EARS_ABOVE_HEAD_JOINT / LENGTHS["head"] * head_height
        ears = points["head"] + rise * axes[:, :, 1]
    for part, (x, y, z) in FACE.items():
        for name, sign in ((part, 1),) if part == "nose" else ((f"l_{part}", 1), (f"r_{part}", -1)):
            joints[:, INDEX[name]] = ears + head_height * (axes @ np.array([sign * x, y, z]))


def _step(frame_time: float, fps: float) -> float:
    return max(1.0, 1 / (frame_time * fps))


def _picked(frames: int, first: int, frame_time: float, fps: float) -> NDArray[np.intp]:
    """The frames nearest to the times of `fps`; all frames where the file has fewer per second."""
    step = _step(frame_time, fps)
    wanted = np.round(np.arange(first, frames - 0.5, step)).astype(np.intp)
    return wanted[wanted < frames]
