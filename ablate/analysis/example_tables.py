"""Read a run's table of examples from a Parquet file of any origin, with limits on its size and column types."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path

import numpy as np

from ablate.study import InputError, Problem

MAX_VALUES = 500_000_000  # rows times columns: 4 GB. A few bytes of Parquet can declare more than fits in memory
MAX_COLUMNS = 10_000
CACHE_BYTES = 500_000_000


Columns = Mapping[str, np.ndarray]


class TableCache:
    """A cache of the most recently used tables, up to `max_bytes`: every section of a report reads the same tables."""

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        self.max_bytes, self.bytes = max_bytes, 0
        self._tables: OrderedDict[Hashable, Columns] = OrderedDict()

    def get(self, key: Hashable, read: Callable[[], Columns]) -> Columns:
        """The table of this key; calls `read` where it is not in the cache. Do not change the arrays."""
        if key in self._tables:
            self._tables.move_to_end(key)
            return self._tables[key]
        columns = self._tables[key] = read()
        self.bytes += _bytes(columns)
        while self.bytes > self.max_bytes:
            self.bytes -= _bytes(self._tables.popitem(last=False)[1])
        return columns


def read_columns(path: Path) -> dict[str, np.ndarray]:
    """The table's columns of numbers or truth values, by name. Raises InputError for a damaged file or other columns.

    Metadata of pandas and Arrow types in the file, extension types included, is ignored. Arrays instead of a DataFrame:
    for the small table of one run that takes a quarter of the time (measured).
    """
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            _check(file.metadata.num_rows, file.schema_arrow)
            table = file.read(use_threads=False)
        return {name: column.to_numpy() for name, column in zip(table.column_names, table.columns, strict=True)}
    except Exception as error:  # Arrow raises OSError, its own exceptions and others from inside its readers
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
