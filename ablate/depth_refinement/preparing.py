"""`ablate data prepare`: the input of `ablate predict` from a recording or from motion capture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ablate import InputError, Problem
from ablate.depth_refinement import data
from ablate.depth_refinement.recording import recording
from ablate.depth_refinement.simulation import INPUTS
from ablate.depth_refinement.sources.npz_writer import write_npz
from ablate.depth_refinement.sources.recording import is_recording


def prepare(file: Path, out: Path, *, overwrite: bool = False) -> int:
    """Write pose_2d (n, 17, 2), pose_3d (n, 17, 3) and visibility (n, 17) of every picture; returns n.

    Of a recording: its detections, with a simulated 3D estimate, as in an external test. Of motion capture: one
    simulated view of each pose. Beside them the true azimuth_deg and elevation_deg (n,), which `predict` does not read,
    and clip (n,), the number of the camera or of the clip. Raises InputError for a file of neither kind, and where
    `out` cannot be written.
    """
    if out.suffix != ".npz":
        raise InputError(Problem("--out", "", "must end in .npz", str(out)))
    if out.is_dir() or not out.parent.is_dir():
        rule = "is a folder" if out.is_dir() else "its folder does not exist"
        raise InputError(Problem("--out", "", rule, str(out)))
    if out.exists() and not overwrite:
        raise InputError(Problem("--out", "", "exists already", str(out), "--overwrite replaces it"))
    source = recording(file=file, device="cpu") if is_recording(file) else data.mocap(file=file, device="cpu")
    batch = source.examples("test" if is_recording(file) else "all")
    inputs = batch.inputs.numpy()
    arrays = {name: inputs[..., first:last] for name, (first, last) in INPUTS.items()}
    arrays["visibility"] = arrays["visibility"][..., 0]
    arrays |= {name: batch.targets[name].numpy() for name in ("azimuth_deg", "elevation_deg", "clip")}
    try:
        write_npz(out, {name: np.ascontiguousarray(array) for name, array in arrays.items()})
    except OSError as error:
        raise InputError(Problem("--out", "", "cannot be written", error.strerror or str(error))) from None
    return len(inputs)
