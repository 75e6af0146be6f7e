"""A study file and the machine it meets: checked, its data found and digested, its components built once.

Light until `build_all`: planning needs neither torch nor mlflow.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.planning import plan
from ablate.study import InputError, Metric, Problem, Record, Study, Tracker, components, study_file, trust
from ablate.study.document import checked
from ablate.study.resolve import resolve
from ablate.untrusted.wording import nearest, place

if TYPE_CHECKING:
    from ablate.trainers.builtin.run import Context
    from ablate.trainers.contract import Data


@dataclass(frozen=True)
class Workspace:
    """What belongs to the machine: where the store and the reports are, which data, which device.

    Its folders, and files in addresses, are absolute: a component may change the working folder.
    """

    mlruns: Path = Path("mlruns")
    reports: Path = Path("reports")
    tracking_uri: str | None = None  # default: SQLite inside mlruns
    data_root: Path | None = None
    device: str = "auto"
    workers: int | None = None
    storage: str | None = None  # of Optuna, as SQLAlchemy writes addresses; default: SQLite inside mlruns
    scheduler: str | None = None  # address of a Dask scheduler whose workers do the runs; default: processes here
    stall_after: float = 1800.0  # seconds without a sign of life after which a worker is replaced
    patience_s: float = 120.0  # how long to wait for a store, a disk or a scheduler that does not work
    here: Path = field(default_factory=Path.cwd)  # the working folder that the command was given in

    def __post_init__(self) -> None:
        from ablate.untrusted.addresses import absolute

        for name in ("mlruns", "reports", "data_root"):
            if (folder := getattr(self, name)) is not None:
                object.__setattr__(self, name, self.here / folder)
        for name in ("tracking_uri", "storage"):
            if address := getattr(self, name):
                object.__setattr__(self, name, absolute(address, self.here))

    @property
    def database(self) -> Path:
        return self.mlruns / "mlflow.db"

    def tracker(self) -> Tracker:
        """The store, initialised. Raises InputError when it cannot be reached or written."""
        from ablate.tracking.mlflow.tracker import MlflowTracker

        return MlflowTracker(self.tracking_uri, self.mlruns)

    def existing_tracker(self) -> Tracker:
        """The store, never a new one. Raises InputError when there is none, or it cannot be reached or written."""
        from ablate.untrusted import addresses

        database = addresses.database_file(self.tracking_uri) if self.tracking_uri else self.database
        if database is not None and not database.is_file():
            where = shown_path(database if self.tracking_uri else self.mlruns)
            raise InputError(Problem(where, "", "there is no store here", nearest="`ablate run` makes one"))
        return self.tracker()


@dataclass(frozen=True)
class LoadedStudy:
    """A study file with all that is needed to plan it without torch or mlflow."""

    path: Path  # as given: for people
    folder: Path  # of the study file, absolute
    study: Study
    catalogue: Mapping[str, Metric]
    digests: Mapping[str, str]  # data digest by arm

    def plan(self, known: Iterable[Record]) -> plan.Plan:
        """Every run the study asks for, and how it stands by these records."""
        tuning = self.study.tuning
        direction = self.catalogue[tuning.metric.removeprefix("val/")].direction if tuning else None
        return plan.make_plan(self.study, known, self.digests.__getitem__, direction=direction)

    @property
    def curve_metrics(self) -> tuple[str, ...]:
        names = list(self.study.metrics)
        if self.study.tuning:
            names.append(self.study.tuning.metric.removeprefix("val/"))
        return tuple(dict.fromkeys(names))


def load(path: Path, workspace: Workspace, *, imports: bool = True, rehash: bool = False) -> LoadedStudy:
    """Read and check a study file and find its data files. Raises InputError with every problem found.

    Without `imports`, a catalogue that no installed subject offers is not imported (see `studyfile.load`): the store
    then says what its metrics are, or nobody does. `rehash`: data files are read again, whatever is remembered of them.
    """
    folder = path.resolve().parent  # before a component is imported, which may change the working folder
    study = study_file.load(path, imports=imports)
    catalogue = _catalogue(study, path, workspace, imports=imports)
    known: dict[str, str] = {}
    digests = {}
    problems: list[Problem] = []
    for arm in study.arms:
        section = resolve(study, arm)
        name = str(section["data"].get("file", ""))
        if name not in known:
            known[name] = ""
            try:
                root = workspace.data_root
                known[name] = components.data_digest(section, root, folder, workspace.here, rehash=rehash)
            except InputError as error:
                problems += [problem._replace(file=str(path)) for problem in error.problems]
        digests[arm] = known[name]
    if problems:
        raise InputError(*problems)
    return LoadedStudy(path, folder, study, catalogue, digests)


def records(study: str, workspace: Workspace) -> list[Record]:
    """What the store remembers of a study; a SQLite store is read without mlflow and never created.

    Raises InputError when the store cannot be read.
    """
    from ablate.tracking.mlflow import sqlite_reader
    from ablate.untrusted import addresses

    uri = workspace.tracking_uri
    database = addresses.database_file(uri) if uri else workspace.database
    if database is None:
        return workspace.tracker().records(study)
    return sqlite_reader.records_from_sqlite(database, study)


def _catalogue(study: Study, path: Path, workspace: Workspace, *, imports: bool) -> Mapping[str, Metric]:
    if imports:
        return study_file.load_catalogue(study.catalogue, file=str(path))
    if trust.trusted(study.catalogue):
        with suppress(InputError):  # named earlier, and no longer within reach
            return study_file.load_catalogue(study.catalogue, file=str(path))
    return remembered(study, workspace)


def remembered(study: Study, workspace: Workspace) -> dict[str, Metric]:
    """What the store knows of the metrics that a study names, for whoever must not import its catalogue.

    Of a study that was never run, names alone: lower is then taken for better, and nothing depends on it.
    """
    written = document(study.name, workspace)
    known = checked(written, study.name)[1] if written else {}
    names = [*study.metrics, *(h.metric for h in study.hypotheses)]
    if study.tuning:
        names.append(study.tuning.metric.removeprefix("val/"))
    facts = {name: {"label": name, "unit": "", "direction": "lower", **known.get(name, {})} for name in names}
    return {n: Metric(n, fact["label"], fact["unit"], fact["direction"], _unimported) for n, fact in facts.items()}


def _unimported(output: Any, targets: Mapping[str, Any]) -> Any:
    raise RuntimeError("this metric's code was not imported")


def document(study: str, workspace: Workspace) -> dict[str, Any] | None:
    """The study's document in the store; a SQLite store is read without mlflow and never created."""
    from ablate.tracking.mlflow import sqlite_reader
    from ablate.untrusted import addresses

    uri = workspace.tracking_uri
    database = addresses.database_file(uri) if uri else workspace.database
    if database is None:
        return workspace.tracker().document(study)
    return sqlite_reader.document_from_sqlite(database, study)


@dataclass(frozen=True)
class StoredStudy:
    """What the store has of a study: what its document asks for and how its runs answer that."""

    study: Study
    plan: plan.Plan


def stored(name: str, workspace: Workspace, known: Sequence[Record]) -> StoredStudy | None:
    """The study as its document in the store has it; None before its first run. `known`: its records.

    Raises InputError for a damaged document.
    """
    written = document(name, workspace)
    if written is None:
        return None
    study, metrics = checked(written, name)
    return StoredStudy(study, plan.plan_of_document(written, study, metrics, known))


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
    for argument in plan.drawn(study, study.seeds[0]):
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


def check_folder(option: str, folder: Path) -> None:
    """Refuse, before any work is done, a folder that could not be made or written to."""
    parent = next(p for p in (folder, *folder.resolve().parents) if p.exists())
    if not (parent.is_dir() and os.access(parent, os.W_OK)):
        raise InputError(Problem(option, "", "cannot be written", shown_path(folder)))


def shown_path(path: object) -> str:
    """A path as one would write it in the working folder."""
    here = Path.cwd()
    return str(path.relative_to(here) if isinstance(path, Path) and path.is_relative_to(here) else path)


def check_file(option: str, file: Path) -> None:
    """Refuse, before any work is done, a file that could not be written.

    Devices and pipes are refused too: what is written beside its place and moved there would take theirs.
    """
    if file.is_dir():
        raise InputError(Problem(option, "", "cannot be written: it is a folder", str(file)))
    if file.exists() and not file.is_file():
        raise InputError(Problem(option, "", "cannot be written: it is no plain file", str(file)))
    if not file.parent.is_dir():
        raise InputError(Problem(option, "", "cannot be written: its folder does not exist", str(file)))
    if not os.access(file.parent, os.W_OK):
        raise InputError(Problem(option, "", "cannot be written", str(file)))


def resolve_device(name: str) -> str:
    """`auto` is CUDA where there is one. Raises InputError for a device that this machine lacks."""
    import torch

    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise InputError(Problem("--device", "", "not usable on this machine", name, "valid: auto, cpu, cuda, cuda:N"))
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(Problem("--device", "", "not usable on this machine", name, reason)) from None
    return name


def context_of(loaded: LoadedStudy, workspace: Workspace, work: Path, logs: Path) -> Context:
    """What a worker needs to know beside a RunSpec."""
    from ablate.trainers.builtin.run import Context

    return Context(
        loaded.study.catalogue,
        loaded.curve_metrics,
        loaded.folder,
        work,
        logs,
        workspace.device,
        workspace.data_root.resolve() if workspace.data_root else None,
    )
