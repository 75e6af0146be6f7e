"""Keep a study's runs in MLflow. It knows tags, metrics and artifacts, and nothing of how runs are made.

An experiment is a study; its parent run holds the study's document; every other run is one (arm, seed), or one
tuning trial with one seed. Only the driver process writes.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from ablate.tracking.mlflow import store  # isort: skip  # first: it silences MLflow before MLflow is imported
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag

from ablate.study import Record, RunDiscarded, RunResult, RunSpec, StoredRun
from ablate.tracking.mlflow import sqlite_reader, stored_runs
from ablate.tracking.mlflow.client_reader import ClientReader
from ablate.tracking.mlflow.errors import passing_faults, translated
from ablate.tracking.mlflow.finished_cache import Cache
from ablate.tracking.mlflow.models import log_model
from ablate.tracking.mlflow.schema import (
    SOURCE,
    TAG_LIMIT,
    cut,
    dataset_inputs,
    datasets,
    fitting,
    identity,
    parts,
    place_of,
    settings_params,
    tags_of,
)
from ablate.tracking.record_format import DOCUMENT, FAILURES, MODEL, ROLE, read_document
from ablate.untrusted.addresses import database_file, default_uri, local_path

PARENT = "mlflow.parentRunId"
METRICS_A_BATCH, PARAMS_A_BATCH = 900, 100  # a request takes 1000 things, tags among them
ARTIFACTS = ("*.parquet", "*.npz", "*.log", "*.diff")  # of a run's folder, beside its model


class MlflowTracker:
    """See `study.Tracker`. The store is any MLflow address."""

    def __init__(self, uri: str | None, root: Path) -> None:
        """`root`: the `mlruns` folder. It holds the database when no address is given, and under
        `artifacts/<study>` the artifacts of any database store. Raises InputError when the store cannot be used."""
        self.uri, self.root = store.usable(uri or default_uri(root)), root.resolve()
        self._studies: dict[str, tuple[str, str]] = {}  # study → experiment id, parent run id
        self._epochs: dict[str, dict[str, int]] = {}  # run id → metric → last step logged
        self._places: dict[str, str] = {}  # run id → where its artifacts go
        self._finishing: set[str] = set()  # runs whose recording was begun here
        self._left: dict[str, list[Run]] = {}  # by experiment: unfinished runs of earlier processes
        self._folders: dict[str, Path | None] = {}  # of a SQLite store's runs, once their study's records were read
        self._begun: dict[tuple[str, tuple[str, ...]], set[int]] = {}  # by experiment and cell: when started here
        self._clock = 0
        self.initialise()

    def initialise(self) -> None:
        """Create or migrate the store before anything else touches it. Raises InputError when it cannot be used."""
        _ = self.client

    @cached_property
    def client(self) -> MlflowClient:
        return translated(store.connect(self.uri, self.root))

    @cached_property
    def _database(self) -> Path | None:
        """The file of a SQLite store, which is read by SQL: MLflow takes 18 s to find ten thousand runs."""
        file = database_file(self.uri)
        return file if file and file.is_file() else None  # an address may say more than a file's name

    @cached_property
    def _cache(self) -> Cache | None:
        return None if self._database else Cache(self.root, self.uri)

    @cached_property
    def _remote(self) -> ClientReader:
        return ClientReader(self.client, self.uri, self._cache)

    # Reading

    def studies(self) -> list[str]:
        return sorted(experiment.name for experiment in self._remote.experiments() if self._find(experiment.name))

    def document(self, study: str) -> dict[str, Any] | None:
        found = self._find(study)
        path = self.artifact(found[1], DOCUMENT) if found else None
        return read_document(path) if path else None

    def records(self, study: str) -> list[Record]:
        if self._database is None:
            return self._remote.records(study)
        with passing_faults():
            self._folders |= sqlite_reader.folders_from_sqlite(self._database, study)
            return sqlite_reader.records_from_sqlite(self._database, study)

    def history(self, run_id: str) -> list[dict[str, float]]:
        if self._database is None:
            return self._remote.history(run_id)
        with passing_faults():
            return sqlite_reader.history_from_sqlite(self._database, run_id)

    def histories(self, study: str, run_ids: Collection[str]) -> Iterator[tuple[str, list[dict[str, float]]]]:
        if self._database is None:
            yield from self._remote.histories(run_ids)
            return
        wanted = set(run_ids)
        with passing_faults():
            yield from (
                each for each in sqlite_reader.histories_from_sqlite(self._database, study) if each[0] in wanted
            )

    def artifact(self, run_id: str, path: str) -> Path | None:
        folder = self._folders.get(run_id) if path != MODEL else None
        if folder is None:
            return self._remote.artifact(run_id, path)
        found = folder / path
        return found if found.exists() else None

    def _search(self, experiment_id: str, condition: str = "") -> Iterator[Run]:
        return self._remote.search(experiment_id, condition)

    def _find(self, study: str) -> tuple[str, str] | None:
        """Experiment id and parent run id of a study that was opened before."""
        if study not in self._studies:
            experiment = self.client.get_experiment_by_name(study)
            if experiment is None or experiment.lifecycle_stage != "active":
                return None
            parents = self._search(experiment.experiment_id, f"tags.`{ROLE}` = 'study'")
            parent = next(parents, None)
            if parent is None:
                return None
            self._studies[study] = (experiment.experiment_id, parent.info.run_id)
        return self._studies[study]

    # The study

    def open(self, study: str, document: Mapping[str, Any]) -> None:
        found = self._find(study) or self._create(study)
        _, parent = found
        tags = {"ablate.hypotheses": str(document.get("hypotheses_digest", ""))}
        self.client.log_batch(parent, tags=tags_of(tags))
        self.client.update_run(parent, status="RUNNING")
        self._log_text(parent, DOCUMENT, json.dumps(document, indent=2) + "\n")

    def _create(self, study: str) -> tuple[str, str]:
        experiment_id = store.experiment_id(self.client, self.uri, self.root, study)
        tags = {ROLE: "study", "ablate.study": study, **SOURCE}
        parent = self.client.create_run(experiment_id, self._now(), tags, study).info.run_id
        self._studies[study] = (experiment_id, parent)
        return experiment_id, parent

    def close(self, study: str, *, finished: bool) -> None:
        found = self._find(study)
        if found:
            self.client.set_terminated(found[1], "FINISHED" if finished else "FAILED")

    # Runs

    def sweep(self, study: str) -> int:
        found = self._find(study)
        if found is None:
            return 0
        experiment_id, parent = found
        conditions = [f"attributes.status = '{status}'" for status in ("RUNNING", "SCHEDULED")]
        left = [run for condition in conditions for run in self._search(experiment_id, condition)]
        for run in left:
            if run.data.tags.get(ROLE) != "study":
                self._delete_models(experiment_id, run.info.run_id)
                self.kill(run.info.run_id)
            elif run.info.run_id != parent:  # made twice where the first answer of the store was lost
                self.client.delete_run(run.info.run_id)
        return sum(run.data.tags.get(ROLE) != "study" for run in left)

    def start(self, spec: RunSpec, failures: int = 0) -> str:
        found = self._find(spec.study)
        if found is None:
            raise LookupError(f"study {spec.study}: open it before starting a run")
        experiment_id, parent = found
        self._discard_unfinished(experiment_id, spec)
        began = self._now()
        self._begun.setdefault((experiment_id, place_of(identity(spec))), set()).add(began)
        tags = {**identity(spec), PARENT: parent, **SOURCE, **({FAILURES: str(failures)} if failures else {})}
        made = self.client.create_run(experiment_id, began, tags, spec.name).info
        run_id: str = made.run_id
        params = [Param(name, value) for name, value in settings_params(spec).items()]
        for part in parts(params, PARAMS_A_BATCH):
            self.client.log_batch(run_id, params=part)
        if "data" in spec.settings:
            self.client.log_inputs(run_id, datasets(spec))
        self._epochs[run_id], self._places[run_id] = {}, made.artifact_uri
        return run_id

    def _discard_unfinished(self, experiment_id: str, spec: RunSpec) -> None:
        """One search finds what was left before; only a cell that was started here before needs one of its own.

        A RUNNING run that was not started here stays: another driver is at it, and if each discarded the other's, none
        would ever end. Those of a driver that is no more are KILLED by `sweep`.
        """
        if experiment_id not in self._left:
            left = self._search(experiment_id, "attributes.status != 'FINISHED'")
            self._left[experiment_id] = [run for run in left if "ablate.key" in run.data.tags]
        place = place_of(identity(spec))
        runs, ours = self._left[experiment_id], self._begun.get((experiment_id, place), set())
        if ours:
            condition = f"tags.`ablate.key` = '{spec.key}' AND attributes.status != 'FINISHED'"
            runs = list(self._search(experiment_id, condition))
        of_the_cell = [run.info for run in runs if place_of(run.data.tags) == place]
        self.discard([i.run_id for i in of_the_cell if i.status != "RUNNING" or i.start_time in ours])
        self._left[experiment_id] = [run for run in self._left[experiment_id] if place_of(run.data.tags) != place]

    def log_epoch(self, run_id: str, scores: Mapping[str, float]) -> None:
        self.log_epochs(run_id, [scores])

    def log_epochs(self, run_id: str, entries: Sequence[Mapping[str, float]]) -> None:
        metrics = self._points(entries)
        self._log(run_id, metrics)
        self._epochs[run_id] = self._steps(run_id, metrics)  # not before: what failed is logged again

    def _points(self, entries: Iterable[Mapping[str, float]]) -> list[Metric]:
        now = self._now()
        return [
            Metric(name, float(value), now, int(entry["epoch"]))
            for entry in entries
            for name, value in entry.items()
            if name != "epoch"
        ]

    def _steps(self, run_id: str, metrics: Iterable[Metric]) -> dict[str, int]:
        """The last step of every curve, these points included."""
        steps = dict(self._epochs.get(run_id, {}))
        for metric in metrics:
            steps[metric.key] = max(steps.get(metric.key, 0), metric.step)
        return steps

    def finish(self, run_id: str, spec: RunSpec, result: RunResult, failures: int = 0) -> None:
        logged = max(self._epochs.get(run_id, {}).values(), default=0)
        metrics = self._points(entry for entry in result.history if entry["epoch"] > logged)
        model_id = None
        if spec.phase != "tune" or result.status == "FAILED":
            model_id = self._log_artifacts(run_id, spec, result)
        metrics += self._scores({**result.scores, **result.timings}, self._steps(run_id, metrics), model_id)
        provenance = json.dumps(fitting(result.provenance), sort_keys=True)
        tags = {"ablate.provenance": provenance, "ablate.error": cut(result.error, TAG_LIMIT)}
        if failures:
            tags[FAILURES] = str(failures)
        if "commit" in result.provenance:
            tags["mlflow.source.git.commit"] = result.provenance["commit"]
        self._log(run_id, metrics, tags_of({name: value for name, value in tags.items() if value}))
        self.client.set_terminated(run_id, "KILLED" if failures else result.status)  # last: a FINISHED run is whole
        if self._cache and spec.phase == "compare" and result.status == "FINISHED":
            local = local_path(self._places.get(run_id, "")) is not None
            self._cache.keep(run_id, result.history, result.artifacts, tables=not local)
        for held in (self._epochs, self._places):
            held.pop(run_id, None)
        self._finishing.discard(run_id)

    def _log_artifacts(self, run_id: str, spec: RunSpec, result: RunResult) -> str | None:
        folder = result.artifacts
        with passing_faults(), tempfile.TemporaryDirectory() as scratch:
            text = json.dumps(dict(result.provenance), indent=2, sort_keys=True) + "\n"
            Path(scratch, "provenance.json").write_text(text, encoding="utf-8")
            for file in [found for pattern in ARTIFACTS for found in folder.glob(pattern)] if folder else []:
                shutil.copy(file, scratch)
            store.artifacts(self._places[run_id], self.uri).log_artifacts(scratch)
        if spec.phase != "compare" or folder is None or not (folder / MODEL / "model.json").is_file():
            return None
        experiment_id = self._studies[spec.study][0]
        begun = self._models(experiment_id, run_id) if run_id in self._finishing else []
        self._finishing.add(run_id)
        with passing_faults():
            return log_model(self.client, self.uri, experiment_id, run_id, folder / MODEL, identity(spec), begun)

    def _scores(self, scores: Mapping[str, float], steps: Mapping[str, int], model_id: str | None) -> list[Metric]:
        """Curves keep their last step, so that the final score is their latest value; the rest stands at step 0."""
        now = self._now()
        return [
            Metric(name, float(value), now, steps.get(name, 0), model_id=model_id) for name, value in scores.items()
        ]

    def _log(self, run_id: str, metrics: list[Metric], tags: Sequence[RunTag] = ()) -> None:
        """In as few requests as a server's limit allows."""
        *first, last = list(parts(metrics, METRICS_A_BATCH)) or [[]]
        for part in first:
            self.client.log_batch(run_id, metrics=part)
        self.client.log_batch(run_id, metrics=last, tags=tags)

    # Runs that travel

    def stored(self, study: str) -> list[StoredRun]:
        return stored_runs.runs(self._remote, study)

    def files(self, run_id: str) -> Path | None:
        return stored_runs.files(self._remote, run_id)

    def add(
        self, run: StoredRun, history: Sequence[Mapping[str, float]], files: Path | None, model: Path | None
    ) -> str:
        found = self._find(run.study)
        if found is None:
            raise LookupError(f"study {run.study}: open it before adding a run")
        experiment_id, parent = found
        tags = {**stored_runs.tags_of_run(run), PARENT: parent}
        with stored_runs.taken(run):
            made = self.client.create_run(experiment_id, run.started, tags, run.record.name).info
            self._fill(made.run_id, experiment_id, run, history, files, model)
            self.client.set_terminated(made.run_id, run.record.status, run.ended)  # last: a run that has ended is whole
        if self._cache and run.record.phase == "compare" and run.record.status == "FINISHED":
            self._cache.keep(made.run_id, history, files, tables=local_path(made.artifact_uri) is None)
        return str(made.run_id)

    def _fill(
        self,
        run_id: str,
        experiment_id: str,
        run: StoredRun,
        history: Sequence[Mapping[str, float]],
        files: Path | None,
        model: Path | None,
    ) -> None:
        for part in parts(stored_runs.params_of(run), PARAMS_A_BATCH):
            self.client.log_batch(run_id, params=part)
        if run.record.dataset:
            data = run.params.get("data.file") or run.params.get("data.factory") or "data"
            self.client.log_inputs(run_id, dataset_inputs(data, run.record.dataset, run.record.phase))
        if files and any(files.iterdir()):
            self.client.log_artifacts(run_id, str(files))
        model_id = self._add_model(run_id, experiment_id, stored_runs.tags_of_run(run), model) if model else None
        self._log(run_id, list(stored_runs.metrics_of(run, history, model_id)))

    def add_model(self, run_id: str, model: Path) -> None:
        run = self.client.get_run(run_id)
        self._add_model(run_id, run.info.experiment_id, run.data.tags, model)

    def _add_model(self, run_id: str, experiment_id: str, tags: Mapping[str, str], model: Path) -> str:
        said, begun = stored_runs.tags_of_model(tags), self._models(experiment_id, run_id)
        with passing_faults():
            return log_model(self.client, self.uri, experiment_id, run_id, model, said, begun)

    def kill(self, run_id: str) -> None:
        self.client.set_terminated(run_id, "KILLED")

    def discard(self, run_ids: Sequence[str]) -> None:
        for run_id in run_ids:
            with suppress(RunDiscarded):  # as it was to be
                info = self.client.get_run(run_id).info
                if info.status == "RUNNING":  # whoever lists the deleted ones sees none at work
                    self.kill(run_id)
                self._delete_models(info.experiment_id, run_id)
                self.client.delete_run(run_id)

    def forget(self, study: str) -> None:
        found = self._find(study)
        if found:
            self.discard([*(record.run_id for record in self.records(study)), found[1]])
            del self._studies[study]

    def _delete_models(self, experiment_id: str, run_id: str) -> None:
        for model_id in self._models(experiment_id, run_id):
            self.client.delete_logged_model(model_id)

    def _models(self, experiment_id: str, run_id: str) -> list[str]:
        """Models made for a run, those included that a driver died over before it had linked them to the run."""
        found = self.client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'")
        return [str(model.model_id) for model in found]

    def add_scores(self, run_ids: Sequence[str], scores: Mapping[str, float]) -> None:
        for run_id in run_ids:
            self._log(run_id, self._scores(scores, self._epochs.get(run_id, {}), None))

    def _log_text(self, run_id: str, name: str, text: str) -> None:
        with passing_faults(), tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch, name)
            path.write_text(text, encoding="utf-8")
            # not `client.log_artifact`, which remembers where the artifacts of a run lay before its store was moved
            place = self.client.get_run(run_id).info.artifact_uri
            store.artifacts(place, self.uri).log_artifact(str(path))

    def _now(self) -> int:
        """Milliseconds since the epoch, strictly rising: records sort by it, and later values win by it."""
        self._clock = max(self._clock + 1, time.time_ns() // 1_000_000)
        return self._clock
