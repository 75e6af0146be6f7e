"""A lock in a tag of a study's experiment, for processes that share an MLflow server or database but no files.

MLflow has no locks, so the processes must cooperate. One that finds no fresh entry of another in the tag writes its own
entry, waits a moment, reads it back, and then renews it. This does not exclude every overlap: of two processes that
start within the same second, both may go on until the first renewal, when one of them stops. The same holds for a
process that was suspended or cut off from the server for more than STALE_S. A cell that both have run is recorded twice
and counts once.
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
RELEASE_TIMEOUT_S = 2.0  # to delete the tag; on a server that does not answer, the entry becomes stale


@dataclass(frozen=True)
class LockHolder:
    """The tag's entry, as JSON with these keys: the process that runs a study.

    `began` and `beat` are seconds since 1970 by the clock of its machine.
    """

    token: str
    host: str
    pid: int
    since: str
    place: str  # its process table: see `_process_table`
    began: float  # start of the process
    beat: float  # last renewal
    command: str = ""

    @property
    def is_local(self) -> bool:
        """Whether its process is in this machine's process table, so that `alive` is known."""
        return self.place == _process_table()

    @property
    def alive(self) -> bool:
        """Whether a local holder's process exists and, if it is this process, still holds the lock."""
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
    """Hold the lock of `study` in the MLflow store at `address`.

    Without `new`, a study that is not in the store is not created, and nothing is locked. `mlruns`: the folder of the
    artifacts of a database that is used without a server.

    Raises InputError, which names the holder, when another process holds the lock, or when the store does not answer.
    The entry of a dead process is ignored: on its own machine at once, on others after STALE_S. When another process
    takes the lock over, `lost` is called in a thread, with the reason.
    """
    lock = Lock(address, study, mlruns, command, renew_s)
    if not lock.take(new=new):
        yield
        return
    end = threading.Event()
    renewal = threading.Thread(target=lock.renew, args=(end, lost), daemon=True, name=f"lock of {study}")
    renewal.start()
    try:
        yield
    finally:
        end.set()
        release = threading.Thread(target=lock.release, args=(renewal,), daemon=True)
        release.start()
        release.join(RELEASE_TIMEOUT_S)
        _held.discard(lock.holder.token)


class Lock:
    """The tag of one study, and this process's entry in it."""

    def __init__(self, address: str, study: str, mlruns: Path, command: str = "", renew_s: float = RENEW_S) -> None:
        self.uri, self.mlruns = store.usable(address), mlruns.resolve()
        self.address, self.study, self.renew_s = redacted(address), study, renew_s
        self.client = store.connect(self.uri, self.mlruns)  # of its own: the scheduler's thread uses another
        since = datetime.now().astimezone().isoformat(timespec="seconds")
        self.holder = LockHolder(
            token=secrets.token_hex(8),
            host=socket.gethostname(),
            pid=os.getpid(),
            since=since,
            place=_process_table(),
            began=psutil.Process().create_time(),
            beat=0.0,
            command=command,
        )
        self.experiment_id = ""

    def take(self, *, new: bool = True) -> bool:
        """Take the lock. False where the study is not in the store and must not be `new` there.

        Raises InputError when another process holds the lock, or the store does not answer.
        """
        try:
            with passing_faults():
                if not self._find_experiment(new):
                    return False
                current = self._read()
                if current is not None and self._holds(current):
                    raise InputError(self._refusal(current))
                self._write()
                time.sleep(PAUSE_S)
                current = self._read()
        except StoreUnavailable as error:
            raise InputError(Problem(self.address, "", "the tracking store does not answer", str(error))) from None
        if current is None or current.token != self.holder.token:
            raise InputError(self._refusal(current))
        _held.add(self.holder.token)
        return True

    def _holds(self, holder: LockHolder) -> bool:
        """Whether the process of an entry still holds the lock.

        An entry of another machine that looks stale is watched for a renewal, because the machines' clocks may differ.
        """
        if holder.is_local:
            return holder.alive
        if abs(time.time() - holder.beat) < STALE_S:
            return True
        deadline = time.monotonic() + 1.5 * self.renew_s
        while time.monotonic() < deadline:
            time.sleep(self.renew_s / 5)
            if self._read() != holder:
                return True
        return False

    def renew(self, end: threading.Event, lost: Callable[[str], None]) -> None:
        """Renew this process's entry until `end`, or until another process has replaced it."""
        while not end.wait(self.renew_s):
            with suppress(StoreUnavailable), passing_faults():  # the scheduler decides how long to wait for the store
                current = self._read()
                if current is not None and current.token != self.holder.token:
                    lost(str(self._refusal(current)))
                    return
                if not end.is_set():
                    self._write()

    def release(self, renewal: threading.Thread) -> None:
        """Delete this process's entry, if it is still there, after the thread that renews it has ended."""
        renewal.join()
        with suppress(StoreUnavailable), passing_faults():
            current = self._read()
            if current is not None and current.token == self.holder.token:
                self.client.delete_experiment_tag(self.experiment_id, TAG)

    def _find_experiment(self, new: bool) -> bool:
        """Set `experiment_id`. With `new`, the experiment is created or restored; else False where it is missing."""
        if not new:
            experiment = self.client.get_experiment_by_name(self.study)
            if experiment is None or experiment.lifecycle_stage != "active":
                return False
        self.experiment_id = store.experiment_id(self.client, self.uri, self.mlruns, self.study)
        return True

    def _read(self) -> LockHolder | None:
        text = self.client.get_experiment(self.experiment_id).tags.get(TAG, "")
        try:
            holder = LockHolder(**json.loads(text))
            return replace(holder, pid=int(holder.pid), began=float(holder.began), beat=float(holder.beat))
        except (ValueError, TypeError, OverflowError, RecursionError):  # no entry, or a damaged one: the lock is free
            return None

    def _write(self) -> None:
        entry = replace(self.holder, beat=time.time())
        self.client.set_experiment_tag(self.experiment_id, TAG, json.dumps(asdict(entry)))

    def _refusal(self, holder: LockHolder | None) -> Problem:
        return study_in_use(self.address, str(holder or ""), holder.command if holder else "")


def _process_table() -> str:
    """Identifies the process table of this machine, or of this container on it: host, boot and pid namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        return socket.gethostname()
