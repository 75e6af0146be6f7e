"""The network's building blocks: transformer block, ElePose-style backbone, Fourier features. No losses, no data."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ablate.depth_refinement.attention import SelfAttention
from ablate.depth_refinement.dropout import ByteDropout
from ablate.depth_refinement.skeleton import NUM_JOINTS


class TransformerBlock(nn.Module):
    """Pre-norm block (Xiong et al. 2020): x + attention(norm(x)), then x + feedforward(norm(x))."""

    def __init__(self, d_model: int, num_heads: int, feedforward_dim: int, dropout: float) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(d_model)
        self.attention = SelfAttention(d_model, num_heads, dropout)
        self.norm_feedforward = nn.LayerNorm(d_model)
        self.feedforward = nn.Sequential(
            nn.Linear(d_model, feedforward_dim), nn.GELU(), ByteDropout(dropout), nn.Linear(feedforward_dim, d_model)
        )
        self.dropout = ByteDropout(dropout)

    def forward(self, x: Float[Tensor, "batch tokens d_model"]) -> Float[Tensor, "batch tokens d_model"]:
        """Same shape."""
        x = self.dropout.add(x, self.attention(self.norm_attention(x)))
        return self.dropout.add(x, self.feedforward(self.norm_feedforward(x)))


class ResidualBlock(nn.Module):
    """x + two times (Linear, BatchNorm, LeakyReLU), all `width` wide."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*dense(width, width), *dense(width, width))

    def forward(self, x: Float[Tensor, "batch width"]) -> Float[Tensor, "batch width"]:
        """Same shape."""
        refined: Tensor = self.layers(x)
        return x + refined


class ElePoseBackbone(nn.Module):
    """Deep features of the 2D pose alone: 34 → hidden_dim, then two residual blocks.

    *Inspired by* ElePose (Wandt, Little, Rhodin, CVPR 2022), not a copy: that paper lifts 2D to 3D without
    supervision, predicts the camera's elevation and samples its azimuth, with two blocks per branch and no
    BatchNorm. Here the features are learned with supervision, serve azimuth too, and every Linear is followed by
    BatchNorm and LeakyReLU. At hidden_dim 1024: 4,244,480 parameters.
    """

    def __init__(self, hidden_dim: int = 1024) -> None:
        super().__init__()
        self.upscale = nn.Sequential(*dense(2 * NUM_JOINTS, hidden_dim))
        self.blocks = nn.Sequential(ResidualBlock(hidden_dim), ResidualBlock(hidden_dim))

    def forward(self, pose_2d: Float[Tensor, "batch 17 2"]) -> Float[Tensor, "batch hidden"]:
        """Features of a pelvis-centred 2D pose in units of its RMS joint distance."""
        features: Tensor = self.blocks(self.upscale(pose_2d.flatten(1)))
        return features


def dense(inputs: int, outputs: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    """Linear, BatchNorm, LeakyReLU."""
    return nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.LeakyReLU(inplace=True)


def fourier_features(angles: Float[Tensor, "batch 2"], orders: int) -> Float[Tensor, "batch features"]:
    """sin and cos of 1…orders times each angle in radians: (batch, 4 · orders), without a seam at 360°."""
    multiples = angles.unsqueeze(-1) * torch.arange(1, orders + 1, device=angles.device, dtype=angles.dtype)
    return torch.cat([multiples.sin(), multiples.cos()], dim=-1).flatten(1)
