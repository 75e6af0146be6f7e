"""The code that runs in a cell's process: make one call, send its result, wait to be killed. Knows no study."""

from __future__ import annotations

import ctypes
import io
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

import psutil

# Signals that only the driver acts on, also when a terminal or a scheduler sends them to the whole process group.
DRIVER_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
PR_SET_CHILD_SUBREAPER = 36  # prctl(2), Linux
LENGTH_BYTES = 8  # at the start of an answer: the number of bytes that follow


def main(call: bytes, environment: Mapping[str, str], pipe: Connection) -> None:
    """Make the pickled `call` (function, arguments, keywords) and write its `answer` to the pipe.

    Then wait until the driver ends this process and the child processes that the call has left.
    """
    for number in DRIVER_SIGNALS:
        signal.signal(number, _ignore)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, DRIVER_SIGNALS)
    _adopt_orphans()
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    os.environ.clear()  # a fork server keeps the environment in which it was started
    os.environ.update(environment)
    with suppress(OSError):  # the driver has no stderr
        os.dup2(2, 1)  # the driver's stdout is for the output of its command
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    content = answer(call)
    with open(pipe.fileno(), "wb", closefd=False) as file:
        file.write(len(content).to_bytes(LENGTH_BYTES, "big") + content)
    while True:
        signal.pause()


def answer(call: bytes) -> bytes:
    """Make the pickled call; returns the pickled (True, result) or (False, exception)."""
    try:
        function, arguments, keywords = pickle.loads(call)  # from the driver
        return pickle.dumps((True, function(*arguments, **keywords)))
    except BaseException as error:  # KeyboardInterrupt too: it does not come from the driver's Ctrl-C
        return _failure(error)


def _failure(error: BaseException) -> bytes:
    """The pickled (False, exception). A RuntimeError with the same text, where the exception cannot be pickled or is
    no Exception, such as SystemExit."""
    try:
        content = pickle.dumps((False, error))
        if isinstance(pickle.loads(content)[1], Exception):
            return content
    except Exception:  # a class with a different constructor, or with a lock inside
        pass
    return pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))


def unpack_answer(content: bytes) -> Any:
    """The result in what `answer` returned. Raises its exception, or RuntimeError where it cannot be unpickled."""
    try:
        succeeded, value = pickle.loads(content)
    except BaseException as error:  # a component's class decides how it is unpickled
        raise RuntimeError(f"the result cannot be read: {type(error).__name__}: {error}") from error
    if succeeded:
        return value
    raise value


def _ignore(number: int, frame: object) -> None:
    """A handler instead of SIG_IGN, which the processes that a component starts would inherit."""


def _adopt_orphans() -> None:
    """Become the parent of processes whose own parent ends below this one, so that the driver can kill them too."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def _exit_with_parent() -> None:
    """Exit when the driver is killed, with the processes started here, so that none writes into the folders of the
    next driver."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                child.kill()
        os._exit(1)
