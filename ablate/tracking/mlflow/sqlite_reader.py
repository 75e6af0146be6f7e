"""Read an MLflow SQLite store with the standard library alone: importing mlflow takes longer than most reports.

It never writes. It knows MLflow's tables and the tags of `record_format`; it must not know how runs are trained.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from ablate.study import InputError, Problem, Record
from ablate.tracking.record_format import DOCUMENT, MODEL, MODEL_DATA, ROLE, curves, read_document, record_of
from ablate.untrusted.addresses import local_path
from ablate.untrusted.wording import shown


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


def folders(store: sqlite3.Connection, db: Path) -> Callable[[str], Path | None]:
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

IS_CELL = "run_uuid IN (SELECT run_uuid FROM tags WHERE key = 'ablate.key')"

DATASETS = f"""
    SELECT destination_id, digest FROM inputs JOIN datasets ON source_id = dataset_uuid
    WHERE source_type = 'DATASET' AND destination_id IN (SELECT run_uuid {ACTIVE_RUNS})
"""

METRIC_VALUE = "CASE WHEN is_nan THEN NULL ELSE value END"  # MLflow stores 0 for NaN


STUDIES = f"""SELECT DISTINCT experiments.name FROM experiments JOIN runs USING (experiment_id)
    JOIN tags USING (run_uuid) WHERE key = '{ROLE}' AND value = 'study'
    AND experiments.lifecycle_stage = 'active' AND runs.lifecycle_stage = 'active' ORDER BY 1"""

CURVES = f"""SELECT run_uuid, key, {METRIC_VALUE}, step, timestamp FROM metrics
    WHERE step >= 1 AND run_uuid IN (SELECT run_uuid {ACTIVE_RUNS}) ORDER BY run_uuid"""

# Artifact addresses: of a study's parent run, of a run, of a run's model.
PARENT_ADDRESS = f"""SELECT runs.artifact_uri {ACTIVE_RUNS} AND run_uuid IN
    (SELECT run_uuid FROM tags WHERE key = '{ROLE}' AND value = 'study') ORDER BY start_time, run_uuid"""
RUN_ADDRESS = "SELECT artifact_uri FROM runs WHERE run_uuid = ?"
MODEL_ADDRESS = """SELECT artifact_location FROM logged_models JOIN inputs ON destination_id = model_id
    WHERE source_id = ? AND (source_type, destination_type) = ('RUN_OUTPUT', 'MODEL_OUTPUT')"""


class LocalStore:
    """The runs in the database file `database`; none where there is no such file. Implements `study.RunReader`."""

    def __init__(self, database: Path) -> None:
        self.database = database
        self._run_folders: dict[str, Path | None] = {}  # run id → artifact folder, filled by `records`

    def studies(self) -> list[str]:
        if not self.database.is_file():
            return []
        with reading(self.database) as connection:
            return [name for (name,) in connection.execute(STUDIES)]

    def document(self, study: str) -> dict[str, Any] | None:
        folder = self._folder(PARENT_ADDRESS, study)
        return read_document(folder / DOCUMENT) if folder and (folder / DOCUMENT).is_file() else None

    def records(self, study: str) -> list[Record]:
        if not self.database.is_file():
            return []
        with reading(self.database) as connection:
            query = f"SELECT run_uuid, status, runs.artifact_uri {ACTIVE_RUNS} ORDER BY start_time, run_uuid"
            runs = connection.execute(query, (study,)).fetchall()
            tags, metrics = _rows(connection, "tags", study), _rows(connection, "latest_metrics", study, METRIC_VALUE)
            datasets = dict(connection.execute(DATASETS, (study,)).fetchall())
            folder = folders(connection, self.database)
        self._run_folders |= {run: folder(address) for run, _, address in runs}
        records = []
        for run, status, _ in (row for row in runs if "ablate.key" in tags[row[0]]):
            try:
                records.append(record_of(run, status, tags[run], metrics[run], datasets.get(run, "")))
            except (KeyError, ValueError, TypeError, RecursionError) as error:  # ValueError: not JSON, or no number
                problem = Problem(str(self.database), f"run {run}", "its tags are damaged", str(error))
                raise InputError(problem) from None
        return records

    def times(self, study: str) -> dict[str, tuple[int, int]]:
        if not self.database.is_file():
            return {}
        with reading(self.database) as connection:
            rows = connection.execute(f"SELECT run_uuid, start_time, end_time {ACTIVE_RUNS} AND {IS_CELL}", (study,))
            return {run: (int(started or 0), int(ended or 0)) for run, started, ended in rows}

    def histories(self, study: str, run_ids: Collection[str]) -> list[tuple[str, list[dict[str, float]]]]:
        if not self.database.is_file():
            return []
        wanted = set(run_ids)
        with reading(self.database) as connection:
            rows_by_run = groupby(connection.execute(CURVES, (study,)), key=itemgetter(0))
            return [
                (run, curves((key, _number(value), *rest) for _, key, value, *rest in rows))
                for run, rows in rows_by_run
                if run in wanted
            ]

    def artifact(self, run_id: str, path: str) -> Path | None:
        """Only of artifacts in local folders."""
        if path == MODEL:
            folder, path = self._folder(MODEL_ADDRESS, run_id), MODEL_DATA
        else:
            folder = self._run_folders.get(run_id) or self._folder(RUN_ADDRESS, run_id)
        artifact = folder / path if folder else None
        return artifact if artifact and artifact.exists() else None

    def _folder(self, query: str, name: str) -> Path | None:
        """The local folder at the first address that the query finds."""
        if not self.database.is_file():
            return None
        with reading(self.database) as connection:
            row = connection.execute(query, (name,)).fetchone()
            return folders(connection, self.database)(row[0]) if row else None


def _rows(connection: sqlite3.Connection, table: str, study: str, value: str = "value") -> dict[str, dict[str, Any]]:
    """Run id → key → value of a table. A NULL is read as NaN."""
    rows: dict[str, dict[str, Any]] = defaultdict(dict)
    query = f"SELECT run_uuid, key, {value} FROM {table} WHERE run_uuid IN (SELECT run_uuid {ACTIVE_RUNS})"
    for run, key, content in connection.execute(query, (study,)):
        rows[run][key] = _number(content)
    return rows


def _number(value: Any) -> Any:
    return float("nan") if value is None else value
