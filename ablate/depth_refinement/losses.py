"""The training loss: camera angles, pose, bone lengths and symmetry. Uses outputs and labels, not inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from jaxtyping import Float
from torch import Tensor

from ablate import InputError, Problem
from ablate.depth_refinement.skeleton import BONES, SYMMETRIC_BONES

ELEVATION_SCALE = math.radians(30)  # an elevation error of 30° costs as much as an azimuth error of 90°
AXIS_WEIGHTS = (1.0, 1.0, 2.0)  # depth has the largest errors of a monocular estimate
EPSILON = 1e-8

PoseLoss = Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], Tensor]


def pose_loss(
    *, camera: float = 0.3, pose: float = 1.0, bone: float = 0.1, symmetry: float = 0.05, absolute_angles: bool = False
) -> PoseLoss:
    """Weighted sum of `camera_term`, `pose_term`, `bone_term` and `symmetry_term`; a weight of 0 leaves one out.

    With `absolute_angles` the first is `absolute_camera_term`, whose gradient does not vanish as an angle approaches
    the truth: it corresponds to the mean absolute errors that are reported, `camera_term` to squared errors.

    The function returned takes the network's output and the targets "azimuth_deg", "elevation_deg" (batch,) and
    "pose_3d" (batch, 17, 3) in metres, and gives a float32 scalar whatever the precision of the output.

    Raises InputError for weights that are negative, infinite, or all zero.
    """
    weights = {"camera": camera, "pose": pose, "bone": bone, "symmetry": symmetry}
    check_weights(weights)
    angle_term = absolute_camera_term if absolute_angles else camera_term

    def loss(output: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        angles, predicted, true = output["angles"].float(), output["pose_3d"].float(), targets["pose_3d"].float()
        total = angles.new_zeros(())
        if camera:
            total = total + camera * angle_term(angles, targets["azimuth_deg"], targets["elevation_deg"])
        if pose:
            total = total + pose * pose_term(predicted, true)
        if bone:
            total = total + bone * bone_term(predicted, true)
        if symmetry:
            total = total + symmetry * symmetry_term(predicted)
        return total

    return loss


def camera_term(
    angles: Float[Tensor, "batch 3"], azimuth_deg: Float[Tensor, " batch"], elevation_deg: Float[Tensor, " batch"]
) -> Float[Tensor, ""]:
    """Mean of (1 − cos Δazimuth) + (Δelevation / 30°)².

    The predicted (sin, cos) is normalised first, so its length has no effect; the gradient is finite even at length 0.
    """
    sin, cos, elevation = angles.unbind(-1)
    length = (sin.square() + cos.square() + EPSILON).sqrt()
    azimuth = azimuth_deg.float().deg2rad()
    agreement = (sin * azimuth.sin() + cos * azimuth.cos()) / length
    error = (elevation - elevation_deg.float().deg2rad()) / ELEVATION_SCALE
    return (1 - agreement + error.square()).mean()


def absolute_camera_term(
    angles: Float[Tensor, "batch 3"], azimuth_deg: Float[Tensor, " batch"], elevation_deg: Float[Tensor, " batch"]
) -> Float[Tensor, ""]:
    """Mean of half of 2 sin |Δazimuth / 2| + |Δelevation|, in radians: near the truth half the sum of both errors.

    2 sin |Δ / 2| is the chord between the directions on the circle. EPSILON is added under both roots: their gradients
    are 0 at exact agreement, and finite where the predicted (sin, cos) has length 0.
    """
    sin, cos, elevation = angles.unbind(-1)
    length = (sin.square() + cos.square() + EPSILON).sqrt()
    azimuth = azimuth_deg.float().deg2rad()
    # from the differences: for a small Δ, 1 − cos Δ is 0 in float32
    chord = ((sin / length - azimuth.sin()).square() + (cos / length - azimuth.cos()).square() + EPSILON).sqrt()
    error = ((elevation - elevation_deg.float().deg2rad()).square() + EPSILON).sqrt()
    return (chord + error).mean() / 2


def pose_term(predicted: Float[Tensor, "batch 17 3"], true: Float[Tensor, "batch 17 3"]) -> Float[Tensor, ""]:
    """Mean absolute error in metres, depth (z) counted twice."""
    return ((predicted - true).abs() * predicted.new_tensor(AXIS_WEIGHTS)).mean()


def bone_term(predicted: Float[Tensor, "batch 17 3"], true: Float[Tensor, "batch 17 3"]) -> Float[Tensor, ""]:
    """Mean absolute error of the bone lengths in metres."""
    return (bone_lengths(predicted) - bone_lengths(true)).abs().mean()


def symmetry_term(predicted: Float[Tensor, "batch 17 3"]) -> Float[Tensor, ""]:
    """Mean absolute difference in metres between left and right bones."""
    left, right = (list(side) for side in zip(*SYMMETRIC_BONES, strict=True))
    lengths = bone_lengths(predicted)
    return (lengths[:, left] - lengths[:, right]).abs().mean()


def bone_lengths(pose_3d: Float[Tensor, "batch 17 3"]) -> Float[Tensor, "batch bones"]:
    """Lengths in the unit of the pose, in the order of `skeleton.BONES`; differentiable at length 0."""
    start, end = (list(side) for side in zip(*BONES, strict=True))
    return ((pose_3d[:, start] - pose_3d[:, end]).square().sum(-1) + EPSILON).sqrt()


def check_weights(weights: Mapping[str, float]) -> None:
    """Raise InputError with one Problem per weight that cannot be used."""
    problems = [
        Problem("settings.loss", name, "must be a number, 0 or more", str(weight), "0 leaves the term out")
        for name, weight in weights.items()
        if not 0 <= weight < math.inf
    ]
    if not problems and not any(weights.values()):
        rule = "at least one weight must be above 0"
        problems.append(Problem("settings.loss", ", ".join(weights), rule, "all 0", "camera = 0.3, pose = 1.0"))
    if problems:
        raise InputError(*problems)
