"""Keep curves and per-example tables of a server's finished runs in local files: each would cost a request.

A finished run's curves and files never change and its id is unique, so the cache cannot become outdated. Scores added
later and discards change only records, which are never cached. The folder may be deleted at any time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from ablate.trainers.atomic_write import write_whole

FOLDER = "cache"  # in `mlruns`
TABLES = ("scores.parquet", "conditions.parquet")  # per example; every report reads them
CURVES = "curves.json"
MAX_CURVES_BYTES = 50_000_000  # more is cut off and then no JSON

History = list[dict[str, float]]


class FinishedCache:
    """Files of the finished runs of one server. A file that cannot be read or written counts as absent."""

    def __init__(self, mlruns: Path, address: str) -> None:
        self.folder = mlruns / FOLDER / sha256(address.encode()).hexdigest()[:16]

    def history(self, run_id: str) -> History | None:
        """The history of a run, as `Tracker.history` gives it; None where it is not cached."""
        try:
            with self._file(run_id, CURVES).open("rb") as stream:
                entries = json.loads(stream.read(MAX_CURVES_BYTES))
            return [{str(name): float(value) for name, value in entry.items()} for entry in entries]
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            return None

    def keep_history(self, run_id: str, history: Iterable[Mapping[str, float]]) -> None:
        """Cache the history of a finished run."""
        entries = [{name: float(value) for name, value in sorted(entry.items())} for entry in history]
        # "epoch" first, as `record_format.curves` gives it
        ordered = [{"epoch": entry["epoch"], **entry} for entry in entries]
        self._write(run_id, CURVES, json.dumps(ordered).encode())

    def table(self, run_id: str, name: str) -> tuple[bool, Path | None]:
        """Whether the table of this name is cached, and its file; (True, None) where the run has no such table."""
        file = self._file(run_id, name)
        with suppress(OSError):
            size = file.stat().st_size
            return True, file if size else None
        return False, None

    def keep_table(self, run_id: str, name: str, file: Path | None) -> None:
        """Cache the table `file`. None means that the run has no such table; an empty file records that."""
        with suppress(OSError):
            self._write(run_id, name, file.read_bytes() if file else b"")

    def keep(
        self, run_id: str, history: Sequence[Mapping[str, float]], folder: Path | None, *, tables: bool = True
    ) -> None:
        """Cache a run that has finished in this process. `folder`: its files, None where it has none.

        Without `tables` only its curves: tables that are in a local folder anyway need no copy.
        """
        self.keep_history(run_id, history)
        for name in TABLES if tables else ():
            file = folder / name if folder else None
            self.keep_table(run_id, name, file if file and file.is_file() else None)

    def _file(self, run_id: str, name: str) -> Path:
        # hashed, because a server can send any text as a run id, also "../…"
        return self.folder / sha256(run_id.encode()).hexdigest()[:32] / name

    def _write(self, run_id: str, name: str, content: bytes) -> None:
        with suppress(OSError):  # for example a full disk: the next read asks the server again
            write_whole(self._file(run_id, name), [content])
