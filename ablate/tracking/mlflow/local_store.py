"""Read a SQLite store without MLflow, whose import takes longer than most reports. Implements `RunReader`."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from ablate.study import Record
from ablate.tracking.mlflow import sqlite_reader
from ablate.tracking.record_format import MODEL


class LocalStore:
    """The runs in the database file `database`; none where there is no such file."""

    def __init__(self, database: Path) -> None:
        self.database = database
        self._folders: dict[str, Path | None] = {}  # run id → artifact folder, filled by `records`

    def studies(self) -> list[str]:
        return sqlite_reader.studies_from_sqlite(self.database) if self.database.is_file() else []

    def document(self, study: str) -> dict[str, Any] | None:
        return sqlite_reader.document_from_sqlite(self.database, study)

    def records(self, study: str) -> list[Record]:
        self._folders |= sqlite_reader.folders_from_sqlite(self.database, study)
        return sqlite_reader.records_from_sqlite(self.database, study)

    def history(self, run_id: str) -> list[dict[str, float]]:
        return sqlite_reader.history_from_sqlite(self.database, run_id)

    def histories(self, study: str, run_ids: Collection[str]) -> Iterator[tuple[str, list[dict[str, float]]]]:
        wanted = set(run_ids)
        return (each for each in sqlite_reader.histories_from_sqlite(self.database, study) if each[0] in wanted)

    def artifact(self, run_id: str, path: str) -> Path | None:
        folder = self._folders.get(run_id) if path != MODEL else None
        if folder is None:
            return sqlite_reader.artifact_from_sqlite(self.database, run_id, path)
        file = folder / path
        return file if file.exists() else None
