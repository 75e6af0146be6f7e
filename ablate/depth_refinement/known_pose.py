"""A reference that is given the true pose: camera angles by fitting the true 3D to the noisy 2D, without learning.

It is not an upper bound: it has the 3D pose, the focal length and each joint's standard deviation, but it cannot
correct systematic errors of the detector, as a network can.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ablate import Batch, InputError, Problem
from ablate.depth_refinement.geometry import view_angles
from ablate.depth_refinement.references import answer
from ablate.depth_refinement.resection import solve

TOLD = ("image_2d", "image_sd", "pose_world")
# Image SD that stands for a detector without errors: 0.1 mm at one metre.
LEAST_SD = 1e-4


def known_pose() -> KnownPose:
    """Reference arm: the camera solved from the noisy 2D with the true 3D pose and intrinsics."""
    return KnownPose()


class KnownPose(nn.Module):
    """Azimuth and elevation of the camera that explains the 2D best (implements `Fits` and `UsesTargets`)."""

    def fit(self, batches: Iterable[Batch]) -> None:
        """Does nothing: there is nothing to learn, and no batch is drawn."""

    def forward(self, inputs: Float[Tensor, "batch 17 6"]) -> dict[str, Tensor]:
        """Without targets the angles are NaN. "pose_3d" is the noisy input."""
        return answer(inputs.new_full((inputs.shape[0], 3), torch.nan), inputs)

    def answer(self, batch: Batch) -> dict[str, Tensor]:
        """Output as the network's, from the targets image_2d, image_sd and pose_world; "pose_3d" is the noisy input.

        Computed in double precision on the CPU, each example independent of the others. Raises InputError where the
        data does not have these targets.
        """
        missing = [name for name in TOLD if name not in batch.targets]
        if missing:
            raise InputError(Problem("settings.data", "", "known_pose must be told these targets", ", ".join(missing)))
        image, sd, pose = (batch.targets[name].double().cpu() for name in TOLD)
        camera = solve(pose.numpy(), image.numpy(), sd.clamp_min(LEAST_SD).numpy())
        rotation, translation = map(torch.from_numpy, camera)
        position = -(rotation.transpose(-1, -2) @ translation.unsqueeze(-1)).squeeze(-1)
        azimuth, elevation = view_angles(pose, position, pose.new_tensor([0.0, 1.0, 0.0]))
        angles = torch.stack([azimuth.sin(), azimuth.cos(), elevation], dim=-1)
        return answer(angles.to(batch.inputs), batch.inputs)
