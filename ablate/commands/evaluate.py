"""An external test: score a study's stored models on data from elsewhere, and record the scores beside the others.

Knows no subject: which factory reads a file is the study's own data factory, an installed reader, or the user's word.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.commands import report
from ablate.scheduler.workspace import Workspace, resolve_device
from ablate.study import InputError, Metric, Problem, components, study_file, trust
from ablate.study.resolve import resolve
from ablate.untrusted.wording import shown

if TYPE_CHECKING:
    import pandas as pd

    from ablate.analysis.results import Results
    from ablate.trainers.contract import Batch, Data

READERS = "ablate.external"  # entry points: data factories with an attribute `reads(file) -> bool`
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,59}")
# Settings of a data factory that say which part of a source is trained on: other data is used whole.
PARTITION = ("file", "split_seed", "fold", "folds")

Tell = Callable[[int, int, str], None]  # runs done, runs in all, the run at hand


@dataclass(frozen=True)
class ExternalTest:
    """What an external test gave. `scores` is tidy: arm, seed, metric, score; `notes` say what could not be scored."""

    study: str
    name: str
    file: Path
    examples: int
    scores: pd.DataFrame
    notes: tuple[str, ...]
    results: Results  # of the study, these scores among them

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        head = {"study": self.study, "name": self.name, "file": str(self.file), "examples": self.examples}
        return {**head, "scores": json.loads(self.scores.to_json(orient="records")), "notes": list(self.notes)}


def evaluate(
    study: str,
    workspace: Workspace,
    data: Path,
    *,
    name: str | None = None,
    factory: str | None = None,
    tell: Tell = lambda done, total, run: None,
) -> ExternalTest:
    """Score every finished run that kept its model on all examples of `data`, with every metric of the catalogue.

    `study`: a file or a name in the store; `data`: a path, or a name under the data root. The scores are recorded in
    the store as `external/<name>/<metric>`, with `external/<name>/examples`; the same name again replaces them.
    What a study file or `factory` names is imported, and of what the store names what `trust` allows.
    Raises InputError before anything is recorded.
    """
    folder = Path(study).resolve().parent if study.endswith(".toml") else workspace.here
    given = data.resolve() if data.is_file() else None  # before a component is imported, which may change the folder
    found = report.results(_accepted(study), workspace)
    if factory:
        components.importable([workspace.here])
    file = data if given else components.find_data_file(
        str(data), data_root=workspace.data_root, study_dir=folder, working_folder=workspace.here
    )  # fmt: skip
    name = label(name, file)
    scorer = _Scorer(found, workspace, folder, given or file.resolve(), factory)
    models = {place: path for place in scorer.places() if (path := found.artifact(*place, "model"))}
    if not models:
        raise InputError(*_no_model(found, scorer.places()))
    scores: dict[tuple[str, int], dict[str, float]] = {}
    for count, (place, path) in enumerate(models.items()):
        tell(count, len(models), f"{place[0]} seed {place[1]}")
        result = scorer.score(place, path)
        if result:
            scores[place] = result
    tell(len(models), len(models), "")
    without = [place for place in scorer.places() if place not in models]
    reasons = _unloadable(found, without)
    missing = len(without) - len(reasons)
    kept_none = [f"{missing} finished runs kept no model and could not be scored"] if missing else []
    notes = [*scorer.notes, *reasons, *kept_none]
    if not scores:
        raise InputError(*(Problem(str(file), "", note) for note in dict.fromkeys(notes)))
    _record(found, name, scores, scorer.examples)
    now = report.results(found.study.name, workspace)
    return ExternalTest(found.study.name, name, file, scorer.examples, _tidy(scores), tuple(dict.fromkeys(notes)), now)


def _accepted(study: str) -> str:
    """The name of a study whose file, where one is given, may name code."""
    return study_file.load(Path(study)).name if study.endswith(".toml") else study


def label(name: str | None, file: Path) -> str:
    """The name under which scores are recorded: as given, else the file's stem. Raises InputError for a bad one."""
    if name is None:
        name = re.sub(r"[^A-Za-z0-9_.\-]", "_", file.stem).lstrip("_.-")[:60] or "data"
    if not NAME.fullmatch(name):
        rule = "must be letters, digits, dots, dashes and underscores, at most 60, the first a letter or digit"
        raise InputError(Problem("--name", "", rule, shown(name)))
    return name


class _Scorer:
    """The data of each arm, made once for all arms that see the same, and the study's metrics on it."""

    def __init__(self, found: Results, workspace: Workspace, folder: Path, file: Path, factory: str | None) -> None:
        import torch

        self.found, self.folder, self.file, self.data_root = found, folder, file, workspace.data_root
        self.device = torch.device(resolve_device(workspace.device))
        place = found.study.name
        trust.check(found.study.catalogue, file=place, place="catalogue")
        self.catalogue: list[Metric] = list(study_file.load_catalogue(found.study.catalogue, file=place).values())
        self.named = factory  # by the person
        self.factory = factory or reader(str(found.study.settings["data"]["factory"]), self.file)
        self.examples = 0
        self.notes: list[str] = []
        self._data: dict[str, Data] = {}
        self._batches: dict[str, Batch | None] = {}

    def places(self) -> list[tuple[str, int]]:
        """Every finished run: arm and seed."""
        done = self.found.done()
        return [(str(arm), int(seed)) for arm, seed in zip(done.arm, done.seed, strict=True)]

    def score(self, place: tuple[str, int], path: Path) -> dict[str, float] | None:
        """One number a metric; None, and a note, for a run that cannot be scored."""
        from ablate.trainers.builtin import evaluation
        from ablate.trainers.builtin.checkpoints import load_model, read_settings
        from ablate.trainers.builtin.model_size_check import check_size

        batch = self._examples(place[0])
        if batch is None:
            return None
        try:
            trust.check(read_settings(path)["factory"], file=str(path), place="model.json")
            check_size(path)
            output = evaluation.predict(load_model(path).to(self.device), batch)
            scores = evaluation.score(output, batch.targets, self.catalogue)
            primary = self.found.study.metrics[0]
            if math.isfinite(scores[primary]):
                return scores
            reason = f"{primary} has no value, as where inputs are not finite"
        except InputError as error:
            reason = str(error)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a person's model or metric may raise anything; the other runs still count
            reason = f"{type(error).__name__}: {error}"
        self.notes.append(f"{place[0]} seed {place[1]} could not be scored: {reason}")
        return None

    def _examples(self, arm: str) -> Batch | None:
        """All examples as the arm's control shows them; None, and a note, where it cannot."""
        from ablate.trainers.builtin.controls import controlled

        settings = resolve(self.found.study, arm)
        section, control = self._section(settings["data"]), settings.get("control", {})
        identity = json.dumps([section, control], sort_keys=True, default=str)
        if identity not in self._batches:
            data = self._load(section)
            try:
                self._batches[identity] = controlled(data, control).examples("all")
            except InputError as error:  # one person alone leaves nobody to shuffle with
                if not control:
                    raise
                self._batches[identity] = None
                self.notes.append(f"{arm} could not be scored: {error}")
        batch = self._batches[identity]
        if batch is not None and not len(batch.inputs):
            raise InputError(Problem(str(self.file), "", "holds no example"))
        self.examples = self.examples if batch is None else len(batch.inputs)
        return batch

    def _section(self, own: Mapping[str, Any]) -> dict[str, Any]:
        """The arm's data settings, as far as the factory that reads the file takes them.

        An arm that was given data of another kind is judged on the study's settings.
        """
        theirs = self.found.study.settings["data"]
        settings = own if own["factory"] == theirs["factory"] else theirs
        factory = self.factory or str(theirs["factory"])
        kept = {k: v for k, v in settings.items() if k not in ("factory", *PARTITION)}
        if factory != settings["factory"]:
            kept = {key: value for key, value in kept.items() if components.takes(factory, key)}
        return {"factory": factory, **kept, "file": str(self.file)}

    def _load(self, section: Mapping[str, Any]) -> Data:
        from ablate.trainers.builtin.run import Context, load_data

        identity = json.dumps(section, sort_keys=True, default=str)
        if identity in self._data:
            return self._data[identity]
        if section["factory"] != self.named:
            trust.check(str(section["factory"]), file=self.found.study.name, place="settings.data.factory")
        if not components.takes(str(section["factory"]), "file"):
            rule = f"{section['factory']} reads no file to put --data in place of"
            raise InputError(Problem(self.found.study.name, "settings.data.factory", rule))
        context = Context(self.found.study.catalogue, (), self.folder, Path(), Path(), str(self.device), self.data_root)
        try:
            data = load_data(section, context, self.device, to_train=False)
        except (InputError, KeyboardInterrupt):
            raise
        except BaseException as error:  # a person's data source may raise anything
            reason = f"{type(error).__name__}: {error}"
            raise InputError(Problem(str(self.file), "", "cannot be read as data of this study", reason)) from None
        self._data[identity] = data
        trained = {origin.get("data_digest") for origin in self.found.provenance.values()}
        if data.digest in trained:
            self.notes.append("this is the data that the study was trained and tested on: no external test")
        return data


def reader(own: str, file: Path) -> str | None:
    """The installed factory that says it reads this file; None: the study's own factory `own` has to.

    Only readers of the package that `own` comes from are asked: they make the same kind of examples.
    """
    package = own.partition(":")[0].rpartition(".")[0]
    for entry in sorted(entry_points(group=READERS), key=lambda e: e.name):
        if entry.module.rpartition(".")[0] == package and package:
            found = components.load_component(entry.value, file=READERS, place=entry.name)
            if found.reads(file):
                return entry.value
    return None


def _unloadable(found: Results, places: list[tuple[str, int]]) -> list[str]:
    """Of these finished runs those whose network could not be loaded again, each with the reason."""
    from ablate.trainers.builtin.checkpoints import UNLOADABLE

    reasons = {(arm, seed): found.provenance[arm, seed].get(UNLOADABLE) for arm, seed in places}
    return [f"{arm} seed {seed} could not be scored: {reason}" for (arm, seed), reason in reasons.items() if reason]


def _no_model(found: Results, places: list[tuple[str, int]]) -> list[Problem]:
    name = found.study.name
    if not places:
        return [Problem(name, "", "no finished run to evaluate", nearest="`ablate run` first")]
    rule = "no finished run kept its model, so none can be evaluated"
    reasons = [Problem(name, "", reason) for reason in _unloadable(found, places)]
    return [Problem(name, "", rule, nearest="`ablate run --rerun`"), *reasons]


def _record(found: Results, name: str, scores: Mapping[tuple[str, int], Mapping[str, float]], examples: int) -> None:
    from ablate.analysis.external import EXAMPLES, PREFIX

    done = found.done()
    ids = {(str(r.arm), int(str(r.seed))): str(r.run_id) for r in done.itertuples()}
    for place, values in scores.items():
        logged = {f"{PREFIX}{name}/{metric}": value for metric, value in values.items()}
        found.tracker.add_scores([ids[place]], {**logged, f"{PREFIX}{name}/{EXAMPLES}": float(examples)})


def _tidy(scores: Mapping[tuple[str, int], Mapping[str, float]]) -> pd.DataFrame:
    import pandas as pd

    rows = [(*place, metric, value) for place, values in scores.items() for metric, value in values.items()]
    return pd.DataFrame(rows, columns=["arm", "seed", "metric", "score"])
