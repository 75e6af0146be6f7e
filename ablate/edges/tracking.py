"""Keep a study's runs in MLflow. It knows tags, metrics and artifacts, and nothing of how runs are made.

An experiment is a study; its parent run holds the study's document; every other run is one (arm, seed), or one
tuning trial with one seed. Only the driver process writes.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from ablate.edges import tracking_store  # isort: skip  # first: it silences MLflow before MLflow is imported
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag, ViewType
from mlflow.exceptions import MlflowException

from ablate.edges.ledger import DOCUMENT, MODEL, MODEL_DATA, ROLE, curves, default_uri, local_path, record_of
from ablate.edges.tracking_model import log_model
from ablate.study import Record, RunResult, RunSpec

PARENT = "mlflow.parentRunId"
# Scored once a run, so no curve: the store has a request for every name asked.
ONCE = ("test/", "cost/", "count/", "time/", "external/")
TAG_LIMIT, PARAM_LIMIT, NAME_LIMIT = 8000, 6000, 250  # characters, MLflow's
METRICS_A_BATCH, PARAMS_A_BATCH, RUNS_A_PAGE, EXPERIMENTS_A_PAGE = 1000, 100, 1000, 1000
ARTIFACTS = ("*.parquet", "*.npz", "*.log", "*.diff")  # of a run's folder, beside its model


class MlflowTracker:
    """See `study.Tracker`. The store is any MLflow address."""

    def __init__(self, uri: str | None, root: Path) -> None:
        """`root`: the `mlruns` folder. It holds the database when no address is given, and under
        `artifacts/<study>` the artifacts of any database store. Raises InputError when the store cannot be used."""
        self.uri, self.root = uri or default_uri(root), root.resolve()
        self._studies: dict[str, tuple[str, str]] = {}  # study → experiment id, parent run id
        self._epochs: dict[str, dict[str, int]] = {}  # run id → metric → last step logged
        self._clock = 0
        self.initialise()

    def initialise(self) -> None:
        """Create or migrate the store before anything else touches it. Raises InputError when it cannot be used."""
        _ = self.client

    @cached_property
    def client(self) -> MlflowClient:
        return tracking_store.connect(self.uri, self.root)

    @cached_property
    def _downloads(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="ablate-artifacts-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder

    # Reading

    def studies(self) -> list[str]:
        names = []
        page = self.client.search_experiments(ViewType.ACTIVE_ONLY, EXPERIMENTS_A_PAGE)
        while True:
            names += [experiment.name for experiment in page]
            if not page.token:
                return sorted(name for name in names if self._find(name))
            page = self.client.search_experiments(ViewType.ACTIVE_ONLY, EXPERIMENTS_A_PAGE, page_token=page.token)

    def document(self, study: str) -> dict[str, Any] | None:
        found = self._find(study)
        path = self.artifact(found[1], DOCUMENT) if found else None
        return cast(dict[str, Any], json.loads(path.read_text(encoding="utf-8"))) if path else None

    def records(self, study: str) -> list[Record]:
        experiment = self.client.get_experiment_by_name(study)
        if experiment is None or experiment.lifecycle_stage != "active":
            return []
        runs = sorted(self._search(experiment.experiment_id), key=lambda run: (run.info.start_time, run.info.run_id))
        return [
            record_of(run.info.run_id, run.info.status, run.data.tags, run.data.metrics, _dataset(run))
            for run in runs
            if "ablate.key" in run.data.tags
        ]

    def history(self, run_id: str) -> list[dict[str, float]]:
        names = [name for name in self.client.get_run(run_id).data.metrics if not name.startswith(ONCE)]
        points = [point for name in names for point in self.client.get_metric_history(run_id, name)]
        return curves((point.key, point.value, point.step, point.timestamp) for point in points)

    def artifact(self, run_id: str, path: str) -> Path | None:
        run = self.client.get_run(run_id)
        address, inside = run.info.artifact_uri, path
        if path == MODEL:
            outputs = run.outputs.model_outputs if run.outputs else []
            if not outputs:
                return None
            address, inside = self.client.get_logged_model(outputs[0].model_id).artifact_location, MODEL_DATA
        folder = local_path(address)
        found = folder / inside if folder else self._download(run_id, address, inside)
        return found if found and found.exists() else None

    def _download(self, run_id: str, address: str, inside: str) -> Path | None:
        target = self._downloads / run_id
        if inside != DOCUMENT and (target / inside).exists():  # the document alone may change
            return target / inside
        try:
            return Path(download_artifacts(f"{address}/{inside}", dst_path=str(target), tracking_uri=self.uri))
        except (MlflowException, OSError):  # what a server says of an artifact that is not there depends on its store
            return None

    def _search(self, experiment_id: str, condition: str = "") -> Iterator[Run]:
        token = None
        while True:
            page = self.client.search_runs(
                [experiment_id], condition, ViewType.ACTIVE_ONLY, RUNS_A_PAGE, ["attributes.start_time ASC"], token
            )
            yield from page
            token = page.token
            if not token:
                return

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
        self.client.log_batch(parent, tags=_tags(tags))
        self.client.update_run(parent, status="RUNNING")
        self._log_text(parent, DOCUMENT, json.dumps(document, indent=2) + "\n")

    def _create(self, study: str) -> tuple[str, str]:
        experiment = self.client.get_experiment_by_name(study)
        if experiment is None:
            local = not self.uri.startswith("http")  # a server has a place of its own for artifacts
            place = (self.root / "artifacts" / study).as_uri() if local else None
            experiment_id = self.client.create_experiment(study, artifact_location=place)
        else:
            experiment_id = experiment.experiment_id
            if experiment.lifecycle_stage != "active":
                self.client.restore_experiment(experiment_id)
        tags = {ROLE: "study", "ablate.study": study, **_SOURCE}
        parent = self.client.create_run(experiment_id, self._now(), tags, study).info.run_id
        self._studies[study] = (experiment_id, parent)
        return experiment_id, parent

    def close(self, study: str, *, finished: bool) -> None:
        found = self._find(study)
        if found:
            self.client.set_terminated(found[1], "FINISHED" if finished else "FAILED")

    # Runs

    def start(self, spec: RunSpec) -> str:
        found = self._find(spec.study)
        if found is None:
            raise LookupError(f"study {spec.study}: open it before starting a run")
        experiment_id, parent = found
        self._discard_unfinished(experiment_id, spec)
        tags = {**_identity(spec), PARENT: parent, **_SOURCE}
        run_id: str = self.client.create_run(experiment_id, self._now(), tags, spec.name).info.run_id
        params = [Param(name, value) for name, value in settings_params(spec).items()]
        for part in _parts(params, PARAMS_A_BATCH):
            self.client.log_batch(run_id, params=part)
        if "data" in spec.settings:
            self.client.log_inputs(run_id, _datasets(spec))
        self._epochs[run_id] = {}
        return run_id

    def _discard_unfinished(self, experiment_id: str, spec: RunSpec) -> None:
        condition = f"tags.`ablate.key` = '{spec.key}' AND attributes.status != 'FINISHED'"
        place = (spec.phase, spec.arm, "" if spec.trial is None else str(spec.trial))
        names = ("ablate.phase", "ablate.arm", "ablate.trial")
        same = [run for run in self._search(experiment_id, condition) if place == _values(run.data.tags, names)]
        self.discard([run.info.run_id for run in same])

    def log_epoch(self, run_id: str, scores: Mapping[str, float]) -> None:
        self._log_epochs(run_id, [scores])

    def _log_epochs(self, run_id: str, entries: Iterable[Mapping[str, float]]) -> None:
        steps, now, metrics = self._epochs.setdefault(run_id, {}), self._now(), []
        for entry in entries:
            step = int(entry["epoch"])
            values = {name: value for name, value in entry.items() if name != "epoch"}
            steps.update(dict.fromkeys(values, step))
            metrics += [Metric(name, float(value), now, step) for name, value in values.items()]
        self._log_metrics(run_id, metrics)

    def finish(self, run_id: str, spec: RunSpec, result: RunResult) -> None:
        logged = max(self._epochs.get(run_id, {}).values(), default=0)
        self._log_epochs(run_id, [entry for entry in result.history if entry["epoch"] > logged])
        model_id = None
        if spec.phase != "tune":
            model_id = self._log_artifacts(run_id, spec, result)
        self._log_scores(run_id, {**result.scores, **result.timings}, model_id)
        provenance = json.dumps(_fitting(result.provenance), sort_keys=True)
        tags = {"ablate.provenance": provenance, "ablate.error": _cut(result.error, TAG_LIMIT)}
        if "commit" in result.provenance:
            tags["mlflow.source.git.commit"] = result.provenance["commit"]
        self.client.log_batch(run_id, tags=_tags({name: value for name, value in tags.items() if value}))
        self.client.set_terminated(run_id, result.status)  # last: a FINISHED run is whole
        self._epochs.pop(run_id, None)

    def _log_artifacts(self, run_id: str, spec: RunSpec, result: RunResult) -> str | None:
        self._log_text(run_id, "provenance.json", json.dumps(dict(result.provenance), indent=2, sort_keys=True) + "\n")
        folder = result.artifacts
        if folder is None:
            return None
        for file in sorted(found for pattern in ARTIFACTS for found in folder.glob(pattern)):
            self.client.log_artifact(run_id, str(file))
        if spec.phase != "compare" or not (folder / MODEL / "model.json").is_file():
            return None
        experiment_id = self._studies[spec.study][0]
        return log_model(self.client, experiment_id, run_id, folder / MODEL, _identity(spec))

    def _log_scores(self, run_id: str, scores: Mapping[str, float], model_id: str | None = None) -> None:
        """Curves keep their last step, so that the final score is their latest value; the rest stands at step 0."""
        steps, now = self._epochs.get(run_id, {}), self._now()
        metrics = [
            Metric(name, float(value), now, steps.get(name, 0), model_id=model_id) for name, value in scores.items()
        ]
        self._log_metrics(run_id, metrics)

    def _log_metrics(self, run_id: str, metrics: list[Metric]) -> None:
        for part in _parts(metrics, METRICS_A_BATCH):
            self.client.log_batch(run_id, metrics=part)

    def kill(self, run_id: str) -> None:
        self.client.set_terminated(run_id, "KILLED")

    def discard(self, run_ids: Sequence[str]) -> None:
        for run_id in run_ids:
            outputs = self.client.get_run(run_id).outputs
            for output in outputs.model_outputs if outputs else []:
                self.client.delete_logged_model(output.model_id)
            self.client.delete_run(run_id)

    def add_scores(self, run_ids: Sequence[str], scores: Mapping[str, float]) -> None:
        for run_id in run_ids:
            self._log_scores(run_id, scores)

    def _log_text(self, run_id: str, name: str, text: str) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch, name)
            path.write_text(text, encoding="utf-8")
            self.client.log_artifact(run_id, str(path))

    def _now(self) -> int:
        """Milliseconds since the epoch, strictly rising: records sort by it, and later values win by it."""
        self._clock = max(self._clock + 1, time.time_ns() // 1_000_000)
        return self._clock


_SOURCE = {"mlflow.source.name": "ablate", "mlflow.source.type": "LOCAL"}


def _identity(spec: RunSpec) -> dict[str, str]:
    tags = {
        ROLE: "run",
        "ablate.study": spec.study,
        "ablate.arm": spec.arm,
        "ablate.seed": str(spec.seed),
        "ablate.phase": spec.phase,
        "ablate.key": spec.key,
        "ablate.overrides": json.dumps(dict(spec.overrides), sort_keys=True),
    }
    return tags if spec.trial is None else {**tags, "ablate.trial": str(spec.trial)}


def settings_params(spec: RunSpec) -> dict[str, str]:
    """The resolved settings by dotted path, with arm and seed, as MLflow takes them."""
    params = {"arm": spec.arm, "seed": str(spec.seed)}
    for path, value in _flat(spec.settings):
        name = re.sub(r"[^\w\-. :/]", "_", path)[:NAME_LIMIT]
        params[name] = _cut(value if isinstance(value, str) else json.dumps(value), PARAM_LIMIT)
    return params


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _datasets(spec: RunSpec) -> list[DatasetInput]:
    """The data a run read, once per use: a tuning run never sees the test split."""
    data = spec.settings["data"]
    name = str(data.get("file") or data.get("factory"))
    source = json.dumps({"uri": name})
    contexts = ("train", "validation" if spec.phase == "tune" else "test")
    return [
        DatasetInput(
            Dataset(f"{Path(name).name} ({context})", spec.dataset, "local", source),
            [InputTag("mlflow.data.context", context)],
        )
        for context in contexts
    ]


def _dataset(run: Run) -> str:
    inputs = run.inputs.dataset_inputs if run.inputs else []
    return str(inputs[0].dataset.digest) if inputs else ""


def _tags(tags: Mapping[str, str]) -> list[RunTag]:
    return [RunTag(name, value) for name, value in tags.items()]


def _values(tags: Mapping[str, str], names: Iterable[str]) -> tuple[str, ...]:
    return tuple(tags.get(name, "") for name in names)


def _cut(text: str, limit: int) -> str:
    """At most `limit` characters: of an error both ends matter."""
    half = limit // 2 - 2
    return text if len(text) <= limit else f"{text[:half]} … {text[-half:]}"


def _fitting(provenance: Mapping[str, str]) -> dict[str, str]:
    """What of a run's provenance fits into one tag; the artifact provenance.json holds it whole."""
    kept = dict(provenance)
    while len(json.dumps(kept)) > TAG_LIMIT:
        kept.pop(max(kept, key=lambda name: len(kept[name])))
    return kept


def _parts(values: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
