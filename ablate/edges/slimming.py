"""Leave in a copied store only what a study's report reads, its database as text. Claims nothing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping
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
# A dump makes tables and fills them with literals; from any other text a database of any size, and endless work.
REFUSED = (
    *(sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_PRAGMA),
    *(sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE, sqlite3.SQLITE_FUNCTION),
    *(sqlite3.SQLITE_CREATE_VIEW, sqlite3.SQLITE_CREATE_VTABLE),
)

TABLES = ("scores.parquet", "conditions.parquet")  # conditions were among the scores once
COMPARED = 20  # of earlier runs' tables: those of one study's examples are alike
PEOPLE = "subject"  # differences are also shown per person


def slim(mlruns: Path, document: Mapping[str, Any], *, drawn: Collection[str] = ()) -> None:
    """Drop per-example columns and arms that the report does not show, pictures that no gallery draws, unread curves.

    `document` is the study's (see Tracker); of the arms `drawn` pictures are kept elsewhere. Changes files of the
    store in `mlruns`: only ever a copy.
    """
    study = Study.model_validate_json(json.dumps(document["study"]))
    kept = set(_columns(study, document["metrics"]))
    runs = [r for r in records_from_sqlite(mlruns / DATABASE, study.name) if r.seed in study.seeds]
    claimed = {arm for hypothesis in study.hypotheses for arm in (hypothesis.arm, hypothesis.against)}
    unread = {name for name, arm in study.arms.items() if arm.reference} - claimed  # their scores stand in the matrix
    pictured = set(drawn)
    for record in sorted(runs, key=lambda record: study.seeds.index(record.seed)):
        folder = mlruns / "artifacts" / study.name / record.run_id / "artifacts"
        for table in sorted(folder.glob("*.parquet")):
            if record.arm in unread:
                table.unlink()
                continue
            frame = pd.read_parquet(table)
            _write(frame[[name for name in frame.columns if name in kept]], table)
        if (folder / "examples.npz").is_file():
            if record.arm in pictured or study.report.gallery is None or study.arms[record.arm].reference:
                (folder / "examples.npz").unlink()
            pictured.add(record.arm)
    with closing(sqlite3.connect(mlruns / DATABASE)) as store, store:
        store.execute(UNREAD)


def share(folder: Path, earlier: Path) -> dict[str, Any]:
    """Drop from the tables of the runs in `folder` what a table of a run in `earlier` has in the same bytes.

    Both hold a folder a run. Returns by table, a path in `folder`, {"like": path in `earlier`, "order": its columns}.
    """
    shared = {}
    known = [file for pattern in TABLES for file in sorted(earlier.glob(f"*/artifacts/{pattern}"))[:COMPARED]]
    for table in sorted(folder.glob("*/artifacts/*.parquet")):
        frame = pd.read_parquet(table)
        own = {file: _own(frame, pd.read_parquet(file)) for file in known}
        best = min(own, key=lambda file: len(own[file]), default=None)
        if best and len(own[best]) < len(frame.columns):
            shared[_relative(table, folder)] = {"like": _relative(best, earlier), "order": list(frame.columns)}
            _write(frame[own[best]], table)
    return shared


def unshare(folder: Path, earlier: Path, shared: Mapping[str, Any]) -> None:
    """Undo `share`. Raises InputError when a table, or the one it was like, is not there or does not fit."""
    for name, rule in shared.items():
        table, known = _inside(folder, name), _inside(earlier, rule["like"])
        try:
            frame, other = pd.read_parquet(table), pd.read_parquet(known)
            missing = other[[column for column in rule["order"] if column not in frame]]
            if len(frame.columns) and len(frame) != len(other):
                raise ValueError(f"{len(frame)} examples, {len(other)} in {rule['like']}")
            _write(pd.concat([frame, missing], axis=1)[rule["order"]], table)
        except (OSError, KeyError, TypeError, ValueError) as error:  # pyarrow's errors are ValueErrors
            raise InputError(Problem(name, "", "cannot be completed from an earlier run", str(error))) from None


def _own(frame: pd.DataFrame, other: pd.DataFrame) -> list[str]:
    """Columns that `other` has not in the same bytes."""
    alike = [
        name for name in frame if name in other and len(frame) == len(other) and frame[name].dtype == other[name].dtype
    ]
    return [
        str(name)
        for name in frame
        if name not in alike or frame[name].to_numpy().tobytes() != other[name].to_numpy().tobytes()
    ]


def _relative(file: Path, folder: Path) -> str:
    return file.relative_to(folder).as_posix()


def _inside(folder: Path, name: str) -> Path:
    """A path that came from elsewhere must not lead out of its folder."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise InputError(Problem(str(name), "", "leads out of the snapshot"))
    return path


def _write(frame: pd.DataFrame, table: Path) -> None:
    # the archive around it compresses, and sees what the runs have in common
    split = dict.fromkeys(frame.columns, "BYTE_STREAM_SPLIT")
    frame.to_parquet(table, compression=None, index=False, use_dictionary=False, column_encoding=split)


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
