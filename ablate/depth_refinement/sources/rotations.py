"""Rotation matrices about the coordinate axes. Plain numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def axis_rotation(axis: int, degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) right-handed angles in degrees → (n, 3, 3) rotations of column vectors about x (0), y (1) or z (2)."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    after, last = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.zeros((*degrees.shape, 3, 3))
    matrix[..., axis, axis] = 1
    matrix[..., after, after] = matrix[..., last, last] = cos
    matrix[..., after, last] = -sin
    matrix[..., last, after] = sin
    return matrix
