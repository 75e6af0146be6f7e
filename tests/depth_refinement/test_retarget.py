"""From any skeleton to COCO-17: names, units, axes and orders make no difference; what is odd is said or refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from bvh_writer import AXES, NAMES, NAMINGS, SKELETON, bvh_text, walk, write_bvh
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

from ablate.depth_refinement.data_commands import app
from ablate.depth_refinement.skeleton import BONES, INDEX, JOINTS
from ablate.depth_refinement.sources import mocap
from ablate.depth_refinement.sources.bvh import read_bvh
from ablate.depth_refinement.sources.importing import import_bvh
from ablate.depth_refinement.sources.naming import find_roles
from ablate.depth_refinement.sources.retarget import Retargeted, retarget
from ablate.study import InputError


def converted(tmp_path: Path, *, fps: float = 12.0, **options: object) -> Retargeted:
    path = write_bvh(tmp_path / "walk.bvh", **options)
    return retarget(read_bvh(path), "walk.bvh", fps=fps)


def with_offset(name: str, offset: tuple[float, float, float]) -> list[tuple[str, str, tuple[float, float, float]]]:
    return [(joint, parent, offset if joint == name else own) for joint, parent, own in SKELETON]


def test_the_walker_in_metres(tmp_path: Path) -> None:
    found = converted(tmp_path)
    assert found.joints.shape == (20, 17, 3)  # 40 frames at 24 per second
    assert found.joints.dtype == np.float32
    assert (found.unit, found.up_axis, found.warnings) == ("cm", "+y", ())
    assert found.frame_time == pytest.approx(1 / 12)
    assert found.stature_m == pytest.approx((0.84 + 0.50) / 0.779, abs=0.01)
    at = {name: found.joints[:, i] for name, i in INDEX.items()}
    np.testing.assert_allclose(np.linalg.norm(at["l_hip"] - at["l_knee"], axis=1), 0.42, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(at["l_wrist"] - at["l_elbow"], axis=1), 0.25, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(at["l_shoulder"] - at["r_shoulder"], axis=1), 0.36, atol=1e-5)
    assert min(at["l_ankle"][:, 1].min(), at["r_ankle"][:, 1].min()) == pytest.approx(0.08, abs=0.01)
    assert (at["nose"][:, 1] > at["l_shoulder"][:, 1]).all()
    # turned to the left by about 0.4 rad: the left hip lies towards +x and away from +z
    assert (at["l_hip"] - at["r_hip"])[:, 0].mean() == pytest.approx(0.18 * np.cos(0.4), abs=0.01)
    assert (at["l_hip"] - at["r_hip"])[:, 2].mean() == pytest.approx(-0.18 * np.sin(0.4), abs=0.01)
    ears = (at["l_ear"] + at["r_ear"]) / 2
    assert ((at["nose"] - ears) @ [np.sin(0.4), 0, np.cos(0.4)] > 0.1).all()
    assert ((at["l_ear"] - at["r_ear"]) * (at["l_hip"] - at["r_hip"])).sum(1).min() > 0


@pytest.mark.parametrize("naming", NAMINGS)
def test_names_make_no_difference(tmp_path: Path, naming: str) -> None:
    reference = converted(tmp_path)
    np.testing.assert_allclose(converted(tmp_path, names=NAMINGS[naming]).joints, reference.joints, atol=1e-4)


@pytest.mark.parametrize("order", ["XYZ", "YXZ", "ZXY"])
def test_channel_orders_make_no_difference(tmp_path: Path, order: str) -> None:
    np.testing.assert_allclose(converted(tmp_path, order=order).joints, converted(tmp_path).joints, atol=1e-4)


@pytest.mark.parametrize(
    ("unit", "units_per_metre"), [("m", 1.0), ("mm", 1000.0), ("inch", 1 / 0.0254), ("inch/0.45 (CMU)", 0.45 / 0.0254)]
)
def test_units_are_found_from_the_stature(tmp_path: Path, unit: str, units_per_metre: float) -> None:
    found = converted(tmp_path, units_per_metre=units_per_metre)
    assert found.unit == unit
    np.testing.assert_allclose(found.joints, converted(tmp_path).joints, atol=2e-4)


def test_an_unknown_unit_is_scaled_and_said(tmp_path: Path) -> None:
    found = converted(tmp_path, units_per_metre=25.0)
    assert found.unit == "unknown"
    assert found.stature_m == pytest.approx(1.70)
    assert "unit unknown" in found.warnings[0]
    motion = read_bvh(tmp_path / "walk.bvh")
    told = retarget(motion, "walk.bvh", metres_per_unit=0.04)
    np.testing.assert_allclose(told.joints, converted(tmp_path).joints, atol=2e-4)


@pytest.mark.parametrize("up", ["+z", "-x"])
def test_up_axes_are_found_from_the_body(tmp_path: Path, up: str) -> None:
    reference, found = converted(tmp_path), converted(tmp_path, axes=AXES[up])
    assert found.up_axis == up
    pairs = [*BONES, (INDEX["nose"], INDEX["l_ankle"]), (INDEX["r_ear"], INDEX["l_wrist"])]
    for a, b in pairs:  # the heading may differ, the body not
        expected = np.linalg.norm(reference.joints[:, a] - reference.joints[:, b], axis=1)
        np.testing.assert_allclose(np.linalg.norm(found.joints[:, a] - found.joints[:, b], axis=1), expected, atol=1e-4)
    np.testing.assert_allclose(found.joints[..., 1], reference.joints[..., 1], atol=1e-4)
    handed = [np.linalg.det(np.stack([p[:, INDEX[n]] - p[:, INDEX["l_hip"]] for n in ("nose", "r_hip", "l_wrist")], 1))
              for p in (reference.joints, found.joints)]  # fmt: skip
    np.testing.assert_allclose(handed[1], handed[0], atol=1e-5)


def test_bones_drawn_along_their_own_axes(tmp_path: Path) -> None:
    """As in iClone's files: with all rotations zero the legs point up, and the motion carries the rest pose."""
    axes = {name: Rotation.identity() for name in NAMES} | {"Head": Rotation.from_rotvec([0.4, -0.7, 0.3])}
    axes |= {
        f"{side}{part}": Rotation.from_rotvec([np.pi, 0, 0]) for side in ("Left", "Right") for part in ("UpLeg", "Leg")
    }
    skeleton = [(n, p, tuple(axes[p].inv().apply(o)) if p else o) for n, p, o in SKELETON]
    motion, turns = walk(), {}
    for name, parent, _ in SKELETON:
        own = Rotation.from_rotvec(motion.get(name, np.zeros((40, 3))))
        turns[name] = (axes.get(parent, Rotation.identity()).inv() * own * axes[name]).as_rotvec()
    found, reference = converted(tmp_path, turns=turns, skeleton=skeleton), converted(tmp_path)
    assert found.warnings == ("the zero pose is no standing person: head taken to face ahead on average",)
    np.testing.assert_allclose(found.joints[:, 5:], reference.joints[:, 5:], atol=1e-4)
    assert np.linalg.norm(found.joints[:, :5] - reference.joints[:, :5], axis=2).mean() < 0.03


def test_a_zero_pose_upside_down_is_still_a_person(tmp_path: Path) -> None:
    over = Rotation.from_rotvec([np.pi, 0, 0])
    skeleton = [(n, p, tuple(over.inv().apply(o))) for n, p, o in SKELETON]
    motion, turns = walk(), {}
    for name, parent, _ in SKELETON:
        own = Rotation.from_rotvec(motion.get(name, np.zeros((40, 3))))
        turns[name] = ((over.inv() if parent else Rotation.identity()) * own * over).as_rotvec()
    found = converted(tmp_path, turns=turns, skeleton=skeleton)
    assert found.warnings == ()
    np.testing.assert_allclose(found.joints, converted(tmp_path).joints, atol=1e-4)


def test_frames_are_picked_not_blended(tmp_path: Path) -> None:
    every, some = converted(tmp_path, fps=24), converted(tmp_path, fps=7)
    assert len(every.joints) == 40
    assert len(some.joints) == 12
    for pose in some.joints:
        assert np.abs(every.joints - pose).max(axis=(1, 2)).min() < 0.01  # but for the floor's shift
    assert len(converted(tmp_path, fps=60).joints) == 40  # slower than asked: all frames, at their own rate
    assert converted(tmp_path, fps=60).frame_time == pytest.approx(1 / 24, rel=1e-4)


def test_leading_rest_poses_are_left_out(tmp_path: Path) -> None:
    turns = {name: np.concatenate([np.zeros((1, 3)), turn]) for name, turn in walk().items()}
    found = converted(tmp_path, turns=turns, fps=24)
    assert found.native_frames == 41
    assert len(found.joints) == 40
    assert found.warnings == ("1 leading frame in a rest pose left out",)
    arms_out = {name: turn.copy() for name, turn in turns.items()}
    arms_out["Hips"][0] = [0, 1.0, 0]
    arms_out["LeftLeg"][0] = [0.05, 0, 0]  # a T-pose, though not all zero
    assert len(converted(tmp_path, turns=arms_out, fps=24).joints) == 40


def test_exchanged_sides_are_refused(tmp_path: Path) -> None:
    exchange = {n: n.replace("Left", "#").replace("Right", "Left").replace("#", "Right") for n in NAMES}
    with pytest.raises(InputError, match="left and right are exchanged"):
        converted(tmp_path, names=exchange)
    with pytest.raises(InputError, match=r"toes point ahead in 0% of the frames"):
        converted(tmp_path, skeleton=[(n, p, (-o[0], o[1], o[2])) for n, p, o in SKELETON])
    knees_only = [joint for joint in SKELETON if "Toe" not in joint[0]]
    with pytest.raises(InputError, match="knees point ahead"):
        converted(tmp_path, names=exchange, skeleton=knees_only)


def test_missing_joints_are_all_named_with_the_nearest(tmp_path: Path) -> None:
    odd = {"LeftLeg": "LeftLowLegg", "RightHand": "Mitten", "Head": "Skull"}
    with pytest.raises(InputError) as caught:
        converted(tmp_path, names=odd)
    messages = [str(problem) for problem in caught.value.problems]
    assert len(messages) == 3
    assert "no joint for the left knee: known names are LeftKnee" in messages[0]
    assert "nearest in the file: " in messages[0]
    assert "LeftLowLegg" in messages[0]
    assert "right wrist" in messages[1]
    assert "no joint for the head" in messages[2]


def test_joints_in_one_place_and_stretching_bones_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="l_hip–l_knee: the two joints lie in one place"):
        converted(tmp_path, skeleton=with_offset("LeftLeg", (0, 0, 0)))
    text = bvh_text()  # give the left knee position channels that pull it away
    lines = text.splitlines()
    knee = next(i for i, line in enumerate(lines) if "JOINT LeftLeg" in line)
    lines[knee + 3] = lines[knee + 3].replace("CHANNELS 3", "CHANNELS 6 Xposition Yposition Zposition")
    first = next(i for i, line in enumerate(lines) if line.startswith("Frame Time")) + 1
    column = 6 + 3 * NAMES.index("LeftLeg")
    for i in range(first, len(lines)):
        values = lines[i].split()
        lines[i] = " ".join([*values[:column], "0", str(-42 - (i - first)), "0", *values[column:]])
    path = tmp_path / "stretch.bvh"
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match="l_hip–l_knee: a bone must keep its length"):
        retarget(read_bvh(path), "stretch.bvh")


def test_arms_that_begin_at_the_spine_are_noticed(tmp_path: Path) -> None:
    at_spine = {"LeftShoulder": (0.0,) * 3, "RightShoulder": (0.0,) * 3, "Neck": (0.0,) * 3}
    skeleton = [(n, p, at_spine.get(n, o)) for n, p, o in SKELETON]
    found = converted(tmp_path, skeleton=skeleton)
    assert len(found.warnings) == 1
    assert "arms begin at the spine joint 'Chest'" in found.warnings[0]
    assert "0.13 m too low" in found.warnings[0]


def test_names_of_other_bones_do_not_mislead() -> None:
    names = ["Hips", "LHipJoint", "LeftUpLeg", "LeftLeg", "LeftFoot", "LeftToeBase", "LeftShoulder", "LeftArm"]
    names += ["LeftForeArm", "LeftHand", "LeftHandIndex1", "CC_Base_L_CalfTwist01", "RightUpLeg", "Head", "HeadTop_End"]
    roles, missing = find_roles(names)
    assert {names[i] for i in roles.values()} >= {"LeftUpLeg", "LeftLeg", "LeftFoot", "LeftArm", "LeftHand", "Head"}
    assert names[roles["l_collar"]] == "LeftShoulder"
    assert names[roles["head"]] == "Head"
    assert [joint.role for joint in missing] == [
        "right knee",
        "right ankle",
        "right shoulder",
        "right elbow",
        "right wrist",
    ]


# --- whole folders -------------------------------------------------------------------------------------------------


def people(folder: Path, count: int = 4) -> Path:
    for i in range(count):
        write_bvh(folder / f"{i // 2:02d}_{i:02d}.bvh", units_per_metre=100 + i)
    return folder


def test_a_folder_becomes_a_file_that_mocap_reads(tmp_path: Path) -> None:
    done = import_bvh(people(tmp_path / "in"), tmp_path / "out.npz")
    poses = mocap.read(tmp_path / "out.npz")
    assert (done.poses, done.subjects, done.clips) == (80, 4, 4)
    assert poses.joints.shape == (80, 17, 3)
    assert poses.subject_names == ("00_00", "00_01", "01_02", "01_03")
    assert poses.clip_names == poses.subject_names
    assert sorted(np.unique(poses.split)) == [0, 1, 2]
    with np.load(tmp_path / "out.npz", allow_pickle=False) as arrays:
        assert tuple(arrays["joint_names"]) == JOINTS
        assert arrays["frame_index"][:21].tolist() == [*range(20), 0]
        np.testing.assert_allclose(arrays["frame_time"], 1 / 12, rtol=1e-4)
        assert arrays["clip_subject"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("subject_from", "expected"),
    [("file", ("00_00", "00_01", "01_02", "01_03")), ("prefix", ("00", "01")), ("folder", ("in",))],
)
def test_what_one_person_is(tmp_path: Path, subject_from: str, expected: tuple[str, ...]) -> None:
    done = import_bvh(people(tmp_path / "in"), tmp_path / "out.npz", subject_from=subject_from)
    assert mocap.read(tmp_path / "out.npz").subject_names == expected
    assert (done.split is None) == (len(expected) < 3)


def test_folders_are_people_and_equal_names_are_told_apart(tmp_path: Path) -> None:
    for person in ("ann", "bob", "cy"):
        write_bvh(tmp_path / "in" / person / "walk.bvh")
    import_bvh(tmp_path / "in", tmp_path / "out.npz", subject_from="folder")
    poses = mocap.read(tmp_path / "out.npz")
    assert poses.subject_names == ("ann", "bob", "cy")
    assert poses.clip_names == ("ann/walk", "bob/walk", "cy/walk")


def test_the_same_folder_gives_the_same_bytes(tmp_path: Path) -> None:
    people(tmp_path / "in")
    for name in ("a.npz", "b.npz"):
        import_bvh(tmp_path / "in", tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_file_unlike_its_siblings_is_pointed_out(tmp_path: Path) -> None:
    folder = people(tmp_path / "in", 3)
    write_bvh(folder / "other.bvh", axes=AXES["+z"], units_per_metre=1000)
    done = import_bvh(folder, tmp_path / "out.npz")
    assert [file.warnings for file in done.files[:3]] == [(), (), ()]
    assert done.files[3].warnings == (
        "up axis +z, but +y in most files of this skeleton: if wrong, give --up",
        "unit mm, but cm in most files of this skeleton: if wrong, give --metres-per-unit",
    )


@pytest.mark.parametrize("metres_per_unit", [100, 0.0001])
def test_people_that_no_study_would_read_are_not_written(tmp_path: Path, metres_per_unit: float) -> None:
    write_bvh(tmp_path / "walk.bvh")
    with pytest.raises(InputError, match=r"skeleton: stature must be 0\.5 to 2\.5 m \(got"):
        import_bvh(tmp_path / "walk.bvh", tmp_path / "out.npz", metres_per_unit=metres_per_unit)
    assert not (tmp_path / "out.npz").exists()


def test_a_skeleton_of_no_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="trunk and legs have no length"):
        converted(tmp_path, skeleton=[(n, p, (0.0, 0.0, 0.0)) for n, p, _ in SKELETON])


def test_bad_files_refuse_the_whole_folder_with_every_problem(tmp_path: Path) -> None:
    folder = people(tmp_path / "in")
    (folder / "cut.bvh").write_text(bvh_text()[:-400])
    (folder / "binary.BVH").write_bytes(b"\xff\xfe")
    write_bvh(folder / "handless.bvh", names={"LeftHand": "Mitten"})
    with pytest.raises(InputError) as caught:
        import_bvh(folder, tmp_path / "out.npz")
    assert sorted(Path(problem.file).name for problem in caught.value.problems) == [
        "binary.BVH",
        "cut.bvh",
        "handless.bvh",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_impossible_requests_are_refused_together(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        import_bvh(tmp_path, tmp_path / "out.csv", fps=0, subject_from="hat", metres_per_unit=-1, up_axis="+w")
    assert [problem.file for problem in caught.value.problems] == [
        "--fps",
        "--metres-per-unit",
        "--subject-from",
        "--up",
        "--out",
    ]
    with pytest.raises(InputError, match="no such file or folder"):
        import_bvh(tmp_path / "nowhere", tmp_path / "out.npz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"holds no \.bvh file; it holds nothing"):
        import_bvh(tmp_path / "empty", tmp_path / "out.npz")
    with pytest.raises(InputError, match="its folder does not exist"):
        import_bvh(tmp_path, tmp_path / "no" / "out.npz")


def test_an_existing_file_is_kept_unless_told(tmp_path: Path) -> None:
    people(tmp_path / "in")
    out = tmp_path / "out.npz"
    out.write_text("precious")
    with pytest.raises(InputError, match="exists already; --overwrite replaces it"):
        import_bvh(tmp_path / "in", out)
    assert out.read_text() == "precious"
    import_bvh(tmp_path / "in", out, overwrite=True)
    assert len(mocap.read(out).joints) == 80


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    people(tmp_path / "in")

    def full_disk(file: object, **_: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", full_disk)
    with pytest.raises(OSError, match="disk full"):
        import_bvh(tmp_path / "in", tmp_path / "out.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_the_command_prints_a_table_or_json(tmp_path: Path) -> None:
    people(tmp_path / "in")
    run = CliRunner().invoke(app, ["import", "bvh", str(tmp_path / "in"), "--out", str(tmp_path / "out.npz")])
    assert run.exit_code == 0, run.output
    assert "00_00.bvh" in run.stdout
    assert "1.72 m  +y  cm (0.01 m)" in run.stdout
    assert "80 poses, 4 subjects, 4 clips" in run.stdout
    asked = ["import", "bvh", str(tmp_path / "in"), "--out", str(tmp_path / "out.npz"), "--overwrite", "--json"]
    plain = json.loads(CliRunner().invoke(app, asked).stdout)
    assert plain["poses"] == 80
    assert plain["files"][0]["unit"] == "cm"
    assert sum(plain["split"].values()) == 80


# --- real files ----------------------------------------------------------------------------------------------------


def test_the_real_files_import(data_root: Path, tmp_path: Path) -> None:
    done = import_bvh(data_root / "raw_bvh", tmp_path / "out.npz")
    found = {Path(file.file).name: file for file in done.files}
    assert {name: (file.poses, file.up_axis, file.unit) for name, file in found.items()} == {
        "dab.bvh": (136, "+z", "unknown"),
        "131_01.bvh": (100, "+y", "inch/0.45 (CMU)"),
        "TMoCo_02_01.bvh": (35, "+y", "inch/0.45 (CMU)"),
        "iclone_002_03.bvh": (18, "+y", "cm"),
    }
    for name in ("131_01.bvh", "TMoCo_02_01.bvh"):
        assert any("arms begin at the spine" in warning for warning in found[name].warnings)
    joints = mocap.read(tmp_path / "out.npz").joints
    at = {name: joints[:, i] for name, i in INDEX.items()}
    assert (at["nose"][:, 1] > at["l_hip"][:, 1]).all()
    forward = np.cross(at["l_hip"] - at["r_hip"] + at["l_shoulder"] - at["r_shoulder"], [0, 1, 0])
    ears = (at["l_ear"] + at["r_ear"]) / 2
    assert (((at["nose"] - ears) * forward).sum(1) > 0).mean() > 0.98
    assert (((at["l_ear"] - at["r_ear"]) * (at["l_shoulder"] - at["r_shoulder"])).sum(1) > 0).mean() > 0.98


def test_cmu_02_01_agrees_with_the_original_recording(data_root: Path, tmp_path: Path) -> None:
    """The same trial from the original ASF/AMC files: legs within 3 cm, arms low by the dropped thorax."""
    import_bvh(data_root / "raw_bvh" / "cmu" / "TMoCo_02_01.bvh", tmp_path / "out.npz")
    found = mocap.read(tmp_path / "out.npz").joints
    original = mocap.read(data_root / "cmu_dev.npz")
    reference = original.joints[original.clip_id == original.clip_names.index("02_01")]
    assert found.shape == reference.shape
    pelvis = [INDEX["l_hip"], INDEX["r_hip"]]
    apart = (found - found[:, pelvis].mean(1, keepdims=True)) - (
        reference - reference[:, pelvis].mean(1, keepdims=True)
    )
    distance = np.linalg.norm(apart, axis=2).mean(axis=0)
    assert distance[[INDEX[f"{side}_{part}"] for side in "lr" for part in ("hip", "knee", "ankle")]].max() < 0.03
    assert apart[:, INDEX["l_shoulder"], 1].mean() == pytest.approx(-0.10, abs=0.02)
    face = apart[:, :5] - apart[:, [INDEX["l_shoulder"], INDEX["r_shoulder"]]].mean(1, keepdims=True)
    assert np.linalg.norm(face, axis=2).mean() < 0.03
