"""Build the components of every arm once, so that an error in them shows before anything is created."""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ablate.planning import plan
from ablate.planning.trials import split_settings
from ablate.scheduler.loaded_study import LoadedStudy, context_of
from ablate.scheduler.shutdown import Interrupted
from ablate.scheduler.workspace import Workspace, resolve_device
from ablate.study import InputError, Problem, RunSpec, Study, components
from ablate.study.runs import TrainerKind
from ablate.trainers.errors import RunFailed
from ablate.untrusted.wording import nearest, place

if TYPE_CHECKING:
    from ablate.trainers.context import Context
    from ablate.trainers.contract import Batch, Data


CHECKED: Mapping[TrainerKind, str] = {  # what a check has looked at, by trainer
    "built-in": "every component was imported and built, and every untrained network scored on validation examples; "
    "no run was trained",
    "command": "every program and placeholder was found; no command was run",
    "function": "every function was imported and takes its arguments; none was called",
}


class BuiltData(NamedTuple):
    """The data of an arm, and its validation examples, which may take long to make."""

    data: Data
    validation: Batch


def build_all(loaded: LoadedStudy, workspace: Workspace, *, count: bool = False) -> dict[str, int]:
    """Build every arm's data, model and loss once. Raises InputError with every problem found.

    `count`: have commands and functions count their parameters, which starts processes. Returns the numbers for
    `Context.counted`.

    Components may change the working folder and the environment: both are restored at the end, but not between two
    components, as they are not restored between the components of a run. Call it inside
    `StopRequest.handling_signals`, where Ctrl-C raises Interrupted: a KeyboardInterrupt then comes from a component.
    """
    counted: dict[str, int] = {}
    with process_state_restored(workspace.working_folder):
        if loaded.study.trainer == "built-in":
            problems = _problems(loaded, workspace)
        else:
            problems = _run_problems(loaded, workspace, counted if count else None)
    if problems:
        raise InputError(*dict.fromkeys(problems))
    return counted


def _problems(loaded: LoadedStudy, workspace: Workspace) -> list[Problem]:
    """Everything that is wrong with the arms' components."""
    import torch

    context = context_of(loaded, workspace, Path(), Path())
    file = str(loaded.path)
    built: dict[str, Any] = {}  # components by section and settings; None for one that could not be built
    passed: set[tuple[str, str]] = set()  # data and model of the arms that were scored
    problems: list[Problem] = []
    dtype = torch.get_default_dtype()
    for arm in loaded.study.arms:
        settings = plan.compare_spec(loaded.study, arm, loaded.study.seeds[0]).settings
        of_arm: dict[str, Any] = {}
        torch.set_default_dtype(dtype)  # an arm may set it for itself
        for section in ("data", "model", "loss"):
            location = f"settings.{section} of arm {arm}"
            identity = repr((section, settings[section]))
            if identity not in built:
                built[identity] = None
                with _collecting(problems, file, location):
                    built[identity], wrong = _build(
                        loaded, settings, section, context, location, workspace.working_folder
                    )
                    problems += wrong
            of_arm[section] = built[identity]
        if "control" in settings:
            problems += _control_problems(settings, of_arm["data"], of_arm["model"], file, arm)
        if of_arm["model"] is not None:
            problems += _optimizer_problems(settings, of_arm["model"], file, arm)
        if of_arm["data"] is not None and of_arm["model"] is not None:
            identity_of_pass = repr(settings["data"]), repr(settings["model"])
            if identity_of_pass not in passed:
                passed.add(identity_of_pass)
                with _collecting(problems, file, place("arms", arm)):
                    problems += _first_pass_problems(loaded, workspace, arm, of_arm["data"], of_arm["model"])
    torch.set_default_dtype(dtype)
    return problems


def _first_pass_problems(
    loaded: LoadedStudy, workspace: Workspace, arm: str, data: BuiltData, model: Any
) -> list[Problem]:
    """What is wrong with the arm's output, or with the metrics that the study names: by one score on the CPU.

    An error of the network itself is one only where the runs use the CPU too.
    """
    from ablate.trainers.builtin.first_pass import NetworkFailed, first_pass

    study = loaded.study
    metrics = [loaded.catalogue[name] for name in study.named_metrics]
    tuned = study.tuning is not None and not study.arms[arm].reference
    tuning = loaded.catalogue[study.tuning.metric.removeprefix("val/")] if study.tuning and tuned else None
    try:
        first_pass(model, data.data, data.validation, metrics, tuning)
    except NetworkFailed as error:
        on_cpu = workspace.scheduler is None and resolve_device(workspace.device) == "cpu"
        return [Problem(str(loaded.path), place("arms", arm), str(error))] if on_cpu else []
    except RunFailed as error:
        return [Problem(str(loaded.path), place("arms", arm), str(error))]
    return []


def _run_problems(loaded: LoadedStudy, workspace: Workspace, counted: dict[str, int] | None) -> list[Problem]:
    """What is wrong with the arms' commands or functions on this machine. None is run.

    Given `counted`, those that count parameters are, and their numbers are added to it.
    """
    from ablate.trainers import command, function

    check = command.check if loaded.study.trainer == "command" else function.check
    context = context_of(loaded, workspace, Path(), Path())
    specs = [plan.compare_spec(loaded.study, arm, loaded.study.seeds[0]) for arm in loaded.study.arms]
    problems: list[Problem] = []
    for spec in specs:
        with _collecting(problems, str(loaded.path), "settings.run"):
            problems += check(spec, context)
            if not problems and (counting := _counting(spec)):
                wrong = check(counting, context) if "command" in counting.settings["run"] else _no_count(counting)
                problems += [p._replace(place=p.place.replace("run.command", "run.parameters")) for p in wrong]
    if not problems and counted is not None:
        problems = [problem for spec in specs for problem in _count_problems(spec, context, counted)]
    return [problem._replace(file=str(loaded.path)) for problem in problems]


def _counting(spec: RunSpec) -> RunSpec | None:
    """The run with what counts its parameters in the place of what trains it; None where nothing counts them."""
    section = spec.settings["run"]
    kind = "command" if "command" in section else "function"
    if not section.get("parameters"):
        return None
    return replace(spec, settings={**spec.settings, "run": {**section, kind: section["parameters"]}})


def _no_count(spec: RunSpec) -> list[Problem]:
    """What is wrong with a function that counts parameters. It is not called."""
    location, path = "settings.run.parameters", spec.settings["run"]["function"]
    counts = components.load_component(path, file="", place=location)
    return [] if callable(counts) else [Problem("", location, "must be a function: def count(settings) -> int", path)]


def _count_problems(spec: RunSpec, context: Context, counted: dict[str, int]) -> list[Problem]:
    """What is wrong with the count of a run's parameters, and with the search of a value that matches them."""
    from ablate.trainers.parameters import Counter

    if not spec.settings["run"].get("parameters"):
        return []
    with tempfile.TemporaryDirectory() as folder:
        counter = Counter(context, Path(folder), Path(folder, "log"), lambda: None, counted)
        try:
            counter.count(counter.matched(spec))
        except InputError as error:
            control = f"{place('arms', spec.arm)}.control."
            return [p._replace(place=p.place.replace("control.", control, 1)) for p in error.problems]
    return []


@contextmanager
def process_state_restored(working_folder: Path) -> Iterator[None]:
    """Restore the working folder and the environment at the end: the processes of cells inherit both."""
    environment = dict(os.environ)
    try:
        yield
    finally:
        os.chdir(working_folder)
        os.environ.clear()
        os.environ.update(environment)


@contextmanager
def _collecting(problems: list[Problem], file: str, location: str) -> Iterator[None]:
    """Turn whatever a component raises into a problem."""
    try:
        yield
    except InputError as error:
        problems += error.problems
    except Interrupted:  # Ctrl-C
        raise
    except BaseException as error:  # a component's constructor may raise anything, asyncio.CancelledError too
        problems.append(Problem(file, location, f"{type(error).__name__}: {error}"))


def _build(
    loaded: LoadedStudy,
    settings: Mapping[str, Any],
    section: str,
    context: Context,
    location: str,
    working_folder: Path,
) -> tuple[Any, list[Problem]]:
    """One component of an arm, None where it cannot be used; and what is wrong with it."""
    import torch

    from ablate.trainers.builtin.run import load_data

    file = str(loaded.path)
    if section == "data":
        problems = list(_missing_arguments(loaded.study, settings["data"], file, location))
        if problems:
            return None, problems
        data = load_data(_with_file_path(settings["data"], context, working_folder), context, torch.device("cpu"))
        validation = data.examples("val")
        if not (hasattr(validation, "inputs") and isinstance(getattr(validation, "targets", None), Mapping)):
            rule = "examples and sample must give an ablate.Batch(inputs, targets), with targets a dict of tensors"
            return None, [Problem(file, location, rule, type(validation).__name__)]
        return BuiltData(data, validation), list(_unknown_columns(loaded, validation))
    component = components.bind(settings[section], place=location, file=file)()
    problems = list(_wrong_type(section, component, location, file))
    return None if problems else component, problems


def _with_file_path(section: Mapping[str, Any], context: Context, working_folder: Path) -> Mapping[str, Any]:
    """A data section with the path of its file, looked up as from the working folder in which the command started."""
    if "file" not in section:
        return section
    path = components.find_data_file(
        section["file"], data_root=context.data_root, study_dir=context.study_dir, working_folder=working_folder
    )
    return {**section, "file": str(path)}


def _missing_arguments(study: Study, section: Mapping[str, Any], file: str, location: str) -> Iterator[Problem]:
    """A study that redraws the split of the subjects needs a data factory with the arguments for it."""
    factory = str(section["factory"])
    for argument in split_settings(study, study.seeds[0]):
        if not components.takes(factory, argument):
            rule = f"{factory} must take the argument {argument!r}, because every seed redraws the split (`vary`)"
            yield Problem(file, f"{location}.factory", rule)


def _control_problems(
    settings: Mapping[str, Any], data: BuiltData | None, model: Any, file: str, arm: str
) -> list[Problem]:
    """What a control names must exist: inputs, joints and other subjects in the data; submodules and a width in the
    model."""
    from ablate.trainers.builtin import compute, controls

    control = settings["control"]
    location = place("arms", arm, "control")
    problems: list[Problem] = []
    with _collecting(problems, file, location):
        if model is not None:
            controls.freeze(copy.deepcopy(model), control.get("freeze", []))
    with _collecting(problems, file, location):
        if model is not None:
            controls.matched_model(settings)
    with _collecting(problems, file, location):
        if model is not None and data is not None:
            compute.matched(settings, data.validation.inputs)
    with _collecting(problems, file, location):
        if data is not None:
            controlled = controls.controlled(data.data, control)
            for split in ("val", "test") if control.get("shuffle_input") else ("val",):
                controlled.examples(split)
    return [_with_arm(problem, file, arm) if problem.place.startswith("control.") else problem for problem in problems]


def _optimizer_problems(settings: Mapping[str, Any], model: Any, file: str, arm: str) -> list[Problem]:
    """What is wrong with an optimizer and a schedule of the study's own."""
    from ablate.study import TrainingSettings
    from ablate.trainers.builtin.optimizers import make_optimizer, make_schedule
    from ablate.trainers.contract import Fits

    training = TrainingSettings.model_validate(settings["training"])
    problems: list[Problem] = []
    if (training.optimizer or training.schedule) and not isinstance(model, Fits):
        with _collecting(problems, file, f"settings.training of arm {arm}"):
            make_schedule(make_optimizer(model.parameters(), training), training, 10 * training.epochs, 10)
    return [problem._replace(file=file) for problem in problems]


def _with_arm(problem: Problem, file: str, arm: str) -> Problem:
    return problem._replace(file=file, place=f"{place('arms', arm)}.{problem.place}")


def _wrong_type(section: str, component: object, location: str, file: str) -> Iterator[Problem]:
    """A component must at least have the type that `trainers.contract` asks for."""
    import torch

    from ablate.trainers.builtin.run import PARAMETERS_RULE, has_parameters

    if section == "model" and not isinstance(component, torch.nn.Module):
        yield Problem(file, location, "its factory must make a torch.nn.Module", type(component).__name__)
    if section == "loss" and has_parameters(component):
        yield Problem(file, location, PARAMETERS_RULE, type(component).__name__)
    if section == "loss" and not callable(component):
        yield Problem(
            file, location, "its factory must make a function of output and targets", type(component).__name__
        )


def _unknown_columns(loaded: LoadedStudy, validation: Batch) -> Iterator[Problem]:
    """A report condition must be a column of the scores: a metric, or a target with one number per example."""
    columns = {name for name, value in validation.targets.items() if value.ndim == 1} | set(loaded.catalogue)
    report = loaded.study.report
    named = [("conditions", name, report.column_of(name)) for name in report.conditions]
    for section, name, column in [*named, *(("densities", name, name) for name in report.densities)]:
        if column not in columns:
            location = place("report", section, name)
            yield Problem(str(loaded.path), location, "no such per-example column", column, nearest(column, columns))
