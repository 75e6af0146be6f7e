"""`ablate data …`: bring motion capture in and look at it. Imports only typer until a command runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ablate.depth_refinement.sources.importing import Import
    from ablate.depth_refinement.sources.openpose import Imported

EXAMPLES = """\b
Examples:
  ablate data import bvh ~/cmu --out cmu.npz --subject-from prefix
  ablate data inspect cmu.npz --out cmu.png
  ablate data prepare walk.npz --out poses.npz"""
IMPORT_EXAMPLES = """\b
Examples:
  ablate data import bvh ~/cmu --out cmu.npz --subject-from prefix
  ablate data import openpose json.tar.gz --calibration C.toml --out walk.npz"""

app = typer.Typer(
    help="Bring motion capture in and look at it.", epilog=EXAMPLES, no_args_is_help=True, rich_markup_mode=None
)
import_app = typer.Typer(
    help="Convert recordings to the poses that studies read.",
    epilog=IMPORT_EXAMPLES,
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(import_app, name="import")

_Json = Annotated[bool, typer.Option("--json", help="Machine-readable answer on stdout.")]


@import_app.command(epilog="Example:  ablate data import bvh ~/cmu --out cmu.npz --subject-from prefix")
def bvh(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder with all below it, or one file.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE.npz", help="File to write.", show_default=False)],
    fps: Annotated[float, typer.Option("--fps", help="Poses kept per second; frames are picked, not blended.")] = 12.0,
    subject_from: Annotated[
        str,
        typer.Option(help="What is one person: file, folder, or prefix (file name up to the first underscore)."),
    ] = "file",
    metres_per_unit: Annotated[
        float | None, typer.Option("--metres-per-unit", help="Length of a file's unit. Default: from the stature.")
    ] = None,
    up: Annotated[
        str | None, typer.Option("--up", metavar="AXIS", help="+x, -x, +y, -y, +z or -z. Default: from the body.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE.npz.")] = False,
    as_json: _Json = False,
) -> None:
    """Convert BVH files of any usual skeleton to COCO-17 poses in metres, +Y up.

    Joint names, units and up axis are found out and checked; the table says what was found. If one file cannot be
    used, all problems are listed and nothing is written.

    Subjects are kept apart between training, validation and test, so name them well: two files of one person as two
    subjects would let the same person into both.
    """
    from ablate.depth_refinement.sources.importing import import_bvh

    done = import_bvh(
        folder,
        out,
        fps=fps,
        subject_from=subject_from,
        metres_per_unit=metres_per_unit,
        up_axis=up,
        overwrite=overwrite,
    )
    typer.echo(json.dumps(done.plain(), indent=2) if as_json else _import_table(done))


@import_app.command(
    epilog="Example:  ablate data import openpose json.tar.gz --calibration Calib.toml --trial Walk --out walk.npz"
)
def openpose(
    source: Annotated[
        Path, typer.Argument(metavar="FOLDER_OR_TAR", help="JSON files in a folder a camera.", show_default=False)
    ],
    calibration: Annotated[
        Path, typer.Option("--calibration", metavar="FILE.toml", help="Pose2Sim's, in metres.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE.npz", help="File to write.", show_default=False)],
    trial: Annotated[
        str, typer.Option("--trial", help="Part of the path of the recording, where there are several.")
    ] = "",
    model: Annotated[
        str, typer.Option("--model", help="auto, body_25b, body_25, coco_18 or coco_17: what was run.")
    ] = "auto",
    up: Annotated[
        str, typer.Option("--up", metavar="AXIS", help="Of the calibration: +x, -x, +y, -y, +z or -z.")
    ] = "+z",
    fps: Annotated[float, typer.Option("--fps", help="Frames a second; only noted.")] = 60.0,
    limit_px: Annotated[
        float | None,
        typer.Option("--limit-px", help="A camera further off leaves a joint. Default: 5 x the usual distance, >= 30."),
    ] = None,
    distortion_factor: Annotated[
        float, typer.Option(help="Times the calibration's distortions; 64 mends Pose2Sim's Qualisys converter.")
    ] = 1.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE.npz.")] = False,
    as_json: _Json = False,
) -> None:
    """Triangulate a calibrated recording with OpenPose detections, for `ablate evaluate`.

    One folder of JSON files a camera, side by side; folders and cameras of the calibration are paired in order of
    their names. Confidence-weighted; cameras that disagree are left out joint by joint. Nothing is unpacked.
    """
    from ablate.depth_refinement.sources.openpose import import_openpose

    done = import_openpose(
        source,
        out,
        calibration=calibration,
        trial=trial,
        model=model,
        up_axis=up,
        fps=fps,
        limit_px=limit_px,
        distortion_factor=distortion_factor,
        overwrite=overwrite,
    )
    typer.echo(json.dumps(done.plain(), indent=2) if as_json else _recording_table(done))


@app.command(epilog="Example:  ablate data inspect cmu.npz --out cmu.png")
def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE.npz", help="Poses to look at.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="PICTURE.png", help="Also draw sampled poses; else no picture.")
    ] = None,
    count: Annotated[int, typer.Option("--count", min=1, max=48, help="Poses in the picture.")] = 12,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Which poses are sampled.")] = 0,
    as_json: _Json = False,
) -> None:
    """Count poses per split, subject and clip; measure statures, torso lean and facing; with --out, draw poses."""
    from ablate.depth_refinement import inspection

    if out is not None:
        inspection.check_picture(out)
    inspected, poses = inspection.inspect(file)
    if out is not None:
        inspection.draw(poses, out, count=count, seed=seed)
        typer.echo(f"picture in {out}", err=True)
    typer.echo(json.dumps(inspected.plain(), indent=2) if as_json else inspection.text(inspected))


@app.command(epilog="Example:  ablate data prepare walk.npz --out poses.npz && ablate predict run1 poses.npz")
def prepare(
    file: Annotated[
        Path, typer.Argument(metavar="FILE.npz", help="A recording, or motion capture.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", metavar="POSES.npz", help="File to write.", show_default=False)],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace POSES.npz.")] = False,
) -> None:
    """Write the input of `ablate predict`: 2D, 3D and visibility of every picture.

    Of a recording that `data import openpose` wrote: its detections, and a 3D estimate with simulated errors. Of motion
    capture: one simulated view of each pose. An undetected joint gets visibility 0 and the place of the next joint
    towards the trunk. The true angles are stored beside them, for comparison.
    """
    from ablate.depth_refinement import preparing

    count = preparing.prepare(file, out, overwrite=overwrite)
    typer.echo(f"{count} poses in {out}", err=True)


def _import_table(done: Import) -> str:
    width = max(8, *(len(file.file) + 2 for file in done.files))
    lines = [f"{'file':<{width}}{'frames':>7}{'fps':>8}{'poses':>7}{'at fps':>8}{'stature':>10}  {'up':<4}unit"]
    lines += [
        f"{file.file:<{width}}{file.frames:>7}{file.native_fps:>8.1f}{file.poses:>7}{file.fps:>8.1f}"
        f"{file.stature_m:>8.2f} m  {file.up_axis:<4}{file.unit} ({file.metres_per_unit:.5g} m)"
        for file in done.files
    ]
    warnings = [f"warning: {file.file}: {warning}" for file in done.files for warning in file.warnings]
    shares = "no split: fewer than three subjects, all for testing"
    if done.split is not None:
        shares = ", ".join(f"{poses} {name}" for name, poses in done.split.items())
    lines += ["", *warnings, *([""] if warnings else [])]
    total = f"{done.out}: {done.poses:,} poses, {done.subjects} subjects, {done.clips} clips ({shares})"
    return "\n".join([*lines, total])


def _recording_table(done: Imported) -> str:
    width = max(8, *(len(name) + 2 for name in done.cameras))
    lines = [f"{'camera':<{width}}{'joints detected':>16}{'mean azimuth':>14}"]
    lines += [f"{n:<{width}}{done.detected[n]:>15.1%} {done.azimuth_deg[n]:>12.0f}°" for n in done.cameras]
    lines += ["", *(f"warning: {warning}" for warning in done.warnings)]
    lines += [f"{done.triangulated:.1%} of joints triangulated, {done.error_px:.1f} px from the detections (median)"]
    lines += [f"{done.rejected:.1%} of detections left out because they disagree"]
    return "\n".join([*lines, f"{done.out}: {done.frames} frames of {done.recording} ({done.model})"])
