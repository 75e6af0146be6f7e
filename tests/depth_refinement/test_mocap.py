"""The npz layout: what it gives, and that every wrong file is refused with its array, rule and value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from standing_person import mocap_arrays, standing, write

from ablate.depth_refinement.sources.mocap import assign_splits, measured_stature, read
from ablate.study import InputError

Arrays = dict[str, np.ndarray]


def test_reads_what_was_written(tmp_path: Path) -> None:
    arrays = mocap_arrays() | {"subject_names": np.array([f"S{i}" for i in range(6)]), "frame_time": np.zeros(3)}
    poses = read(write(tmp_path, arrays))
    assert np.array_equal(poses.joints, arrays["joints"])
    assert poses.joints.dtype == np.float32
    assert poses.subject_id.tolist() == arrays["subject_id"].tolist()
    assert poses.clip_id.tolist() == arrays["clip_id"].tolist()
    assert poses.split.dtype == np.int8
    assert poses.subject_names[2] == "S2"
    assert poses.clip_names == ()


def test_digest_follows_content_not_names_or_order_of_arrays(tmp_path: Path) -> None:
    arrays = mocap_arrays()
    first = read(write(tmp_path, arrays))
    renamed = read(write(tmp_path, dict(reversed(arrays.items())) | {"clip_names": np.array(["c"] * 99)}))
    assert first.digest == renamed.digest
    assert len(first.digest) == 64
    for name in ("joints", "subject_id", "clip_id"):
        changed = {key: value.copy() for key, value in arrays.items()}
        changed[name][0] += 1
        changed["split"][:] = changed["split"] if name != "subject_id" else 0
        assert read(write(tmp_path, changed)).digest != first.digest


def test_without_splits_subjects_are_dealt_out_whole_and_always_alike(tmp_path: Path) -> None:
    arrays = mocap_arrays(subjects=20)
    del arrays["split"]
    poses = read(write(tmp_path, arrays))
    members = [set(poses.subject_id[poses.split == s].tolist()) for s in range(3)]
    assert [len(m) for m in members] == [14, 3, 3]
    assert set.union(*members) == set(range(20))
    shuffled = np.random.default_rng(0).permutation(poses.subject_id)
    again = dict(zip(shuffled.tolist(), assign_splits(shuffled).tolist(), strict=True))
    assert again == dict(zip(poses.subject_id.tolist(), poses.split.tolist(), strict=True))


def test_one_person_alone_is_test_data(tmp_path: Path) -> None:
    arrays = mocap_arrays(subjects=2)
    del arrays["split"], arrays["clip_id"]
    poses = read(write(tmp_path, arrays))
    assert set(poses.split.tolist()) == {2}
    assert poses.clip_id.tolist() == poses.subject_id.tolist()


def test_stature_of_the_standing_person() -> None:
    """Trunk 0.5, thigh 0.4, shank 0.4 m: 1.3 / 0.779."""
    assert measured_stature(standing().numpy()).item() == pytest.approx(1.3 / 0.779, rel=1e-5)


def nan(arrays: Arrays) -> None:
    arrays["joints"][3, 5, 1] = np.nan


def infinite_after_rounding(arrays: Arrays) -> None:
    arrays["joints"] = arrays["joints"].astype(np.float64)
    arrays["joints"][0, 0, 0] = 1e300


def left_right_exchanged(arrays: Arrays) -> None:
    arrays["joints"] = arrays["joints"] * np.array([-1, 1, 1], np.float32)


def z_up(arrays: Arrays) -> None:
    arrays["joints"] = arrays["joints"][..., [0, 2, 1]] * np.array([1, -1, 1], np.float32)


def edit(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Arrays], None]:
    def apply(arrays: Arrays) -> None:
        arrays[name] = change(arrays[name])

    return apply


def put(name: str, value: object) -> Callable[[Arrays], None]:
    return lambda arrays: arrays.update({name: np.array(value)})


WRONG = {
    "missing joints": (lambda a: a.pop("joints"), "joints: array is missing"),
    "missing subjects": (lambda a: a.pop("subject_id"), "missing (got arrays: joints, clip_id, split)"),
    "two axes": (edit("joints", lambda j: j[..., :2]), "joints: shape must be (N, 17, 3) (got (24, 17, 2))"),
    "16 joints": (edit("joints", lambda j: j[:, :16]), "(got (24, 16, 3))"),
    "empty": (lambda a: a.update({k: v[:0] for k, v in a.items()}), "joints: must hold at least one pose"),
    "integers": (edit("joints", lambda j: j.astype(int)), "joints: must be floating point (got int64)"),
    "complex": (edit("joints", lambda j: j.astype(complex)), "joints: must be floating point (got complex128)"),
    "short ids": (edit("subject_id", lambda s: s[1:]), "subject_id: shape must be (24,), one number a pose"),
    "float ids": (edit("subject_id", lambda s: s.astype(float)), "subject_id: must be integer (got float64)"),
    "nan": (nan, "joints: must be finite; 1 values are not, the first is [3, 5, 1] (got nan)"),
    "overflow": (infinite_after_rounding, "the first is [0, 0, 0] (got 1e+300)"),
    "pickled": (put("clip_id", [{}] * 24), "clip_id: cannot be read as a plain array"),
    "unknown split": (edit("split", lambda s: np.where(s == 2, 7, s)), "0 (train), 1 (val) or 2 (test) (got 7)"),
    "shared subject": (edit("split", lambda s: np.arange(24) % 2), "a subject must lie in one split only"),
    "text split": (edit("split", lambda s: s.astype(str)), "split: must be integer"),
    "names too few": (put("subject_names", ["a", "b"]), "must index subject_names, which has 2 (got 2, 3,"),
    "names not a list": (put("subject_names", "a"), "subject_names: must be a list of names (got ())"),
    "other joints": (put("joint_names", ["hips"] * 17), "joint_names: must be COCO-17 in its order (got hips, hips"),
    "centimetres": (edit("joints", lambda j: j * 100), "0.5 to 2.5 m; are the units metres? (got about 150 m)"),
    "Z up": (z_up, "joints: +Y must be up; the mean direction from hips to shoulders is (got (0.00, 0.00, 1.00))"),
    "mirrored": (left_right_exchanged, "are left and right exchanged"),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_files_are_refused(spoil: Callable[[Arrays], None], message: str, tmp_path: Path) -> None:
    arrays = mocap_arrays()
    spoil(arrays)
    file = write(tmp_path, arrays)
    with pytest.raises(InputError) as refused:
        read(file)
    assert message in str(refused.value)
    assert all(problem.file == str(file) for problem in refused.value.problems)


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    arrays = mocap_arrays()
    nan(arrays)
    arrays["split"] = arrays["split"] + 5
    arrays["joint_names"] = np.array(["x"] * 17)
    with pytest.raises(InputError) as refused:
        read(write(tmp_path, arrays))
    assert [problem.place for problem in refused.value.problems] == ["joints", "joint_names", "split"]
