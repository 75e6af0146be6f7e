"""Keep a second driver of a study out, and tell it who is at work. The lock dies with its holder."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from ablate.edges.ledger import database_file
from ablate.study import InputError, Problem, printable


@contextmanager
def hold(path: Path, study: str, *, command: str = "", store: str | None = None, new: bool = False) -> Iterator[None]:
    """Hold the lock file `path`, and where several machines may use the `store`, an MLflow address, a lock there.

    A SQLite file has a lock file beside it, wherever `path` is; a server or another database has a tag of the study.
    Raises InputError, naming host, process and time, while another process holds one of them. `command` is what the
    next one is shown, so it must not hold a password. `new`: a store that does not know the study yet is made to.
    """
    file = database_file(store) if store else None
    beside = file.resolve().with_name(path.name) if file else path.resolve()
    with ExitStack() as stack:
        stack.enter_context(_hold_file(path, command))
        if beside != path.resolve() and beside.parent.is_dir():
            stack.enter_context(_hold_file(beside, command))
        if store and file is None:
            from ablate.edges import tracking_lock  # imports mlflow

            stack.enter_context(tracking_lock.hold(store, study, path.parent, command=command, new=new))
        yield


@contextmanager
def _hold_file(path: Path, command: str) -> Iterator[None]:
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
    return InputError(refusal(str(path), _name(who) if who else "", str(who.get("command", ""))))


def refusal(place: str, by: str = "", command: str = "") -> Problem:
    """That a study is taken: where that is known from, and who it is and what it runs, where they have said so."""
    rule = "another `ablate run` of this study is at work" + (f": {by}" if by else "")
    return Problem(place, "", rule, nearest=f"it runs: {printable(command)}" if command else "")
