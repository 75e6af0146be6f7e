"""Curves and small tables of finished runs of a server, kept in local files: a server has a request for each of them.

A finished run's curves and files never change, and its id is unique, so nothing here becomes wrong: scores added later
and discards concern the records, which the store is always asked for. The folder may be deleted at any time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from ablate.trainers.atomic_write import write_whole

FOLDER = "cache"  # in `mlruns`
TABLES = ("scores.parquet", "conditions.parquet")  # what a report reads of every run
CURVES = "curves.json"
MAX_CURVES_BYTES = 50_000_000  # more is cut off and then no JSON

History = list[dict[str, float]]


class Cache:
    """What the finished runs of one server have left. What cannot be written or read is as if it were not there."""

    def __init__(self, mlruns: Path, address: str) -> None:
        self.folder = mlruns / FOLDER / sha256(address.encode()).hexdigest()[:16]

    def history(self, run_id: str) -> History | None:
        """Its entries by epoch, as `Tracker.history` gives them; None where they are not kept."""
        place = self._place(run_id, CURVES)
        try:
            with place.open("rb") as stream:
                entries = json.loads(stream.read(MAX_CURVES_BYTES))
            return [{str(name): float(value) for name, value in entry.items()} for entry in entries]
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            return None

    def keep_history(self, run_id: str, history: Iterable[Mapping[str, float]]) -> None:
        entries = [{name: float(value) for name, value in sorted(entry.items())} for entry in history]
        # "epoch" first, as `ledger.curves` gives it
        ordered = [{"epoch": entry["epoch"], **entry} for entry in entries]
        self._write(run_id, CURVES, json.dumps(ordered).encode())

    def table(self, run_id: str, name: str) -> tuple[bool, Path | None]:
        """Whether it is known what the run has under this name, and the file; None: the run has none."""
        place = self._place(run_id, name)
        with suppress(OSError):
            size = place.stat().st_size
            return True, place if size else None
        return False, None

    def keep_table(self, run_id: str, name: str, file: Path | None) -> None:
        """`file`: the table; None where the run has none, which an empty file says."""
        with suppress(OSError):
            self._write(run_id, name, file.read_bytes() if file else b"")

    def keep(
        self, run_id: str, history: Sequence[Mapping[str, float]], folder: Path | None, *, tables: bool = True
    ) -> None:
        """What a run leaves that has finished in this process; `folder`: its files, None where it left none.

        Without `tables`, its curves alone: tables that lie in a local folder already are not copied.
        """
        self.keep_history(run_id, history)
        for name in TABLES if tables else ():
            file = folder / name if folder else None
            self.keep_table(run_id, name, file if file and file.is_file() else None)

    def _place(self, run_id: str, name: str) -> Path:
        # hashed: a server could give any text for an id, also one that leads out of the folder
        return self.folder / sha256(run_id.encode()).hexdigest()[:32] / name

    def _write(self, run_id: str, name: str, content: bytes) -> None:
        with suppress(OSError):  # a full disk: it is asked for again
            write_whole(self._place(run_id, name), [content])
