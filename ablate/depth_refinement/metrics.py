"""Errors of predicted angles and poses, per example. Uses only methods of tensors, so that it need not import torch.

A network's `output` holds "angles" (batch, 3: sin and cos of azimuth, elevation in radians) and "pose_3d" (batch, 17,
3) in metres; `targets` hold "azimuth_deg", "elevation_deg" (batch,) and the true "pose_3d". A missing label is NaN,
and so is every metric that needs it.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from ablate import Metric

if TYPE_CHECKING:
    from torch import Tensor

    Tensors = Mapping[str, Tensor]

MM_PER_METRE = 1000.0

# The four directions (true, flip, swap, both) are at most 90° apart, at azimuth 45° and elevation 0°: 45° is the
# largest radius within which no prediction is nearer to another of these directions.
MISTAKE_LIMIT_DEG = 45.0
TIE_DEG = 1e-3  # far above float32's rounding of an angle, far below any relevant error

Mistake = Literal["flip", "swap", "both"]
# The direction that a prediction with this mistake has, from the true azimuth and elevation in degrees.
MISTAKES: dict[Mistake, Callable[[Any, Any], tuple[Any, Any]]] = {
    "flip": lambda azimuth, elevation: (-azimuth, -elevation),  # the depth of every joint with the wrong sign
    "swap": lambda azimuth, elevation: (azimuth + 180, elevation),  # left taken for right
    "both": lambda azimuth, elevation: (180 - azimuth, -elevation),
}


def azimuth_difference_deg(output: Tensors, targets: Tensors) -> Tensor:
    """Predicted minus true azimuth in degrees, (batch,) in [-180, 180)."""
    return azimuth_from_deg(output, targets["azimuth_deg"])


def azimuth_from_deg(output: Tensors, azimuth_deg: Tensor) -> Tensor:
    """Predicted azimuth minus `azimuth_deg`, (batch,) in [-180, 180)."""
    sin, cos, _ = output["angles"].float().unbind(-1)
    difference = sin.atan2(cos).rad2deg() - azimuth_deg
    return (difference + 180).remainder(360) - 180


def azimuth_error_deg(output: Tensors, targets: Tensors) -> Tensor:
    """Circular azimuth error in degrees, (batch,) in [0, 180]."""
    return azimuth_difference_deg(output, targets).abs()


def azimuth_circular_mean_deg(output: Tensors, targets: Tensors) -> Tensor:
    """Direction of the mean of the unit vectors at the signed azimuth errors, in degrees: the same for every example.

    Errors of +170° and −170° have the circular mean 180°, but the plain mean 0°.
    """
    difference = azimuth_difference_deg(output, targets).double().deg2rad()
    mean = difference.sin().nanmean().atan2(difference.cos().nanmean()).rad2deg()
    return (mean + 0 * difference).float()


def elevation_difference_deg(output: Tensors, targets: Tensors) -> Tensor:
    """Predicted minus true elevation in degrees, (batch,)."""
    return output["angles"][:, 2].float().rad2deg() - targets["elevation_deg"]


def elevation_error_deg(output: Tensors, targets: Tensors) -> Tensor:
    """Absolute elevation error in degrees, (batch,)."""
    return elevation_difference_deg(output, targets).abs()


def elevation_determination(output: Tensors, targets: Tensors) -> Tensor:
    """1 − error² / variance of the true elevations, (batch,): its mean is R². NaN where these do not vary."""
    error, true = elevation_error_deg(output, targets).double(), centred_elevation_deg(output, targets)
    return (1 - error.square() / positive((true - true.nanmean()).square().nanmean())).float()


def elevation_gain(output: Tensors, targets: Tensors) -> Tensor:
    """1 − error / mean error of the best constant, (batch,): its mean is the skill against a constant.

    The best constant is the median of the true elevations that are scored; no constant learned from other data has a
    smaller mean error. NaN where these do not vary.
    """
    error, true = elevation_error_deg(output, targets).double(), centred_elevation_deg(output, targets)
    return (1 - error / positive(true.abs().nanmean())).float()


def centred_elevation_deg(output: Tensors, targets: Tensors) -> Tensor:
    """True minus median true elevation (batch,) in double precision, of the examples that have an error.

    Exactly 0 where all are equal. For an even number, torch takes the lower middle value; the mean distance is equal.
    """
    true = targets["elevation_deg"].double() + 0 * elevation_error_deg(output, targets)
    return true - true.nanmedian()


def positive(value: Tensor) -> Tensor:
    """The value; NaN unless it is above 0."""
    return value.where(value > 0, math.nan)


def direction_error_deg(output: Tensors, targets: Tensors) -> Tensor:
    """Great-circle angle between predicted and true direction to the camera in degrees, (batch,) in [0, 180]."""
    return direction_from_deg(output, targets["azimuth_deg"], targets["elevation_deg"]).float()


def direction_from_deg(output: Tensors, azimuth_deg: Tensor, elevation_deg: Tensor) -> Tensor:
    """Great-circle angle from the predicted to another direction in degrees, (batch,) in [0, 180], double precision.

    Haversine form of cos γ = sin e sin e′ + cos e cos e′ cos Δa: exact near 0, where arccos is not in float32.
    """
    predicted, other = output["angles"][:, 2].double(), elevation_deg.double().deg2rad()
    azimuth = azimuth_from_deg(output, azimuth_deg).double().deg2rad()
    haversine = ((predicted - other) / 2).sin().square() + predicted.cos() * other.cos() * (azimuth / 2).sin().square()
    return (2 * haversine.clamp(0, 1).sqrt().asin()).rad2deg()


def mistaken(mistake: Mistake, output: Tensors, targets: Tensors) -> Tensor:
    """1 where the direction is wrong by more than 45° and explained by `mistake`, else 0, (batch,).

    A mistake explains a prediction within 45° of the direction that the mistake gives, if that direction is nearer to
    the prediction than the truth and the directions of the other mistakes. Where two mistakes give the same direction
    (a flip and a swap at azimuth 90°, elevation 0°), the first in the order of `MISTAKES` counts, so that no example
    counts twice.
    """
    azimuth, elevation = targets["azimuth_deg"], targets["elevation_deg"]
    angles = {name: direction_from_deg(output, *leads(azimuth, elevation)) for name, leads in MISTAKES.items()}
    ranked = {name: angle + rank * TIE_DEG for rank, (name, angle) in enumerate(angles.items())}
    nearest = ranked[mistake] <= functools.reduce(lambda a, b: a.minimum(b), ranked.values())
    # a prediction over 45° from the truth and within 45° of a mistake's direction is nearer to the mistake
    wrong = direction_error_deg(output, targets)
    explained = nearest & (angles[mistake] <= MISTAKE_LIMIT_DEG) & (wrong > MISTAKE_LIMIT_DEG)
    return explained.float() + 0 * wrong


def joint_error_mm(output: Tensors, targets: Tensors) -> Tensor:
    """Mean distance between refined and true joints (MPJPE, pelvis-centred, not aligned) in mm, (batch,)."""
    squares = (output["pose_3d"].float() - targets["pose_3d"]).square().sum(-1)
    return squares.sqrt().mean(-1) * MM_PER_METRE


def depth_error_mm(output: Tensors, targets: Tensors) -> Tensor:
    """Mean absolute error along the optical axis in mm, (batch,)."""
    return (output["pose_3d"].float() - targets["pose_3d"])[..., 2].abs().mean(-1) * MM_PER_METRE


def given(name: str, output: Tensors, targets: Tensors) -> Tensor:
    """The target `name` of each example, (batch,); NaN where the data has no such target."""
    value = targets.get(name)
    return output["angles"].float()[:, 0] * math.nan if value is None else value.float()


def within(error: Tensor, limit: float) -> Tensor:
    """1 where error ≤ limit, else 0; NaN where the error is NaN."""
    return (error <= limit).float() + 0 * error


def azimuth_within(limit_deg: float, output: Tensors, targets: Tensors) -> Tensor:
    """1 where the azimuth error is at most `limit_deg`, else 0, (batch,)."""
    return within(azimuth_error_deg(output, targets), limit_deg)


def azimuth_opposite(output: Tensors, targets: Tensors) -> Tensor:
    """1 where the azimuth is off by more than 90°, else 0, (batch,): front and back or left and right are confused."""
    return 1 - azimuth_within(90.0, output, targets)


def direction_within(limit_deg: float, output: Tensors, targets: Tensors) -> Tensor:
    """1 where the direction error is at most `limit_deg`, else 0, (batch,)."""
    return within(direction_error_deg(output, targets), limit_deg)


def accuracy(limit_deg: float) -> Metric:
    """Acc@limit of the azimuth, as in the body-orientation literature (MEBOW, CVPR 2020)."""
    name, label = f"azimuth_acc_{limit_deg:g}".replace(".", "_"), f"Azimuth within {limit_deg:g}°"
    return Metric(name, label, "share", "higher", functools.partial(azimuth_within, limit_deg))


def failure(mistake: Mistake, label: str) -> Metric:
    """Share of the examples whose direction has this mistake."""
    return Metric(f"direction_{mistake}", label, "share", "lower", functools.partial(mistaken, mistake))


# For a signed error neither lower nor higher is better: the biases say "lower" because a Metric must have a direction.
# They are for densities and for information, not for hypotheses.
CATALOGUE = (
    Metric("azimuth_mae_deg", "Azimuth error, mean", "°", "lower", azimuth_error_deg),
    Metric("azimuth_median_deg", "Azimuth error, median", "°", "lower", azimuth_error_deg, "median"),
    Metric("azimuth_rmse_deg", "Azimuth error, root mean square", "°", "lower", azimuth_error_deg, "rms"),
    *(accuracy(limit) for limit in (5.0, 15.0, 22.5, 30.0, 45.0)),
    Metric("azimuth_opposite", "Azimuth off by over 90°", "share", "lower", azimuth_opposite),
    Metric("azimuth_bias_deg", "Azimuth, predicted − true, mean", "°", "lower", azimuth_difference_deg),
    Metric(
        "azimuth_circular_bias_deg",
        "Azimuth, predicted − true, circular mean",
        "°",
        "lower",
        azimuth_circular_mean_deg,
        pooled=True,
    ),
    Metric("elevation_mae_deg", "Elevation error, mean", "°", "lower", elevation_error_deg),
    Metric("elevation_median_deg", "Elevation error, median", "°", "lower", elevation_error_deg, "median"),
    Metric("elevation_rmse_deg", "Elevation error, root mean square", "°", "lower", elevation_error_deg, "rms"),
    Metric("elevation_r2", "Elevation, R²", "", "higher", elevation_determination, pooled=True),
    Metric("elevation_skill", "Elevation, skill against a constant", "", "higher", elevation_gain, pooled=True),
    Metric("elevation_bias_deg", "Elevation, predicted − true, mean", "°", "lower", elevation_difference_deg),
    Metric("direction_mae_deg", "View direction error, mean", "°", "lower", direction_error_deg),
    Metric("direction_median_deg", "View direction error, median", "°", "lower", direction_error_deg, "median"),
    Metric(
        "direction_acc_30", "View direction within 30°", "share", "higher", functools.partial(direction_within, 30.0)
    ),
    failure("flip", "View direction flipped in depth"),
    failure("swap", "View direction with left and right swapped"),
    failure("both", "View direction flipped and swapped"),
    Metric("mpjpe_mm", "Joint error (MPJPE)", "mm", "lower", joint_error_mm),
    Metric("depth_mae_mm", "Depth error, mean", "mm", "lower", depth_error_mm),
    Metric(
        "input_mpjpe_mm",
        "Joint error (MPJPE) of the input",
        "mm",
        "lower",
        functools.partial(given, "input_mpjpe_mm"),
    ),
    Metric(
        "input_depth_mae_mm",
        "Depth error of the input, mean",
        "mm",
        "lower",
        functools.partial(given, "input_depth_mae_mm"),
    ),
)
METRICS: dict[str, Metric] = dict(zip(map(operator.attrgetter("name"), CATALOGUE), CATALOGUE, strict=True))
