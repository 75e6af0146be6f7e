"""Run a command as a child process: its output goes to the run's log, and nothing of it is left running."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import psutil

from ablate.trainers.errors import RunFailed
from ablate.trainers.printed_scores import PrintedScores

POLL_S = 0.2
STOP_S = 5.0  # between SIGTERM and SIGKILL
OUTPUT_END_S = 5.0  # to read what is left of the output: a process of another session may keep the pipe open
LOG_BYTES = 10_000_000  # of output that the log keeps; of what comes later, the last lines
LINE_BYTES = 100_000  # a longer line is cut
LAST_LINES = 20
PR_SET_PDEATHSIG, PR_GET_CHILD_SUBREAPER = 1, 37  # prctl(2), Linux


class Child:
    """A command that runs in a process group of its own."""

    def __init__(
        self,
        words: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        log: Path,
        pattern: str = "",
        unsaid: re.Pattern[str] | None = None,
    ) -> None:
        self._unsaid = unsaid
        self._printed = PrintedScores(pattern) if pattern else None
        self._log, self._left_out = log.open("ab", buffering=0), 0
        self._log_error = ""  # why a part of the output is not in the log
        self._room, self._lock = LOG_BYTES, threading.Lock()
        self._last: deque[bytes] = deque(maxlen=LAST_LINES)
        self._others = set(_children())
        try:
            self._process = subprocess.Popen(
                words,
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE if pattern else subprocess.STDOUT,  # in one pipe the lines keep their order
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        except OSError as error:
            self._log.close()
            raise RunFailed(f"{words[0]} cannot be started: {error.strerror}") from error
        streams = [(self._process.stdout, True), (self._process.stderr, False)]
        self._readers = [threading.Thread(target=self._read, args=s, daemon=True) for s in streams if s[0] is not None]
        for reader in self._readers:
            reader.start()

    @property
    def scores(self) -> dict[str, str]:
        """What the pattern has found on stdout, by name."""
        return {} if self._printed is None else self._printed.found

    def wait(self, timeout_s: float) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout_s)
        return None

    def stop(self) -> None:
        """Ask the process group to end, and kill what has not after a while."""
        descendants = self._descendants()
        self._signal(signal.SIGTERM)
        self.wait(STOP_S)
        self._kill(descendants)
        self._process.wait()

    def close(self) -> None:
        """Kill what is left of the process group, and of those that have left it; read the output to its end."""
        self._kill(self._descendants())
        self._process.wait()
        self._kill_orphans()
        deadline = time.monotonic() + OUTPUT_END_S
        for reader in self._readers:
            reader.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            if self._left_out:
                last = b"".join(self._last)
                self._write(b"\n[%d bytes of output are left out here]\n%s" % (self._left_out, last))
            if self._log_error:
                self._write(b"\n[a part of the output is missing: %s]\n" % self._log_error.encode())
            self._log.close()

    def last_lines(self, count: int = 5, characters: int = 1000) -> str:
        """The end of its output, stdout and stderr together, without the lines in which `unsaid` is found."""
        with self._lock:
            lines = [line.decode("utf-8", "replace").rstrip() for line in self._last]
        if self._unsaid is not None:
            lines = [line for line in lines if not self._unsaid.search(line)]
        return "\n".join([line for line in lines if line][-count:])[-characters:]

    def said(self) -> str:
        """The last lines of its output, to follow a reason; "" where there are none."""
        last = self.last_lines()
        return f"; its last lines:\n{last}" if last else ""

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _kill(self, descendants: Sequence[psutil.Process]) -> None:
        for process in descendants:
            with suppress(psutil.Error):
                process.kill()
        self._signal(signal.SIGKILL)

    def _kill_orphans(self) -> None:
        """Kill what the command has left in sessions of their own: one may write scores after the command has ended.

        In a process for one cell alone, which has become their parent: see `executors.cell_process`.
        """
        while _adopts_orphans() and (orphans := [process for process in _children() if process not in self._others]):
            for process in orphans:
                with suppress(psutil.Error):
                    process.kill()
                    process.wait(STOP_S)
            self._others.update(orphans)

    def _descendants(self) -> list[psutil.Process]:
        """Its child processes, those that have left the group too; none once it has ended itself."""
        try:
            return list(psutil.Process(self._process.pid).children(recursive=True))
        except psutil.Error:
            return []

    def _read(self, stream: IO[bytes], is_stdout: bool) -> None:
        printed = self._printed if is_stdout else None
        with suppress(OSError, ValueError), stream:  # ValueError: closed meanwhile
            for line in iter(lambda: stream.readline(LINE_BYTES), b""):
                if printed is not None:
                    printed.add(line)
                self._keep(line)
        if printed is not None:
            printed.end()

    def _keep(self, line: bytes) -> None:
        with self._lock:
            self._last.append(line)
            if self._log.closed:
                return
            kept = line[: self._room]
            self._room -= len(kept)
            self._left_out += len(line) - len(kept)
            self._write(kept)

    def _write(self, content: bytes) -> None:
        """Append to the log. An error, such as a full disk, does not end the reading: the command would get SIGPIPE."""
        try:
            self._log.write(content)
        except OSError as error:
            self._log_error = error.strerror or str(error)


def ending(code: int) -> str:
    """How a command with this exit code other than 0 has ended, to follow its name."""
    if code > 0:
        return f"ended with exit code {code}"
    with suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"


def _last_break(text: bytes) -> int:
    """Where the part of a long line begins that the next piece of output continues: behind a \\r, else a blank."""
    end = max(text.rfind(b"\r"), 0) or text.rfind(b" ")
    return end + 1 if len(text) - end <= LINE_BYTES else len(text)


def _children() -> list[psutil.Process]:
    """The child processes of this one, with theirs."""
    with suppress(psutil.Error):
        return list(psutil.Process().children(recursive=True))
    return []


@contextmanager
def running(
    words: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    log: Path,
    pattern: str = "",
    unsaid: re.Pattern[str] | None = None,
) -> Iterator[Child]:
    """A child process that has ended, with its children, when the block ends. Raises RunFailed when it cannot start."""
    child = Child(words, folder, environment, log, pattern, unsaid)
    try:
        yield child
    finally:
        child.close()


def _libc() -> Callable[..., int] | None:
    with suppress(OSError, AttributeError):
        prctl: Callable[..., int] = ctypes.CDLL(None).prctl
        return prctl
    return None


_prctl = _libc()  # looked up here: after a fork, only what is loaded already is safe to use


def _adopts_orphans() -> bool:
    """Whether this process is the parent of processes whose own parent has ended below it."""
    answer = ctypes.c_int(0)
    return _prctl is not None and _prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(answer)) == 0 and bool(answer.value)


def _die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies, even by SIGKILL."""
    if _prctl is not None:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
