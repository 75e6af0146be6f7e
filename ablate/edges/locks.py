"""Keep a second driver of a study out, and tell it who is at work. The lock dies with its holder."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ablate.study import InputError, Problem


@contextmanager
def hold(
    path: Path, study: str, *, command: str = "", addresses: Iterable[str | None] = (), new: bool = False
) -> Iterator[None]:
    """Hold the lock file `path`, and a lock in every PostgreSQL database and on every MLflow server of `addresses`.

    Raises InputError, naming host, process and time, while another process holds one of them. `command` is what the
    next one is shown, so it must not hold a password. `new`: an MLflow server that does not know the study yet is made
    to know it.
    """
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(path, timeout=0))
        except Timeout:
            raise _refusal(path, study) from None
        except OSError as error:
            raise InputError(Problem(str(path), "", "cannot be locked", str(error))) from None
        for address in addresses:
            if address and address.startswith("postgresql"):
                from ablate.edges import locks_postgres  # imports a database driver

                stack.enter_context(locks_postgres.hold(address, study))
            elif address and address.startswith("http"):
                from ablate.edges import tracking_lock  # imports mlflow

                stack.enter_context(tracking_lock.hold(address, study, command=command, new=new))
        stack.callback(_unsign, path)
        _sign(path, command)
        yield


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


def _refusal(path: Path, study: str) -> InputError:
    who = holder(path)
    by = f": process {who.get('pid')} on {who.get('host')}, since {who.get('since')}" if who else ""
    command = f"it runs: {who['command']}" if who.get("command") else ""
    return InputError(Problem(str(path), "", f"another `ablate run` of this study is at work{by}", study, command))
