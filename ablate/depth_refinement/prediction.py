"""Camera angles and refined 3D for a file of poses, from a trained network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ablate import (
    InputError,
    Problem,
    check_file,
    check_size,
    load_model,
    open_npz,
    predict,
    read_settings,
    shown,
    write_whole,
)
from ablate.depth_refinement.simulation import assemble
from ablate.depth_refinement.skeleton import JOINTS, NUM_JOINTS

SHAPES = {"pose_2d": (NUM_JOINTS, 2), "pose_3d": (NUM_JOINTS, 3), "visibility": (NUM_JOINTS,)}
MAX_BYTES = 1_000_000_000  # limit for all unpacked arrays: about a million poses
MAX_LAYERS, MAX_WIDTH = 1000, 100_000  # a hundred times the largest network of this subject
FACTORIES = (
    "ablate.depth_refinement.model:create_model",
    "ablate.depth_refinement.references:constant",
    "ablate.depth_refinement.references:torso_frame",
    "ablate.depth_refinement.references:ridge",
)


def predict_file(checkpoint: Path, poses: Path) -> pd.DataFrame:
    """A row for each pose: azimuth_deg, elevation_deg and `<joint>_x|y|z_m` (refined 3D, camera axes, pelvis-centred).

    Raises InputError for a folder without a network of this subject, or a file without valid poses.
    """
    folder = checkpoint / "model" if (checkpoint / "model").is_dir() else checkpoint
    _check_factory(folder)
    inputs = assemble(*read_poses(poses))
    output = predict(_load(folder), inputs)
    sin, cos, elevation = output["angles"].unbind(-1)
    angles = {"azimuth_deg": torch.atan2(sin, cos).rad2deg() % 360, "elevation_deg": elevation.rad2deg()}
    names = [f"{joint}_{axis}_m" for joint in JOINTS for axis in "xyz"]
    frame = pd.DataFrame({name: value.numpy() for name, value in angles.items()})
    table = frame.join(pd.DataFrame(output["pose_3d"].flatten(1).numpy(), columns=names))
    bad = ~np.isfinite(table.to_numpy()).all(axis=1)
    if bad.any():
        rule = "must give finite predictions: 3D in metres, 2D in pixels or smaller"
        raise InputError(Problem(str(poses), "", rule, f"not so for pose {int(bad.argmax())}"))
    return table


def _check_factory(folder: Path) -> None:
    """Raises InputError for a factory that is not in FACTORIES or a network that is too large.

    A file of unknown origin must not decide what is imported and called, or take hours to build.
    """
    document = read_settings(folder)
    factory = document["factory"]
    if factory not in FACTORIES:
        known = f"one of {', '.join(FACTORIES)}"
        raise InputError(Problem(str(folder), "factory", "unknown network", shown(factory), known))
    for name, value in document["settings"].items():
        if isinstance(value, int) and abs(value) > (MAX_LAYERS if name == "num_layers" else MAX_WIDTH):
            raise InputError(
                Problem(str(folder / "model.json"), f"settings.{name[:60]}", "is out of reach", shown(value))
            )


def _load(folder: Path) -> torch.nn.Module:
    try:
        check_size(folder)
        return load_model(folder)
    except InputError:
        raise
    except Exception as error:  # settings of a wrong type, or of a size that no memory holds
        reason = " ".join(str(error).split())[:200]
        raise InputError(Problem(str(folder / "model.json"), "settings", "make no network", reason)) from None


def read_poses(path: Path) -> tuple[Tensor, Tensor, Tensor]:
    """pose_2d, pose_3d and visibility of an npz file. Raises InputError with everything that is wrong with it."""
    problems, arrays = [], {}
    with open_npz(path, most_bytes=MAX_BYTES) as archive:
        for name in (n for n in SHAPES if n in archive.names):
            try:
                arrays[name] = archive.read(name)
            except ValueError as error:
                rule = f"cannot be read as a plain array: {str(error)[:200]}"
                problems.append(Problem(str(path), name, rule))
    if problems:
        raise InputError(*problems)
    for name, shape in SHAPES.items():
        problem = _problem(arrays.get(name), shape)
        if problem:
            problems.append(Problem(str(path), name, *problem))
    if not problems and len({len(a) for a in arrays.values()}) > 1:
        counts = ", ".join(f"{name} {len(array)}" for name, array in arrays.items())
        problems.append(Problem(str(path), "", "arrays must have the same number of poses", counts))
    if problems:
        raise InputError(*problems)
    pose_2d, pose_3d, visibility = (torch.as_tensor(arrays[name], dtype=torch.float32) for name in SHAPES)
    return pose_2d, pose_3d, visibility


UNDETECTED = (
    "give a joint that was not detected the visibility 0 and, in pose_2d and pose_3d, the place of the next joint "
    "towards the trunk; ablate data prepare does so with a recording"
)


def _problem(array: np.ndarray | None, shape: tuple[int, ...]) -> tuple[str, ...] | None:
    wanted = f"must have the shape ({', '.join(['n', *map(str, shape)])}), n at least 1"
    if array is None:
        return wanted, "missing"
    if array.shape[1:] != shape or len(array) == 0:
        return wanted, str(array.shape)
    if array.dtype.kind not in "fiu":
        return "must hold numbers", str(array.dtype)
    if not np.isfinite(array).all():
        first = tuple(map(int, np.argwhere(~np.isfinite(array))[0]))
        return "must be finite", f"first bad value at {first}", UNDETECTED
    return None


def render(table: pd.DataFrame, suffix: str) -> str:
    """The table as CSV or JSON text."""
    if suffix == ".json":
        text: str = table.to_json(orient="records", indent=1)
        return text + "\n"
    return table.to_csv(index_label="pose", lineterminator="\n")


def check_out(out: Path) -> None:
    """Raises InputError for another suffix than .csv or .json, or where no file can be written."""
    if out.suffix not in (".csv", ".json"):
        raise InputError(Problem("--out", "", "must end in .csv or .json", str(out)))
    check_file("--out", out)


def write(table: pd.DataFrame, out: Path) -> None:
    """Write `out` completely or not at all. Raises InputError for another suffix or a folder without write access."""
    check_out(out)
    try:
        write_whole(out, [render(table, out.suffix).encode()])
    except OSError as error:
        raise InputError(Problem("--out", "", "cannot be written", str(error))) from None
