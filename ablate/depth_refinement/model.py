"""The pose network: camera angles from 3D, visibility and 2D, and a refined 3D pose."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ablate.depth_refinement.dropout import ByteDropout
from ablate.depth_refinement.layers import ElePoseBackbone, ExactLinear, TransformerBlock, fourier_features
from ablate.depth_refinement.settings import check_settings
from ablate.depth_refinement.skeleton import NUM_JOINTS

FOURIER_ORDERS = 4
# Joint coordinates of a standing adult have a standard deviation near 0.3 m: dividing by it gives inputs of unit size.
METRES_PER_UNIT = 0.3
EXISTING_PER_D_MODEL = 12  # 12 · 128 = 1536, the seed's existing features


def create_model(
    d_model: int = 128,
    use_elepose: bool = False,
    *,
    use_existing: bool = True,
    use_2d_tokens: bool = False,
    num_layers: int = 6,
    num_heads: int = 8,
    dropout: float = 0.1,
    elepose_hidden_dim: int = 1024,
    feedforward_dim: int | None = None,
    fusion_dim: int = 512,
    angle_noise_std: float = 0.0,
    angle_noise_warmup: int = 0,
) -> PoseNetwork:
    """Network of 2.2 M parameters; 7.0 M with `use_elepose`.

    Arms: *existing* (the defaults), *hybrid* (`use_elepose`), *elepose* (`use_elepose`, `use_existing=False`: the
    angles use 2D features only, the depth head still uses the transformer), *existing-2d* (`use_2d_tokens`: the joint
    tokens include the 2D pose). `feedforward_dim` defaults to 4 · d_model. `angle_noise_std` (degrees) is the SD of
    noise on the azimuth that the depth head gets in training, from epoch `angle_noise_warmup` on; the elevation gets
    half of it.

    Raises InputError naming every setting out of range, with the nearest valid choices.
    """
    feedforward_dim = 4 * d_model if feedforward_dim is None else feedforward_dim
    check_settings(
        widths={
            "d_model": d_model,
            "num_layers": num_layers,
            "num_heads": num_heads,
            "elepose_hidden_dim": elepose_hidden_dim,
            "feedforward_dim": feedforward_dim,
            "fusion_dim": fusion_dim,
        },
        flags={"use_elepose": use_elepose, "use_existing": use_existing, "use_2d_tokens": use_2d_tokens},
        dropout=dropout,
        angle_noise_std=angle_noise_std,
        angle_noise_warmup=angle_noise_warmup,
    )
    return PoseNetwork(
        JointEncoder(d_model, num_layers, num_heads, feedforward_dim, dropout, use_2d_tokens),
        DirectAnglePredictor(d_model, use_elepose, use_existing, elepose_hidden_dim, fusion_dim, dropout),
        DepthHead(d_model, angle_noise_std, angle_noise_warmup),
    )


class JointEncoder(nn.Module):
    """Joint features (batch, 17, d_model): one token per joint from 3D and visibility (and 2D with `use_2d`), mixed by
    attention."""

    def __init__(
        self, d_model: int, num_layers: int, num_heads: int, feedforward_dim: int, dropout: float, use_2d: bool
    ) -> None:
        super().__init__()
        self.use_2d = use_2d
        self.embed = nn.Sequential(nn.Linear(6 if use_2d else 4, d_model), nn.GELU(), nn.Linear(d_model, d_model))
        self.joint_embedding = nn.Parameter(torch.randn(NUM_JOINTS, d_model) * 0.02)
        self.blocks = nn.Sequential(
            *(TransformerBlock(d_model, num_heads, feedforward_dim, dropout) for _ in range(num_layers))
        )
        self.norm = nn.LayerNorm(d_model)

    def forward(
        self,
        pose_2d: Float[Tensor, "batch 17 2"],
        pose_3d: Float[Tensor, "batch 17 3"],
        visibility: Float[Tensor, "batch 17 1"],
    ) -> Float[Tensor, "batch 17 d_model"]:
        """Features of every joint after attention; inputs already scaled."""
        parts = (pose_2d, pose_3d, visibility) if self.use_2d else (pose_3d, visibility)
        tokens = self.embed(torch.cat(parts, dim=-1))
        # Under autocast the residual stream stays in the 16-bit dtype: mixed dtypes would cost a copy at every step.
        tokens = tokens + self.joint_embedding.to(tokens.dtype)
        features: Tensor = self.norm(self.blocks(tokens))
        return features


class DirectAnglePredictor(nn.Module):
    """Azimuth and elevation from the existing features, the ElePose features, or both by concatenation.

    The existing features are the joint features *after* attention, 3D and visibility, about 12 · d_model wide.
    Each branch has its own LayerNorm before the concatenation, so that both have the same scale.
    """

    def __init__(
        self,
        d_model: int,
        use_elepose: bool,
        use_existing: bool,
        elepose_hidden_dim: int,
        fusion_dim: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.use_elepose, self.use_existing = use_elepose, use_existing
        width = 0
        if use_existing:
            per_joint = max(1, round(EXISTING_PER_D_MODEL * d_model / NUM_JOINTS) - 4)
            self.joint_projection = nn.Linear(d_model, per_joint)
            self.existing_dim = NUM_JOINTS * (per_joint + 4)
            self.existing_norm = nn.LayerNorm(self.existing_dim)
            width += self.existing_dim
        if use_elepose:
            self.elepose = ElePoseBackbone(elepose_hidden_dim)
            self.elepose_norm = nn.LayerNorm(elepose_hidden_dim)
            width += elepose_hidden_dim
        hidden = max(1, fusion_dim // 2)
        self.fusion_head = nn.Sequential(
            nn.Linear(width, fusion_dim),
            nn.GELU(),
            ByteDropout(dropout),
            nn.Linear(fusion_dim, hidden),
            nn.GELU(),
            ExactLinear(hidden, 3),
        )

    def forward(
        self,
        joint_features: Float[Tensor, "batch 17 d_model"],
        pose_2d: Float[Tensor, "batch 17 2"],
        pose_3d: Float[Tensor, "batch 17 3"],
        visibility: Float[Tensor, "batch 17 1"],
    ) -> Float[Tensor, "batch 3"]:
        """Raw sin and cos of the azimuth (their ratio counts), and the elevation in radians within ±π/2."""
        branches = []
        if self.use_existing:
            branches.append(self.existing_norm(self.existing_features(joint_features, pose_3d, visibility)))
        if self.use_elepose:
            branches.append(self.elepose_norm(self.elepose(pose_2d)))
        raw = self.fusion_head(torch.cat(branches, dim=-1))
        # Slope 1 at the horizon; ±89° at raw ±4.1.
        elevation = math.pi / 2 * torch.tanh(raw[:, 2:] / (math.pi / 2))
        return torch.cat([raw[:, :2], elevation], dim=-1)

    def existing_features(self, joint_features: Tensor, pose_3d: Tensor, visibility: Tensor) -> Tensor:
        """(batch, existing_dim): projected joint features, 3D and visibility side by side."""
        projected = self.joint_projection(joint_features).flatten(1)
        return torch.cat([projected, pose_3d.flatten(1), visibility.flatten(1)], dim=-1)


class DepthHead(nn.Module):
    """Corrections (batch, 17, 3) in metres to the noisy 3D, from joint features and the predicted angles.

    The angles are detached and enter as Fourier features: the pose loss has no gradient with respect to them.
    """

    def __init__(self, d_model: int, angle_noise_std: float, angle_noise_warmup: int) -> None:
        super().__init__()
        self.angle_noise_std, self.angle_noise_warmup = angle_noise_std, angle_noise_warmup
        self.epoch = 0
        hidden = 3 * d_model
        self.joints = nn.Linear(d_model, hidden)
        self.angles = nn.Linear(4 * FOURIER_ORDERS, hidden, bias=False)
        self.correction = nn.Linear(hidden, 3)
        nn.init.zeros_(self.correction.weight)  # at first the correction is 0: the output is the input pose
        nn.init.zeros_(self.correction.bias)

    def forward(
        self,
        joint_features: Float[Tensor, "batch 17 d_model"],
        angles: Float[Tensor, "batch 3"],
    ) -> Float[Tensor, "batch 17 3"]:
        """Corrections in metres; `angles` as the angle head gives them."""
        condition = self.angles(fourier_features(self.condition(angles.detach().float()), FOURIER_ORDERS))
        corrections: Tensor = self.correction((self.joints(joint_features) + condition.unsqueeze(1)).relu())
        return METRES_PER_UNIT * corrections.float()

    def condition(self, angles: Float[Tensor, "batch 3"]) -> Float[Tensor, "batch 2"]:
        """Azimuth and elevation in radians, with noise while training once the warm-up is over."""
        known = torch.stack([torch.atan2(angles[:, 0], angles[:, 1]), angles[:, 2]], dim=-1)
        if not self.training or self.angle_noise_std == 0 or self.epoch < self.angle_noise_warmup:
            return known
        spread = known.new_tensor([self.angle_noise_std, self.angle_noise_std / 2]).deg2rad()
        return known + spread * torch.randn_like(known)


class PoseNetwork(nn.Module):
    """Joint encoder, angle head and depth head; see `create_model`."""

    def __init__(self, encoder: JointEncoder, angle_head: DirectAnglePredictor, depth_head: DepthHead) -> None:
        super().__init__()
        self.encoder, self.angle_head, self.depth_head = encoder, angle_head, depth_head

    def forward(self, inputs: Float[Tensor, "batch 17 6"]) -> dict[str, Tensor]:
        """Inputs: 2D (pelvis-centred, RMS units), noisy 3D (crop camera, metres), visibility.

        Returns "angles" (batch, 3): sin and cos of the azimuth unnormalised, elevation in radians; and "pose_3d"
        (batch, 17, 3): the refined pose in metres, crop-camera axes.
        """
        if inputs.shape[1:] != (NUM_JOINTS, 6):
            raise ValueError(f"inputs must be (batch, {NUM_JOINTS}, 6), got {tuple(inputs.shape)}")
        pose_2d, noisy_3d, visibility = inputs[..., :2], inputs[..., 2:5], 2 * inputs[..., 5:] - 1
        scaled_3d = noisy_3d / METRES_PER_UNIT
        joints = self.encoder(pose_2d, scaled_3d, visibility)
        angles = self.angle_head(joints, pose_2d, scaled_3d, visibility)
        pose_3d = noisy_3d + self.depth_head(joints, angles)
        return {"angles": angles, "pose_3d": pose_3d}

    def set_epoch(self, epoch: int) -> None:
        """Called before every epoch, from 0: the angle noise begins after its warm-up."""
        self.depth_head.epoch = epoch

    def parameter_counts(self) -> dict[str, int]:
        """Parameters that the angles depend on ("angle_path"), and of these the ElePose backbone's ("elepose")."""
        elepose = count(self.angle_head.elepose) if self.angle_head.use_elepose else 0
        encoder = count(self.encoder) if self.angle_head.use_existing else 0
        return {"angle_path": encoder + count(self.angle_head), "elepose": elepose}


def count(module: nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for p in module.parameters())
