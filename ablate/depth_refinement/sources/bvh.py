"""Read BVH motion files strictly and compute joint positions, in the file's own unit and axes.

We have our own reader because bvh 0.3 from PyPI checks neither row nor value counts, and its errors name no line.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from ablate import InputError, Problem

Array = NDArray[np.float64]

CHANNELS = ("Xposition", "Yposition", "Zposition", "Xrotation", "Yrotation", "Zrotation")
END_SITE = "End Site"
MAX_BYTES = 200_000_000  # an hour of 60 joints at 60 fps
MAX_JOINTS = 1000  # a body with both hands and a face has 250
MAX_NAME = 200  # characters
MAX_POINTS = 20_000_000  # joints times frames: 1.9 GB of positions and rotations
_LARGEST = 1e9  # no length or angle of a person is as large, in any unit
_SHORTEST_FRAME = 1e-5  # seconds; no camera or tracker is faster


@dataclass
class _Joint:
    name: str
    parent: int  # -1 for the root
    line: int
    offset: tuple[float, ...] = ()
    channels: list[str] | None = None


@dataclass(frozen=True)
class Motion:
    """A skeleton of J joints (end sites included, parents before children) and F frames of C channel values."""

    names: tuple[str, ...]  # an end site is called "<parent's name> End Site"
    parents: tuple[int, ...]
    offsets: Array  # (J, 3), file units
    channels: tuple[tuple[str, ...], ...]  # per joint, in file order
    frame_time: float  # seconds
    values: Array  # (F, C), file units and degrees


@dataclass
class _Lines:
    """The lines that are not empty, with their numbers, and errors that name a line."""

    file: str
    lines: list[tuple[int, list[str]]]
    position: int = 0
    last_line: int = field(init=False)

    def __post_init__(self) -> None:
        self.last_line = self.lines[-1][0] if self.lines else 1

    def error(self, rule: str, value: str = "", *, line: int | None = None, nearest: str = "") -> InputError:
        place = f"line {line if line is not None else self.line}"
        return InputError(Problem(self.file, place, rule, value, nearest))

    @property
    def line(self) -> int:
        return self.lines[self.position][0] if self.position < len(self.lines) else self.last_line

    def peek(self) -> list[str]:
        if self.position >= len(self.lines):
            raise self.error("the file ends too early")
        return self.lines[self.position][1]

    def take(self) -> list[str]:
        words = self.peek()
        self.position += 1
        return words

    def expect(self, *keyword: str) -> list[str]:
        """The words after the keyword, which may be written in any case."""
        words = self.peek()
        if [word.lower() for word in words[: len(keyword)]] != [word.lower() for word in keyword]:
            raise self.error(f"expected '{' '.join(keyword)}'", repr(" ".join(words)[:60]))
        return self.take()[len(keyword) :]

    def numbers(self, words: list[str], what: str, count: int) -> tuple[float, ...]:
        if len(words) != count:
            raise self.error(f"{what} takes {count} numbers", str(len(words)), line=self.taken_line)
        try:
            values = tuple(float(word) for word in words)
        except ValueError:
            wrong = next(word for word in words if not _is_number(word))
            raise self.error(f"{what} must be numbers", repr(wrong[:40]), line=self.taken_line) from None
        if not all(abs(value) < _LARGEST for value in values):  # nan and inf are not
            raise self.error(f"{what} must be finite numbers below {_LARGEST:g}", line=self.taken_line)
        return values

    @property
    def taken_line(self) -> int:
        return self.lines[self.position - 1][0]


def read_bvh(path: Path) -> Motion:
    """Parse one BVH file. Raises InputError with file, line and rule; no missing part is guessed."""
    lines = _Lines(str(path), _split_lines(_read_text(path)))
    if not lines.lines:
        raise InputError(Problem(str(path), "", "the file is empty"))
    joints = _read_hierarchy(lines)
    channels = tuple(tuple(joint.channels or ()) for joint in joints)
    frame_time, values = _read_motion(lines, sum(map(len, channels)), len(joints))
    return Motion(
        names=tuple(joint.name for joint in joints),
        parents=tuple(joint.parent for joint in joints),
        offsets=np.array([joint.offset for joint in joints]),
        channels=channels,
        frame_time=frame_time,
        values=values,
    )


def forward_kinematics(motion: Motion, values: Array | None = None) -> tuple[Array, Array]:
    """Joint positions (F, J, 3) in file units and global rotations (F, J, 3, 3), in the file's own axes.

    Rotations apply in the order of the channels in the file: R = R1 R2 R3 for column vectors.
    """
    values = motion.values if values is None else values
    frames, count = values.shape[0], len(motion.names)
    positions, rotations = np.empty((frames, count, 3)), np.empty((frames, count, 3, 3))
    first = 0
    for joint, (parent, names) in enumerate(zip(motion.parents, motion.channels, strict=True)):
        own = values[:, first : first + len(names)]
        first += len(names)
        local = _local_rotation(names, own)
        shift = _local_translation(motion.offsets[joint], names, own, is_root=parent < 0)
        if parent < 0:
            positions[:, joint], rotations[:, joint] = shift, local
        else:
            positions[:, joint] = positions[:, parent] + np.einsum("fij,fj->fi", rotations[:, parent], shift)
            rotations[:, joint] = rotations[:, parent] @ local
    return positions, rotations


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise InputError(Problem(str(path), "", f"must have at most {MAX_BYTES:,} bytes; cut it into clips"))
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError(Problem(str(path), f"line {line}", "is not UTF-8 text")) from None
    except OSError as error:
        raise InputError(Problem(str(path), "", f"cannot be read: {error.strerror}")) from None


def _split_lines(text: str) -> list[tuple[int, list[str]]]:
    """Words of every line with its number; a brace stands alone, wherever the writer put it."""
    lines: list[tuple[int, list[str]]] = []
    in_motion = False
    for number, line in enumerate(text.split("\n"), start=1):
        words = line.split()
        if not words:
            continue
        in_motion = in_motion or words[0].upper() == "MOTION"
        if in_motion or words in (["{"], ["}"]):
            lines.append((number, words))
            continue
        group: list[str] = []
        for word in line.replace("{", " { ").replace("}", " } ").split():
            if word in "{}":
                lines += [(number, group)] if group else []
                lines.append((number, [word]))
                group = []
            else:
                group.append(word)
        lines += [(number, group)] if group else []
    return lines


def _read_hierarchy(lines: _Lines) -> list[_Joint]:
    if lines.expect("HIERARCHY"):
        raise lines.error("'HIERARCHY' stands alone on its line")
    joints: list[_Joint] = []
    open_joints: list[int] = []
    _open_joint(lines, lines.expect("ROOT"), joints, open_joints)
    while open_joints:
        words = lines.peek()
        keyword = words[0].lower()
        joint = joints[open_joints[-1]]
        if keyword == "}":
            lines.take()
            _check_closed(lines, joint)
            open_joints.pop()
        elif keyword == "offset":
            joint.offset = lines.numbers(lines.take()[1:], f"OFFSET of '{joint.name}'", 3)
        elif keyword == "channels":
            joint.channels = _read_channels(lines, joint)
        elif keyword == "joint":
            _open_joint(lines, lines.take()[1:], joints, open_joints)
        elif keyword == "end":
            lines.take()
            _open_joint(lines, [joint.name, END_SITE], joints, open_joints)
            joints[-1].channels = []
        else:
            rule = f"expected OFFSET, CHANNELS, JOINT, End Site or }} inside '{joint.name}'"
            raise lines.error(rule, repr(" ".join(words)[:60]))
    if lines.peek()[0].lower() == "root":
        raise lines.error("only one ROOT can be read: export each character to a file of its own")
    return joints


def _open_joint(lines: _Lines, name: list[str], joints: list[_Joint], open_joints: list[int]) -> None:
    if not name:
        raise lines.error("a joint needs a name", line=lines.taken_line)
    joint = _Joint(" ".join(name), open_joints[-1] if open_joints else -1, lines.taken_line)
    if len(joints) >= MAX_JOINTS:
        raise lines.error(f"a skeleton must have at most {MAX_JOINTS} joints", line=joint.line)
    if len(joint.name) > MAX_NAME:
        raise lines.error(f"a joint's name must have at most {MAX_NAME} characters", line=joint.line)
    if any(other.name == joint.name for other in joints) and END_SITE not in joint.name:
        raise lines.error(f"joint '{joint.name}' stands twice", line=joint.line)
    lines.expect("{")
    open_joints.append(len(joints))
    joints.append(joint)


def _check_closed(lines: _Lines, joint: _Joint) -> None:
    missing = "OFFSET" if not joint.offset else "CHANNELS" if joint.channels is None else ""
    if missing:
        raise lines.error(f"joint '{joint.name}' has no {missing}", line=joint.line)


def _read_channels(lines: _Lines, joint: _Joint) -> list[str]:
    words = lines.take()[1:]
    line = lines.taken_line
    known = {name.lower(): name for name in CHANNELS}
    if not words or (words[0].lstrip("0") or "0") != str(len(words) - 1):
        rule = f"CHANNELS of '{joint.name}' must give their number and as many names"
        raise lines.error(rule, " ".join(words)[:60], line=line)
    names = [known.get(word.lower(), "") for word in words[1:]]
    if "" in names:
        wrong = words[1 + names.index("")][:60]
        rule, known_names = f"channel of '{joint.name}' unknown", f"known: {', '.join(CHANNELS)}"
        raise lines.error(rule, wrong, line=line, nearest=known_names)
    if len(set(names)) != len(names):
        raise lines.error(f"a channel of '{joint.name}' stands twice", " ".join(words[1:]), line=line)
    return names


def _read_motion(lines: _Lines, channels: int, joints: int) -> tuple[float, Array]:
    lines.expect("MOTION")
    words = lines.expect("Frames:")
    declared = lines.numbers(words, "Frames", 1)[0]
    if declared < 1 or declared != int(declared):
        raise lines.error("Frames must be a whole number of at least 1", words[0][:40], line=lines.taken_line)
    frame_time = lines.numbers(lines.expect("Frame", "Time:"), "Frame Time", 1)[0]
    if frame_time <= 0:
        raise lines.error("Frame Time must be greater than 0 seconds", f"{frame_time:g}", line=lines.taken_line)
    if frame_time < _SHORTEST_FRAME:
        rule = f"Frame Time must be at least {_SHORTEST_FRAME:g} seconds"
        raise lines.error(rule, f"{frame_time:g}", line=lines.taken_line)
    rows = lines.lines[lines.position :]
    if len(rows) != declared:
        where = rows[-1][0] if rows else lines.last_line
        rule = f"the file declares {declared:.0f} frames and holds {len(rows)}"
        raise lines.error(rule, line=where, nearest="it may be cut off" if len(rows) < declared else "")
    if len(rows) * joints > MAX_POINTS:
        rule = f"{joints} joints may have at most {MAX_POINTS // joints:,} frames; cut the motion into clips"
        raise lines.error(rule, f"{len(rows):,}", line=rows[0][0])
    values = np.empty((len(rows), channels))
    for i, (number, row) in enumerate(rows):
        if len(row) != channels:
            rule = f"frame {i + 1} must have {channels} values, one for each channel"
            raise lines.error(rule, str(len(row)), line=number)
        lines.position += 1
        try:
            values[i] = row
        except ValueError:
            lines.numbers(row, f"values of frame {i + 1}", channels)
    fine = (np.abs(values) < _LARGEST).all(axis=1)
    if not fine.all():
        bad = int(np.argmin(fine))
        raise lines.error(f"values of frame {bad + 1} must be finite numbers below {_LARGEST:g}", line=rows[bad][0])
    return frame_time, values


def _local_rotation(names: tuple[str, ...], values: Array) -> Array:
    columns = [column for column, name in enumerate(names) if name.endswith("rotation")]
    if not columns:
        return np.broadcast_to(np.eye(3), (values.shape[0], 3, 3))
    axes = "".join(names[column][0] for column in columns)  # SciPy's capitals: each about the axes as turned so far
    return np.asarray(Rotation.from_euler(axes, values[:, columns], degrees=True).as_matrix())


def _local_translation(offset: Array, names: tuple[str, ...], values: Array, *, is_root: bool) -> Array:
    """Position channels replace the root's OFFSET. Elsewhere writers disagree whether they replace or add:
    values nearer to OFFSET than to 0 replace it."""
    columns = [(name[0], column) for column, name in enumerate(names) if name.endswith("position")]
    shift = np.tile(offset, (values.shape[0], 1))
    if not columns:
        return shift
    axes = ["XYZ".index(axis) for axis, _ in columns]
    given = values[:, [column for _, column in columns]]
    near_offset, near_zero = np.abs(given - offset[axes]).sum(), np.abs(given).sum()
    shift[:, axes] = given if is_root or near_offset <= near_zero else shift[:, axes] + given
    return shift


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
