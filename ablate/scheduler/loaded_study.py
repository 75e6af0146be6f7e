"""A study file that was checked, with its metrics and the digests of its data; and the same study as the store has it.

Needs neither torch nor mlflow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.planning import plan
from ablate.scheduler.workspace import Workspace, document
from ablate.study import InputError, Metric, Problem, Record, Study, components, study_file, trust
from ablate.study.document import checked
from ablate.study.resolve import resolve

if TYPE_CHECKING:
    from ablate.trainers.builtin.run import Context


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


def study_name(study: str) -> str:
    """The name of a study given by name or by file, of which nothing is imported."""
    return study_file.load(Path(study), imports=False).name if study.endswith(".toml") else study
