"""What a snapshot is made of: a plain store, packed studies, and increments beside either. No dvc, no git.

Packed studies and increments hold what a report reads. An increment `STUDY+N` holds the runs that ended since the
parts before it, which stay as they are; columns that an earlier run has too are named, not repeated.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ablate.edges import archive, slimming
from ablate.edges import snapshot_store as stores
from ablate.edges import snapshot_views as views
from ablate.edges.addresses import sqlite_address
from ablate.edges.ledger import INITIALISING, records_from_sqlite
from ablate.study import InputError, Problem

ENDED = ("FINISHED", "FAILED")
NOTES = "increment.json"  # in an increment: {"columns": see slimming.share, "discarded": [run id]}
BESIDE = "+"  # not in a study's name


@dataclass(frozen=True)
class Change:
    """What a store has of a study and a snapshot has not."""

    ended: frozenset[str] = frozenset()  # run ids
    rescored: frozenset[str] = frozenset()  # scores came later
    discarded: frozenset[str] = frozenset()
    document: bool = False

    def __bool__(self) -> bool:
        return bool(self.ended or self.rescored or self.discarded or self.document)


@dataclass(frozen=True)
class Part:
    """One piece of a study, as a store."""

    folder: Path
    rows: Path  # its database
    notes: Mapping[str, Any] = field(default_factory=dict)


def held(staged: Path) -> list[str]:
    """Names of the studies in a snapshot."""
    plain = views.studies(staged) if views.database(staged).is_file() else []
    packed = [_stem(file).partition(BESIDE)[0] for file in staged.glob(f"*{archive.SUFFIX}")]
    return sorted({*plain, *packed})


def studies(staged: Path, only: str | None = None) -> Iterator[tuple[str, Path]]:
    """The studies of a snapshot, each with a store that holds it for as long as the iteration stays there."""
    for study in held(staged):
        if only in (None, study):
            with _whole(study, staged) as store:
                yield study, store


def pack(study: str, mlruns: Path, staged: Path) -> stores.Copied:
    """Write what the study's report reads into `staged`, as an archive of a store that holds nothing else."""
    with views.still(mlruns) as rows, tempfile.TemporaryDirectory(prefix="ablate-snapshot-") as scratch:
        store = Path(scratch, "mlruns")
        stores.create(store, rows, portable=True)
        copied = stores.copy_study(study, mlruns, store, rows=rows, statuses=ENDED, models_of=(), portable=True)
        slimming.slim(store, document(study, mlruns))
        slimming.to_text(store)
        archive.pack(store, staged / f"{study}{archive.SUFFIX}")
    return copied


def pack_increment(study: str, mlruns: Path, staged: Path) -> stores.Copied:
    """Write what came to the study since it was put into `staged` beside what is there; nothing when nothing came."""
    with (
        views.still(mlruns) as rows,
        _whole(study, staged) as earlier,
        tempfile.TemporaryDirectory(prefix="ablate-snapshot-") as scratch,
    ):
        came = change(study, mlruns, rows, earlier)
        if not came:
            return stores.Copied(0, 0)
        store = Path(scratch, "mlruns")
        stores.create(store, rows, portable=True)
        runs = came.ended | came.rescored
        stores.copy_study(study, mlruns, store, rows=rows, statuses=ENDED, runs=runs, models_of=(), portable=True)
        for run in came.rescored:
            shutil.rmtree(store / "artifacts" / study / run, ignore_errors=True)
        drawn = {r.arm for r in records_from_sqlite(views.database(earlier), study) if r.phase == "compare"}
        slimming.slim(store, document(study, mlruns), drawn=drawn)
        columns = slimming.share(store / "artifacts" / study, earlier / "artifacts" / study)
        notes = {"columns": columns, "discarded": sorted(came.discarded)}
        (store / NOTES).write_text(json.dumps(notes, sort_keys=True), encoding="utf-8")
        slimming.to_text(store)
        archive.pack(store, staged / f"{study}{BESIDE}{len(_increments(study, staged)) + 1}{archive.SUFFIX}")
    return stores.Copied(len(came.ended), 0)


def change(study: str, mlruns: Path, rows: Path, earlier: Path) -> Change:
    """What the store in `mlruns`, whose database is `rows`, has of a study and the store `earlier` has not."""
    known, now = (views.latest_scores(study, db) for db in (views.database(earlier), rows))
    ended = {run for run, (status, _) in now.items() if status in ENDED}
    return Change(
        frozenset(ended - known.keys()),
        frozenset(run for run in ended & known.keys() if now[run][1] > known[run][1]),
        frozenset(run for run in known if run in now and now[run][0] == "deleted"),
        views.document(study, earlier) != document(study, mlruns),
    )


def forget(study: str, staged: Path) -> None:
    """Take a study out of a snapshot."""
    forget_packed(study, staged)
    if views.database(staged).is_file() and study in views.studies(staged):
        stores.drop_study(study, staged)
        stores.compact(staged)
        if not views.studies(staged):
            views.database(staged).unlink()


def forget_packed(study: str, staged: Path) -> None:
    """Take out of a snapshot what of a study is packed."""
    for file in [staged / f"{study}{archive.SUFFIX}", *_increments(study, staged)]:
        file.unlink(missing_ok=True)


def document(study: str, mlruns: Path) -> Mapping[str, Any]:
    """The study's document. Raises InputError when it is not there."""
    found = views.document(study, mlruns)
    if found is None:
        raise InputError(
            Problem(str(mlruns), study, "the study's document is missing", nearest="`ablate run` writes it")
        )
    return found


def same_schema(*databases: Path) -> None:
    """A snapshot may be older than the installed MLflow, or the store: then all are migrated."""
    if len({views.schema_version(file) for file in databases}) > 1:
        from ablate.edges.tracking_store import connect

        for file in databases:
            connect(sqlite_address(file), file.parent)
            (file.parent / INITIALISING).unlink(missing_ok=True)


@contextmanager
def _whole(study: str, staged: Path) -> Iterator[Path]:
    """A store with all parts of a study: the part itself when there is one, else a temporary one put together."""
    with tempfile.TemporaryDirectory(prefix="ablate-snapshot-") as scratch:
        parts = list(_parts(study, staged, Path(scratch)))
        if len(parts) == 1:
            yield parts[0].folder
            return
        store = Path(scratch, "whole", "mlruns")
        same_schema(*(part.rows for part in parts))
        stores.create(store, parts[-1].rows, portable=True)
        for part in parts:
            _join(study, part, store)
        yield store


def _parts(study: str, staged: Path, scratch: Path) -> Iterator[Part]:
    if views.database(staged).is_file() and study in views.studies(staged):
        rows = scratch / "plain" / "mlflow.db"  # the snapshot's own may be kept as it is
        rows.parent.mkdir()
        shutil.copy(views.database(staged), rows)
        yield Part(staged, rows)
    packed = staged / f"{study}{archive.SUFFIX}"
    for number, file in enumerate([*([packed] if packed.is_file() else []), *_increments(study, staged)]):
        store = scratch / str(number) / "mlruns"
        archive.unpack(file, store)
        slimming.from_text(store)
        views.check_foreign(store, [study], file.name)
        notes = store / NOTES
        yield Part(
            store, views.database(store), json.loads(notes.read_text(encoding="utf-8")) if notes.is_file() else {}
        )


def _join(study: str, part: Part, store: Path) -> None:
    """Add a part to those before it."""
    folder = part.folder / "artifacts" / study
    slimming.unshare(folder, store / "artifacts" / study, part.notes.get("columns", {}))
    stores.copy_study(study, part.folder, store, rows=part.rows, portable=True)
    stores.drop_runs(part.notes.get("discarded", []), store)


def _increments(study: str, staged: Path) -> list[Path]:
    """Files of a study's increments, in their order."""
    files = staged.glob(f"{study}{BESIDE}*{archive.SUFFIX}")
    return sorted((f for f in files if _number(f).isdecimal()), key=lambda file: int(_number(file)))


def _number(file: Path) -> str:
    return _stem(file).partition(BESIDE)[2]


def _stem(file: Path) -> str:
    return file.name.removesuffix(archive.SUFFIX)
