"""References without gradient training: constant angles, the torso's frame, ridge regression. They refine no pose."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ablate import Batch, InputError, Problem
from ablate.depth_refinement.geometry import body_axes, trunk
from ablate.depth_refinement.skeleton import NUM_JOINTS

FEATURES = 4 * NUM_JOINTS  # 3D and visibility
OUTPUTS = 3  # sin and cos of the azimuth, elevation in radians


def constant() -> Constant:
    """Reference arm: the mean direction of the training set for every example."""
    return Constant()


def torso_frame() -> TorsoFrame:
    """Reference arm: angles computed from the torso of the noisy 3D; nothing is learned."""
    return TorsoFrame()


def ridge(alpha: float = 1.0) -> Ridge:
    """Reference arm: angles linear in 3D and visibility; `alpha` is the penalty on standardised weights.

    Raises InputError for a negative or infinite alpha.
    """
    if not 0 <= alpha < math.inf:
        rule = "must be a number, 0 or more"
        raise InputError(Problem("settings.model", "alpha", rule, str(alpha), "1.0 is the default"))
    return Ridge(alpha)


class Constant(nn.Module):
    """Circular mean of the azimuth, mean of the elevation."""

    angles: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("angles", torch.tensor([0.0, 1.0, 0.0]))

    def fit(self, batches: Iterable[Batch]) -> None:
        """Average the labels. Raises ValueError without examples."""
        total, examples = torch.zeros(OUTPUTS, dtype=torch.float64), 0
        for _, targets in batches:
            labels = label_matrix(targets["azimuth_deg"], targets["elevation_deg"])
            total, examples = total + labels.sum(0).cpu(), examples + len(labels)
        require(examples)
        self.angles.copy_(total / examples)

    def forward(self, inputs: Float[Tensor, "batch 17 6"]) -> dict[str, Tensor]:
        """Output as the network's; "pose_3d" is the noisy input."""
        return answer(self.angles.expand(inputs.shape[0], OUTPUTS), inputs)


class TorsoFrame(nn.Module):
    """Body frame of the noisy 3D: up is the torso's axis, because gravity is unknown in camera axes."""

    def fit(self, batches: Iterable[Batch]) -> None:
        """Does nothing: there is nothing to learn, and no batch is drawn."""

    def forward(self, inputs: Float[Tensor, "batch 17 6"]) -> dict[str, Tensor]:
        """Output as the network's; "pose_3d" is the noisy input."""
        joints = inputs[..., 2:5]
        # The crop camera's axis (z) passes through the pelvis, so the direction to the camera is −z. Its components
        # along the body's left, up and forward are the negated z components of these axes.
        left, up, forward = (-body_axes(joints, trunk(joints))[..., 2]).unbind(-1)
        elevation = torch.atan2(up, torch.hypot(left, forward))
        return answer(torch.stack([-left, forward, elevation], dim=-1), inputs)


class Ridge(nn.Module):
    """Ridge regression on 3D and visibility by its normal equations in float64, one pass over the batches."""

    weight: Tensor
    bias: Tensor

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha
        self.register_buffer("weight", torch.zeros(OUTPUTS, FEATURES))
        self.register_buffer("bias", torch.tensor([0.0, 1.0, 0.0]))

    def fit(self, batches: Iterable[Batch]) -> None:
        """Minimise the mean squared error + alpha/n · |standardised weights|². Raises ValueError without examples."""
        moments, examples = torch.zeros(FEATURES + OUTPUTS + 1, FEATURES + OUTPUTS + 1, dtype=torch.float64), 0
        for inputs, targets in batches:
            labels = label_matrix(targets["azimuth_deg"], targets["elevation_deg"])
            rows = torch.cat([features(inputs).double(), labels, torch.ones_like(labels[:, :1])], dim=1)
            moments, examples = moments + (rows.T @ rows).cpu(), examples + len(rows)
        require(examples)
        weight, bias = solve(moments / examples, self.alpha / examples)
        self.weight.copy_(weight)
        self.bias.copy_(bias)

    def forward(self, inputs: Float[Tensor, "batch 17 6"]) -> dict[str, Tensor]:
        """Output as the network's; "pose_3d" is the noisy input."""
        # Not F.linear: autocast would round the result to bfloat16.
        raw = (features(inputs).unsqueeze(1) * self.weight).sum(-1) + self.bias
        elevation = raw[:, 2:].clamp(-math.pi / 2, math.pi / 2)
        return answer(torch.cat([raw[:, :2], elevation], dim=1), inputs)


def solve(moments: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    """Weight (3, features) and bias (3,) from the mean outer product of rows (features, labels, 1)."""
    mean = moments[-1, :-1]
    covariance = moments[:-1, :-1] - torch.outer(mean, mean)
    spread = covariance.diagonal()[:FEATURES].clamp(min=0).sqrt()
    spread = torch.where(spread > 1e-6, spread, torch.ones_like(spread))  # a constant input gets weight 0
    gram = covariance[:FEATURES, :FEATURES] / torch.outer(spread, spread)
    # The pelvis is the mean of the hips, so the Gram matrix is singular: 1e-9 keeps alpha = 0 solvable.
    gram = gram + (penalty + 1e-9) * torch.eye(FEATURES, dtype=gram.dtype)
    standardised = torch.linalg.solve(gram, covariance[:FEATURES, FEATURES:] / spread[:, None])
    weight = (standardised / spread[:, None]).T
    return weight, mean[FEATURES:] - weight @ mean[:FEATURES]


def features(inputs: Float[Tensor, "batch 17 6"]) -> Float[Tensor, "batch features"]:
    """3D and visibility in one row: the inputs of the existing arm."""
    return inputs[..., 2:].flatten(1)


def label_matrix(azimuth_deg: Float[Tensor, " batch"], elevation_deg: Float[Tensor, " batch"]) -> Tensor:
    """(batch, 3) float64: sin and cos of the azimuth, elevation in radians."""
    azimuth = azimuth_deg.double().deg2rad()
    return torch.stack([azimuth.sin(), azimuth.cos(), elevation_deg.double().deg2rad()], dim=1)


def answer(angles: Tensor, inputs: Tensor) -> dict[str, Tensor]:
    """The network's output format, with the noisy input pose unchanged."""
    return {"angles": angles, "pose_3d": inputs[..., 2:5].clone()}


def require(examples: int) -> None:
    """Raises ValueError without examples: the reference would keep its initial values."""
    if examples == 0:
        raise ValueError("fit needs at least one training example, got none")
