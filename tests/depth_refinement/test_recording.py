"""Real detections as test examples: the lens, the crop, what is missing, and files that are no recording."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from standing_person import PERFECT

from ablate.depth_refinement import data, inspection, prediction, preparing
from ablate.depth_refinement import recording as real
from ablate.depth_refinement.known_pose import known_pose
from ablate.depth_refinement.metrics import METRICS
from ablate.depth_refinement.simulation import assemble
from ablate.depth_refinement.skeleton import INDEX, L_ELBOW, L_EYE, L_HIP, L_WRIST, NOSE, R_HIP
from ablate.depth_refinement.sources import calibration, recording
from ablate.depth_refinement.sources import synthetic as procedural
from ablate.depth_refinement.sources.triangulation import triangulate
from ablate.study import InputError
from ablate.trainers.builtin import evaluation

Edit = Callable[[dict[str, Any]], object]
L_ANKLE = INDEX["l_ankle"]
EXACT = {name: value for name, value in PERFECT.items() if name != "noise_level"}


@pytest.fixture(scope="session")
def balancing(data_root: Path) -> Path:
    return data_root / "multicam" / "balancing.npz"


@pytest.fixture
def arrays(balancing: Path) -> dict[str, Any]:
    with np.load(balancing, allow_pickle=False) as archive:
        return dict(archive)


def problems(file: Path) -> str:
    with pytest.raises(InputError) as error:
        recording.read(file)
    return str(error.value)


class TestLens:
    def test_hand_worked_distortion(self) -> None:
        # x = 0.5, y = 0, r² = 0.25; radial 1 + 0.2·0.25 + 0.4·0.0625 = 1.075
        # aside 2·p1·0 + p2·(0.25 + 0.5) = 0.0075; down p1·0.25 + 0 = 0.005
        seen = calibration.distort(np.array([0.5, 0.0]), np.array([0.2, 0.4, 0.02, 0.01]))
        np.testing.assert_allclose(seen, [0.5 * 1.075 + 0.0075, 0.005], atol=1e-12)

    @settings(max_examples=30, deadline=None)
    @given(
        k1=st.floats(-0.15, 0.15), k2=st.floats(-0.1, 0.1), p=st.floats(-0.005, 0.005),
        x=st.floats(-0.5, 0.5), y=st.floats(-0.5, 0.5),
    )  # fmt: skip
    def test_undistorting_undoes_it(self, k1: float, k2: float, p: float, x: float, y: float) -> None:
        camera, dist = np.array([[900.0, 0, 500], [0, 910, 400], [0, 0, 1]]), np.array([k1, k2, p, -p])
        pixels = calibration.to_pixels(calibration.distort(np.array([x, y]), dist), camera)
        np.testing.assert_allclose(calibration.undistort(pixels, camera, dist), [x, y], atol=1e-6)


class TestTriangulation:
    def test_the_real_detections_give_the_triangulated_joints(self, balancing: Path) -> None:
        found = recording.read(balancing)
        rays = found.rig.undistort(found.kp2d)
        points = triangulate(found.rig, rays, found.confidence, limit_px=40).points
        off = np.linalg.norm(points - found.joints3d, axis=-1)
        assert np.nanmedian(off) < 1e-5
        assert np.nanpercentile(off, 95) < 0.005

    def test_a_camera_that_is_wrong_is_left_out(self, balancing: Path) -> None:
        rig = recording.read(balancing).rig
        truth = np.array([[[0.1, -0.2, 1.0], [0.0, 0.3, 0.5]]])
        pixels = rig.project(truth).swapaxes(0, 1)
        pixels[0, 2, 0] += 200
        found = triangulate(rig, rig.undistort(pixels), np.ones((1, 4, 2)), limit_px=30)
        np.testing.assert_allclose(found.points, truth, atol=1e-6)
        assert found.used[0].tolist() == [[True, True], [True, True], [False, True], [True, True]]

    def test_one_camera_is_not_enough(self, balancing: Path) -> None:
        rig = recording.read(balancing).rig
        pixels = rig.project(np.array([[[0.1, -0.2, 1.0]]])).swapaxes(0, 1)
        confidence = np.array([[[0.9], [0.0], [0.0], [0.0]]])
        found = triangulate(rig, rig.undistort(pixels), confidence, limit_px=30)
        assert np.isnan(found.points).all()
        assert not found.used.any()


class TestExamples:
    def test_labels_are_those_of_the_file(self, balancing: Path, arrays: dict[str, Any]) -> None:
        targets = real.recording(file=balancing, device="cpu").examples("all").targets
        for camera in range(4):
            mine = targets["clip"] == camera
            azimuth, elevation = targets["azimuth_deg"][mine].numpy(), targets["elevation_deg"][mine].numpy()
            wide = arrays["azimuth_deg"][:, camera]
            nearest = np.abs((azimuth[:, None] - wide + 180) % 360 - 180)
            assert nearest.min(1).max() < 1e-3
            assert np.abs(elevation - arrays["elevation_deg"][nearest.argmin(1), camera]).max() < 1e-3

    def test_a_frame_is_left_out_only_where_joints_are_missing(self, balancing: Path) -> None:
        targets = real.recording(file=balancing, device="cpu").examples("test").targets
        assert torch.bincount(targets["clip"]).tolist() == [99, 100, 99, 100]
        assert targets["subject"].unique().tolist() == [0]

    def test_exact_3d_without_agreement(self, balancing: Path) -> None:
        batch = real.recording(file=balancing, device="cpu", agreement=0.0, **EXACT).examples("all")
        assert batch.targets["input_mpjpe_mm"].max() < 0.01
        assert torch.isnan(batch.targets["noise_level"]).all()

    def test_full_agreement_repeats_the_real_error(self, balancing: Path) -> None:
        """Then the 3D, put at the true depth, projects onto the detected 2D."""
        batch = real.recording(file=balancing, device="cpu", agreement=1.0, **EXACT).examples("all")
        inputs, targets = batch.inputs, batch.targets
        depth = targets["distance_m"][:, None] + targets["pose_3d"][..., 2]
        hips = [L_HIP, R_HIP]
        detected = targets["image_2d"] * depth.unsqueeze(-1)
        detected = detected - detected[:, hips].mean(1, keepdim=True)
        seen = inputs[..., 5] > 0
        torch.testing.assert_close(inputs[..., 2:4][seen], detected[seen], atol=2e-3, rtol=0)

    def test_2d_is_centred_scaled_and_cropped_on_the_detected_hips(self, balancing: Path) -> None:
        batch = real.recording(file=balancing, device="cpu").examples("all")
        image = batch.inputs[..., :2]
        assert image[:, [L_HIP, R_HIP]].mean(1).abs().max() < 1e-5
        torch.testing.assert_close(image.square().sum(-1).mean(-1), torch.ones(len(image)), atol=1e-4, rtol=0)
        # the crop looks at the middle of the hips' rays: a straight line stays one, so the middle stays near 0
        assert batch.targets["image_2d"][:, [L_HIP, R_HIP]].mean(1).abs().max() < 1e-3

    def test_a_camera_solver_told_the_pose_finds_the_labels(self, balancing: Path) -> None:
        """Crop, 2D and world pose belong together: a wrong axis anywhere would cost tens of degrees."""
        batch = real.recording(file=balancing, device="cpu").examples("all")
        every = torch.arange(0, len(batch.inputs), 25)
        few = batch._replace(inputs=batch.inputs[every], targets={k: v[every] for k, v in batch.targets.items()})
        output = evaluation.predict(known_pose(), few)
        scores = evaluation.score(output, few.targets, [METRICS["azimuth_mae_deg"], METRICS["elevation_mae_deg"]])
        assert scores["azimuth_mae_deg"] < 2
        assert scores["elevation_mae_deg"] < 3

    def test_visibility_follows_confidence(self, balancing: Path) -> None:
        batch = real.recording(file=balancing, device="cpu", clear_confidence=0.5).examples("all")
        mine = batch.inputs[batch.targets["clip"] == 3]
        assert (mine[:, L_EYE, 5] == 0).all()  # camera 4 never sees the left eye
        assert (mine[:, L_HIP, 5] == 1).float().mean() > 0.9
        assert (batch.inputs[..., 5] >= 0).all()
        assert (batch.inputs[..., 5] <= 1).all()

    def test_other_seeds_draw_other_3d_only(self, balancing: Path) -> None:
        one, same, other = (
            real.recording(file=balancing, device="cpu", seed=seed).examples("all").inputs for seed in (1, 1, 2)
        )
        torch.testing.assert_close(one, same, atol=0, rtol=0)
        torch.testing.assert_close(one[..., [0, 1, 5]], other[..., [0, 1, 5]], atol=0, rtol=0)
        assert (one[..., 2:5] - other[..., 2:5]).abs().mean() > 0.01

    def test_a_world_of_another_axis_gives_the_same_examples(
        self, arrays: dict[str, Any], balancing: Path, tmp_path: Path
    ) -> None:
        turn = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # +Z up becomes +Y up
        arrays["joints3d"] = (arrays["joints3d"] @ turn.T).astype(np.float32)
        arrays["R"], arrays["world_up"] = arrays["R"] @ turn.T, turn @ arrays["world_up"]
        np.savez(tmp_path / "y.npz", **arrays)
        ours, theirs = (real.recording(file=f, device="cpu").examples("all") for f in (tmp_path / "y.npz", balancing))
        torch.testing.assert_close(ours.inputs, theirs.inputs, atol=1e-4, rtol=0)
        torch.testing.assert_close(ours.targets["pose_world"], theirs.targets["pose_world"], atol=1e-4, rtol=0)

    def test_it_is_for_testing_only(self, balancing: Path) -> None:
        data = real.recording(file=balancing, device="cpu")
        assert data.train_size == 0
        with pytest.raises(InputError, match="no training examples"):
            data.sample(torch.tensor([0]), generator=torch.Generator())
        with pytest.raises(InputError, match="no validation examples"):
            data.examples("val")


def test_undetected_joints_stand_where_their_limb_was_seen() -> None:
    plane = np.arange(34, dtype=np.float64).reshape(1, 17, 2)
    detected = np.ones((1, 17), dtype=bool)
    detected[0, [L_ELBOW, L_WRIST, NOSE]] = False
    truth, plane[0, ~detected[0]] = plane.copy(), np.nan
    filled = real.fill(plane, detected)
    np.testing.assert_array_equal(filled[0, L_ELBOW], truth[0, 5])
    np.testing.assert_array_equal(filled[0, L_WRIST], truth[0, 5])
    np.testing.assert_array_equal(filled[0, NOSE], truth[0, 1:5].mean(0))
    np.testing.assert_array_equal(filled[0, detected[0]], truth[0, detected[0]])


def test_a_missing_face_joint_comes_from_the_same_head(balancing: Path) -> None:
    joints = recording.complete_heads(recording.read(balancing).joints3d)
    assert np.isfinite(joints).all()
    hidden = joints.copy()
    hidden[::7, NOSE] = np.nan
    again = recording.complete_heads(hidden)
    assert np.median(np.linalg.norm(again[::7, NOSE] - joints[::7, NOSE], axis=-1)) < 0.02


def test_a_head_seen_at_two_points_only_is_left_alone() -> None:
    joints = np.random.default_rng(0).normal(size=(3, 17, 3))
    joints[1, :3] = np.nan
    assert np.isnan(recording.complete_heads(joints)[1, :3]).all()


def set_to(name: str, value: object) -> Edit:
    return lambda arrays: arrays.__setitem__(name, value)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda a: a.pop("K"), "K: array is missing"),
        (set_to("kp2d", np.zeros((100, 4, 16, 2))), "kp2d: shape must be (frames, cameras, 17, 2)"),
        (set_to("conf", np.zeros((99, 4, 17))), "conf: shape must be (100, 4, 17)"),
        (set_to("conf", np.full((100, 4, 17), 55.0)), "conf: must lie between 0 and 1 (got 55)"),
        (set_to("joints3d", np.full((100, 17, 3), np.inf)), "joints3d: must be finite, or NaN"),
        (set_to("joints3d", np.full((100, 17, 3), np.nan)), "no frame has both hips and both shoulders"),
        (set_to("world_up", np.zeros(3)), "world_up: must be a direction"),
        (set_to("world_up", np.array([1.0, 0, 0])), "world_up: must point against gravity"),
        (set_to("world_up", np.array([0, 0, -1.0])), "world_up: must point against gravity"),
        (set_to("R", np.ones((4, 3, 3))), "camera cam_01: R must be a rotation"),
        (set_to("K", np.full((4, 3, 3), np.nan)), "camera cam_01: must have finite numbers"),
        (set_to("joint_names", np.array(["hip"] * 17)), "joint_names: must be COCO-17 in its order"),
        (set_to("conf", np.array([["a"]])), "conf: must hold numbers"),
        (set_to("dist", np.array([None] * 4)), "dist: cannot be read as a plain array"),
        (lambda a: a.__setitem__("joints3d", a["joints3d"] * 1000), "is the calibration in metres?"),
    ],
)  # fmt: skip
def test_what_is_no_recording_is_refused(arrays: dict[str, Any], tmp_path: Path, edit: Edit, said: str) -> None:
    edit(arrays)
    np.savez(tmp_path / "bad.npz", allow_pickle=True, **arrays)
    text = problems(tmp_path / "bad.npz")
    assert said in text
    assert "bad.npz" in text


def test_other_files_are_refused(tmp_path: Path, balancing: Path, data_root: Path) -> None:
    (tmp_path / "cut.npz").write_bytes(balancing.read_bytes()[:5000])
    assert "is not an .npz archive" in problems(tmp_path / "cut.npz")
    assert not recording.is_recording(tmp_path / "cut.npz")
    assert "kp2d: array is missing" in problems(data_root / "cmu_dev.npz")
    assert not recording.is_recording(data_root / "cmu_dev.npz")
    assert recording.is_recording(balancing)


def test_settings_out_of_range_are_refused(balancing: Path) -> None:
    with pytest.raises(InputError) as error:
        real.recording(file=balancing, device="cpu", agreement=2.0, min_detected=99)
    assert {problem.place for problem in error.value.problems} == {"agreement", "min_detected"}


def test_it_can_be_looked_at(balancing: Path, tmp_path: Path, arrays: dict[str, Any]) -> None:
    found, poses = inspection.inspect(balancing)
    assert (found.frames, found.poses, len(found.cameras)) == (100, 100, 4)
    share = float(((arrays["conf"][:, 0] > 0) & np.isfinite(arrays["kp2d"][:, 0]).all(-1)).mean())
    assert found.cameras[0].detected == pytest.approx(share)
    assert found.plain()["cameras"][0] == {"name": str(arrays["cam_names"][0]), "detected": pytest.approx(share)}
    assert 1.4 < found.stature_m["median"] < 2.0
    assert (poses.joints[:, L_HIP, 1] > poses.joints[:, L_ANKLE, 1]).all()  # +Y is up
    assert "a recording of 100 frames, 100.0% with a whole 3D pose" in inspection.text(found)
    inspection.draw(poses, tmp_path / "p.png", count=2)
    arrays["joints3d"][3:, L_HIP] = np.nan
    np.savez(tmp_path / "few.npz", **arrays)
    few, _ = inspection.inspect(tmp_path / "few.npz")
    assert (few.frames, few.poses) == (100, 3)
    arrays["joints3d"][:, L_WRIST] = np.nan
    np.savez(tmp_path / "none.npz", **arrays)
    with pytest.raises(InputError, match="no frame has a whole triangulated pose"):
        inspection.inspect(tmp_path / "none.npz")


@pytest.mark.parametrize("kind", ["recording", "motion capture"])
def test_it_is_prepared_for_predict(balancing: Path, tmp_path: Path, kind: str) -> None:
    """`predict` reads what the data factories make of the same file, to rounding."""
    if kind == "recording":
        file, batch = balancing, real.recording(file=balancing, device="cpu").examples("test")
    else:
        people = procedural.generate(subjects=3, poses_per_subject=4, seed=1)
        file = tmp_path / "mocap.npz"
        np.savez(file, joints=people.joints, subject_id=people.subject_id)
        batch = data.mocap(file=file, device="cpu").examples("all")
    out = tmp_path / "poses.npz"
    assert preparing.prepare(file, out) == len(batch.inputs)
    assembled = assemble(*prediction.read_poses(out))
    torch.testing.assert_close(assembled, batch.inputs, rtol=1e-4, atol=1e-5)
    with np.load(out) as written:
        np.testing.assert_array_equal(written["azimuth_deg"], batch.targets["azimuth_deg"].numpy())
    with pytest.raises(InputError, match=r"--out: exists already .*--overwrite replaces it"):
        preparing.prepare(file, out)
    assert preparing.prepare(file, out, overwrite=True) == len(batch.inputs)
    for wrong in (tmp_path / "poses.csv", tmp_path / "no" / "poses.npz"):
        with pytest.raises(InputError, match="--out"):
            preparing.prepare(file, wrong)


def test_a_recording_without_a_usable_picture(arrays: dict[str, Any], tmp_path: Path) -> None:
    arrays["conf"][..., L_HIP] = 0
    np.savez(tmp_path / "hipless.npz", **arrays)
    with pytest.raises(InputError, match="no frame has 12 detected joints"):
        real.recording(file=tmp_path / "hipless.npz", device="cpu")
