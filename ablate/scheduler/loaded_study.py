"""A study file that was checked, with its metrics and the digests of its data; and the same study as the store has it.

Needs neither torch nor mlflow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.planning import plan
from ablate.scheduler.workspace import Workspace
from ablate.study import (
    InputError,
    Metric,
    Problem,
    Record,
    StoreUnavailable,
    Study,
    components,
    shipped,
    study_file,
    trust,
)
from ablate.study.catalogue import catalogue_of
from ablate.study.document import checked
from ablate.study.resolve import resolve
from ablate.study.rules import NAME, TUNING_SEEDS_HINT, TUNING_SEEDS_RULE
from ablate.study.run_rules import score_names
from ablate.study.runs import logs_to_mlflow
from ablate.trainers.context import Context, SentFunction
from ablate.untrusted.addresses import has_password, redacted
from ablate.untrusted.wording import shown


@dataclass(frozen=True)
class LoadedStudy:
    """A study file with all that is needed to plan it without torch or mlflow."""

    path: Path  # as the person gave it, for messages
    folder: Path  # of the study file, absolute
    study: Study
    catalogue: Mapping[str, Metric]
    digests: Mapping[str, str]  # data digest by arm
    function: SentFunction | None = None  # see `Context.function`

    def plan(self, records: Iterable[Record]) -> plan.Plan:
        """Every run that the study asks for, and its state according to these records."""
        tuning = self.study.tuning
        direction = self.catalogue[tuning.metric.removeprefix("val/")].direction if tuning else None
        return plan.make_plan(self.study, records, self.digests.__getitem__, direction=direction)

    @property
    def curve_metrics(self) -> tuple[str, ...]:
        names = list(self.study.metrics)
        if self.study.tuning:
            names.append(self.study.tuning.metric.removeprefix("val/"))
        return tuple(dict.fromkeys(names))

    @property
    def metric_names(self) -> dict[str, tuple[str, str]]:
        """The names under which a command or a function gives the validation and the test score of each metric."""
        return score_names(self.study)


def load(path: Path, workspace: Workspace, *, imports: bool = True, rehash: bool = False) -> LoadedStudy:
    """Read and check a study file and find its data files. Raises InputError with every problem found.

    Without `imports`, a catalogue that no installed subject offers is not imported (see `study_file.load`): its metrics
    are then read from the store, if the store has the study. `rehash`: read data files again, even those whose digest
    is cached.
    """
    if not shipped.locate(path).exists():
        _refuse_adopted_name(str(path), workspace)
    folder = shipped.locate(path).resolve().parent  # before a component may change the working folder
    study = study_file.load(path, imports=imports)
    return with_data(study, path, folder, workspace, imports=imports, rehash=rehash)


def with_data(
    study: Study, path: Path, folder: Path, workspace: Workspace, *, imports: bool = True, rehash: bool = False
) -> LoadedStudy:
    """A checked study with its metrics and the digests of its data. `path` is for messages. See `load`."""
    _check_scripts_address(study, workspace.tracking_uri)
    _check_way_of_tuning(study, path, workspace)
    catalogue = _catalogue(study, path, workspace, imports=imports)
    digest_by_file: dict[str, str] = {}  # by the name that the settings give; "" for an arm without a file
    digests = {}
    problems: list[Problem] = []
    for arm in study.arms:
        settings = resolve(study, arm)
        name = _data_names(settings)
        if name not in digest_by_file:
            digest_by_file[name] = ""
            try:
                digest_by_file[name] = components.data_digest(
                    settings, workspace.data_root, folder, workspace.working_folder, rehash=rehash
                )
            except InputError as error:
                problems += [problem._replace(file=str(path)) for problem in error.problems]
        digests[arm] = digest_by_file[name]
    if problems:
        raise InputError(*problems)
    return LoadedStudy(path, folder, study, catalogue, digests)


def _check_scripts_address(study: Study, uri: str | None) -> None:
    """Raise InputError where scripts log to a store whose address has a password: they would be given it, and a script
    that prints its address would put it into the log of its run. An MLflow server's is in variables of its own."""
    if logs_to_mlflow(study.settings) and uri and not uri.startswith(("http://", "https://")) and has_password(uri):
        rule = 'has a password, which scripts with scores = "mlflow" would be given and could print into their logs'
        hint = "put an `mlflow server` in front of the database, or give the password by PGPASSWORD or ~/.pgpass"
        raise InputError(Problem("--tracking-uri", "", rule, redacted(uri), hint))


def refuse_adopted(loaded: LoadedStudy, workspace: Workspace, records: Iterable[Record]) -> None:
    """Raise InputError where the store has adopted results under the study's name. `records`: those of that name."""
    if _adopted(records):
        name = loaded.study.name
        hint = f"give this study another name, or {workspace.suggest('discard', name)} first"
        raise InputError(
            Problem(str(loaded.path), "name", "is a study of adopted results in the store", shown(name), hint)
        )


def _refuse_adopted_name(name: str, workspace: Workspace) -> None:
    """Raise InputError where the store has adopted results of this name, which no file describes."""
    adopted = False
    if NAME.fullmatch(name):
        with suppress(InputError, StoreUnavailable):  # there is no such file, whatever the store would say
            adopted = _adopted(workspace.reader().records(name))
    if adopted:
        hint = f"{workspace.suggest('report', name)} shows them"
        raise InputError(Problem(name, "", "is a study of adopted results, with nothing to run", "", hint))


def _adopted(records: Iterable[Record]) -> bool:
    return any("adopted_from" in record.provenance for record in records)


def _check_way_of_tuning(study: Study, path: Path, workspace: Workspace) -> None:
    """Raise InputError for a new study whose file has tuning seeds and does not say that they are for a whole arm.

    A file that an older version of ablate has run means one tuning of an arm, as its document in the store does.
    """
    tuning = study.tuning
    if tuning is None or tuning.per_is_written or not tuning.seeds:
        return
    if workspace.reader().document(study.name) is None:
        raise InputError(Problem(str(path), "tuning.seeds", TUNING_SEEDS_RULE, shown(tuning.seeds), TUNING_SEEDS_HINT))


def _data_names(settings: Mapping[str, Any]) -> str:
    """What the settings of an arm name as its data: arms with the same have the same digest."""
    if "run" in settings:
        return repr([settings["run"].get("cwd"), settings["run"].get("inputs")])
    return str(settings["data"].get("file", ""))


def _catalogue(study: Study, path: Path, workspace: Workspace, *, imports: bool) -> Mapping[str, Metric]:
    if imports or study.metric:
        return catalogue_of(study, file=str(path))
    if trust.trusted(study.catalogue):
        with suppress(InputError):  # trusted, but it cannot be imported any more
            return catalogue_of(study, file=str(path))
    return stored_metrics(study, workspace)


def stored_metrics(study: Study, workspace: Workspace) -> dict[str, Metric]:
    """The study's metrics as its document in the store describes them, where the catalogue must not be imported.

    Of a study that was never run only the names are known; lower then counts as better, which no result depends on.
    """
    document = workspace.reader().document(study.name)
    stored = checked(document, study.name)[1] if document else {}
    names = [*study.metrics, *(h.metric for h in study.hypotheses)]
    if study.tuning:
        names.append(study.tuning.metric.removeprefix("val/"))
    facts = {name: {"label": name, "unit": "", "direction": "lower", **stored.get(name, {})} for name in names}
    return {n: Metric(n, fact["label"], fact["unit"], fact["direction"], _not_imported) for n, fact in facts.items()}


def _not_imported(output: Any, targets: Mapping[str, Any]) -> Any:
    raise RuntimeError("this metric's code was not imported")


@dataclass(frozen=True)
class StoredStudy:
    """A study as its document in the store describes it, and the state of its runs."""

    study: Study
    plan: plan.Plan


def load_stored_study(name: str, workspace: Workspace, records: Sequence[Record]) -> StoredStudy | None:
    """The study as its document in the store describes it; None before its first run. `records`: the study's.

    Raises InputError for a damaged document.
    """
    document = workspace.reader().document(name)
    if document is None:
        return None
    study, metrics = checked(document, name)
    return StoredStudy(study, plan.plan_of_document(document, study, metrics, records))


def context_of(loaded: LoadedStudy, workspace: Workspace, work: Path, logs: Path) -> Context:
    """What a worker needs to know beside a RunSpec."""
    return Context(
        loaded.study.catalogue,
        loaded.curve_metrics,
        loaded.folder,
        work,
        logs,
        workspace.device,
        workspace.data_root.resolve() if workspace.data_root else None,
        threads=workspace.threads,
        named_metrics=loaded.study.named_metrics,
        metric_names=loaded.metric_names,
        function=loaded.function,
    )


def study_name(study: str) -> str:
    """The name of a study given by name or by file. Nothing that the file names is imported."""
    return study_file.load(Path(study), imports=False).name if study.endswith(".toml") else study
