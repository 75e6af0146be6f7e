"""A lock file that a second process cannot take, with a note of who holds it. The lock ends with its holder."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from ablate.study import InputError, Problem, printable, study_in_use


@contextmanager
def hold(path: Path, *, command: str = "") -> Iterator[None]:
    """Hold the lock file `path`. Raises InputError, naming host, process and time, while another process holds it.

    `command` is what the next one is shown, so it must not hold a password.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, timeout=0).acquire()
    except Timeout:
        raise _refusal(path) from None
    except OSError as error:
        raise InputError(Problem(str(path), "", "cannot be locked", str(error))) from None
    with lock:
        if _lives(holder(path)):  # somebody has removed the file that it had locked
            raise _refusal(path)
        _sign(path, command)
        try:
            yield
        finally:
            _unsign(path)


def at_work(path: Path) -> str:
    """Who holds the lock file `path`, as far as its note tells: nobody who is known to be dead. "" for nobody."""
    who = holder(path)
    return _name(who) if who and (_lives(who) or who.get("host") != socket.gethostname()) else ""


def _lives(who: Mapping[str, Any]) -> bool:
    """Whether the process that has signed is there: on this machine, another one, and begun before it signed."""
    try:
        if who["host"] != socket.gethostname() or who["pid"] == os.getpid():
            return False
        signed = datetime.fromisoformat(who["since"]).timestamp()
        return bool(psutil.Process(int(who["pid"])).create_time() <= signed + 1)
    except (KeyError, TypeError, ValueError, OverflowError, psutil.Error):
        return False


def holder_file(path: Path) -> Path:
    """Where the holder of the lock file `path` says who it is."""
    return path.with_name(f"{path.name}.json")


def _sign(path: Path, command: str) -> None:
    since = datetime.now().astimezone().isoformat(timespec="seconds")
    who = {"host": socket.gethostname(), "pid": os.getpid(), "since": since, "command": command}
    with suppress(OSError):  # a full disk: the lock holds all the same
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
            json.dump(who, file)
        os.replace(file.name, holder_file(path))


def _unsign(path: Path) -> None:
    with suppress(OSError):
        holder_file(path).unlink()


def holder(path: Path) -> dict[str, Any]:
    """host, pid, since and command of the holder of `path`; empty where it has not said."""
    try:
        who = json.loads(holder_file(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return who if isinstance(who, dict) else {}


def _name(who: Mapping[str, Any]) -> str:
    return printable(f"process {who.get('pid')} on {who.get('host')}, since {who.get('since')}")


def _refusal(path: Path) -> InputError:
    who = holder(path)
    return InputError(study_in_use(str(path), _name(who) if who else "", str(who.get("command", ""))))
