"""Procedural people in everyday postures, generated from a seed, without a file or download. Plain numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ablate import InputError, Problem
from ablate.depth_refinement.skeleton import INDEX
from ablate.depth_refinement.sources.anatomy import SIDES, Array, Bodies, draw_bodies, joints_of
from ablate.depth_refinement.sources.poses import TEST, TRAIN, VAL, PoseSet
from ablate.depth_refinement.sources.postures import POSTURES, draw_posture

_MIN_SUBJECTS = 3  # one for each split
_HELD_OUT = 0.15  # share of the subjects for validation, and the same share for test


def generate(*, subjects: int = 24, poses_per_subject: int = 200, seed: int = 0) -> PoseSet:
    """People of different builds, each standing, walking, reaching, sitting, crouching and dancing.

    Segment lengths: Drillis & Contini; ranges of motion: AAOS (`anatomy.LIMITS`). The clip is the posture's class.
    About 70/15/15 % of the subjects are for training, validation and test. Raises InputError for counts too small.
    """
    _check_counts(subjects, poses_per_subject)
    rng = np.random.default_rng(seed)
    people = draw_bodies(subjects, rng=rng)
    split_of = _draw_split(subjects, rng=rng)
    subject = np.repeat(np.arange(subjects), poses_per_subject)
    shares = np.array([share for _, share in POSTURES.values()])
    clip = rng.choice(len(POSTURES), subject.shape[0], p=shares)
    joints = np.empty((subject.shape[0], len(INDEX), 3))
    for number, posture in enumerate(POSTURES):
        rows = np.flatnonzero(clip == number)
        bodies = people[subject[rows]]
        joints[rows] = pose(bodies, draw_posture(posture, bodies, rng=rng))
    return PoseSet(
        joints=joints.astype(np.float32),
        subject_id=subject.astype(np.int64),
        clip_id=clip.astype(np.int64),
        split=split_of[subject],
        subject_names=tuple(f"synthetic-{i:03d}" for i in range(subjects)),
        clip_names=tuple(POSTURES),
    )


def pose(bodies: Bodies, angles: dict[str, Array]) -> Array:
    """Forward kinematics in which arms are moved out of the trunk: (n, 17, 3) metres."""
    joints = joints_of(bodies, angles)
    for _ in range(8):
        inside = {side: arm_in_trunk(joints, bodies, side) for side in SIDES}
        rows = np.flatnonzero(inside["l"] | inside["r"])
        if rows.size == 0:
            break
        for side, arm in inside.items():
            angles = angles | _moved_out(angles, side, arm)
        joints[rows] = joints_of(bodies[rows], {name: value[rows] for name, value in angles.items()})
    return joints


def arm_in_trunk(joints: Array, bodies: Bodies, side: str) -> NDArray[np.bool_]:
    """Whether an elbow or wrist is inside an elliptic trunk: 0.85 shoulder widths wide, 0.11 statures deep."""
    low = joints[:, [INDEX["l_hip"], INDEX["r_hip"]]].mean(axis=1)
    high = joints[:, [INDEX["l_shoulder"], INDEX["r_shoulder"]]].mean(axis=1)
    across = _unit(joints[:, INDEX["l_shoulder"]] - joints[:, INDEX["r_shoulder"]])
    along = _unit(high - low)
    ahead = np.cross(across, along)
    inside = np.zeros(joints.shape[0], dtype=bool)
    for name in ("elbow", "wrist"):
        point = joints[:, INDEX[f"{side}_{name}"]] - low
        height = (point * along).sum(axis=1) / np.linalg.norm(high - low, axis=1)
        aside = (point * across).sum(axis=1) / (0.85 * bodies.half_shoulders)
        depth = (point * ahead).sum(axis=1) / (0.055 * bodies.stature)
        inside |= (aside**2 + depth**2 < 1) & (height > 0) & (height < 1)
    return inside


def _moved_out(angles: dict[str, Array], side: str, rows: NDArray[np.bool_]) -> dict[str, Array]:
    away = {f"{side}_shoulder_abduction": angles[f"{side}_shoulder_abduction"] + 10}
    away[f"{side}_shoulder_rotation"] = 0.6 * angles[f"{side}_shoulder_rotation"] - 5
    return {name: np.where(rows, value, angles[name]) for name, value in away.items()}


def _draw_split(subjects: int, *, rng: np.random.Generator) -> NDArray[np.int8]:
    held_out = max(1, round(_HELD_OUT * subjects))
    split = np.full(subjects, TRAIN, dtype=np.int8)
    order = rng.permutation(subjects)
    split[order[:held_out]] = VAL
    split[order[held_out : 2 * held_out]] = TEST
    return split


def _check_counts(subjects: int, poses_per_subject: int) -> None:
    problems = []
    if subjects < _MIN_SUBJECTS:
        rule = f"must be at least {_MIN_SUBJECTS}, one person each for training, validation and test"
        problems.append(Problem("synthetic poses", "subjects", rule, str(subjects)))
    if poses_per_subject < 1:
        problems.append(Problem("synthetic poses", "poses_per_subject", "must be at least 1", str(poses_per_subject)))
    if problems:
        raise InputError(*problems)


def _unit(vector: Array) -> Array:
    length: Array = np.linalg.norm(vector, axis=-1, keepdims=True)
    return vector / length
