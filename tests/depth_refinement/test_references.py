"""Reference arms: exact on poses made by hand, fitted on labels they can explain, and saved like any network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ablate.depth_refinement import geometry
from ablate.depth_refinement.metrics import METRICS
from ablate.depth_refinement.references import constant, ridge, torso_frame
from ablate.depth_refinement.skeleton import L_HIP, L_SHOULDER, R_HIP, R_SHOULDER
from ablate.study import InputError
from ablate.trainers.contract import Batch, Fits

FACTORIES: dict[str, Callable[[], nn.Module]] = {"constant": constant, "torso_frame": torso_frame, "ridge": ridge}


def upright_person() -> Tensor:
    """(17, 3) in world axes: facing +Z, left hand at +X, torso along +Y."""
    joints = torch.zeros(17, 3)
    joints[[L_HIP, R_HIP], 0] = torch.tensor([0.1, -0.1])
    joints[[L_SHOULDER, R_SHOULDER], 0] = torch.tensor([0.2, -0.2])
    joints[[L_SHOULDER, R_SHOULDER], 1] = 0.5
    joints[:5, 1] = 0.7
    return joints


def seen_from(azimuth_deg: Tensor, elevation_deg: Tensor, roll: float = 0.0) -> Batch:
    """The upright person before cameras that look at the pelvis from the given directions, without errors."""
    azimuth, elevation = azimuth_deg.deg2rad(), elevation_deg.deg2rad()
    up, joints = torch.tensor([0.0, 1.0, 0.0]), upright_person()
    direction = geometry.angles_direction(azimuth, elevation, geometry.body_axes(joints, up))
    zeros = torch.zeros_like(direction)
    to_camera = geometry.look_at(3 * direction, zeros, up.expand_as(zeros), torch.full_like(azimuth, roll))
    pose_3d = joints @ to_camera.transpose(1, 2)
    inputs = torch.cat([torch.zeros(len(azimuth), 17, 2), pose_3d, torch.ones(len(azimuth), 17, 1)], dim=-1)
    return Batch(inputs, {"azimuth_deg": azimuth_deg, "elevation_deg": elevation_deg, "pose_3d": pose_3d})


def views(count: int = 200, seed: int = 0, elevation: float = 60.0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    azimuth = torch.rand(count, generator=generator) * 360
    return seen_from(azimuth, (torch.rand(count, generator=generator) * 2 - 1) * elevation)


def score(model: nn.Module, batch: Batch, metric: str) -> float:
    with torch.no_grad():
        return float(METRICS[metric].per_example(model.eval()(batch.inputs), batch.targets).mean())


def fitted(model: nn.Module, *batches: Batch) -> nn.Module:
    assert isinstance(model, Fits)
    model.fit(iter(batches))
    return model


# --- torso frame


@settings(max_examples=30, deadline=None)
@given(azimuth=st.floats(0, 359), elevation=st.floats(-85, 85), roll=st.floats(-3, 3))
def test_torso_frame_is_exact_on_an_upright_pose_without_errors(azimuth: float, elevation: float, roll: float) -> None:
    batch = seen_from(torch.tensor([azimuth]), torch.tensor([elevation]), roll)
    assert score(torso_frame(), batch, "direction_mae_deg") < 0.01


def test_torso_frame_takes_the_torso_for_gravity() -> None:
    """A body leaning 20° forward, seen from the front at eye level: the lean shows as elevation, azimuth stays."""
    batch = seen_from(torch.tensor([0.0]), torch.tensor([0.0]))
    lean = math.radians(20)
    shoulders = batch.inputs[:, :, 2:5] * 1
    shoulders[:, [L_SHOULDER, R_SHOULDER], 1] = -0.5 * math.cos(lean)
    shoulders[:, [L_SHOULDER, R_SHOULDER], 2] = -0.5 * math.sin(lean)  # towards the camera
    batch.inputs[:, :, 2:5] = shoulders
    assert score(torso_frame(), batch, "azimuth_mae_deg") < 1e-3
    assert score(torso_frame(), batch, "elevation_mae_deg") == pytest.approx(20, abs=1e-3)


def test_torso_frame_draws_no_batch() -> None:
    def refuse() -> Iterable[Batch]:
        raise AssertionError("a batch was drawn")
        yield

    fitted_model = torso_frame()
    fitted_model.fit(refuse())


def test_torso_frame_answers_with_numbers_on_a_collapsed_pose() -> None:
    assert torso_frame()(torch.zeros(2, 17, 6))["angles"].isfinite().all()


# --- constant


def test_constant_is_the_circular_mean() -> None:
    targets = {"azimuth_deg": torch.tensor([350.0, 30.0]), "elevation_deg": torch.tensor([10.0, 20.0])}
    model = fitted(constant(), Batch(torch.zeros(2, 17, 6), targets))
    sin, cos, elevation = model(torch.zeros(1, 17, 6))["angles"][0].tolist()
    assert math.degrees(math.atan2(sin, cos)) == pytest.approx(10, abs=1e-4)
    assert math.degrees(elevation) == pytest.approx(15, abs=1e-4)


@pytest.mark.parametrize("name", ["constant", "ridge"])
def test_they_do_not_depend_on_how_examples_are_batched(name: str) -> None:
    whole = views(90)
    parts = [Batch(whole.inputs[i], {k: v[i] for k, v in whole.targets.items()}) for i in torch.arange(90).split(40)]
    together, apart = (fitted(FACTORIES[name](), *batches).state_dict() for batches in ([whole], parts))
    assert all(torch.allclose(together[key], apart[key], atol=1e-5) for key in together)


# --- ridge


def test_ridge_finds_a_linear_law() -> None:
    """Labels that are linear in the inputs, up to a constant column and a repeated one."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(500, 17, 6, generator=generator) * 0.1
    inputs[..., 5] = 1.0
    inputs[:, 3] = inputs[:, 4]
    elevation = (0.2 + inputs[:, 0, 2] - 0.5 * inputs[:, 7, 4]).rad2deg()
    targets = {"azimuth_deg": torch.full((500,), 40.0), "elevation_deg": elevation}
    model = fitted(ridge(alpha=0.0), Batch(inputs, targets))
    batch = Batch(inputs, targets)
    assert score(model, batch, "elevation_mae_deg") < 1e-2
    assert score(model, batch, "azimuth_mae_deg") < 1e-2


def test_ridge_agrees_with_ridge_by_lstsq() -> None:
    """Reference: least squares on standardised features with √alpha rows below."""
    batch, alpha = views(60), 3.0
    batch.inputs[..., 2:] += torch.randn(60, 17, 4, generator=torch.Generator().manual_seed(1)) * 0.1
    x = batch.inputs[..., 2:].flatten(1).double()
    spread = x.std(0, correction=0)
    z = (x - x.mean(0)) / spread
    radians = {name: batch.targets[name].double().deg2rad() for name in ("azimuth_deg", "elevation_deg")}
    y = torch.stack([radians["azimuth_deg"].sin(), radians["azimuth_deg"].cos(), radians["elevation_deg"]], dim=1)
    rows = torch.cat([z, math.sqrt(alpha) * torch.eye(68, dtype=torch.float64)])
    expected = torch.linalg.lstsq(rows, torch.cat([y - y.mean(0), torch.zeros(68, 3)])).solution
    model = fitted(ridge(alpha=alpha), batch)
    assert torch.allclose(model.weight.double(), (expected / spread[:, None]).T, atol=1e-5)


def test_ridge_shrinks_to_the_mean() -> None:
    model, batch = fitted(ridge(alpha=1e12), views()), views()
    assert float(model.weight.abs().max()) < 1e-6
    assert torch.allclose(model.bias, fitted(constant(), batch).angles, atol=1e-5)


def test_ridge_beats_the_constant_and_generalises() -> None:
    model = fitted(ridge(), views(400, seed=1))
    assert score(model, views(100, seed=2), "azimuth_mae_deg") < 20
    assert score(fitted(constant(), views(400, seed=1)), views(100, seed=2), "azimuth_mae_deg") > 60


@pytest.mark.parametrize("alpha", [-1.0, math.inf, math.nan])
def test_ridge_refuses_a_bad_penalty(alpha: float) -> None:
    with pytest.raises(InputError, match="alpha"):
        ridge(alpha=alpha)


# --- all of them


@pytest.mark.parametrize("name", FACTORIES)
def test_they_answer_like_the_network_and_leave_the_pose(name: str) -> None:
    model, batch = fitted(FACTORIES[name](), views()), views(5, seed=3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(batch.inputs)
    assert output["angles"].shape == (5, 3)
    assert output["angles"].dtype == torch.float32
    assert (output["angles"][:, 2].abs() <= math.pi / 2 + 1e-6).all()
    assert torch.equal(output["pose_3d"], batch.inputs[..., 2:5])
    assert sum(p.numel() for p in model.parameters()) == 0
    assert torch.equal(output["angles"], model(batch.inputs)["angles"])


@pytest.mark.parametrize("name", ["constant", "ridge"])
def test_saved_and_loaded_they_answer_identically(name: str, tmp_path: Path) -> None:
    model, batch = fitted(FACTORIES[name](), views()), views(5, seed=3)
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    other = FACTORIES[name]()
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert torch.equal(other(batch.inputs)["angles"], model(batch.inputs)["angles"])


@pytest.mark.parametrize("name", ["constant", "ridge"])
def test_a_fit_on_nothing_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="at least one training example"):
        FACTORIES[name]().fit(iter([]))
