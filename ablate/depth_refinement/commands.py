"""The subject's own commands: train one network, predict with it, look at data. Imports only typer until one runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ablate.depth_refinement import data_commands

app = typer.Typer(rich_markup_mode=None)
app.add_typer(data_commands.app, name="data")


@app.command(
    epilog="Example:  ablate train --data synthetic --epochs 5 --d-model 32 --num-layers 2 --elepose --out run1"
)
def train(
    out: Annotated[Path, typer.Option("--out", help="New folder for the trained network.", show_default=False)],
    data: Annotated[str, typer.Option("--data", help="synthetic, or a motion capture file (.npz).")] = "synthetic",
    epochs: Annotated[int, typer.Option(min=1)] = 50,
    batch_size: Annotated[int, typer.Option(min=1)] = 384,
    learning_rate: Annotated[float, typer.Option(min=0.0)] = 1e-3,
    fp16: Annotated[bool, typer.Option("--fp16", help="float16 on a GPU; a CPU uses bfloat16 instead.")] = False,
    d_model: Annotated[int, typer.Option(min=1, help="Width of the transformer.")] = 128,
    num_layers: Annotated[int, typer.Option(min=1)] = 6,
    num_heads: Annotated[int, typer.Option(min=1)] = 8,
    elepose: Annotated[bool, typer.Option("--elepose", help="Hybrid fusion: ElePose + existing features.")] = False,
    elepose_hidden_dim: Annotated[int, typer.Option(min=1, help="Width of the ElePose backbone.")] = 1024,
    angle_noise_std: Annotated[float, typer.Option(min=0.0, help="Degrees on the depth head's azimuth.")] = 0.0,
    angle_noise_warmup: Annotated[int, typer.Option(min=0, help="Epochs before that noise starts.")] = 0,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1)] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="Default: every core.")] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    data_root: Annotated[Path | None, typer.Option("--data-root", envvar="ABLATE_DATA")] = None,
    scores: Annotated[
        Path | None,
        typer.Option("--scores", help="JSON file for validation and test scores.", show_default=False),
    ] = None,
) -> None:
    """Train one network and write its weights, settings and validation scores to --out.

    Interrupted, the same command continues from the last checkpoint; finished, it prints the scores again. Test data is
    looked at for --scores alone.
    """
    from ablate.depth_refinement import single

    section = {
        "factory": "ablate.depth_refinement.model:create_model",
        "d_model": d_model,
        "num_layers": num_layers,
        "num_heads": num_heads,
        "use_elepose": elepose,
        "elepose_hidden_dim": elepose_hidden_dim,
        "angle_noise_std": angle_noise_std,
        "angle_noise_warmup": angle_noise_warmup,
    }
    training = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "precision": "float16" if fp16 else "bfloat16",
    }
    printed = single.train(section, training, data, out, seed, threads, device, data_root, scores)
    typer.echo(json.dumps(printed, indent=2))
    typer.echo(f"trained network in {out / 'model'}", err=True)


@app.command(epilog="Example:  ablate predict run1 poses.npz --out angles.csv")
def predict(
    checkpoint: Annotated[Path, typer.Argument(help="Folder written by `ablate train`.", show_default=False)],
    poses: Annotated[
        Path,
        typer.Argument(metavar="INPUT", help="npz: pose_2d (n, 17, 2), pose_3d (n, 17, 3), visibility (n, 17)."),
    ],
    out: Annotated[Path | None, typer.Option("--out", help="A .csv or .json file. Default: CSV on stdout.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Camera azimuth, elevation and refined 3D for every pose of a file.

    COCO-17 joints, the subject's left on the left. 2D in any scale (it is centred on the pelvis and scaled here), y
    down; 3D in metres in camera axes (x right, y down, z forward). Both in a view turned towards the pelvis.
    """
    from ablate.depth_refinement import prediction

    if out is not None:
        prediction.check_out(out)
    table = prediction.predict_file(checkpoint, poses)
    if out is None:
        typer.echo(prediction.render(table, ".json" if as_json else ".csv"), nl=False)
    else:
        prediction.write(table, out)
        typer.echo(f"{len(table)} poses in {out}", err=True)
