"""Which joints are hidden by the person's own body: a fast test with capsules in the image, compared by depth."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ablate.depth_refinement import skeleton as joint

# Each part is a capsule between the midpoints of two pairs of joints, with a radius in metres of about half the
# thickness of an adult's limb. Three parallel capsules form the trunk; one of length 0 is the head.
_PARTS = (
    ((joint.L_SHOULDER, joint.L_SHOULDER), (joint.L_ELBOW, joint.L_ELBOW), 0.045),
    ((joint.R_SHOULDER, joint.R_SHOULDER), (joint.R_ELBOW, joint.R_ELBOW), 0.045),
    ((joint.L_ELBOW, joint.L_ELBOW), (joint.L_WRIST, joint.L_WRIST), 0.035),
    ((joint.R_ELBOW, joint.R_ELBOW), (joint.R_WRIST, joint.R_WRIST), 0.035),
    ((joint.L_HIP, joint.L_HIP), (joint.L_KNEE, joint.L_KNEE), 0.07),
    ((joint.R_HIP, joint.R_HIP), (joint.R_KNEE, joint.R_KNEE), 0.07),
    ((joint.L_KNEE, joint.L_KNEE), (joint.L_ANKLE, joint.L_ANKLE), 0.05),
    ((joint.R_KNEE, joint.R_KNEE), (joint.R_ANKLE, joint.R_ANKLE), 0.05),
    ((joint.L_SHOULDER, joint.L_SHOULDER), (joint.L_HIP, joint.L_HIP), 0.10),
    ((joint.R_SHOULDER, joint.R_SHOULDER), (joint.R_HIP, joint.R_HIP), 0.10),
    ((joint.L_SHOULDER, joint.R_SHOULDER), (joint.L_HIP, joint.R_HIP), 0.10),
    ((joint.L_EAR, joint.R_EAR), (joint.L_EAR, joint.R_EAR), 0.09),
)
# A joint is hidden by a part when it is at least this many radii behind the part's axis. A joint just behind the axis
# is still inside the part, and counts as visible.
_BEHIND_RADII = 0.5


class _Parts(NamedTuple):
    ends: Tensor  # (2, 2, parts) joints whose midpoints are start and end
    radius: Tensor  # (parts,)
    foreign: Tensor  # (17, parts) False where the joint is an end of the part and cannot be hidden by it


@lru_cache(maxsize=8)
def _parts(device: torch.device) -> _Parts:
    ends = torch.tensor([[part[0], part[1]] for part in _PARTS]).permute(1, 2, 0)
    foreign = torch.ones(joint.NUM_JOINTS, len(_PARTS), dtype=torch.bool)
    for number, (start, end, _) in enumerate(_PARTS):
        for left, right in (start, end):
            if left == right:
                foreign[left, number] = False
    radius = torch.tensor([part[2] for part in _PARTS])
    return _Parts(ends.to(device), radius.to(device), foreign.to(device))


def occluded_joints(joints: Float[Tensor, "batch 17 3"]) -> Bool[Tensor, "batch 17"]:
    """Joints whose viewing ray meets another part of the body in front of them.

    joints: metres, crop-camera axes, origin at the camera's centre. Rays are compared in the plane at the pelvis'
    depth, where being inside a capsule's outline is a limit on the distance to a line segment.
    """
    parts = _parts(joints.device)
    depth = joints[..., 2]
    reference = (depth[:, joint.L_HIP] + depth[:, joint.R_HIP])[:, None] / 2
    x, y = joints[..., 0] / depth * reference, joints[..., 1] / depth * reference
    start_x, end_x = _ends(x, parts)
    start_y, end_y = _ends(y, parts)
    start_z, end_z = _ends(depth, parts)
    along_x, along_y, along_z = end_x - start_x, end_y - start_y, end_z - start_z
    to_x, to_y = x[:, :, None] - start_x, y[:, :, None] - start_y
    share = (to_x * along_x + to_y * along_y) / (along_x**2 + along_y**2).clamp_min(1e-8)
    share = share.clamp(0, 1)
    apart = (to_x - share * along_x) ** 2 + (to_y - share * along_y) ** 2
    behind = depth[:, :, None] - (start_z + share * along_z)
    hidden = (apart < parts.radius**2) & (behind > _BEHIND_RADII * parts.radius) & parts.foreign
    return hidden.any(-1)


def _ends(values: Tensor, parts: _Parts) -> tuple[Tensor, Tensor]:
    """(batch, 17) → start and end of each part, each (batch, 1, parts)."""
    middle = values[:, parts.ends].mean(2)
    return middle[:, 0, None], middle[:, 1, None]
