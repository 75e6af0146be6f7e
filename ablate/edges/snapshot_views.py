"""Look into a MLflow SQLite store, also one whose addresses are relative: its studies, runs, models. Writes nothing.

A store is the file `mlflow.db` in a folder `mlruns`.
"""

from __future__ import annotations

import re
import sqlite3
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from ablate.design.rules import NAME
from ablate.edges.ledger import DOCUMENT, ROLE, local_path, read_document, reading
from ablate.study import InputError, Problem

RUN_ID, MODEL_ID = re.compile(r"[0-9a-f]{32}"), re.compile(r"m-[0-9a-f]{32}")


def database(mlruns: Path) -> Path:
    """The database file of a store."""
    return mlruns / "mlflow.db"


def schema_version(db: Path) -> str:
    """Which of MLflow's schemas a database has."""
    with reading(db) as store:
        return str(store.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def studies(mlruns: Path) -> list[str]:
    """Names of the studies that are not deleted."""
    query = f"""SELECT DISTINCT experiments.name FROM experiments JOIN runs USING (experiment_id)
        JOIN tags USING (run_uuid) WHERE key = '{ROLE}' AND value = 'study'
        AND experiments.lifecycle_stage = 'active' AND runs.lifecycle_stage = 'active' ORDER BY 1"""
    with reading(database(mlruns)) as store:
        return [name for (name,) in store.execute(query)]


def document(study: str, mlruns: Path) -> dict[str, Any] | None:
    """The document of a study in a store whose addresses may be relative; None when it is not there."""
    query = f"""SELECT artifact_uri FROM runs JOIN experiments USING (experiment_id) WHERE experiments.name = ?
        AND runs.lifecycle_stage = 'active' AND {is_parent("main")} ORDER BY start_time, run_uuid"""
    with reading(database(mlruns)) as store:
        row = store.execute(query, (study,)).fetchone()
    place = folder(row[0], mlruns) if row else None
    if place is None or not (place / DOCUMENT).is_file():
        return None
    return read_document(place / DOCUMENT)


def latest_scores(study: str, db: Path) -> dict[str, tuple[str, int]]:
    """Of each run of a study: how it ended, or "deleted", and when its latest score was written, in ms."""
    query = f"""SELECT run_uuid, CASE runs.lifecycle_stage WHEN 'active' THEN status ELSE 'deleted' END,
        (SELECT coalesce(max(timestamp), 0) FROM latest_metrics WHERE latest_metrics.run_uuid = runs.run_uuid)
        FROM runs JOIN experiments USING (experiment_id) WHERE experiments.name = ? AND NOT {is_parent("main")}"""
    with reading(db) as store:
        return {run: (status, latest) for run, status, latest in store.execute(query, (study,))}


def model_owners(mlruns: Path) -> set[str]:
    """Ids of the runs with a model; none where there is no store."""
    if not database(mlruns).is_file():
        return set()
    with reading(database(mlruns)) as store:
        return {run for (run,) in store.execute("SELECT source_run_id FROM logged_models")}


def absent_models(source: Path, target: Path) -> list[str]:
    """Ids of the source's models whose files lie neither there nor in the target."""
    here = {model for model, place in _models(target) if place.is_dir()}
    return [model for model, place in _models(source) if model not in here and not place.is_dir()]


def _models(mlruns: Path) -> list[tuple[str, Path]]:
    if not database(mlruns).is_file():
        return []
    query = "SELECT model_id, artifact_location FROM logged_models WHERE lifecycle_stage = 'active'"
    with reading(database(mlruns)) as store:
        return [(model, folder(place, mlruns) or Path(place)) for model, place in store.execute(query)]


def check_foreign(mlruns: Path, names: Collection[str], file: str) -> None:
    """Refuse, by InputError, a store from elsewhere that could do harm: what runs by itself, paths that lead out of it.

    `names` are the studies that it must hold; `file` is what a person knows it by.
    """
    if not database(mlruns).is_file():
        raise InputError(Problem(file, "", "holds no store"))
    with reading(database(mlruns)) as store:
        runs = store.execute("SELECT run_uuid, artifact_uri FROM runs").fetchall()
        models = store.execute("SELECT model_id, artifact_location FROM logged_models").fetchall()
    for pattern, rows in ((RUN_ID, runs), (MODEL_ID, models)):
        for identity, address in rows:
            if not pattern.fullmatch(str(identity)) or not _portable(str(address)):
                raise InputError(Problem(file, str(identity)[:80], "its artifacts lead out of the store", str(address)))
    absent = [name for name in names if not NAME.fullmatch(name) or name not in studies(mlruns)]
    if absent:
        raise InputError(Problem(file, "study", "is not in it", absent[0]))


def _portable(address: str) -> bool:
    path = PurePosixPath(address)
    return path.parts[1:2] == ("artifacts",) and ".." not in path.parts and not re.match(r"/|\w+:|~", address)


@contextmanager
def still(mlruns: Path) -> Iterator[Path]:
    """The database of a store as it is at one moment, in a temporary file, whatever a driver is writing.

    Its parent runs are closed there: what of an unfinished study has ended is all that anyone will copy.
    """
    query = "UPDATE runs SET status = 'FAILED', end_time = ? WHERE status = 'RUNNING' AND "
    with tempfile.TemporaryDirectory(prefix="ablate-still-") as scratch:
        file = Path(scratch, "mlflow.db")
        with reading(database(mlruns)) as live, closing(sqlite3.connect(file)) as copy:
            try:
                live.backup(copy)
            except sqlite3.OperationalError as error:  # of the copy's disk: the store is an MLflow database
                raise OSError(f"{file}: {error}") from None
            with copy:
                copy.execute(query + is_parent("main"), (time.time_ns() // 1_000_000,))
        yield file


def folder(address: str, mlruns: Path) -> Path | None:
    """Where a store's artifact address leads; relative ones start above `mlruns`."""
    path = local_path(address)
    return mlruns.resolve().parent / path if path else None


def is_parent(where: str) -> str:
    """SQL condition: the run of the database `where` is a study's parent."""
    return f"run_uuid IN (SELECT run_uuid FROM {where}.tags WHERE key = '{ROLE}' AND value = 'study')"
