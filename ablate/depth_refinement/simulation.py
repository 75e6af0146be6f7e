"""Turn true poses in world axes into examples: place a camera, crop, detect, label."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Generator, Tensor

from ablate import Batch, Frozen
from ablate.depth_refinement.geometry import (
    angles_direction,
    body_axes,
    direction_angles,
    look_at,
    minimal_rotation,
    pelvis,
    torso_lean,
)
from ablate.depth_refinement.noise import DetectorErrors, detect
from ablate.depth_refinement.skeleton import L_HIP, R_HIP

# Channels of the last dimension of the inputs by name; see `assemble`.
INPUTS = {"pose_2d": (0, 2), "pose_3d": (2, 5), "visibility": (5, 6)}


class Cameras(Frozen):
    """Position, roll and focal length of the cameras. Azimuth is uniform over the circle."""

    elevation_min_deg: float = Field(default=-30.0, ge=-85, le=85)  # uniform in degrees between these two
    elevation_max_deg: float = Field(default=60.0, ge=-85, le=85)
    # Camera to pelvis, uniform between these two. Nearer than 1.5 m, a raised hand could be behind the camera.
    distance_min_m: float = Field(default=2.5, ge=1.5)
    distance_max_m: float = Field(default=8.0, ge=1.5)
    roll_sd_deg: float = Field(default=3.0, ge=0, le=90)  # hand-held cameras are nearly level
    focal_min: float = Field(default=0.7, gt=0)  # focal length in image widths: the main lens of a phone
    focal_max: float = Field(default=2.0, gt=0)  # a portrait lens; log-uniform between the two
    off_centre: float = Field(default=0.6, ge=0, le=1)  # the pelvis is within this share of the half-image, per axis

    @model_validator(mode="after")
    def _ordered(self) -> Cameras:
        for name in ("elevation_{}_deg", "distance_{}_m", "focal_{}"):
            low, high = name.format("min"), name.format("max")
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low} must not exceed {high}, {getattr(self, low)} > {getattr(self, high)}")
        return self


class View(NamedTuple):
    """A camera, turned so that its axis passes through the pelvis: x_crop = rotation @ (x_world − position)."""

    rotation: Float[Tensor, "batch 3 3"]
    position: Float[Tensor, "batch 3"]
    distance: Float[Tensor, " batch"]  # to the pelvis, metres


def place_cameras(centre: Float[Tensor, "batch 3"], cameras: Cameras, *, generator: Generator) -> View:
    """Draw one camera for each pelvis `centre` (world, +Y up) and crop it.

    The camera's axis misses the pelvis by up to `off_centre` of its half-image. The crop is the shortest rotation of
    the axis onto the pelvis, so the camera keeps its own roll: a level look-at would reveal the direction of gravity.
    """
    draw = torch.rand((6, centre.shape[0]), generator=generator, device=centre.device)
    elevation = _between(cameras.elevation_min_deg, cameras.elevation_max_deg, draw[1]).deg2rad()
    distance = _between(cameras.distance_min_m, cameras.distance_max_m, draw[2])
    world = torch.eye(3, device=centre.device)
    position = centre + distance.unsqueeze(-1) * angles_direction(2 * torch.pi * draw[0], elevation, world)

    focal = cameras.focal_min * (cameras.focal_max / cameras.focal_min) ** draw[3]
    aside = cameras.off_centre * (2 * draw[4:] - 1) * (0.5 / focal) * distance
    right, down, _ = look_at(position, centre, world[1], torch.zeros_like(distance)).unbind(-2)
    target = centre + aside[0].unsqueeze(-1) * right + aside[1].unsqueeze(-1) * down
    roll = torch.randn(distance.shape, generator=generator, device=centre.device) * cameras.roll_sd_deg
    held = look_at(position, target, world[1], roll.deg2rad())
    seen = (held @ (centre - position).unsqueeze(-1)).squeeze(-1)
    return View(minimal_rotation(seen) @ held, position, distance)


def simulate(
    joints: Float[Tensor, "batch 17 3"],
    subject: Int[Tensor, " batch"],
    cameras: Cameras,
    errors: DetectorErrors,
    *,
    generator: Generator,
) -> Batch:
    """One view of each pose (world, +Y up, metres): the inputs and the targets of the network.

    Targets, each (batch,) float32: azimuth_deg [0, 360), elevation_deg, lean_deg, visible_joints, distance_m,
    noise_level, subject (int64); pose_3d (batch, 17, 3), true, crop-camera axes, pelvis-centred, metres; image_2d
    (batch, 17, 2), the detector's 2D as x/z, y/z in the crop camera, and image_sd (batch, 17), the SD per axis of its
    Gaussian part.
    """
    up = torch.eye(3, device=joints.device)[1]
    centre = pelvis(joints)
    view = place_cameras(centre, cameras, generator=generator)
    axes = body_axes(joints, up)
    azimuth, elevation = direction_angles(view.position - centre, axes)
    to_crop = view.rotation.transpose(-1, -2)
    cropped = (joints - view.position.unsqueeze(-2)) @ to_crop
    left = (axes[..., :1, :] @ to_crop).squeeze(-2)
    detection = detect(cropped, left, errors, generator=generator)
    targets = {
        "azimuth_deg": wrap_degrees(azimuth.rad2deg()),
        "elevation_deg": elevation.rad2deg(),
        "pose_3d": cropped - pelvis(cropped).unsqueeze(-2),
        "lean_deg": torso_lean(joints, up).rad2deg(),
        "visible_joints": (detection.visibility > 0.5).sum(-1).float(),
        "distance_m": view.distance,
        "noise_level": detection.noise_level,
        "subject": subject,
        "image_2d": detection.image,
        "image_sd": detection.image_sd,
    }
    return Batch(assemble(detection.image, detection.joints, detection.visibility), targets)


def described(batch: Batch, joints: Float[Tensor, "batch 17 3"], clip: Int[Tensor, " batch"]) -> Batch:
    """`simulate`'s batch with further targets for evaluation, which training examples do not have.

    Further targets: clip (batch,) int64; input_mpjpe_mm and input_depth_mae_mm (batch,), the errors of the detector's
    3D against the truth; pose_world (batch, 17, 3), the true `joints` in world axes, pelvis-centred, metres.
    """
    first, last = INPUTS["pose_3d"]
    error = 1000 * (batch.inputs[..., first:last] - batch.targets["pose_3d"])
    further = {
        "clip": clip,
        "input_mpjpe_mm": error.norm(dim=-1).mean(-1),
        "input_depth_mae_mm": error[..., 2].abs().mean(-1),
        "pose_world": joints - pelvis(joints).unsqueeze(-2),
    }
    return Batch(batch.inputs, {**batch.targets, **further})


def assemble(
    image: Float[Tensor, "*batch 17 2"], joints: Float[Tensor, "*batch 17 3"], visibility: Float[Tensor, "*batch 17"]
) -> Float[Tensor, "*batch 17 6"]:
    """Model inputs from a detector's output: 2D centred and scaled, 3D centred at its own mid-hip, visibility.

    image: coordinates in the perspective crop, any unit; joints: crop-camera axes, metres.
    """
    centred = joints - pelvis(joints).unsqueeze(-2)
    return torch.cat([normalise_image(image), centred, visibility.unsqueeze(-1)], dim=-1)


def normalise_image(image: Float[Tensor, "*batch 17 2"]) -> Float[Tensor, "*batch 17 2"]:
    """2D joints relative to their mid-hip, divided by their RMS distance from it."""
    centred = image - (image[..., L_HIP, :] + image[..., R_HIP, :]).unsqueeze(-2) / 2
    size = centred.square().sum(-1).mean(-1).sqrt()
    return centred / size.clamp_min(torch.finfo(image.dtype).tiny)[..., None, None]


def wrap_degrees(angle: Tensor) -> Tensor:
    """Angles in [0, 360): 2π minus a rounding error may become 360 in degrees."""
    return torch.where(angle >= 360, angle - 360, angle)


def _between(low: float, high: float, share: Tensor) -> Tensor:
    return low + (high - low) * share
