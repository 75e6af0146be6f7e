"""Whole runs into and out of an MLflow SQLite store, row by row: MLflow cannot choose a run's id. No mlflow.

What is read may come from a stranger.
"""

from __future__ import annotations

import math
import sqlite3
import sys
import uuid
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from ablate.edges import snapshot_views as views
from ablate.edges.ledger import MODEL_OUTPUT, reading
from ablate.edges.whole import ENDED, Dataset, Point, WholeModel, WholeRun, latest
from ablate.study import InputError, Problem

DATASET_INPUT = ("DATASET", "RUN")
LARGEST = sys.float_info.max  # what MLflow keeps for ∞


# Into a store


def add_experiment(study: str, mlruns: Path, began: int) -> None:
    """Make a study's experiment, begun at that time in ms, in a store that is new."""
    place = (mlruns.resolve() / "artifacts" / study).as_uri()
    row = {"name": study, "artifact_location": place, "lifecycle_stage": "active"}
    with closing(sqlite3.connect(views.database(mlruns))) as store, store:
        _insert(store, "experiments", {**row, "creation_time": began, "last_update_time": began})


def add(run: WholeRun, study: str, mlruns: Path) -> None:
    """Add a run to a store whose experiment is there; its files and its models' lie in their places already."""
    with closing(sqlite3.connect(views.database(mlruns))) as store, store:
        experiment, place = _experiment(store, study)
        _insert(store, "runs", _run_row(run, "active", experiment, f"{place}/{run.run_id}/artifacts"))
        owner = {"run_uuid": run.run_id}
        for table, pairs in (("tags", run.tags), ("params", run.params)):
            _insert(store, table, *_pair_rows(pairs, owner))
        for table, points in (("metrics", run.points), ("latest_metrics", latest(run.points).values())):
            _insert(store, table, *(_metric_row(point) | owner for point in points))
        for dataset in run.datasets:
            _add_dataset(store, dataset, run.run_id, experiment)
        for model in run.models:
            _add_model(store, model, run.run_id, experiment, f"{place}/models/{model.model_id}/artifacts")


def add_discarded(run_id: str, study: str, mlruns: Path) -> None:
    """Note that a run was there and has been discarded; of a run that is there, nothing."""
    run = WholeRun(run_id, run_id, "FINISHED", 0, 0, {}, {}, (), (), (), None)
    with closing(sqlite3.connect(views.database(mlruns))) as store, store:
        experiment, place = _experiment(store, study)
        _insert(store, "runs", _run_row(run, "deleted", experiment, f"{place}/{run_id}/artifacts"))


def _experiment(store: sqlite3.Connection, study: str) -> tuple[int, str]:
    query = "SELECT experiment_id, artifact_location FROM experiments WHERE name = ?"
    experiment, place = store.execute(query, (study,)).fetchone()
    return int(experiment), str(place)


def _run_row(run: WholeRun, stage: str, experiment: int, place: str) -> dict[str, Any]:
    known = {"run_uuid": run.run_id, "name": run.name, "status": run.status, "lifecycle_stage": stage}
    times = {"start_time": run.began, "end_time": run.ended}
    blank = {"source_type": "UNKNOWN", "source_name": "", "entry_point_name": "", "source_version": ""}
    user = run.tags.get("mlflow.user", "")
    return {**known, **times, **blank, "user_id": user, "artifact_uri": place, "experiment_id": experiment}


def _pair_rows(pairs: Mapping[str, str], owner: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value, **owner} for key, value in pairs.items()]


def _metric_row(point: Point) -> dict[str, Any]:
    undefined = math.isnan(point.value)
    value = 0.0 if undefined else max(-LARGEST, min(LARGEST, point.value))
    return {"key": point.key, "value": value, "is_nan": undefined, "timestamp": point.when, "step": point.step}


def _add_dataset(store: sqlite3.Connection, dataset: Dataset, run_id: str, experiment: int) -> None:
    identity = _uuid(dataset.name, dataset.digest)
    source = {"dataset_source_type": dataset.source_type, "dataset_source": dataset.source}
    known = {"dataset_uuid": identity, "experiment_id": experiment, "name": dataset.name, "digest": dataset.digest}
    notes = {"dataset_schema": dataset.schema, "dataset_profile": dataset.profile}
    _insert(store, "datasets", {**known, **source, **notes})
    number = _link(store, DATASET_INPUT, identity, run_id)
    for name, value in dataset.tags.items():
        _insert(store, "input_tags", {"input_uuid": number, "name": name, "value": value})


def _add_model(store: sqlite3.Connection, model: WholeModel, run_id: str, experiment: int, place: str) -> None:
    owner = {"model_id": model.model_id, "experiment_id": experiment}
    times = {"creation_timestamp_ms": model.began, "last_updated_timestamp_ms": model.began}
    known = {"name": model.name, "model_type": model.kind, "status": model.status, "lifecycle_stage": "active"}
    _insert(store, "logged_models", {**owner, **times, **known, "artifact_location": place, "source_run_id": run_id})
    for kind, pairs in (("param", model.params), ("tag", model.tags)):
        for key, value in pairs.items():
            _insert(store, f"logged_model_{kind}s", {**owner, f"{kind}_key": key, f"{kind}_value": value})
    _add_model_points(store, model.points, run_id, owner)
    _link(store, MODEL_OUTPUT, run_id, model.model_id)


def _add_model_points(
    store: sqlite3.Connection, points: Sequence[Point], run_id: str, owner: Mapping[str, Any]
) -> None:
    rows = []
    for point in points:
        at = {"metric_name": point.key, "metric_timestamp_ms": point.when, "metric_step": point.step, "run_id": run_id}
        rows.append({**owner, **at, "metric_value": _metric_row(point)["value"]})
    _insert(store, "logged_model_metrics", *rows)


def _link(store: sqlite3.Connection, kinds: tuple[str, str], source: str, destination: str) -> str:
    number = _uuid(source, destination)
    ends = {"source_type": kinds[0], "source_id": source, "destination_type": kinds[1], "destination_id": destination}
    _insert(store, "inputs", {"input_uuid": number, **ends})
    return number


def _uuid(*names: str) -> str:
    return uuid.uuid5(uuid.NAMESPACE_OID, "\n".join(names)).hex  # the same again for the same


def _insert(store: sqlite3.Connection, table: str, *rows: Mapping[str, Any]) -> None:
    """`rows` have the same columns. One that is there stays."""
    if rows:
        names, marks = ", ".join(rows[0]), ", ".join(f":{name}" for name in rows[0])
        store.executemany(f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})", rows)


# Out of a store


def ended(study: str, mlruns: Path) -> tuple[str, list[str]]:
    """Ids of a study's parent run, whatever its state, and of its runs that have ended, oldest first.

    Raises InputError when the store does not hold the study.
    """
    query = f"""SELECT run_uuid, status, {views.is_parent("main")} FROM runs JOIN experiments USING (experiment_id)
        WHERE experiments.name = ? AND runs.lifecycle_stage = 'active' ORDER BY start_time, run_uuid"""
    with reading(views.database(mlruns)) as store:
        found = store.execute(query, (study,)).fetchall()
    parent = next((run for run, _, is_parent in found if is_parent), None)
    if parent is None:
        raise InputError(Problem(str(mlruns), "study", "not in the store", study))
    return parent, [run for run, status, is_parent in found if status in ENDED and not is_parent]


def read(run_id: str, mlruns: Path) -> WholeRun:
    """A run of a store whose addresses may be relative. Raises InputError where its rows are damaged."""
    db = views.database(mlruns)
    try:
        with reading(db) as store:
            query = "SELECT name, status, start_time, end_time, artifact_uri FROM runs WHERE run_uuid = ?"
            name, status, began, end, place = store.execute(query, (run_id,)).fetchone()
            return WholeRun(
                run_id,
                _optional(name) or "",
                _text(status),
                int(began),
                None if end is None else int(end),
                _pairs(store, "SELECT key, value FROM params WHERE run_uuid = ?", run_id),
                _pairs(store, "SELECT key, value FROM tags WHERE run_uuid = ?", run_id),
                _points(store, "key, value, timestamp, step, is_nan FROM metrics WHERE run_uuid = ?", run_id),
                _datasets(store, run_id),
                _models(store, run_id, mlruns),
                _files(place, mlruns),
            )
    except (ValueError, TypeError) as error:
        raise InputError(Problem(str(db), f"run {run_id}", "its rows are damaged", str(error)[:200])) from None


def _datasets(store: sqlite3.Connection, run_id: str) -> list[Dataset]:
    query = f"""SELECT input_uuid, name, digest, dataset_source_type, dataset_source, dataset_schema, dataset_profile
        FROM inputs JOIN datasets ON source_id = dataset_uuid
        WHERE destination_id = ? AND (source_type, destination_type) = {DATASET_INPUT} ORDER BY name, digest"""
    found = []
    for number, name, digest, kind, source, schema, profile in store.execute(query, (run_id,)).fetchall():
        tags = _pairs(store, "SELECT name, value FROM input_tags WHERE input_uuid = ?", number)
        of = _text(name), _text(digest), _text(kind), _text(source)
        found.append(Dataset(*of, _optional(schema), _optional(profile), tags))
    return found


def _models(store: sqlite3.Connection, run_id: str, mlruns: Path) -> list[WholeModel]:
    query = f"""SELECT model_id, name, model_type, status, creation_timestamp_ms, artifact_location
        FROM logged_models JOIN inputs ON destination_id = model_id
        WHERE source_id = ? AND (source_type, destination_type) = {MODEL_OUTPUT}
        AND source_run_id = source_id AND lifecycle_stage = 'active' ORDER BY model_id"""
    values = """metric_name, metric_value, metric_timestamp_ms, metric_step, metric_value IS NULL
        FROM logged_model_metrics WHERE model_id = ?"""
    return [
        WholeModel(
            _text(model),
            _text(name),
            _optional(kind) or "",
            int(status),
            int(began),
            _pairs(store, "SELECT param_key, param_value FROM logged_model_params WHERE model_id = ?", model),
            _pairs(store, "SELECT tag_key, tag_value FROM logged_model_tags WHERE model_id = ?", model),
            _points(store, values, model),
            _files(place, mlruns),
        )
        for model, name, kind, status, began, place in store.execute(query, (run_id,)).fetchall()
    ]


def _pairs(store: sqlite3.Connection, query: str, of: str) -> dict[str, str]:
    return {_text(key): _text(value) for key, value in store.execute(f"{query} ORDER BY 1", (of,))}


def _points(store: sqlite3.Connection, columns: str, of: str) -> list[Point]:
    rows = store.execute(f"SELECT {columns} ORDER BY 1, 4, 3", (of,))
    return [Point(_text(k), math.nan if nan else float(v), int(when), int(step)) for k, v, when, step, nan in rows]


def _files(address: object, mlruns: Path) -> Path | None:
    place = views.folder(_text(address), mlruns)
    return place if place and place.is_dir() else None


def _optional(value: object) -> str | None:
    return None if value is None else _text(value)


def _text(value: object) -> str:
    if not isinstance(value, str) or "\0" in value:  # PostgreSQL has no NUL in its texts
        raise ValueError("a text is none")
    return value
