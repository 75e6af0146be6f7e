"""Write BVH files of one walking person under any naming, unit, up axis, channel order: the importer's counterpart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

# name, parent, offset in metres (+Y up, facing +Z, left at +X), arms out to the sides. Stature about 1.72 m.
SKELETON = (
    ("Hips", "", (0.0, 0.0, 0.0)),
    ("Spine", "Hips", (0.0, 0.12, 0.0)),
    ("Chest", "Spine", (0.0, 0.20, 0.0)),
    ("LeftShoulder", "Chest", (0.04, 0.14, 0.0)),
    ("LeftArm", "LeftShoulder", (0.14, 0.0, 0.0)),
    ("LeftForeArm", "LeftArm", (0.30, 0.0, 0.0)),
    ("LeftHand", "LeftForeArm", (0.25, 0.0, 0.0)),
    ("RightShoulder", "Chest", (-0.04, 0.14, 0.0)),
    ("RightArm", "RightShoulder", (-0.14, 0.0, 0.0)),
    ("RightForeArm", "RightArm", (-0.30, 0.0, 0.0)),
    ("RightHand", "RightForeArm", (-0.25, 0.0, 0.0)),
    ("Neck", "Chest", (0.0, 0.18, 0.0)),
    ("Head", "Neck", (0.0, 0.11, 0.02)),
    ("LeftUpLeg", "Hips", (0.09, -0.04, 0.0)),
    ("LeftLeg", "LeftUpLeg", (0.0, -0.42, 0.0)),
    ("LeftFoot", "LeftLeg", (0.0, -0.42, 0.0)),
    ("LeftToeBase", "LeftFoot", (0.0, -0.06, 0.14)),
    ("RightUpLeg", "Hips", (-0.09, -0.04, 0.0)),
    ("RightLeg", "RightUpLeg", (0.0, -0.42, 0.0)),
    ("RightFoot", "RightLeg", (0.0, -0.42, 0.0)),
    ("RightToeBase", "RightFoot", (0.0, -0.06, 0.14)),
)
NAMES = tuple(name for name, _, _ in SKELETON)
_SIDED = {
    "Shoulder": ("Collar", "Clavicle", "clavicle", "collar"),
    "Arm": ("Shoulder", "UpperArm", "upper_arm", "shoulder"),
    "ForeArm": ("Elbow", "Forearm", "forearm", "elbow"),
    "Hand": ("Wrist", "Hand", "hand", "wrist"),
    "UpLeg": ("Hip", "Thigh", "thigh", "hip"),
    "Leg": ("Knee", "Calf", "shin", "knee"),
    "Foot": ("Ankle", "Foot", "foot", "ankle"),
    "ToeBase": ("Toe", "Toe0", "toe", "foot"),
}
AXES = {
    "+y": np.eye(3),
    "+z": np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]),
    "-x": np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]]),
}


def _renamed(style: int, pattern: str) -> dict[str, str]:
    """`pattern` holds {side} or {letter}/{small} and {part}."""
    names = {}
    for part, others in _SIDED.items():
        for side in ("Left", "Right"):
            fields = {"side": side, "low": side.lower(), "letter": side[0], "small": side[0].lower()}
            names[side + part] = pattern.format(part=others[style], **fields)
    return names


NAMINGS: dict[str, dict[str, str]] = {
    "mixamo": {name: f"mixamorig:{name}" for name in NAMES},
    "cmu": _renamed(0, "{side}{part}"),
    "biped": _renamed(1, "Bip01 {letter} {part}") | {"Head": "Bip01 Head", "Hips": "Bip01"},
    "iclone": _renamed(1, "CC_Base_{letter}_{part}") | {"Head": "CC_Base_Head", "Hips": "CC_Base_Hip"},
    "rigify": _renamed(2, "{part}.{letter}") | {"Head": "head"},
    "smpl": _renamed(3, "{low}_{part}") | {"Head": "head", "Hips": "pelvis"},
}


def walk(frames: int = 40) -> dict[str, np.ndarray]:
    """Rotation vectors (frames, 3) in radians per joint: arms down, legs swinging, the head turning a little."""
    phase = np.linspace(0, 4 * np.pi, frames)
    zero = np.zeros_like(phase)
    bent = 0.6 * np.clip(np.sin(phase), 0, None)
    bent_other = 0.6 * np.clip(-np.sin(phase), 0, None)
    return {
        "Hips": np.stack([0.03 + zero, 0.4 + 0.1 * np.sin(phase), zero], axis=1),
        "Spine": np.stack([0.05 + zero, 0.1 * np.sin(phase), zero], axis=1),
        "Head": np.stack([zero, 0.2 * np.sin(phase / 2), zero], axis=1),
        "LeftArm": np.stack([zero, zero, -1.3 + zero], axis=1),
        "RightArm": np.stack([zero, zero, 1.3 + zero], axis=1),
        "LeftForeArm": np.stack([zero, -0.3 + zero, zero], axis=1),
        "RightForeArm": np.stack([zero, 0.3 + zero, zero], axis=1),
        "LeftUpLeg": np.stack([-0.1 + 0.4 * np.cos(phase), zero, zero], axis=1),
        "RightUpLeg": np.stack([-0.1 - 0.4 * np.cos(phase), zero, zero], axis=1),
        "LeftLeg": np.stack([0.1 + bent, zero, zero], axis=1),
        "RightLeg": np.stack([0.1 + bent_other, zero, zero], axis=1),
    }


def bvh_text(
    *,
    turns: Mapping[str, np.ndarray] | None = None,
    skeleton: Sequence[tuple[str, str, tuple[float, float, float]]] = SKELETON,
    names: Mapping[str, str] | None = None,
    units_per_metre: float = 100.0,
    axes: np.ndarray = AXES["+y"],
    order: str = "ZYX",
    frame_time: float = 1 / 24,
    newline: str = "\n",
) -> str:
    """A BVH file of the motion `turns`; `axes` maps +Y-up vectors to the file's axes."""
    turns = walk() if turns is None else turns
    names = names or {}
    frames = len(next(iter(turns.values())))
    lines, columns = ["HIERARCHY"], []

    def write(name: str, depth: int) -> None:
        pad = "\t" * depth
        offset = next(offset for joint, _, offset in skeleton if joint == name)
        x, y, z = units_per_metre * (axes @ np.array(offset))
        lines.append(f"{pad}{'JOINT' if depth else 'ROOT'} {names.get(name, name)}")
        lines.append(f"{pad}{{")
        lines.append(f"{pad}\tOFFSET {x:.6f} {y:.6f} {z:.6f}")
        rotations = " ".join(f"{axis}rotation" for axis in order)
        lines.append(f"{pad}\tCHANNELS {'3' if depth else '6 Xposition Yposition Zposition'} {rotations}")
        if not depth:
            position = np.stack([np.linspace(0, 1, frames), np.full(frames, 0.95), np.zeros(frames)], axis=1)
            columns.append(units_per_metre * position @ axes.T)
        turn = Rotation.from_rotvec(turns.get(name, np.zeros((frames, 3)))).as_matrix()
        columns.append(Rotation.from_matrix(axes @ turn @ axes.T).as_euler(order, degrees=True))
        children = [joint for joint, parent, _ in skeleton if parent == name]
        for child in children:
            write(child, depth + 1)
        if not children:
            lines.extend([f"{pad}\tEnd Site", f"{pad}\t{{", f"{pad}\t\tOFFSET 0 0 0", f"{pad}\t}}"])
        lines.append(f"{pad}}}")

    write("Hips", 0)
    lines += ["MOTION", f"Frames: {frames}", f"Frame Time: {frame_time:.7f}"]
    lines += [" ".join(f"{value:.6f}" for value in row) for row in np.concatenate(columns, axis=1)]
    return newline.join(lines) + newline


def write_bvh(path: Path, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(bvh_text(**options), encoding="utf-8", newline="")  # type: ignore[arg-type]
    return path
