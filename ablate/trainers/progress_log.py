"""What a run tells while it lasts: a log for people, progress and signs of life for the driver. Knows no training."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from ablate.trainers.atomic_write import write_whole

PROGRESS, WORKER = "progress.jsonl", "worker.json"
LOG = "run.log"  # among the artifacts of a run, the last of them

Listen = Callable[[Mapping[str, float]], None]


class ProgressLog:
    """The run's log; in its `folder` the progress, one line an epoch, and who works at it: process, host, since when.

    The progress file's time of change is the run's heartbeat. Raises OSError where the place cannot be written.
    """

    def __init__(self, log: Path, folder: Path, stop_file: Path, listen: Listen | None = None) -> None:
        self.log, self.progress, self.stop_file, self.listen = log, folder / PROGRESS, stop_file, listen
        for path in (log, self.progress):
            path.parent.mkdir(parents=True, exist_ok=True)
        self.progress.write_text("", encoding="utf-8")
        started = datetime.now(UTC).isoformat(timespec="seconds")
        worker = {"pid": os.getpid(), "host": socket.gethostname(), "started": started}
        write_whole(folder / WORKER, [json.dumps(worker).encode()])

    def say(self, text: str) -> None:
        with self.log.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")

    def epoch(self, entry: Mapping[str, float]) -> None:
        with self.progress.open("a", encoding="utf-8") as file:
            file.write(json.dumps(dict(entry)) + "\n")
        if self.listen:
            self.listen(entry)
        self.say("  ".join(f"{name} {value:.4g}" for name, value in entry.items()))

    def beat(self) -> None:
        """Show that the run is alive."""
        self.progress.touch()

    def stopping(self) -> bool:
        """Whether the driver asks all its runs to stop."""
        return self.stop_file.exists()
