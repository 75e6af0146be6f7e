"""Record a study's runs in MLflow and read them back. It must not know how runs are trained.

An experiment is a study; its parent run holds the study's document; every other run is one (arm, seed), or one tuning
trial with one seed. Only the process of the scheduler writes.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from ablate.tracking.mlflow import store  # isort: skip  # first: it silences MLflow before MLflow is imported
from mlflow.entities import Metric, Run

from ablate.study import Record, RunDiscarded, RunResult, RunSpec, StoredRun
from ablate.study.runs import logs_to_mlflow
from ablate.study.summary import StudySummary
from ablate.tracking.mlflow import stored_runs
from ablate.tracking.mlflow.client_reader import ClientReader
from ablate.tracking.mlflow.errors import passing_faults, translated
from ablate.tracking.mlflow.finished_cache import FinishedCache
from ablate.tracking.mlflow.run_writer import RunWriter
from ablate.tracking.mlflow.schema import (
    SOURCE,
    TAG_LIMIT,
    Cell,
    cell_of,
    datasets,
    fitting,
    run_tags,
    settings_params,
)
from ablate.tracking.mlflow.sqlite_reader import LocalStore
from ablate.tracking.mlflow.summary_writer import STATE, SummaryWriter, discard
from ablate.tracking.record_format import (
    DOCUMENT,
    FAILURES,
    MODEL,
    PARENT,
    ROLE,
    STATUS,
    curves,
    identity,
    read_document,
    score,
)
from ablate.untrusted.addresses import database_file, default_uri, local_path
from ablate.untrusted.wording import cut

ARTIFACTS = ("*.parquet", "*.npz", "*.log", "*.diff")  # files of a run's folder that are logged, beside its model


class MlflowTracker:
    """Implements `study.Tracker` for any MLflow address."""

    def __init__(self, uri: str | None, root: Path) -> None:
        """`root`: the `mlruns` folder. It holds the database when no address is given, and under
        `artifacts/<study>` the artifacts of any database store. Raises InputError when the store cannot be used."""
        self.uri, self.root = store.usable(uri or default_uri(root)), root.resolve()
        self._studies: dict[str, tuple[str, str]] = {}  # study → experiment id, parent run id
        self._epochs: dict[str, dict[str, int]] = {}  # run id → metric → last step logged
        self._artifact_uris: dict[str, str] = {}  # run id → address of its artifacts
        self._finishing: set[str] = set()  # ids of runs whose model may be half-logged by this process
        self._unfinished: dict[str, list[Run]] = {}  # experiment id → runs of earlier processes
        self._started_ms: dict[tuple[str, Cell], set[int]] = {}  # (experiment id, cell) → starts here
        self._last_ms = 0
        self.client = translated(store.connect(self.uri, self.root))
        file = database_file(self.uri)
        self._cache = None if file else FinishedCache(self.root, self.uri)
        # A SQLite store is read by SQL: MLflow takes 18 s to list ten thousand runs.
        self._local = translated(LocalStore(file)) if file else None

    @cached_property
    def _reader(self) -> ClientReader:
        return ClientReader(self.client, self.uri, self._cache)

    @property
    def _source(self) -> LocalStore | ClientReader:
        return self._local or self._reader

    @property
    def _writer(self) -> RunWriter:
        return RunWriter(self.client, self.uri)

    # Reading

    def studies(self) -> list[str]:
        return sorted(experiment.name for experiment in self._reader.experiments() if self._find(experiment.name))

    def document(self, study: str) -> dict[str, Any] | None:
        ids = self._find(study)
        path = self.artifact(ids[1], DOCUMENT) if ids else None
        return read_document(path) if path else None

    def records(self, study: str) -> list[Record]:
        return self._source.records(study)

    def times(self, study: str) -> dict[str, tuple[int, int]]:
        return self._source.times(study)

    def histories(self, study: str, run_ids: Collection[str]) -> Iterable[tuple[str, list[dict[str, float]]]]:
        return self._source.histories(study, run_ids)

    def artifact(self, run_id: str, path: str) -> Path | None:
        return self._source.artifact(run_id, path)

    def _find(self, study: str) -> tuple[str, str] | None:
        """Experiment id and parent run id of a study; None when it was never opened."""
        if study not in self._studies:
            experiment = self.client.get_experiment_by_name(study)
            if experiment is None or experiment.lifecycle_stage != "active":
                return None
            parents = self._reader.search(experiment.experiment_id, f"tags.`{ROLE}` = 'study'")
            if not parents:
                return None
            self._studies[study] = (experiment.experiment_id, parents[0].info.run_id)
        return self._studies[study]

    # The study

    def open(self, study: str, document: Mapping[str, Any]) -> None:
        _, parent = self._find(study) or self._create(study)
        tags = {"ablate.hypotheses": str(document.get("hypotheses_digest", ""))}
        self.client.log_batch(parent, tags=run_tags(tags))
        self.client.update_run(parent, status="RUNNING")
        self._writer.log_text(parent, DOCUMENT, json.dumps(document, indent=2) + "\n")

    def _create(self, study: str) -> tuple[str, str]:
        experiment_id = store.experiment_id(self.client, self.uri, self.root, study)
        tags = {ROLE: "study", "ablate.study": study, **SOURCE}
        parent = self.client.create_run(experiment_id, self._now_ms(), tags, study).info.run_id
        self._studies[study] = (experiment_id, parent)
        return experiment_id, parent

    def close(self, study: str, *, finished: bool) -> None:
        ids = self._find(study)
        if ids:
            self.client.set_terminated(ids[1], "FINISHED" if finished else "FAILED")

    # Runs

    def sweep(self, study: str) -> int:
        ids = self._find(study)
        if ids is None:
            return 0
        experiment_id, parent = ids
        conditions = [f"attributes.status = '{status}'" for status in ("RUNNING", "SCHEDULED")]
        conditions.append(f"tags.`{STATUS}` = 'RUNNING'")  # also of a run that its script has ended
        found = [run for condition in conditions for run in self._reader.search(experiment_id, condition)]
        running = list({run.info.run_id: run for run in found}.values())
        own = [run for run in running if run.data.tags.get(ROLE) not in ("study", "arm")]
        for run in own:
            self._writer.delete_models(experiment_id, run.info.run_id)
            self.kill(run.info.run_id)
        for run in running:  # a second run of the study: the answer to the first request was lost
            if run.data.tags.get(ROLE) == "study" and run.info.run_id != parent:
                self.client.delete_run(run.info.run_id)
        discard(self.client, [run for run in running if run.data.tags.get(ROLE) == "arm"])  # half-written
        return len(own)

    def start(self, spec: RunSpec, failures: int = 0) -> str:
        ids = self._find(spec.study)
        if ids is None:
            raise LookupError(f"study {spec.study}: open it before starting a run")
        experiment_id, parent = ids
        tags = {**identity(spec, spec.study), STATUS: "RUNNING", PARENT: parent, **SOURCE}
        if failures:
            tags[FAILURES] = str(failures)
        cell, start_ms = cell_of(tags), self._now_ms()
        self._discard_unfinished(experiment_id, cell)
        self._started_ms.setdefault((experiment_id, cell), set()).add(start_ms)
        info = self.client.create_run(experiment_id, start_ms, tags, spec.name).info
        run_id: str = info.run_id
        self._writer.log_params(run_id, settings_params(spec))
        if spec.dataset:
            self.client.log_inputs(run_id, datasets(spec))
        self._epochs[run_id], self._artifact_uris[run_id] = {}, info.artifact_uri
        return run_id

    def _discard_unfinished(self, experiment_id: str, cell: Cell) -> None:
        """Discard unfinished runs of the cell. A RUNNING one is discarded only if this tracker started it.

        Another RUNNING run may be that of a second `ablate run`: if each discarded the other's, neither would end. Runs
        of a dead process are marked KILLED by `sweep`. One search per experiment finds the runs of earlier processes;
        only a cell that was started here before needs another search.
        """
        if experiment_id not in self._unfinished:
            runs = self._reader.search(experiment_id, "attributes.status != 'FINISHED'")
            self._unfinished[experiment_id] = [run for run in runs if "ablate.key" in run.data.tags]
        unfinished, started_ms = self._unfinished[experiment_id], self._started_ms.get((experiment_id, cell), set())
        if started_ms:
            condition = f"tags.`ablate.key` = '{cell[0]}' AND attributes.status != 'FINISHED'"
            unfinished = self._reader.search(experiment_id, condition)
        of_cell = [run.info for run in unfinished if cell_of(run.data.tags) == cell]
        self.discard([info.run_id for info in of_cell if info.status != "RUNNING" or info.start_time in started_ms])
        self._unfinished[experiment_id] = [
            run for run in self._unfinished[experiment_id] if cell_of(run.data.tags) != cell
        ]

    def log_epochs(self, run_id: str, entries: Sequence[Mapping[str, float]]) -> None:
        metrics = self._points(entries)
        self._writer.log_metrics(run_id, metrics)
        self._epochs[run_id] = self._steps(run_id, metrics)  # after logging: what failed must be logged again

    def _points(self, entries: Iterable[Mapping[str, float]]) -> list[Metric]:
        now_ms = self._now_ms()
        return [
            Metric(name, float(value), now_ms, int(entry["epoch"]))
            for entry in entries
            for name, value in entry.items()
            if name != "epoch"
        ]

    def _steps(self, run_id: str, metrics: Iterable[Metric]) -> dict[str, int]:
        """Metric → last step of its curve, with these points included."""
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
        steps = self._steps(run_id, metrics)
        if logs_to_mlflow(spec.settings):  # the scores come after what the script has logged, so that they count
            steps |= {point.key: max(steps.get(point.key, 0), point.step) for point in self._latest(run_id)}
        metrics += self._scores({**result.scores, **result.timings}, steps, model_id)
        provenance = json.dumps(fitting(result.provenance), sort_keys=True)
        tags = {"ablate.provenance": provenance, "ablate.error": cut(result.error, TAG_LIMIT)}
        if failures:
            tags[FAILURES] = str(failures)
        if "commit" in result.provenance:
            tags["mlflow.source.git.commit"] = result.provenance["commit"]
        status = "KILLED" if failures else result.status
        by_script = logs_to_mlflow(spec.settings)
        if not by_script:
            tags[STATUS] = status
        self._writer.log_metrics(run_id, metrics, run_tags({name: value for name, value in tags.items() if value}))
        if by_script:
            self._end(run_id, status)
        else:
            self.client.set_terminated(
                run_id, status
            )  # last: the tag, in the same request as the scores, is not enough
        if self._cache and spec.phase == "compare" and result.status == "FINISHED" and not by_script:
            local = local_path(self._artifact_uris.get(run_id, "")) is not None
            self._cache.keep(run_id, result.history, result.artifacts, tables=not local)
        self._epochs.pop(run_id, None)
        self._artifact_uris.pop(run_id, None)
        self._finishing.discard(run_id)

    def _end(self, run_id: str, status: str) -> None:
        self.client.set_terminated(run_id, status)
        self.client.set_tag(run_id, STATUS, status)  # last: a run with this tag is complete

    def _log_artifacts(self, run_id: str, spec: RunSpec, result: RunResult) -> str | None:
        folder = result.artifacts
        with passing_faults(), tempfile.TemporaryDirectory() as scratch:
            text = json.dumps(dict(result.provenance), indent=2, sort_keys=True) + "\n"
            Path(scratch, "provenance.json").write_text(text, encoding="utf-8")
            for file in [path for pattern in ARTIFACTS for path in folder.glob(pattern)] if folder else []:
                shutil.copy(file, scratch)
            store.artifacts(self._artifact_uris[run_id], self.uri).log_artifacts(scratch)
        if spec.phase != "compare" or folder is None or not (folder / MODEL / "model.json").is_file():
            return None
        experiment_id, tags = self._studies[spec.study][0], identity(spec, spec.study)
        interrupted = run_id in self._finishing
        self._finishing.add(run_id)
        return self._writer.log_model(experiment_id, run_id, folder / MODEL, tags, interrupted=interrupted)

    def _scores(self, scores: Mapping[str, float], steps: Mapping[str, int], model_id: str | None) -> list[Metric]:
        """The points of final scores: at the last step of the metric's curve, or at step 0 where it has none."""
        now_ms = self._now_ms()
        return [
            Metric(name, float(value), now_ms, steps.get(name, 0), model_id=model_id) for name, value in scores.items()
        ]

    # The summary for people

    def publish(self, summary: StudySummary, state: str) -> bool:
        ids = self._find(summary.study)
        if ids is None:
            raise LookupError(f"study {summary.study}: open it before writing its summary")
        return SummaryWriter(self._writer, self._reader, *ids, self._now_ms).publish(summary, state)

    def last_study(self) -> str | None:
        """The study that was worked on last; None where there is none."""
        parents = {name: self.client.get_run(self._studies[name][1]).info for name in self.studies()}
        return max(parents, key=lambda name: parents[name].end_time or parents[name].start_time, default=None)

    def summarised(self, study: str) -> tuple[str, str]:
        """The id of the study's experiment, and the state of the records that its summary was made of ("": none)."""
        ids = self._find(study)
        if ids is None:
            raise LookupError(f"study {study}: not in the store")
        return ids[0], self.client.get_run(ids[1]).data.tags.get(STATE, "")

    # Scores that a script logs itself

    def environment(self, study: str, run_id: str) -> dict[str, str]:
        experiment_id, _ = self._studies[study]
        address = {"MLFLOW_TRACKING_URI": self.uri, "MLFLOW_RUN_ID": run_id}
        # The name too: a logger that reads it from the user's environment would ask for another experiment.
        return {**store.FOR_SCRIPTS, **address, "MLFLOW_EXPERIMENT_ID": experiment_id, "MLFLOW_EXPERIMENT_NAME": study}

    def logged_scores(self, run_id: str) -> dict[str, float]:
        return {point.key: score(point.value) for point in self._latest(run_id)}

    def _latest(self, run_id: str) -> list[Metric]:
        """The latest point of every metric of a run."""
        latest: list[Metric] = list(self.client.get_run(run_id).data.to_proto().metrics)
        return latest

    def logged_curves(self, run_id: str, names: Collection[str]) -> list[dict[str, float]]:
        points = [point for name in names for point in self.client.get_metric_history(run_id, name)]
        return curves((point.key, point.value, point.step, point.timestamp) for point in points)

    # Bundles: runs from and for other stores

    def stored(self, study: str) -> list[StoredRun]:
        return stored_runs.runs(self._reader, study)

    def files(self, run_id: str) -> Path | None:
        return stored_runs.files(self._reader, run_id)

    def add(
        self, run: StoredRun, history: Sequence[Mapping[str, float]], files: Path | None, model: Path | None
    ) -> str:
        ids = self._find(run.study)
        if ids is None:
            raise LookupError(f"study {run.study}: open it before adding a run")
        experiment_id, parent = ids
        tags = {**stored_runs.tags_of_run(run), PARENT: parent}
        with stored_runs.refusals(run):
            info = self.client.create_run(experiment_id, run.started, tags, run.record.name).info
            stored_runs.fill(self._writer, info.run_id, experiment_id, run, history, files, model)
            self.client.set_terminated(info.run_id, run.record.status, run.ended)  # last: an ended run is complete
        if self._cache and run.record.phase == "compare" and run.record.status == "FINISHED":
            self._cache.keep(info.run_id, history, files, tables=local_path(info.artifact_uri) is None)
        return str(info.run_id)

    def add_model(self, run_id: str, model: Path) -> None:
        run = self.client.get_run(run_id)
        self._writer.log_model(run.info.experiment_id, run_id, model, stored_runs.tags_of_model(run.data.tags))

    def kill(self, run_id: str) -> None:
        self._end(run_id, "KILLED")

    def discard(self, run_ids: Sequence[str]) -> None:
        for run_id in run_ids:
            with suppress(RunDiscarded):  # discarded already
                info = self.client.get_run(run_id).info
                if info.status == "RUNNING":  # in a list of deleted runs none must look running
                    self.kill(run_id)
                self._writer.delete_models(info.experiment_id, run_id)
                self.client.delete_run(run_id)

    def forget(self, study: str) -> None:
        ids = self._find(study)
        if ids:
            arms = self._reader.search(ids[0], f"tags.`{ROLE}` = 'arm'")
            summaries = [run.info.run_id for run in arms]
            self.discard([*(record.run_id for record in self.records(study)), *summaries, ids[1]])
            del self._studies[study]

    def add_scores(self, run_ids: Sequence[str], scores: Mapping[str, float]) -> None:
        for run_id in run_ids:
            self._writer.log_metrics(run_id, self._scores(scores, self._epochs.get(run_id, {}), None))

    def _now_ms(self) -> int:
        """Milliseconds since 1970, strictly increasing: records are sorted by it, and the latest value is a score."""
        self._last_ms = max(self._last_ms + 1, time.time_ns() // 1_000_000)
        return self._last_ms
