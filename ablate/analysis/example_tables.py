"""Read a run's table of examples from a Parquet file of any origin: numbers, in bounds, or an InputError."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from ablate.study import InputError, Problem

MAX_VALUES = 500_000_000  # rows times columns: 4 GB. A few bytes of Parquet can announce more than any memory holds
MAX_COLUMNS = 10_000
KEPT_BYTES = 500_000_000


Columns = Mapping[str, np.ndarray]


class Kept:
    """A cache of the tables used last, of at most `room` bytes: every section of a report reads the same ones."""

    def __init__(self, room: int = KEPT_BYTES) -> None:
        self.room, self.used = room, 0
        self._kept: OrderedDict[Hashable, Columns] = OrderedDict()

    def get(self, place: Hashable, read: Callable[[], Columns]) -> Columns:
        """The table of this place, read unless it is in the cache. Do not change it."""
        if place in self._kept:
            self._kept.move_to_end(place)
            return self._kept[place]
        columns = self._kept[place] = read()
        self.used += _bytes(columns)
        while self.used > self.room:
            self.used -= _bytes(self._kept.popitem(last=False)[1])
        return columns


def read_table(path: Path) -> pd.DataFrame:
    """The table's columns, all numbers or truth values. Raises InputError where it is damaged or anything else.

    The file's own metadata of pandas and Arrow types (extensions among them) is ignored.
    """
    return pd.DataFrame(read_columns(path))


def read_columns(path: Path) -> dict[str, np.ndarray]:
    """The same, column by column: a quarter of the time for tables as small as those of one run (measured)."""
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            _check(file.metadata.num_rows, file.schema_arrow)
            table = file.read(use_threads=False)
        return {name: column.to_numpy() for name, column in zip(table.column_names, table.columns, strict=True)}
    except Exception as error:  # Arrow raises OSError, its own types and whatever its readers meet
        reason = " ".join(str(error).split())[:200]
        raise InputError(Problem(str(path), "", "is damaged or no table of a run's examples", reason)) from None


def _bytes(columns: Columns) -> int:
    return sum(column.nbytes for column in columns.values())


def _check(rows: int, schema: object) -> None:
    import pyarrow

    assert isinstance(schema, pyarrow.Schema)
    if len(schema) > MAX_COLUMNS or not 0 <= rows * len(schema) <= MAX_VALUES:
        raise ValueError(f"announces {rows:,} rows of {len(schema):,} columns")
    kinds = pyarrow.types
    for field in schema:
        if not (kinds.is_integer(field.type) or kinds.is_floating(field.type) or kinds.is_boolean(field.type)):
            raise ValueError(f"column {field.name[:60]!r} must hold numbers, not {str(field.type)[:60]}")
