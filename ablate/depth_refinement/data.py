"""The two data factories and the Data they make: poses on the device, a fresh simulated view at every sample.

Knows where poses come from, not how a camera or a detector works.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field, ValidationError
from torch import Generator, Tensor

from ablate.depth_refinement.geometry import mirror
from ablate.depth_refinement.noise import DetectorErrors
from ablate.depth_refinement.simulation import Cameras, simulate
from ablate.depth_refinement.sources import mocap as mocap_layout
from ablate.depth_refinement.sources import synthetic as procedural
from ablate.depth_refinement.sources.poses import SPLIT_NAMES, TRAIN, PoseSet
from ablate.runs.contract import Batch, Split
from ablate.study import Frozen, InputError, Problem

# Poses simulated at a time for fixed examples: bounds the memory, and never changes (the draws depend on it).
_CHUNK = 4096


class Sampling(Frozen):
    """Which poses are used, and how often."""

    seed: int = Field(default=0, ge=0)  # of the fixed examples' simulation and of procedural poses; not the run's
    eval_views: int = Field(default=1, ge=1)  # cameras around each validation and test pose
    max_train_poses: int | None = Field(default=None, ge=1)  # evenly spread over the training poses
    mirror_probability: float = Field(default=0.5, ge=0, le=1)  # training poses seen in a mirror


def plain_arguments(factory: Callable[..., PoseData]) -> Callable[..., PoseData]:
    """Replace every parameter whose default is a settings model by the model's fields, as keyword arguments.

    The signature that `inspect` and `help` show is then the whole list, defaults included, stated nowhere twice.
    Calls raise TypeError for unknown arguments and InputError for values outside their range, all at once.
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
                problems.append(Problem("settings.data", place, one["msg"], value))
    if problems:
        raise InputError(*problems)
    return rest


class PoseData:
    """Poses of one source behind simulated cameras and a simulated detector (implements runs.contract.Data)."""

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
        self.poses = poses if sampling.max_train_poses is None else thin(poses, sampling.max_train_poses)
        self.digest = self.poses.digest
        self.train_size = int((self.poses.split == TRAIN).sum())
        self._source, self._sampling, self._cameras, self._errors = source, sampling, cameras, errors
        self._device = torch.device(device)
        chosen = self.poses.split == TRAIN
        self._joints = torch.from_numpy(self.poses.joints[chosen]).to(self._device)
        self._subject = torch.from_numpy(self.poses.subject_id[chosen]).to(self._device)
        self._examples: dict[str, Batch] = {}

    def sample(self, index: Tensor, *, generator: Generator) -> Batch:
        """A fresh view of each training pose in `index`, half of them mirrored as a whole: pose first, then the rest.

        Raises InputError where the source has no training pose.
        """
        if not self.train_size:
            raise self._no_pose("train")
        joints = self._joints[index]
        chance = torch.rand((len(index), 1, 1), generator=generator, device=self._device)
        joints = torch.where(chance < self._sampling.mirror_probability, mirror(joints), joints)
        return simulate(joints, self._subject[index], self._cameras, self._errors, generator=generator)

    def examples(self, split: Split) -> Batch:
        """`eval_views` views of every pose of a split, views of a pose side by side; simulated once, on the CPU.

        The same on every device and at every call; it depends on `seed` alone. Each split has a stream of its own.
        Raises InputError where the split is empty.
        """
        if split not in self._examples:
            self._examples[split] = self._simulate(split)
        return self._examples[split]

    def _simulate(self, split: Split) -> Batch:
        every = split == "all"
        chosen = np.flatnonzero(
            np.ones_like(self.poses.split) if every else self.poses.split == SPLIT_NAMES.index(split)
        )
        if not len(chosen):
            raise self._no_pose(split)
        generator = Generator().manual_seed(_stream(self._sampling.seed, split))
        rows = np.repeat(chosen, self._sampling.eval_views)
        batches = []
        for start in range(0, len(rows), _CHUNK):
            part = rows[start : start + _CHUNK]
            joints, subject = torch.from_numpy(self.poses.joints[part]), torch.from_numpy(self.poses.subject_id[part])
            batches.append(simulate(joints, subject, self._cameras, self._errors, generator=generator))
        targets = {name: torch.cat([b.targets[name] for b in batches]).to(self._device) for name in batches[0].targets}
        return Batch(torch.cat([batch.inputs for batch in batches]).to(self._device), targets)

    def _no_pose(self, split: str) -> InputError:
        sizes = ", ".join(f"{name} {int((self.poses.split == i).sum())}" for i, name in enumerate(SPLIT_NAMES))
        return InputError(Problem(self._source, "split", f"has no pose in {split!r}", sizes))


def thin(poses: PoseSet, most: int) -> PoseSet:
    """The same poses with at most `most` of training, evenly spaced in file order; validation and test stay whole."""
    train = np.flatnonzero(poses.split == TRAIN)
    if len(train) <= most:
        return poses
    dropped = np.setdiff1d(train, train[np.linspace(0, len(train) - 1, most).round().astype(np.int64)])
    keep = np.setdiff1d(np.arange(len(poses.split)), dropped)
    arrays = {name: getattr(poses, name)[keep] for name in ("joints", "subject_id", "clip_id", "split")}
    return replace(poses, **arrays)


def _stream(seed: int, split: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{split}".encode()).digest()[:8]) >> 1


# Models are frozen: as defaults they are values, and `plain_arguments` reads their fields.
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
