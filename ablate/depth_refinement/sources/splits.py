"""Assign subjects to splits, at random or in folds, and thin poses. All poses of a subject are in one split.

Subjects are shuffled by hashing their numbers: the result is the same on every machine and with every library version.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ablate import InputError, Problem
from ablate.depth_refinement.sources.poses import TEST, TRAIN, VAL, PoseSet


def thin(poses: PoseSet, train: int | None = None, evaluated: int | None = None) -> PoseSet:
    """The same poses with at most `train` of training and `evaluated` each of validation and of test.

    The poses that remain are evenly spread in file order; None means no limit.
    """
    most = {TRAIN: train, VAL: evaluated, TEST: evaluated}
    keep = np.sort(np.concatenate([_spread(poses.split, split, number) for split, number in most.items()]))
    if len(keep) == len(poses.split):
        return poses
    arrays = {name: getattr(poses, name)[keep] for name in ("joints", "subject_id", "clip_id", "split")}
    return replace(poses, **arrays)


def _spread(splits: NDArray[np.int8], split: int, most: int | None) -> NDArray[np.int64]:
    rows = np.flatnonzero(splits == split)
    if most is None or len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)]


def deal(poses: PoseSet, seed: int) -> PoseSet:
    """Subjects assigned to splits at random; each split keeps its number of subjects."""
    subjects = _shuffled(poses, f"split/{seed}")
    held_out, tested = (_subjects_of(poses, split) for split in (VAL, TEST))
    return _split(poses, subjects[tested : tested + held_out], subjects[:tested])


def fold(poses: PoseSet, number: int, folds: int, *, seed: int, source: str) -> PoseSet:
    """Fold `number` of `folds`: its subjects test, the next of a fixed shuffle are validation, the rest training.

    The sizes of folds differ by at most one subject. Validation keeps its number of subjects, at least one. Raises
    InputError where there are too few subjects.
    """
    subjects = _shuffled(poses, f"fold/{seed}")
    held_out = max(1, _subjects_of(poses, VAL))
    largest = -(-len(subjects) // folds)
    if folds > len(subjects) or largest + held_out >= len(subjects):
        most = len(subjects) - held_out - 1
        least = next((n for n in range(2, len(subjects) + 1) if -(-len(subjects) // n) <= most), None)
        rule = f"the {len(subjects)} subjects must leave some to train on besides a fold and {held_out} of validation"
        nearest = f"{least} to {len(subjects)} folds" if least else "bring more subjects"
        raise InputError(Problem(source, "folds", rule, str(folds), nearest))
    groups = np.array_split(subjects, folds)
    start = sum(len(group) for group in groups[:number])
    order = np.roll(subjects, -start)
    tested = len(groups[number])
    return _split(poses, order[tested : tested + held_out], order[:tested])


def _shuffled(poses: PoseSet, salt: str) -> NDArray[np.int64]:
    numbers = np.unique(poses.subject_id).tolist()
    return np.array(sorted(numbers, key=lambda number: hashlib.sha256(f"{salt}/{number}".encode()).digest()))


def _subjects_of(poses: PoseSet, split: int) -> int:
    return len(np.unique(poses.subject_id[poses.split == split]))


def _split(poses: PoseSet, validation: NDArray[np.int64], test: NDArray[np.int64]) -> PoseSet:
    split = np.full(poses.split.shape, TRAIN, dtype=np.int8)
    split[np.isin(poses.subject_id, validation)] = VAL
    split[np.isin(poses.subject_id, test)] = TEST
    return replace(poses, split=split)
