"""Poses of many people in world axes, split by subject. Plain numpy."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

TRAIN, VAL, TEST = 0, 1, 2
SPLIT_NAMES = ("train", "val", "test")


@dataclass(frozen=True)
class PoseSet:
    """N poses, right-handed, +Y up, metres, COCO-17. Every subject is in one split (0 train, 1 val, 2 test)."""

    joints: NDArray[np.float32]  # (N, 17, 3)
    subject_id: NDArray[np.int64]  # (N,)
    clip_id: NDArray[np.int64]  # (N,)
    split: NDArray[np.int8]  # (N,)
    subject_names: tuple[str, ...]  # may be empty; else subject_names[i] names subject_id i
    clip_names: tuple[str, ...]

    @property
    def up(self) -> tuple[float, float, float]:
        """Direction against gravity, the same in every source."""
        return (0.0, 1.0, 0.0)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of joints, subjects, clips and split, independent of the machine's byte order; names left out."""
        sha = hashlib.sha256()
        for name, kind in (("joints", "<f4"), ("subject_id", "<i8"), ("clip_id", "<i8"), ("split", "<i1")):
            array = np.ascontiguousarray(getattr(self, name), dtype=kind)
            sha.update(f"{name}{array.shape}{kind}".encode())
            sha.update(array.tobytes())
        return sha.hexdigest()
