"""The reading half of a Tracker whose store is one SQLite file: whole studies at once, without going through MLflow.

MLflow answers the same, but it takes 18 s to find ten thousand runs and asks once a metric for each of their curves.
Imported by `tracking` alone; it must not write.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from ablate.edges import ledger
from ablate.study import InputError, Record, StoreUnavailable


class SqliteReader:
    """Answers from the file `db`. Every call raises StoreUnavailable while the file is locked or cannot be read."""

    def __init__(self, db: Path) -> None:
        self.db = db
        self._folders: dict[str, Path | None] = {}  # of the runs of the studies read so far: they never change

    def records(self, study: str) -> list[Record]:
        with _passing_faults():
            self._folders |= ledger.folders_from_sqlite(self.db, study)
            return ledger.records_from_sqlite(self.db, study)

    def history(self, run_id: str) -> list[dict[str, float]]:
        with _passing_faults():
            return ledger.history_from_sqlite(self.db, run_id)

    def histories(self, study: str, run_ids: Collection[str]) -> Iterator[tuple[str, list[dict[str, float]]]]:
        wanted = set(run_ids)
        with _passing_faults():
            yield from (each for each in ledger.histories_from_sqlite(self.db, study) if each[0] in wanted)

    def folder(self, run_id: str) -> Path | None:
        """Local folder of a run's artifacts where it is known: `records` of its study came first."""
        return self._folders.get(run_id)


@contextmanager
def _passing_faults() -> Iterator[None]:
    try:
        yield
    except InputError as error:
        fault = error.__context__
        if isinstance(fault, sqlite3.OperationalError):
            raise StoreUnavailable(str(fault)) from fault
        raise
