"""Update the artifact addresses in the database of a local store that was moved or copied. Imports no mlflow."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from ablate.study import InputError, Problem
from ablate.tracking.mlflow.sqlite_reader import moved, reading

# The columns with absolute artifact addresses. Those of runs and models begin with the address of their experiment.
ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
)


def rewrite(db: Path) -> None:
    """Rewrite every artifact address of a store that has moved, in one transaction. The caller holds the opening lock.

    Raises InputError when the file is no MLflow database, or cannot be written.
    """
    with reading(db) as store:
        changes = moved(store, db)
    if not changes:
        return
    try:
        with closing(sqlite3.connect(f"{db.resolve().as_uri()}?mode=rw", uri=True, timeout=30)) as store, store:
            store.execute("BEGIN IMMEDIATE")
            for old, new in changes:
                _rename(store, old, new)
    except sqlite3.Error as error:
        rule = "was moved, and its artifact addresses cannot be rewritten"
        raise InputError(Problem(str(db), "", rule, str(error))) from None


def _rename(store: sqlite3.Connection, old: str, new: str) -> None:
    values = {"old": old, "new": new, "length": len(old)}
    tables = {name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for table, column in ADDRESSES:
        if table in tables:  # a store of an older MLflow has no table of models
            below = f"{column} = :old OR substr({column}, 1, :length + 1) = :old || '/'"
            renamed = f":new || substr({column}, :length + 1)"
            store.execute(f"UPDATE {table} SET {column} = {renamed} WHERE {below}", values)
