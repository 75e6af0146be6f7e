"""The simulated detector: every error has the size, place and correlation that its setting states."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError
from standing_person import PERFECT, standing

from ablate.depth_refinement.geometry import pelvis
from ablate.depth_refinement.noise import Detection, DetectorErrors, detect, person_area
from ablate.depth_refinement.occlusion import occluded_joints
from ablate.depth_refinement.skeleton import (
    INDEX,
    L_ANKLE,
    L_EAR,
    L_ELBOW,
    L_HIP,
    L_KNEE,
    L_SHOULDER,
    L_WRIST,
    MIRROR,
    NOSE,
    R_ANKLE,
    R_SHOULDER,
    R_WRIST,
    SIGMAS,
)

DEPTH_M = 4.0
# A person in front of the camera faces it: their left is at its right (+x), and nothing hides anything.
LEFT = torch.tensor([1.0, 0.0, 0.0])
QUIET = PERFECT | {"occluded_factor": 1.0, "noise_level_spread": 1.0}


def facing(count: int) -> torch.Tensor:
    """The standing person in crop-camera axes, facing the camera 4 m away, (count, 17, 3)."""
    world = standing(count) - pelvis(standing()).unsqueeze(-2)
    return world * torch.tensor([1.0, -1.0, -1.0]) + torch.tensor([0, 0, DEPTH_M])


def turned(count: int, degrees: float) -> torch.Tensor:
    """The same after the person turned on the spot by `degrees` about the vertical."""
    angle = math.radians(degrees)
    turn = torch.tensor([[math.cos(angle), 0, math.sin(angle)], [0, 1, 0], [-math.sin(angle), 0, math.cos(angle)]])
    centre = torch.tensor([0, 0, DEPTH_M])
    return (facing(count) - centre) @ turn.T + centre


def run(joints: torch.Tensor, seed: int = 0, **errors: float) -> Detection:
    settings = DetectorErrors(**QUIET | errors)
    generator = torch.Generator().manual_seed(seed)
    return detect(joints, LEFT.expand(len(joints), 3), settings, generator=generator)


def truth(joints: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """True image and pelvis-centred pose."""
    return joints[..., :2] / joints[..., 2:], joints - pelvis(joints).unsqueeze(-2)


def test_without_errors_the_detector_tells_the_truth() -> None:
    joints = facing(3)
    found, (image, pose) = run(joints), truth(joints)
    assert torch.allclose(found.image, image, atol=1e-6)
    assert torch.allclose(found.joints, pose, atol=1e-5)


def test_area_is_the_padded_box_times_the_mask_share() -> None:
    """A flat person 0.7 m × 1.54 m at 4 m, plus 0.1 m on every side."""
    joints = facing(1)
    joints[..., 2] = DEPTH_M
    assert person_area(joints).item() == pytest.approx(0.53 * 0.9 * 1.74 / DEPTH_M**2, rel=1e-5)


def test_2d_noise_has_coco_sizes() -> None:
    """Per axis σ·√area/√2·level; 6000 draws know an SD to 1 %."""
    joints = facing(6000)
    error = run(joints, noise_level=2.0).image - truth(joints)[0]
    expected = 2 * torch.tensor(SIGMAS) * person_area(joints)[0].sqrt() / math.sqrt(2)
    assert torch.allclose(error.std(0), expected[:, None].expand(17, 2), rtol=0.05)
    assert error.mean(0).abs().max() < 0.05 * expected.max()


def test_relative_2d_noise_is_the_same_at_every_distance() -> None:
    near, far = facing(4000), facing(4000) + torch.tensor([0, 0, 12.0])
    size = [
        run(joints, noise_level=1.0).image.sub(truth(joints)[0])[:, L_HIP].std() * d
        for joints, d in ((near, 4), (far, 16))
    ]
    assert size[0] == pytest.approx(size[1].item(), rel=0.05)


def test_noise_levels_spread_log_uniformly() -> None:
    level = run(facing(4000), noise_level=1.0, noise_level_spread=2.0).noise_level
    assert level.min() == pytest.approx(0.5, abs=0.01)
    assert level.max() == pytest.approx(2, abs=0.01)
    assert level.median() == pytest.approx(1, abs=0.05)


def test_3d_noise_has_stated_sizes_and_grows_towards_the_tips() -> None:
    """Relative to the true pelvis; the detector centres at its own mid-hip, which adds half a hip's variance."""
    joints = facing(6000)
    found = run(joints, agreement=0.0, plane_noise_m=0.02, depth_noise_m=0.05, distal_factor=1.5, limb_correlation=0.0)
    sd = (found.joints - truth(joints)[1]).std(0)
    for joint, factor in ((NOSE, 1.0), (L_SHOULDER, 1.0), (L_ELBOW, 1.25), (L_WRIST, 1.5), (R_ANKLE, 1.5)):
        for axis, own in ((0, 0.02), (1, 0.02), (2, 0.05)):
            assert sd[joint, axis] == pytest.approx(own * math.sqrt(factor**2 + 0.5), rel=0.05)


def test_3d_noise_correlates_along_a_limb_only() -> None:
    """Neighbours ρ, two bones apart ρ², the other arm and the head 0, once the mid-hip's error is taken out."""
    joints = facing(6000)
    error = run(joints, agreement=0.0, depth_noise_m=0.05, limb_correlation=0.6).joints - truth(joints)[1]
    covariance = torch.cov(error[:, (L_SHOULDER, L_ELBOW, L_WRIST, R_WRIST, NOSE), 2].T)
    own = covariance - 0.05**2 / 2  # centring at the detector's own mid-hip adds that to every entry
    assert own[0, 1] / (own[0, 0] * own[1, 1]).sqrt() == pytest.approx(0.6, abs=0.06)
    assert own[0, 2] / (own[0, 0] * own[2, 2]).sqrt() == pytest.approx(0.36, abs=0.06)
    assert own[0, 3] / (own[0, 0] * own[3, 3]).sqrt() == pytest.approx(0, abs=0.06)
    assert own[0, 4] / (own[0, 0] * own[4, 4]).sqrt() == pytest.approx(0, abs=0.06)


INDEPENDENT = {"distal_factor": 1.0, "limb_correlation": 0.0}
GROSS = {"jitter_probability": 0.1, "miss_probability": 0.05}


@pytest.mark.parametrize("gross", [{}, GROSS], ids=["gaussian", "with blunders"])
@pytest.mark.parametrize("agreement", [0.0, 0.3, 0.7, 1.0])
def test_agreement_is_the_correlation_of_image_plane_errors(agreement: float, gross: dict[str, float]) -> None:
    """Ankle against mid-hip, in metres. Where the 3D's SDs are as the 2D's, centring leaves the correlation alone."""
    joints = facing(8000)
    sizes = {"noise_level": 1.0, "agreement": agreement, "plane_noise_m": 0.04} | INDEPENDENT
    found, (image, pose) = run(joints, **sizes, **gross), truth(joints)
    error_2d = (found.image - image) * joints[..., 2:]
    error_2d = (error_2d - (error_2d[:, 11:12] + error_2d[:, 12:13]) / 2)[:, L_ANKLE]
    error_3d = (found.joints - pose)[:, L_ANKLE, :2]
    for axis in (0, 1):
        correlation = torch.corrcoef(torch.stack([error_2d[:, axis], error_3d[:, axis]]))[0, 1]
        assert correlation == pytest.approx(agreement, abs=0.04)


def test_at_full_agreement_the_3d_carries_exactly_the_error_of_the_2d() -> None:
    """With blunders, inversions and lean on: true depth of the joint seen, times its 2D, is the 3D's image plane."""
    joints = turned(500, 40)
    found = run(
        joints, agreement=1.0, noise_level=1.5, plane_noise_m=0.5, depth_noise_m=0.05, lean_mean_deg=6.0,
        leg_inversion_probability=0.3, arm_inversion_probability=0.3, limb_flip_probability=0.2, **GROSS,
    )  # fmt: skip
    # which joints were exchanged shows in which depth explains the plane
    own, other = (found.image * depth[..., None] for depth in (joints[..., 2], joints[:, MIRROR, 2]))
    centre = (own[:, 11:12] + own[:, 12:13]) / 2  # hips are never exchanged
    gap = torch.stack([(found.joints[..., :2] - (p - centre)).abs().amax(-1) for p in (own, other)]).amin(0)
    assert gap.max() < 1e-4
    assert (found.image - truth(joints)[0]).abs().max() > 0.02


def test_without_agreement_3d_and_2d_blunder_apart() -> None:
    joints = facing(4000)
    found, (image, pose) = run(joints, agreement=0.0, leg_inversion_probability=0.3), truth(joints)
    in_2d = (found.image - image)[:, L_KNEE, 0].abs() > 0.01
    in_3d = (found.joints - pose)[:, L_KNEE, 0].abs() > 0.05
    assert in_2d.float().mean() == pytest.approx(0.3, abs=0.03)
    assert in_3d.float().mean() == pytest.approx(0.3, abs=0.03)
    assert (in_2d & in_3d).float().mean() == pytest.approx(0.09, abs=0.02)


def test_inversion_exchanges_a_pair_whole_and_only_within_its_group() -> None:
    joints = facing(4000)
    found, (image, pose) = run(joints, agreement=1.0, arm_inversion_probability=0.03), truth(joints)
    moved = (found.image - image).abs().amax(-1) > 1e-5
    assert set(moved.any(0).nonzero().flatten().tolist()) == {
        INDEX[f"{s}_{j}"] for s in "lr" for j in ("elbow", "wrist")
    }
    assert moved[:, L_WRIST].float().mean() == pytest.approx(0.03, abs=0.01)
    assert torch.equal(moved[:, L_WRIST], moved[:, R_WRIST])
    swapped = moved[:, L_WRIST]
    assert torch.allclose(found.image[swapped][:, L_WRIST], image[swapped][:, R_WRIST])
    assert torch.allclose(found.joints[swapped][:, L_WRIST], pose[swapped][:, R_WRIST], atol=1e-5)


def test_jitter_and_misses_have_their_rates_and_lengths() -> None:
    """A jitter moves a joint by 1.6–3.3 SDs, a miss by 3.3–6.7; Gaussian noise is on top, so it is switched off here
    by comparing the same draws with and without blunders."""
    joints = facing(3000)
    calm, wild = (
        run(joints, noise_level=1.0),
        run(joints, noise_level=1.0, jitter_probability=0.2, miss_probability=0.1),
    )
    sd = torch.tensor(SIGMAS) * person_area(joints)[0].sqrt() / math.sqrt(2)
    length = (wild.image - calm.image).norm(dim=-1) / sd
    assert ((length > 1.59) & (length < 3.3)).float().mean() == pytest.approx(0.2, abs=0.01)
    assert (length >= 3.3).float().mean() == pytest.approx(0.1, abs=0.01)
    assert length.max() < 6.71
    assert (length < 0.01).float().mean() == pytest.approx(0.7, abs=0.01)


def test_lean_tips_the_body_forward_and_needs_no_image_plane_at_full_agreement() -> None:
    """Facing the camera, forward is towards it: 0.5 m of trunk leaning 10° comes 0.5·sin 10° = 87 mm nearer."""
    joints = facing(1)
    free, bound = (run(joints, lean_mean_deg=10.0, agreement=a).joints for a in (0.0, 1.0))
    middle = (L_SHOULDER, R_SHOULDER)
    for found in (free, bound):
        assert found[0, middle, 2].mean() == pytest.approx(-0.5 * math.sin(math.radians(10)), abs=1e-5)
    assert free[0, middle, 1].mean() == pytest.approx(-0.5 * math.cos(math.radians(10)), abs=1e-5)
    assert bound[0, middle, 1].mean() == pytest.approx(-0.5, abs=1e-5)


def test_lean_varies() -> None:
    nose = run(facing(4000), lean_mean_deg=6.0, lean_sd_deg=4.0, agreement=0.0).joints[:, L_SHOULDER]
    lean = torch.atan2(-nose[:, 2], -nose[:, 1]).rad2deg()
    assert lean.mean() == pytest.approx(6, abs=0.3)
    assert lean.std() == pytest.approx(4, abs=0.3)


def test_scale_lies_within_its_bounds() -> None:
    joints = facing(2000)
    scale = run(joints, scale_error=0.08).joints[:, L_ANKLE, 1] / truth(joints)[1][:, L_ANKLE, 1]
    assert scale.min() == pytest.approx(0.92, abs=0.002)
    assert scale.max() == pytest.approx(1.08, abs=0.002)


def test_flipped_limb_mirrors_its_depth_at_the_root() -> None:
    """Wrists are 0.05 m in front of the shoulders: flipped, 0.05 m behind. Image plane and trunk stay."""
    joints = facing(4000)
    difference = run(joints, limb_flip_probability=0.04).joints - truth(joints)[1]
    flipped = difference[:, L_WRIST, 2] > 0.05
    assert flipped.float().mean() == pytest.approx(0.04, abs=0.012)
    assert difference[flipped][:, L_WRIST, 2].mean() == pytest.approx(0.1, abs=1e-4)
    assert difference[..., :2].abs().max() < 1e-5
    assert difference[:, (NOSE, L_SHOULDER, R_SHOULDER), 2].abs().max() < 1e-5


def test_nothing_is_hidden_from_the_front_but_the_far_side_is_from_the_side() -> None:
    assert not occluded_joints(facing(1)).any()
    side = occluded_joints(turned(1, 90))[0]
    assert side.sum() >= 6
    hidden = [side[INDEX[f"{s}_{j}"]].item() for j in ("shoulder", "ear") for s in "lr"]
    assert hidden in ([True, False, True, False], [False, True, False, True])


def test_face_is_hidden_from_behind() -> None:
    hidden = occluded_joints(turned(1, 180))[0]
    assert hidden[:3].all()
    assert not hidden[L_EAR]
    assert not hidden[L_SHOULDER:].any()


def test_occluded_joints_are_less_visible_and_less_exact() -> None:
    joints = turned(4000, 90)
    hidden = occluded_joints(joints)[0]
    found = run(joints, noise_level=1.0, occluded_factor=2.0)
    calm = run(joints, noise_level=1.0, occluded_factor=1.0)
    error, usual = ((d.image - truth(joints)[0]).std(0).mean(-1) for d in (found, calm))
    assert torch.allclose(error / usual, torch.where(hidden, 2.0, 1.0), rtol=1e-3)
    assert found.visibility.min() >= 0
    assert found.visibility.max() <= 1
    seen = (found.visibility > 0.5).float().mean(0)
    assert seen[~hidden].min() > 0.98
    assert seen[hidden].max() < 0.2


@pytest.mark.parametrize("wrong", [{"agreement": 1.2}, {"noise_level": -1.0}, {"unknown": 0.5}, {"scale_error": "8 %"}])
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        DetectorErrors(**wrong)
