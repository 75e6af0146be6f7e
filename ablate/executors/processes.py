"""Kill processes with their children, also those that a killed driver has left. Knows nothing of cells."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import psutil

from ablate.trainers.progress_log import WORKER

KILL_TIMEOUT_S = 5.0  # a killed process ends sooner, unless the system hangs


def kill(process: psutil.Process | None) -> None:
    """Kill a process with its children. A later process with the same number is left alone."""
    with suppress(psutil.NoSuchProcess):
        for member in [process, *process.children(recursive=True)] if process else []:
            with suppress(psutil.NoSuchProcess):
                member.kill()


def is_running(process: psutil.Process | None) -> bool:
    """Whether it exists and is no zombie."""
    with suppress(psutil.NoSuchProcess):
        return process is not None and process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def wait_until_gone(alive: Callable[[], bool]) -> None:
    """Wait for the end of killed processes, for KILL_TIMEOUT_S at most."""
    deadline = time.monotonic() + KILL_TIMEOUT_S
    while alive() and time.monotonic() < deadline:
        time.sleep(0.002)


def kill_leftover_workers(work: Path) -> int:
    """Kill the worker processes of a driver that was killed; returns how many there were.

    They are named by the `worker.json` of their runs below `work`. They exit by themselves when their driver ends; this
    makes sure that none still writes where the next driver does.
    """
    leftovers = [process for file in work.glob(f"*/{WORKER}") if (process := _leftover_worker(file)) is not None]
    for process in leftovers:
        kill(process)
    wait_until_gone(lambda: any(map(is_running, leftovers)))
    return len(leftovers)


def _leftover_worker(file: Path) -> psutil.Process | None:
    """The process that `worker.json` names, if it runs on this machine and is a worker."""
    try:
        worker = json.loads(file.read_text(encoding="utf-8"))
        started = datetime.fromisoformat(worker["started"]).timestamp()
        process = psutil.Process(int(worker["pid"]))
        # Another process may have the number by now. `started` is in whole seconds.
        other = process.create_time() > started + 1 or "multiprocessing" not in " ".join(process.cmdline())
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return None
    if other or worker.get("host") != socket.gethostname() or process.pid == os.getpid():
        return None
    return process
