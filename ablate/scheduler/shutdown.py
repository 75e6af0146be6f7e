"""Turn Ctrl-C, SIGTERM and SIGHUP into a stop request that a loop reads when it can stop. Knows nothing of runs."""

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

# A cluster manager that preempts a job sends SIGTERM and kills it some seconds later, after 10 s at the earliest.
FORCED_EXIT_S = 9.0  # after SIGTERM or SIGHUP this process exits, even if something still blocks it
EXIT_CODE = 1
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
TERMINATION_SIGNALS = tuple(number for number in SIGNALS if number != signal.SIGINT)


class Interrupted(KeyboardInterrupt):
    """Work was stopped before its end. A subclass, so that code which handles KeyboardInterrupt handles it too.

    `at_once`: by a second Ctrl-C, before running work could end in order.
    """

    at_once = False


class StopRequest:
    """Whether to stop, why, and by when.

    Inside `deferred` the first signal only sets `reason`; anywhere else it raises Interrupted at once.
    """

    def __init__(self) -> None:
        self.reason = ""  # "" while no stop is requested
        self._deadline = float("inf")  # monotonic time
        self._deferred = False

    def request(self, reason: str, within_s: float = float("inf")) -> None:
        """Request a stop within so many seconds. The first reason stays; a later request can only shorten the time."""
        self.reason = self.reason or reason
        self._deadline = min(self._deadline, time.monotonic() + within_s)

    @property
    def deadline_passed(self) -> bool:
        return time.monotonic() > self._deadline

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Inside, the first signal does not interrupt: the caller has to read `reason` regularly."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    @contextmanager
    def handling_signals(self) -> Iterator[None]:
        """Handle the signals in here, in the main thread only. Signals that are ignored (`nohup`) stay ignored."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handled = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
        handlers_before = {number: signal.signal(number, self._handle) for number in handled}
        with _watchdog():
            try:
                yield
            finally:
                for number, handler in handlers_before.items():
                    signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        ctrl_c_again = bool(self.reason) and number == signal.SIGINT  # after a request of any kind
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        self.request(name, SAVE_STATE_S if number in TERMINATION_SIGNALS else float("inf"))
        if ctrl_c_again or not self._deferred:
            error = Interrupted(name)
            error.at_once = ctrl_c_again
            raise error


def end_this_process(reason: str) -> None:
    """Send SIGTERM to this process, from any thread: a loop inside `StopRequest.deferred` then stops when it can."""
    print(f"error: {reason}", file=sys.stderr)
    os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def _watchdog() -> Iterator[None]:
    """Exit FORCED_EXIT_S after SIGTERM or SIGHUP, even where Python's signal handler never runs.

    Python runs a handler only between two of its instructions, and a database call may wait for a lock for 20 s. The
    wakeup descriptor gets the number of a signal as soon as the signal arrives.
    """
    reader, writer = socket.socketpair()
    reader.setblocking(True)
    writer.setblocking(False)
    descriptor_before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    finished = threading.Event()

    def watch() -> None:
        while not finished.is_set():
            numbers = reader.recv(64)
            if not numbers:
                return
            if any(number in TERMINATION_SIGNALS for number in numbers) and not finished.wait(FORCED_EXIT_S):
                os._exit(EXIT_CODE)

    thread = threading.Thread(target=watch, daemon=True, name="watchdog")
    thread.start()
    try:
        yield
    finally:
        finished.set()
        signal.set_wakeup_fd(descriptor_before)
        writer.close()
        thread.join()
        reader.close()
