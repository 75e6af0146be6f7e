"""OpenPose's JSON and a calibration become a recording: the real files, other models, and hostile ones."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from ablate.depth_refinement.data_commands import app
from ablate.depth_refinement.recording import recording as examples_of
from ablate.depth_refinement.skeleton import INDEX
from ablate.depth_refinement.sources import openpose, openpose_files
from ablate.depth_refinement.sources.calibration import read_toml
from ablate.depth_refinement.sources.openpose import MODELS, import_openpose
from ablate.study import InputError

TRIAL = "BalancingTrial/pose-associated"


@pytest.fixture(scope="session")
def multicam(data_root: Path) -> Path:
    return data_root / "multicam"


@pytest.fixture(scope="session")
def imported(multicam: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What the command said, and the file it wrote."""
    out = tmp_path_factory.mktemp("imported") / "balancing.npz"
    return command(multicam, out).stdout, out


def command(multicam: Path, out: Path) -> Result:
    arguments = ["import", "openpose", str(multicam / "original_json_2d.tar.gz"), "--trial", TRIAL, "--out", str(out)]
    calibration = ["--calibration", str(multicam / "Calib_qualisys.toml"), "--distortion-factor", "64"]
    return CliRunner().invoke(app, [*arguments, *calibration])


class TestRealFiles:
    def test_detections_are_those_of_the_prepared_file(self, imported: Any, multicam: Path) -> None:
        said, out = imported
        with np.load(multicam / "balancing.npz") as reference, np.load(out, allow_pickle=False) as arrays:
            seen = np.nan_to_num(reference["conf"]) > 0
            np.testing.assert_array_equal(arrays["conf"] > 0, seen)
            np.testing.assert_allclose(arrays["kp2d"][seen], reference["kp2d"][seen], atol=1e-3)
            np.testing.assert_allclose(arrays["dist"], reference["dist"], atol=1e-9)
            np.testing.assert_allclose(arrays["K"], reference["K"], atol=1e-9)
        assert "cam_01" in said
        assert "100 frames of S00_P00_SingleParticipant/S00_P00_T01_BalancingTrial/pose-associated (body_25b)" in said
        assert "detections and projections differ by 14 px: is the calibration exact?" in said

    def test_a_file_that_is_there_is_kept(self, imported: Any, multicam: Path) -> None:
        again = command(multicam, imported[1])
        assert isinstance(again.exception, InputError)
        assert "exists already" in str(again.exception)

    def test_positions_and_angles_agree_as_far_as_the_calibrations_do(self, imported: Any, multicam: Path) -> None:
        """The prepared file has a refined calibration (7 px, not 14): centimetres and a degree lie between them."""
        _, out = imported
        with np.load(multicam / "balancing.npz") as reference, np.load(out, allow_pickle=False) as arrays:
            off = np.linalg.norm(arrays["joints3d"] - reference["joints3d"], axis=-1)
            azimuth = (arrays["azimuth_deg"] - reference["azimuth_deg"] + 180) % 360 - 180
            elevation = arrays["elevation_deg"] - reference["elevation_deg"]
        assert np.nanmedian(off) < 0.03
        assert np.nanpercentile(off, 95) < 0.09
        assert np.median(np.abs(azimuth)) < 1.0
        assert np.abs(azimuth).max() < 3.0
        assert np.abs(elevation).max() < 1.0

    def test_it_can_be_tested_on(self, imported: Any) -> None:
        batch = examples_of(file=imported[1], device="cpu").examples("all")
        assert len(batch.inputs) > 390
        assert batch.inputs.isfinite().all()

    def test_a_recording_must_be_chosen_where_there_are_several(self, multicam: Path) -> None:
        with pytest.raises(InputError, match="choose one by --trial; S00_P00"):
            openpose_files.read(multicam / "original_json_2d.tar.gz")
        with pytest.raises(InputError, match="--trial: must be part of the path of one recording"):
            openpose_files.read(multicam / "original_json_2d.tar.gz", trial="Jumping")

    def test_the_exact_path_chooses_among_names_that_contain_it(self, multicam: Path) -> None:
        clip = openpose_files.read(multicam / "original_json_2d.tar.gz", trial="S00_P00_T00_StaticTrial/pose")
        assert clip.name == "S00_P00_SingleParticipant/S00_P00_T00_StaticTrial/pose"
        assert clip.cameras == ("cam01_json", "cam02_json", "cam03_json", "cam04_json")
        assert [len(camera) for camera in clip.frames] == [12] * 4

    def test_the_calibration(self, multicam: Path) -> None:
        rig = read_toml(multicam / "Calib_qualisys.toml")
        with np.load(multicam / "balancing.npz", allow_pickle=False) as reference:
            np.testing.assert_allclose(rig.R, reference["R"], atol=0.03)
            np.testing.assert_allclose(rig.t, reference["t"], atol=0.07)
        assert rig.names == ("cam_01", "cam_02", "cam_03", "cam_04")


def person(model: str) -> np.ndarray:
    """A standing person, seen from the front, in a model's own order: the points that are not COCO's as they lie."""
    x = {"shoulder": 40, "elbow": 50, "wrist": 60, "hip": 25, "knee": 25, "ankle": 25, "eye": 6, "ear": 12}
    y = {"nose": 90, "eye": 84, "ear": 88, "shoulder": 150, "elbow": 220, "wrist": 280, "hip": 300, "knee": 400}
    points = np.zeros((openpose._POINTS[model], 3))
    points[:, 2] = 0.6
    points[17:, :2] = 500  # feet and what else there is
    for name, place in INDEX.items():
        part = name.removeprefix("l_").removeprefix("r_")
        side = 1 if name.startswith("l_") else -1
        points[MODELS[model][place], :2] = (200 + side * x.get(part, 0), y.get(part, 490))
    if model == "body_25":
        points[1, :2], points[8, :2] = (200, 150), (200, 300)
    if model == "coco_18":
        points[1, :2] = (200, 150)
    return points


@pytest.mark.parametrize("model", list(MODELS))
def test_every_model_is_known_by_its_points(model: str) -> None:
    someone = person(model)
    clip = openpose_files.Clip("clip", ("a", "b"), (((someone,),), ((someone,),)))
    assert openpose.find_model(clip, "file") == model
    found, _ = openpose._detections(clip, MODELS[model], 25)
    np.testing.assert_array_equal(found[0, 0], person("coco_17"))


def test_another_number_of_points_is_refused() -> None:
    clip = openpose_files.Clip("clip", ("a", "b"), (((np.ones((21, 3)),),), ((np.ones((21, 3)),),)))
    with pytest.raises(InputError, match=r"25 points .* \(got 21\)"):
        openpose.find_model(clip, "hand.json")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "must be OpenPose's JSON"),
        ("[]", 'must hold "people"'),
        ('{"people": 3}', 'must hold "people"'),
        ('{"people": [3]}', "people[0]: must be an OpenPose person"),
        ('{"people": [{"pose_keypoints_2d": [1, 2]}]}', "must be x, y, confidence"),
        ('{"people": [{"pose_keypoints_2d": [1, 2, "a"]}]}', "must be x, y, confidence"),
        ('{"people": [{"pose_keypoints_2d": [true, 2, 0.5]}]}', "must be x, y, confidence"),
        ('{"people": [{"pose_keypoints_2d": [1, 2, NaN]}]}', "NaN is no JSON number"),
        ('{"people": [{"pose_keypoints_2d": [1, 1e999, 0.5]}]}', "must be finite"),
        ('{"people": [{"pose_keypoints_2d": [1, 2, 77]}]}', "confidences between 0 and 1"),
        ('{"people": ' + "[" * 9 + "]" * 9 + "}", "nested more than 6 deep"),
    ],
)
def test_a_damaged_document_is_refused_by_name(text: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        openpose_files.people(text.encode(), "cam01/0007.json")
    assert said in str(error.value)
    assert str(error.value).startswith("cam01/0007.json")


def test_nobody_is_nobody() -> None:
    assert openpose_files.people(b'{"people": []}', "x") == ()
    assert openpose_files.people(b'{"version": 1.3, "people": [{}]}', "x") == ()  # as the association leaves it


def test_an_absurd_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    member = tarfile.TarInfo("clip/cam/0.json")
    member.size = 200
    with tarfile.open(tmp_path / "large.tar", "w") as archive:
        archive.addfile(member, io.BytesIO(b" " * 200))
    monkeypatch.setattr(openpose_files, "MAX_ARCHIVE_BYTES", 150)
    with pytest.raises(InputError, match="must hold at most"):
        openpose_files.read(tmp_path / "large.tar")


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Cameras' folders with the given documents, a list a camera."""

    def make(**cameras: list[str]) -> Path:
        for camera, documents in cameras.items():
            (tmp_path / "json" / "walk" / camera).mkdir(parents=True)
            for number, text in enumerate(documents):
                (tmp_path / "json" / "walk" / camera / f"f.{number}.json").write_text(text)
        return tmp_path / "json"

    return make


NOBODY = '{"people": []}'


def test_frames_and_cameras_come_in_natural_order(folder: Callable[..., Path]) -> None:
    def at(x: float) -> str:
        return json.dumps({"people": [{"pose_keypoints_2d": [x, 0, 1]}]})

    clip = openpose_files.read(folder(cam10=[at(x) for x in range(12)], cam2=[at(100 + x) for x in range(12)]))
    assert clip.name == "walk"
    assert clip.cameras == ("cam2", "cam10")
    assert [frame[0][0, 0] for frame in clip.frames[1]] == list(range(12))


@pytest.mark.parametrize(
    ("cameras", "said"),
    [
        ({}, "no such folder or archive"),
        ({"cam1": [NOBODY]}, "at least two cameras"),
        ({"cam1": [NOBODY], "cam2": [NOBODY] * 2}, "the same number of frames (got cam1 1, cam2 2)"),
        ({"cam1": [NOBODY, "x"], "cam2": [NOBODY, "y"]}, "cam1/f.1.json: must be OpenPose's JSON"),
    ],
)
def test_a_folder_that_is_no_recording(folder: Callable[..., Path], cameras: dict[str, list[str]], said: str) -> None:
    with pytest.raises(InputError) as error:
        openpose_files.read(folder(**cameras))
    assert said in str(error.value)


def test_a_folder_of_other_things(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no OpenPose JSON"):
        openpose_files.read(tmp_path)
    (tmp_path / "text.tar.gz").write_text("no archive")
    with pytest.raises(InputError, match=r"must be a folder or a \.tar archive"):
        openpose_files.read(tmp_path / "text.tar.gz")


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (("rotation = [ 1.68", "turn = [ 1.68"), "[cam_01] rotation: must be 3 finite numbers (got missing)"),
        (("fisheye = false\n\n[cam_02]", "fisheye = true\n\n[cam_02]"), "[cam_01] fisheye: fisheye lenses"),
        (
            ("size = [ 1088.0, 1920.0]\nmatrix = [ [ 1681.244", "size = [ nan, 2]\nmatrix = [ [ 1681.244"),
            "[cam_01] size",
        ),
        (("[ 1681.244873046875, 0.0", "[ -5.0, 0.0"), "camera cam_01: K must be a camera matrix"),
        (("[cam_01]", "[cam_01"), "is not valid TOML"),
    ],
)
def test_a_damaged_calibration(multicam: Path, tmp_path: Path, edit: tuple[str, str], said: str) -> None:
    text = (multicam / "Calib_qualisys.toml").read_text()
    assert text.count(edit[0]) == 1
    (tmp_path / "calib.toml").write_text(text.replace(*edit))
    with pytest.raises(InputError) as error:
        read_toml(tmp_path / "calib.toml")
    assert said in str(error.value)
    assert "calib.toml" in str(error.value)


def test_wrong_options_are_all_named_and_nothing_is_written(multicam: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        import_openpose(
            multicam, tmp_path / "x.txt", calibration=tmp_path, model="alpha", up_axis="z", fps=0, limit_px=-1
        )
    named = {problem.file for problem in error.value.problems}
    assert named == {"--model", "--up", "--fps", "--limit-px", "--out"}
    assert list(tmp_path.iterdir()) == []


def test_an_axis_that_is_not_up_is_found_out(multicam: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must point against gravity"):
        import_openpose(
            multicam / "original_json_2d.tar.gz",
            tmp_path / "x.npz",
            calibration=multicam / "Calib_qualisys.toml",
            trial=TRIAL,
            up_axis="+y",
        )
    assert list(tmp_path.iterdir()) == []
