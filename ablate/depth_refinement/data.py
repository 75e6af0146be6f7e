"""The two data factories and the Data they make: poses on the device, a new simulated view for every sample.

Cameras and the detector are in `simulation` and `noise`.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field, ValidationError, model_validator
from torch import Generator, Tensor

from ablate import Batch, Frozen, InputError, Problem, Split
from ablate.depth_refinement.geometry import mirror
from ablate.depth_refinement.noise import DetectorErrors
from ablate.depth_refinement.simulation import INPUTS, Cameras, described, simulate
from ablate.depth_refinement.skeleton import JOINTS
from ablate.depth_refinement.sources import mocap as mocap_layout
from ablate.depth_refinement.sources import splits
from ablate.depth_refinement.sources import synthetic as procedural
from ablate.depth_refinement.sources.poses import SPLIT_NAMES, TRAIN, PoseSet

# Poses that are simulated at once for fixed examples, to limit memory. Do not change it: the draws depend on it.
_CHUNK = 4096


class Sampling(Frozen):
    """Which poses are used, in which split, and how often. Without `split_seed` or `fold`, the source's splits."""

    seed: int = Field(default=0, ge=0)  # for simulating fixed examples and for procedural poses; not the run's seed
    eval_views: int = Field(default=1, ge=1)  # cameras around each validation and test pose
    max_train_poses: int | None = Field(default=None, ge=1)  # evenly spread over the training poses
    max_eval_poses: int | None = Field(default=None, ge=1)  # of validation and of test, each evenly spread
    mirror_probability: float = Field(default=0.5, ge=0, le=1)  # of mirroring a training pose
    split_seed: int | None = Field(default=None, ge=0)  # assigns subjects to splits at random, the same number to each
    fold: int | None = Field(default=None, ge=0)  # which of `folds` equal groups of subjects is the test split
    folds: int | None = Field(default=None, ge=2)

    @model_validator(mode="after")
    def _one_split(self) -> Sampling:
        if (self.fold is None) != (self.folds is None):
            raise ValueError("fold and folds go together: fold counts from 0 to folds - 1")
        if self.fold is not None and self.folds is not None and self.fold >= self.folds:
            raise ValueError(f"fold must be less than folds, {self.fold} of {self.folds}")
        if self.fold is not None and self.split_seed is not None:
            raise ValueError("split_seed and fold both say who is tested: give one")
        return self

    def split(self, poses: PoseSet, source: str) -> PoseSet:
        """The poses with their subjects in the splits set here. Raises InputError for too few subjects."""
        if self.split_seed is not None:
            return splits.deal(poses, self.split_seed)
        if self.fold is not None and self.folds is not None:
            return splits.fold(poses, self.fold, self.folds, seed=self.seed, source=source)
        return poses

    def stream(self, split: Split) -> int:
        """Seed for simulating a split. It depends on how subjects are assigned, except for "all", which has all."""
        drawn = ""
        if split != "all" and self.split_seed is not None:
            drawn = f"/split/{self.split_seed}"
        elif split != "all" and self.fold is not None:
            drawn = f"/fold/{self.fold}/{self.folds}"
        return int.from_bytes(hashlib.sha256(f"{self.seed}/{split}{drawn}".encode()).digest()[:8]) >> 1


def plain_arguments(factory: Callable[..., PoseData]) -> Callable[..., PoseData]:
    """Replace every parameter whose default is a settings model by the model's fields, as keyword arguments.

    `inspect` and `help` then show every argument with its default, and no default is written twice. Calls raise
    TypeError for unknown arguments, and one InputError that lists all values outside their range.
    """
    inner = inspect.signature(factory)
    groups = {name: type(p.default) for name, p in inner.parameters.items() if isinstance(p.default, Frozen)}
    plain = [p for name, p in inner.parameters.items() if name not in groups]
    fields = [_parameter(name, info) for group in groups.values() for name, info in group.model_fields.items()]
    signature = inner.replace(parameters=sorted(plain + fields, key=lambda p: p.default is not p.empty))

    @wraps(factory)
    def build(**arguments: Any) -> PoseData:
        signature.bind(**arguments)
        return factory(**_grouped(groups, arguments))

    build.__signature__ = signature  # type: ignore[attr-defined]
    return build


def _parameter(name: str, info: Any) -> inspect.Parameter:
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, keyword, default=info.default, annotation=info.annotation)


def _grouped(groups: dict[str, type[Frozen]], arguments: dict[str, Any]) -> dict[str, Any]:
    rest, problems = dict(arguments), []
    for name, group in groups.items():
        values = {field: rest.pop(field) for field in group.model_fields if field in rest}
        try:
            rest[name] = group(**values)
        except ValidationError as error:
            for one in error.errors():
                place = ".".join(str(part) for part in one["loc"])
                value = str(one["input"]) if one["loc"] else ""
                problems.append(Problem("settings.data", place, one["msg"].removeprefix("Value error, "), value))
    if problems:
        raise InputError(*problems)
    return rest


class PoseData:
    """Poses of one source behind simulated cameras and a simulated detector (implements runs.contract.Data)."""

    inputs: Mapping[str, tuple[int, int]] = INPUTS
    joints: Sequence[str] = JOINTS

    def __init__(
        self,
        poses: PoseSet,
        *,
        source: str,
        device: torch.device | str,
        sampling: Sampling,
        cameras: Cameras,
        errors: DetectorErrors,
    ) -> None:
        self._every = poses
        self.poses = splits.thin(sampling.split(poses, source), sampling.max_train_poses, sampling.max_eval_poses)
        self.digest = self.poses.digest
        self.train_size = int((self.poses.split == TRAIN).sum())
        self._source, self._sampling, self._cameras, self._errors = source, sampling, cameras, errors
        self._device = torch.device(device)
        chosen = self.poses.split == TRAIN
        self._joints = torch.from_numpy(self.poses.joints[chosen]).to(self._device)
        self._subject = torch.from_numpy(self.poses.subject_id[chosen]).to(self._device)
        self._examples: dict[str, Batch] = {}

    def sample(self, index: Tensor, *, generator: Generator) -> Batch:
        """A new view of each training pose in `index`, mirrored with `mirror_probability` before it is simulated.

        The targets are those of `simulation.simulate`. Raises InputError where the source has no training pose.
        """
        if not self.train_size:
            raise self._no_pose("train")
        joints = self._joints[index]
        chance = torch.rand((len(index), 1, 1), generator=generator, device=self._device)
        joints = torch.where(chance < self._sampling.mirror_probability, mirror(joints), joints)
        return simulate(joints, self._subject[index], self._cameras, self._errors, generator=generator)

    def examples(self, split: Split) -> Batch:
        """`eval_views` views of every pose of a split, those of a pose next to each other; simulated once, on the CPU.

        The examples are the same on every device and for every call. They depend on `seed` and on the subjects in the
        split; each split has its own random stream. The targets are those of `simulation.simulate` and
        `simulation.described`. "all" is every pose of the source, without thinning. Raises InputError where the split
        is empty.
        """
        if split not in self._examples:
            self._examples[split] = self._simulate(split)
        return self._examples[split]

    def _simulate(self, split: Split) -> Batch:
        poses = self._every if split == "all" else self.poses
        wanted = np.unique(poses.split) if split == "all" else SPLIT_NAMES.index(split)
        chosen = np.flatnonzero(np.isin(poses.split, wanted))
        if not len(chosen):
            raise self._no_pose(split)
        generator = Generator().manual_seed(self._sampling.stream(split))
        rows = np.repeat(chosen, self._sampling.eval_views)
        batches = []
        for start in range(0, len(rows), _CHUNK):
            part = rows[start : start + _CHUNK]
            joints, subject = torch.from_numpy(poses.joints[part]), torch.from_numpy(poses.subject_id[part])
            batch = simulate(joints, subject, self._cameras, self._errors, generator=generator)
            batches.append(described(batch, joints, torch.from_numpy(poses.clip_id[part])))
        targets = {name: torch.cat([b.targets[name] for b in batches]).to(self._device) for name in batches[0].targets}
        return Batch(torch.cat([batch.inputs for batch in batches]).to(self._device), targets)

    def _no_pose(self, split: str) -> InputError:
        sizes = ", ".join(f"{name} {int((self.poses.split == i).sum())}" for i, name in enumerate(SPLIT_NAMES))
        return InputError(Problem(self._source, "split", f"has no pose in {split!r}", sizes))


# Frozen models can be defaults, because they never change; `plain_arguments` reads their fields.
_SAMPLING, _CAMERAS, _ERRORS = Sampling(), Cameras(), DetectorErrors()


@plain_arguments
def mocap(
    *,
    file: Path,
    device: torch.device | str,
    sampling: Sampling = _SAMPLING,
    cameras: Cameras = _CAMERAS,
    errors: DetectorErrors = _ERRORS,
) -> PoseData:
    """Motion capture from an .npz in the layout of `sources.mocap`; the other arguments are the models' fields."""
    poses = mocap_layout.read(Path(file))
    return PoseData(poses, source=str(file), device=device, sampling=sampling, cameras=cameras, errors=errors)


@plain_arguments
def synthetic(
    *,
    device: torch.device | str,
    subjects: int = 200,
    poses_per_subject: int = 100,
    sampling: Sampling = _SAMPLING,
    cameras: Cameras = _CAMERAS,
    errors: DetectorErrors = _ERRORS,
) -> PoseData:
    """Procedural people, no file needed; the other arguments are the models' fields."""
    poses = procedural.generate(subjects=subjects, poses_per_subject=poses_per_subject, seed=sampling.seed)
    return PoseData(poses, source="synthetic", device=device, sampling=sampling, cameras=cameras, errors=errors)
