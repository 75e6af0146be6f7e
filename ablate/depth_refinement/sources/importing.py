"""Import a folder of BVH files into one .npz that `mocap` reads. If any file has a problem, nothing is written."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablate import InputError, Problem
from ablate.depth_refinement.skeleton import JOINTS
from ablate.depth_refinement.sources.bvh import read_bvh
from ablate.depth_refinement.sources.mocap import STATURE_M, assign_splits
from ablate.depth_refinement.sources.npz_writer import write_npz
from ablate.depth_refinement.sources.retarget import UP_AXES, Retargeted, retarget

SUBJECT_FROM = ("file", "folder", "prefix")


@dataclass(frozen=True)
class ImportedFile:
    """One file's line in the summary."""

    file: str  # relative to the folder
    clip: str
    subject: str
    frames: int  # in the file
    native_fps: float
    poses: int  # kept
    fps: float
    stature_m: float
    unit: str
    metres_per_unit: float
    up_axis: str
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Import:
    """Summary of what was written."""

    out: str
    poses: int
    subjects: int
    clips: int
    split: dict[str, int] | None  # poses per split; None with fewer than three subjects
    files: tuple[ImportedFile, ...]

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def import_bvh(
    source: Path,
    out: Path,
    *,
    fps: float = 12.0,
    subject_from: str = "file",
    metres_per_unit: float | None = None,
    up_axis: str | None = None,
    overwrite: bool = False,
) -> Import:
    """Convert one BVH file or every one below a folder, and write `out` (.npz, layout of `mocap`).

    `subject_from` says what is one person: each "file", each "folder", or each file-name "prefix" before the first
    underscore (CMU's subject_trial). Raises InputError with the problems of all files; then nothing is written.
    """
    _check_settings(out, fps, subject_from, metres_per_unit, up_axis, overwrite)
    paths = _find(source)
    clips: list[Retargeted] = []
    skeletons: list[tuple[str, ...]] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            motion = read_bvh(path)
            clip = retarget(motion, str(path), fps=fps, metres_per_unit=metres_per_unit, up_axis=up_axis)
            _check_stature(path, clip)
            clips.append(clip)
            skeletons.append(motion.names)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(*problems)
    root = source if source.is_dir() else source.parent
    names = _clip_names(paths, root)
    subjects = [_subject(path, root, name, subject_from) for path, name in zip(paths, names, strict=True)]
    arrays = _arrays(clips, names, subjects)
    write_npz(out, arrays)
    clips = [replace(c, warnings=c.warnings + odd) for c, odd in zip(clips, _odd_ones(clips, skeletons), strict=True)]
    files = [_line(*row, root) for row in zip(paths, clips, names, subjects, strict=True)]
    return _summary(out, arrays, files)


def _check_settings(
    out: Path, fps: float, subject_from: str, metres_per_unit: float | None, up_axis: str | None, overwrite: bool
) -> None:
    problems = []
    if not (math.isfinite(fps) and fps > 0):
        problems.append(Problem("--fps", "", "must be greater than 0", f"{fps:g}"))
    if metres_per_unit is not None and not (math.isfinite(metres_per_unit) and metres_per_unit > 0):
        problems.append(Problem("--metres-per-unit", "", "must be greater than 0", f"{metres_per_unit:g}"))
    if subject_from not in SUBJECT_FROM:
        problems.append(Problem("--subject-from", "", f"must be one of {', '.join(SUBJECT_FROM)}", subject_from))
    if up_axis is not None and up_axis not in UP_AXES:
        problems.append(Problem("--up", "", f"must be one of {', '.join(UP_AXES)}", up_axis))
    if out.suffix.lower() != ".npz":
        problems.append(Problem("--out", "", "must be a name that ends in .npz", str(out)))
    elif out.is_dir() or not out.parent.is_dir():
        rule = "is a folder" if out.is_dir() else "its folder does not exist"
        problems.append(Problem("--out", "", rule, str(out)))
    elif out.exists() and not overwrite:
        problems.append(Problem("--out", "", "exists already; --overwrite replaces it", str(out)))
    if problems:
        raise InputError(*problems)


def _check_stature(path: Path, clip: Retargeted) -> None:
    """Raise InputError for a stature that `mocap` would refuse to read."""
    low, high = STATURE_M
    if not low <= clip.stature_m <= high:
        rule, hint = f"stature must be {low} to {high} m", f"with {clip.metres_per_unit:g} m a unit"
        raise InputError(Problem(str(path), "skeleton", rule, f"{clip.stature_m:.3g} m", hint))


def _find(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise InputError(Problem(str(source), "", "no such file or folder"))
    paths = sorted(path for path in source.rglob("*") if path.suffix.lower() == ".bvh" and path.is_file())
    if not paths:
        endings = Counter(path.suffix for path in source.rglob("*") if path.is_file())
        held = ", ".join(f"{count} {ending or 'without ending'}" for ending, count in endings.most_common(4))
        raise InputError(Problem(str(source), "", "holds no .bvh file", nearest=f"it holds {held or 'nothing'}"))
    return paths


def _odd_ones(clips: Sequence[Retargeted], skeletons: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Warnings for files whose detected up axis or unit differs from that of most files with the same skeleton."""
    odd: list[tuple[str, ...]] = [() for _ in clips]
    for what, option in (("up_axis", "--up"), ("unit", "--metres-per-unit")):
        votes: dict[tuple[str, ...], Counter[str]] = {}
        for clip, skeleton in zip(clips, skeletons, strict=True):
            votes.setdefault(skeleton, Counter())[getattr(clip, what)] += 1
        for i, (clip, skeleton) in enumerate(zip(clips, skeletons, strict=True)):
            (usual, count), own = votes[skeleton].most_common(1)[0], getattr(clip, what)
            if count > votes[skeleton].total() / 2 and own != usual:
                name = what.replace("_", " ")
                odd[i] += (f"{name} {own}, but {usual} in most files of this skeleton: if wrong, give {option}",)
    return odd


def _clip_names(paths: Sequence[Path], root: Path) -> list[str]:
    """File names without suffix; with their folders where two are the same."""
    seen = Counter(path.stem for path in paths)
    return [p.stem if seen[p.stem] == 1 else p.relative_to(root).with_suffix("").as_posix() for p in paths]


def _subject(path: Path, root: Path, clip: str, subject_from: str) -> str:
    if subject_from == "prefix":
        return path.stem.split("_", 1)[0]
    if subject_from == "folder":
        folder = path.parent.relative_to(root).as_posix()
        return root.resolve().name if folder == "." else folder
    return clip


def _arrays(clips: Sequence[Retargeted], names: Sequence[str], subjects: Sequence[str]) -> dict[str, NDArray[Any]]:
    counts = [len(clip.joints) for clip in clips]
    subject_names = sorted(set(subjects))
    clip_subject = np.array([subject_names.index(subject) for subject in subjects], dtype=np.int32)
    subject_id = np.repeat(clip_subject, counts)
    arrays: dict[str, NDArray[Any]] = {
        "joints": np.concatenate([clip.joints for clip in clips]),
        "clip_id": np.repeat(np.arange(len(clips), dtype=np.int32), counts),
        "subject_id": subject_id,
        "frame_index": np.concatenate([np.arange(count, dtype=np.int32) for count in counts]),
        "frame_time": np.array([clip.frame_time for clip in clips], dtype=np.float32),
        "clip_names": np.array(names),
        "clip_subject": clip_subject,
        "subject_names": np.array(subject_names),
        "joint_names": np.array(JOINTS),
    }
    if len(subject_names) >= 3:
        arrays["split"] = assign_splits(subject_id.astype(np.int64))
    return arrays


def _line(path: Path, clip: Retargeted, name: str, subject: str, root: Path) -> ImportedFile:
    return ImportedFile(
        file=path.relative_to(root).as_posix(),
        clip=name,
        subject=subject,
        frames=clip.native_frames,
        native_fps=clip.native_fps,
        poses=len(clip.joints),
        fps=1 / clip.frame_time,
        stature_m=clip.stature_m,
        unit=clip.unit,
        metres_per_unit=clip.metres_per_unit,
        up_axis=clip.up_axis,
        warnings=clip.warnings,
    )


def _summary(out: Path, arrays: dict[str, NDArray[Any]], files: list[ImportedFile]) -> Import:
    split = None
    if "split" in arrays:
        split = {name: int((arrays["split"] == i).sum()) for i, name in enumerate(("train", "val", "test"))}
    return Import(
        out=str(out),
        poses=len(arrays["joints"]),
        subjects=len(arrays["subject_names"]),
        clips=len(files),
        split=split,
        files=tuple(files),
    )
