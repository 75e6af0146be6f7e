"""A recording by several calibrated cameras, stored as plain arrays in an .npz: read, check, write. No torch.

The layout, F frames, C cameras, COCO-17: `kp2d` (F, C, 17, 2) pixels of the distorted image, `conf` (F, C, 17) (0 or
NaN: not detected), `K` (C, 3, 3), `dist` (C, 4) OpenCV k1 k2 p1 p2, `R` (C, 3, 3), `t` (C, 3) with x_cam = R x_world
+ t, `joints3d` (F, 17, 3) metres (NaN: not found), `world_up` (3,). Optional: `cam_names`, `image_size`, `fps`,
`joint_names`. Arrays with other names (labels, residuals) are ignored: labels are computed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablate import InputError, Problem, array_names, open_npz
from ablate.depth_refinement.skeleton import FACE, INDEX, JOINTS, NUM_JOINTS
from ablate.depth_refinement.sources.calibration import Rig, rig_problems
from ablate.depth_refinement.sources.npz_writer import write_npz

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
REQUIRED = ("kp2d", "conf", "K", "dist", "R", "t", "joints3d", "world_up")
OPTIONAL = ("image_size", "cam_names", "joint_names", "fps")
MAX_BYTES = 2_000_000_000  # limit for all unpacked arrays: an hour of eight cameras at 60 fps has 0.4 GB
LARGEST = {"kp2d": 1e6, "conf": 1e6, "joints3d": 1e4}  # pixels, none, metres
TRUNK_M = (0.25, 1.0)  # plausible distances from mid-hip to mid-shoulder
LEVEL = 0.85  # a mean trunk direction with a larger horizontal part means a wrong axis: nobody lies all the time


@dataclass(frozen=True)
class Recording:
    """One person seen by the cameras of `rig` in F frames."""

    rig: Rig
    kp2d: Array  # (F, C, 17, 2) pixels, distorted; NaN where not detected
    confidence: Array  # (F, C, 17) in [0, 1]; 0 where not detected
    joints3d: Array  # (F, 17, 3) world, metres; NaN where not found
    world_up: Array  # (3,) unit
    fps: float


def is_recording(file: Path) -> bool:
    """Whether the file is an .npz with the array names of this layout; their contents are not checked."""
    return {"kp2d", "conf", "joints3d"} <= array_names(file)


def read(file: Path) -> Recording:
    """The recording in `file`. Raises InputError with every problem found: file, array, rule, value."""
    arrays = _load(file)
    _require(file, _shape_problems(arrays))
    _require(file, _value_problems(arrays))
    cameras = len(arrays["K"])
    names = arrays.get("cam_names", np.array([f"camera {i + 1}" for i in range(cameras)]))
    size = arrays.get("image_size", np.full((cameras, 2), np.nan)).astype(np.float64)
    k, dist, rotation, shift = (arrays[key].astype(np.float64) for key in ("K", "dist", "R", "t"))
    rig = Rig(tuple(map(str, names)), k, dist, rotation, shift, size)
    _require(file, rig_problems(rig))
    confidence = np.nan_to_num(arrays["conf"].astype(np.float64), nan=0.0)
    seen = (confidence > 0) & np.isfinite(arrays["kp2d"]).all(-1)
    up = arrays["world_up"].astype(np.float64)
    recording = Recording(
        rig=rig,
        kp2d=np.where(seen[..., None], arrays["kp2d"].astype(np.float64), np.nan),
        confidence=np.where(seen, confidence, 0.0),
        joints3d=arrays["joints3d"].astype(np.float64),
        world_up=up / np.linalg.norm(up),
        fps=float(arrays.get("fps", np.array(np.nan))),
    )
    _require(file, plausibility_problems(recording))
    return recording


def write(out: Path, recording: Recording, more: Mapping[str, NDArray[Any]]) -> None:
    """Write `out` in this layout, with `more` arrays beside it; whole or not at all."""
    arrays: dict[str, Any] = {
        "kp2d": recording.kp2d.astype(np.float32),
        "conf": recording.confidence.astype(np.float32),
        "K": recording.rig.K,
        "dist": recording.rig.dist,
        "R": recording.rig.R,
        "t": recording.rig.t,
        "image_size": recording.rig.image_size,
        "cam_names": np.array(recording.rig.names),
        "joints3d": recording.joints3d.astype(np.float32),
        "world_up": recording.world_up,
        "fps": np.float32(recording.fps),
        "joint_names": np.array(JOINTS),
        **more,
    }
    write_npz(out, arrays)


def complete_heads(joints3d: Array) -> Array:
    """(F, 17, 3) with single missing face joints filled in, from the same head in the frames that have all five.

    A head is rigid: the mean head is turned onto the face joints that a frame has (Kabsch), at least three of them.
    Frames with fewer, and other missing joints, stay as they are.
    """
    face = joints3d[:, list(FACE)]
    found: Mask = np.asarray(np.isfinite(face).all(-1))
    whole: Mask = np.asarray(found.all(-1))
    filled = joints3d.copy()
    if not whole.any():
        return filled
    head = _mean_head(face[whole])
    for frame in np.flatnonzero(~whole & (found.sum(-1) >= 3)):
        known = found[frame]
        rotation, shift = _rigid(head[known], face[frame, known])
        guess = head @ rotation.T + shift
        filled[frame, list(FACE)] = np.where(known[:, None], face[frame], guess)
    return filled


def _mean_head(faces: Array) -> Array:
    """Mean of heads (n, 5, 3), each turned onto the first."""
    turned = []
    for face in faces:
        rotation, shift = _rigid(face, faces[0])
        turned.append(face @ rotation.T + shift)
    return np.asarray(np.mean(turned, axis=0))


def _rigid(source: Array, target: Array) -> tuple[Array, Array]:
    """Rotation and shift that bring points (n, 3) onto others best (Kabsch 1976)."""
    a, b = source - source.mean(0), target - target.mean(0)
    u, _, v = np.linalg.svd(a.T @ b)
    flip = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ v))])
    rotation = (v.T * flip) @ u.T
    return rotation, target.mean(0) - rotation @ source.mean(0)


def plausibility_problems(recording: Recording) -> list[Problem]:
    """Units and up axis: the trunk must have a person's length and, over the recording, point up."""
    joints = recording.joints3d
    trunk = _middle(joints, "shoulder") - _middle(joints, "hip")
    trunk = trunk[np.isfinite(trunk).all(-1)]
    if not len(trunk):
        return [Problem("", "joints3d", "no frame has both hips and both shoulders")]
    length = float(np.median(np.linalg.norm(trunk, axis=-1)))
    low, high = TRUNK_M
    if not low <= length <= high:
        rule = f"the trunk (mid-hip to mid-shoulder) must have {low} to {high} m; is the calibration in metres?"
        return [Problem("", "joints3d", rule, f"{length:.3g} m")]
    mean = (trunk / np.linalg.norm(trunk, axis=-1, keepdims=True)).mean(0)
    rise = float(mean @ recording.world_up)
    if rise < -0.5 or float(np.linalg.norm(mean - rise * recording.world_up)) > LEVEL:
        rule = "must point against gravity; the mean direction from hips to shoulders is"
        hint = f"world_up is ({', '.join(f'{x:g}' for x in recording.world_up)})"
        return [Problem("", "world_up", rule, "({:.2f}, {:.2f}, {:.2f})".format(*mean), hint)]
    return []


def _middle(joints: Array, part: str) -> Array:
    return np.asarray((joints[:, INDEX[f"l_{part}"]] + joints[:, INDEX[f"r_{part}"]]) / 2)


def _require(file: Path, problems: list[Problem]) -> None:
    if problems:
        raise InputError(*(problem._replace(file=str(file)) for problem in problems))


def _load(file: Path) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    with open_npz(file, most_bytes=MAX_BYTES) as archive:
        problems = [Problem("", name, "array is missing") for name in REQUIRED if name not in archive.names]
        for name in (n for n in (*REQUIRED, *OPTIONAL) if n in archive.names):
            try:
                arrays[name] = archive.read(name)
            except ValueError as error:
                problems.append(Problem("", name, f"cannot be read as a plain array: {error}"))
    _require(file, problems)
    return arrays


def _shape_problems(arrays: Mapping[str, NDArray[Any]]) -> list[Problem]:
    problems = []
    kp2d = arrays["kp2d"]
    frames, cameras = kp2d.shape[:2] if kp2d.ndim == 4 else (0, 0)
    if kp2d.ndim != 4 or kp2d.shape[2:] != (NUM_JOINTS, 2) or not frames or not cameras:
        rule = f"shape must be (frames, cameras, {NUM_JOINTS}, 2), at least one of each"
        return [Problem("", "kp2d", rule, str(kp2d.shape))]
    shapes = {
        "conf": kp2d.shape[:3],
        "joints3d": (frames, NUM_JOINTS, 3),
        "K": (cameras, 3, 3),
        "dist": (cameras, 4),
        "R": (cameras, 3, 3),
        "t": (cameras, 3),
        "world_up": (3,),
        "image_size": (cameras, 2),
        "cam_names": (cameras,),
        "joint_names": (NUM_JOINTS,),
        "fps": (),
    }
    for name, array in arrays.items():
        text = name.endswith("names")
        if array.dtype.kind not in ("U" if text else "fiu"):
            problems.append(Problem("", name, f"must hold {'text' if text else 'numbers'}", str(array.dtype)))
        elif name in shapes and array.shape != shapes[name]:
            problems.append(Problem("", name, f"shape must be {shapes[name]}", str(array.shape)))
    return problems


def _value_problems(arrays: Mapping[str, NDArray[Any]]) -> list[Problem]:
    problems = []
    for name, most in LARGEST.items():
        wrong = np.argwhere(np.abs(arrays[name].astype(np.float64)) >= most)  # not so of NaN
        if len(wrong):
            place = tuple(map(int, wrong[0]))
            rule = f"must be finite, or NaN for what was not found, and below {most:g}"
            problems.append(Problem("", name, rule, f"{arrays[name][place]:g} at {place}"))
    confidence = arrays["conf"][np.isfinite(arrays["conf"])]
    if len(confidence) and not (confidence.min() >= 0 and confidence.max() <= 1.5):
        worst = confidence.min() if confidence.min() < 0 else confidence.max()
        problems.append(Problem("", "conf", "must lie between 0 and 1", f"{worst:.3g}"))
    up = arrays["world_up"].astype(np.float64)
    if not ((np.abs(up) < 1e6).all() and np.linalg.norm(up) > 1e-6):
        problems.append(Problem("", "world_up", "must be a direction", str(up.tolist())))
    if "joint_names" in arrays and tuple(arrays["joint_names"]) != JOINTS:
        given = ", ".join(map(str, arrays["joint_names"]))[:200]
        problems.append(Problem("", "joint_names", "must be COCO-17 in its order", given, "; ".join(JOINTS)))
    return problems
