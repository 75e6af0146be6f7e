"""One upright person with round numbers, facing +Z, left hand towards +X: what the data tests measure against."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

# x to the left, y up, z forward; metres
STANDING = (
    (0.0, 1.60, 0.12),  # nose
    (0.03, 1.64, 0.09), (-0.03, 1.64, 0.09),  # eyes
    (0.07, 1.62, 0.0), (-0.07, 1.62, 0.0),  # ears
    (0.2, 1.40, 0.0), (-0.2, 1.40, 0.0),  # shoulders
    (0.3, 1.15, 0.0), (-0.3, 1.15, 0.0),  # elbows
    (0.35, 0.92, 0.05), (-0.35, 0.92, 0.05),  # wrists
    (0.1, 0.90, 0.0), (-0.1, 0.90, 0.0),  # hips
    (0.1, 0.50, 0.0), (-0.1, 0.50, 0.0),  # knees
    (0.1, 0.10, 0.0), (-0.1, 0.10, 0.0),  # ankles
)  # fmt: skip

# Every error of the detector off: what it says is then the truth.
PERFECT = {
    "noise_level": 0.0,
    "jitter_probability": 0.0,
    "miss_probability": 0.0,
    "face_inversion_probability": 0.0,
    "arm_inversion_probability": 0.0,
    "leg_inversion_probability": 0.0,
    "plane_noise_m": 0.0,
    "depth_noise_m": 0.0,
    "lean_mean_deg": 0.0,
    "lean_sd_deg": 0.0,
    "scale_error": 0.0,
    "limb_flip_probability": 0.0,
}


def standing(count: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    """(count, 17, 3) copies, pelvis at (0, 0.9, 0)."""
    return torch.tensor(STANDING, dtype=dtype).expand(count, 17, 3).clone()


def mocap_arrays(subjects: int = 6, poses: int = 4) -> dict[str, np.ndarray]:
    """A valid file's arrays: each subject a standing person of another height, turned on the spot pose by pose."""
    subject = np.repeat(np.arange(subjects), poses)
    angle = np.arange(len(subject)) * 0.7
    turn = np.zeros((len(subject), 3, 3))
    turn[:, 0, 0] = turn[:, 2, 2] = np.cos(angle)
    turn[:, 0, 2], turn[:, 2, 0], turn[:, 1, 1] = np.sin(angle), -np.sin(angle), 1
    size = 0.9 + 0.03 * subject
    joints = np.einsum("nab,jb->nja", turn, np.array(STANDING)) * size[:, None, None]
    split = np.array([0, 0, 0, 0, 1, 2])[subject % 6]
    return {"joints": joints.astype(np.float32), "subject_id": subject, "clip_id": subject * 2, "split": split}


def write(folder: Path, arrays: dict[str, np.ndarray]) -> Path:
    """`arrays` as an .npz file in `folder`."""
    file = folder / "mocap.npz"
    np.savez(file, **arrays)
    return file
