"""Inside a cell's process: run one call, send what it gives back, wait for the end. Knows nothing of studies."""

from __future__ import annotations

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

TO_THE_DRIVER = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
LENGTH_BYTES = 8  # before an answer: how many bytes follow


def main(call: bytes, environment: Mapping[str, str], answers: Connection) -> None:
    """Run the pickled (function, arguments, keywords) of `call` and write `answer` to the pipe `answers`.

    Then wait for the driver to end this process, with whatever child processes the call has left behind.
    """
    for number in TO_THE_DRIVER:
        signal.signal(number, _ignore)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, TO_THE_DRIVER)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    os.environ.clear()  # a fork server keeps the environment in which it was started
    os.environ.update(environment)
    with suppress(OSError):  # of a driver without a stderr
        os.dup2(2, 1)  # its stdout is for its answers
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    content = answer(call)
    with open(answers.fileno(), "wb", closefd=False) as pipe:
        pipe.write(len(content).to_bytes(LENGTH_BYTES, "big") + content)
    while True:
        signal.pause()


def answer(call: bytes) -> bytes:
    """The pickled (True, result) of a `call`, or (False, exception)."""
    try:
        function, arguments, keywords = pickle.loads(call)  # from the driver
        return pickle.dumps((True, function(*arguments, **keywords)))
    except BaseException as error:  # KeyboardInterrupt too: the driver's Ctrl-C does not come here
        return _failure(error)


def _failure(error: BaseException) -> bytes:
    """In words where the exception cannot be sent, or is none that code which fails should raise."""
    try:
        content = pickle.dumps((False, error))
        if isinstance(pickle.loads(content)[1], Exception):
            return content
    except Exception:  # of a class with arguments of its own, or with a lock inside
        pass
    return pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))


def opened(content: bytes) -> Any:
    """The result in what `answer` gave. Raises its exception, RuntimeError where the content cannot be read."""
    try:
        done, value = pickle.loads(content)
    except BaseException as error:  # an object of a component decides how it is unpickled
        raise RuntimeError(f"the result cannot be read: {type(error).__name__}: {error}") from error
    if done:
        return value
    raise value


def _ignore(number: int, frame: object) -> None:
    """A handler and not SIG_IGN, which the processes that a component starts would inherit."""


def _die_with_parent() -> None:
    """A driver killed outright must leave no worker behind that writes into the next driver's folders."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
