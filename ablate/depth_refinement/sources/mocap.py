"""Read motion capture from plain arrays in an .npz, and refuse files with another layout or implausible values.

The layout: `joints` (N, 17, 3) float, COCO-17 order, metres, right-handed, +Y up; `subject_id` (N,) integer. Optional:
`clip_id` (N,) integer, `split` (N,) 0 train, 1 val, 2 test, `subject_names`, `clip_names`, `joint_names` (17,).
Arrays with other names are ignored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablate import Arrays, InputError, Problem, open_npz
from ablate.depth_refinement.skeleton import INDEX, JOINTS, NUM_JOINTS
from ablate.depth_refinement.sources.poses import SPLIT_NAMES, TEST, TRAIN, VAL, PoseSet

REQUIRED = ("joints", "subject_id")
# dtype kinds that each array may have; "O", pickled objects, is not allowed
_KINDS = {
    "joints": "f", "subject_id": "iu", "clip_id": "iu", "split": "iu",
    "subject_names": "U", "clip_names": "U", "joint_names": "U",
}  # fmt: skip
_KIND_NAMES = {"f": "floating point", "iu": "integer", "U": "text"}
MAX_BYTES = 4_000_000_000  # limit for all unpacked arrays: twenty million poses
STATURE_M = (0.5, 2.5)
FARTHEST_M = 1e4  # of a joint from the origin
# Trunk, thigh and shank between joint centres as a share of stature (Drillis & Contini: .288 + .245 + .246).
_MEASURED_SHARE = 0.779
HELD_OUT_SHARE = 0.15


def read(file: Path) -> PoseSet:
    """The poses of `file`. Without `split`, `assign_splits` assigns subjects to splits.

    Raises InputError with every problem found: file, array, rule, value.
    """
    arrays = _load(file)
    _require(file, _shape_problems(arrays))
    _require(file, _value_problems(arrays))
    subject = arrays["subject_id"].astype(np.int64)
    poses = PoseSet(
        joints=arrays["joints"].astype(np.float32),
        subject_id=subject,
        clip_id=arrays.get("clip_id", subject).astype(np.int64),
        split=arrays["split"].astype(np.int8) if "split" in arrays else assign_splits(subject),
        subject_names=tuple(map(str, arrays.get("subject_names", ()))),
        clip_names=tuple(map(str, arrays.get("clip_names", ()))),
    )
    _require(file, _plausibility_problems(poses))
    return poses


def assign_splits(subject_id: NDArray[np.int64]) -> NDArray[np.int8]:
    """A split for every pose; all poses of a subject are in one. The same subject numbers give the same splits.

    Subjects are sorted by the hash of their number: the first 15 % (at least one) are for test, the next 15 % for
    validation, the rest for training. With fewer than three subjects, all of them are for test.
    """
    subjects = sorted(np.unique(subject_id).tolist(), key=lambda number: hashlib.sha256(str(number).encode()).digest())
    held_out = max(1, round(HELD_OUT_SHARE * len(subjects)))
    if len(subjects) < 3:
        return np.full(subject_id.shape, TEST, dtype=np.int8)
    split = np.full(subject_id.shape, TRAIN, dtype=np.int8)
    split[np.isin(subject_id, subjects[:held_out])] = TEST
    split[np.isin(subject_id, subjects[held_out : 2 * held_out])] = VAL
    return split


def _require(file: Path, problems: list[Problem]) -> None:
    if problems:
        raise InputError(*(problem._replace(file=str(file)) for problem in problems))


def _load(file: Path) -> Arrays:
    arrays: Arrays = {}
    problems = []
    with open_npz(file, most_bytes=MAX_BYTES) as archive:
        for name in sorted(_KINDS.keys() & set(archive.names)):
            try:
                arrays[name] = archive.read(name)
            except ValueError as error:
                problems.append(Problem("", name, f"cannot be read as a plain array: {error}"))
    missing = [name for name in REQUIRED if name not in archive.names]
    found = ", ".join(archive.names)[:200] or "none"
    _require(file, problems + [Problem("", name, "array is missing", f"arrays: {found}") for name in missing])
    return arrays


def _shape_problems(arrays: Mapping[str, NDArray[Any]]) -> list[Problem]:
    problems = []
    for name, kinds in _KINDS.items():
        if name in arrays and arrays[name].dtype.kind not in kinds:
            problems.append(Problem("", name, f"must be {_KIND_NAMES[kinds]}", str(arrays[name].dtype)))
    joints = arrays["joints"]
    if joints.ndim != 3 or joints.shape[1:] != (NUM_JOINTS, 3):
        return [*problems, Problem("", "joints", f"shape must be (N, {NUM_JOINTS}, 3)", str(joints.shape))]
    if not len(joints):
        problems.append(Problem("", "joints", "must hold at least one pose", str(joints.shape)))
    for name in ("subject_id", "clip_id", "split"):
        if name in arrays and arrays[name].shape != joints.shape[:1]:
            rule = f"shape must be ({len(joints)},), one number a pose"
            problems.append(Problem("", name, rule, str(arrays[name].shape)))
    lists = [name for name in ("subject_names", "clip_names", "joint_names") if name in arrays]
    wrong = [name for name in lists if arrays[name].ndim != 1]
    return problems + [Problem("", name, "must be a list of names", str(arrays[name].shape)) for name in wrong]


def _value_problems(arrays: Mapping[str, NDArray[Any]]) -> list[Problem]:
    with np.errstate(over="ignore", invalid="ignore"):
        bad = np.argwhere(~(np.abs(arrays["joints"].astype(np.float32)) < FARTHEST_M))
    problems = []
    if len(bad):
        first = tuple(int(i) for i in bad[0])
        wanted = f"within {FARTHEST_M:g} m of the origin" if np.isfinite(arrays["joints"][first]) else "finite"
        rule = f"must be {wanted}; {len(bad)} values are not, the first is [{', '.join(map(str, first))}]"
        problems.append(Problem("", "joints", rule, str(arrays["joints"][first])))
    for ids, names in (("subject_id", "subject_names"), ("clip_id", "clip_names")):
        if ids in arrays and names in arrays:
            outside = np.setdiff1d(arrays[ids], np.arange(len(arrays[names])))
            if len(outside):
                rule = f"must index {names}, which has {len(arrays[names])}"
                problems.append(Problem("", ids, rule, _some(outside)))
    if "joint_names" in arrays and tuple(arrays["joint_names"]) != JOINTS:
        given = ", ".join(map(str, arrays["joint_names"][:NUM_JOINTS]))
        problems.append(Problem("", "joint_names", "must be COCO-17 in its order", given, "; ".join(JOINTS)))
    return problems + (_split_problems(arrays) if "split" in arrays else [])


def _split_problems(arrays: Mapping[str, NDArray[Any]]) -> list[Problem]:
    problems = []
    unknown = np.setdiff1d(arrays["split"], (TRAIN, VAL, TEST))
    if len(unknown):
        problems.append(Problem("", "split", "must be 0 (train), 1 (val) or 2 (test)", _some(unknown)))
    pairs = np.unique(np.stack([arrays["subject_id"].astype(np.int64), arrays["split"].astype(np.int64)]), axis=1)
    subjects, splits = np.unique(pairs[0], return_counts=True)
    shared = subjects[splits > 1]
    if len(shared):
        rule = "a subject must lie in one split only; in several are subjects"
        problems.append(Problem("", "split", rule, _some(shared)))
    return problems


def _some(values: NDArray[Any]) -> str:
    shown = ", ".join(str(value) for value in values[:5].tolist())
    return shown if len(values) <= 5 else f"{shown} and {len(values) - 5} more"


def _plausibility_problems(poses: PoseSet) -> list[Problem]:
    """Checks units, up axis and left/right, the most frequent errors of converters."""
    stature = measured_stature(poses.joints)
    problems = []
    for subject in np.unique(poses.subject_id):
        middle = float(np.median(stature[poses.subject_id == subject]))
        if not STATURE_M[0] <= middle <= STATURE_M[1]:
            rule = f"subject {subject}: stature must be {STATURE_M[0]} to {STATURE_M[1]} m; are the units metres?"
            problems.append(Problem("", "joints", rule, f"about {middle:.3g} m"))
    return problems or _axis_problems(poses.joints)


def measured_stature(joints: NDArray[np.float32]) -> NDArray[np.float32]:
    """Stature (N,) in metres from trunk and leg lengths, independent of the posture."""
    legs = [_distance(joints, f"{side}_{a}", f"{side}_{b}") for side in "lr" for a, b in _LEG_BONES]
    spine = _middle(joints, "shoulder") - _middle(joints, "hip")
    return np.asarray((np.linalg.norm(spine, axis=-1) + sum(legs) / 2) / _MEASURED_SHARE)


_LEG_BONES = (("hip", "knee"), ("knee", "ankle"))


def _axis_problems(joints: NDArray[np.float32]) -> list[Problem]:
    spine = _middle(joints, "shoulder") - _middle(joints, "hip")
    mean = (spine / np.maximum(np.linalg.norm(spine, axis=-1, keepdims=True), 1e-9)).mean(0)
    # The directions of people who lie average out; a wrong axis does not.
    if max(abs(mean[0]), -mean[1], abs(mean[2])) > 0.7:
        rule = "+Y must be up; the mean direction from hips to shoulders is"
        return [Problem("", "joints", rule, "({:.2f}, {:.2f}, {:.2f})".format(*mean))]
    across = joints[:, INDEX["l_shoulder"]] - joints[:, INDEX["r_shoulder"]]
    nose = joints[:, INDEX["nose"]] - _middle(joints, "ear")
    ahead = float(((np.cross(across, spine) * nose).sum(-1) > 0).mean())
    if ahead < 0.2:
        rule = "the nose must be in front of the ears; are left and right exchanged, or the axes left-handed?"
        return [Problem("", "joints", rule, f"in {ahead:.0%} of the poses it is")]
    return []


def _middle(joints: NDArray[np.float32], part: str) -> NDArray[np.float32]:
    return np.asarray((joints[:, INDEX[f"l_{part}"]] + joints[:, INDEX[f"r_{part}"]]) / 2)


def _distance(joints: NDArray[np.float32], a: str, b: str) -> NDArray[np.float32]:
    return np.asarray(np.linalg.norm(joints[:, INDEX[a]] - joints[:, INDEX[b]], axis=-1))


__all__ = ["REQUIRED", "SPLIT_NAMES", "assign_splits", "measured_stature", "read"]
