"""Whole runs out of an MLflow store and into one, through its client. Imported by `tracking` alone.

A store makes ids of its own: the tag `ablate.origin` keeps the one that a run had where it was made.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from mlflow.artifacts import download_artifacts
from mlflow.entities import Metric, Param, Run, ViewType
from mlflow.exceptions import MlflowException

from ablate.study import InputError, Problem, StoredRun
from ablate.tracking.mlflow.client_reader import ClientReader, dataset_of
from ablate.tracking.mlflow.errors import passing_faults
from ablate.tracking.record_format import record_of, record_tags
from ablate.untrusted.addresses import local_path, redacted

ORIGIN = "ablate.origin"
RUN_ID = re.compile(r"[0-9a-f]{32}")  # what MLflow makes
OF_THE_STORE = ("ablate.", "mlflow.parentRunId", "mlflow.runName")  # tags that are made anew, by their beginnings

OF_A_MODEL = ("role", "study", "arm", "seed", "phase", "key", "schema", "overrides", "trial")


def runs(reader: ClientReader, study: str) -> list[StoredRun]:
    """See `Tracker.stored`."""
    experiment = reader.client.get_experiment_by_name(study)
    if experiment is None:
        return []
    found = reader.search(experiment.experiment_id, view=ViewType.ALL)
    return [_stored(run, study) for run in found if "ablate.key" in run.data.tags]


def _stored(run: Run, study: str) -> StoredRun:
    try:
        return _read(run, study)
    except (KeyError, ValueError, TypeError, RecursionError) as error:  # ValueError: not JSON, or no number
        place = f"run {run.info.run_id}"
        raise InputError(Problem("tracking store", place, "its tags are damaged", str(error)[:200])) from None


def _read(run: Run, study: str) -> StoredRun:
    info, tags = run.info, run.data.tags
    ended = int(info.end_time or info.start_time)
    times = {metric.key: int(metric.timestamp) for metric in run.data.to_proto().metrics}
    return StoredRun(
        study=study,
        record=record_of(info.run_id, info.status, tags, run.data.metrics, dataset_of(run)),
        origin=_checked(tags.get(ORIGIN, info.run_id), info.run_id),
        started=int(info.start_time),
        ended=ended,
        params=dict(sorted(run.data.params.items())),
        tags=others(tags),
        later={name: when for name, when in sorted(times.items()) if when > ended},
        model=bool(run.outputs and run.outputs.model_outputs),
        discarded=info.lifecycle_stage != "active",
    )


def others(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags that a person or MLflow has set, which mean the same in any store."""
    return {name: value for name, value in sorted(tags.items()) if not name.startswith(OF_THE_STORE)}


def _checked(origin: str, own: str) -> str:
    """The id becomes the name of a folder. Raises InputError for one that is none."""
    chosen = origin if RUN_ID.fullmatch(origin) else own
    if not RUN_ID.fullmatch(chosen):
        raise InputError(Problem("tracking store", "run id", "is not one that MLflow makes", chosen[:80]))
    return chosen


def files(reader: ClientReader, run_id: str) -> Path | None:
    """See `Tracker.files`. A server's are downloaded, and stay until the next call."""
    address = reader.client.get_run(run_id).info.artifact_uri
    folder = local_path(address)
    if folder is not None:  # nothing but what MLflow itself keeps there
        return folder if folder.parent.name == run_id and folder.is_dir() else None
    target = reader.downloads / "files"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    with passing_faults():
        for name in (entry.path for entry in reader.client.list_artifacts(run_id)):
            if Path(name).name == name:
                download_artifacts(f"{address.rstrip('/')}/{name}", dst_path=str(target), tracking_uri=reader.uri)
    return target


def tags_of_run(run: StoredRun) -> dict[str, str]:
    """The tags with which a run is added."""
    return {**others(run.tags), **record_tags(run.record, run.study), ORIGIN: run.origin}


def tags_of_model(tags: Mapping[str, str]) -> dict[str, str]:
    """What a run's model says of it, as of one that was made here: see `tracking_terms.identity`."""
    return {name: value for name, value in tags.items() if name.removeprefix("ablate.") in OF_A_MODEL}


def params_of(run: StoredRun) -> list[Param]:
    """Its settings as MLflow takes them."""
    return [Param(name, value) for name, value in run.params.items()]


def metrics_of(run: StoredRun, history: Sequence[Mapping[str, float]], model_id: str | None) -> Iterator[Metric]:
    """The points of the curves, then the scores that are not a curve's last: the latest value of each is its score."""
    scores = run.record.scores
    ends = {name: (int(entry["epoch"]), value) for entry in history for name, value in entry.items()}
    same = {name for name, (_, value) in ends.items() if repr(value) == repr(scores.get(name))} - run.later.keys()
    last = {name: ends[name][0] for name in same}  # the epoch of the point that is the score
    steps: dict[str, int] = {}
    for entry in history:
        epoch = int(entry["epoch"])
        for name, value in entry.items():
            if name != "epoch":
                steps[name] = max(steps.get(name, 0), epoch)
                of = model_id if epoch == last.get(name) else None
                yield Metric(name, float(value), run.started, epoch, model_id=of)
    ended = max(run.ended, run.started + 1)
    for name in (name for name in scores if name not in last):
        when, of = run.later.get(name, ended), None if name in run.later else model_id
        yield Metric(name, float(scores[name]), when, steps.get(name, 0), model_id=of)


@contextmanager
def taken(run: StoredRun) -> Iterator[None]:
    """Raise an InputError for what a store will never take: names that are too long, a model that is none."""
    try:
        yield
    except (MlflowException, KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        said = redacted(next(iter(str(error).splitlines()), type(error).__name__))[:200]
        raise InputError(Problem("tracking store", f"run {run.origin}", "is not taken", said)) from None
