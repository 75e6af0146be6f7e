"""Find files in `mlruns` that nobody needs: work folders of ended runs, artifacts of discarded ones. Deletes nothing.

Artifacts are listed only where the database has a deleted row for them: a folder without one may belong to another
store. Imports no mlflow.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ablate.study import Record
from ablate.tracking.mlflow.sqlite_reader import folders, reading

DAY_S = 86_400
# At the end of the name of a cell's work folder: see `trainers.context.Context.folder`.
KEY = re.compile(r"-([0-9a-f]{16})$")


class Leftover(NamedTuple):
    """A folder that may be deleted."""

    path: Path
    reason: str
    size: int  # bytes


def studies_with_work(mlruns: Path) -> list[str]:
    """Names of the studies that have work folders or logs."""
    folders = [path for kind in ("work", "logs") for path in (mlruns / kind).glob("*") if path.is_dir()]
    return sorted({folder.name for folder in folders})


def unneeded_states(study: str, mlruns: Path, records: list[Record] | None, *, days: float) -> Iterator[Leftover]:
    """Work folders of finished cells, and those in which no file has changed for `days`.

    `records` are the study's; None when it is not in the store: then its work folders and logs are judged by age.
    """
    finished = {record.key for record in records or [] if record.status == "FINISHED"}
    for folder in sorted((mlruns / "work" / study).glob("*/")):
        key = KEY.search(folder.name)
        if key and key[1] in finished:
            yield _leftover(folder, "state of a finished run")
        elif _age_s(folder) > days * DAY_S:
            yield _leftover(folder, f"state of an unfinished run, untouched for {_age_s(folder) / DAY_S:.0f} days")
    logs = mlruns / "logs" / study
    if records is None and logs.is_dir() and _age_s(logs) > days * DAY_S:
        yield _leftover(logs, "logs of a study that is not in the store")


def orphans(mlruns: Path) -> Iterator[tuple[str, Leftover]]:
    """Artifact folders of discarded runs and models under `mlruns/artifacts`, each with its study."""
    db = mlruns / "mlflow.db"
    if not db.is_file():
        return
    tables = (("run", "runs", "artifact_uri"), ("model", "logged_models", "artifact_location"))
    for kind, table, address_column in tables:
        query = f"""SELECT study, {table}.{address_column} FROM {table}
            JOIN (SELECT experiment_id, name AS study FROM experiments) USING (experiment_id)
            WHERE {table}.lifecycle_stage = 'deleted'"""
        with reading(db) as store:
            folder_of = folders(store, db)
            found = [(study, kind, folder_of(address)) for study, address in store.execute(query)]
        yield from discarded([(study, kind, folder) for study, kind, folder in found if folder], mlruns)


def discarded(candidates: Iterable[tuple[str, str, Path]], mlruns: Path) -> Iterator[tuple[str, Leftover]]:
    """Those artifact folders that exist under `mlruns/artifacts`. Each comes as (study, "run" or "model", folder)."""
    root = (mlruns / "artifacts").resolve()
    for study, kind, folder in candidates:
        if folder.is_dir() and _of_one_run(folder.resolve(), root):
            yield study, _leftover(folder.parent, f"files of a discarded {kind}")


def _of_one_run(folder: Path, root: Path) -> bool:
    """Whether this is <root>/<study>/<run>/artifacts or <root>/<study>/models/<model>/artifacts."""
    return folder.is_relative_to(root) and folder.name == "artifacts" and len(folder.relative_to(root).parts) in (3, 4)


def _leftover(path: Path, reason: str) -> Leftover:
    return Leftover(path, reason, sum(file.lstat().st_size for file in _files(path)))


def _age_s(folder: Path) -> float:
    times = [file.lstat().st_mtime for file in _files(folder)]
    return time.time() - max([folder.stat().st_mtime, *times])


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if not path.is_dir()]
