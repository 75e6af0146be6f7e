"""A lock file that only one process can hold, and a JSON file that names the holder. The lock ends with its process."""

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

    `command` is shown to a person whose command is refused, so it must not hold a password.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, timeout=0).acquire()
    except Timeout:
        raise _refusal(path) from None
    except OSError as error:
        raise InputError(Problem(str(path), "", "cannot be locked", str(error))) from None
    with lock:
        if _is_alive(read_holder(path)):  # somebody has removed the file that it had locked
            raise _refusal(path)
        _write_holder(path, command)
        try:
            yield
        finally:
            _remove_holder(path)


def describe_holder(path: Path) -> str:
    """Process, host and time of the holder of the lock file `path`; "" for none, and for one on this machine that has
    ended."""
    holder = read_holder(path)
    return _describe(holder) if holder and (_is_alive(holder) or holder.get("host") != socket.gethostname()) else ""


def read_holder(path: Path) -> dict[str, Any]:
    """host, pid, since and command of the holder of the lock file `path`; empty where they are not known."""
    try:
        holder = json.loads(holder_file(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return holder if isinstance(holder, dict) else {}


def holder_file(path: Path) -> Path:
    """The file that names the holder of the lock file `path`."""
    return path.with_name(f"{path.name}.json")


def _is_alive(holder: Mapping[str, Any]) -> bool:
    """Whether the holder is another process on this machine that still runs. One that started later than `since` only
    has the same number."""
    try:
        if holder["host"] != socket.gethostname() or holder["pid"] == os.getpid():
            return False
        since = datetime.fromisoformat(holder["since"]).timestamp()
        return bool(psutil.Process(int(holder["pid"])).create_time() <= since + 1)
    except (KeyError, TypeError, ValueError, OverflowError, psutil.Error):
        return False


def _write_holder(path: Path, command: str) -> None:
    since = datetime.now().astimezone().isoformat(timespec="seconds")
    holder = {"host": socket.gethostname(), "pid": os.getpid(), "since": since, "command": command}
    with suppress(OSError):  # a full disk: the lock works without it
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
            json.dump(holder, file)
        os.replace(file.name, holder_file(path))


def _remove_holder(path: Path) -> None:
    with suppress(OSError):
        holder_file(path).unlink()


def _describe(holder: Mapping[str, Any]) -> str:
    return printable(f"process {holder.get('pid')} on {holder.get('host')}, since {holder.get('since')}")


def _refusal(path: Path) -> InputError:
    holder = read_holder(path)
    description = _describe(holder) if holder else ""
    return InputError(study_in_use(str(path), description, str(holder.get("command", ""))))
