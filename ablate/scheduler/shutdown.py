"""Ctrl-C, SIGTERM and SIGHUP as a request that a loop heeds at its next safe point. Knows nothing of runs."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ablate.trainers.errors import SAVE_STATE_S

# A cluster manager that preempts sends SIGTERM and kills some seconds later: 10 s at the least.
ALL_OVER_S = 9.0  # after which this process ends, whatever holds it up
EXIT_CODE = 1
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
HURRIED = tuple(number for number in SIGNALS if number != signal.SIGINT)


class Interrupted(KeyboardInterrupt):
    """Work was stopped before its end. Whatever passes a KeyboardInterrupt on or cleans up after it serves this too."""


class StopRequest:
    """Whether and why to stop. Within `heeded` the first signal is noted only; anywhere else it interrupts at once."""

    def __init__(self) -> None:
        self.reason = ""  # "" as long as nobody asked
        self._until = float("inf")  # monotonic
        self._heeded = False

    def ask(self, reason: str, within_s: float = float("inf")) -> None:
        """Ask to stop, the sooner the better; a second request can only shorten the time left."""
        self.reason = self.reason or reason
        self._until = min(self._until, time.monotonic() + within_s)

    @property
    def late(self) -> bool:
        """The time to stop in has passed."""
        return time.monotonic() > self._until

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Inside, the caller looks at `reason` again and again."""
        self._heeded = True
        try:
            yield
        finally:
            self._heeded = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear the signals, where this is the main thread; those that are ignored (nohup) stay ignored."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        heard = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
        before = {number: signal.signal(number, self._hear) for number in heard}
        with _watchdog():
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        again = bool(self.reason) and number == signal.SIGINT
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        self.ask(name, SAVE_STATE_S if number in HURRIED else float("inf"))
        if again or not self._heeded:
            raise Interrupted(name)


def end_this_process(reason: str) -> None:
    """From any thread, as SIGTERM does: a loop that heeds it stops at its next safe point."""
    print(f"error: {reason}", file=sys.stderr)
    os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def _watchdog() -> Iterator[None]:
    """End the process some seconds after SIGTERM or SIGHUP even where a handler never gets to run.

    Python runs handlers between two of its own instructions; a database call may wait for a lock for 20 s. The wakeup
    descriptor is written to at once.
    """
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(end is ours)
    before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            heard = ours.recv(64)
            if not heard:
                return
            if any(number in HURRIED for number in heard) and not over.wait(ALL_OVER_S):
                os._exit(EXIT_CODE)

    thread = threading.Thread(target=watch, daemon=True, name="watchdog")
    thread.start()
    try:
        yield
    finally:
        over.set()
        signal.set_wakeup_fd(before)
        theirs.close()
        thread.join()
        ours.close()
