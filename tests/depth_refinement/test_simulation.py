"""Cameras, crop and labels: 2D, 3D and angles tell one story, and gravity is told only as far as cameras tell it."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from standing_person import PERFECT, standing

from ablate.depth_refinement.geometry import angle_difference, mirror, pelvis, trunk, view_angles
from ablate.depth_refinement.noise import DetectorErrors
from ablate.depth_refinement.simulation import (
    INPUTS,
    Cameras,
    assemble,
    described,
    normalise_image,
    place_cameras,
    simulate,
    wrap_degrees,
)
from ablate.trainers.contract import Batch

UP = torch.tensor([0.0, 1.0, 0.0])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def perfect(joints: torch.Tensor, seed: int = 0, **cameras: float) -> Batch:
    subject = torch.arange(len(joints))
    return simulate(joints, subject, Cameras(**cameras), DetectorErrors(**PERFECT), generator=generator(seed))


def test_cameras_cover_the_stated_ranges_evenly() -> None:
    targets = perfect(standing(8000)).targets
    counts = torch.histc(targets["azimuth_deg"], bins=12, min=0, max=360)
    assert counts.min() > 550  # of 667 expected, SD 25
    assert counts.max() < 790
    assert targets["elevation_deg"].min() == pytest.approx(-30, abs=0.2)
    assert targets["elevation_deg"].max() == pytest.approx(60, abs=0.2)
    assert targets["elevation_deg"].mean() == pytest.approx(15, abs=1)
    assert targets["distance_m"].min() == pytest.approx(2.5, abs=0.02)
    assert targets["distance_m"].max() == pytest.approx(8, abs=0.02)


def test_targets_are_complete_and_shaped() -> None:
    batch = perfect(standing(5))
    assert batch.inputs.shape == (5, 17, 6)
    assert batch.inputs.dtype == torch.float32
    assert set(batch.targets) == {
        "azimuth_deg", "elevation_deg", "pose_3d", "lean_deg", "visible_joints", "distance_m", "noise_level", "subject",
        "image_2d", "image_sd",
    }  # fmt: skip
    shapes = {"pose_3d": (5, 17, 3), "image_2d": (5, 17, 2), "image_sd": (5, 17)}
    assert all(value.shape == shapes.get(name, (5,)) for name, value in batch.targets.items())
    assert batch.targets["subject"].tolist() == [0, 1, 2, 3, 4]
    assert batch.targets["lean_deg"].abs().max() < 0.01


def test_what_only_a_judge_needs_is_true_to_the_examples() -> None:
    """The 3D input pushed by 3 cm to the side and 4 cm in depth at every joint is 50 mm and 40 mm off."""
    joints = standing(6)
    seen = perfect(joints)
    seen.inputs[..., 2:5] += torch.tensor([0.03, 0.0, -0.04])
    batch = described(seen, joints, torch.arange(6) + 40)
    assert torch.allclose(batch.targets["input_mpjpe_mm"], torch.tensor(50.0), atol=1e-2)
    assert torch.allclose(batch.targets["input_depth_mae_mm"], torch.tensor(40.0), atol=1e-2)
    assert batch.targets["clip"].tolist() == [40, 41, 42, 43, 44, 45]
    world, camera = batch.targets["pose_world"], batch.targets["pose_3d"]
    assert torch.equal(world, joints - pelvis(joints).unsqueeze(-2))
    assert torch.allclose(torch.cdist(world, world), torch.cdist(camera, camera), atol=1e-4)
    assert set(seen.targets) < set(batch.targets), "the examples themselves are left alone"


def test_the_2d_is_told_in_image_units_with_its_deviation() -> None:
    """Gaussian errors alone, the same person 4000 times: in units of the told SD they have SD 1."""
    gaussian = PERFECT | {"noise_level": 1.0, "noise_level_spread": 1.5}
    joints = standing(4000)
    errors = DetectorErrors(**gaussian)
    batch = simulate(joints, torch.zeros(4000).long(), Cameras(), errors, generator=generator())
    distance, pose = batch.targets["distance_m"], batch.targets["pose_3d"]
    true = pose[..., :2] / (pose[..., 2:] + distance[:, None, None])
    unit = (batch.targets["image_2d"] - true) / batch.targets["image_sd"].unsqueeze(-1)
    assert unit.std((0, 2)).min() > 0.96
    assert unit.std((0, 2)).max() < 1.04
    assert torch.allclose(normalise_image(batch.targets["image_2d"]), batch.inputs[..., :2], atol=1e-5)


def test_inputs_are_named_by_what_they_hold() -> None:
    parts = torch.rand(3, 17, 2), torch.rand(3, 17, 3), torch.rand(3, 17)
    inputs = assemble(*parts)
    assert torch.equal(inputs[..., slice(*INPUTS["pose_2d"])], normalise_image(parts[0]))
    assert torch.equal(inputs[..., slice(*INPUTS["pose_3d"])], parts[1] - pelvis(parts[1]).unsqueeze(-2))
    assert torch.equal(inputs[..., slice(*INPUTS["visibility"])], parts[2].unsqueeze(-1))


@pytest.mark.parametrize("mirrored", [False, True])
def test_2d_3d_and_label_agree_for_an_off_centre_person_seen_by_a_rolled_camera(mirrored: bool) -> None:
    """Trap 4 of the origin. The standing person's trunk is its up axis, so the crop's own 3D gives the label."""
    joints = standing(200)
    batch = perfect(mirror(joints) if mirrored else joints, off_centre=1.0, focal_min=0.5, roll_sd_deg=20.0)
    pose, distance = batch.targets["pose_3d"], batch.targets["distance_m"]
    to_pelvis = torch.stack([0 * distance, 0 * distance, distance], dim=-1)
    seen = pose + to_pelvis[:, None]
    assert torch.allclose(batch.inputs[..., :2], normalise_image(seen[..., :2] / seen[..., 2:]), atol=1e-4)
    assert torch.allclose(batch.inputs[..., 2:5], pose, atol=1e-5)
    azimuth, elevation = view_angles(pose, -to_pelvis, trunk(pose))
    assert angle_difference(azimuth, batch.targets["azimuth_deg"].deg2rad()).rad2deg().abs().max() < 0.01
    assert (elevation.rad2deg() - batch.targets["elevation_deg"]).abs().max() < 0.01


def test_mirrored_and_turned_people_keep_their_shape() -> None:
    """No rotation onto the body frame (trap 5): 3D differs from view to view by a rigid turn, and by nothing less."""
    pose = perfect(standing(50)).targets["pose_3d"]
    original = standing()[0] - pelvis(standing()[0])
    assert torch.allclose(torch.cdist(pose, pose), torch.cdist(original, original).expand(50, 17, 17), atol=1e-4)
    left = pose[:, 5] - pose[:, 6]
    assert left.std(0)[2] > 0.2  # the shoulder axis points anywhere in depth; aligned to the body it never would


def test_crop_axis_passes_through_the_pelvis_however_the_camera_is_held() -> None:
    centre = torch.randn(100, 3, generator=generator())
    view = place_cameras(centre, Cameras(off_centre=1.0, roll_sd_deg=30.0), generator=generator())
    seen = (view.rotation @ (centre - view.position).unsqueeze(-1)).squeeze(-1)
    assert seen[:, :2].abs().max() < 1e-4
    assert torch.allclose(seen[:, 2], view.distance, atol=1e-4)
    assert torch.allclose(torch.linalg.det(view.rotation), torch.ones(100), atol=1e-4)


def tilt_of_gravity(cameras: Cameras) -> torch.Tensor:
    view = place_cameras(torch.zeros(4000, 3), cameras, generator=generator())
    up = view.rotation @ UP
    return torch.atan2(up[:, 0], -up[:, 1]).rad2deg()


def test_crop_keeps_the_roll_of_the_camera() -> None:
    """Trap 5: a roll-free look-at would put gravity exactly into the picture's vertical, SD 0."""
    assert tilt_of_gravity(Cameras(roll_sd_deg=10.0, off_centre=0.0)).std() == pytest.approx(10, rel=0.05)


def test_crop_of_an_off_centre_person_adds_no_level() -> None:
    """Even a level camera's crop is tilted: the shortest turn towards an aside person does not know what level is."""
    tilt = tilt_of_gravity(Cameras(roll_sd_deg=0.0, off_centre=1.0))
    assert tilt.std() > 1
    assert tilt_of_gravity(Cameras(roll_sd_deg=0.0, off_centre=0.0)).abs().max() < 0.1


def test_a_wider_lens_lets_people_stand_further_aside() -> None:
    """The tilt of a crop grows with the angle between the camera's axis and the person."""
    wide = tilt_of_gravity(Cameras(focal_min=0.7, focal_max=0.7, off_centre=1.0, roll_sd_deg=0.0))
    narrow = tilt_of_gravity(Cameras(focal_min=2.0, focal_max=2.0, off_centre=1.0, roll_sd_deg=0.0))
    assert wide.std() > 2 * narrow.std()


def test_inputs_forget_position_scale_of_the_2d_and_world_heading() -> None:
    """Moving the person and the camera together changes no input."""
    near, far = perfect(standing(20)), perfect(standing(20) + torch.tensor([3.0, 1.0, -2.0]))
    assert torch.allclose(near.inputs, far.inputs, atol=1e-4)
    image = near.inputs[..., :2]
    assert torch.allclose(image.square().sum(-1).mean(-1), torch.ones(20), atol=1e-5)
    assert pelvis(torch.cat([image, image[..., :1]], dim=-1)).abs().max() < 1e-5
    assert torch.allclose(normalise_image(image * 40 + 7), image, atol=1e-4)


def test_degrees_stay_below_360() -> None:
    assert wrap_degrees(torch.tensor([360.0, 0.0, 359.0])).tolist() == [0, 0, 359]


def test_reversed_ranges_are_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="distance_min_m must not exceed distance_max_m"):
        Cameras(distance_min_m=9.0)
