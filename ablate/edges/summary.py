"""What a study's finished runs said, in three files beside its parent run: a server answers by one request, not by run.

It knows records, curves and small tables; it must not know MLflow. A finished run never changes but by scores added
later, which put the summary out of force, so what it holds stays true; what ended after it is asked of the store.
"""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from ablate.edges.ledger import record_of
from ablate.study import InputError, Record

GENERATION = "ablate.generation"  # tag of a run: the summary that it will be in, counted from 1
SUMMARY = "ablate.summary"  # tag of the parent run: the generation in force, or that it has been overtaken
OVERTAKEN = "overtaken"
FOLDER, RECORDS, CURVES, FILES = "summary", "records.jsonl.gz", "curves.parquet", "files.zip"
PACKED = ("scores.parquet", "conditions.parquet")  # what a report reads of every run
# A request costs as much as sending some 100 kB: larger files are read one by one, and the pack stays small enough
# to be sent whole after every `ablate run`.
MAX_FILE_BYTES, MAX_PACK_BYTES = 100_000, 200_000_000
MAX_LINE_BYTES = 1_000_000
COLUMNS = ("run", "epoch", "metric", "score")  # of the curves: numbers alone, places in the lists of runs and names

History = list[dict[str, float]]
Dated = tuple[int, Record]  # when the run began (ms), and the run


def slot(name: str, generation: int) -> str:
    """Where a file of this generation is kept: the one in force is not touched while the next is written."""
    return f"{FOLDER}/{generation % 2}/{name}"


@dataclass(frozen=True)
class Summary:
    """The summary of one study. `fetch` gives the local path of one of its files, or None."""

    generation: int
    names: Sequence[str]  # of the curves' metrics
    gone: frozenset[str]  # finished runs that were discarded when it was written
    records: Mapping[str, Dated]  # by run id
    files: Mapping[str, Sequence[str]]  # by run id: the tables that are packed, of those runs that are
    fetch: Callable[[str], Path | None]

    @classmethod
    def read(cls, generation: int, fetch: Callable[[str], Path | None]) -> Summary | None:
        """None where there is none, it is damaged, or it is of another generation."""
        path = fetch(RECORDS)
        try:
            lines = _lines(path) if path else iter(())
            head = next(lines, {})
            if head.get("generation") != generation:
                return None
            rows = list(lines)
            records = {row["run_id"]: (int(row["started"]), _record(row)) for row in rows}
            files = {row["run_id"]: row["files"] for row in rows if row["files"] is not None}
            return cls(generation, head["names"], frozenset(head["gone"]), records, files, fetch)
        except (OSError, EOFError, ValueError, KeyError, TypeError, InputError):
            return None

    def histories(self) -> Iterator[tuple[str, History]]:
        """Run id and entries by epoch of every run, as `Tracker.history` gives them."""
        from ablate.claims.stored import read_table

        runs, path = list(self.records), self.fetch(CURVES)
        try:
            table = read_table(path) if path else None
        except InputError:
            return
        if table is None or list(table) != list(COLUMNS):
            return
        if not (_within(table.run, runs) and _within(table.metric, self.names)):
            return
        points = zip(*(table[name].tolist() for name in COLUMNS), strict=True)
        for run, rows in groupby(points, key=itemgetter(0)):
            yield runs[run], _entries((epoch, self.names[metric], score) for _, epoch, metric, score in rows)

    def holds(self, run_id: str, name: str) -> bool:
        """Whether it knows all there is to know of this file of this run."""
        return run_id in self.files and name in PACKED and self._pack is not None

    def file(self, run_id: str, name: str, target: Path) -> Path | None:
        """Unpack one file that it holds into the folder `target`; None when the run has none.

        Raises OSError, KeyError or zipfile.BadZipFile where the pack is damaged.
        """
        if name not in self.files[run_id] or self._pack is None:
            return None
        path = target / name
        if not path.exists():
            target.mkdir(parents=True, exist_ok=True)
            with self._pack.open(f"{run_id}/{name}") as packed, path.open("wb") as file:
                file.write(packed.read(MAX_FILE_BYTES))
        return path

    @cached_property
    def _pack(self) -> zipfile.ZipFile | None:
        path = self.fetch(FILES)
        try:
            return zipfile.ZipFile(path) if path else None
        except (OSError, zipfile.BadZipFile):
            return None


def write(
    folder: Path,
    generation: int,
    records: Sequence[Dated],
    gone: Iterable[str],
    histories: Iterable[tuple[str, History]],
    artifact: Callable[[str, str], Path | None] | None,
) -> None:
    """Write the three files of a summary into `folder`. Without `artifact`, no tables: they lie in local folders."""
    names = _write_curves(folder / CURVES, [record.run_id for _, record in records], histories)
    files = _write_files(folder / FILES, [record for _, record in records], artifact) if artifact else {}
    head = {"generation": generation, "names": names, "gone": sorted(gone)}
    with gzip.open(folder / RECORDS, "wt", encoding="utf-8", compresslevel=3) as stream:
        stream.write(json.dumps(head) + "\n")
        for started, record in records:
            stream.write(json.dumps(_row(started, record) | {"files": files.get(record.run_id)}) + "\n")


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rb") as stream:
        while line := stream.readline(MAX_LINE_BYTES):
            yield json.loads(line)


def _row(started: int, record: Record) -> dict[str, Any]:
    tags = {"arm": record.arm, "seed": str(record.seed), "phase": record.phase, "key": record.key}
    tags |= {name: json.dumps(dict(getattr(record, name)), sort_keys=True) for name in ("overrides", "provenance")}
    tags |= {"error": record.error, "trial": "" if record.trial is None else str(record.trial)}
    tags |= {"failures": str(record.failures)} if record.failures else {}
    return {
        "run_id": record.run_id,
        "started": started,
        "tags": {f"ablate.{name}": value for name, value in tags.items()},
        "metrics": dict(record.scores),
        "dataset": record.dataset,
    }


def _record(row: Mapping[str, Any]) -> Record:
    return record_of(row["run_id"], "FINISHED", row["tags"], row["metrics"], row["dataset"])


def _write_curves(path: Path, runs: Sequence[str], histories: Iterable[tuple[str, History]]) -> list[str]:
    """A row a point; gives the metrics' names."""
    import numpy as np
    import pyarrow
    from pyarrow import parquet

    places, names = {run: place for place, run in enumerate(runs)}, dict[str, int]()
    points = [
        (places[run], int(entry["epoch"]), names.setdefault(name, len(names)), score)
        for run, entries in sorted(histories, key=lambda each: places.get(each[0], -1))
        if run in places
        for entry in entries
        for name, score in entry.items()
        if name != "epoch"
    ]
    columns = [np.array(column) for column in zip(*points, strict=True)] or [np.zeros(0)] * 4
    kinds = (np.int32, np.int32, np.int32, np.float64)
    named = zip(COLUMNS, columns, kinds, strict=True)
    parquet.write_table(pyarrow.table({name: column.astype(kind) for name, column, kind in named}), path)
    return list(names)


def _within(places: Any, names: Sequence[str]) -> bool:
    return not len(places) or (places.min() >= 0 and places.max() < len(names))


def _entries(points: Iterable[tuple[int, str, float]]) -> History:
    return [
        {"epoch": float(epoch), **{name: score for _, name, score in rows}}
        for epoch, rows in groupby(points, key=itemgetter(0))
    ]


def _write_files(
    path: Path, records: Sequence[Record], artifact: Callable[[str, str], Path | None]
) -> dict[str, list[str]]:
    """Pack the small tables of every comparison run, as long as there is room; gives the names packed, by run."""
    packed: dict[str, list[str]] = {}
    room = MAX_PACK_BYTES
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as pack:  # Parquet is compressed
        for record in (record for record in records if record.phase == "compare"):
            found = {name: file for name in PACKED if (file := artifact(record.run_id, name)) is not None}
            sizes = [file.stat().st_size for file in found.values()]
            if max(sizes, default=0) > MAX_FILE_BYTES or sum(sizes) > room:
                continue
            room -= sum(sizes)
            packed[record.run_id] = list(found)
            for name, file in found.items():
                pack.write(file, f"{record.run_id}/{name}")
    return packed
