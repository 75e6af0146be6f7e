"""A simulated pose detector: noisy 2D, noisy 3D and visibility from a true pose, in the axes of the crop camera.

One simulated detector makes both estimates. `agreement` is the correlation between the image-plane errors of its 3D
and its 2D; it limits how much a fusion of the two can gain.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Generator, Tensor

from ablate import Frozen
from ablate.depth_refinement.geometry import pelvis, turn
from ablate.depth_refinement.occlusion import occluded_joints
from ablate.depth_refinement.skeleton import ARMS, FACE, LEGS, LIMBS, MIRROR, NOSE, NUM_JOINTS, SIGMAS

# COCO's area is that of the person's mask; 0.53 of the bounding box is the usual substitute where there is no mask.
MASK_SHARE = 0.53
# The body extends beyond the outermost joints (head top, feet, hands, body half-width). Without this padding the box of
# a person seen from the side would be too narrow.
BOX_PADDING_M = 0.1
# PoseFix (Moon et al., CVPR 2019) calls an error jitter where the keypoint similarity exp(−d²/8σ²A) is 0.85 … 0.5, and
# a miss where it is smaller, here down to 0.06. In units of the per-axis SD σ√A/√2 these are the distances d:
JITTER_SDS = (1.6, 3.3)
MISS_SDS = (3.3, 6.7)
# Mean log-odds of the visibility likelihood; the noise added to them is a setting.
VISIBLE_LOGIT, OCCLUDED_LOGIT = 2.5, -1.0


class DetectorErrors(Frozen):
    """Size of every error. Probabilities in [0, 1], lengths in metres; 0 switches an error off."""

    noise_level: float = Field(default=1.0, ge=0)  # multiple of the per-axis SD of COCO annotators
    noise_level_spread: float = Field(default=2.0, ge=1)  # levels are log-uniform in level/spread … level·spread
    agreement: float = Field(default=0.7, ge=0, le=1)  # correlation of the 3D's image-plane errors with the 2D's
    jitter_probability: float = Field(default=0.10, ge=0, le=0.5)  # PoseFix .10–.20
    miss_probability: float = Field(default=0.02, ge=0, le=0.5)  # PoseFix .02–.10
    face_inversion_probability: float = Field(default=0.01, ge=0, le=1)
    arm_inversion_probability: float = Field(default=0.03, ge=0, le=1)
    leg_inversion_probability: float = Field(default=0.06, ge=0, le=1)
    plane_noise_m: float = Field(default=0.02, ge=0)  # SD per axis of the 3D's own image-plane error
    depth_noise_m: float = Field(default=0.05, ge=0)  # SD
    distal_factor: float = Field(default=1.5, ge=0)  # of 3D errors at wrists and ankles; (1 + it) / 2 at elbows, knees
    limb_correlation: float = Field(default=0.6, ge=0, le=1)  # of 3D errors of neighbours along a limb
    lean_mean_deg: float = Field(default=6.0, ge=-90, le=90)  # forward lean of the estimated 3D body
    lean_sd_deg: float = Field(default=4.0, ge=0, le=90)
    scale_error: float = Field(default=0.08, ge=0, lt=1)  # the 3D is scaled by a factor uniform in 1 ± this
    limb_flip_probability: float = Field(default=0.04, ge=0, le=1)  # a limb's depth mirrored at its root
    occluded_factor: float = Field(default=2.0, ge=0)  # of every random error of an occluded joint
    visibility_noise: float = Field(default=1.0, ge=0)  # SD of the visibility's log-odds


class Detection(NamedTuple):
    """The detector's output before centring and scaling."""

    image: Float[Tensor, "batch 17 2"]  # x/z, y/z in the crop camera
    joints: Float[Tensor, "batch 17 3"]  # metres, crop-camera axes, origin at its own mid-hip
    visibility: Float[Tensor, "batch 17"]  # likelihood in [0, 1] that the joint is unoccluded
    noise_level: Float[Tensor, " batch"]
    image_sd: Float[Tensor, "batch 17"]  # per axis, of the Gaussian part of the 2D error, occlusion included


class GrossErrors(NamedTuple):
    """Gross errors of one estimate: joints with left and right exchanged, and displacements in SDs of the joint."""

    inverted: Bool[Tensor, "batch 17"]
    displacement: Float[Tensor, "batch 17 2"]


class ImageErrors(NamedTuple):
    """Errors of the 2D, from which the 3D's correlated errors are made."""

    sd: Float[Tensor, "batch 17"]  # per axis, image units
    unit: Float[Tensor, "batch 17 2"]  # Gaussian part, in SDs
    gross: GrossErrors


class JointConstants(NamedTuple):
    """Constants of every joint as tensors on one device."""

    sigmas: Tensor  # (17,) COCO keypoint sigmas
    pair: Tensor  # (17,) the lower joint number of each left/right pair
    mirror: Tensor  # (17,)
    inversion_group: Tensor  # (17,) 0 never, 1 face, 2 arms, 3 legs
    reach: Tensor  # (17,) 0 trunk and face, 1/2 elbows and knees, 1 wrists and ankles
    limb: Tensor  # (17,) index of the limb, 4 for none
    root: Tensor  # (17,) shoulder or hip a limb's joint hangs from, else itself


@lru_cache(maxsize=8)
def joint_constants(device: torch.device) -> JointConstants:
    """The constants on `device`, cached."""
    group, reach, limb, root = [0] * NUM_JOINTS, [0.0] * NUM_JOINTS, [len(LIMBS)] * NUM_JOINTS, list(range(NUM_JOINTS))
    for number, joints in enumerate((FACE, ARMS, LEGS), start=1):
        for joint in set(joints) - {NOSE}:
            group[joint] = number
    for number, chain in enumerate(LIMBS):
        for step, joint in enumerate(chain):
            reach[joint], limb[joint], root[joint] = step / 2, number, chain[0]
    pair = [min(joint, other) for joint, other in enumerate(MIRROR)]
    columns = (SIGMAS, pair, MIRROR, group, reach, limb, root)
    return JointConstants(*(torch.tensor(column, device=device) for column in columns))


@lru_cache(maxsize=32)
def _limb_mixing(correlation: float, device: torch.device) -> Tensor:
    """(17, 17): maps independent unit noise to unit noise that is correlated between neighbours along a limb.

    The face counts as four limbs of one bone each, which start at the nose.
    """
    mixing = torch.eye(NUM_JOINTS)
    fresh = math.sqrt(1 - correlation**2)
    for chain in (*LIMBS, *((NOSE, joint) for joint in FACE if joint != NOSE)):
        for parent, child in pairwise(chain):
            mixing[child] = correlation * mixing[parent]
            mixing[child, child] = fresh
    return mixing.to(device)


def detect(
    joints: Float[Tensor, "batch 17 3"],
    left: Float[Tensor, "batch 3"],
    errors: DetectorErrors,
    *,
    generator: Generator,
) -> Detection:
    """One detection of each person.

    joints: true positions in metres, crop-camera axes, origin at the camera's centre; left: unit vector of the body's
    left axis in the same axes.
    """
    level = noise_levels(joints.shape[0], errors, generator=generator)
    occluded = occluded_joints(joints)
    widening = torch.where(occluded, errors.occluded_factor, 1.0)
    scale = (level * person_area(joints).sqrt() / math.sqrt(2)).unsqueeze(-1)
    unit = _normal(joints[..., :2].shape, generator)
    gross = _gross_errors(joints.shape[0], errors, generator)
    wrong = ImageErrors(scale * joint_constants(joints.device).sigmas * widening, unit, gross)

    seen = _exchange(joints, gross.inverted)
    image = seen[..., :2] / seen[..., 2:] + wrong.sd.unsqueeze(-1) * (unit + gross.displacement)
    estimate = estimate_3d(joints, left, wrong, widening, errors, generator)
    return Detection(image, estimate, _visibility(occluded, errors, generator), level, wrong.sd)


def noise_levels(batch: int, errors: DetectorErrors, *, generator: Generator) -> Float[Tensor, " batch"]:
    """Noise level of each example, log-uniform around the setting."""
    exponent = 2 * _uniform((batch,), generator) - 1
    return errors.noise_level * torch.exp(exponent * math.log(errors.noise_level_spread))


def person_area(joints: Float[Tensor, "batch 17 3"]) -> Float[Tensor, " batch"]:
    """Area of the person in the image of a camera of focal length 1: 0.53 of the padded box around its joints."""
    image = joints[..., :2] / joints[..., 2:]
    padding = 2 * BOX_PADDING_M / pelvis(joints)[..., 2:]
    return MASK_SHARE * (image.amax(-2) - image.amin(-2) + padding).prod(-1)


def estimate_3d(
    joints: Tensor, left: Tensor, wrong: ImageErrors, widening: Tensor, errors: DetectorErrors, generator: Generator
) -> Tensor:
    """The detector's 3D (batch, 17, 3). With agreement 1 its image-plane error is the 2D's, scaled to metres."""
    batch, agreement = joints.shape[0], errors.agreement
    own = _limb_mixing(errors.limb_correlation, joints.device) @ _normal(joints.shape, generator)
    spread = widening * (1 + (errors.distal_factor - 1) * joint_constants(joints.device).reach)
    gross = _shared_or_own(wrong.gross, _gross_errors(batch, errors, generator), agreement, generator)

    seen = _exchange(joints, gross.inverted)
    posed = _lean(seen - pelvis(joints).unsqueeze(-2), left, errors, generator)
    # The unit errors are mixed so that their correlation is the agreement. The SD is mixed as well: the same error at
    # two different scales in 2D and 3D would reveal the true position.
    plane_sd = agreement * wrong.sd * seen[..., 2] + (1 - agreement) * errors.plane_noise_m * spread
    plane = agreement * wrong.unit + math.sqrt(1 - agreement**2) * own[..., :2] + gross.displacement
    depth = _flip_limbs(posed[..., 2], errors, generator) + errors.depth_noise_m * spread * own[..., 2]
    noisy = torch.cat([posed[..., :2] + plane_sd.unsqueeze(-1) * plane, depth.unsqueeze(-1)], dim=-1)
    scale = 1 + errors.scale_error * (2 * _uniform((batch, 1, 1), generator) - 1)
    return scale * (noisy - pelvis(noisy).unsqueeze(-2))


def _gross_errors(batch: int, errors: DetectorErrors, generator: Generator) -> GrossErrors:
    constants = joint_constants(generator.device)
    chance, along, heading = _uniform((3, batch, NUM_JOINTS), generator)
    jitter = JITTER_SDS[0] + (JITTER_SDS[1] - JITTER_SDS[0]) * along
    miss = MISS_SDS[0] + (MISS_SDS[1] - MISS_SDS[0]) * along
    length = torch.where(chance < errors.jitter_probability, jitter, 0.0)
    length = torch.where(chance > 1 - errors.miss_probability, miss, length)
    angle = 2 * torch.pi * heading
    displacement = length.unsqueeze(-1) * torch.stack([angle.cos(), angle.sin()], dim=-1)
    return GrossErrors(_inversions(batch, errors, constants, generator), displacement)


def _inversions(batch: int, errors: DetectorErrors, constants: JointConstants, generator: Generator) -> Tensor:
    """Joints whose left and right are exchanged, drawn for each pair: eyes, ears, elbows, wrists, knees, ankles."""
    group, chance = constants.inversion_group, _uniform((batch, NUM_JOINTS), generator)[:, constants.pair]
    by_group = (errors.face_inversion_probability, errors.arm_inversion_probability, errors.leg_inversion_probability)
    inverted = torch.zeros_like(chance, dtype=torch.bool)
    for number, probability in enumerate(by_group, start=1):
        inverted |= (group == number) & (chance < probability)
    return inverted


def _shared_or_own(shared: GrossErrors, own: GrossErrors, agreement: float, generator: Generator) -> GrossErrors:
    """Each left/right pair has the 2D's gross errors with probability `agreement`, else gross errors of its own."""
    same = _uniform(tuple(own.inverted.shape), generator)[:, joint_constants(generator.device).pair] < agreement
    displacement = torch.where(same.unsqueeze(-1), shared.displacement, own.displacement)
    return GrossErrors(torch.where(same, shared.inverted, own.inverted), displacement)


def _exchange(joints: Tensor, inverted: Tensor) -> Tensor:
    return torch.where(inverted.unsqueeze(-1), joints[:, joint_constants(joints.device).mirror], joints)


def _lean(joints: Tensor, left: Tensor, errors: DetectorErrors, generator: Generator) -> Tensor:
    """Forward lean about the body's left axis. With agreement 1 the lean changes only the depth."""
    angle = errors.lean_mean_deg + errors.lean_sd_deg * _normal((joints.shape[0],), generator)
    leaned = turn(joints, left, angle.deg2rad())
    plane = joints[..., :2] + (1 - errors.agreement) * (leaned[..., :2] - joints[..., :2])
    return torch.cat([plane, leaned[..., 2:]], dim=-1)


def _flip_limbs(depth: Tensor, errors: DetectorErrors, generator: Generator) -> Tensor:
    """Depth (batch, 17), some limbs mirrored at the depth of their root: 2D does not fix the sign of a bone's depth."""
    constants = joint_constants(depth.device)
    flipped = _uniform((depth.shape[0], len(LIMBS) + 1), generator)[:, constants.limb] < errors.limb_flip_probability
    return torch.where(flipped, 2 * depth[:, constants.root] - depth, depth)


def _visibility(occluded: Tensor, errors: DetectorErrors, generator: Generator) -> Tensor:
    noise = errors.visibility_noise * _normal(tuple(occluded.shape), generator)
    return torch.sigmoid(torch.where(occluded, OCCLUDED_LOGIT, VISIBLE_LOGIT) + noise)


def _normal(shape: tuple[int, ...], generator: Generator) -> Tensor:
    return torch.randn(shape, generator=generator, device=generator.device)


def _uniform(shape: tuple[int, ...], generator: Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)
