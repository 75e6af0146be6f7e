"""A running cell, as far as its progress file shows it. Knows neither the store nor the worker."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ablate.planning.counting import CellId, cell_id
from ablate.study import RunSpec


@dataclass
class RunningCell:
    """A cell that was submitted to a worker, its run in the store, and the file to which the worker adds its epochs."""

    spec: RunSpec
    run_id: str
    progress_file: Path
    bytes_logged: int = 0  # of the progress file
    last_sign_of_life: float = field(default_factory=time.monotonic)
    end_reason: str = ""  # why the scheduler ended its worker; "" while it has not
    recorded: bool = False
    # Modification time of the progress file. Compared only with earlier values of itself: clocks of machines differ.
    _modified_ns: int = 0

    @property
    def cell_id(self) -> CellId:
        return cell_id(self.spec)

    def update_sign_of_life(self, *, running: bool) -> None:
        """A change of the progress file is a sign of life. A cell that no worker runs now need not give one."""
        try:
            modified_ns = self.progress_file.stat().st_mtime_ns
        except OSError:
            modified_ns = 0
        if modified_ns != self._modified_ns or not running:
            self._modified_ns, self.last_sign_of_life = modified_ns, time.monotonic()

    def new_entries(self) -> tuple[list[dict[str, Any]], int]:
        """The complete lines after `bytes_logged`, and the value of `bytes_logged` once they are logged."""
        try:
            with self.progress_file.open("rb") as file:
                file.seek(self.bytes_logged)
                text = file.read()
        except FileNotFoundError:
            return [], self.bytes_logged
        complete = text[: text.rfind(b"\n") + 1]
        entries = [entry for line in complete.splitlines() if (entry := _entry(line))]
        return entries, self.bytes_logged + len(complete)


def _entry(line: bytes) -> dict[str, Any] | None:
    """None for a line that a full disk cut off. Nothing is lost: the result has every epoch."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
