"""What a Tracker whose store is one SQLite file does by SQL: read whole studies at once, and write a run's values.

MLflow does the same, but it takes 18 s to find ten thousand runs, asks once a metric for each of their curves, and
needs three transactions and five times as long for a batch of values. Imported by `tracking` alone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param, RunTag
from mlflow.utils import validation

from ablate.edges import ledger, sqlite_values
from ablate.study import InputError, Record, RunDiscarded, StoreUnavailable


class SqliteRows:
    """Rows of the file `db`. Every call raises StoreUnavailable while the file is locked or cannot be used."""

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

    def log_batch(
        self, run_id: str, metrics: Sequence[Metric], params: Sequence[Param], tags: Sequence[RunTag]
    ) -> None:
        """What `MlflowClient.log_batch` does, by MLflow's rules, and whole or not at all.

        Raises RunDiscarded when the run is there no more.
        """
        rules: Any = validation
        metrics, params, tags = rules._validate_batch_log_data(metrics, params, tags)
        model_id = next((metric.model_id for metric in metrics if metric.model_id), None)
        values = sqlite_values.Values(
            [_point(metric) for metric in metrics],
            {param.key: param.value for param in params},
            {tag.key: tag.value for tag in tags},
            model_id,
            [_point(metric) for metric in metrics if metric.model_id],
        )
        with _passing_faults():
            there = sqlite_values.add_values(values, run_id, self.db)
        if not there:
            raise RunDiscarded(run_id)


def _point(metric: Metric) -> sqlite_values.Point:
    return sqlite_values.Point(metric.key, float(metric.value), metric.timestamp, metric.step)


@contextmanager
def _passing_faults() -> Iterator[None]:
    try:
        yield
    except InputError as error:
        fault = error.__context__
        if isinstance(fault, sqlite3.OperationalError):
            raise StoreUnavailable(str(fault)) from fault
        raise
    except sqlite3.DatabaseError as error:
        raise StoreUnavailable(str(error)) from error
