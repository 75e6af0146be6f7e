"""The known-pose reference and its camera solver: exact without errors, near the Cramér–Rao bound with known ones."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime
from standing_person import PERFECT, STANDING, mocap_arrays, write

from ablate.depth_refinement import resection
from ablate.depth_refinement.data import mocap
from ablate.depth_refinement.known_pose import known_pose
from ablate.depth_refinement.metrics import METRICS
from ablate.study import InputError
from ablate.trainers.builtin import cost, evaluation
from ablate.trainers.builtin.checkpoints import load_model, save_model
from ablate.trainers.contract import Batch, Fits, UsesTargets

POINTS = np.array(STANDING)[None] - np.array([0.0, 0.9, 0.0])
# Everything the 2D detector does but Gaussian errors of the same size for every joint, seen or not.
GAUSSIAN = {
    "noise_level_spread": 1.0, "occluded_factor": 1.0, "jitter_probability": 0.0, "miss_probability": 0.0,
    "face_inversion_probability": 0.0, "arm_inversion_probability": 0.0, "leg_inversion_probability": 0.0,
}  # fmt: skip
FACTORY = {"factory": "ablate.depth_refinement.known_pose:known_pose"}


def errors(batch: Batch, metric: str) -> torch.Tensor:
    return METRICS[metric].per_example(evaluation.predict(known_pose(), batch), batch.targets)


def test_without_noise_the_angles_are_exact_all_around(tmp_path: Path) -> None:
    batch = mocap(file=write(tmp_path, mocap_arrays(12, 10)), device="cpu", **PERFECT).examples("all")
    octant = (batch.targets["azimuth_deg"] / 45).long()
    assert len(octant.unique()) == 8
    assert errors(batch, "direction_mae_deg").max() < 0.01
    assert errors(batch, "azimuth_mae_deg").max() < 0.01


def test_known_noise_gives_errors_near_the_cramer_rao_bound(data_root: Path) -> None:
    """COCO annotators' noise: the bound is 2.5 to 2.7° of azimuth (RMS, a person seen whole), 2.3 to 2.5° of elevation.
    Crouching people are smaller targets, so the mean lies above."""
    data = mocap(file=data_root / "cmu_dev.npz", device="cpu", noise_level=1.0, max_eval_poses=150, **GAUSSIAN)
    batch = data.examples("test")
    assert 2.0 < errors(batch, "azimuth_mae_deg").median() < 3.2
    assert 1.5 < errors(batch, "elevation_mae_deg").median() < 2.7
    assert errors(batch, "azimuth_opposite").sum() == 0


class Ring(NamedTuple):
    """Cameras at pelvis height, 3 m away, all around the standing person, and what they see without noise."""

    camera: resection.Camera
    direction: np.ndarray  # (count, 3), from the pelvis to the camera
    points: np.ndarray
    image: np.ndarray

    def errors_deg(self, found: resection.Camera) -> np.ndarray:
        """Angle between the true and the found direction to the camera."""
        position = -(found.rotation.swapaxes(-1, -2) @ found.translation[..., None])[..., 0]
        cosine = (position * self.direction).sum(-1) / np.linalg.norm(position, axis=-1)
        return np.degrees(np.arccos(np.clip(cosine, -1, 1)))

    def solved(self, image: np.ndarray, sd: float | np.ndarray) -> np.ndarray:
        return self.errors_deg(resection.solve(self.points, image, np.broadcast_to(sd, image.shape[:2])))

    def noisy(self, sd: float) -> np.ndarray:
        return self.image + sd * np.random.default_rng(0).standard_normal(self.image.shape)


def ring(count: int) -> Ring:
    angle = np.arange(count) / count * 2 * np.pi
    zero, one = np.zeros(count), np.ones(count)
    rows = [[np.cos(angle), zero, -np.sin(angle)], [zero, -one, zero], [-np.sin(angle), zero, -np.cos(angle)]]
    camera = resection.Camera(np.array(rows).transpose(2, 0, 1), np.tile([0.0, 0.0, 3.0], (count, 1)))
    points = np.repeat(POINTS, count, 0)
    seen = points @ camera.rotation.swapaxes(-1, -2) + camera.translation[:, None]
    return Ring(camera, np.stack([np.sin(angle), zero, np.cos(angle)], -1), points, seen[..., :2] / seen[..., 2:])


def cramer_rao_deg(ring: Ring, sd: float) -> np.ndarray:
    """Least RMS angle between the true and an estimated direction, from the derivatives at the truth.

    The camera's place in its own axes is t; a small turn w and shift s move it by w × t − s as the person sees it.
    """
    _, jacobian = resection._reprojection(ring.camera, ring.points, ring.image, np.full(ring.image.shape[:2], sd))
    covariance = np.linalg.inv(jacobian.swapaxes(-1, -2) @ jacobian)
    shift = np.broadcast_to(-np.eye(3), covariance[:, :3, :3].shape)
    move = np.concatenate([-resection._cross(ring.camera.translation), shift], axis=-1)[:, :2]  # across the view
    return np.degrees(np.sqrt(np.einsum("bij,bjk,bik->b", move, covariance, move)) / 3)


def test_gaussian_noise_gives_the_cramer_rao_bound() -> None:
    """Half a percent of stature: 0.85 cm at 3 m. Soft-L1 pays a little for its robustness."""
    around, sd = ring(240), 0.0085 / 3
    error, bound = around.solved(around.noisy(sd), sd), cramer_rao_deg(around, sd)
    assert 0.95 < np.sqrt(((error / bound) ** 2).mean()) < 1.15  # measured 1.03


def test_gross_errors_do_not_ruin_it() -> None:
    """Three joints of seventeen, 60 SDs off: squares would follow them, soft-L1 hardly does."""
    around = ring(64)
    image = around.noisy(0.003)
    plain = around.solved(image, 0.003)
    image[:, [7, 10, 15]] += np.array([0.15, -0.1])
    robust = around.solved(image, 0.003)
    assert np.median(robust) < 3 * np.median(plain)


def test_a_joint_of_infinite_deviation_has_no_say() -> None:
    around, sd = ring(8), np.full((8, 17), 0.003)
    image = around.image.copy()
    image[:, 9], sd[:, 9] = 50.0, np.inf
    assert around.solved(image, sd).max() < 1e-3


@settings(max_examples=15, deadline=None)
@given(turn=st.tuples(*[st.floats(-2, 2)] * 3), shift=st.tuples(*[st.floats(-0.5, 0.5)] * 3))
def test_derivatives_agree_with_differences(turn: tuple[float, ...], shift: tuple[float, ...]) -> None:
    step = np.array([*turn, *shift])
    start = resection.Camera(np.eye(3), np.array([0.1, -0.2, 4.0]))
    image, sd = np.zeros((17, 2)), np.full(17, 0.01)

    def residuals(values: np.ndarray) -> np.ndarray:
        return resection._reprojection(resection._moved(start, values), POINTS[0], image, sd)[0]

    exact = resection._reprojection(resection._moved(start, step), POINTS[0], image, sd)[1].copy()
    exact[:, :3] = exact[:, :3] @ resection._left_jacobian(step[:3])
    assert np.allclose(exact, approx_fprime(step, residuals, 1e-7), atol=2e-3, rtol=1e-4)


# --- the arm


@pytest.fixture
def noisy(tmp_path: Path) -> Batch:
    return mocap(file=write(tmp_path, mocap_arrays(12, 5)), device="cpu", noise_level=0.5).examples("val")


def test_it_answers_like_the_network_and_leaves_the_pose(noisy: Batch) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = evaluation.predict(known_pose(), noisy)
    assert output["angles"].shape == (len(noisy.inputs), 3)
    assert output["angles"].dtype == torch.float32
    assert torch.equal(output["pose_3d"], noisy.inputs[..., 2:5])
    assert torch.equal(output["angles"], evaluation.predict(known_pose(), noisy)["angles"])


def test_an_example_is_answered_the_same_whatever_stands_beside_it(noisy: Batch) -> None:
    whole = evaluation.predict(known_pose(), noisy)["angles"]
    last = Batch(noisy.inputs[-1:], {name: value[-1:] for name, value in noisy.targets.items()})
    assert torch.allclose(evaluation.predict(known_pose(), last)["angles"], whole[-1:], atol=1e-6)


def test_without_the_truth_it_answers_nan_in_the_right_shape(noisy: Batch) -> None:
    """Counting operations, serving and the latency's forward pass see inputs alone."""
    output = evaluation.predict(known_pose(), noisy.inputs)
    assert output["angles"].shape == (len(noisy.inputs), 3)
    assert output["angles"].isnan().all()
    assert torch.equal(output["pose_3d"], noisy.inputs[..., 2:5])
    assert cost.count(known_pose(), noisy.inputs) == {"cost/parameters": 0.0, "cost/flops": 0.0}


def test_it_is_fitted_without_a_batch_and_told_the_targets() -> None:
    model = known_pose()
    assert isinstance(model, Fits)
    assert isinstance(model, UsesTargets)
    model.fit(iter([]))


def test_data_that_does_not_tell_the_truth_is_refused(noisy: Batch) -> None:
    targets = {name: value for name, value in noisy.targets.items() if name not in ("image_sd", "pose_world")}
    with pytest.raises(InputError, match=r"must be told these targets \(got image_sd, pose_world\)"):
        evaluation.predict(known_pose(), Batch(noisy.inputs, targets))


def test_saved_and_loaded_it_answers_the_same(noisy: Batch, tmp_path: Path) -> None:
    save_model(known_pose(), FACTORY, list(noisy.inputs.shape[1:]), tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    output = evaluation.predict(loaded, noisy)
    assert torch.equal(output["angles"], evaluation.predict(known_pose(), noisy)["angles"])
    assert cost.latency(tmp_path / "model", threads=1, device="cpu") == {}  # without the truth it does no work
