"""Find and read OpenPose's JSON files, one for each camera and frame, in a folder or a .tar archive.

Nothing is unpacked onto the disk. Hostile archives and documents are refused: links, devices, paths that lead outside,
more bytes than a recording can have, numbers that are not finite, documents with deeper nesting than OpenPose's.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ablate import InputError, Problem
from ablate.depth_refinement.sources import tar

MAX_FILES = 400_000  # an hour of two cameras at 50 fps
MAX_JSON_BYTES = 5_000_000  # a crowd of a thousand people has 1 MB
MAX_ARCHIVE_BYTES = 1_000_000_000  # of all members, unpacked
MAX_DEPTH = 6  # OpenPose: document, people, person, list
MAX_PEOPLE = 1000
MAX_NUMBERS = 3 * 200  # of one person: BODY_135 has 3 · 135
MAX_PIXEL = 1e6
MAX_NUMBERS_KEPT = 60_000_000  # of the recording: an hour of two cameras at 50 fps has 27 million
# Reading stops after so many problems: otherwise a recording could give one for each of a hundred thousand files.
_MAX_PROBLEMS = 20

# A string, closed or not, or a bracket. It never backtracks, so that a hostile document takes no longer than others.
_TOKEN = re.compile(rb'"(?:\\.|[^"\\])*+"?|[\[{]|[\]}]', re.DOTALL)

Person = NDArray[np.float64]  # (points, 3) x, y in pixels, confidence


@dataclass(frozen=True)
class Clip:
    """The files of one recording: those whose camera folders are in the same folder."""

    name: str  # path of the folder that holds the cameras' folders
    cameras: tuple[str, ...]  # names of the cameras' folders, in natural order
    frames: tuple[tuple[tuple[Person, ...], ...], ...]  # by camera, then frame, then person


def read(source: Path, *, trial: str = "") -> Clip:
    """The recording in a folder or archive (.tar, .tar.gz, …) whose path contains `trial`.

    Raises InputError when there is none, or more than one, and with the problems of the first damaged files.
    """
    if not source.exists():
        raise InputError(Problem(str(source), "", "no such folder or archive"))
    wanted: dict[str, dict[str, dict[str, tuple[Person, ...]]]] = {}
    names: set[str] = set()
    problems: list[Problem] = []
    kept = 0
    for path, read_text in _members(source):
        clip, camera = _place(path)
        names.add(clip)
        if trial not in clip:
            continue
        try:
            found = people(read_text(), f"{source}: {path}")
            wanted.setdefault(clip, {}).setdefault(camera, {})[path.name] = found
            kept += sum(person.size for person in found)
            if kept > MAX_NUMBERS_KEPT:
                rule = f"must hold at most {MAX_NUMBERS_KEPT:,} numbers in a recording"
                raise InputError(Problem(str(source), "", rule, nearest="choose one by --trial"))
        except InputError as error:
            problems += error.problems
        if len(problems) >= _MAX_PROBLEMS:
            break
    if problems:
        raise InputError(*problems)
    name = _one(source, trial, sorted(wanted), sorted(names))
    return _clip(source, name, wanted[name])


def people(text: bytes, file: str) -> tuple[Person, ...]:
    """All people in one JSON document; a person without keypoints is left out. Raises InputError naming `file`."""
    if _too_deep(text):
        raise InputError(Problem(file, "", f"is nested more than {MAX_DEPTH} deep: not OpenPose's"))
    try:
        document = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, or a number of too many digits
        raise InputError(Problem(file, "", "must be OpenPose's JSON", str(error)[:120])) from None
    listed = document.get("people") if isinstance(document, dict) else None
    if not isinstance(listed, list) or len(listed) > MAX_PEOPLE:
        rule = f'must hold "people", a list of at most {MAX_PEOPLE}'
        raise InputError(Problem(file, "", rule, type(document).__name__))
    found = []
    for number, person in enumerate(listed):
        flat = person.get("pose_keypoints_2d", []) if isinstance(person, dict) else None
        if flat:
            found.append(_person(flat, file, f"people[{number}].pose_keypoints_2d"))
        elif flat is None or not isinstance(flat, list):
            raise InputError(Problem(file, f"people[{number}]", "must be an OpenPose person"))
    return tuple(found)


def _person(flat: Any, file: str, place: str) -> Person:
    numbers = isinstance(flat, list) and all(type(value) in (int, float) for value in flat)
    if not numbers or len(flat) % 3 or len(flat) > MAX_NUMBERS:
        raise InputError(Problem(file, place, "must be x, y, confidence of every point, all numbers"))
    try:
        array = np.array(flat, dtype=np.float64).reshape(-1, 3)
    except OverflowError:
        array = np.full((1, 3), np.inf)
    if not (np.abs(array) < MAX_PIXEL).all() or (array[:, 2] < 0).any() or (array[:, 2] > 1.5).any():
        raise InputError(Problem(file, place, "must be finite, with confidences between 0 and 1"))
    return array


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _too_deep(text: bytes) -> bool:
    """Whether brackets outside of strings nest too deeply; fast, and checked before a recursive parser runs."""
    depth = 0
    for token in _TOKEN.finditer(text):
        first = token.group()[:1]
        depth += (first in b"[{") - (first in b"]}")
        if depth > MAX_DEPTH:
            return True
    return False


def _members(source: Path) -> Iterator[tuple[PurePosixPath, Any]]:
    """Path and reader of every JSON file, in no particular order. Raises InputError."""
    if source.is_dir():
        yield from _in_folder(source)
        return
    try:
        with tar.opened(
            source, most_bytes=MAX_ARCHIVE_BYTES, most_a_read=max(MAX_JSON_BYTES + 1, tarfile.RECORDSIZE)
        ) as archive:
            yield from _in_archive(archive, str(source))
    except InputError:
        raise
    except Exception as error:  # for damaged headers, tarfile and the decompressors raise many kinds of exceptions
        raise InputError(Problem(str(source), "", "must be a folder or a .tar archive", str(error)[:120])) from None


def _in_folder(source: Path) -> Iterator[tuple[PurePosixPath, Any]]:
    for count, path in enumerate(sorted(source.rglob("*.json"))):
        if count >= MAX_FILES:
            raise InputError(Problem(str(source), "", f"must hold at most {MAX_FILES:,} JSON files"))
        if path.is_file():
            yield PurePosixPath(path.relative_to(source).as_posix()), lambda path=path: _limited(path)


def _limited(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return _whole(file, str(path))
    except OSError as error:
        raise InputError(Problem(str(path), "", "cannot be read", error.strerror or "")) from None


def _whole(file: IO[bytes], name: str) -> bytes:
    text = file.read(MAX_JSON_BYTES + 1)
    if len(text) > MAX_JSON_BYTES:
        raise InputError(Problem(name, "", f"must have at most {MAX_JSON_BYTES:,} bytes"))
    return text


def _in_archive(archive: tarfile.TarFile, source: str) -> Iterator[tuple[PurePosixPath, Any]]:
    count = size = 0
    for member in archive:
        path = PurePosixPath(member.name)
        count, size = count + 1, size + member.size
        if path.is_absolute() or ".." in path.parts or "\\" in member.name:
            raise InputError(Problem(source, member.name[:200], "leads outside of the archive"))
        if not (member.isfile() or member.isdir()) or member.sparse is not None:
            raise InputError(
                Problem(source, member.name[:200], "must be a plain file or a folder, not a link or device")
            )
        if count > 2 * MAX_FILES or size > MAX_ARCHIVE_BYTES:
            rule = f"must hold at most {MAX_FILES:,} files and {MAX_ARCHIVE_BYTES:,} bytes"
            raise InputError(Problem(source, "", rule))
        if member.isfile() and path.suffix == ".json":
            yield path, lambda member=member: _member(archive, member, source)


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo, source: str) -> bytes:
    try:
        file = archive.extractfile(member)
        if file is None:
            raise ValueError("it is no file")
        with file:
            return _whole(file, f"{source}: {member.name}")
    except InputError:
        raise
    except Exception as error:  # as above, in the middle of a member
        raise InputError(Problem(source, member.name[:200], "cannot be read", str(error)[:120])) from None


def _place(path: PurePosixPath) -> tuple[str, str]:
    """The clip and the camera that a file belongs to: the parent of its folder, and its folder."""
    return path.parent.parent.as_posix(), path.parent.name


def _one(source: Path, trial: str, found: list[str], every: list[str]) -> str:
    if len(found) == 1:
        return found[0]
    exact = [name for name in found if name.endswith(f"/{trial}") or name == trial]
    if trial and len(exact) == 1:
        return exact[0]
    if not every:
        raise InputError(Problem(str(source), "", "holds no OpenPose JSON: cameras' folders with a .json a frame"))
    rule = "must be part of the path of one recording" if trial else "holds several recordings: choose one by --trial"
    place, listed = ("--trial", found or every) if trial else (str(source), every)
    shown = "; ".join(listed[:8]) + (f"; and {len(listed) - 8} more" if len(listed) > 8 else "")
    raise InputError(Problem(place, "", rule, trial, shown))


def _clip(source: Path, name: str, cameras: dict[str, dict[str, tuple[Person, ...]]]) -> Clip:
    counts = {camera: len(files) for camera, files in cameras.items()}
    if len(counts) < 2:
        rule = "must hold a folder of JSON files for each of at least two cameras"
        raise InputError(Problem(str(source), name, rule, ", ".join(counts)))
    if len(set(counts.values())) > 1:
        rule = "every camera must have the same number of frames"
        raise InputError(Problem(str(source), name, rule, ", ".join(f"{c} {n}" for c, n in sorted(counts.items()))))
    order = sorted(cameras, key=natural)
    frames = tuple(tuple(cameras[camera][file] for file in sorted(cameras[camera], key=natural)) for camera in order)
    return Clip(name, tuple(order), frames)


def natural(name: str) -> list[tuple[int, int, str]]:
    """A sort key that puts cam2 before cam10."""
    parts = re.findall(r"\d+|\D+", name)
    return [(0, int(part[:300]), "") if part.isdecimal() else (1, 0, part) for part in parts]
