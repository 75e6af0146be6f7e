"""Body frames, cameras and angles: known views, symmetries, round trips, and the labels of a real recording."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from standing_person import standing
from torch import Tensor

from ablate.depth_refinement.geometry import (
    angle_difference,
    angles_direction,
    body_axes,
    direction_angles,
    great_circle,
    look_at,
    minimal_rotation,
    mirror,
    pelvis,
    torso_lean,
    turn,
    view_angles,
)

UP = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
quick = settings(max_examples=40, deadline=None)
angles = st.floats(-math.pi, math.pi, allow_nan=False)
elevations = st.floats(-1.5, 1.5, allow_nan=False)
seeds = st.integers(0, 2**31)
cosines = st.floats(-1, 1)
directions = st.tuples(cosines, cosines, cosines).filter(lambda v: sum(x * x for x in v) > 1e-2)


def number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def random_pose(seed: int) -> Tensor:
    noise = torch.randn(17, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return standing(dtype=torch.float64)[0] + 0.05 * noise


def views(joints: Tensor, camera: Tensor) -> tuple[float, float]:
    azimuth, elevation = view_angles(joints, camera, UP)
    return math.degrees(azimuth.item()), math.degrees(elevation.item())


@pytest.mark.parametrize(
    ("camera", "azimuth", "elevation"),
    [
        ((0.0, 0.9, 4.0), 0, 0),  # in front
        ((-4.0, 0.9, 0.0), 90, 0),  # at the subject's right, which is -X
        ((0.0, 0.9, -4.0), 180, 0),
        ((4.0, 0.9, 0.0), 270, 0),
        ((0.0, 4.9, 4.0), 0, 45),  # above, in front
        ((-3.0, 0.9 - 3.0, 0.0), 90, -45),
        ((-3.0, 0.9, 3.0), 45, 0),
    ],
)
def test_known_cameras(camera: tuple[float, ...], azimuth: float, elevation: float) -> None:
    joints = standing(dtype=torch.float64)[0]
    assert views(joints, torch.tensor(camera, dtype=torch.float64)) == pytest.approx((azimuth, elevation), abs=1e-9)


def test_shoulders_and_hips_weigh_as_vectors() -> None:
    """Shoulders (0.4 wide) turned to -Z, hips (0.2 wide) to +X: left is (0.1, 0, -0.2), their mean, normalised."""
    joints = standing(dtype=torch.float64)[0]
    joints[5, :], joints[6, :] = joints.new_tensor([0, 1.4, -0.2]), joints.new_tensor([0, 1.4, 0.2])
    left = body_axes(joints, UP)[0]
    assert left.tolist() == pytest.approx([1 / math.sqrt(5), 0, -2 / math.sqrt(5)])


@quick
@given(seeds, angles, elevations)
def test_mirrored_person_and_camera_negate_azimuth(seed: int, azimuth: float, elevation: float) -> None:
    joints = random_pose(seed)
    camera = pelvis(joints) + 3 * angles_direction(number(azimuth), number(elevation), body_axes(joints, UP))
    mirrored, mirrored_elevation = view_angles(mirror(joints), camera * number(-1).new_tensor([-1, 1, 1]), UP)
    assert angle_difference(mirrored, number(-azimuth)).abs() < 1e-9
    assert abs(mirrored_elevation - elevation) < 1e-9
    assert torch.equal(mirror(mirror(joints)), joints)


@quick
@given(seeds, angles, elevations, angles)
def test_turning_person_and_camera_together_about_up_changes_nothing(
    seed: int, azimuth: float, elevation: float, angle: float
) -> None:
    joints = random_pose(seed)
    camera = pelvis(joints) + 3 * angles_direction(number(azimuth), number(elevation), body_axes(joints, UP))
    scene = turn(torch.cat([joints, camera[None]]), UP, number(angle)) + 1.5
    before, after = view_angles(joints, camera, UP), view_angles(scene[:-1], scene[-1], UP)
    assert great_circle(*before, *after) < 1e-9


@quick
@given(seeds, elevations, angles)
def test_turning_the_camera_alone_moves_azimuth_by_as_much(seed: int, elevation: float, angle: float) -> None:
    """Seen from above, azimuth grows from forward (+Z) to the right (-X): against the right-handed turn about up."""
    joints = random_pose(seed)
    arm = 3 * angles_direction(number(0.3), number(elevation), body_axes(joints, UP))
    azimuth, _ = view_angles(joints, pelvis(joints) + turn(arm[None], UP, number(angle))[0], UP)
    assert angle_difference(azimuth, number(0.3 - angle)).abs() < 1e-9


@quick
@given(seeds, angles, elevations)
def test_angles_to_direction_and_back(seed: int, azimuth: float, elevation: float) -> None:
    axes = body_axes(random_pose(seed), UP)
    direction = angles_direction(number(azimuth), number(elevation), axes)
    assert direction.norm().item() == pytest.approx(1)
    back, back_elevation = direction_angles(2.5 * direction, axes)
    assert 0 <= back < 2 * math.pi
    assert angle_difference(back, number(azimuth)).abs() < 1e-9
    assert abs(back_elevation - elevation) < 1e-9


def test_azimuth_never_reaches_a_full_turn() -> None:
    """A camera a hair to the left of straight ahead: −1e-9 rad, which float32 would round up to 2π."""
    azimuth, _ = direction_angles(torch.tensor([1e-9, 0.0, 1.0]), torch.eye(3))
    assert 0 <= azimuth.item() < 2 * math.pi


@quick
@given(directions)
def test_minimal_rotation_is_proper_and_brings_the_direction_to_the_axis(direction: tuple[float, ...]) -> None:
    vector = torch.tensor(direction, dtype=torch.float64)
    rotation = minimal_rotation(vector)
    # within 1e-6 rad of straight backwards the shortest arc has no plane: the turn is about x, whatever the rest
    beside = (vector[:2].norm() / vector.norm()).item()
    exact = 3 * beside if vector[2] < 0 and beside < 1e-6 else 1e-9
    assert torch.allclose(rotation @ rotation.T, torch.eye(3, dtype=torch.float64), atol=max(exact, 1e-9))
    assert torch.linalg.det(rotation).item() == pytest.approx(1)
    ahead = vector.norm() * torch.tensor([0, 0, 1.0], dtype=torch.float64)
    assert torch.allclose(rotation @ vector, ahead, atol=max(exact * vector.norm().item(), 1e-9))


@quick
@given(directions, angles)
def test_minimal_rotation_is_minimal(direction: tuple[float, ...], roll: float) -> None:
    """Its angle is that between the direction and +z; any other rotation that does the job turns by more."""
    vector = torch.tensor(direction, dtype=torch.float64)
    rotation = minimal_rotation(vector)
    needed = math.atan2(vector[:2].norm().item(), vector[2].item())
    assert rotation_angle(rotation) == pytest.approx(needed, abs=1e-6)
    axis = torch.tensor([0, 0, 1.0], dtype=torch.float64)
    rolled = turn(rotation.T, axis, number(roll)).T
    assert rotation_angle(rolled) >= needed - 1e-6


def rotation_angle(rotation: Tensor) -> float:
    skew = rotation - rotation.T
    sine = torch.stack([skew[2, 1], skew[0, 2], skew[1, 0]]).norm().item() / 2
    return math.atan2(sine, (rotation.trace().item() - 1) / 2)


@pytest.mark.parametrize("aside", [0.0, 1e-7, 1e-4, 1e-2])
def test_minimal_rotation_holds_beside_its_singularity_in_float32(aside: float) -> None:
    rotation = minimal_rotation(torch.tensor([aside, -aside / 2, -1.0]))
    assert torch.allclose(rotation @ rotation.T, torch.eye(3), atol=1e-5)
    assert torch.linalg.det(rotation).item() == pytest.approx(1, abs=1e-5)
    assert rotation[2].tolist() == pytest.approx([aside, -aside / 2, -1.0], abs=1e-3)


def test_level_camera_in_front_sees_left_at_its_right_and_up_upwards() -> None:
    """OpenCV axes: the person's left (+X) is at the right of a camera in front, up is -y, ahead is +z."""
    position = torch.tensor([0.0, 0.9, 4.0])
    rotation = look_at(position, torch.tensor([0.0, 0.9, 0.0]), UP.float(), torch.tensor(0.0))
    assert (rotation @ torch.tensor([1.0, 0, 0])).tolist() == pytest.approx([1, 0, 0])
    assert (rotation @ torch.tensor([0.0, 1, 0])).tolist() == pytest.approx([0, -1, 0])
    assert (rotation @ torch.tensor([0.0, 0, -1])).tolist() == pytest.approx([0, 0, 1])


@quick
@given(angles, elevations, angles)
def test_roll_turns_the_picture_and_not_the_axis(azimuth: float, elevation: float, roll: float) -> None:
    position = 3 * angles_direction(number(azimuth), number(elevation), torch.eye(3, dtype=torch.float64))
    origin = torch.zeros(3, dtype=torch.float64)
    level, rolled = look_at(position, origin, UP, number(0)), look_at(position, origin, UP, number(roll))
    assert torch.linalg.det(rolled).item() == pytest.approx(1)
    assert torch.allclose(level[2], rolled[2])
    assert abs((level @ UP)[0]) < 1e-9
    up = rolled @ UP
    # a camera turned clockwise sees the world turned anticlockwise
    assert abs(angle_difference(torch.atan2(-up[0], -up[1]), number(roll))) < 1e-9


@quick
@given(angles, angles)
def test_angle_difference_wraps(a: float, b: float) -> None:
    difference = angle_difference(number(a), number(b)).item()
    assert -math.pi <= difference < math.pi
    assert math.cos(difference) == pytest.approx(math.cos(a - b))
    assert math.sin(difference) == pytest.approx(math.sin(a - b), abs=1e-9)


@quick
@given(angles, elevations, angles, elevations)
def test_great_circle_is_the_angle_between_directions(a: float, e: float, a2: float, e2: float) -> None:
    eye = torch.eye(3, dtype=torch.float64)
    cosine = angles_direction(number(a), number(e), eye) @ angles_direction(number(a2), number(e2), eye)
    gamma = great_circle(number(a), number(e), number(a2), number(e2))
    assert math.cos(gamma.item()) == pytest.approx(cosine.item(), abs=1e-9)


@pytest.mark.parametrize("lean", [0, 30, 90, 170])
def test_lean_of_a_tipped_person(lean: float) -> None:
    left = torch.tensor([1.0, 0, 0], dtype=torch.float64)
    joints = turn(standing(dtype=torch.float64)[0], left, number(math.radians(lean)))
    assert math.degrees(torso_lean(joints, UP)) == pytest.approx(lean, abs=1e-6)


def test_labels_of_a_real_recording(data_root: Path) -> None:
    """Four calibrated cameras around one person, +Z up: azimuth and elevation were computed independently."""
    recording = np.load(data_root / "multicam" / "balancing.npz")
    rotation, offset = torch.from_numpy(recording["R"]), torch.from_numpy(recording["t"])
    position = -(rotation.transpose(-1, -2) @ offset.unsqueeze(-1)).squeeze(-1)
    joints = torch.from_numpy(recording["joints3d"]).double()
    assert not joints[:, 5:].isnan().any(), "only face joints may be unseen"
    joints = joints[:, None].expand(-1, 4, 17, 3)
    azimuth, elevation = view_angles(joints, position.expand(100, 4, 3), torch.from_numpy(recording["world_up"]))
    expected = torch.from_numpy(recording["azimuth_deg"]).double().deg2rad()
    assert angle_difference(azimuth, expected).rad2deg().abs().max() < 0.01
    assert (elevation.rad2deg() - torch.from_numpy(recording["elevation_deg"])).abs().max() < 0.01
