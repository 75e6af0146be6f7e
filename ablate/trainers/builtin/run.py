"""One run, start to end: build the components, train, evaluate, count the cost, leave the artifacts in a folder.

Runs in a worker process. Knows nothing of tracking or tuning: what it did comes back as a RunResult.
"""

from __future__ import annotations

import json
import multiprocessing
import shutil
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ablate.study import InputError, Metric, Problem, Record, RunResult, RunSpec, TrainingSettings, components, digest
from ablate.trainers import print_capture, provenance
from ablate.trainers.builtin import controls, cost, evaluation
from ablate.trainers.builtin.checkpoints import UNLOADABLE, ResumeCheckpoint, keep_model
from ablate.trainers.builtin.loop import NonFiniteLoss, Signals, Trainer
from ablate.trainers.builtin.seeding import seed_globals, stream
from ablate.trainers.builtin.train_state import Progress
from ablate.trainers.contract import Batch, Data, Split
from ablate.trainers.errors import Stopped, unavailable
from ablate.trainers.progress_log import LOG, Listen, ProgressLog

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
    stop: Path | None = None  # the file that stops one run alone, in place of the study's

    def folder(self, run: RunSpec | Record) -> Path:
        return self.work / f"{run.phase}-{run.name}-{run.key}"

    @property
    def stop_file(self) -> Path:
        """While it exists, runs stop at their next safe point."""
        return self.stop or self.work / "stop"

    def log_file(self, spec: RunSpec) -> Path:
        return self.logs / f"{spec.name}.log"


def execute(spec: RunSpec, context: Context, listen: Listen | None = None) -> RunResult:
    """Do the run. Its failure is a result: FAILED, with the reason, and the log with the traceback as its artifact.

    `listen` hears every epoch's entry, for callers in the same process; others read `progress.jsonl`. Raises Stopped
    when `context.stop_file` appears, and Unavailable when the run's folders cannot be written; the same run can be
    done again after either and goes on from its last checkpoint.
    """
    try:
        return _attempt(spec, context, listen)
    except Exception as error:
        halt = unavailable(error, (context.work, context.logs))
        if halt is None:
            raise
        raise halt from error


def _attempt(spec: RunSpec, context: Context, listen: Listen | None) -> RunResult:
    folder, log = context.folder(spec), context.log_file(spec)
    journal = ProgressLog(log, folder, context.stop_file, listen)
    journal.say(f"{spec.study} {spec.name} key {spec.key} settings {json.dumps(dict(spec.settings))}")
    with _printing_to(log):
        try:
            result = _execute(spec, context, folder, journal)
        except Stopped:
            journal.say("stopped; the same run again goes on from here")
            raise
        except BaseException as error:  # a component may raise anything: asyncio.CancelledError, SystemExit, its own
            if _by_ctrl_c(error) or unavailable(error, (context.work, context.logs)):
                raise
            journal.say(traceback.format_exc())
            return _failed(spec, error, log, folder / "out")
        journal.say(result.status)
        return result


@contextmanager
def _printing_to(log: Path) -> Iterator[None]:
    """What components print goes to the log, in a process that is there for runs alone."""
    if multiprocessing.parent_process() is None:
        yield
        return
    with print_capture.to_file(log):
        yield


def _by_ctrl_c(error: BaseException) -> bool:
    """Whether the person asks to stop: Python's own handler raises that in the main thread. Cells have another one."""
    handled = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    main = threading.current_thread() is threading.main_thread()
    return isinstance(error, KeyboardInterrupt) and handled and main


def _failed(spec: RunSpec, error: BaseException, log: Path, out: Path) -> RunResult:
    reason = str(error) if isinstance(error, NonFiniteLoss) else f"{type(error).__name__}: {error}"
    _fresh(out)
    print_capture.flush()
    shutil.copy(log, out / LOG)
    return RunResult(spec.key, "FAILED", error=reason, artifacts=out)


def _fresh(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _execute(spec: RunSpec, context: Context, folder: Path, journal: ProgressLog) -> RunResult:
    started = time.perf_counter()
    training = TrainingSettings(**spec.settings["training"])
    torch.set_num_threads(training.threads)
    device = torch.device(context.device)
    if training.precision == "float16" and device.type == "cpu":
        journal.say("float16 on a CPU: bfloat16 is used instead")
    _safe_point(journal)
    code = _code_digest(spec, context)
    data, model, loss = build(spec, context, device)
    catalogue = load_catalogue(context.catalogue)
    curve = [catalogue[name] for name in context.curve_metrics]
    checkpoint = _checkpoint(folder, code, device)
    trainer = trainer_of(spec, data, loss, curve, device, journal.epoch, checkpoint, journal)
    _safe_point(journal)
    progress = trainer.run(model)
    _safe_point(journal)
    scores, artifacts, unloadable = _conclude(spec, context, model, data, catalogue, folder / "out")
    journal.beat()
    print_capture.flush()
    shutil.copy(context.log_file(spec), artifacts / LOG)
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
        **({"checkpoint": "; ".join(progress.notes)} if progress.notes else {}),
        **({UNLOADABLE: unloadable} if unloadable else {}),
    }
    return RunResult(spec.key, "FINISHED", scores | counts, progress.history, timings, origin, artifacts)


def _checkpoint(folder: Path, code: str, device: torch.device) -> ResumeCheckpoint:
    """Another code, torch or kind of processor starts anew: from half-way it would end where neither alone does."""
    processor = torch.backends.cpu.get_cpu_capability() if device.type == "cpu" else device.type
    return ResumeCheckpoint(folder / f"checkpoint-{digest([code, str(torch.__version__), processor])[:16]}.pt")


def _safe_point(journal: ProgressLog) -> None:
    """Between two stages of a run: nothing is lost by stopping here."""
    journal.beat()
    if journal.stopping():
        raise Stopped


def trainer_of(
    spec: RunSpec,
    data: Data,
    loss: Any,
    curve: Sequence[Metric],
    device: torch.device,
    on_epoch: Callable[[Mapping[str, float]], None],
    checkpoint: ResumeCheckpoint | None = None,
    signals: Signals | None = None,
) -> Trainer:
    """The training loop of a run; after every epoch it scores `curve` on validation, in the training's precision."""
    validation = data.examples("val")

    def validate(model: torch.nn.Module) -> dict[str, float]:
        with trainer.autocast():
            output = evaluation.predict(model, validation)
        return {f"val/{k}": v for k, v in evaluation.score(output, validation.targets, curve).items()}

    training = TrainingSettings(**spec.settings["training"])
    trainer = Trainer(data, loss, training, stream(spec), device, validate, on_epoch, checkpoint, signals)
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
    seed_globals(stream(spec), "build")
    data = load_data(spec.settings["data"], context, device, control=control)
    section = controls.matched(spec.settings)
    seed_globals(stream(spec), "init")  # whatever the data has drawn
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
    return FirstExamples(data, context.limit) if context.limit else data


class FirstExamples:
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
) -> tuple[dict[str, float], Path, str]:
    """Final-epoch scores, costs, artifacts, why the network is not among these. Only a comparison sees test data."""
    _fresh(out)
    validation = data.examples("val")
    output = evaluation.predict(model, validation)
    curve = [catalogue[name] for name in context.curve_metrics]
    scores = {f"val/{k}": v for k, v in evaluation.score(output, validation.targets, curve).items()}
    scores |= cost.count(model, validation.inputs) | controls.trained_parameters(model)
    if spec.phase == "compare":
        test = data.examples("test")
        scores |= _evaluate(model, test, list(catalogue.values()), curve[0], out)
        scores["count/test_examples"] = float(len(test.inputs))
    unloadable = ""
    if spec.phase != "tune":  # last: it draws random numbers
        shape = list(validation.inputs.shape[1:])
        unloadable = keep_model(model, controls.matched(spec.settings), shape, out / "model")
    return scores, out, unloadable


def _evaluate(
    model: torch.nn.Module, test: Batch, metrics: list[Metric], primary: Metric, out: Path
) -> dict[str, float]:
    output = evaluation.predict(model, test)
    evaluation.save_frame(evaluation.score_frame(output, test.targets, metrics), out / "scores.parquet")
    evaluation.save_frame(evaluation.condition_frame(test.targets), out / "conditions.parquet")
    arrays: dict[str, Any] = evaluation.example_arrays(test, output, primary, spread=PICTURES)
    np.savez_compressed(out / "examples.npz", **arrays)
    return {f"test/{k}": v for k, v in evaluation.score(output, test.targets, metrics).items()}


def _code_digest(spec: RunSpec, context: Context) -> str:
    factories = (spec.settings[section]["factory"] for section in ("model", "data", "loss"))
    return provenance.source_digest(factories, context.study_dir)
