"""Copy a study from one MLflow SQLite store into another: rows by SQL, artifacts by file. No mlflow, no dvc.

A store is the file `mlflow.db` in a folder `mlruns`. Its artifact addresses are absolute where people work and
relative to the folder above `mlruns` in a snapshot. Experiment ids differ between stores; run and model ids do not.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from ablate.design.amend import supersedes
from ablate.edges.ledger import DOCUMENT, INITIALISING, local_path, read_document
from ablate.edges.snapshot_views import database, folder, is_parent

# Logs, resume state, MLflow's own notes, what a server's store can make again.
LEFT_BEHIND = ("*.log", "checkpoint*", "*.partial", "registered_model_meta", "summary")
PAGE_BYTES = 1024  # MLflow has 60 tables and 90 indexes, mostly empty: a page each
SEED_TABLES = ("alembic_version", "workspaces")

RUNS, MODELS = "SELECT run_uuid FROM chosen_runs", "SELECT model_id FROM chosen_models"
BY_RUN = f"run_uuid IN ({RUNS})"
BY_MODEL = f"model_id IN ({MODELS})"
INPUTS = f"""(source_type = 'DATASET' AND destination_id IN ({RUNS}))
    OR (source_type != 'DATASET' AND source_id IN ({RUNS}) AND destination_id IN ({MODELS}))"""
# A dataset known to the target under the same name and digest keeps its id there.
KNOWN_DATASET = """(SELECT t.dataset_uuid FROM main.datasets t JOIN src.datasets s USING (name, digest)
    WHERE s.dataset_uuid = {} AND t.experiment_id = :experiment)"""
# Table → which rows of the source are copied; the order is that of their references.
COPIED = {
    "experiment_tags": "experiment_id = :source_experiment",
    "runs": BY_RUN,
    "tags": BY_RUN,
    "params": BY_RUN,
    "metrics": BY_RUN,
    "latest_metrics": BY_RUN,
    "datasets": f"dataset_uuid IN (SELECT source_id FROM src.inputs WHERE destination_id IN ({RUNS}))",
    "inputs": INPUTS,
    "input_tags": f"input_uuid IN (SELECT input_uuid FROM src.inputs WHERE {INPUTS})",
    "logged_models": BY_MODEL,
    "logged_model_params": BY_MODEL,
    "logged_model_tags": BY_MODEL,
    "logged_model_metrics": BY_MODEL,
}
CHANGED = {  # column → what it becomes in the target; elsewhere it is copied as it is
    ("inputs", "source_id"): f"CASE source_type WHEN 'DATASET' THEN {KNOWN_DATASET.format('source_id')} "
    "ELSE source_id END",
    ("logged_model_metrics", "dataset_uuid"): KNOWN_DATASET.format("logged_model_metrics.dataset_uuid"),
    ("runs", "artifact_uri"): ":place || '/' || run_uuid || '/artifacts'",
    ("logged_models", "artifact_location"): ":place || '/models/' || model_id || '/artifacts'",
}


@dataclass(frozen=True)
class Copied:
    """What one copy brought into the target; a study's parent run does not count."""

    runs: int
    models: int


def provide(mlruns: Path, like: Path) -> None:
    """See that there is a store in the folder `mlruns`: where there is none, or an empty file, see `create`."""
    mlruns.mkdir(parents=True, exist_ok=True)
    with FileLock(mlruns / INITIALISING):  # as whoever opens a store with MLflow makes it
        if not database(mlruns).is_file() or not database(mlruns).stat().st_size:
            create(mlruns, like)


def create(mlruns: Path, like: Path, *, portable: bool = False) -> None:
    """An empty store in the folder `mlruns` with the schema of the store `like`: whole, or none at all."""
    mlruns.mkdir(parents=True, exist_ok=True)
    partial = database(mlruns).with_name("mlflow.db.partial")
    partial.unlink(missing_ok=True)
    try:
        _fill(partial, like, _address(mlruns, "0", portable))
        partial.replace(database(mlruns))
    finally:
        partial.unlink(missing_ok=True)


def _fill(db: Path, like: Path, place: str) -> None:
    """The tables of a store, with MLflow's default experiment, whose artifacts are at `place`."""
    with _writing(db, like) as store:
        for (statement,) in store.execute(
            # MLflow has a trigger on this table alone; a store may come from anyone
            """SELECT sql FROM src.sqlite_master WHERE sql != '' AND name NOT LIKE 'sqlite_%'
            AND (type IN ('table', 'index') OR (type = 'trigger' AND tbl_name = 'secrets')) ORDER BY rowid"""
        ):
            store.execute(statement)
        for table in SEED_TABLES:
            if not _columns(store, "main", table):
                continue  # an older schema
            store.execute(f"INSERT INTO main.{table} SELECT * FROM src.{table}")
        _copy(store, "experiments", "experiment_id = 0", {})
        store.execute("UPDATE main.experiments SET artifact_location = ?, lifecycle_stage = 'active'", (place,))


def copy_study(
    study: str,
    source: Path,
    target: Path,
    *,
    rows: Path | None = None,
    statuses: Collection[str] = (),
    runs: Collection[str] | None = None,
    models_of: Collection[str] | None = None,
    portable: bool = False,
) -> Copied:
    """Copy what the target lacks of a study between two `mlruns` folders.

    `rows`: the source's database, when it is another file (see `still`); `statuses`: only runs that stand so, `runs`:
    only these (default: all); `models_of`: only these runs' models (default: all); `portable`: write addresses
    relative to the folder above the target. Runs that the target knows, also deleted ones, stay as they are there,
    but for scores measured since. Of two parent runs the target keeps its own, with the later document.
    """
    with _writing(database(target), rows or database(source)) as store:
        experiment, place = _experiment(store, study, target, portable)
        values = {"study": study, "experiment": experiment, "place": place}
        values["source_experiment"] = store.execute(
            "SELECT experiment_id FROM src.experiments WHERE name = ?", (study,)
        ).fetchone()[0]
        _choose(store, values, statuses, runs, models_of)
        adopted = _adopt(store, values, source, target)
        for table, condition in COPIED.items():
            _copy(store, table, condition, values)
        if adopted:
            query = f"UPDATE main.tags SET value = ? WHERE key = 'mlflow.parentRunId' AND {BY_RUN}"
            store.execute(query, (adopted,))
        _add_scores(store)
        _copy_artifacts(store, values["source_experiment"], source, target)
        chosen = (f"chosen_runs WHERE NOT {is_parent('src')}", "chosen_models")
        return Copied(*(store.execute(f"SELECT count(*) FROM {which}").fetchone()[0] for which in chosen))


def drop_study(study: str, mlruns: Path) -> None:
    """Remove a study, its runs and its artifacts from a store as if it had never been there."""
    with _writing(database(mlruns)) as store:
        row = store.execute("SELECT experiment_id FROM experiments WHERE name = ?", (study,)).fetchone()
        if row is None:
            return
        runs = "SELECT run_uuid FROM runs WHERE experiment_id = :id"
        linked = f"source_id IN ({runs}) OR destination_id IN ({runs})"
        conditions = {
            "input_tags": f"input_uuid IN (SELECT input_uuid FROM inputs WHERE {linked})",
            "inputs": linked,
            **dict.fromkeys(("tags", "params", "metrics", "latest_metrics"), f"run_uuid IN ({runs})"),
        }
        by_experiment = [table for table in COPIED if "experiment_id" in _columns(store, "main", table)]
        conditions |= dict.fromkeys([*by_experiment, "experiments"], "experiment_id = :id")
        for table, condition in conditions.items():
            store.execute(f"DELETE FROM {table} WHERE {condition}", {"id": row[0]})
    shutil.rmtree(mlruns / "artifacts" / study, ignore_errors=True)


def drop_runs(runs: Collection[str], mlruns: Path) -> None:
    """Remove runs, their models and their artifacts from a store as if they had never been there."""
    with _writing(database(mlruns)) as store:
        store.execute("CREATE TEMP TABLE chosen_runs (run_uuid)")
        store.executemany("INSERT INTO chosen_runs VALUES (?)", [(run,) for run in runs])
        store.execute(
            f"CREATE TEMP TABLE chosen_models AS SELECT model_id FROM logged_models WHERE source_run_id IN ({RUNS})"
        )
        places = [
            *store.execute(f"SELECT artifact_uri FROM runs WHERE {BY_RUN}"),
            *store.execute(f"SELECT artifact_location FROM logged_models WHERE {BY_MODEL}"),
        ]
        linked = f"source_id IN ({RUNS}) OR destination_id IN ({RUNS})"
        store.execute(f"DELETE FROM input_tags WHERE input_uuid IN (SELECT input_uuid FROM inputs WHERE {linked})")
        store.execute(f"DELETE FROM inputs WHERE {linked}")
        for table, condition in reversed(COPIED.items()):
            if condition in (BY_RUN, BY_MODEL):
                store.execute(f"DELETE FROM {table} WHERE {condition}")
        store.execute(
            """DELETE FROM datasets WHERE dataset_uuid NOT IN
            (SELECT source_id FROM inputs WHERE source_type = 'DATASET')"""
        )
    for (address,) in places:
        place = folder(address, mlruns)
        if place and place.is_relative_to(mlruns.resolve()):
            shutil.rmtree(place.parent, ignore_errors=True)  # …/<run or model id>/artifacts


def compact(mlruns: Path) -> None:
    """Rebuild the database file without gaps, in small pages."""
    with closing(sqlite3.connect(database(mlruns), isolation_level=None)) as store:
        store.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        store.execute("VACUUM")


@contextmanager
def _writing(db: Path, source: Path | None = None) -> Iterator[sqlite3.Connection]:
    """One transaction on `db` (`main`), with `source` attached read-only as `src`."""
    with closing(sqlite3.connect(f"{db.resolve().as_uri()}", uri=True, timeout=60)) as store:
        if source:
            store.execute("ATTACH ? AS src", (f"{source.resolve().as_uri()}?mode=ro",))
        with store:
            store.execute("BEGIN IMMEDIATE")
            yield store


def _address(mlruns: Path, name: str, portable: bool) -> str:
    return f"{mlruns.name}/artifacts/{name}" if portable else (mlruns.resolve() / "artifacts" / name).as_uri()


def _experiment(store: sqlite3.Connection, study: str, target: Path, portable: bool) -> tuple[int, str]:
    """Id and artifact address of the study's experiment in the target, made or brought back when need be."""
    query = "SELECT experiment_id, artifact_location, lifecycle_stage FROM main.experiments WHERE name = ?"
    row = store.execute(query, (study,)).fetchone()
    if row is None:
        columns = _shared_columns(store, "experiments")
        rest = ", ".join(name for name in columns if name not in ("experiment_id", "artifact_location"))
        store.execute(
            f"""INSERT INTO main.experiments (artifact_location, {rest})
            SELECT ?, {rest} FROM src.experiments WHERE name = ?""",
            (_address(target, study, portable), study),
        )
    elif row[2] != "active":  # deleted with all its runs; those that the source has are wanted back
        store.execute("UPDATE main.experiments SET lifecycle_stage = 'active' WHERE name = ?", (study,))
        store.execute(
            """UPDATE main.runs SET lifecycle_stage = 'active', deleted_time = NULL WHERE experiment_id = ?
            AND run_uuid IN (SELECT run_uuid FROM src.runs WHERE lifecycle_stage = 'active')""",
            (row[0],),
        )
    found = store.execute(query, (study,)).fetchone()
    return found[0], found[1].rstrip("/")


def _choose(
    store: sqlite3.Connection,
    values: Mapping[str, object],
    statuses: Collection[str],
    runs: Collection[str] | None,
    models_of: Collection[str] | None,
) -> None:
    """Temporary tables of the runs and models to copy."""
    marks = ", ".join("?" * len(statuses))
    standing = f"AND (status IN ({marks}) OR {is_parent('src')})" if statuses else ""
    if runs is not None:
        store.execute("CREATE TEMP TABLE asked (run_uuid)")
        store.executemany("INSERT INTO asked VALUES (?)", [(run,) for run in runs])
        standing += f" AND (run_uuid IN (SELECT run_uuid FROM asked) OR {is_parent('src')})"
    store.execute(
        f"""CREATE TEMP TABLE chosen_runs AS SELECT run_uuid FROM src.runs
        WHERE experiment_id = ? AND lifecycle_stage = 'active'
        AND run_uuid NOT IN (SELECT run_uuid FROM main.runs) {standing}""",
        (values["source_experiment"], *statuses),
    )
    store.execute("CREATE TEMP TABLE model_owners (run_uuid)")
    owners = models_of if models_of is not None else [run for (run,) in store.execute(RUNS)]
    store.executemany("INSERT INTO model_owners VALUES (?)", [(run,) for run in owners])
    store.execute(
        f"""CREATE TEMP TABLE chosen_models AS SELECT model_id FROM src.logged_models
        WHERE lifecycle_stage = 'active' AND source_run_id IN ({RUNS})
        AND source_run_id IN (SELECT run_uuid FROM model_owners)"""
    )


def _adopt(store: sqlite3.Connection, values: Mapping[str, object], source: Path, target: Path) -> str | None:
    """Settle which parent run the study has. Returns the target's when the source's children must move to it."""
    parents = {}
    for where, experiment in (("main", values["experiment"]), ("src", values["source_experiment"])):
        query = f"""SELECT run_uuid, CASE status WHEN 'RUNNING' THEN NULL ELSE end_time END, artifact_uri
            FROM {where}.runs WHERE experiment_id = ? AND lifecycle_stage = 'active' AND {is_parent(where)}
            ORDER BY start_time, run_uuid"""
        parents[where] = store.execute(query, (experiment,)).fetchone()
    if parents["main"] is None or parents["src"] is None:
        return None
    (ours, our_end, our_place), (theirs, their_end, their_place) = parents["main"], parents["src"]
    store.execute("DELETE FROM chosen_runs WHERE run_uuid = ?", (theirs,))
    if our_end and their_end:
        later = their_end > our_end
        if ours == theirs:
            later = supersedes(_document(their_place, source), _document(our_place, target), closed_later=later)
        if later:
            _renew(store, ours, theirs)
    return str(ours) if ours != theirs else None


def _document(address: str, mlruns: Path) -> Mapping[str, Any]:
    """A study's document beside its parent run; empty where there is none."""
    place = folder(address, mlruns)
    return read_document(place / DOCUMENT) if place and (place / DOCUMENT).is_file() else {}


def _renew(store: sqlite3.Connection, ours: str, theirs: str) -> None:
    """The source's document is the later one: our parent run takes its state, tags and (see artifacts) document."""
    store.execute(
        "UPDATE main.runs SET (status, end_time) = (SELECT status, end_time FROM src.runs WHERE run_uuid = ?) "
        "WHERE run_uuid = ?",
        (theirs, ours),
    )
    store.execute(
        "INSERT OR REPLACE INTO main.tags (key, value, run_uuid) SELECT key, value, ? FROM src.tags WHERE run_uuid = ?",
        (ours, theirs),
    )
    store.execute("CREATE TEMP TABLE renewed AS SELECT ? AS ours, ? AS theirs", (ours, theirs))


def _add_scores(store: sqlite3.Connection) -> None:
    """Scores that came to ended runs later, as those on external data do."""
    ended = "status = 'FINISHED' AND lifecycle_stage = 'active'"
    store.execute(
        f"""CREATE TEMP TABLE later AS SELECT s.run_uuid, s.key FROM src.latest_metrics s
        LEFT JOIN main.latest_metrics t USING (run_uuid, key)
        WHERE s.run_uuid IN (SELECT run_uuid FROM src.runs WHERE {ended})
        AND s.run_uuid IN (SELECT run_uuid FROM main.runs WHERE {ended})
        AND (t.timestamp IS NULL OR t.timestamp < s.timestamp)"""
    )
    for table in ("metrics", "latest_metrics"):
        names = ", ".join(f'"{name}"' for name in _shared_columns(store, table))
        store.execute(
            f"""INSERT OR REPLACE INTO main.{table} ({names}) SELECT {names} FROM src.{table}
            WHERE (run_uuid, key) IN (SELECT run_uuid, key FROM later)"""
        )


def _columns(store: sqlite3.Connection, where: str, table: str) -> list[str]:
    return [row[1] for row in store.execute(f"PRAGMA {where}.table_info({table})")]


def _shared_columns(store: sqlite3.Connection, table: str) -> list[str]:
    known = _columns(store, "main", table)
    return [name for name in _columns(store, "src", table) if name in known]


def _copy(store: sqlite3.Connection, table: str, condition: str, values: Mapping[str, object]) -> None:
    columns = _shared_columns(store, table)
    changed = {**CHANGED, (table, "experiment_id"): ":experiment"} if values else {}
    taken = ", ".join(changed.get((table, name), f'"{name}"') for name in columns)
    names = ", ".join(f'"{name}"' for name in columns)
    store.execute(
        f"INSERT OR IGNORE INTO main.{table} ({names}) SELECT {taken} FROM src.{table} WHERE {condition}", values
    )


def _copy_artifacts(store: sqlite3.Connection, experiment: object, source: Path, target: Path) -> None:
    runs = f"""SELECT s.artifact_uri, t.artifact_uri FROM src.runs s JOIN main.runs t USING (run_uuid)
        WHERE {BY_RUN}"""
    models = f"""SELECT s.artifact_location, t.artifact_location FROM src.logged_models s
        JOIN main.logged_models t USING (model_id) WHERE {BY_MODEL}"""
    known_models = """SELECT s.artifact_location, t.artifact_location FROM src.logged_models s
        JOIN main.logged_models t USING (model_id) WHERE model_id NOT IN (SELECT model_id FROM chosen_models)
        AND s.experiment_id = ? AND t.lifecycle_stage = 'active'"""
    late = [(old, new) for old, new in store.execute(known_models, (experiment,)) if not _there(new, target)]
    ignore = shutil.ignore_patterns(*LEFT_BEHIND)
    for old, new in [*store.execute(runs), *store.execute(models), *late]:
        origin, place = folder(old, source), folder(new, target)
        if origin and place and origin.is_dir():
            shutil.copytree(origin, place, ignore=ignore, dirs_exist_ok=True)
            _readdress(place / "MLmodel", old, new)
    if store.execute("SELECT 1 FROM temp.sqlite_master WHERE name = 'renewed'").fetchone():
        query = """SELECT s.artifact_uri, t.artifact_uri FROM renewed JOIN src.runs s ON s.run_uuid = theirs
            JOIN main.runs t ON t.run_uuid = ours"""
        old, new = store.execute(query).fetchone()
        origin, place = folder(old, source), folder(new, target)
        if origin and place and (origin / DOCUMENT).is_file():
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(origin / DOCUMENT, place / DOCUMENT)


def _there(address: str, mlruns: Path) -> bool:
    place = folder(address, mlruns)
    return place is None or place.is_dir()


def _readdress(description: Path, old: str, new: str) -> None:
    """MLmodel files written by MLflow itself name their own folder, as an address or as a path."""
    if description.is_file():
        text = description.read_text(encoding="utf-8")
        forms = "|".join(re.escape(form) for form in (old, str(local_path(old))))
        description.write_text(re.sub(forms, lambda _: new, text), encoding="utf-8")
