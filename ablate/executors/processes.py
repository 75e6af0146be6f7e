"""Processes by their number: killed with their children, and those that a dead driver has left. Knows no cell."""

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

GONE_S = 5.0  # a process that was killed is gone after this, unless the system hangs


def kill(process: psutil.Process | None) -> None:
    """Kill a process with its children. Where its number was given to another process, that one is left alone."""
    with suppress(psutil.NoSuchProcess):
        for member in [process, *process.children(recursive=True)] if process else []:
            with suppress(psutil.NoSuchProcess):
                member.kill()


def runs(process: psutil.Process | None) -> bool:
    """Whether it is there and no zombie."""
    with suppress(psutil.NoSuchProcess):
        return process is not None and process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def wait_until_gone(alive: Callable[[], bool]) -> None:
    """Wait for the end of what was killed, for GONE_S at most."""
    latest = time.monotonic() + GONE_S
    while alive() and time.monotonic() < latest:
        time.sleep(0.002)


def end_leftovers(work: Path) -> int:
    """Kill workers of a driver that is no more, as the `worker.json` of their runs names them; how many there were.

    They end by themselves when they see it gone; this makes sure that none writes where its successor does.
    """
    left = [process for file in work.glob("*/worker.json") if (process := _worker(file)) is not None]
    for process in left:
        kill(process)
    wait_until_gone(lambda: any(map(runs, left)))
    return len(left)


def _worker(file: Path) -> psutil.Process | None:
    try:
        who = json.loads(file.read_text(encoding="utf-8"))
        started = datetime.fromisoformat(who["started"]).timestamp()
        process = psutil.Process(int(who["pid"]))
        # the number belongs to another process by now? `started` is in whole seconds
        other = process.create_time() > started + 1 or "multiprocessing" not in " ".join(process.cmdline())
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return None
    mine = who.get("host") == socket.gethostname() and process.pid != os.getpid()
    return process if mine and not other else None
