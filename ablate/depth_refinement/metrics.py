"""How far predicted angles and poses are from the truth, per example. Uses tensor methods only: imports no torch."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ablate.study import Metric

if TYPE_CHECKING:
    from torch import Tensor

    Tensors = Mapping[str, Tensor]

MM_PER_METRE = 1000.0


def azimuth_difference_deg(output: Tensors, targets: Tensors) -> Tensor:
    """Predicted minus true azimuth in degrees, (batch,) in [-180, 180)."""
    sin, cos, _ = output["angles"].float().unbind(-1)
    difference = sin.atan2(cos).rad2deg() - targets["azimuth_deg"]
    return (difference + 180).remainder(360) - 180


def azimuth_error_deg(output: Tensors, targets: Tensors) -> Tensor:
    """Circular azimuth error in degrees, (batch,) in [0, 180]."""
    return azimuth_difference_deg(output, targets).abs()


def elevation_error_deg(output: Tensors, targets: Tensors) -> Tensor:
    """Absolute elevation error in degrees, (batch,)."""
    return (output["angles"][:, 2].float().rad2deg() - targets["elevation_deg"]).abs()


def direction_error_deg(output: Tensors, targets: Tensors) -> Tensor:
    """Great-circle angle between predicted and true direction to the camera in degrees, (batch,) in [0, 180].

    Haversine form of cos γ = sin e sin e′ + cos e cos e′ cos Δa: exact near 0, where arccos is not in float32.
    """
    predicted, true = output["angles"][:, 2].double(), targets["elevation_deg"].double().deg2rad()
    azimuth = azimuth_difference_deg(output, targets).double().deg2rad()
    haversine = ((predicted - true) / 2).sin().square() + predicted.cos() * true.cos() * (azimuth / 2).sin().square()
    return (2 * haversine.clamp(0, 1).sqrt().asin()).rad2deg().float()


def joint_error_mm(output: Tensors, targets: Tensors) -> Tensor:
    """Mean distance between refined and true joints (MPJPE, pelvis-centred, not aligned) in mm, (batch,)."""
    squares = (output["pose_3d"].float() - targets["pose_3d"]).square().sum(-1)
    return squares.sqrt().mean(-1) * MM_PER_METRE


def depth_error_mm(output: Tensors, targets: Tensors) -> Tensor:
    """Mean absolute error along the optical axis in mm, (batch,)."""
    return (output["pose_3d"].float() - targets["pose_3d"])[..., 2].abs().mean(-1) * MM_PER_METRE


def within(error: Tensor, limit: float) -> Tensor:
    """1 where error ≤ limit, else 0; NaN where the error is NaN."""
    return (error <= limit).float() + 0 * error


def azimuth_within(limit_deg: float, output: Tensors, targets: Tensors) -> Tensor:
    """1 where the azimuth is right to `limit_deg`, else 0, (batch,)."""
    return within(azimuth_error_deg(output, targets), limit_deg)


def azimuth_opposite(output: Tensors, targets: Tensors) -> Tensor:
    """1 where the azimuth is off by more than 90°, else 0: front taken for back, or left for right, (batch,)."""
    return 1 - azimuth_within(90.0, output, targets)


def direction_within(limit_deg: float, output: Tensors, targets: Tensors) -> Tensor:
    """1 where the direction is right to `limit_deg`, else 0, (batch,)."""
    return within(direction_error_deg(output, targets), limit_deg)


def accuracy(limit_deg: float) -> Metric:
    """Acc@limit of the azimuth, as in the body-orientation literature (MEBOW, CVPR 2020)."""
    name, label = f"azimuth_acc_{limit_deg:g}".replace(".", "_"), f"Azimuth within {limit_deg:g}°"
    return Metric(name, label, "share", "higher", functools.partial(azimuth_within, limit_deg))


CATALOGUE = (
    Metric("azimuth_mae_deg", "Azimuth error, mean", "°", "lower", azimuth_error_deg),
    Metric("azimuth_median_deg", "Azimuth error, median", "°", "lower", azimuth_error_deg, "median"),
    *(accuracy(limit) for limit in (5.0, 15.0, 22.5, 30.0, 45.0)),
    Metric("azimuth_opposite", "Azimuth off by over 90°", "share", "lower", azimuth_opposite),
    Metric("elevation_mae_deg", "Elevation error, mean", "°", "lower", elevation_error_deg),
    Metric("elevation_median_deg", "Elevation error, median", "°", "lower", elevation_error_deg, "median"),
    Metric("direction_mae_deg", "View direction error, mean", "°", "lower", direction_error_deg),
    Metric("direction_median_deg", "View direction error, median", "°", "lower", direction_error_deg, "median"),
    Metric(
        "direction_acc_30", "View direction within 30°", "share", "higher", functools.partial(direction_within, 30.0)
    ),
    Metric("mpjpe_mm", "Joint error (MPJPE)", "mm", "lower", joint_error_mm),
    Metric("depth_mae_mm", "Depth error, mean", "mm", "lower", depth_error_mm),
)
METRICS: dict[str, Metric] = dict(zip(map(operator.attrgetter("name"), CATALOGUE), CATALOGUE, strict=True))
