"""Convert OpenPose detections and a calibration to a recording: COCO-17, triangulated, written as plain arrays."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ablate import InputError, Problem
from ablate.depth_refinement.geometry import view_angles
from ablate.depth_refinement.skeleton import NUM_JOINTS
from ablate.depth_refinement.sources import openpose_files
from ablate.depth_refinement.sources.calibration import read_toml
from ablate.depth_refinement.sources.openpose_files import Clip, Person
from ablate.depth_refinement.sources.recording import Recording, plausibility_problems, write
from ablate.depth_refinement.sources.retarget import UP_AXES
from ablate.depth_refinement.sources.triangulation import Triangulated, triangulate, usual_limit_px

Array = NDArray[np.float64]

# Index of each COCO joint (nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles; left first) in the
# detector's output. Source: OpenPose, doc/02_output.md and src/openpose/pose/poseParameters.cpp.
MODELS: dict[str, tuple[int, ...]] = {
    "body_25b": tuple(range(17)),
    "body_25": (0, 16, 15, 18, 17, 5, 2, 6, 3, 7, 4, 12, 9, 13, 10, 14, 11),
    "coco_18": (0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10),
    "coco_17": tuple(range(17)),
}
_POINTS = {"body_25b": 25, "body_25": 25, "coco_18": 18, "coco_17": 17}
_MID_HIP, _HIPS_25, _NECK_25, _SHOULDERS_25 = 8, (9, 12), 1, (2, 5)


@dataclass(frozen=True)
class Imported:
    """Summary of what was written."""

    out: str
    recording: str
    model: str
    frames: int
    cameras: tuple[str, ...]
    detected: dict[str, float]  # share of joints detected, by camera
    triangulated: float  # share of joints
    error_px: float  # median distance between detection and projection, over the cameras used
    rejected: float  # share of detections left out because they disagree
    azimuth_deg: dict[str, float]  # circular mean, by camera
    warnings: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def import_openpose(
    source: Path,
    out: Path,
    *,
    calibration: Path,
    trial: str = "",
    model: str = "auto",
    up_axis: str = "+z",
    fps: float = 60.0,
    limit_px: float | None = None,
    distortion_factor: float = 1.0,
    overwrite: bool = False,
) -> Imported:
    """Read JSON files (folder or .tar archive) and a Pose2Sim calibration, triangulate, and write `out` (.npz).

    The folders in natural order of their names belong to the cameras in the order of the calibration's tables.
    `limit_px`: a camera whose error is larger than this is not used for a joint; by default `usual_limit_px`. When it
    raises InputError, nothing is written.
    """
    _check_settings(out, model, up_axis, fps, limit_px, distortion_factor, overwrite)
    rig = read_toml(calibration, distortion_factor=distortion_factor)
    clip = openpose_files.read(source, trial=trial)
    if len(rig.names) != len(clip.cameras):
        rule = f"has {len(rig.names)} cameras, but the recording {len(clip.cameras)}"
        raise InputError(Problem(str(calibration), "", rule, ", ".join(rig.names), ", ".join(clip.cameras)))
    model = find_model(clip, str(source)) if model == "auto" else _checked(clip, model, str(source))
    points, warnings = _detections(clip, MODELS[model], _POINTS[model])
    seen = points[..., 2] > 0
    kp2d = np.where(seen[..., None], points[..., :2], np.nan)
    rays = rig.undistort(kp2d)
    confidence = np.where(seen, points[..., 2], 0.0)
    limit_px = usual_limit_px(rig, rays, confidence) if limit_px is None else limit_px
    found = triangulate(rig, rays, confidence, limit_px=limit_px)
    recording = Recording(rig, kp2d, confidence, found.points, _axis(up_axis), fps)
    problems = plausibility_problems(recording)
    if problems:
        raise InputError(*(p._replace(file=str(source)) for p in problems))
    azimuth, elevation = labels(recording)
    angles = {"azimuth_deg": azimuth.astype(np.float32), "elevation_deg": elevation.astype(np.float32)}
    write(out, recording, {**angles, "reproj_px": found.error_px.astype(np.float32)})
    return _summary(out, clip, model, recording, found, azimuth, warnings)


def labels(recording: Recording) -> tuple[Array, Array]:
    """Azimuth [0, 360) and elevation in degrees of every camera in every frame, (F, C); NaN where trunk joints miss."""
    position = -np.einsum("cji,cj->ci", recording.rig.R, recording.rig.t)
    joints = torch.from_numpy(recording.joints3d).unsqueeze(1)
    cameras = torch.from_numpy(position).expand(len(joints), -1, -1)
    azimuth, elevation = view_angles(joints.expand(-1, cameras.shape[1], -1, -1), cameras, _up(recording))
    return azimuth.rad2deg().numpy(), elevation.rad2deg().numpy()


def _up(recording: Recording) -> torch.Tensor:
    return torch.from_numpy(recording.world_up)


def find_model(clip: Clip, source: str) -> str:
    """The OpenPose model that made the detections, from the number of points; two models with 25 differ in geometry.

    BODY_25 has the mid-hip between its hips and the neck between its shoulders; in BODY_25B these indices are other
    joints. Raises InputError for other numbers of points.
    """
    everybody = [person for camera in clip.frames for frame in camera for person in frame]
    counts = {len(person) for person in everybody}
    if not everybody:
        raise InputError(Problem(source, clip.name, "nobody was detected in any picture"))
    if counts == {25}:
        votes = [vote for person in everybody if (vote := _is_body_25(person)) is not None]
        return "body_25" if votes and np.mean(votes) > 0.5 else "body_25b"
    fitting = [name for name, points in _POINTS.items() if counts == {points}]
    if not fitting:
        rule = "every person must have 25 points (BODY_25B, BODY_25), 18 (COCO) or 17"
        raise InputError(Problem(source, clip.name, rule, ", ".join(map(str, sorted(counts)))))
    return fitting[0]


def _is_body_25(person: Person) -> bool | None:
    """Whether the geometry is that of BODY_25; None where not all of the points needed are detected."""
    triples = ((_MID_HIP, *_HIPS_25), (_NECK_25, *_SHOULDERS_25))
    if (person[[i for triple in triples for i in triple], 2] <= 0).any():
        return None
    middle, one, other = (person[list(points), :2] for points in zip(*triples, strict=True))
    size = np.linalg.norm(middle[1] - middle[0])
    return bool((np.linalg.norm(middle - (one + other) / 2, axis=-1) < 0.25 * size).all())


def _checked(clip: Clip, model: str, source: str) -> str:
    counts = {len(person) for camera in clip.frames for frame in camera for person in frame}
    if counts - {_POINTS[model]}:
        rule = f"{model} has {_POINTS[model]} points a person"
        raise InputError(Problem(source, clip.name, rule, ", ".join(map(str, sorted(counts)))))
    return model


def _detections(clip: Clip, order: tuple[int, ...], points: int) -> tuple[Array, list[str]]:
    """(F, C, 17, 3): x, y, confidence of the most confident person in each picture; zeros where there is no person."""
    frames, cameras = len(clip.frames[0]), len(clip.cameras)
    found = np.zeros((frames, cameras, NUM_JOINTS, 3))
    crowded = 0
    for camera, pictures in enumerate(clip.frames):
        for frame, people in enumerate(pictures):
            crowded += len(people) > 1
            if people:
                found[frame, camera] = max(people, key=lambda person: person[:, 2].sum())[list(order)]
    if not crowded:
        return found, []
    rule = f"{crowded} of {frames * cameras} pictures show several people: the most confident one was taken in each"
    return found, [rule]


def _summary(
    out: Path, clip: Clip, model: str, recording: Recording, found: Triangulated, azimuth: Array, warnings: list[str]
) -> Imported:
    seen = recording.confidence > 0
    turned = np.exp(1j * np.deg2rad(azimuth))
    mean = np.rad2deg(np.angle(np.nanmean(turned, axis=0))) % 360
    names = recording.rig.names
    error = float(np.nanmedian(found.error_px))
    if error > 10:
        warnings = [*warnings, f"detections and projections differ by {error:.0f} px: is the calibration exact?"]
    return Imported(
        out=str(out),
        recording=clip.name,
        model=model,
        frames=len(seen),
        cameras=names,
        detected={name: round(float(seen[:, i].mean()), 4) for i, name in enumerate(names)},
        triangulated=round(float(np.isfinite(found.points).all(-1).mean()), 4),
        error_px=round(error, 2),
        rejected=round(float((seen & ~found.used).sum() / seen.sum()), 4),
        azimuth_deg={name: round(float(mean[i]), 1) for i, name in enumerate(names)},
        warnings=tuple(warnings),
    )


def _axis(name: str) -> Array:
    axis = np.zeros(3)
    axis["xyz".index(name[1])] = 1.0 if name[0] == "+" else -1.0
    return axis


def _check_settings(
    out: Path, model: str, up_axis: str, fps: float, limit_px: float | None, distortion_factor: float, overwrite: bool
) -> None:
    problems = []
    if model not in ("auto", *MODELS):
        problems.append(Problem("--model", "", f"must be auto, {', '.join(MODELS)}", model))
    if up_axis not in UP_AXES:
        problems.append(Problem("--up", "", f"must be one of {', '.join(UP_AXES)}", up_axis))
    for option, value in (("--fps", fps), ("--limit-px", limit_px), ("--distortion-factor", distortion_factor)):
        if value is not None and not (math.isfinite(value) and value > 0):
            problems.append(Problem(option, "", "must be greater than 0", f"{value:g}"))
    if out.suffix.lower() != ".npz":
        problems.append(Problem("--out", "", "must be a name that ends in .npz", str(out)))
    elif out.is_dir() or not out.parent.is_dir():
        problems.append(Problem("--out", "", "is a folder" if out.is_dir() else "its folder does not exist", str(out)))
    elif out.exists() and not overwrite:
        problems.append(Problem("--out", "", "exists already; --overwrite replaces it", str(out)))
    if problems:
        raise InputError(*problems)
