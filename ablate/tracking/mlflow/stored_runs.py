"""Convert between MLflow runs and StoredRuns, the form in which runs go from store to store.

Every store gives a run a new id; the tag `ablate.origin` keeps the id that it had in the store where it was trained.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from mlflow.artifacts import download_artifacts
from mlflow.entities import Metric, Run, ViewType
from mlflow.exceptions import MlflowException

from ablate.study import InputError, Problem, StoredRun
from ablate.tracking.mlflow.client_reader import ClientReader, dataset_of
from ablate.tracking.mlflow.errors import passing_faults
from ablate.tracking.mlflow.run_writer import RunWriter
from ablate.tracking.mlflow.schema import dataset_inputs
from ablate.tracking.mlflow.store import is_own_folder
from ablate.tracking.record_format import COLOUR, PARENT, identity, record_of, record_tags
from ablate.untrusted.addresses import local_path, redacted

ORIGIN = "ablate.origin"
RUN_ID = re.compile(r"[0-9a-f]{32}")  # as MLflow generates them
STORE_TAGS = ("ablate.", PARENT, COLOUR, "mlflow.runName")  # prefixes of the tags that each store writes itself
MODEL_TAGS = ("role", "study", "arm", "seed", "phase", "key", "schema", "overrides", "trial")


def runs(reader: ClientReader, study: str) -> list[StoredRun]:
    """See `Tracker.stored`."""
    experiment = reader.client.get_experiment_by_name(study)
    if experiment is None:
        return []
    all_runs = reader.search(experiment.experiment_id, view=ViewType.ALL)
    return [_stored(run, study) for run in all_runs if "ablate.key" in run.data.tags]


def _stored(run: Run, study: str) -> StoredRun:
    try:
        return _read(run, study)
    except (KeyError, ValueError, TypeError, RecursionError) as error:  # ValueError: not JSON, or no number
        rule = "its tags are damaged"
        raise InputError(Problem("tracking store", f"run {run.info.run_id}", rule, str(error)[:200])) from None


def _read(run: Run, study: str) -> StoredRun:
    info, tags = run.info, run.data.tags
    ended = int(info.end_time or info.start_time)
    times = {metric.key: int(metric.timestamp) for metric in run.data.to_proto().metrics}
    return StoredRun(
        study=study,
        record=record_of(info.run_id, info.status, tags, run.data.metrics, dataset_of(run)),
        origin=_origin(tags.get(ORIGIN, info.run_id), info.run_id),
        started=int(info.start_time),
        ended=ended,
        params=dict(sorted(run.data.params.items())),
        tags=other_tags(tags),
        later={name: time_ms for name, time_ms in sorted(times.items()) if time_ms > ended},
        model=bool(run.outputs and run.outputs.model_outputs),
        discarded=info.lifecycle_stage != "active",
    )


def other_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags that a user or MLflow has set, which mean the same in every store."""
    return {name: value for name, value in sorted(tags.items()) if not name.startswith(STORE_TAGS)}


def _origin(tag: str, run_id: str) -> str:
    """The tag, or the run's own id where the tag is no run id. Raises InputError for other text: it names a folder."""
    origin = tag if RUN_ID.fullmatch(tag) else run_id
    if not RUN_ID.fullmatch(origin):
        raise InputError(Problem("tracking store", "run id", "must be 32 hexadecimal digits", origin[:80]))
    return origin


def files(reader: ClientReader, run_id: str) -> Path | None:
    """See `Tracker.files`. Files of a server are downloaded and stay until the next call."""
    address = reader.client.get_run(run_id).info.artifact_uri
    folder = local_path(address)
    if folder is not None:
        return folder if is_own_folder(folder, run_id) and folder.is_dir() else None
    target = reader.downloads / "files"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    with passing_faults():
        for name in (entry.path for entry in reader.client.list_artifacts(run_id)):
            if Path(name).name == name:
                download_artifacts(f"{address.rstrip('/')}/{name}", dst_path=str(target), tracking_uri=reader.uri)
    return target


def fill(
    writer: RunWriter,
    run_id: str,
    experiment_id: str,
    run: StoredRun,
    history: Sequence[Mapping[str, float]],
    files: Path | None,
    model: Path | None,
) -> None:
    """Write a run of another store into a new run of this one, which has its tags already."""
    writer.log_params(run_id, run.params)
    if run.record.dataset:
        data = run.params.get("data.file") or run.params.get("data.factory") or "data"
        writer.client.log_inputs(run_id, dataset_inputs(data, run.record.dataset, run.record.phase))
    if files and any(files.iterdir()):
        writer.client.log_artifacts(run_id, str(files))
    tags = identity(run.record, run.study)
    model_id = writer.log_model(experiment_id, run_id, model, tags) if model else None
    writer.log_metrics(run_id, list(metrics_of(run, history, model_id)))


def tags_of_run(run: StoredRun) -> dict[str, str]:
    """All tags of a run that is added to a store."""
    return {**other_tags(run.tags), **record_tags(run.record, run.study), ORIGIN: run.origin}


def tags_of_model(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags of a run's model, the same as `identity` gives a model of a run that was trained here."""
    return {name: value for name, value in tags.items() if name.removeprefix("ablate.") in MODEL_TAGS}


def metrics_of(run: StoredRun, history: Sequence[Mapping[str, float]], model_id: str | None) -> Iterator[Metric]:
    """The points of all curves, then each score that differs from its curve's last point or was measured later.

    MLflow takes the latest point of a metric as its value, so the scores are read back as they were.
    """
    scores = run.record.scores
    last_points = {name: (int(entry["epoch"]), value) for entry in history for name, value in entry.items()}
    same = {name for name, (_, value) in last_points.items() if repr(value) == repr(scores.get(name))}
    score_epochs = {name: last_points[name][0] for name in same - run.later.keys()}  # where the score is the last point
    steps: dict[str, int] = {}
    for entry in history:
        epoch = int(entry["epoch"])
        for name, value in entry.items():
            if name != "epoch":
                steps[name] = max(steps.get(name, 0), epoch)
                linked_model = model_id if epoch == score_epochs.get(name) else None
                yield Metric(name, float(value), run.started, epoch, model_id=linked_model)
    ended = max(run.ended, run.started + 1)
    for name in (name for name in scores if name not in score_epochs):
        time_ms, linked_model = run.later.get(name, ended), None if name in run.later else model_id
        yield Metric(name, float(scores[name]), time_ms, steps.get(name, 0), model_id=linked_model)


@contextmanager
def refusals(run: StoredRun) -> Iterator[None]:
    """Raise InputError for what a store always refuses: invalid or too long names, a damaged model."""
    try:
        yield
    except (MlflowException, KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        reason = redacted(next(iter(str(error).splitlines()), type(error).__name__))[:200]
        raise InputError(Problem("tracking store", f"run {run.origin}", "is refused", reason)) from None
