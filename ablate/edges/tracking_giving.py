"""Bring a study from a local store into an MLflow server, which makes ids of its own: a tag keeps the old ones.

A run is made, filled, and said to have ended last; one that was begun and not ended is done again by the next import.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from ablate.edges import tracking_store  # isort: skip  # first: it silences MLflow before MLflow is imported
from mlflow import entities
from mlflow.entities import DatasetInput, InputTag, LoggedModelOutput, Metric, Param, Run, ViewType
from mlflow.exceptions import MlflowException

from ablate.design.amend import supersedes
from ablate.edges import whole_rows as rows
from ablate.edges.addresses import redacted
from ablate.edges.ledger import DOCUMENT, ROLE, default_uri, read_document
from ablate.edges.snapshot_store import Copied
from ablate.edges.tracking import METRICS_A_BATCH, PARAMS_A_BATCH, PARENT, MlflowTracker
from ablate.edges.tracking_reading import ClientReader
from ablate.edges.tracking_taking import AT_ONCE, DESCRIPTION, Insist, Tell, once, renamed
from ablate.edges.tracking_terms import parts, tags_of
from ablate.edges.whole import ENDED, ORIGIN, READY, Dataset, Point, WholeModel, WholeRun, latest, own_tags
from ablate.study import InputError, Problem


def give(study: str, store: Path, uri: str | None, root: Path, tell: Tell, insist: Insist = once) -> Copied:
    """Add to the store at `uri` what it lacks of a study in the folder `store`; what is there stays.

    Runs that it knows, also deleted ones, stay as they are, but for scores measured since. Of two parent runs it keeps
    its own, with the later document. Raises InputError for what it does not take, StoreUnavailable when it goes away
    and `insist` does not wait for it: then the next import goes on.
    """
    tracking_store.connect(default_uri(store), store)  # it may be of an older MLflow
    target = MlflowTracker(uri, root)
    came: dict[str, int] = {}
    insist(lambda: _give(study, store, target, tell, came))
    return Copied(len(came), sum(came.values()))


def _give(study: str, store: Path, target: MlflowTracker, tell: Tell, came: dict[str, int]) -> None:
    """What is lacking just now. `came` is told the runs that are brought, by their ids here, and how many models."""
    giver = _Giver(study, target, tracking_store.experiment_id(target.client, target.uri, target.root, study))
    parent, runs = rows.ended(study, store)
    known = giver.known()
    new = [run for run in runs if run not in known]
    if not new and giver.parent is None:
        return  # all of it was discarded there
    giver.open(rows.read(parent, store))

    def add(run_id: str) -> None:
        run = rows.read(run_id, store)
        came[run_id] = len(run.models)
        giver.add(run)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            for done, _ in enumerate(pool.map(add, new), 1):
                tell(done, len(new))
        finally:
            pool.shutdown(cancel_futures=True)
    for run_id in runs:
        if run_id in known:
            giver.rescore(known[run_id], rows.read(run_id, store))
    giver.close()


class _Giver:
    """Writes one study. Only `add` may be called from several threads."""

    def __init__(self, study: str, target: MlflowTracker, experiment_id: str) -> None:
        self.study, self.target, self.client, self.experiment_id = study, target, target.client, experiment_id
        self.reader = ClientReader(target.client, target.uri)
        self.parent: Run | None = next(self.reader.search(experiment_id, f"tags.`{ROLE}` = 'study'"), None)
        self.one_by_one = Lock()  # MLflow adds a dataset that is new without looking who else does
        self.marks: dict[str, str] = {}  # tags of every new run
        self.last: tuple[str, int | None] | None = None  # how the parent run is to end

    def known(self) -> dict[str, Run]:
        """The runs that ended or were discarded there, by their ids and the ids where they came from.

        Those of an import that was interrupted are discarded.
        """
        found: dict[str, Run] = {}
        left = []
        for run in self.reader.search(self.experiment_id, view=ViewType.ALL):
            if run.info.status in ENDED:
                found[run.data.tags.get(ORIGIN, run.info.run_id)] = found[run.info.run_id] = run
            elif run.info.lifecycle_stage == "active" and _imported(run):
                left.append(run.info.run_id)
        self.target.discard(left)
        return found

    def open(self, theirs: WholeRun) -> None:
        """Settle on a parent run."""
        end = (theirs.status if theirs.status in ENDED else "FAILED", theirs.ended)
        ours = self.parent
        with _taken(theirs):
            if ours is None:
                tags = {**own_tags(theirs.tags), ORIGIN: theirs.run_id}
                ours = self.client.create_run(self.experiment_id, theirs.began, tags, theirs.name or None)
                self.parent, self.last = ours, end
                self._document(theirs)
            elif ours.data.tags.get(ORIGIN) == theirs.run_id and ours.info.status not in ENDED:  # was interrupted
                self.last = end
                if self.reader.artifact(ours.info.run_id, DOCUMENT) is None:
                    self._document(theirs)
            elif ours.info.status in ENDED and self._supersedes(theirs, ours):
                self.last = end
                self.client.log_batch(ours.info.run_id, tags=tags_of(own_tags(theirs.tags)))
                self._document(theirs)
        self.marks = {PARENT: ours.info.run_id}

    @property
    def parent_id(self) -> str:
        if self.parent is None:
            raise LookupError("open it first")
        return str(self.parent.info.run_id)

    def _supersedes(self, theirs: WholeRun, ours: Run) -> bool:
        later = (theirs.ended or 0) > (ours.info.end_time or 0)
        if ours.data.tags.get(ORIGIN, ours.info.run_id) != theirs.run_id:
            return later
        files = (theirs.files / DOCUMENT if theirs.files else None, self.reader.artifact(ours.info.run_id, DOCUMENT))
        new, old = (read_document(file) if file and file.is_file() else {} for file in files)
        return supersedes(new, old, closed_later=later)

    def _document(self, theirs: WholeRun) -> None:
        if theirs.files and (theirs.files / DOCUMENT).is_file():
            self.client.log_artifact(self.parent_id, str(theirs.files / DOCUMENT))

    def add(self, run: WholeRun) -> None:
        """Make a run, whole when it is said to have ended."""
        with _taken(run):
            tags = {**own_tags(run.tags), **self.marks, ORIGIN: run.run_id}
            run_id = str(self.client.create_run(self.experiment_id, run.began, tags, run.name or None).info.run_id)
            for part in parts([Param(name, value) for name, value in run.params.items()], PARAMS_A_BATCH):
                self.client.log_batch(run_id, params=part)
            if run.datasets:
                with self.one_by_one:
                    self.client.log_inputs(run_id, [_input(dataset) for dataset in run.datasets])
            if run.files and any(run.files.iterdir()):
                self.client.log_artifacts(run_id, str(run.files))
            owners: dict[Point, str] = {}
            for model in run.models:
                owners |= dict.fromkeys(model.points, self._add_model(model, run_id, run.run_id))
            self._log(run_id, run.points, owners)
            self.client.set_terminated(run_id, run.status, run.ended)

    def _add_model(self, model: WholeModel, run_id: str, origin: str) -> str:
        tags = {**own_tags(model.tags), ORIGIN: model.model_id}
        kind, params = model.kind or None, dict(model.params)
        made = self.client.create_logged_model(self.experiment_id, model.name, run_id, tags, params, kind)
        self.client.log_outputs(run_id, [LoggedModelOutput(made.model_id, step=0)])
        if model.files:
            with tempfile.TemporaryDirectory(prefix="ablate-model-") as scratch:
                files = Path(shutil.copytree(model.files, Path(scratch, "model")))
                renamed(files / DESCRIPTION, {model.model_id: made.model_id, origin: run_id})
                self.client.log_model_artifacts(made.model_id, str(files))
        if model.status == READY:
            self.client.finalize_logged_model(made.model_id, "READY")
        return str(made.model_id)

    def _log(self, run_id: str, points: Iterable[Point], owners: Mapping[Point, str]) -> None:
        metrics = [Metric(p.key, p.value, p.when, p.step, model_id=owners.get(p)) for p in points]
        for part in parts(metrics, METRICS_A_BATCH):
            self.client.log_batch(run_id, metrics=part)

    def rescore(self, ours: Run, theirs: WholeRun) -> None:
        """Add the scores that came later to a run which is known."""
        if (ours.info.status, theirs.status, ours.info.lifecycle_stage) != ("FINISHED", "FINISHED", "active"):
            return
        times = {metric.key: metric.timestamp for metric in ours.data.to_proto().metrics}
        later = {key for key, point in latest(theirs.points).items() if point.when > times.get(key, -1)}
        if later:
            points = [p for p in theirs.points if p.key in later and p.when > times.get(p.key, -1)]
            with _taken(theirs):
                self._log(ours.info.run_id, points, {})

    def close(self) -> None:
        """Say how the study stands, in its parent run."""
        if self.last:
            self.client.set_terminated(self.parent_id, *self.last)


def _imported(run: Run) -> bool:
    return ORIGIN in run.data.tags and run.data.tags.get(ROLE) != "study"


@contextmanager
def _taken(run: WholeRun) -> Iterator[None]:
    try:
        yield
    except MlflowException as error:  # a lasting one: see tracking_faults
        said = redacted(next(iter(str(error).splitlines()), ""))[:200]
        raise InputError(Problem("tracking store", f"run {run.run_id}", "is not taken", said)) from None


def _input(of: Dataset) -> DatasetInput:
    data = entities.Dataset(of.name, of.digest, of.source_type, of.source, of.schema, of.profile)
    return DatasetInput(data, [InputTag(name, value) for name, value in of.tags.items()])
