"""`ablate data inspect`: its numbers, its picture, its refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ablate.depth_refinement import inspection
from ablate.depth_refinement.data_commands import app
from ablate.depth_refinement.skeleton import INDEX
from ablate.depth_refinement.sources.poses import PoseSet
from ablate.depth_refinement.sources.synthetic import generate
from ablate.study import InputError


@pytest.fixture(scope="module")
def poses() -> PoseSet:
    return generate(subjects=4, poses_per_subject=30, seed=1)


@pytest.fixture
def file(tmp_path: Path, poses: PoseSet) -> Path:
    np.savez(
        tmp_path / "poses.npz",
        joints=poses.joints,
        subject_id=poses.subject_id,
        clip_id=poses.clip_id,
        split=poses.split,
        subject_names=np.array(poses.subject_names),
        clip_names=np.array(poses.clip_names),
    )
    return tmp_path / "poses.npz"


def test_counts_and_measures(file: Path, poses: PoseSet) -> None:
    found, _ = inspection.inspect(file)
    assert found.poses == 120
    assert [(group.name, group.poses, group.subjects) for group in found.splits] == [
        ("train", 60, 2),
        ("val", 30, 1),
        ("test", 30, 1),
    ]
    assert [group.poses for group in found.subjects] == [30] * 4
    assert sum(group.poses for group in found.clips) == 120
    assert {group.split for group in found.clips} == {"several"}  # a posture is no recording of one person
    assert 1.4 < found.stature_m["min"] <= found.stature_m["median"] <= found.stature_m["max"] < 2.1
    assert found.lean_deg["p5"] < found.lean_deg["p50"] < found.lean_deg["p95"] < 90
    assert found.digest == poses.digest


@pytest.mark.parametrize("number", [-1000, 2**64 - 1])
def test_subjects_may_have_any_number(tmp_path: Path, poses: PoseSet, number: int) -> None:
    subject = np.full(10, number, dtype=np.int64 if number < 0 else np.uint64)
    np.savez(tmp_path / "poses.npz", joints=poses.joints[:10], subject_id=subject)
    found, _ = inspection.inspect(tmp_path / "poses.npz")
    assert (found.poses, [group.poses for group in found.subjects]) == (10, [10])


def test_facing_is_ill_defined_for_the_lying_only(poses: PoseSet) -> None:
    standing = poses.clip_id == poses.clip_names.index("standing")
    upright = replace(poses, joints=poses.joints[standing])
    lean, level = inspection.lean_and_level(upright)
    assert lean.max() < 40
    assert level.min() > 0.9
    on_the_back = replace(poses, joints=upright.joints @ np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=np.float32))
    assert inspection.lean_and_level(on_the_back)[0].min() > inspection.ILL_DEFINED_LEAN_DEG
    on_the_side = replace(poses, joints=upright.joints @ np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]], dtype=np.float32))
    assert np.median(inspection.lean_and_level(on_the_side)[0]) > 60


def test_the_body_view_has_left_height_and_forward() -> None:
    joints = np.zeros((17, 3))
    joints[INDEX["l_hip"]], joints[INDEX["r_hip"]] = (5, 1, 2.1), (5, 1, 1.9)  # left at +z: the body faces −x
    joints[INDEX["l_shoulder"]], joints[INDEX["r_shoulder"]] = (5, 1.5, 2.2), (5, 1.5, 1.8)
    joints[INDEX["l_ankle"]], joints[INDEX["r_ankle"]] = (5, 0.2, 2.1), (5, 0.1, 1.9)
    joints[INDEX["nose"]] = (4.9, 1.7, 2.0)
    view = inspection.body_view(joints)
    np.testing.assert_allclose(view[INDEX["l_shoulder"]], [0.2, 1.4, 0], atol=1e-12)
    np.testing.assert_allclose(view[INDEX["nose"]], [0, 1.6, 0.1], atol=1e-12)


def test_the_sample_takes_every_subject_in_turn(poses: PoseSet) -> None:
    rows = inspection.sample(poses, 8, 0)
    assert np.bincount(poses.subject_id[rows]).tolist() == [2, 2, 2, 2]
    assert len(inspection.sample(poses, 500, 0)) == 120


@pytest.mark.parametrize("count", [1, 5])
def test_the_picture_is_drawn(tmp_path: Path, poses: PoseSet, count: int) -> None:
    out = tmp_path / "poses.png"
    inspection.draw(poses, out, count=count)
    assert out.read_bytes().startswith(b"\x89PNG")
    from matplotlib.image import imread

    picture = imread(out)[..., :3]
    blue, vermillion = (np.array(matching) for matching in ((0, 0x72, 0xB2), (0xD5, 0x5E, 0)))
    for colour in (blue, vermillion):
        assert (np.abs(picture * 255 - colour).max(axis=2) < 12).sum() > 200


def test_the_command_draws_only_when_asked(file: Path, tmp_path: Path) -> None:
    run = CliRunner().invoke(app, ["inspect", str(file)])
    assert run.exit_code == 0, run.output
    assert "120 poses, 4 subjects, 6 clips" in run.stdout
    assert "torso lean" in run.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["poses.npz"]
    run = CliRunner().invoke(app, ["inspect", str(file), "--out", str(tmp_path / "p.png"), "--json", "--count", "2"])
    assert json.loads(run.stdout)["poses"] == 120
    assert (tmp_path / "p.png").is_file()


@pytest.mark.parametrize(("name", "rule"), [("p.jpg", "ends in .png"), ("no/p.png", "folder does not exist")])
def test_impossible_pictures_are_refused(file: Path, tmp_path: Path, name: str, rule: str) -> None:
    run = CliRunner().invoke(app, ["inspect", str(file), "--out", str(tmp_path / name)])
    assert isinstance(run.exception, InputError)
    assert rule in str(run.exception)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        inspection.inspect(tmp_path / "nothing.npz")


def test_the_development_recordings(data_root: Path) -> None:
    found, _ = inspection.inspect(data_root / "cmu_dev.npz")
    assert [group.poses for group in found.splits] == [10_189, 1_991, 2_787]
    assert len(found.subjects) == 23
    assert found.lean_deg["p50"] == pytest.approx(6.7, abs=0.1)
    assert found.leaning_over_30_deg == pytest.approx(0.10, abs=0.01)
    assert found.facing_ill_defined == pytest.approx(0.01, abs=0.002)
