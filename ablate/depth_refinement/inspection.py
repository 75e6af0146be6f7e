"""The contents of a file of poses: counts, statures, lean, facing, and a picture. Computes or draws; prints nothing."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ablate import InputError, Problem
from ablate.depth_refinement.skeleton import INDEX
from ablate.depth_refinement.sources import mocap
from ablate.depth_refinement.sources import recording as layout
from ablate.depth_refinement.sources.poses import SPLIT_NAMES, TEST, PoseSet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

# The facing direction is ill-defined where the trunk is more than 60° from upright, or the left axis from level.
ILL_DEFINED_LEAN_DEG = 60.0
_ILL_DEFINED_LEVEL = 0.5
_LEAN_PERCENTILES = (5, 50, 95, 99)

LEFT_COLOUR, RIGHT_COLOUR, MIDDLE_COLOUR = "#0072B2", "#D55E00", "#555555"  # Okabe & Ito, for colour-blind readers too
_STYLES: dict[str, dict[str, Any]] = {  # dashes as well, for pictures printed in black and white
    "l": {"color": LEFT_COLOUR, "linestyle": "-", "solid_capstyle": "round"},
    "r": {"color": RIGHT_COLOUR, "linestyle": (0, (3, 1))},
}
_SEGMENTS = (("shoulder", "hip"), ("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))
_VIEWS = (("front", -0.75, 0, "rl"), ("from the right", 0.75, 2, "lr"))  # the side that is drawn last is in front


@dataclass(frozen=True)
class Group:
    """One split, subject or clip."""

    name: str
    split: str
    poses: int
    subjects: int
    clips: int
    stature_m: float  # median


@dataclass(frozen=True)
class Inspection:
    """A pose file in numbers. Angles in degrees, lengths in metres, shares in [0, 1]."""

    file: str
    digest: str
    poses: int
    splits: tuple[Group, ...]
    subjects: tuple[Group, ...]
    clips: tuple[Group, ...]
    stature_m: dict[str, float]  # of the subjects: min, median, max
    lean_deg: dict[str, float]  # p5, p50, p95, p99 over poses
    leaning_over_30_deg: float
    facing_ill_defined: float
    frames: int | None = None  # of a recording, with those whose 3D is not whole; None of motion capture
    cameras: tuple[Camera, ...] = ()

    def plain(self) -> dict[str, Any]:
        """For JSON; of motion capture without what a recording has."""
        return {name: value for name, value in asdict(self).items() if value not in (None, ())}


@dataclass(frozen=True)
class Camera:
    """One camera of a recording. `detected`: the share of joints that the detector has found."""

    name: str
    detected: float


def inspect(file: Path) -> tuple[Inspection, PoseSet]:
    """Read and measure a file of motion capture or a recording; of a recording the frames with a whole 3D pose.

    Raises InputError as `mocap.read` and `recording.read` do.
    """
    measured = layout.read(file) if layout.is_recording(file) else None
    poses = mocap.read(file) if measured is None else _triangulated(measured, file)
    stature = mocap.measured_stature(poses.joints).astype(np.float64)
    lean, level = lean_and_level(poses)
    subjects = _groups(poses, stature, poses.subject_id, poses.subject_names)
    tall = [group.stature_m for group in subjects]
    return Inspection(
        file=str(file),
        digest=poses.digest,
        poses=len(poses.joints),
        splits=_groups(poses, stature, poses.split.astype(np.int64), SPLIT_NAMES),
        subjects=subjects,
        clips=_groups(poses, stature, poses.clip_id, poses.clip_names),
        stature_m={"min": min(tall), "median": float(np.median(tall)), "max": max(tall)},
        lean_deg={f"p{q}": float(np.percentile(lean, q)) for q in _LEAN_PERCENTILES},
        leaning_over_30_deg=float((lean > 30).mean()),
        facing_ill_defined=float(((lean > ILL_DEFINED_LEAN_DEG) | (level < _ILL_DEFINED_LEVEL)).mean()),
        frames=None if measured is None else len(measured.joints3d),
        cameras=() if measured is None else _cameras(measured),
    ), poses


def _cameras(measured: layout.Recording) -> tuple[Camera, ...]:
    found = (measured.confidence > 0).mean(axis=(0, 2))
    return tuple(Camera(name, float(share)) for name, share in zip(measured.rig.names, found, strict=True))


def _triangulated(measured: layout.Recording, file: Path) -> PoseSet:
    """The whole 3D poses of a recording, +Y up, as one person's test poses. Raises InputError where there is none."""
    from ablate.depth_refinement.recording import upright

    joints = layout.complete_heads(measured.joints3d)
    joints = joints[np.isfinite(joints).all((1, 2))] @ upright(measured.world_up).T
    if not len(joints):
        raise InputError(Problem(str(file), "joints3d", "no frame has a whole triangulated pose"))
    one = np.zeros(len(joints), np.int64)
    return PoseSet(
        joints.astype(np.float32), one, one, np.full(len(joints), TEST, np.int8), ("person",), ("recording",)
    )


def lean_and_level(poses: PoseSet) -> tuple[Array, Array]:
    """Torso lean (N,) in degrees and how level the left axis lies (N,), 1 = horizontal, 0 = vertical."""
    import torch

    from ablate.depth_refinement.geometry import torso_lean

    joints = poses.joints
    lean = torso_lean(torch.from_numpy(joints), torch.tensor(poses.up)).rad2deg().numpy().astype(np.float64)
    left, right = (joints[:, [INDEX[f"{side}_shoulder"], INDEX[f"{side}_hip"]]].mean(axis=1) for side in "lr")
    axis = left - right
    level = np.linalg.norm(axis[:, [0, 2]], axis=1) / np.maximum(np.linalg.norm(axis, axis=1), 1e-9)
    return lean, level.astype(np.float64)


def _groups(poses: PoseSet, stature: Array, ids: NDArray[np.int64], names: tuple[str, ...]) -> tuple[Group, ...]:
    groups = []
    for number in np.unique(ids):
        rows = ids == number
        splits = np.unique(poses.split[rows])
        groups.append(
            Group(
                name=names[number] if 0 <= number < len(names) else str(number),
                split=SPLIT_NAMES[splits[0]] if len(splits) == 1 else "several",
                poses=int(rows.sum()),
                subjects=len(np.unique(poses.subject_id[rows])),
                clips=len(np.unique(poses.clip_id[rows])),
                stature_m=float(np.median(stature[rows])),
            )
        )
    return tuple(groups)


def text(inspection: Inspection, *, max_subjects: int = 30) -> str:
    """The numbers as plain text; at most `max_subjects` subjects are listed."""
    lines = [
        f"{inspection.file}: {inspection.poses:,} poses, {len(inspection.subjects)} subjects, "
        f"{len(inspection.clips)} clips",
        *_recording_lines(inspection),
        "",
        f"{'split':<10}{'poses':>9}{'subjects':>10}{'clips':>7}{'stature':>10}",
        *(f"{g.name:<10}{g.poses:>9,}{g.subjects:>10}{g.clips:>7}{g.stature_m:>8.2f} m" for g in inspection.splits),
        "",
        *_subject_lines(inspection.subjects, max_subjects),
        "",
        _range("poses per clip", [clip.poses for clip in inspection.clips]),
        "stature         min {min:.2f}, median {median:.2f}, max {max:.2f} m (from trunk and legs)".format(
            **inspection.stature_m
        ),
        "torso lean      5 % {p5:.1f}°, median {p50:.1f}°, 95 % {p95:.1f}°, 99 % {p99:.1f}°".format(
            **inspection.lean_deg
        )
        + f"; above 30° in {inspection.leaning_over_30_deg:.1%}",
        f"facing          ill-defined in {inspection.facing_ill_defined:.1%} (lean above "
        f"{ILL_DEFINED_LEAN_DEG:.0f}°, or shoulders and hips far from level)",
        f"digest          {inspection.digest[:16]}",
    ]
    return "\n".join(lines)


def _recording_lines(inspection: Inspection) -> list[str]:
    if inspection.frames is None:
        return []
    width = max(10, *(len(camera.name) + 2 for camera in inspection.cameras))
    whole = (
        f"a recording of {inspection.frames:,} frames, {inspection.poses / inspection.frames:.1%} with a whole 3D pose"
    )
    cameras = [f"{camera.name:<{width}}{camera.detected:>15.1%}" for camera in inspection.cameras]
    return [whole, "", f"{'camera':<{width}}{'joints detected':>15}", *cameras]


def _subject_lines(subjects: tuple[Group, ...], max_subjects: int) -> list[str]:
    listed = subjects[:max_subjects]
    width = max(10, *(len(group.name) + 2 for group in listed))
    head = f"{'subject':<{width}}{'split':<8}{'poses':>7}{'clips':>7}{'stature':>10}"
    rows = [f"{g.name:<{width}}{g.split:<8}{g.poses:>7,}{g.clips:>7}{g.stature_m:>8.2f} m" for g in listed]
    more = len(subjects) - max_subjects
    return [head, *rows] + ([f"… and {more} more (--json lists all)"] if more > 0 else [])


def _range(name: str, values: list[int]) -> str:
    return f"{name:<16}min {min(values)}, median {np.median(values):.0f}, max {max(values)}"


def check_picture(out: Path) -> None:
    """Raises InputError where `draw` could not write the picture."""
    rule = ""
    if out.suffix.lower() != ".png":
        rule = "must be a name that ends in .png"
    elif out.is_dir() or not out.parent.is_dir():
        rule = "is a folder" if out.is_dir() else "its folder does not exist"
    if rule:
        raise InputError(Problem("--out", "", rule, str(out)))


def draw(poses: PoseSet, out: Path, *, count: int = 12, seed: int = 0) -> None:
    """Write a picture of `count` poses, each from the front and from its right side, left and right in two colours."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = sample(poses, count, seed)
    columns = min(4, len(rows))
    lines = -(-len(rows) // columns)
    size = (3.4 * columns, 2.6 * lines + 0.7)
    figure, grid = plt.subplots(lines, columns, figsize=size, squeeze=False, layout="constrained")
    lean, _ = lean_and_level(poses)
    views = [body_view(poses.joints[row].astype(np.float64)) for row in rows]
    top = max(1.2, *(float(view[:, 1].max()) for view in views)) + 0.1
    for axes, row, view in zip(grid.flat, rows, views, strict=False):
        _draw_pose(axes, view, top)
        axes.set_title(_title(poses, int(row), lean[row]), fontsize=8, color="#222222")
    for axes in grid.flat:
        axes.set_axis_off()
    figure.legend(handles=_legend(), loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    figure.savefig(out, dpi=110, metadata={"Software": None})
    plt.close(figure)


def body_view(joints: Array) -> Array:
    """(17, 3) in the body's own axes: left, height above the lower ankle, forward; pelvis in the middle."""
    left = joints[INDEX["l_shoulder"]] - joints[INDEX["r_shoulder"]] + joints[INDEX["l_hip"]] - joints[INDEX["r_hip"]]
    left = left * [1, 0, 1] / max(float(np.hypot(left[0], left[2])), 1e-9)
    forward = np.cross(left, [0.0, 1.0, 0.0])
    centred = joints - (joints[INDEX["l_hip"]] + joints[INDEX["r_hip"]]) / 2
    ankle = min(joints[INDEX["l_ankle"], 1], joints[INDEX["r_ankle"], 1])
    return np.stack([centred @ left, joints[:, 1] - ankle, centred @ forward], axis=1)


def sample(poses: PoseSet, count: int, seed: int) -> NDArray[np.intp]:
    """Rows of `count` poses, from as many different subjects as possible, in the order of the file."""
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(poses.joints))
    turn = np.zeros(len(shuffled), dtype=np.int64)  # how many poses of the same subject came before
    seen: dict[int, int] = {}
    for i, row in enumerate(shuffled):
        subject = int(poses.subject_id[row])
        turn[i] = seen.get(subject, 0)
        seen[subject] = turn[i] + 1
    chosen = shuffled[np.argsort(turn, kind="stable")[:count]]
    return np.sort(chosen)


def _draw_pose(axes: Axes, pose: Array, top: float) -> None:
    """Front view on the left (the person's left on the right), view from the person's right side beside it."""
    for title, centre, horizontal, order in _VIEWS:
        x, y = centre + pose[:, horizontal], pose[:, 1]
        axes.plot([centre - 0.6, centre + 0.6], [-0.08, -0.08], color="#cccccc", linewidth=0.8, zorder=0)
        _draw_middle(axes, x, y)
        for side in order:
            for a, b in _SEGMENTS:
                ends = [INDEX[f"{side}_{a}"], INDEX[f"{side}_{b}"]]
                axes.plot(x[ends], y[ends], linewidth=2.2, **_STYLES[side])
            face = [INDEX[f"{side}_eye"], INDEX[f"{side}_ear"]]
            axes.plot(x[face], y[face], "o", color=_STYLES[side]["color"], markersize=2.4)
        axes.text(centre, -0.28, title, ha="center", fontsize=7, color=MIDDLE_COLOUR)
    axes.set_aspect("equal")
    axes.set_xlim(-1.6, 1.6)
    axes.set_ylim(-0.32, top)


def _draw_middle(axes: Axes, x: Array, y: Array) -> None:
    for a, b in (("l_shoulder", "r_shoulder"), ("l_hip", "r_hip")):
        ends = [INDEX[a], INDEX[b]]
        axes.plot(x[ends], y[ends], color=MIDDLE_COLOUR, linewidth=1.6)
    ears, nose = [INDEX["l_ear"], INDEX["r_ear"]], INDEX["nose"]
    shoulders = [INDEX["l_shoulder"], INDEX["r_shoulder"]]
    neck = [[x[shoulders].mean(), x[ears].mean()], [y[shoulders].mean(), y[ears].mean()]]
    axes.plot(*neck, color=MIDDLE_COLOUR, linewidth=1.6)
    axes.plot([x[ears].mean(), x[nose]], [y[ears].mean(), y[nose]], color=MIDDLE_COLOUR, linewidth=1.2)
    axes.plot(x[nose], y[nose], "o", color=MIDDLE_COLOUR, markersize=3)


def _title(poses: PoseSet, row: int, lean_deg: float) -> str:
    clip = poses.clip_names[poses.clip_id[row]] if poses.clip_names else f"clip {poses.clip_id[row]}"
    subject = poses.subject_names[poses.subject_id[row]] if poses.subject_names else f"{poses.subject_id[row]}"
    name = clip if subject == clip else f"{subject} · {clip}"
    return f"{name if len(name) <= 34 else name[:33] + '…'} · lean {lean_deg:.0f}°"


def _legend() -> list[Any]:
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], linewidth=2.2, label="the person's left", **_STYLES["l"]),
        Line2D([], [], linewidth=2.2, label="the person's right", **_STYLES["r"]),
        Line2D([], [], color=MIDDLE_COLOUR, linewidth=1.6, marker="o", markersize=3, label="middle, nose"),
    ]
