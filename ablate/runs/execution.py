"""One run, start to end: build the components, train, evaluate, count the cost, leave the artifacts in a folder.

Runs in a worker process. Knows nothing of tracking or tuning: what it did comes back as a RunResult.
"""

from __future__ import annotations

import json
import shutil
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ablate.design import components
from ablate.runs import controls, cost, evaluation, provenance
from ablate.runs.checkpoints import ResumeCheckpoint, save_model
from ablate.runs.contract import Batch, Data, Split
from ablate.runs.seeding import derive, stream
from ablate.runs.training import NonFiniteLoss, Progress, Trainer
from ablate.study import InputError, Metric, Problem, RunResult, RunSpec, TrainingSettings

Listen = Callable[[Mapping[str, float]], None]

PICTURES = 6  # test examples kept per run for the report's gallery, beside the median and the worst one


@dataclass(frozen=True)
class Context:
    """What belongs to the machine or to the reading of results, never to a run's key."""

    catalogue: str
    curve_metrics: tuple[str, ...]  # scored on validation after every epoch; the first is the study's primary
    study_dir: Path
    work: Path  # checkpoints and fresh artifacts
    logs: Path
    device: str = "cpu"
    data_root: Path | None = None
    limit: int | None = None  # a smoke pass: at most this many examples of every split

    def folder(self, spec: RunSpec) -> Path:
        return self.work / f"{spec.phase}-{spec.name}-{spec.key}"

    def log_file(self, spec: RunSpec) -> Path:
        return self.logs / f"{spec.name}.log"


class Journal:
    """The run's log for people and its progress file for the driver, one line an epoch each."""

    def __init__(self, log: Path, progress: Path, listen: Listen | None) -> None:
        self.log, self.progress, self.listen = log, progress, listen
        for path in (log, progress):
            path.parent.mkdir(parents=True, exist_ok=True)
        progress.write_text("", encoding="utf-8")

    def say(self, text: str) -> None:
        with self.log.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")

    def epoch(self, entry: Mapping[str, float]) -> None:
        with self.progress.open("a", encoding="utf-8") as file:
            file.write(json.dumps(dict(entry)) + "\n")
        if self.listen:
            self.listen(entry)
        self.say("  ".join(f"{name} {value:.4g}" for name, value in entry.items()))


def execute(spec: RunSpec, context: Context, listen: Listen | None = None) -> RunResult:
    """Do the run. Its failure is a result (FAILED, with the reason); the traceback goes to the run's log file.

    `listen` hears every epoch's entry, for callers in the same process; others read `progress.jsonl`.
    """
    folder = context.folder(spec)
    journal = Journal(context.log_file(spec), folder / "progress.jsonl", listen)
    journal.say(f"{spec.study} {spec.name} key {spec.key} settings {json.dumps(dict(spec.settings))}")
    try:
        result = _execute(spec, context, folder, journal)
    except NonFiniteLoss as error:
        journal.say(str(error))
        result = RunResult(spec.key, "FAILED", error=str(error))
    except (Exception, SystemExit) as error:  # SystemExit in a component would end the driver
        journal.say(traceback.format_exc())
        result = RunResult(spec.key, "FAILED", error=f"{type(error).__name__}: {error}")
    journal.say(result.status)
    return result


def _execute(spec: RunSpec, context: Context, folder: Path, journal: Journal) -> RunResult:
    started = time.perf_counter()
    training = TrainingSettings(**spec.settings["training"])
    torch.set_num_threads(training.threads)
    device = torch.device(context.device)
    if training.precision == "float16" and device.type == "cpu":
        journal.say("float16 on a CPU: bfloat16 is used instead")
    data, model, loss = build(spec, context, device)
    catalogue = load_catalogue(context.catalogue)
    curve = [catalogue[name] for name in context.curve_metrics]
    code = _code_digest(spec)
    checkpoint = ResumeCheckpoint(folder / f"checkpoint-{code}.pt")  # other code starts anew
    trainer = trainer_of(spec, data, loss, curve, device, journal.epoch, checkpoint)
    progress = trainer.run(model)
    if progress.resumed:
        journal.say(f"continued from a checkpoint after epoch {progress.resumed}")
    scores, artifacts = _conclude(spec, context, model, data, catalogue, folder / "out")
    shutil.copy(context.log_file(spec), artifacts / "run.log")
    checkpoint.delete()
    timings = {f"time/{name}_s": value for name, value in progress.seconds.items()}
    timings["time/total_s"] = time.perf_counter() - started
    counts = {
        "count/epochs": float(len(progress.history)),
        "count/examples": float(_seen(trainer, progress)),
        "count/train_examples": float(data.train_size),
    }
    origin = {
        "data_digest": data.digest,
        "source_digest": code,
        **provenance.environment(context.device, training.threads),
        **_found(spec),
    }
    return RunResult(spec.key, "FINISHED", scores | counts, progress.history, timings, origin, artifacts)


def trainer_of(
    spec: RunSpec,
    data: Data,
    loss: Any,
    curve: Sequence[Metric],
    device: torch.device,
    on_epoch: Callable[[Mapping[str, float]], None],
    checkpoint: ResumeCheckpoint | None = None,
) -> Trainer:
    """The training loop of a run; after every epoch it scores `curve` on validation, in the training's precision."""
    validation = data.examples("val")

    def validate(model: torch.nn.Module) -> dict[str, float]:
        with trainer.autocast():
            output = evaluation.predict(model, validation)
        return {f"val/{k}": v for k, v in evaluation.score(output, validation.targets, curve).items()}

    training = TrainingSettings(**spec.settings["training"])
    trainer = Trainer(data, loss, training, stream(spec), device, validate, on_epoch, checkpoint)
    return trainer


def _found(spec: RunSpec) -> dict[str, str]:
    """What a control looked for: the width at which the parameters match."""
    match = spec.settings.get("control", {}).get("match_parameters")
    return {f"matched/{match['by']}": str(controls.width(spec.settings))} if match else {}


def _seen(trainer: Trainer, progress: Progress) -> int:
    return len(progress.history) * trainer.steps_per_epoch * min(trainer.settings.batch_size, trainer.data.train_size)


def build(spec: RunSpec, context: Context, device: torch.device) -> tuple[Data, torch.nn.Module, Any]:
    """Data, model and loss of a run, the model initialised from the run's seed and on the device."""
    components.importable([context.study_dir])
    control = spec.settings.get("control", {})
    data = load_data(spec.settings["data"], context, device, control=control)
    section = controls.matched(spec.settings)
    torch.manual_seed(derive(stream(spec), "init"))
    model = components.bind(section, place="settings.model", file=spec.study)()
    controls.freeze(model, control.get("freeze", []))
    loss = components.bind(spec.settings["loss"], place="settings.loss", file=spec.study)()
    return data, model.to(device), loss


def load_data(
    section: Mapping[str, Any],
    context: Context,
    device: torch.device,
    *,
    to_train: bool = True,
    control: Mapping[str, Any] | None = None,
) -> Data:
    """The data component as `control` shows it, its `file` setting (if any) replaced by the path where it was found.

    Raises InputError when there is nothing to train on, unless it is for evaluation only (`to_train=False`), and when
    the control names what the data does not have.
    """
    section = dict(section)
    if "file" in section:
        section["file"] = components.find_data_file(
            section["file"], data_root=context.data_root, study_dir=context.study_dir
        )
    factory = components.bind(section, place="settings.data", file=str(context.study_dir), also=("device",))
    data: Data = factory(device=device)
    if to_train and data.train_size < 1:
        name = str(section.get("file", section["factory"]))
        raise InputError(Problem(name, "", "has no training examples", "every subject is held out"))
    data = controls.controlled(data, control or {})
    return Few(data, context.limit) if context.limit else data


class Few:
    """The first examples of a Data: enough to see every line of code run."""

    def __init__(self, data: Data, limit: int) -> None:
        self.data, self.limit, self.digest = data, limit, data.digest
        self.train_size = min(data.train_size, limit)

    def sample(self, index: Tensor, *, generator: torch.Generator) -> Batch:
        return self.data.sample(index, generator=generator)

    def examples(self, split: Split) -> Batch:
        batch = self.data.examples(split)
        targets = {name: value[: self.limit] for name, value in batch.targets.items()}
        return Batch(batch.inputs[: self.limit], targets)


def load_catalogue(path: str) -> Mapping[str, Metric]:
    """The metrics at "module:attribute", by name. Raises InputError when they cannot be imported."""
    catalogue: Mapping[str, Metric] = components.load_component(path, file="study", place="catalogue")
    return catalogue


def _conclude(
    spec: RunSpec,
    context: Context,
    model: torch.nn.Module,
    data: Data,
    catalogue: Mapping[str, Metric],
    out: Path,
) -> tuple[dict[str, float], Path]:
    """Final-epoch scores, costs and artifacts. Only a comparison looks at test data."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    validation = data.examples("val")
    output = evaluation.predict(model, validation)
    curve = [catalogue[name] for name in context.curve_metrics]
    scores = {f"val/{k}": v for k, v in evaluation.score(output, validation.targets, curve).items()}
    scores |= cost.count(model, validation.inputs) | controls.trained_parameters(model)
    if spec.phase != "tune":
        save_model(model, controls.matched(spec.settings), list(validation.inputs.shape[1:]), out / "model")
    if spec.phase == "compare":
        test = data.examples("test")
        scores |= _evaluate(model, test, list(catalogue.values()), curve[0], out)
        scores["count/test_examples"] = float(len(test.inputs))
    return scores, out


def _evaluate(
    model: torch.nn.Module, test: Batch, metrics: list[Metric], primary: Metric, out: Path
) -> dict[str, float]:
    output = evaluation.predict(model, test)
    evaluation.save_frame(evaluation.score_frame(output, test.targets, metrics), out / "scores.parquet")
    evaluation.save_frame(evaluation.condition_frame(test.targets), out / "conditions.parquet")
    arrays: dict[str, Any] = evaluation.example_arrays(test, output, primary, spread=PICTURES)
    np.savez_compressed(out / "examples.npz", **arrays)
    return {f"test/{k}": v for k, v in evaluation.score(output, test.targets, metrics).items()}


def _code_digest(spec: RunSpec) -> str:
    return provenance.source_digest(spec.settings[section]["factory"] for section in ("model", "data", "loss"))
