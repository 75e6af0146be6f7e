"""Camera resection: rotation and translation of the camera from known 3D points and their detected image positions.

Least squares of the reprojection error in units of its standard deviation, with soft-L1 per coordinate, so that gross
errors count linearly and not squared. Several starts, because a camera on the wrong side of the body is a local
minimum.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

Array = NDArray[np.float64]

STARTS = 8  # directions around the points, at the height of their centre
# Steps from every start. More change no result (measured on mocap), because scipy takes the last steps.
STEPS = 12
# Smallest depth in metres: a step that is too large must not divide by zero.
_NEAR = 0.05
_DAMPING = (1e-3, 1e-9, 1e9)  # initial, smallest, largest


class Camera(NamedTuple):
    """x_camera = rotation @ x + translation, OpenCV axes; leading dimensions as those of the detections."""

    rotation: Array  # (…, 3, 3)
    translation: Array  # (…, 3)


def solve(points: Array, image: Array, sd: Array) -> Camera:
    """The best camera for each example.

    points: (batch, n, 3), metres, +Y up, n at least 4; image: (batch, n, 2) as x/z, y/z; sd: (batch, n), positive, the
    SD of each coordinate. A damped Gauss-Newton descent runs from every start (Levenberg-Marquardt with the weights of
    soft-L1); then scipy's `least_squares` refines the best result.
    """
    repeated = tuple(np.repeat(array, STARTS, axis=0) for array in (points, image, sd))
    cameras, cost = _descend(_starts(points, image), *repeated)
    best = np.arange(len(points)) * STARTS + cost.reshape(-1, STARTS).argmin(1)
    rotation, translation = cameras.rotation[best], cameras.translation[best]
    polished = [_polish(*example) for example in zip(rotation, translation, points, image, sd, strict=True)]
    return Camera(*(np.stack(parts) for parts in zip(*polished, strict=True)))


def _starts(points: Array, image: Array) -> Camera:
    """Level cameras all around, at the distance at which the points project to the size of their image."""
    angle = 2 * np.pi * np.arange(STARTS) / STARTS
    zero, one = np.zeros(STARTS), np.ones(STARTS)
    rows = [[np.cos(angle), zero, -np.sin(angle)], [zero, -one, zero], [-np.sin(angle), zero, -np.cos(angle)]]
    rotation = np.array(rows).transpose(2, 0, 1)
    centre, middle = points.mean(1), image.mean(1)
    height, seen = (np.ptp(array[..., 1], axis=1) for array in (points, image))
    size = np.sqrt(((points - centre[:, None]) ** 2).sum(-1).mean(1))
    spread = np.sqrt(((image - middle[:, None]) ** 2).sum(-1).mean(1))
    depth = np.maximum((size + height) / np.maximum(spread + seen, 1e-9), 2 * size + _NEAR)
    position = depth[:, None] * np.concatenate([middle, np.ones_like(middle[:, :1])], axis=1)
    translation = position[:, None] - np.einsum("sij,bj->bsi", rotation, centre)
    return Camera(np.tile(rotation, (len(points), 1, 1)), translation.reshape(-1, 3))


def _descend(camera: Camera, points: Array, image: Array, sd: Array) -> tuple[Camera, Array]:
    """Damped Gauss-Newton, with a damping for each example; a step that raises the cost is rejected."""
    residuals, jacobian = _reprojection(camera, points, image, sd)
    cost, damping = _soft_l1(residuals), np.full(len(points), _DAMPING[0])
    for _ in range(STEPS):
        weighted = jacobian / np.sqrt(1 + residuals**2)[..., None]
        normal = jacobian.transpose(0, 2, 1) @ weighted
        slope = (residuals[:, None] @ weighted)[:, 0]
        damped = normal + np.einsum("b,bi,ij->bij", damping, np.einsum("bii->bi", normal) + 1e-12, np.eye(6))
        trial = _moved(camera, -np.linalg.solve(damped, slope[..., None])[..., 0])
        new_residuals, new_jacobian = _reprojection(trial, points, image, sd)
        new_cost = _soft_l1(new_residuals)
        better = new_cost < cost
        camera = Camera(*(_where(better, new, old) for new, old in zip(trial, camera, strict=True)))
        residuals = _where(better, new_residuals, residuals)
        jacobian = _where(better, new_jacobian, jacobian)
        cost = np.where(better, new_cost, cost)
        damping = np.clip(np.where(better, damping / 10, damping * 10), *_DAMPING[1:])
    return camera, cost


def _polish(rotation: Array, translation: Array, points: Array, image: Array, sd: Array) -> Camera:
    start = Camera(rotation, translation)

    def residuals(step: Array) -> Any:
        return _reprojection(_moved(start, step), points, image, sd)[0]

    def jacobian(step: Array) -> Any:
        columns = _reprojection(_moved(start, step), points, image, sd)[1].copy()
        columns[:, :3] = columns[:, :3] @ _left_jacobian(step[:3])
        return columns

    solution = least_squares(residuals, np.zeros(6), jac=jacobian, loss="soft_l1", x_scale="jac", max_nfev=50)
    return _moved(start, solution.x)


def _reprojection(camera: Camera, points: Array, image: Array, sd: Array) -> tuple[Array, Array]:
    """Residuals (…, 2n) in SDs and their derivatives (…, 2n, 6) by a rotation (applied on the left) and a shift."""
    turned = points @ camera.rotation.swapaxes(-1, -2)
    x, y, z = np.moveaxis(turned + camera.translation[..., None, :], -1, 0)
    z = np.maximum(z, _NEAR)
    u, v, (a, b, c) = x / z, y / z, np.moveaxis(turned, -1, 0)
    scale, zero = 1 / (z * sd), np.zeros_like(z)
    across = np.stack([-u * b, c + u * a, -b, zero + 1, zero, -u], axis=-1)
    down = np.stack([-c - v * b, v * a, a, zero, zero + 1, -v], axis=-1)
    derivatives = np.stack([across, down], axis=-2) * scale[..., None, None]
    residuals = (np.stack([u, v], axis=-1) - image) / sd[..., None]
    shape = residuals.shape[:-2]
    return residuals.reshape(*shape, -1), derivatives.reshape(*shape, -1, 6)


def _soft_l1(residuals: Array) -> Array:
    """Σ √(1 + r²) − 1: half of scipy's soft_l1."""
    return np.asarray((np.sqrt(1 + residuals**2) - 1).sum(-1))


def _moved(camera: Camera, step: Array) -> Camera:
    """Rotate by the rotation vector step[…, :3] on the left (Rodrigues' formula), then shift by step[…, 3:]."""
    cross, angle = _cross(step[..., :3]), np.linalg.norm(step[..., :3], axis=-1)[..., None, None]
    half = np.sinc(angle / (2 * np.pi))
    turn = np.eye(3) + np.sinc(angle / np.pi) * cross + half**2 / 2 * (cross @ cross)
    return Camera(turn @ camera.rotation, camera.translation + step[..., 3:])


def _left_jacobian(vector: Array) -> Array:
    """Left Jacobian of the rotation by `vector` (3,) (Solà, arXiv 1812.01537, eq. 145)."""
    angle, cross = math.hypot(*vector), _cross(vector)
    if angle < 1e-6:
        return np.eye(3) + cross / 2
    along = (1 - math.cos(angle)) / angle**2, (angle - math.sin(angle)) / angle**3
    return np.asarray(np.eye(3) + along[0] * cross + along[1] * (cross @ cross))


def _cross(vector: Array) -> Array:
    x, y, z = np.moveaxis(vector, -1, 0)
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*x.shape, 3, 3)


def _where(better: NDArray[np.bool_], new: Array, old: Array) -> Array:
    return np.where(better.reshape(-1, *[1] * (old.ndim - 1)), new, old)
