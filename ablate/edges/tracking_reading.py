"""The reading half of a Tracker through MLflow's own client, for servers and databases other than SQLite.

A server has a request for every page of runs, every curve and every file, so what a study's summary holds is taken
from there. Imported by `tracking` alone; it must not write.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from zipfile import BadZipFile

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities import Experiment, LoggedModel, Run, ViewType
from mlflow.exceptions import MlflowException

from ablate.edges.ledger import DOCUMENT, MODEL, MODEL_DATA, ROLE, curves, database_file, local_path, record_of
from ablate.edges.summary import (
    FOLDER,
    GENERATION,
    MAX_FILE_BYTES,
    MAX_PACK_BYTES,
    PACKED,
    SUMMARY,
    Dated,
    Summary,
    slot,
)
from ablate.study import Record

# Scored once a run, so no curve: the store has a request for every name asked.
ONCE = ("test/", "cost/", "count/", "time/", "external/")
RUNS_A_PAGE = EXPERIMENTS_A_PAGE = 1000
MAX_POINTS = 1_000_000  # of curves that are remembered: some 100 MB
LATER = "attributes.status = 'FINISHED' AND tags.`{tag}` = '{generation}'"


class ClientReader:
    """Answers of the store at `uri`. Files of a server are downloaded once, into a folder that goes with the reader."""

    def __init__(self, client: MlflowClient, uri: str) -> None:
        self.client, self.uri = client, uri
        self._summaries: dict[str, Summary] = {}  # by study, as last read
        self._told: dict[str, list[dict[str, float]]] = {}  # histories of runs that ended in this process
        self._left: dict[str, dict[str, Path]] = {}  # and their tables
        self._room_points, self._room_bytes = MAX_POINTS, MAX_PACK_BYTES

    @cached_property
    def downloads(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="ablate-artifacts-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder

    def records(self, study: str) -> list[Record]:
        """Oldest first. Of FINISHED runs those that the summary holds are not asked for again."""
        return [record for _, record in self.dated(study)]

    def dated(self, study: str) -> list[Dated]:
        """The same with the time at which each began."""
        experiment = self.client.get_experiment_by_name(study)
        if experiment is None or experiment.lifecycle_stage != "active":
            return []
        where = experiment.experiment_id
        deleted = self.deleted(where)
        summary = self.summary(study, where, deleted)
        if summary is None:
            return _in_order(_dated(self.search(where)))
        changed = [*self.search(where, "attributes.status != 'FINISHED'")]
        changed += self.search(where, LATER.format(tag=GENERATION, generation=summary.generation + 1))
        known = {**summary.records, **{record.run_id: (began, record) for began, record in _dated(changed)}}
        return _in_order(each for run_id, each in known.items() if run_id not in deleted)

    def summary(self, study: str, experiment_id: str, deleted: Collection[str]) -> Summary | None:
        """The study's summary, when it has one that is in force."""
        self._summaries.pop(study, None)
        parent = next(self.search(experiment_id, f"tags.`{ROLE}` = 'study'"), None)
        text = parent.data.tags.get(SUMMARY, "") if parent else ""
        if parent is None or not text.isdecimal():
            return None
        summary = Summary.read(int(text), partial(self._part, parent.info.run_id, int(text)))
        if summary is None or not summary.gone <= set(deleted):  # damaged; or a run was brought back by hand
            return None
        self._summaries[study] = summary
        return summary

    def in_force(self, study: str) -> Summary | None:
        """The summary that the last `records` of the study has used."""
        return self._summaries.get(study)

    def _part(self, parent: str, generation: int, name: str) -> Path | None:
        return self.artifact(parent, slot(name, generation))

    def deleted(self, experiment_id: str) -> set[str]:
        """Ids of FINISHED runs that were discarded."""
        found = self.search(experiment_id, "attributes.status = 'FINISHED'", ViewType.DELETED_ONLY)
        return {run.info.run_id for run in found}

    def history(self, run_id: str) -> list[dict[str, float]]:
        names = [name for name in self.client.get_run(run_id).data.metrics if not name.startswith(ONCE)]
        points = [point for name in names for point in self.client.get_metric_history(run_id, name)]
        return curves((point.key, point.value, point.step, point.timestamp) for point in points)

    def histories(self, study: str, run_ids: Collection[str]) -> Iterator[tuple[str, list[dict[str, float]]]]:
        """Of these runs of a study whose `records` have been read: the summary's first."""
        left = dict.fromkeys(run_ids)
        summary = self._summaries.get(study)
        for run_id, entries in summary.histories() if summary else ():
            if run_id in left:
                del left[run_id]
                yield run_id, entries
        for run_id in left:
            yield run_id, self._told[run_id] if run_id in self._told else self.history(run_id)

    def remember(self, run_id: str, history: Sequence[Mapping[str, float]], files: Iterable[Path]) -> None:
        """What a run that ends in this process leaves, so that its summary need not be asked of the store again."""
        points = sum(map(len, history))
        if history and points <= self._room_points:
            self._room_points -= points
            self._told[run_id] = [{"epoch": float(e["epoch"]), **dict(sorted(e.items()))} for e in history]
        tables = {file.name: file for file in files if file.name in PACKED}
        size = sum(file.stat().st_size for file in tables.values())
        if size <= min(len(PACKED) * MAX_FILE_BYTES, self._room_bytes):
            self._room_bytes -= size
            target = self.downloads / run_id
            target.mkdir(exist_ok=True)
            self._left[run_id] = {name: Path(shutil.copy(file, target)) for name, file in tables.items()}

    def artifact(self, run_id: str, path: str) -> Path | None:
        for summary in self._summaries.values():
            if summary.holds(run_id, path):
                with suppress(OSError, KeyError, BadZipFile):  # a damaged pack: the store has the file itself
                    return summary.file(run_id, path, self.downloads / run_id)
        if run_id in self._left and path in PACKED:
            return self._left[run_id].get(path)
        run = self.client.get_run(run_id)
        address, inside = run.info.artifact_uri, path
        if path == MODEL:
            outputs = run.outputs.model_outputs if run.outputs else []
            if not outputs:
                return None
            model = self._model(outputs[0].model_id)
            if model is None:
                return None
            address, inside = model.artifact_location, MODEL_DATA
        folder = local_path(address)
        if folder is None and database_file(self.uri) is not None:
            return None  # a local store has its artifacts at hand: no address in it is asked for
        found = folder / inside if folder else self._download(run_id, address, inside)
        return found if found and found.exists() else None

    def _model(self, model_id: str) -> LoggedModel | None:
        try:
            return self.client.get_logged_model(model_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None  # somebody has deleted it

    def _download(self, run_id: str, address: str, inside: str) -> Path | None:
        target = self.downloads / run_id
        changing = inside == DOCUMENT or inside.startswith(f"{FOLDER}/")
        if not changing and (target / inside).exists():
            return target / inside
        try:
            return Path(download_artifacts(f"{address}/{inside}", dst_path=str(target), tracking_uri=self.uri))
        except (MlflowException, OSError):  # what a server says of an artifact that is not there depends on its store
            shutil.rmtree(target / inside, ignore_errors=True)  # a part of a folder must not be taken for the whole
            return None

    def experiments(self, view: int = ViewType.ACTIVE_ONLY) -> Iterator[Experiment]:
        """Every experiment, page by page."""
        token = None
        while True:
            page = self.client.search_experiments(view, EXPERIMENTS_A_PAGE, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def search(self, experiment_id: str, condition: str = "", view: int = ViewType.ACTIVE_ONLY) -> Iterator[Run]:
        """Every run that the condition holds for, oldest first, page by page."""
        token = None
        while True:
            page = self.client.search_runs(
                [experiment_id], condition, view, RUNS_A_PAGE, ["attributes.start_time ASC"], token
            )
            yield from page
            token = page.token
            if not token:
                return


def _dated(runs: Iterable[Run]) -> Iterator[Dated]:
    for run in runs:
        if "ablate.key" in run.data.tags:
            said = run.info.run_id, run.info.status, run.data.tags, run.data.metrics, dataset_of(run)
            yield run.info.start_time, record_of(*said)


def _in_order(runs: Iterable[Dated]) -> list[Dated]:
    return sorted(runs, key=lambda each: (each[0], each[1].run_id))


def dataset_of(run: Run) -> str:
    """The digest of the data that a run read."""
    inputs = run.inputs.dataset_inputs if run.inputs else []
    return str(inputs[0].dataset.digest) if inputs else ""
