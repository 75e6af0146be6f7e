"""Train one network outside any study, executed like a run of a study, into a folder that the user names."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import typer
from pydantic import ValidationError

from ablate import (
    Context,
    InputError,
    Problem,
    ProgressView,
    RunSpec,
    TrainingSettings,
    Unavailable,
    bind,
    check_file,
    check_folder,
    data_digest,
    execute,
    load_data,
    resolve_device,
    usable_cores,
    write_whole,
)

SCORES, RUN = "scores.json", "run.json"  # files of a finished folder; the last says which run it is
CURVES = ("azimuth_mae_deg", "elevation_mae_deg", "direction_mae_deg")


def train(
    model: Mapping[str, Any],
    training: Mapping[str, Any],
    data: str,
    out: Path,
    seed: int,
    threads: int | None,
    device: str,
    data_root: Path | None,
    scores: Path | None = None,
) -> dict[str, float]:
    """Train `model` (a `[settings.model]` section) on `data` ("synthetic" or a file) and fill the folder `out`.

    Returns the validation scores. The test split is scored where a file for its scores is named: `scores` then holds
    one JSON object, of validation and test scores as a study's run has them, without those that are not defined.
    A folder that the same run has filled already is left as it is. Raises InputError for wrong settings, data, a
    `scores` that cannot be written or an `out` that holds other work.
    """
    _check_finite({**model, **training})
    settings = {
        "model": dict(model),
        "data": _data_section(data),
        "loss": {"factory": "ablate.depth_refinement.losses:pose_loss"},
        "training": _training(training, threads),
    }
    folder = _study_dir(data)
    digest = data_digest(settings, data_root, folder)
    arm = "hybrid" if model["use_elepose"] else "existing"
    spec = RunSpec("train", arm, seed, "compare" if scores else "train", settings, digest)
    work, device = out / "work", resolve_device(device)
    context = Context("ablate.depth_refinement.metrics:METRICS", CURVES, folder, work, out, device, data_root)
    done = _finished(out, spec)
    if done is None:
        _check_out(out, context.folder(spec))
    if scores:
        check_file("--scores", scores)
    if done is not None:
        typer.echo(f"{out} holds this run already; nothing is trained again", err=True)
        shutil.rmtree(work, ignore_errors=True)  # exists if a kill came while it was deleted
        return _told(done, scores)
    if settings["training"]["precision"] == "float16" and device == "cpu":
        typer.echo("--fp16 on a CPU: bfloat16 is used instead", err=True)
    _buildable(settings["model"])
    if "file" in settings["data"]:
        load_data(settings["data"], context, torch.device("cpu"))  # reports problems before any folder is made
    _make(out)
    with ProgressView(1) as view:
        view.started(spec)
        try:
            result = execute(spec, context, on_epoch=lambda entry: view.epoch(spec, entry))
        except KeyboardInterrupt:
            view.note("interrupted; the same command continues where this one stopped")
            raise
        except Unavailable as error:
            view.note(f"{error}; the same command continues once that is cured")
            raise typer.Exit(1) from None
        view.ended(spec, result)
    if result.status != "FINISHED" or result.artifacts is None:
        raise typer.Exit(1)
    _keep(result.artifacts, out, spec, dict(result.scores))
    return _told(result.scores, scores)


def _finished(out: Path, spec: RunSpec) -> dict[str, float] | None:
    """The scores of a folder that this run has filled, test scores among them where it asks for these; else None."""
    try:
        key = json.loads((out / RUN).read_text(encoding="utf-8"))["key"]
        scores: dict[str, float] = json.loads((out / SCORES).read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    tested = any(name.startswith("test/") for name in scores)
    return scores if key == spec.key and (tested or spec.phase == "train") else None


def _told(scores: Mapping[str, float], file: Path | None) -> dict[str, float]:
    """What is printed of the scores; validation and test scores go into the file, if there is one."""
    if file:
        _write_scores(file, scores)
    return {name: value for name, value in scores.items() if name.startswith(("val/", "cost/"))}


def _buildable(model: Mapping[str, Any]) -> None:
    try:
        bind(model, place="model", file="ablate train")()
    except (TypeError, ValueError, RuntimeError, MemoryError) as error:  # the last two: too large for the memory
        reason = " ".join(str(error).split())[:200]
        raise InputError(Problem("ablate train", "", "these sizes make no network", reason)) from None


def _check_finite(settings: Mapping[str, Any]) -> None:
    wrong = [name for name, value in settings.items() if isinstance(value, float) and not math.isfinite(value)]
    if wrong:
        options = [(f"--{name.replace('_', '-')}", settings[name]) for name in wrong]
        raise InputError(*(Problem(option, "", "must be a finite number", str(value)) for option, value in options))


def _data_section(data: str) -> dict[str, Any]:
    if data == "synthetic":
        return {"factory": "ablate.depth_refinement.data:synthetic"}
    return {"factory": "ablate.depth_refinement.data:mocap", "file": Path(data).name if Path(data).is_file() else data}


def _study_dir(data: str) -> Path:
    return Path(data).resolve().parent if Path(data).is_file() else Path.cwd()


def _training(training: Mapping[str, Any], threads: int | None) -> dict[str, Any]:
    try:
        return TrainingSettings(**training, threads=threads or usable_cores()).model_dump()
    except ValidationError as error:
        raise InputError(
            *(Problem("ablate train", str(e["loc"][-1]), e["msg"], str(e["input"])) for e in error.errors())
        ) from None


def _check_out(out: Path, unfinished: Path) -> None:
    """`out` must be new, empty, or hold the same run unfinished."""
    if out.exists() and not out.is_dir():
        raise InputError(Problem("--out", "", "must be a folder", str(out)))
    if out.exists() and any(out.iterdir()) and not unfinished.is_dir():
        raise InputError(Problem("--out", "", "holds other work already; name a new folder", str(out)))
    check_folder("--out", out)


def _write_scores(file: Path, scores: Mapping[str, float]) -> None:
    splits = {name: value for name, value in scores.items() if name.startswith(("val/", "test/"))}
    defined = {name: value for name, value in splits.items() if math.isfinite(value)}
    write_whole(file, [json.dumps(defined, indent=2).encode() + b"\n"])


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(Problem("--out", "", "cannot be written", str(out), error.strerror or "")) from None


def _keep(artifacts: Path, out: Path, spec: RunSpec, scores: dict[str, float]) -> None:
    shutil.rmtree(out / "model", ignore_errors=True)  # exists if a kill came before RUN was written
    shutil.move(artifacts / "model", out / "model")
    write_whole(out / SCORES, [json.dumps(scores, indent=2).encode() + b"\n"])
    write_whole(out / RUN, [json.dumps({"key": spec.key}).encode() + b"\n"])
    shutil.rmtree(out / "work")
