"""The numbers of a page for programs: a tidy CSV of every table, and the whole Analysis as JSON.

JSON keys and CSV columns are the field and property names of the analysis dataclasses. No number is rounded.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ablate.analysis.study_analysis import Analysis
from ablate.report.blocks import Block, Picture, Plain, Record, Table
from ablate.report.tables import TextTable


def write_tables(blocks: Iterable[Block], folder: Path) -> None:
    """`<name>.csv` for every table, and for every picture with records of its own.

    Floats are the shortest text that reads back exactly; a missing value is empty.
    """
    folder.mkdir(exist_ok=True)
    for block in blocks:
        if isinstance(block, Table) or (isinstance(block, Picture) and block.records):
            _write_csv(folder / f"{block.name}.csv", *records(block))


def records(block: Table | Picture) -> tuple[list[str], Sequence[Record]]:
    """The columns and the rows of a table, or of what a picture shows, for programs: one fact a row, tidy.

    A table without records of its own has its text.
    """
    rows = block.records if isinstance(block, Picture) else block.records or _texts(block.table)
    without_rows = block.table.header if isinstance(block, Table) else ()
    return list(dict.fromkeys(name for row in rows for name in row)) or list(without_rows), rows


def frame(block: Table | Picture) -> pd.DataFrame:
    """The table that `write_tables` writes for this block. A missing value is NaN, or None among texts."""
    columns, rows = records(block)
    table = pd.DataFrame([[row.get(column) for column in columns] for row in rows], columns=columns)
    empty = table.columns[table.isna().all()] if len(table) else ()
    return table.astype(dict.fromkeys(empty, float))


def document(analysis: Analysis) -> str:
    """The Analysis as JSON: fields in their order, then properties; a value that is not a finite number is null."""
    return json.dumps(plain(analysis), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def plain(value: Any) -> Any:
    """Nested dataclasses, mappings, sequences and tables as values that JSON can hold."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, pd.DataFrame):
        return [plain(dict(zip(value.columns, row, strict=True))) for row in value.itertuples(index=False, name=None)]
    if isinstance(value, Mapping):
        return {_key(key): plain(part) for key, part in value.items()}
    if is_dataclass(value):
        names = [field.name for field in fields(value)] + _computed(type(value))
        # a study without a design, data sets, colours or planned looks keeps the keys that it had before there were any
        absent = {n for n in ("design", "across", "colors") if isinstance(value, Analysis) and not getattr(value, n)}
        absent |= {"looks", "spending", "beyond"} if isinstance(value, Analysis) and not value.looks else set()
        return {name: plain(getattr(value, name)) for name in names if name not in absent}
    if isinstance(value, Iterable):
        return [plain(part) for part in value]
    raise TypeError(f"an Analysis holds a {type(value).__name__}, which JSON cannot")


def _computed(kind: type) -> list[str]:
    return [name for name, member in vars(kind).items() if isinstance(member, property) and name[0] != "_"]


def _key(key: object) -> str:
    return " ".join(map(str, key)) if isinstance(key, tuple) else str(key)


def _texts(table: TextTable) -> list[Record]:
    return [dict(zip(table.header, (cell.text for cell in row), strict=True)) for row in table.rows]


def _write_csv(path: Path, names: Sequence[str], records: Sequence[Record]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _field(value) for name, value in record.items()} for record in records)


def _field(value: Plain) -> Plain:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return str(value).lower()
    return None if isinstance(value, float) and math.isnan(value) else value
