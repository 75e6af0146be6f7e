"""The loss: hand-checkable terms, its weights, its precision, its gradient."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ablate.depth_refinement.losses import (
    absolute_camera_term,
    bone_term,
    camera_term,
    pose_loss,
    pose_term,
    symmetry_term,
)
from ablate.depth_refinement.skeleton import L_ANKLE, L_WRIST, NOSE
from ablate.study import InputError


def pose(batch: int = 4) -> Tensor:
    return torch.randn(batch, 17, 3, generator=torch.Generator().manual_seed(0)) * 0.3


def labels(azimuth_deg: float, elevation_deg: float, batch: int = 4) -> dict[str, Tensor]:
    return {
        "azimuth_deg": torch.full((batch,), azimuth_deg),
        "elevation_deg": torch.full((batch,), elevation_deg),
        "pose_3d": pose(batch),
    }


def angles(azimuth_deg: float, elevation_deg: float, length: float = 1.0, batch: int = 4) -> Tensor:
    azimuth = math.radians(azimuth_deg)
    row = [length * math.sin(azimuth), length * math.cos(azimuth), math.radians(elevation_deg)]
    return torch.tensor([row]).expand(batch, 3).clone()


def camera(predicted: Tensor, azimuth_deg: float, elevation_deg: float) -> float:
    return float(camera_term(predicted, torch.full((4,), azimuth_deg), torch.full((4,), elevation_deg)))


def test_a_perfect_answer_costs_nothing() -> None:
    targets = labels(350.0, -20.0)
    loss = pose_loss(symmetry=0.0)({"angles": angles(-10.0, -20.0), "pose_3d": pose()}, targets)
    assert float(loss) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("predicted", "true", "cost"),
    [
        ((90, 0), (0, 0), 1.0),  # 1 − cos 90°
        ((180, 0), (0, 0), 2.0),
        ((0, 30), (0, 0), 1.0),  # (30° / 30°)²
        ((0, -15), (0, 0), 0.25),
        ((60, 75), (0, 15), 0.5 + 4.0),
        ((359, 0), (1, 0), 1 - math.cos(math.radians(2))),
    ],
)
def test_camera_term_by_hand(predicted: tuple[float, float], true: tuple[float, float], cost: float) -> None:
    assert camera(angles(*predicted), *true) == pytest.approx(cost, abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(length=st.floats(0.01, 100), azimuth=st.floats(0, 360), true=st.floats(0, 360))
def test_camera_term_ignores_the_length_of_sin_and_cos(length: float, azimuth: float, true: float) -> None:
    assert camera(angles(azimuth, 0, length), true, 0) == pytest.approx(camera(angles(azimuth, 0), true, 0), abs=1e-3)


@pytest.mark.parametrize(
    ("predicted", "true", "cost"),
    [
        ((0, 0), (0, 0), 0.0),
        ((180, 0), (0, 0), 1.0),  # half of 2 sin 90°
        ((60, 20), (0, 0), math.sin(math.radians(30)) + math.radians(20) / 2),
        ((359, -4), (1, 1), math.sin(math.radians(1)) + math.radians(5) / 2),
    ],
)
def test_absolute_camera_term_by_hand(predicted: tuple[float, float], true: tuple[float, float], cost: float) -> None:
    labelled = [torch.full((4,), float(value)) for value in true]
    assert float(absolute_camera_term(angles(*predicted), *labelled)) == pytest.approx(cost, abs=2e-4)
    output, targets = {"angles": angles(*predicted), "pose_3d": pose()}, labels(*map(float, true))
    loss = pose_loss(camera=2.0, pose=0.0, bone=0.0, symmetry=0.0, absolute_angles=True)
    assert float(loss(output, targets)) == pytest.approx(2 * cost, abs=4e-4)


def pull(absolute: bool, azimuth: float, elevation: float) -> Tensor:
    """Gradient of the camera term at a prediction that is off by these angles, by azimuth and elevation in radians."""
    off = torch.tensor([math.radians(azimuth), math.radians(elevation)], requires_grad=True)
    term = absolute_camera_term if absolute else camera_term
    term(torch.stack([off[0].sin(), off[0].cos(), off[1]])[None], torch.zeros(1), torch.zeros(1)).backward()
    assert off.grad is not None
    return off.grad


def test_the_absolute_terms_pull_does_not_fade_near_the_truth() -> None:
    for error in (1.0, 10.0, 40.0):
        half = torch.tensor([math.cos(math.radians(error / 2)) / 2, 0.5])
        assert torch.allclose(pull(True, error, error), half, atol=1e-3)
    assert pull(False, 1.0, 1.0)[0] < 0.02


@pytest.mark.parametrize(("azimuth", "elevation"), [(0, 0), (180, 90), (-180, -90), (0, 30), (90, 0)])
def test_the_absolute_terms_gradient_is_finite_at_exact_agreement_and_opposite(
    azimuth: float, elevation: float
) -> None:
    gradient = pull(True, azimuth, elevation)
    assert gradient.isfinite().all()
    if (azimuth, elevation) == (0, 0):
        assert gradient.tolist() == [0, 0]


@pytest.mark.parametrize("absolute", [False, True])
def test_gradients_are_finite_at_length_zero_and_coinciding_joints(absolute: bool) -> None:
    raw, joints = torch.zeros(4, 3, requires_grad=True), torch.zeros(4, 17, 3, requires_grad=True)
    pose_loss(absolute_angles=absolute)({"angles": raw, "pose_3d": joints}, labels(30.0, 10.0)).backward()
    assert raw.grad is not None
    assert joints.grad is not None
    assert raw.grad.isfinite().all()
    assert joints.grad.isfinite().all()


def test_pose_term_counts_depth_twice() -> None:
    true = pose()
    aside, deep = true.clone(), true.clone()
    aside[:, NOSE, 0] += 0.51
    deep[:, NOSE, 2] += 0.51
    assert float(pose_term(aside, true)) == pytest.approx(0.01)  # 0.51 / (17 · 3)
    assert float(pose_term(deep, true)) == pytest.approx(0.02)


def test_bone_term_by_hand() -> None:
    true = torch.zeros(1, 17, 3)
    predicted = true.clone()
    predicted[:, L_WRIST, 1] = 0.6  # one bone of twelve is 0.6 m too long
    assert float(bone_term(predicted, true)) == pytest.approx(0.6 / 12, abs=1e-4)


def test_symmetry_term_by_hand() -> None:
    predicted = torch.zeros(1, 17, 3)
    predicted[:, L_ANKLE, 1] = 0.5  # one of five pairs differs by 0.5 m
    assert float(symmetry_term(predicted)) == pytest.approx(0.1, abs=1e-4)
    assert float(symmetry_term(torch.zeros(1, 17, 3))) == 0


def test_bones_and_symmetry_do_not_change_when_the_body_turns() -> None:
    turned = pose() @ torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)))[0]
    assert float(bone_term(turned, pose())) == pytest.approx(0, abs=1e-6)
    assert float(symmetry_term(turned)) == pytest.approx(float(symmetry_term(pose())), abs=1e-6)


def test_the_loss_is_the_weighted_sum_of_its_terms() -> None:
    predicted, targets = pose() + 0.1, labels(10.0, 5.0)
    output = {"angles": angles(50.0, 20.0), "pose_3d": predicted}
    expected = (
        0.5 * camera(output["angles"], 10.0, 5.0)
        + 2 * float(pose_term(predicted, targets["pose_3d"]))
        + 3 * float(bone_term(predicted, targets["pose_3d"]))
        + 4 * float(symmetry_term(predicted))
    )
    loss = pose_loss(camera=0.5, pose=2.0, bone=3.0, symmetry=4.0)(output, targets)
    assert loss.shape == ()
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_the_loss_is_float32_even_under_autocast() -> None:
    output = {"angles": angles(50.0, 20.0).bfloat16(), "pose_3d": pose().bfloat16()}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = pose_loss()(output, labels(10.0, 5.0))
    assert loss.dtype == torch.float32


@pytest.mark.parametrize("weights", [{"bone": -0.1}, {"pose": math.inf}, {"camera": math.nan}])
def test_unusable_weights_are_refused(weights: dict[str, float]) -> None:
    (name,) = weights
    with pytest.raises(InputError, match=name):
        pose_loss(**weights)


def test_a_loss_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="above 0"):
        pose_loss(camera=0, pose=0, bone=0, symmetry=0)
