"""The files that a run writes while it lasts: its log, its scores by epoch, its heartbeat and its worker process."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from ablate.trainers import print_capture
from ablate.trainers.atomic_write import write_whole
from ablate.trainers.errors import Stopped

PROGRESS, WORKER = "progress.jsonl", "worker.json"
LOG = "run.log"  # the last artifact that a run writes: where it exists, all of them do

OnEpoch = Callable[[Mapping[str, float]], None]
Prunes = Callable[[Mapping[str, float]], bool]  # told every epoch, in order: whether the trial ends with it


class ProgressLog:
    """A run's log file and, in its `folder`, `progress.jsonl` (a line per epoch) and `worker.json`.

    `worker.json` holds the process id, host and start time. The modification time of `progress.jsonl` is the run's
    heartbeat. Methods raise OSError where a file cannot be written. Once `prunes` has said so after an epoch, the trial
    is `pruned`: it ends there, and its trainer reports no further epoch.
    """

    def __init__(
        self,
        log_file: Path,
        folder: Path,
        stop_file: Path,
        on_epoch: OnEpoch | None = None,
        prunes: Prunes | None = None,
    ) -> None:
        self.log_file, self.progress_file = log_file, folder / PROGRESS
        self.stop_file, self.on_epoch, self._prunes = stop_file, on_epoch, prunes
        self.pruned = ""  # after which epoch the trial was pruned, in words
        for path in (log_file, self.progress_file):
            path.parent.mkdir(parents=True, exist_ok=True)
        self.progress_file.write_text("", encoding="utf-8")
        started = datetime.now(UTC).isoformat(timespec="seconds")
        worker = {"pid": os.getpid(), "host": socket.gethostname(), "started": started}
        write_whole(folder / WORKER, [json.dumps(worker).encode()])

    def log(self, text: str) -> None:
        with self.log_file.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")

    def log_epoch(self, entry: Mapping[str, float]) -> None:
        with self.progress_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(dict(entry)) + "\n")
        if self.on_epoch:
            self.on_epoch(entry)
        self.log("  ".join(f"{name} {value:.4g}" for name, value in entry.items()))
        if self._prunes is not None and not self.pruned and self._prunes(entry):
            self.pruned = f"after epoch {entry['epoch']:g}"
            self.log(f"pruned {self.pruned}")

    def save_log(self, folder: Path) -> None:
        """Copy the log, with all that was printed so far, into a folder of artifacts: it is the last of them."""
        print_capture.flush()
        shutil.copy(self.log_file, folder / LOG)

    def heartbeat(self) -> None:
        """Show that the run is alive."""
        self.progress_file.touch()

    def safe_point(self) -> None:
        """Show that the run is alive; raise Stopped where it is to stop, between two steps that lose no work."""
        self.heartbeat()
        if self.stop_requested():
            raise Stopped

    def stop_requested(self) -> bool:
        """Whether the run is to stop at its next safe point."""
        return self.stop_file.exists()


def log_alone(log_file: Path, folder: Path) -> Path:
    """The folder of a run's artifacts with nothing in it but the run's log. Raises OSError."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    print_capture.flush()
    shutil.copy(log_file, folder / LOG)
    return folder
