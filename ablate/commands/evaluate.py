"""An external test: score a study's stored models on data from elsewhere, and record the scores beside the others.

Knows no subject: a file is read by the study's own data factory, by an installed reader, or by the factory that the
person names.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.commands import report
from ablate.scheduler.workspace import Workspace, resolve_device
from ablate.study import InputError, Metric, Problem, components, shipped, study_file, trust
from ablate.study.catalogue import catalogue_of
from ablate.study.resolve import resolve
from ablate.trainers.errors import RunFailed
from ablate.untrusted.wording import shown

if TYPE_CHECKING:
    import pandas as pd

    from ablate.analysis.results import Results
    from ablate.trainers.contract import Batch, Data

READERS = "ablate.external"  # entry points: data factories with an attribute `reads(file) -> bool`
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,59}")
# Settings of a data factory that choose the part of a source for training: of other data, everything is used.
PARTITION = ("file", "split_seed", "fold", "folds")

Progress = Callable[[int, int, str], None]  # runs done, runs in all, name of the current run
ArmSeed = tuple[str, int]  # identifies a comparison run


@dataclass(frozen=True)
class ExternalTest:
    """The result of an external test. `scores` has a row for each arm, seed and metric; `notes` say what could not be
    scored."""

    study: str
    name: str
    file: Path
    examples: int
    scores: pd.DataFrame
    notes: tuple[str, ...]
    results: Results  # of the study, with these scores

    def plain(self) -> dict[str, Any]:
        """As plain JSON."""
        head = {"study": self.study, "name": self.name, "file": str(self.file), "examples": self.examples}
        return {**head, "scores": json.loads(self.scores.to_json(orient="records")), "notes": list(self.notes)}


def evaluate(
    study: str,
    workspace: Workspace,
    data: Path,
    *,
    name: str | None = None,
    factory: str | None = None,
    progress: Progress = lambda done, total, run: None,
) -> ExternalTest:
    """Score every finished run that kept its model on all examples of `data`, with every metric of the catalogue.

    `study`: a file or a name in the store; `data`: a path, or a name under the data root. The scores are recorded in
    the store as `external/<name>/<metric>`, with `external/<name>/examples`; a second test of that name replaces them.
    Code that the study file or `factory` names is imported; code that the store names, only where `trust` allows it.
    Raises InputError before anything is recorded.
    """
    from ablate.analysis.external import EXAMPLES, PREFIX

    folder = Path(study).resolve().parent if study.endswith(".toml") else workspace.working_folder
    # resolved before a component is imported, which may change the working folder
    existing_file = data.resolve() if data.is_file() else None
    study_name = study_file.load(Path(study)).name if study.endswith(".toml") else study
    results = report.results(study_name, workspace)
    if results.study.trainer != "built-in":
        rule = f"a {results.study.trainer} computes its scores itself: no metric of the study can score other data"
        raise InputError(Problem(study_name, "", rule, "", "have it give a score of that data under one more name"))
    if factory:
        components.importable([workspace.working_folder])
    file = data if existing_file else _find(data, workspace, folder)
    name = test_name(name, file)
    scorer = _Scorer(results, workspace, folder, existing_file or file.resolve(), factory)
    done = results.done()
    run_ids = {(arm, seed): run_id for arm, seed, run_id in zip(done.arm, done.seed, done.run_id, strict=True)}
    models, without_model = _models(results, run_ids, workspace, shipped.file_of(study))
    scores: dict[ArmSeed, dict[str, float]] = {}
    for count, ((arm, seed), path) in enumerate(models.items()):
        progress(count, len(models), f"{arm} seed {seed}")
        run_scores = scorer.score((arm, seed), path)
        if run_scores:
            scores[arm, seed] = run_scores
    progress(len(models), len(models), "")
    notes = list(dict.fromkeys([*scorer.notes, *without_model]))
    if not scores:
        raise InputError(*(Problem(str(file), "", note) for note in notes))
    tracker = workspace.existing_tracker()
    for run, values in scores.items():
        logged = {f"{PREFIX}{name}/{metric}": value for metric, value in values.items()}
        tracker.add_scores([run_ids[run]], {**logged, f"{PREFIX}{name}/{EXAMPLES}": float(scorer.examples)})
    updated = report.results(results.study.name, workspace)
    return ExternalTest(results.study.name, name, file, scorer.examples, _tidy(scores), tuple(notes), updated)


def _find(data: Path, workspace: Workspace, folder: Path) -> Path:
    try:
        return components.find_data_file(
            str(data), data_root=workspace.data_root, study_dir=folder, working_folder=workspace.working_folder
        )
    except InputError as error:  # names a setting of a study file, where the person gave an option
        raise InputError(*(problem._replace(file="--data", place="") for problem in error.problems)) from None


def test_name(name: str | None, file: Path) -> str:
    """The name to record the scores under; by default the file's stem. Raises InputError for an invalid one."""
    if name is None:
        name = re.sub(r"[^A-Za-z0-9_.\-]", "_", file.stem).lstrip("_.-")[:60] or "data"
    if not NAME.fullmatch(name):
        rule = "must be letters, digits, dots, dashes and underscores, at most 60, the first a letter or digit"
        raise InputError(Problem("--name", "", rule, shown(name)))
    return name


class _Scorer:
    """Scores models with the study's metrics. Arms with the same data settings share the data."""

    def __init__(self, results: Results, workspace: Workspace, folder: Path, file: Path, factory: str | None) -> None:
        import torch

        self.results, self.folder, self.file, self.data_root = results, folder, file, workspace.data_root
        self.device = torch.device(resolve_device(workspace.device))
        study = results.study
        trust.check(study.catalogue, file=study.name, place="catalogue")
        self.catalogue: list[Metric] = list(catalogue_of(study, file=study.name).values())
        self.named_factory = factory  # by the person
        self.factory = factory or reader(str(study.settings["data"]["factory"]), self.file)
        self.examples = 0
        self.notes: list[str] = []
        self._data: dict[str, Data] = {}  # by data settings
        self._batches: dict[str, Batch | None] = {}  # by data settings and control

    def score(self, run: ArmSeed, model: Path) -> dict[str, float] | None:
        """One number per metric; None, and a note, for a run that cannot be scored."""
        from ablate.trainers.builtin import evaluation
        from ablate.trainers.builtin.checkpoints import load_model, read_settings
        from ablate.trainers.builtin.model_size_check import check_size

        arm, seed = run
        batch = self._examples(arm)
        if batch is None:
            return None
        try:
            trust.check(read_settings(model)["factory"], file=str(model), place="model.json")
            check_size(model)
            output = evaluation.predict(load_model(model).to(self.device), batch)
            named = self.results.study.named_metrics
            leave_out = evaluation.leaving_out(named, self._note_once)
            values = evaluation.values_by_name(self.catalogue, output, batch.targets, leave_out)
            scores = evaluation.reduced(values, self.catalogue)
            primary = self.results.study.metrics[0]
            if math.isfinite(scores[primary]):
                return scores
            reason = f"{primary} has no value, as where inputs are not finite"
        except (InputError, RunFailed) as error:
            reason = str(error)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a model or a metric may raise anything; the other runs still count
            reason = f"{type(error).__name__}: {error}"
        self.notes.append(f"{arm} seed {seed} could not be scored: {reason}")
        return None

    def _note_once(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    def _examples(self, arm: str) -> Batch | None:
        """All examples, changed as the arm's control says; None, and a note, where that is impossible."""
        from ablate.trainers.builtin.controls import controlled
        from ablate.trainers.builtin.trees import row_count

        settings = resolve(self.results.study, arm)
        section, control = self._data_settings(settings["data"]), settings.get("control", {})
        identity = json.dumps([section, control], sort_keys=True, default=str)
        if identity not in self._batches:
            data = self._load(section)
            try:
                self._batches[identity] = controlled(data, control).examples("all")
            except InputError as error:  # such as a shuffle between subjects, where the file has one subject
                if not control:
                    raise
                self._batches[identity] = None
                self.notes.append(f"{arm} could not be scored: {error}")
        batch = self._batches[identity]
        count = 0 if batch is None else row_count(batch.inputs)
        if batch is not None and not count:
            raise InputError(Problem(str(self.file), "", "holds no example"))
        self.examples = self.examples if batch is None else count
        return batch

    def _data_settings(self, of_arm: Mapping[str, Any]) -> dict[str, Any]:
        """The arm's data settings that the factory which reads the file takes.

        For an arm whose data come from another factory than the study's, the study's data settings are used.
        """
        of_study = self.results.study.settings["data"]
        settings = of_arm if of_arm["factory"] == of_study["factory"] else of_study
        factory = self.factory or str(of_study["factory"])
        arguments = {key: value for key, value in settings.items() if key not in ("factory", *PARTITION)}
        if factory != settings["factory"]:
            arguments = {key: value for key, value in arguments.items() if components.takes(factory, key)}
        return {"factory": factory, **arguments, "file": str(self.file)}

    def _load(self, section: Mapping[str, Any]) -> Data:
        from ablate.trainers.builtin.run import load_data
        from ablate.trainers.context import Context

        identity = json.dumps(section, sort_keys=True, default=str)
        if identity in self._data:
            return self._data[identity]
        study = self.results.study
        if section["factory"] != self.named_factory:
            trust.check(str(section["factory"]), file=study.name, place="settings.data.factory")
        if not components.takes(str(section["factory"]), "file"):
            rule = f"{section['factory']} takes no argument `file`, so it cannot read --data"
            raise InputError(Problem(study.name, "settings.data.factory", rule))
        context = Context(study.catalogue, (), self.folder, Path(), Path(), str(self.device), self.data_root)
        try:
            data = load_data(section, context, self.device, to_train=False)
        except (InputError, KeyboardInterrupt):
            raise
        except BaseException as error:  # a data factory may raise anything
            reason = f"{type(error).__name__}: {error}"
            raise InputError(Problem(str(self.file), "", "cannot be read as data of this study", reason)) from None
        self._data[identity] = data
        used_by_study = {provenance.get("data_digest") for provenance in self.results.provenance.values()}
        if data.digest in used_by_study:
            self.notes.append("this is the data that the study was trained and tested on: no external test")
        return data


def reader(own: str, file: Path) -> str | None:
    """The installed factory that can read this file; None: the study's own factory `own` has to read it.

    Only readers of the package of `own` are tried, because they make the same kind of examples.
    """
    package = own.partition(":")[0].rpartition(".")[0]
    for entry in sorted(entry_points(group=READERS), key=lambda e: e.name):
        if entry.module.rpartition(".")[0] == package and package:
            factory = components.load_component(entry.value, file=READERS, place=entry.name)
            if factory.reads(file):
                return entry.value
    return None


def _models(
    results: Results, runs: Collection[ArmSeed], workspace: Workspace, file: Path | None
) -> tuple[dict[ArmSeed, Path], list[str]]:
    """The models of these finished runs, and why those without one cannot be scored.

    Raises InputError where no run has a model. `file`: the study's, for what to do then.
    """
    from ablate.trainers.provenance import UNLOADABLE

    name = results.study.name
    if not runs:
        first = f"first {workspace.suggest('run', file)}" if file else "run its study file first"
        raise InputError(Problem(name, "", "no finished run to evaluate", nearest=first))
    models = {run: path for run in runs if (path := results.artifact(*run, "model"))}
    # of a network that could not be loaded again when it was recorded the reason is known
    reasons = {run: results.provenance[run].get(UNLOADABLE) for run in runs if run not in models}
    notes = [f"{arm} seed {seed} could not be scored: {reason}" for (arm, seed), reason in reasons.items() if reason]
    if not models:
        rule = "no finished run kept its model, so none can be evaluated"
        again = "its study file has to be run again, with --rerun and an arm"
        if file:
            again = f"{workspace.suggest('run', file, '--rerun', next(iter(runs))[0])} trains an arm again"
        raise InputError(Problem(name, "", rule, nearest=again), *(Problem(name, "", note) for note in notes))
    if unknown := len(reasons) - len(notes):
        notes.append(f"{unknown} finished runs kept no model and could not be scored")
    return models, notes


def _tidy(scores: Mapping[ArmSeed, Mapping[str, float]]) -> pd.DataFrame:
    import pandas as pd

    rows = [(*run, metric, value) for run, values in scores.items() for metric, value in values.items()]
    return pd.DataFrame(rows, columns=["arm", "seed", "metric", "score"])
