"""Build the components of every arm once, so that what is wrong with them shows before anything is created."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.planning import plan
from ablate.scheduler.loaded_study import LoadedStudy, context_of
from ablate.scheduler.workspace import Workspace
from ablate.study import InputError, Problem, Study, components
from ablate.untrusted.wording import nearest, place

if TYPE_CHECKING:
    from ablate.trainers.builtin.run import Context
    from ablate.trainers.contract import Data


def build_all(loaded: LoadedStudy, workspace: Workspace) -> None:
    """Build every arm's data, model and loss once, so that what is wrong shows before anything is created.

    Components may leave the working folder: it is the old one again afterwards, but not between two of them, as
    processes that do one run each do not change it either. Call it where Ctrl-C raises `signals.Interrupted`: a
    KeyboardInterrupt is then a component's.
    """
    with _unmoved(workspace.here):
        problems = list(dict.fromkeys(_problems(loaded, workspace)))
    if problems:
        raise InputError(*problems)


def _problems(loaded: LoadedStudy, workspace: Workspace) -> list[Problem]:
    """What is wrong with the arms' components."""
    context = context_of(loaded, workspace, Path(), Path())
    file = str(loaded.path)
    made: dict[str, Any] = {}  # by section and settings; None where it could not be built
    problems: list[Problem] = []
    for arm in loaded.study.arms:
        settings = plan.compare_spec(loaded.study, arm, loaded.study.seeds[0]).settings
        parts: list[Any] = []
        for section, where in ((s, f"settings.{s} of arm {arm}") for s in ("data", "model", "loss")):
            identity = repr((section, settings[section]))
            if identity not in made:
                made[identity] = None
                with _collected(problems, file, where):
                    made[identity], found = _made(loaded, settings, section, context, where, workspace.here)
                    problems += found
            parts.append(made[identity])
        if "control" in settings:
            problems += _misfit_control(settings, parts[0], parts[1], file, arm)
    return problems


@contextmanager
def _unmoved(here: Path) -> Iterator[None]:
    """Afterwards the working folder is `here` and the environment what it was: cells take both over."""
    environment = dict(os.environ)
    try:
        yield
    finally:
        os.chdir(here)
        os.environ.clear()
        os.environ.update(environment)


@contextmanager
def _collected(problems: list[Problem], file: str, where: str) -> Iterator[None]:
    """Keep what a person's component says, or whatever else it raises, as a problem."""
    from ablate.scheduler.shutdown import Interrupted

    try:
        yield
    except InputError as error:
        problems += error.problems
    except Interrupted:  # the person's Ctrl-C
        raise
    except BaseException as error:  # a person's constructor may raise anything, asyncio.CancelledError too
        problems.append(Problem(file, where, f"{type(error).__name__}: {error}"))


def _made(
    loaded: LoadedStudy, settings: Mapping[str, Any], section: str, context: Context, where: str, here: Path
) -> tuple[Any, list[Problem]]:
    """One component of an arm, and what is wrong with what was made."""
    import torch

    from ablate.trainers.builtin.run import load_data

    file = str(loaded.path)
    if section == "data":
        problems = list(_untaken(loaded.study, settings["data"], file, where))
        if problems:
            return None, problems
        data = load_data(_located(settings["data"], context, here), context, torch.device("cpu"))
        return data, list(_unknown_conditions(loaded, data))
    component = components.bind(settings[section], place=where, file=file)()
    problems = list(_misfit(section, component, where, file))
    return None if problems else component, problems


def _located(section: Mapping[str, Any], context: Context, here: Path) -> Mapping[str, Any]:
    """A data section with the path of its file, found from the working folder that the command was given in."""
    if "file" not in section:
        return section
    found = components.find_data_file(
        section["file"], data_root=context.data_root, study_dir=context.study_dir, here=here
    )
    return {**section, "file": str(found)}


def _untaken(study: Study, section: Mapping[str, Any], file: str, where: str) -> Iterator[Problem]:
    """A study that redraws the subjects' split needs a data factory that can."""
    factory = str(section["factory"])
    for argument in plan.split_settings(study, study.seeds[0]):
        if not components.takes(factory, argument):
            rule = f"{factory} must take the argument {argument!r}, because every seed redraws the split (`vary`)"
            yield Problem(file, f"{where}.factory", rule)


def _misfit_control(settings: Mapping[str, Any], data: Any, model: Any, file: str, arm: str) -> list[Problem]:
    """What a control names must be there: inputs, joints and other subjects in the data, submodules, a width."""
    from ablate.trainers.builtin import controls

    control = settings["control"]
    problems: list[Problem] = []
    with _collected(problems, file, place("arms", arm, "control")):
        if model is not None:
            controls.freeze(copy.deepcopy(model), control.get("freeze", []))
    with _collected(problems, file, place("arms", arm, "control")):
        if model is not None:
            controls.matched(settings)
    with _collected(problems, file, place("arms", arm, "control")):
        if data is not None:
            shown = controls.controlled(data, control)
            for split in ("val", "test") if control.get("shuffle_input") else ():
                shown.examples(split)
    return [p._replace(file=file, place=f"{place('arms', arm)}.{p.place}") if _of_control(p) else p for p in problems]


def _of_control(problem: Problem) -> bool:
    return problem.place.startswith("control.")


def _misfit(section: str, made: object, where: str, file: str) -> Iterator[Problem]:
    """What was built must at least be of the kind that `runs.contract` asks for."""
    import torch

    if section == "model" and not isinstance(made, torch.nn.Module):
        yield Problem(file, where, "its factory must make a torch.nn.Module", type(made).__name__)
    if section == "loss" and not callable(made):
        yield Problem(file, where, "its factory must make a function of output and targets", type(made).__name__)


def _unknown_conditions(loaded: LoadedStudy, data: Data) -> Iterator[Problem]:
    """A report condition must be a column of the scores: a metric, or a target that is one number an example."""
    columns = {name for name, value in data.examples("val").targets.items() if value.ndim == 1} | set(loaded.catalogue)
    report = loaded.study.report
    cut = [("conditions", name, report.column_of(name)) for name in report.conditions]
    for kind, name, column in [*cut, *(("densities", name, name) for name in report.densities)]:
        if column not in columns:
            where = place("report", kind, name)
            yield Problem(str(loaded.path), where, "no such per-example column", column, nearest(column, columns))
