"""The procedural source: a body one can check by hand, ranges of motion, builds, splits, repeatability."""

from __future__ import annotations

import numpy as np
import pytest

from ablate.depth_refinement.skeleton import BONES, INDEX, SYMMETRIC_BONES
from ablate.depth_refinement.sources.anatomy import LIMITS, Bodies, clamp, draw_bodies, joints_of
from ablate.depth_refinement.sources.poses import PoseSet
from ablate.depth_refinement.sources.postures import POSTURES, draw_posture
from ablate.depth_refinement.sources.synthetic import arm_in_trunk, generate, pose
from ablate.study import InputError


@pytest.fixture(scope="module")
def poses() -> PoseSet:
    return generate(subjects=20, poses_per_subject=250, seed=4)


def body_of(stature: float = 1.0) -> Bodies:
    """Round numbers: thigh and shank 0.25, trunk 0.30, upper arm 0.20, forearm 0.15, half shoulders and hips 0.1."""
    lengths = (1.0, 0.13, 0.05, 0.30, 0.25, 0.25, 0.039, 0.20, 0.15, 0.10, 0.10)
    return Bodies(*(np.array([stature * length]) for length in lengths))


def posed(**degrees: float) -> dict[str, np.ndarray]:
    joints = joints_of(body_of(), {"yaw": np.zeros(1)} | {name: np.array([value]) for name, value in degrees.items()})
    return {name: joints[0, i] for name, i in INDEX.items()}


def interior_angle_deg(joints: np.ndarray, first: str, middle: str, last: str) -> np.ndarray:
    a = joints[:, INDEX[first]] - joints[:, INDEX[middle]]
    b = joints[:, INDEX[last]] - joints[:, INDEX[middle]]
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return np.rad2deg(np.arccos(np.clip(cosine, -1, 1)))


def test_rest_pose_stands_on_the_floor_facing_z_with_left_at_x() -> None:
    at = posed()
    np.testing.assert_allclose(at["l_ankle"], [0.10, 0.039, 0], atol=1e-12)
    np.testing.assert_allclose(at["r_knee"], [-0.10, 0.289, 0], atol=1e-12)
    np.testing.assert_allclose(at["l_hip"], [0.10, 0.539, 0], atol=1e-12)
    np.testing.assert_allclose(at["l_shoulder"], [0.10, 0.839, 0], atol=1e-12)
    np.testing.assert_allclose(at["r_wrist"], [-0.10, 0.489, 0], atol=1e-12)
    assert at["nose"][2] > at["l_eye"][2] > at["l_ear"][2]
    assert at["l_eye"][0] > 0 > at["r_eye"][0]
    assert at["l_ear"][0] > at["l_eye"][0]


@pytest.mark.parametrize(
    ("angles", "joint", "origin", "offset"),
    [
        ({"l_shoulder_flexion": 90}, "l_wrist", "l_shoulder", (0, 0, 0.35)),
        ({"l_shoulder_abduction": 90}, "l_wrist", "l_shoulder", (0.35, 0, 0)),
        ({"r_shoulder_abduction": 90}, "r_wrist", "r_shoulder", (-0.35, 0, 0)),
        ({"r_elbow_flexion": 90}, "r_wrist", "r_elbow", (0, 0, 0.15)),
        ({"l_elbow_flexion": 90, "l_shoulder_rotation": 70}, "l_wrist", "l_elbow", (-0.141, 0, 0.0513)),
        ({"r_elbow_flexion": 90, "r_shoulder_rotation": 70}, "r_wrist", "r_elbow", (0.141, 0, 0.0513)),
        ({"l_hip_flexion": 90}, "l_knee", "l_hip", (0, 0, 0.25)),
        ({"l_hip_flexion": 90, "l_knee_flexion": 90}, "l_ankle", "l_knee", (0, -0.25, 0)),
        ({"r_knee_flexion": 90}, "r_ankle", "r_knee", (0, 0, -0.25)),
        ({"r_hip_abduction": 30}, "r_knee", "r_hip", (-0.125, -0.2165, 0)),
        ({"pelvis_pitch": 90}, "l_shoulder", "l_hip", (0, 0, 0.30)),
        ({"lumbar_flexion": 60}, "l_shoulder", "l_hip", (0, 0.075 + 0.1125, 0.1949)),
        ({"lumbar_bend": 30}, "r_hip", "l_hip", (-0.20, 0, 0)),
        ({"yaw": 90}, "l_shoulder", "r_shoulder", (0, 0, -0.20)),
    ],
)
def test_each_angle_moves_the_joint_where_anatomy_says(
    angles: dict[str, float], joint: str, origin: str, offset: tuple[float, float, float]
) -> None:
    at = posed(**angles)
    np.testing.assert_allclose(at[joint] - at[origin], offset, atol=2e-4)


def test_bend_is_to_the_right_and_neck_flexion_lowers_the_nose() -> None:
    assert posed(lumbar_bend=30)["r_shoulder"][1] < posed(lumbar_bend=30)["l_shoulder"][1]
    assert posed(pelvis_roll=30)["r_shoulder"][1] < posed(pelvis_roll=30)["l_shoulder"][1]
    assert posed(neck_flexion=40)["nose"][1] < posed()["nose"][1] - 0.02
    assert posed(neck_rotation=40)["nose"][0] > 0.02


def test_angles_beyond_the_range_of_motion_are_clamped() -> None:
    far = {name: np.array([400.0, -400.0]) for name in LIMITS}
    held = clamp(far)
    for name, (low, high) in LIMITS.items():
        assert np.all((held[name] >= low) & (held[name] <= high)), name
    np.testing.assert_allclose(
        joints_of(body_of(), {"l_elbow_flexion": np.array([500.0])})[0], list(posed(l_elbow_flexion=150).values())
    )
    with pytest.raises(KeyError, match="l_elbow_twist"):
        clamp({"l_elbow_twist": np.zeros(1)})


@pytest.mark.parametrize("posture", POSTURES)
def test_drawn_angles_lie_within_range_and_are_rarely_at_its_edge(posture: str) -> None:
    rng = np.random.default_rng(1)
    angles = draw_posture(posture, draw_bodies(300, rng=rng), rng=rng)
    for name, (low, high) in LIMITS.items():
        assert np.all((angles[name] >= low) & (angles[name] <= high)), name
    for name in ("l_shoulder_flexion", "l_hip_flexion", "lumbar_flexion"):
        low, high = LIMITS[name]
        assert np.mean((angles[name] <= low) | (angles[name] >= high)) < 0.2, name  # a squat ends the hip


def test_measured_elbows_and_knees_bend_within_range(poses: PoseSet) -> None:
    for side in "lr":
        elbow = 180 - interior_angle_deg(poses.joints, f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist")
        knee = 180 - interior_angle_deg(poses.joints, f"{side}_hip", f"{side}_knee", f"{side}_ankle")
        assert elbow.max() < 150.1
        assert knee.max() < 130.1
        assert elbow.max() > 120  # and the range is used
        assert knee.max() > 120


def test_knees_bend_the_human_way(poses: PoseSet) -> None:
    standing = poses.joints[poses.clip_id == poses.clip_names.index("walking")]
    left = standing[:, INDEX["l_hip"]] - standing[:, INDEX["r_hip"]]
    forward = np.cross(left, [0.0, 1.0, 0.0])
    knee = standing[:, INDEX["l_knee"]] - (standing[:, INDEX["l_hip"]] + standing[:, INDEX["l_ankle"]]) / 2
    assert np.mean((knee * forward).sum(1) > 0) > 0.97


def test_bones_are_constant_per_subject_and_alike_on_both_sides(poses: PoseSet) -> None:
    limbs = [i for i in range(len(BONES)) if i < 10]  # shoulder to hip changes with the spine
    lengths = np.stack([np.linalg.norm(poses.joints[:, a] - poses.joints[:, b], axis=1) for a, b in BONES])
    for subject in range(20):
        own = lengths[:, poses.subject_id == subject]
        assert np.ptp(own[limbs], axis=1).max() < 1e-5
    for left, right in SYMMETRIC_BONES[:4]:
        np.testing.assert_allclose(lengths[left], lengths[right], atol=1e-5)


def test_people_differ_in_build() -> None:
    bodies = draw_bodies(400, rng=np.random.default_rng(0))
    assert 1.60 < bodies.stature.mean() < 1.78
    assert bodies.stature.min() >= 1.45
    assert bodies.stature.max() <= 2.05
    parts = bodies.head + bodies.neck + bodies.trunk + bodies.thigh + bodies.shank + bodies.ankle_height
    np.testing.assert_allclose(parts, bodies.stature)
    assert np.std(bodies.thigh / bodies.stature) > 0.004
    assert np.std(bodies.half_shoulders / bodies.stature) > 0.004


def test_someone_touches_the_floor_and_nobody_sinks(poses: PoseSet) -> None:
    ankles = poses.joints[:, [INDEX["l_ankle"], INDEX["r_ankle"]], 1].min(axis=1)
    assert poses.joints[..., 1].min() > 0
    assert np.percentile(ankles, 95) < 0.09  # ankle centres: 0.039 of stature
    assert ankles.max() < 0.3  # seated on the floor, a foot lifted


def test_left_is_left_and_the_face_looks_ahead(poses: PoseSet) -> None:
    up = np.array([0.0, 1.0, 0.0])
    hips = poses.joints[:, INDEX["l_hip"]] - poses.joints[:, INDEX["r_hip"]]
    forward = np.cross(hips, up)
    ears = poses.joints[:, [INDEX["l_ear"], INDEX["r_ear"]]].mean(axis=1)
    assert np.mean(((poses.joints[:, INDEX["nose"]] - ears) * forward).sum(1) > 0) > 0.95
    assert np.mean(((poses.joints[:, INDEX["l_ear"]] - poses.joints[:, INDEX["r_ear"]]) * hips).sum(1) > 0) > 0.95


def test_facing_is_spread_over_the_whole_circle(poses: PoseSet) -> None:
    hips = poses.joints[:, INDEX["l_hip"]] - poses.joints[:, INDEX["r_hip"]]
    heading = np.arctan2(hips[:, 2], hips[:, 0])
    counts, _ = np.histogram(heading, bins=8, range=(-np.pi, np.pi))
    assert counts.min() > 0.7 * counts.mean()


def test_no_arm_runs_through_the_trunk() -> None:
    rng = np.random.default_rng(2)
    bodies = draw_bodies(500, rng=rng)
    joints = pose(bodies, draw_posture("dancing", bodies, rng=rng))
    assert np.mean(arm_in_trunk(joints, bodies, "l") | arm_in_trunk(joints, bodies, "r")) < 0.01


def test_subjects_are_whole_in_one_split_near_70_15_15(poses: PoseSet) -> None:
    split_of = {subject: set(poses.split[poses.subject_id == subject]) for subject in range(20)}
    assert all(len(splits) == 1 for splits in split_of.values())
    assert np.bincount(poses.split).tolist() == [14 * 250, 3 * 250, 3 * 250]


def test_the_posture_is_the_clip(poses: PoseSet) -> None:
    assert poses.clip_names == ("standing", "walking", "reaching", "sitting", "crouching", "dancing")
    pelvis = poses.joints[:, [INDEX["l_hip"], INDEX["r_hip"]], 1].mean(axis=1)
    height = [np.median(pelvis[poses.clip_id == i]) for i in range(6)]
    assert height[0] > 0.8 > 0.6 > height[3]
    assert set(poses.clip_id) == set(range(6))
    assert poses.joints.dtype == np.float32
    assert len(poses.subject_names) == 20


def test_impossible_counts_are_refused_together() -> None:
    with pytest.raises(InputError) as caught:
        generate(subjects=2, poses_per_subject=0)
    assert [problem.place for problem in caught.value.problems] == ["subjects", "poses_per_subject"]
