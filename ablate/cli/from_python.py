"""`ablate.run`: run a study from Python or a notebook, with a training function that is at hand there."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

from ablate.study import InputError, Problem, Study, study_file
from ablate.study.components import IMPORT_PATH
from ablate.untrusted.wording import shown

if TYPE_CHECKING:
    from ablate.cli.notebook_progress import NotebookView
    from ablate.cli.progress import ProgressView
    from ablate.commands.run import Outcome
    from ablate.scheduler.loaded_study import LoadedStudy
    from ablate.scheduler.workspace import Workspace
    from ablate.trainers.context import SentFunction


def run(
    study: str | Path | Study | Mapping[str, Any],
    train: Callable[..., Any] | None = None,
    workspace: Workspace | None = None,
) -> Outcome:
    """Run what is missing of a study and write its report, as the command `ablate run` does.

    Progress goes to stderr; in a notebook it is one output of the cell, updated in place.

    Parameters
    ----------
    study
        A study file, a Study, or the content of a study file as a mapping.
    train
        `train(settings, run)`, the function that trains, in place of the setting `function`: see
        `docs/function.md`. Every run calls it in a process of its own, to which it is sent with what it refers to.
    workspace
        Where results are stored and what they run on. Default: the working folder.

    Returns
    -------
    Outcome
        `done`, `failed` and `missing`: counts of runs; `errors` by name of the run; `results`; and `report`, the path
        of the report. `ablate.open` has the results as tables and figures.

    Raises
    ------
    InputError
        Before anything is created, where the study is wrong or the function cannot be sent.
    KeyboardInterrupt
        After Ctrl-C, or the stop button of a notebook: the same call goes on from there.
    """
    from ablate.commands import run as runs
    from ablate.scheduler.workspace import Workspace

    workspace = workspace or Workspace()
    loaded = _load(study, train, workspace)
    records = workspace.reader().records(loaded.study.name)
    with _script_not_imported(), _view() as view:
        return runs.run(loaded, workspace, view, records, command=_command(study, train))


def _view() -> ProgressView | NotebookView:
    from ablate.cli.notebook_progress import NotebookView, in_notebook
    from ablate.cli.progress import ProgressView

    return NotebookView() if in_notebook() else ProgressView()


def _load(
    study: str | Path | Study | Mapping[str, Any], train: Callable[..., Any] | None, workspace: Workspace
) -> LoadedStudy:
    from ablate.scheduler.loaded_study import with_data

    if isinstance(study, str | Path):
        path, folder = Path(study), Path(study).resolve().parent
        document = study_file.read(path)
    else:
        path, folder = Path("study"), workspace.working_folder
        document = study.model_dump(mode="json", exclude_unset=True) if isinstance(study, Study) else dict(study)
    sent = None
    if train is not None:
        name, sent = _named(train)
        document = _with_function(document, name, str(path))
    checked = study_file.from_document(document, str(path), folder)
    return replace(with_data(checked, path, folder, workspace), function=sent)


def _with_function(document: Mapping[str, Any], name: str, file: str) -> dict[str, Any]:
    """The study's content with the function's name in it. Raises InputError where it names what trains already."""
    content = copy.deepcopy(dict(document))
    settings = content.setdefault("settings", {})
    section = settings.setdefault("run", {}) if isinstance(settings, dict) else None
    if isinstance(section, dict):  # else the check of types says what is wrong
        for key in ("command", "function"):
            if key in section:
                rule = "names what trains, and so does the argument `train`: leave one out"
                raise InputError(Problem(file, f"settings.run.{key}", rule, shown(section[key])))
        section["function"] = name
    return content


def _named(train: Callable[..., Any]) -> tuple[str, SentFunction | None]:
    """The function's import path; and the function to be sent, where it cannot be imported from there.

    Raises InputError for what is no function, or cannot be sent, or whose source is not known.
    """
    if not isinstance(train, FunctionType) or not train.__name__.isidentifier():
        raise _refused("must be a function, made with def", repr(train))
    path = f"{train.__module__}:{train.__qualname__}"
    if train.__module__ != "__main__" and IMPORT_PATH.fullmatch(path) and _imported(path) is train:
        return path, None
    path = path.replace(".<locals>", "")
    return path, _sent(train, path)


def _imported(path: str) -> Any:
    module, _, attributes = path.partition(":")
    found: Any = sys.modules.get(module)
    for attribute in attributes.split("."):
        found = getattr(found, attribute, None)
    return found


def _sent(train: FunctionType, path: str) -> SentFunction:
    import cloudpickle

    from ablate.trainers.context import SentFunction
    from ablate.trainers.own_source import own_source

    try:
        source = own_source(train)
    except (OSError, TypeError):
        rule = "has no source text, by which later runs could tell whether it has changed"
        raise _refused(rule, path, "write it in a file or a notebook") from None
    try:
        return SentFunction(cloudpickle.dumps(train), source)
    except Exception as error:  # whatever an object's own pickling raises
        rule = f"cannot be sent to the process of a run: {type(error).__name__}: {error}"
        raise _refused(rule, path, "make what it refers to inside the function") from None


def _refused(rule: str, value: str, hint: str = "") -> InputError:
    return InputError(Problem("train", "", rule, value, hint))


def _command(study: str | Path | Study | Mapping[str, Any], train: Callable[..., Any] | None) -> str:
    """How the report says that the study can be run again."""
    name = repr(str(study)) if isinstance(study, str | Path) else "study"
    return f"ablate.run({name}{f', train={train.__name__}' if train else ''})  # in Python"


@contextmanager
def _script_not_imported() -> Iterator[None]:
    """Keep multiprocessing from running the script that calls `ablate.run` again in every process it starts."""
    main = sys.modules["__main__"]
    hidden: dict[str, Any] = {name: vars(main).pop(name) for name in ("__file__", "__spec__") if name in vars(main)}
    main.__spec__ = None
    try:
        yield
    finally:
        vars(main).update(hidden)
