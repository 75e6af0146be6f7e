"""A cell in the air, as its progress file shows it from outside. Knows no store and no worker."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ablate.scheduler.cell_queue import CellId, cell_id
from ablate.study import RunSpec


@dataclass
class RunningCell:
    """A cell in a worker, its run in the store and the file in which the worker tells of its epochs."""

    spec: RunSpec
    run_id: str
    progress: Path
    read: int = 0  # bytes of the progress file that are logged
    heard: float = field(default_factory=time.monotonic)  # the last sign of life
    ended: str = ""  # why the driver has ended its worker
    recorded: bool = False
    _changed: int = 0  # the file's time of change, ns; compared with itself alone, for clocks differ

    @property
    def cell_id(self) -> CellId:
        return cell_id(self.spec)

    def listen(self, *, begun: bool) -> None:
        """Note a sign of life. A cell that has not `begun`, or that no worker has just now, cannot give one."""
        try:
            changed = self.progress.stat().st_mtime_ns
        except OSError:
            changed = 0
        if changed != self._changed or not begun:
            self._changed, self.heard = changed, time.monotonic()

    def entries(self) -> tuple[list[dict[str, Any]], int]:
        """The whole lines that the worker has added, and how far that is: what `read` is to be once they are logged."""
        try:
            with self.progress.open("rb") as file:
                file.seek(self.read)
                text = file.read()
        except FileNotFoundError:
            return [], self.read
        whole = text[: text.rfind(b"\n") + 1]
        return [entry for line in whole.splitlines() if (entry := _entry(line))], self.read + len(whole)


def _entry(line: bytes) -> dict[str, Any] | None:
    """None for what was cut off by a full disk: the result has every epoch."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
