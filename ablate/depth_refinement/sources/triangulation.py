"""3D points from rays of several cameras: confidence-weighted DLT that leaves out cameras that disagree."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ablate.depth_refinement.sources.calibration import Rig

Array = NDArray[np.float64]
LEAST_LIMIT_PX = 30.0
FARTHEST_M = 1e4


class Triangulated(NamedTuple):
    """F frames of J points."""

    points: Array  # (F, J, 3) world, metres; NaN where fewer than two cameras agree
    error_px: Array  # (F, J) mean distance between detection and projection over the cameras used
    used: NDArray[np.bool_]  # (F, C, J)


def triangulate(rig: Rig, rays: Array, confidence: Array, *, limit_px: float) -> Triangulated:
    """Triangulate detections; cameras are left out until none has an error above `limit_px`.

    rays: (F, C, J, 2) x/z, y/z; confidence (F, C, J), 0 where not detected. While a point has an error above the limit
    and more than two cameras, the camera is left out without which the others agree best. A point whose last two
    cameras still disagree is NaN.
    """
    frames, cameras, joints = confidence.shape
    flat_rays, weight = _flat(rays, confidence)
    points, errors = solve(rig, flat_rays, weight)
    for _ in range(cameras - 2):
        beyond = (errors.max(-1, initial=0, where=weight > 0) > limit_px) & ((weight > 0).sum(-1) > 2)
        if not beyond.any():
            break
        weight[beyond] = _without_one(rig, flat_rays[beyond], weight[beyond])
        points[beyond], errors[beyond] = solve(rig, flat_rays[beyond], weight[beyond])
    lost = (errors.max(-1, initial=0, where=weight > 0) > limit_px) | ((weight > 0).sum(-1) < 2)
    lost |= ~(np.abs(points) < FARTHEST_M).all(-1)  # rays that are parallel or nearly so
    points[lost], weight[lost] = np.nan, 0.0
    used = weight > 0
    mean = errors.sum(-1, where=used) / np.maximum(used.sum(-1), 1)
    shape = (frames, joints)
    return Triangulated(
        points.reshape(*shape, 3),
        np.where(lost, np.nan, mean).reshape(shape),
        used.reshape(frames, joints, cameras).transpose(0, 2, 1),
    )


def usual_limit_px(rig: Rig, rays: Array, confidence: Array) -> float:
    """The error above which a detection counts as wrong: five times the median over all cameras, at least 30 px.

    With an inexact calibration all cameras disagree a little, and a fixed limit would reject correct detections
    (measured: a limit of 30 px at a median of 14 px changed labels by 16°).
    """
    _, errors = solve(rig, *_flat(rays, confidence))
    known = errors[np.isfinite(errors)]
    return max(LEAST_LIMIT_PX, 5 * float(np.median(known))) if len(known) else LEAST_LIMIT_PX


def _flat(rays: Array, confidence: Array) -> tuple[Array, Array]:
    """(F · J, C, 2) rays and (F · J, C) weights; the weight is 0 where there is no ray."""
    cameras = confidence.shape[1]
    flat = rays.transpose(0, 2, 1, 3).reshape(-1, cameras, 2)
    return flat, np.where(np.isfinite(flat).all(-1), confidence.transpose(0, 2, 1).reshape(-1, cameras), 0.0)


def solve(rig: Rig, rays: Array, weight: Array) -> tuple[Array, Array]:
    """The points (N, 3) that best fit rays (N, C, 2) by weighted DLT, and the errors (N, C) in pixels.

    Hartley & Zisserman, Multiple View Geometry, section 12.2: rows w(x P3 − P1), w(y P3 − P2), least singular vector.
    Cameras of weight 0 are not used. Points with fewer than two cameras are NaN, and so are their errors.
    """
    pose = np.concatenate([rig.R, rig.t[..., None]], axis=-1)  # (C, 3, 4)
    filled = np.where(weight[..., None] > 0, rays, 0.0)
    rows = filled[..., None] * pose[:, None, 2] - pose[:, :2]  # (N, C, 2, 4)
    rows = rows * weight[..., None, None]
    _, _, turned = np.linalg.svd(rows.reshape(len(rays), -1, 4), full_matrices=False)
    homogeneous = turned[:, -1]
    with np.errstate(divide="ignore", invalid="ignore"):
        points = homogeneous[:, :3] / homogeneous[:, 3:]
        points[(weight > 0).sum(-1) < 2] = np.nan
        camera = np.einsum("cij,nj->nci", rig.R, points) + rig.t
        off = (camera[..., :2] / camera[..., 2:] - rays) * np.stack([rig.K[:, 0, 0], rig.K[:, 1, 1]], axis=-1)
        distance = np.linalg.norm(off, axis=-1)
    behind = camera[..., 2] <= 0  # the point would be behind the camera
    return points, np.where(behind, np.inf, distance)


def _without_one(rig: Rig, rays: Array, weight: Array) -> Array:
    """The weights with one camera set to 0: the one without which the largest error is smallest."""
    best, kept = np.full(len(rays), np.inf), weight
    for camera in range(weight.shape[1]):
        candidate = weight.copy()
        candidate[:, camera] = 0.0
        _, errors = solve(rig, rays, candidate)
        worst = errors.max(-1, initial=0, where=candidate > 0)
        better = (weight[:, camera] > 0) & (worst < best)
        best = np.where(better, worst, best)
        kept = np.where(better[:, None], candidate, kept)
    return kept
