"""Leave in a copied store only what a study's report reads, its database as text. Claims nothing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd

from ablate.edges.ledger import records_from_sqlite
from ablate.study import InputError, Problem, Study

DATABASE, TEXT = "mlflow.db", "mlflow.sql"
# Curves are drawn of comparison runs; at step 0 stand values that `latest_metrics` has too.
UNREAD = """DELETE FROM metrics WHERE step = 0
    OR run_uuid IN (SELECT run_uuid FROM tags WHERE key = 'ablate.phase' AND value = 'tune')"""
# A database that stays inside its own file.
REFUSED = (sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_PRAGMA)

PEOPLE = "subject"  # differences are also shown per person


def slim(mlruns: Path, document: Mapping[str, Any]) -> None:
    """Drop per-example columns that the report does not show, pictures that no gallery draws, and unread curves.

    `document` is the study's (see Tracker). Changes files of the store in `mlruns`: only ever a copy.
    """
    study = Study.model_validate_json(json.dumps(document["study"]))
    kept = set(_columns(study, document["metrics"]))
    runs = [r for r in records_from_sqlite(mlruns / DATABASE, study.name) if r.seed in study.seeds]
    pictured: set[str] = set()
    for record in sorted(runs, key=lambda record: study.seeds.index(record.seed)):
        folder = mlruns / "artifacts" / study.name / record.run_id / "artifacts"
        for table in sorted(folder.glob("*.parquet")):
            frame = pd.read_parquet(table)
            wanted = [name for name in frame.columns if name in kept]
            split = dict.fromkeys(wanted, "BYTE_STREAM_SPLIT")
            # the archive around it compresses, and sees what the runs have in common
            frame[wanted].to_parquet(table, compression=None, index=False, use_dictionary=False, column_encoding=split)
        if (folder / "examples.npz").is_file():
            if record.arm in pictured or study.report.gallery is None or study.arms[record.arm].reference:
                (folder / "examples.npz").unlink()
            pictured.add(record.arm)
    with closing(sqlite3.connect(mlruns / DATABASE)) as store, store:
        store.execute(UNREAD)


def to_text(mlruns: Path) -> None:
    """Write the database as SQL in its place: packed, a third of the size of the file with its indexes."""
    with closing(sqlite3.connect(mlruns / DATABASE)) as store:
        (mlruns / TEXT).write_text("\n".join(store.iterdump()) + "\n", encoding="utf-8")
    (mlruns / DATABASE).unlink()


def from_text(mlruns: Path) -> None:
    """Undo `to_text`. Raises InputError for text that is no database or reaches for other files."""
    with closing(sqlite3.connect(mlruns / DATABASE)) as store:
        store.set_authorizer(lambda action, *_: sqlite3.SQLITE_DENY if action in REFUSED else sqlite3.SQLITE_OK)
        try:
            store.executescript((mlruns / TEXT).read_text(encoding="utf-8"))
        except (sqlite3.Error, OSError, ValueError) as error:
            raise InputError(Problem(TEXT, "", "is no database of a snapshot", str(error))) from None
    (mlruns / TEXT).unlink()


def _columns(study: Study, metrics: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Names of the per-example columns that a report reads; targets and metrics."""
    yield PEOPLE
    names = [*study.metrics, *(hypothesis.metric for hypothesis in study.hypotheses)]
    for condition_name, condition in study.report.conditions.items():
        yield study.report.column_of(condition_name)
        names += condition.metrics
    for column, density in study.report.densities.items():
        yield column
        names.append(density.error)
    for name in names:
        yield metrics.get(name, {}).get("column", name)
