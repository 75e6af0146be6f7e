"""Calibrated cameras: project points, remove lens distortion, read and check calibrations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from ablate import InputError, Problem, parse_toml

Array = NDArray[np.float64]
MAX_CALIBRATION_BYTES = 200_000  # a camera has 400
# Iterations of the fixed point: OpenCV takes 5; a wide lens needs about 20 for 1e-9 (measured in the tests).
_ITERATIONS = 25
_TABLES = ("metadata",)
MAX_CAMERAS = 100
# Upper limits for the numbers of a camera: pixels, lens coefficients, cosines, metres.
_LARGEST = {"K": 1e7, "dist": 1e4, "R": 2.0, "t": 1e4}
_STEEPEST = 1e3  # largest x/z of a ray: no lens sees further from its axis


@dataclass(frozen=True)
class Rig:
    """C cameras with OpenCV's model: x_cam = R x_world + t, pixels = K · lens(x_cam / z)."""

    names: tuple[str, ...]
    K: Array  # (C, 3, 3) pixels
    dist: Array  # (C, 4) k1 k2 p1 p2
    R: Array  # (C, 3, 3)
    t: Array  # (C, 3) metres
    image_size: Array  # (C, 2) width, height in pixels

    def project(self, points: Array) -> Array:
        """World points (..., 3), metres → pixels of the distorted image (C, ..., 2)."""
        cameras = [self._camera_axes(points, i) for i in range(len(self.names))]
        seen = [distort(p[..., :2] / p[..., 2:], self.dist[i]) for i, p in enumerate(cameras)]
        return np.stack([to_pixels(s, self.K[i]) for i, s in enumerate(seen)])

    def undistort(self, pixels: Array) -> Array:
        """Pixels (frames, C, joints, 2) of the distorted image → x/z, y/z of the ray, same shape."""
        each = [undistort(pixels[:, i], self.K[i], self.dist[i]) for i in range(len(self.names))]
        return np.stack(each, axis=1)

    def _camera_axes(self, points: Array, camera: int) -> Array:
        return np.asarray(points @ self.R[camera].T + self.t[camera])


def distort(plane: Array, dist: Array) -> Array:
    """Distorted x/z, y/z (..., 2) by OpenCV's model of a lens: radial k1 k2, tangential p1 p2."""
    k1, k2, p1, p2 = dist
    x, y = plane[..., 0], plane[..., 1]
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + k2 * r2)
    aside = 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    down = p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    return np.stack([x * radial + aside, y * radial + down], axis=-1)


def undistort(pixels: Array, K: Array, dist: Array) -> Array:
    """The inverse of `distort` and `to_pixels` for one camera, (..., 2), by OpenCV's fixed-point iteration."""
    with np.errstate(over="ignore", invalid="ignore"):  # where the lens has no inverse, the iteration diverges
        seen = from_pixels(pixels, K)
        plane = seen
        for _ in range(_ITERATIONS):
            plane = plane + (seen - distort(plane, dist))
        return np.where(np.abs(plane) < _STEEPEST, plane, np.nan)


def to_pixels(plane: Array, K: Array) -> Array:
    """x, y (..., 2) on the plane z = 1 → pixels."""
    return np.asarray(plane @ K[:2, :2].T + K[:2, 2])


def from_pixels(pixels: Array, K: Array) -> Array:
    """Pixels (..., 2) → x, y on the plane z = 1."""
    return np.asarray((pixels - K[:2, 2]) @ np.linalg.inv(K[:2, :2]).T)


def rig_problems(rig: Rig) -> list[Problem]:
    """Problems of a rig: numbers that are not finite, matrices that are not rotations, focal lengths of 0 or less."""
    problems = []
    if len(rig.names) > MAX_CAMERAS:
        return [Problem("", "", f"must have at most {MAX_CAMERAS} cameras", str(len(rig.names)))]
    for i, name in enumerate(rig.names):
        values = {"K": rig.K[i], "dist": rig.dist[i], "R": rig.R[i], "t": rig.t[i]}
        unreal = [key for key, value in values.items() if not (np.abs(value) < _LARGEST[key]).all()]
        if unreal:
            rule = "must have finite numbers, as large as a camera's are"
            problems.append(Problem("", f"camera {name}", rule, ", ".join(unreal)))
            continue
        off = float(np.abs(rig.R[i] @ rig.R[i].T - np.eye(3)).max())
        if off > 1e-3 or np.linalg.det(rig.R[i]) < 0:
            problems.append(Problem("", f"camera {name}", "R must be a rotation", f"off by {off:.2g}"))
        if min(rig.K[i][0, 0], rig.K[i][1, 1]) <= 0 or not np.allclose(rig.K[i][2], (0, 0, 1), atol=1e-9):
            rule = "K must be a camera matrix with positive focal lengths and the last row 0 0 1"
            problems.append(Problem("", f"camera {name}", rule, str(np.diag(rig.K[i]).tolist())))
    return problems


def read_toml(file: Path, *, distortion_factor: float = 1.0) -> Rig:
    """A Pose2Sim calibration: for each camera a table with matrix, distortions, rotation (vector in rad), translation.

    `distortion_factor` multiplies the distortions: Pose2Sim's converter of Qualisys files leaves them 64 times too
    small. Raises InputError with every problem found.
    """
    document = _document(file)
    problems: list[Problem] = []
    cameras = {name: table for name, table in document.items() if isinstance(table, dict) and name not in _TABLES}
    read = {name: _camera(table, f"[{name}]", problems) for name, table in cameras.items()}
    if len(cameras) < 2 and not problems:
        problems.append(Problem("", "", "must hold a table for each of at least two cameras", str(len(cameras))))
    if problems:
        raise InputError(*(p._replace(file=str(file)) for p in problems))
    columns = {key: np.stack([camera[key] for camera in read.values()]) for key in _SHAPES}
    names = tuple(str(table.get("name", name))[:100] for name, table in cameras.items())
    turned = Rotation.from_rotvec(columns["rotation"]).as_matrix()
    dist = columns["distortions"] * distortion_factor
    rig = Rig(names, columns["matrix"], dist, turned, columns["translation"], columns["size"])
    wrong = rig_problems(rig)
    if wrong:
        raise InputError(*(p._replace(file=str(file)) for p in wrong))
    return rig


_SHAPES = {"size": (2,), "matrix": (3, 3), "distortions": (4,), "rotation": (3,), "translation": (3,)}


def _document(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > MAX_CALIBRATION_BYTES:
            raise InputError(Problem(str(file), "", f"must have at most {MAX_CALIBRATION_BYTES:,} bytes"))
        return parse_toml(file.read_text(encoding="utf-8"), str(file))
    except FileNotFoundError:
        raise InputError(Problem(str(file), "", "no such calibration file")) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(Problem(str(file), "", "must be a TOML calibration", str(error)[:200])) from None


def _camera(table: dict[str, Any], place: str, problems: list[Problem]) -> dict[str, Array]:
    if table.get("fisheye"):
        problems.append(Problem("", f"{place} fisheye", "fisheye lenses are not supported", "true"))
    found = {}
    for key, shape in _SHAPES.items():
        array = _numbers(table.get(key))
        if key == "distortions" and array is not None and array.shape == (5,) and array[4] == 0:
            array = array[:4]  # OpenCV writes k3 even where it is unused
        if array is None or array.shape != shape or not np.isfinite(array).all():
            rule = f"must be {' × '.join(map(str, shape))} finite numbers"
            problems.append(Problem("", f"{place} {key}", rule, _brief(table.get(key))))
            array = np.zeros(shape)
        found[key] = array
    return found


def _numbers(value: object) -> Array | None:
    def plain(item: object) -> bool:
        if isinstance(item, list):
            return all(plain(each) for each in item)
        return isinstance(item, (int, float)) and not isinstance(item, bool) and abs(item) < math.inf

    try:
        return np.array(value, dtype=np.float64) if isinstance(value, list) and plain(value) else None
    except (ValueError, OverflowError):  # ragged, or too large for a float
        return None


def _brief(value: object) -> str:
    text = "missing" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
