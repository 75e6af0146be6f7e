"""Where goes what components print, their child processes and C code included. Knows nothing of runs."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path

STDOUT, STDERR = 1, 2


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Inside, nothing comes to stdout, which is for a command's answer."""
    with _redirected({STDOUT: STDERR}), redirect_stdout(sys.stderr):  # the second where Python's is another (notebooks)
        yield


@contextmanager
def to_file(path: Path) -> Iterator[None]:
    """Inside, stdout and stderr are added to the end of a file. Raises OSError where it cannot be written."""
    with path.open("ab", buffering=0) as file, _redirected({STDOUT: file.fileno(), STDERR: file.fileno()}):
        yield


def flush() -> None:
    """Write what Python and the C library still hold."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # a full disk, a closed stream, none at all
            stream.flush()
    with suppress(OSError, TypeError, AttributeError):  # no C library that is found so
        ctypes.CDLL(None).fflush(None)


@contextmanager
def _redirected(targets: Mapping[int, int]) -> Iterator[None]:
    """Inside, each file descriptor that is open is a copy of its target."""
    flush()
    kept: dict[int, int] = {}
    for number in targets:
        with suppress(OSError):  # closed by whoever started us
            kept[number] = os.dup(number)
    try:
        for number in kept:
            os.dup2(targets[number], number)
        yield
    finally:
        flush()
        for number, copy in kept.items():
            os.dup2(copy, number)
            os.close(copy)
