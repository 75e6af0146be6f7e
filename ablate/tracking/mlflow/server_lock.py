"""A lock through a tag of a study's experiment, for drivers that share an MLflow server or its database, no files.

MLflow has no locks, so this is a promise among drivers and no more: who finds no fresh sign of another writes one
of its own, waits a moment and reads it back, then renews it. What that does not guarantee: of two that begin within the
same second both may go on until the first renewal, when one of them stops; so may one that was away (asleep, or cut
off from the server) for as long as makes its sign stale. A cell that both have done is recorded twice and counts once.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

from ablate.tracking.mlflow import store  # isort: skip  # first: it silences MLflow before MLflow is imported
import psutil

from ablate.study import InputError, Problem, StoreUnavailable, printable, study_in_use
from ablate.tracking.mlflow.errors import passing_faults
from ablate.untrusted.addresses import redacted

TAG = "ablate.driver"
RENEW_S = 30.0  # a read and a write: one small request in 15 s
STALE_S = 90.0  # three renewals
PAUSE_S = 0.5  # between writing and reading back
LEAVE_S = 2.0  # for the last word; on a server that does not hear it the sign grows stale


@dataclass(frozen=True)
class LockHolder:
    """Who drives a study. `began` and `beat` are seconds since the epoch by the clock of its machine."""

    token: str
    host: str
    pid: int
    since: str
    place: str  # of its process table: see `_place`
    began: float  # the process
    beat: float
    command: str = ""

    @property
    def here(self) -> bool:
        """Whether this machine knows if its process lives."""
        return self.place == _place()

    @property
    def alive(self) -> bool:
        """Of a sign made here: whether its process is there, and is at it."""
        if self.pid == os.getpid():
            return self.token in _held
        with suppress(psutil.Error, ValueError, OverflowError):
            return bool(abs(psutil.Process(self.pid).create_time() - self.began) < 2)
        return False

    def __str__(self) -> str:
        return printable(f"process {self.pid} on {self.host}, since {self.since}")


_held: set[str] = set()  # tokens of the locks of this process


@contextmanager
def hold(
    address: str,
    study: str,
    mlruns: Path,
    *,
    command: str = "",
    new: bool = True,
    lost: Callable[[str], None],
    renew_s: float = RENEW_S,
) -> Iterator[None]:
    """Hold the lock of `study` in the MLflow store at `address`, where it has none if it must not be `new` there.

    `mlruns`: under it lie the artifacts of a database that is used without a server.

    Raises InputError when another process holds it, saying who, or when the store does not answer. A holder whose
    process is gone is in nobody's way on its own machine; on others it is after STALE_S. When another has taken the
    lock, `lost` is called in a thread, with the reason.
    """
    lock = Lock(address, study, mlruns, command, renew_s)
    if not lock.take(new=new):
        yield
        return
    over = threading.Event()
    keeper = threading.Thread(target=lock.keep, args=(over, lost), daemon=True, name=f"lock of {study}")
    keeper.start()
    try:
        yield
    finally:
        over.set()
        leaving = threading.Thread(target=lock.release, args=(keeper,), daemon=True)
        leaving.start()
        leaving.join(LEAVE_S)
        _held.discard(lock.sign.token)


class Lock:
    """One study's tag, and what this process writes there."""

    def __init__(self, address: str, study: str, mlruns: Path, command: str = "", renew_s: float = RENEW_S) -> None:
        self.uri, self.mlruns = store.usable(address), mlruns.resolve()
        self.address, self.study, self.renew_s = redacted(address), study, renew_s
        self.client = store.connect(self.uri, self.mlruns)  # its own: the driver's thread has another
        since = datetime.now().astimezone().isoformat(timespec="seconds")
        began = psutil.Process().create_time()
        who = (secrets.token_hex(8), socket.gethostname(), os.getpid(), since, _place(), began)
        self.sign = LockHolder(*who, beat=0.0, command=command)
        self.experiment_id = ""

    def take(self, *, new: bool = True) -> bool:
        """False where the store does not know the study, and it must not be `new` there.

        Raises InputError when another process holds the lock, or the store does not answer.
        """
        try:
            with passing_faults():
                if not self._find(new):
                    return False
                found = self._read()
                if found is not None and self._in_force(found):
                    raise InputError(self._refusal(found))
                self._write()
                time.sleep(PAUSE_S)
                found = self._read()
        except StoreUnavailable as error:
            raise InputError(Problem(self.address, "", "the tracking store does not answer", str(error))) from None
        if found is None or found.token != self.sign.token:
            raise InputError(self._refusal(found))
        _held.add(self.sign.token)
        return True

    def _in_force(self, found: LockHolder) -> bool:
        """Whether its holder is at work. One that looks stale is watched: clocks of machines differ."""
        if found.here:
            return found.alive
        if abs(time.time() - found.beat) < STALE_S:
            return True
        patience = time.monotonic() + 1.5 * self.renew_s
        while time.monotonic() < patience:
            time.sleep(self.renew_s / 5)
            if self._read() != found:
                return True
        return False

    def keep(self, over: threading.Event, lost: Callable[[str], None]) -> None:
        """Renew the sign until `over`, or until another's stands in its place."""
        while not over.wait(self.renew_s):
            with suppress(StoreUnavailable), passing_faults():  # away: whether to go on is for the driver to say
                found = self._read()
                if found is not None and found.token != self.sign.token:
                    lost(str(self._refusal(found)))
                    return
                if not over.is_set():
                    self._write()

    def release(self, keeper: threading.Thread) -> None:
        """Take the sign away, if it is still this one, once nobody renews it."""
        keeper.join()
        with suppress(StoreUnavailable), passing_faults():
            found = self._read()
            if found is not None and found.token == self.sign.token:
                self.client.delete_experiment_tag(self.experiment_id, TAG)

    def _find(self, new: bool) -> bool:
        """The study's experiment, made or brought back if it may be `new`."""
        if not new:
            found = self.client.get_experiment_by_name(self.study)
            if found is None or found.lifecycle_stage != "active":
                return False
        self.experiment_id = store.experiment_id(self.client, self.uri, self.mlruns, self.study)
        return True

    def _read(self) -> LockHolder | None:
        text = self.client.get_experiment(self.experiment_id).tags.get(TAG, "")
        try:
            sign = LockHolder(**json.loads(text))
            return replace(sign, pid=int(sign.pid), began=float(sign.began), beat=float(sign.beat))
        except (ValueError, TypeError, OverflowError, RecursionError):  # none, or not ours: nobody is known to hold it
            return None

    def _write(self) -> None:
        sign = replace(self.sign, beat=time.time())
        self.client.set_experiment_tag(self.experiment_id, TAG, json.dumps(asdict(sign)))

    def _refusal(self, found: LockHolder | None) -> Problem:
        return study_in_use(self.address, str(found or ""), found.command if found else "")


def _place() -> str:
    """What tells the process table of this machine, or of this container on it, from others."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # no Linux
        return socket.gethostname()
