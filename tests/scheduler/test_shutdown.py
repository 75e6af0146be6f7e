"""What Ctrl-C and SIGTERM do, each in a process: in a deferring loop, elsewhere, and where nothing stops by itself."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from ablate.scheduler.shutdown import EXIT_CODE, FORCED_EXIT_S
from ablate.trainers.errors import SAVE_STATE_S

LOOP = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a script ignores it
from ablate.scheduler.shutdown import Interrupted, StopRequest
stop = StopRequest()
try:
    with stop.handling_signals():
        if sys.argv[1] == "deferring":
            with stop.deferred():
                print("ready", flush=True)
                while not stop.reason:
                    time.sleep(0.01)
                print(stop.reason, flush=True)
                time.sleep(600)
        print("ready", flush=True)
        time.sleep(600)
except Interrupted as error:
    print(f"interrupted by {error}", flush=True)
"""


def begin(mode: str) -> subprocess.Popen[str]:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under `nohup` a child would ignore it
    try:
        process = subprocess.Popen([sys.executable, "-c", LOOP, mode], stdout=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert line(process) == "ready"
    return process


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_deferring_loop_reads_the_first_and_is_interrupted_by_the_second() -> None:
    with begin("deferring") as process:
        process.send_signal(signal.SIGINT)
        assert line(process) == "Ctrl-C"
        process.send_signal(signal.SIGINT)
        assert line(process) == "interrupted by Ctrl-C"
    assert process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_elsewhere_the_first_interrupts(number: signal.Signals) -> None:
    with begin("working") as process:
        process.send_signal(number)
        assert line(process) == f"interrupted by {'Ctrl-C' if number == signal.SIGINT else number.name}"


FAST = """
import signal, threading, time
from ablate.scheduler import shutdown
waits = []
class Event(threading.Event):
    def wait(self, timeout=None):
        if timeout is None:
            return super().wait()
        waits.append(timeout)  # and the time has passed
        return False
def end(code, end=shutdown.os._exit):
    print(waits, code, flush=True)
    end(code)
threading.Event, shutdown.os._exit = Event, end
with shutdown.StopRequest().handling_signals():
    signal.signal(signal.SIGTERM, lambda *arguments: None)  # nothing stops by itself
    print("ready", flush=True)
    time.sleep(600)
    time.sleep(600)
"""


def test_all_is_over_within_the_ten_seconds_that_a_cluster_manager_gives() -> None:
    """On a clock of the test's own. Runs have until SAVE_STATE_S to save their state."""
    with subprocess.Popen([sys.executable, "-c", FAST], stdout=subprocess.PIPE, text=True) as process:
        assert line(process) == "ready"
        process.send_signal(signal.SIGTERM)
        assert line(process) == f"[{FORCED_EXIT_S}] {EXIT_CODE}"
    assert process.returncode == EXIT_CODE == 1
    assert SAVE_STATE_S < FORCED_EXIT_S < 10


def test_what_is_ignored_stays_ignored() -> None:
    """As `nohup` and a script's background jobs have it."""
    script = f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n{LOOP}"
    with subprocess.Popen([sys.executable, "-c", script, "working"], stdout=subprocess.PIPE, text=True) as process:
        assert line(process) == "ready"
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert line(process) == "interrupted by SIGTERM"
