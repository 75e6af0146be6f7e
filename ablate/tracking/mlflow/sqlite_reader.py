"""Read an MLflow SQLite store with the standard library alone: without importing mlflow, and without writing.

It knows MLflow's tables and the tags of `record_format`; it must not know how runs are trained.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from ablate.study import InputError, Problem, Record
from ablate.tracking.record_format import DOCUMENT, MODEL, MODEL_DATA, ROLE, curves, read_document, record_of
from ablate.untrusted.addresses import local_path
from ablate.untrusted.wording import shown

INITIALISING = ".initialise.lock"  # in `mlruns`: held while the database is created, migrated or relocated
MODEL_OUTPUT = ("RUN_OUTPUT", "MODEL_OUTPUT")  # the types of `inputs` rows that link a run to its model


def moved(store: sqlite3.Connection, db: Path) -> list[tuple[str, str]]:
    """(recorded, present) artifact address of every experiment whose store was moved or copied since.

    MLflow records absolute addresses. The artifacts of an experiment are in `artifacts/<its name or id>` beside the
    database. Another recorded address counts only if its folder exists and the one beside the database does not, as
    for a copy of the database file alone.
    """
    changes, artifacts = [], db.absolute().parent.resolve() / "artifacts"
    for number, name, address in store.execute("SELECT experiment_id, name, artifact_location FROM experiments"):
        recorded = local_path(str(address))
        if recorded is None or recorded.parent.name != "artifacts" or recorded.name not in (str(name), str(number)):
            continue
        present = artifacts / recorded.name
        if present != recorded and (present.is_dir() or not recorded.is_dir()):
            changes.append((str(address).rstrip("/"), present.as_uri()))
    return changes


def _folders(store: sqlite3.Connection, db: Path) -> Callable[[str], Path | None]:
    """A function from an artifact address in this database to its folder, also after the store was moved."""
    changes = moved(store, db)

    def folder(address: str) -> Path | None:
        for old, new in changes:
            if address.startswith(f"{old}/"):
                return local_path(new + address.removeprefix(old))
        return local_path(address)

    return folder


@contextmanager
def reading(db: Path) -> Iterator[sqlite3.Connection]:
    """A connection that only reads; the file must exist. Raises InputError when it is no MLflow database."""
    # Not mode=ro, which cannot roll back the write of a killed process, so that nothing could be read.
    address = f"{db.resolve().as_uri()}?mode=rw"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=30)) as connection:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("PRAGMA trusted_schema = OFF")
            _refuse_foreign(connection, db)
            yield connection
    except (sqlite3.DatabaseError, sqlite3.Warning, OverflowError, UnicodeDecodeError) as error:
        raise InputError(Problem(str(db), "", "must be an MLflow database", str(error)[:200])) from None


def check_contents(db: Path) -> None:
    """Raises InputError for a database with triggers, views or virtual tables that MLflow does not make."""
    with reading(db):
        pass


# MLflow's only trigger protects the table `secrets`, which ablate never writes to. A view can run without end.
FOREIGN = """SELECT type, name FROM sqlite_master WHERE type = 'view' OR (type = 'trigger' AND tbl_name != 'secrets')
    OR (type = 'table' AND sql LIKE 'CREATE VIRTUAL%')"""


def _refuse_foreign(connection: sqlite3.Connection, db: Path) -> None:
    row = connection.execute(FOREIGN).fetchone()
    if row is not None:
        rule = "has a trigger, view or virtual table that MLflow does not make, whose code would run on reading"
        raise InputError(Problem(str(db), "", rule, f"{row[0]} {shown(str(row[1]))}"))


ACTIVE_RUNS = """
    FROM runs JOIN experiments USING (experiment_id)
    WHERE experiments.name = ? AND experiments.lifecycle_stage = 'active' AND runs.lifecycle_stage = 'active'
"""

DATASETS = f"""
    SELECT destination_id, digest FROM inputs JOIN datasets ON source_id = dataset_uuid
    WHERE source_type = 'DATASET' AND destination_id IN (SELECT run_uuid {ACTIVE_RUNS})
"""

UNENDED = f"SELECT EXISTS (SELECT 1 {ACTIVE_RUNS} AND status IN ('RUNNING', 'SCHEDULED'))"

METRIC_VALUE = "CASE WHEN is_nan THEN NULL ELSE value END"  # MLflow stores 0 for NaN


def changed_ns(db: Path) -> int:
    """When the database was last changed, in nanoseconds. A change may be in its write-ahead log alone."""
    files = (db, Path(f"{db.resolve()}-wal"))
    return max(file.stat().st_mtime_ns for file in files if file.is_file())


def has_unended_runs(db: Path, study: str) -> bool:
    """Whether a run of the study, or its parent run, has not ended: a session is going on, or was killed."""
    with reading(db) as connection:
        return bool(connection.execute(UNENDED, (study,)).fetchone()[0])


def records_from_sqlite(db: Path, study: str) -> list[Record]:
    """`MlflowTracker.records` from the database file; [] when there is no such file or study."""
    if not db.is_file():
        return []
    with reading(db) as connection:
        runs = connection.execute(f"SELECT run_uuid, status {ACTIVE_RUNS} ORDER BY start_time, run_uuid", (study,))
        statuses = dict(runs.fetchall())
        tags, metrics = _rows(connection, "tags", study), _rows(connection, "latest_metrics", study, METRIC_VALUE)
        datasets = dict(connection.execute(DATASETS, (study,)).fetchall())
    records = []
    for run in (run for run in statuses if "ablate.key" in tags[run]):
        try:
            records.append(record_of(run, statuses[run], tags[run], metrics[run], datasets.get(run, "")))
        except (KeyError, ValueError, TypeError, RecursionError) as error:  # ValueError: not JSON, or no number
            raise InputError(Problem(str(db), f"run {run}", "its tags are damaged", str(error))) from None
    return records


def _rows(connection: sqlite3.Connection, table: str, study: str, value: str = "value") -> dict[str, dict[str, Any]]:
    """Run id → key → value of a table. A NULL is read as NaN."""
    rows: dict[str, dict[str, Any]] = defaultdict(dict)
    query = f"SELECT run_uuid, key, {value} FROM {table} WHERE run_uuid IN (SELECT run_uuid {ACTIVE_RUNS})"
    for run, key, content in connection.execute(query, (study,)):
        rows[run][key] = _number(content)
    return rows


def _number(value: Any) -> Any:
    return float("nan") if value is None else value


def studies_from_sqlite(db: Path) -> list[str]:
    """`MlflowTracker.studies` from the database file."""
    query = f"""SELECT DISTINCT experiments.name FROM experiments JOIN runs USING (experiment_id)
        JOIN tags USING (run_uuid) WHERE key = '{ROLE}' AND value = 'study'
        AND experiments.lifecycle_stage = 'active' AND runs.lifecycle_stage = 'active' ORDER BY 1"""
    with reading(db) as connection:
        return [name for (name,) in connection.execute(query)]


def document_from_sqlite(db: Path, study: str) -> dict[str, Any] | None:
    """`MlflowTracker.document` from the database file and the parent run's artifact."""
    if not db.is_file():
        return None
    query = f"""SELECT runs.artifact_uri {ACTIVE_RUNS} AND run_uuid IN
        (SELECT run_uuid FROM tags WHERE key = '{ROLE}' AND value = 'study') ORDER BY start_time, run_uuid"""
    with reading(db) as connection:
        row = connection.execute(query, (study,)).fetchone()
        folder = _folders(connection, db)(row[0]) if row else None
    if folder is None or not (folder / DOCUMENT).is_file():
        return None
    return read_document(folder / DOCUMENT)


def history_from_sqlite(db: Path, run_id: str) -> list[dict[str, float]]:
    """`MlflowTracker.history` from the database file."""
    if not db.is_file():
        return []
    query = f"SELECT key, {METRIC_VALUE}, step, timestamp FROM metrics WHERE run_uuid = ?"
    with reading(db) as connection:
        rows = connection.execute(query, (run_id,)).fetchall()
    return curves((key, _number(value), step, time_ms) for key, value, step, time_ms in rows)


def histories_from_sqlite(db: Path, study: str) -> Iterator[tuple[str, list[dict[str, float]]]]:
    """`MlflowTracker.histories` of the whole study from the database file, one run after the other."""
    if not db.is_file():
        return
    query = f"""SELECT run_uuid, key, {METRIC_VALUE}, step, timestamp FROM metrics
        WHERE step >= 1 AND run_uuid IN (SELECT run_uuid {ACTIVE_RUNS}) ORDER BY run_uuid"""
    with reading(db) as connection:
        for run, rows in groupby(connection.execute(query, (study,)), key=itemgetter(0)):
            yield run, curves((key, _number(value), *rest) for _, key, value, *rest in rows)


def folders_from_sqlite(db: Path, study: str) -> dict[str, Path | None]:
    """Run id → artifact folder, for every run of a study; None where it is not a local folder."""
    if not db.is_file():
        return {}
    with reading(db) as connection:
        rows = connection.execute(f"SELECT run_uuid, runs.artifact_uri {ACTIVE_RUNS}", (study,)).fetchall()
        folder = _folders(connection, db)
    return {run: folder(address) for run, address in rows}


def artifact_from_sqlite(db: Path, run_id: str, path: str) -> Path | None:
    """`MlflowTracker.artifact` from the database file, for artifacts in local folders."""
    if not db.is_file():
        return None
    with reading(db) as connection:
        if path == MODEL:
            query = f"""SELECT artifact_location FROM logged_models JOIN inputs ON destination_id = model_id
                WHERE source_id = ? AND (source_type, destination_type) = {MODEL_OUTPUT}"""
        else:
            query = "SELECT artifact_uri FROM runs WHERE run_uuid = ?"
        row = connection.execute(query, (run_id,)).fetchone()
        folder = _folders(connection, db)(row[0]) if row else None
    artifact = folder / (MODEL_DATA if path == MODEL else path) if folder else None
    return artifact if artifact and artifact.exists() else None
