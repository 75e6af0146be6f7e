"""A run by the built-in loop: build the components, train, evaluate, count the cost, write the artifacts to a folder.

Runs in a worker process. It must not know tracking or tuning: it returns a RunResult.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ablate.study import InputError, Metric, Problem, RunResult, RunSpec, TrainingSettings, components, digest
from ablate.study.catalogue import load_catalogue
from ablate.trainers import provenance
from ablate.trainers.builtin import controls, cost, evaluation, trees
from ablate.trainers.builtin.checkpoints import ResumeCheckpoint, inputs_shape, save_loadable_model
from ablate.trainers.builtin.loop import Signals, Trainer
from ablate.trainers.builtin.seeding import root_seed, seed_globals
from ablate.trainers.builtin.train_state import Progress
from ablate.trainers.context import Context
from ablate.trainers.contract import Batch, Data, Split
from ablate.trainers.errors import RunFailed
from ablate.trainers.progress_log import ProgressLog

PARAMETERS_RULE = (
    "has parameters, which would not be trained: keep them in the network, or freeze them with requires_grad_(False)"
)
PICTURES = 6  # evenly spaced test examples saved for the report's gallery, beside the median and the worst one


def train(spec: RunSpec, context: Context, folder: Path, progress_log: ProgressLog) -> RunResult:
    """Do the run; its checkpoint and artifacts are below `folder`. Raises Stopped, and whatever a component raises."""
    started = time.perf_counter()
    training = TrainingSettings(**spec.settings["training"])
    torch.set_num_threads(training.threads)
    device = torch.device(context.device)
    if training.precision == "float16" and device.type == "cpu":
        progress_log.log("float16 on a CPU: bfloat16 is used instead")
    progress_log.safe_point()
    code = provenance.code_digest(spec.settings, context.study_dir)
    data, model, loss = build(spec, context, device)
    catalogue = load_catalogue(context.catalogue, file="study")
    curve = [catalogue[name] for name in context.curve_metrics]
    checkpoint = _checkpoint(folder, code, device)
    trainer = make_trainer(
        spec, data, loss, curve, device, progress_log.log_epoch, checkpoint, progress_log, folder / "fit"
    )
    progress_log.safe_point()
    progress = trainer.run(model)
    progress_log.safe_point()
    scores, artifacts, unloadable = _evaluate(spec, context, model, data, catalogue, folder / "out", progress_log.log)
    progress_log.heartbeat()
    progress_log.save_log(artifacts)
    timings = {f"time/{name}_s": value for name, value in progress.seconds.items()}
    timings["time/total_s"] = time.perf_counter() - started
    counts = {
        "count/epochs": float(len(progress.history)),
        "count/examples": float(_examples_seen(trainer, progress)),
        "count/train_examples": float(data.train_size),
    }
    facts = {
        "data_digest": data.digest,
        "source_digest": code,
        **provenance.environment(context.device, training.threads),
        **_matched_setting(spec),
        **({"checkpoint": "; ".join(progress.notes)} if progress.notes else {}),
        **({provenance.UNLOADABLE: unloadable} if unloadable else {}),
    }
    return RunResult(spec.key, "FINISHED", scores | counts, progress.history, timings, facts, artifacts)


def _checkpoint(folder: Path, code: str, device: torch.device) -> ResumeCheckpoint:
    """The checkpoint of a run; other code, torch or processor type has another file and starts anew.

    A run that changed them half-way would end with weights that neither would give alone.
    """
    processor = torch.backends.cpu.get_cpu_capability() if device.type == "cpu" else device.type
    return ResumeCheckpoint(folder / f"checkpoint-{digest([code, str(torch.__version__), processor])[:16]}.pt")


def make_trainer(
    spec: RunSpec,
    data: Data,
    loss: Any,
    curve: Sequence[Metric],
    device: torch.device,
    on_epoch: Callable[[Mapping[str, float]], None],
    checkpoint: ResumeCheckpoint | None = None,
    signals: Signals | None = None,
    folder: Path | None = None,
) -> Trainer:
    """The Trainer of a run; after every epoch it scores `curve` on validation data, in the training's precision."""
    validation = data.examples("val")

    def validate(model: torch.nn.Module) -> dict[str, float]:
        with trainer.autocast():
            scores = evaluation.score_model(model, validation, curve)
        return {f"val/{name}": value for name, value in scores.items()}

    training = TrainingSettings(**spec.settings["training"])
    trainer = Trainer(data, loss, training, root_seed(spec), device, validate, on_epoch, checkpoint, signals, folder)
    return trainer


def _matched_setting(spec: RunSpec) -> dict[str, str]:
    """The value at which the parameter counts match, where a control asks for that."""
    match = spec.settings.get("control", {}).get("match_parameters")
    return {f"matched/{match['by']}": str(controls.matched_value(spec.settings))} if match else {}


def _examples_seen(trainer: Trainer, progress: Progress) -> int:
    return len(progress.history) * trainer.examples_per_epoch


def build(spec: RunSpec, context: Context, device: torch.device) -> tuple[Data, torch.nn.Module, Any]:
    """Data, model and loss of a run. The model is initialised from the run's seed and moved to the device."""
    components.importable([context.study_dir])
    control = spec.settings.get("control", {})
    seed_globals(root_seed(spec), "build")
    data = load_data(spec.settings["data"], context, device, control=control)
    section = controls.matched_model(spec.settings)
    seed_globals(root_seed(spec), "init")  # so that initial weights do not depend on what the data drew
    model = components.bind(section, place="settings.model", file=spec.study)()
    controls.freeze(model, control.get("freeze", []))
    loss = components.bind(spec.settings["loss"], place="settings.loss", file=spec.study)()
    if has_parameters(loss):
        raise RunFailed(f"the loss {PARAMETERS_RULE}")
    return data, model.to(device), loss.to(device) if isinstance(loss, torch.nn.Module) else loss


def has_parameters(loss: object) -> bool:
    """Whether it has parameters that a gradient would change."""
    return isinstance(loss, torch.nn.Module) and any(p.requires_grad for p in loss.parameters())


def load_data(
    section: Mapping[str, Any],
    context: Context,
    device: torch.device,
    *,
    to_train: bool = True,
    control: Mapping[str, Any] | None = None,
) -> Data:
    """The data component with `control` applied, its `file` setting (if any) replaced by the path of the file.

    Raises InputError when there are no training examples, unless the data is for evaluation only (`to_train=False`),
    and when the control names what the data does not have.
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
    return FirstExamples(data, context.limit) if context.limit else data


class FirstExamples:
    """The first examples of a Data, to try that a study runs at all."""

    def __init__(self, data: Data, limit: int) -> None:
        self.data, self.limit, self.digest = data, limit, data.digest
        self.train_size = min(data.train_size, limit)

    def sample(self, index: Tensor, *, generator: torch.Generator) -> Batch:
        return self.data.sample(index, generator=generator)

    def examples(self, split: Split) -> Batch:
        batch = self.data.examples(split)
        return evaluation.first_rows(batch, self.limit)


def _evaluate(
    spec: RunSpec,
    context: Context,
    model: torch.nn.Module,
    data: Data,
    catalogue: Mapping[str, Metric],
    out: Path,
    log: Callable[[str], None],
) -> tuple[dict[str, float], Path, str]:
    """Scores, the folder of artifacts, and why the network is not among these. Only a comparison uses test data."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    validation = data.examples("val")
    curve = [catalogue[name] for name in context.curve_metrics]
    scores = {f"val/{k}": v for k, v in evaluation.score_model(model, validation, curve).items()}
    scores |= cost.count(model, validation.inputs) | controls.trained_parameters(model)
    if spec.phase == "compare":
        test = data.examples("test")
        needed = {*context.curve_metrics, *context.named_metrics}
        scores |= _test(model, test, list(catalogue.values()), needed, curve[0], out, log)
        scores["count/test_examples"] = float(trees.row_count(test.inputs))
    unloadable = ""
    if spec.phase != "tune":  # last: it draws random numbers
        shape = inputs_shape(validation.inputs)
        unloadable = save_loadable_model(model, controls.matched_model(spec.settings), shape, out / "model")
    return scores, out, unloadable


def _test(
    model: torch.nn.Module,
    test: Batch,
    catalogue: Sequence[Metric],
    needed: Collection[str],
    primary: Metric,
    out: Path,
    log: Callable[[str], None],
) -> dict[str, float]:
    """The test scores; writes per-example scores, conditions and pictures to `out`.

    Where every metric adds up its score, the only outputs that are kept are those of the pictures.
    """
    if all(metric.accumulator for metric in catalogue):
        pictured = evaluation.evenly_spaced(trees.row_count(test.inputs), PICTURES)
        shown = evaluation.chosen(test, pictured)
        arrays = evaluation.example_arrays(shown, evaluation.predict(model, shown), primary, spread=PICTURES)
        arrays["index"] = pictured.numpy()
        scores = evaluation.score_model(model, test, catalogue, evaluation.leaving_out(needed, log))
        frame = evaluation.score_frame({}, {}, [])
    else:
        output = evaluation.predict(model, test)
        leave_out = evaluation.leaving_out(needed, log)
        values = evaluation.values_by_name(catalogue, output, test.targets, leave_out)
        frame = evaluation.score_frame(values, test.targets, catalogue)
        arrays = evaluation.example_arrays(test, output, primary, spread=PICTURES)
        scores = evaluation.reduced(values, catalogue)
    evaluation.save_frame(frame, out / "scores.parquet")
    evaluation.save_frame(evaluation.condition_frame(test.targets), out / "conditions.parquet")
    files: dict[str, Any] = arrays
    np.savez_compressed(out / "examples.npz", **files)
    return {f"test/{name}": value for name, value in scores.items()}
