"""The two factories: their signatures, what is drawn anew and what stays, and who is in which split."""

from __future__ import annotations

import inspect
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from standing_person import PERFECT, mocap_arrays, write

from ablate.depth_refinement.data import PoseData, Sampling, mocap, synthetic
from ablate.depth_refinement.noise import DetectorErrors
from ablate.depth_refinement.simulation import Cameras
from ablate.depth_refinement.sources.mocap import read
from ablate.depth_refinement.sources.splits import thin
from ablate.study import InputError
from ablate.trainers.contract import Batch, Data


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path, mocap_arrays(subjects=12, poses=5))


def make(file: Path, **settings: float) -> PoseData:
    return mocap(file=file, device=torch.device("cpu"), **settings)


def draw(data: Data, seed: int = 0, count: int = 16) -> Batch:
    return data.sample(torch.arange(count), generator=torch.Generator().manual_seed(seed))


def same(a: Batch, b: Batch) -> bool:
    return torch.equal(a.inputs, b.inputs) and all(torch.equal(a.targets[name], b.targets[name]) for name in a.targets)


@pytest.mark.parametrize("factory", [mocap, synthetic])
def test_every_setting_is_a_plain_keyword_argument_with_its_default(factory: object) -> None:
    parameters = inspect.signature(factory).parameters  # type: ignore[arg-type]
    for group in (Sampling, Cameras, DetectorErrors):
        for name, field in group.model_fields.items():
            assert parameters[name].default == field.default
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters.values())
    assert parameters["agreement"].annotation is float
    assert "sampling" not in parameters
    with pytest.raises(TypeError):
        inspect.signature(factory).bind(device="cpu", agrement=0.5)  # type: ignore[arg-type]


def test_every_value_out_of_range_is_told_at_once(file: Path) -> None:
    with pytest.raises(InputError) as refused:
        make(file, eval_views=0, agreement=1.5, elevation_min_deg=70.0, noise_level="high")
    assert [p.place for p in refused.value.problems] == ["eval_views", "", "noise_level", "agreement"]
    assert "elevation_min_deg must not exceed elevation_max_deg" in str(refused.value)
    assert "agreement: Input should be less than or equal to 1 (got 1.5)" in str(refused.value)


def test_samples_follow_the_generator_alone(file: Path) -> None:
    data = make(file)
    assert same(draw(data, 1), draw(data, 1))
    assert not same(draw(data, 1), draw(data, 2))
    assert same(draw(data, 1), draw(make(file, seed=5), 1)), "the data seed fixes evaluation, not training draws"


def test_fixed_examples_follow_the_data_seed_alone(file: Path) -> None:
    data = make(file, seed=3)
    first = data.examples("val")
    draw(data)
    torch.manual_seed(99)
    assert data.examples("val") is first
    assert same(first, make(file, seed=3).examples("val"))
    assert not torch.equal(first.inputs, make(file, seed=4).examples("val").inputs)


def test_splits_are_simulated_from_different_streams(tmp_path: Path) -> None:
    """The same poses as validation and as test must meet other cameras."""
    arrays = mocap_arrays(subjects=6)
    for subject in (4, 5):
        arrays["joints"][arrays["subject_id"] == subject] = arrays["joints"][arrays["subject_id"] == 0]
    data = make(write(tmp_path, arrays))
    val, test = data.examples("val").targets, data.examples("test").targets
    assert not np.isclose(val["azimuth_deg"].numpy(), test["azimuth_deg"].numpy(), atol=0.1).any()


def test_all_views_of_a_subject_lie_in_one_split(file: Path) -> None:
    """Trap 3 of the origin."""
    data = make(file, eval_views=4)
    seen = {name: set(data.examples(name).targets["subject"].tolist()) for name in ("val", "test")}
    seen["train"] = set(draw(data, count=data.train_size).targets["subject"].tolist())
    assert seen == {"val": {4, 10}, "test": {5, 11}, "train": {0, 1, 2, 3, 6, 7, 8, 9}}
    assert len(data.examples("val").inputs) == 4 * 10
    subject = data.examples("val").targets["subject"]
    assert (subject.reshape(-1, 4) == subject.reshape(-1, 4)[:, :1]).all(), "views of a pose stand side by side"


def test_all_means_every_pose_of_the_file(file: Path) -> None:
    data = make(file)
    assert len(data.examples("all").inputs) == 60
    assert data.train_size == 40


def test_digest_is_of_the_poses_used(file: Path) -> None:
    data = make(file)
    assert data.digest == read(file).digest == make(file, seed=9, noise_level=2.0).digest
    assert make(file, max_train_poses=10).digest != data.digest


def test_fewer_training_poses_leave_the_other_splits_whole(file: Path) -> None:
    full, few = make(file), make(file, max_train_poses=10)
    assert few.train_size == 10
    assert same(full.examples("val"), few.examples("val"))
    kept = thin(read(file), 10)
    assert set(kept.subject_id[kept.split == 0].tolist()) == {0, 1, 2, 3, 6, 7, 8, 9}
    assert make(file, max_train_poses=1).train_size == 1
    assert make(file, max_train_poses=1000).digest == full.digest


def test_fewer_evaluated_poses_leave_training_whole(file: Path) -> None:
    full, few = make(file), make(file, max_eval_poses=4)
    assert few.train_size == full.train_size == 40
    assert [len(few.examples(name).inputs) for name in ("val", "test")] == [4, 4]
    assert same(few.examples("all"), full.examples("all")), "nothing is thinned out of all"
    kept = read(file).joints[np.flatnonzero(read(file).split == 2)[[0, 3, 6, 9]]]  # ten poses: first, last, between
    assert np.allclose(few.examples("test").targets["pose_world"][:, 0], kept[:, 0] - (kept[:, 11] + kept[:, 12]) / 2)
    assert few.digest != full.digest
    assert make(file, max_eval_poses=1000).digest == full.digest


def who(data: PoseData) -> list[set[int]]:
    return [set(data.poses.subject_id[data.poses.split == split].tolist()) for split in range(3)]


def test_a_split_seed_deals_the_subjects_out_anew(file: Path) -> None:
    own, dealt = make(file), [who(make(file, split_seed=seed)) for seed in range(40)]
    assert all([len(names) for names in sets] == [8, 2, 2] for sets in dealt)
    assert all(set.union(*sets) == set(range(12)) for sets in dealt)
    assert dealt[3] == who(make(file, split_seed=3, seed=8)), "the data seed has no say"
    tested = np.bincount([name for sets in dealt for name in sets[2]], minlength=12)
    assert tested.min() >= 1  # 6.7 expected of each
    assert tested.max() <= 16
    assert same(make(file, split_seed=1).examples("all"), own.examples("all"))
    assert make(file, split_seed=1).digest == make(file, split_seed=1).digest != own.digest


def test_each_split_seed_is_simulated_anew(file: Path) -> None:
    """The same cameras before other people would tie the draws together."""
    views = [make(file, split_seed=seed).examples("test").targets["distance_m"] for seed in (1, 1, 2)]
    assert torch.equal(views[0], views[1])
    assert not torch.isclose(views[0], views[2]).any()
    assert not torch.isclose(views[0], make(file).examples("test").targets["distance_m"]).any()


@pytest.mark.parametrize("folds", [3, 5, 12])
def test_folds_test_every_subject_once(file: Path, folds: int) -> None:
    sets = [who(make(file, fold=fold, folds=folds)) for fold in range(folds)]
    assert sorted(name for _, _, tested in sets for name in tested) == list(range(12))
    sizes = [len(tested) for _, _, tested in sets]
    assert max(sizes) - min(sizes) <= 1
    assert all(len(validation) == 2 and len(training) == 10 - len(tested) for training, validation, tested in sets)
    assert all(set.union(*three) == set(range(12)) for three in sets)
    assert sets != [who(make(file, fold=fold, folds=folds, seed=1)) for fold in range(folds)]
    assert who(make(file, fold=1, folds=folds, noise_level=2.0)) == sets[1]


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"fold": 0}, "fold and folds go together"),
        ({"folds": 3}, "fold and folds go together"),
        ({"fold": 3, "folds": 3}, "fold must be less than folds, 3 of 3"),
        ({"fold": -1, "folds": 3}, "fold: Input should be greater than or equal to 0"),
        ({"fold": 0, "folds": 1}, "folds: Input should be greater than or equal to 2"),
        ({"fold": 0, "folds": 3, "split_seed": 1}, "give one"),
        ({"split_seed": -1}, "split_seed: Input should be"),
        ({"max_eval_poses": 0}, "max_eval_poses: Input should be"),
        ({"fold": 0, "folds": 13}, "folds: the 12 subjects must leave some to train on"),
    ],
)
def test_impossible_splits_are_refused(file: Path, settings: dict[str, int], rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        make(file, **settings)


def test_folds_need_subjects_to_train_on(tmp_path: Path) -> None:
    three = write(tmp_path, mocap_arrays(subjects=3))  # all training by their own split
    with pytest.raises(InputError, match="3 subjects must leave some to train on besides a fold and 1 of validation"):
        make(three, fold=0, folds=2)
    assert [len(names) for names in who(make(three, fold=2, folds=3))] == [1, 1, 1]


def test_procedural_people_are_dealt_out_too() -> None:
    people = {"device": "cpu", "subjects": 10, "poses_per_subject": 3}
    own, dealt = synthetic(**people), synthetic(**people, split_seed=5)
    assert [len(names) for names in who(dealt)] == [len(names) for names in who(own)]
    assert who(dealt) != who(own)
    assert len(who(synthetic(**people, fold=0, folds=5))[2]) == 2
    assert len(synthetic(**people, max_eval_poses=2).examples("test").inputs) == 2


def test_examples_tell_what_only_a_judge_needs(file: Path) -> None:
    """Training goes without, and is the faster for it."""
    data = make(file, eval_views=2)
    targets, drawn = data.examples("test").targets, draw(data).targets
    assert set(targets) - set(drawn) == {"clip", "pose_world", "input_mpjpe_mm", "input_depth_mae_mm"}
    assert torch.equal(targets["clip"], 2 * targets["subject"])
    assert targets["clip"].dtype == torch.int64
    world = targets["pose_world"]
    assert torch.equal(world[0::2], world[1::2]), "the two views are of one pose"


def test_inputs_and_joints_have_names(file: Path) -> None:
    data = make(file)
    assert data.inputs == {"pose_2d": (0, 2), "pose_3d": (2, 5), "visibility": (5, 6)}
    assert len(data.joints) == 17
    assert data.joints[5] == "l_shoulder"


def test_mirrored_training_poses_are_mirrored_as_a_whole(file: Path) -> None:
    """Camera and label are drawn after the mirror, so the 3D shown still explains the label: a left is a left."""
    plain, mirrored = (draw(make(file, mirror_probability=p, **PERFECT)) for p in (0.0, 1.0))
    assert torch.allclose(plain.targets["elevation_deg"], mirrored.targets["elevation_deg"], atol=1e-3)
    assert not torch.allclose(plain.targets["azimuth_deg"], mirrored.targets["azimuth_deg"], atol=1)
    for batch in (plain, mirrored):
        pose = batch.targets["pose_3d"]
        forward = torch.linalg.cross(pose[:, 5] - pose[:, 6], pose[:, 5] + pose[:, 6] - pose[:, 11] - pose[:, 12])
        nose = pose[:, 0] - (pose[:, 3] + pose[:, 4]) / 2
        assert ((forward * nose).sum(-1) > 0).all()
        assert torch.allclose(batch.inputs[..., 2:5], pose, atol=1e-5)


def test_a_source_without_training_poses_can_only_be_evaluated(tmp_path: Path) -> None:
    arrays = mocap_arrays(subjects=1)
    del arrays["split"]
    data = make(write(tmp_path, arrays))
    assert data.train_size == 0
    assert len(data.examples("all").inputs) == 4
    with pytest.raises(InputError, match=r"has no pose in 'train' \(got train 0, val 0, test 4\)"):
        draw(data, count=1)
    with pytest.raises(InputError, match="has no pose in 'val'"):
        data.examples("val")


def test_synthetic_people_need_no_file() -> None:
    data = synthetic(device="cpu", subjects=10, poses_per_subject=6, seed=1)
    assert len(data.examples("all").inputs) == 60
    batch = draw(data, count=8)
    assert batch.inputs.isfinite().all()
    assert data.digest == synthetic(device="cpu", subjects=10, poses_per_subject=6, seed=1).digest
    assert data.digest != synthetic(device="cpu", subjects=10, poses_per_subject=6, seed=2).digest


def test_real_poses_give_finite_examples_fast(data_root: Path) -> None:
    data = make(data_root / "cmu_dev.npz")
    index = torch.randint(data.train_size, (384,), generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(0)
    times = []
    for _ in range(12):
        start = time.thread_time()
        batch = data.sample(index, generator=generator)
        times.append(time.thread_time() - start)
    assert batch.inputs.isfinite().all()
    assert all(value.isfinite().all() for value in batch.targets.values())
    assert all(value.isfinite().all() for value in data.examples("test").targets.values())
    assert min(times) < 0.02  # processor time; measured 0.005
