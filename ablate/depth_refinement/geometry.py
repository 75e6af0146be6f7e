"""Body frames, cameras and angles, in radians, for any leading batch dimensions."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from ablate.depth_refinement.skeleton import L_HIP, L_SHOULDER, MIRROR, R_HIP, R_SHOULDER

# Squared sine below which the shortest rotation from −z to +z is ill-conditioned in float32.
_OPPOSITE = 1e-12


def pelvis(joints: Float[Tensor, "*batch 17 3"]) -> Float[Tensor, "*batch 3"]:
    """Mid-hip."""
    return (joints[..., L_HIP, :] + joints[..., R_HIP, :]) / 2


def trunk(joints: Float[Tensor, "*batch 17 3"]) -> Float[Tensor, "*batch 3"]:
    """Vector from mid-hip to mid-shoulder."""
    return (joints[..., L_SHOULDER, :] + joints[..., R_SHOULDER, :]) / 2 - pelvis(joints)


def mirror(joints: Float[Tensor, "*batch 17 3"]) -> Float[Tensor, "*batch 17 3"]:
    """The same pose in a mirror: x negated, left and right joints exchanged."""
    exchanged = joints[..., list(MIRROR), :]
    return torch.cat([-exchanged[..., :1], exchanged[..., 1:]], dim=-1)


def body_axes(joints: Float[Tensor, "*batch 17 3"], up: Float[Tensor, "*#batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rows left, up, forward of the body frame.

    Left is the horizontal part of the mean of the shoulder and hip axes (right to left), forward is left × up.
    Where that part vanishes (a body lying on its side, seen along `up`) the rows left and forward are zero.
    """
    shoulders = joints[..., L_SHOULDER, :] - joints[..., R_SHOULDER, :]
    hips = joints[..., L_HIP, :] - joints[..., R_HIP, :]
    up = normalize(up, dim=-1).expand_as(hips)
    axis = (shoulders + hips) / 2
    left = normalize(axis - (axis * up).sum(-1, keepdim=True) * up, dim=-1)
    return torch.stack([left, up, torch.linalg.cross(left, up)], dim=-2)


def view_angles(
    joints: Float[Tensor, "*batch 17 3"], camera_position: Float[Tensor, "*batch 3"], up: Float[Tensor, "*#batch 3"]
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """Azimuth [0, 2π) and elevation [−π/2, π/2] of the camera, seen from the pelvis in the body frame.

    Azimuth runs from forward (0) towards the subject's right (π/2). All arguments in the same axes.
    """
    return direction_angles(camera_position - pelvis(joints), body_axes(joints, up))


def direction_angles(
    direction: Float[Tensor, "*batch 3"], axes: Float[Tensor, "*batch 3 3"]
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """Azimuth and elevation, as in `view_angles`, of a `direction` of any length; `axes` as from `body_axes`."""
    left, up, forward = (axes @ direction.unsqueeze(-1)).squeeze(-1).unbind(-1)
    azimuth = torch.atan2(-left, forward).remainder(2 * torch.pi)
    # remainder of a tiny negative number rounds up to 2π itself, which is 0
    azimuth = torch.where(azimuth >= 2 * torch.pi, torch.zeros_like(azimuth), azimuth)
    return azimuth, torch.atan2(up, torch.hypot(left, forward))


def angles_direction(
    azimuth: Float[Tensor, "*batch"], elevation: Float[Tensor, "*batch"], axes: Float[Tensor, "*#batch 3 3"]
) -> Float[Tensor, "*batch 3"]:
    """Unit direction towards the camera: the inverse of `direction_angles`."""
    horizontal = elevation.cos()
    parts = torch.stack([-azimuth.sin() * horizontal, elevation.sin(), azimuth.cos() * horizontal], dim=-1)
    return (parts.unsqueeze(-2) @ axes).squeeze(-2)


def look_at(
    position: Float[Tensor, "*batch 3"],
    target: Float[Tensor, "*#batch 3"],
    up: Float[Tensor, "*#batch 3"],
    roll: Float[Tensor, "*#batch"],
) -> Float[Tensor, "*batch 3 3"]:
    """World → camera rotation (OpenCV: rows right, down, forward) of a camera aimed at `target`.

    `roll` turns the camera about its axis, clockwise as the camera sees it. `target` must not lie straight above or
    below the camera: level is undefined there and the rows come out zero.
    """
    forward = normalize(target - position, dim=-1)
    right = normalize(torch.linalg.cross(forward, up.expand_as(forward)), dim=-1)
    down = torch.linalg.cross(forward, right)
    sine, cosine = roll.sin().unsqueeze(-1), roll.cos().unsqueeze(-1)
    return torch.stack([cosine * right + sine * down, cosine * down - sine * right, forward], dim=-2)


def minimal_rotation(direction: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The shortest rotation R (about an axis in the xy plane) that brings `direction` onto +z: x_crop = R x_camera.

    It adds no roll about the new axis, so a crop keeps the camera's own roll and does not reveal the direction of
    gravity. Rodrigues' formula with axis × angle = direction × z. For a direction along −z every half turn is equally
    short; this uses the one about x.
    """
    x, y, z = normalize(direction, dim=-1).unbind(-1)
    aside = x * x + y * y
    backwards = (z < 0) & (aside < _OPPOSITE)
    # 1 / (1 + z), written for z < 0 so that nothing cancels
    scale = torch.where(z < 0, (1 - z) / aside.clamp_min(_OPPOSITE), 1 / (1 + z.clamp_min(0)))
    scale = torch.where(backwards, 0.0, scale)
    mixed, last = -x * y * scale, torch.where(backwards, -1.0, 1 - y * y * scale)
    return torch.stack([1 - x * x * scale, mixed, -x, mixed, last, -y, x, y, z], dim=-1).reshape(*z.shape, 3, 3)


def turn(
    vectors: Float[Tensor, "*batch n 3"], axis: Float[Tensor, "*batch 3"], angle: Float[Tensor, "*batch"]
) -> Tensor:
    """`vectors` (…, n, 3) turned by `angle` about the unit `axis`, right-handed (Rodrigues' formula)."""
    axis = axis.unsqueeze(-2).expand_as(vectors)
    sine, cosine = angle.sin()[..., None, None], angle.cos()[..., None, None]
    along = (vectors * axis).sum(-1, keepdim=True) * axis
    turned: Tensor = along + cosine * (vectors - along) + sine * torch.linalg.cross(axis, vectors)
    return turned


def angle_difference(a: Float[Tensor, "*batch"], b: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """a − b, wrapped to [−π, π)."""
    return torch.remainder(a - b + torch.pi, 2 * torch.pi) - torch.pi


def great_circle(
    azimuth: Float[Tensor, "*batch"],
    elevation: Float[Tensor, "*batch"],
    azimuth2: Float[Tensor, "*batch"],
    elevation2: Float[Tensor, "*batch"],
) -> Float[Tensor, "*batch"]:
    """Angle [0, π] between two view directions; Vincenty's form of cos γ = sin e sin e′ + cos e cos e′ cos Δa.

    The cosine itself loses half the digits near 0 and π.
    """
    sin1, cos1, sin2, cos2 = elevation.sin(), elevation.cos(), elevation2.sin(), elevation2.cos()
    delta = azimuth - azimuth2
    across = torch.hypot(cos2 * delta.sin(), cos1 * sin2 - sin1 * cos2 * delta.cos())
    return torch.atan2(across, sin1 * sin2 + cos1 * cos2 * delta.cos())


def torso_lean(joints: Float[Tensor, "*batch 17 3"], up: Float[Tensor, "*#batch 3"]) -> Float[Tensor, "*batch"]:
    """Angle [0, π] between the trunk (mid-hip to mid-shoulder) and `up`."""
    spine = trunk(joints)
    up = up.expand_as(spine)
    return torch.atan2(torch.linalg.cross(spine, up).norm(dim=-1), (spine * up).sum(-1))
