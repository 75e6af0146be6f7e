"""Read columns of a CSV or Parquet table of strangers, within a limit of size. Imports nothing heavy for CSV."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.untrusted.problems import InputError, Problem
from ablate.untrusted.wording import nearest, shown

MOST_BYTES = 64 * 2**20
MOST_VALUES = 20_000_000  # rows times the columns that are read
MOST_COLUMNS = 10_000
PARQUET = b"PAR1"  # the first bytes of every Parquet file
WRITE = "write it as CSV in UTF-8 with commas, or as Parquet"


@dataclass(frozen=True)
class Table:
    """Columns of equal length. Those of CSV hold text, those of Parquet also numbers and None."""

    source: str  # for messages
    columns: Mapping[str, Sequence[Any]]
    rows: Sequence[str]  # how messages name each row, such as "line 7"


def read_table(file: Path, needed: Collection[str], optional: Collection[str] = ()) -> Table:
    """The `needed` columns of a table, and those of the `optional` ones that it has.

    Raises InputError for a file that cannot be read, and for a needed column that it lacks.
    """
    try:
        if not file.is_file():
            is_what = "is a folder" if file.is_dir() else "is no plain file" if file.exists() else "no such file"
            siblings = [path.name for path in file.parent.glob(f"*{file.suffix}")] if file.parent.is_dir() else []
            raise InputError(Problem(str(file), "", is_what, "", nearest(file.name, siblings) if siblings else WRITE))
        size = file.stat().st_size
        if size > MOST_BYTES:
            raise InputError(Problem(str(file), "", f"must have at most {MOST_BYTES:,} bytes", f"{size:,}"))
        with file.open("rb") as stream:
            is_parquet = stream.read(len(PARQUET)) == PARQUET
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise InputError(
            Problem(str(file), "", f"cannot be read: {getattr(error, 'strerror', None) or error}")
        ) from None
    return (_read_parquet if is_parquet else _read_csv)(file, needed, optional)


def chosen(source: str, names: Sequence[str], needed: Collection[str], optional: Collection[str]) -> list[str]:
    """The columns to read. Raises InputError for a needed one that is missing, and for one that is there twice."""
    problems = [
        Problem(source, "", "has no such column", shown(name), nearest(name, names))
        for name in dict.fromkeys(needed)
        if name not in names
    ]
    wanted = [name for name in dict.fromkeys([*needed, *optional]) if name in names]
    problems += [
        Problem(source, "", "has two columns of this name", shown(name))
        for name, count in Counter(names).items()
        if count > 1 and name in wanted
    ]
    if problems:
        raise InputError(*problems)
    return wanted


def check_extent(source: str, rows: int, columns: int) -> None:
    """Raise InputError for more values than are read."""
    if not 0 <= rows * columns <= MOST_VALUES:
        raise InputError(Problem(source, "", f"must hold at most {MOST_VALUES:,} values", f"{rows:,} rows"))


def _read_csv(file: Path, needed: Collection[str], optional: Collection[str]) -> Table:
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:  # Excel writes a byte order mark
            reader = csv.reader(stream, strict=True)
            header = next(reader, None)
            if header is None:
                raise InputError(Problem(str(file), "", "is empty"))
            names = [name.strip() for name in header]
            if len(names) == 1 and len(names[0].split(";")) + len(names[0].split("\t")) > 2:
                raise InputError(Problem(str(file), "", "has one column alone", shown(names[0]), WRITE))
            wanted = chosen(str(file), names, needed, optional)
            positions = [names.index(name) for name in wanted]
            columns: list[list[str]] = [[] for _ in wanted]
            lines = []
            for row in _rows(reader, names, file):
                lines.append(reader.line_num)
                for column, position in zip(columns, positions, strict=True):
                    column.append(row[position])
                check_extent(str(file), len(lines), len(names))
    except UnicodeDecodeError as error:
        raise InputError(Problem(str(file), "", f"is no text: byte {error.start} is not UTF-8", "", WRITE)) from None
    except csv.Error as error:
        raise InputError(Problem(str(file), "", f"is not CSV: {error}", "", WRITE)) from None
    except OSError as error:
        raise InputError(Problem(str(file), "", f"cannot be read: {error.strerror}")) from None
    return Table(str(file), dict(zip(wanted, columns, strict=True)), [f"line {line}" for line in lines])


def _rows(reader: Any, names: Sequence[str], file: Path) -> Iterator[list[str]]:
    """The rows below the header, without blank lines. `reader`: of the csv module."""
    for row in reader:
        if not row:
            continue
        if len(row) != len(names):
            rule = f"must have {len(names)} values, as the header has"
            raise InputError(Problem(str(file), f"line {reader.line_num}", rule, str(len(row))))
        yield [value.strip() for value in row]


def _read_parquet(file: Path, needed: Collection[str], optional: Collection[str]) -> Table:
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(file) as table:
            names = list(table.schema_arrow.names)
            if len(names) > MOST_COLUMNS:
                raise ValueError(f"announces {len(names):,} columns")
            wanted = chosen(str(file), names, needed, optional)
            count = table.metadata.num_rows
            check_extent(str(file), count, len(wanted))
            groups = [table.metadata.row_group(i) for i in range(table.metadata.num_row_groups)]
            if sum(group.total_byte_size for group in groups) > 8 * MOST_BYTES:
                raise ValueError("unpacks to more bytes than allowed")
            texts = [name for name in wanted if _is_text(table.schema_arrow.field(name))]
        with pyarrow.parquet.ParquetFile(file, read_dictionary=texts) as table:
            read = table.read(columns=wanted, use_threads=False)
            columns = {name: _values(read.column(name)) for name in wanted}
    except InputError:
        raise
    except Exception as error:  # Arrow raises OSError, its own exceptions and others from inside its readers
        reason = " ".join(str(error).split())[:200]
        raise InputError(Problem(str(file), "", "is damaged or no table of results", reason)) from None
    return Table(str(file), columns, [f"row {index}" for index in range(1, count + 1)])


def _is_text(field: Any) -> bool:
    """Raises ValueError for a column that holds neither text nor numbers."""
    import pyarrow

    kind = field.type.value_type if pyarrow.types.is_dictionary(field.type) else field.type
    if pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind):
        return True
    if not (pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind) or pyarrow.types.is_null(kind)):
        raise ValueError(f"column {field.name[:60]!r} must hold numbers or text, not {str(kind)[:60]}")
    return False


def _values(column: Any) -> list[Any]:
    """The column as Python values. Equal texts are one object: a few bytes of Parquet can repeat a long one often."""
    import pyarrow

    values: list[Any] = []
    for chunk in column.chunks:
        if pyarrow.types.is_dictionary(chunk.type):
            texts = chunk.dictionary.to_pylist()
            values += [None if index is None else texts[index] for index in chunk.indices.to_pylist()]
        else:
            values += chunk.to_pylist()
    return values
