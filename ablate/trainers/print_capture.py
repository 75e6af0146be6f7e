"""Redirect what components print, their child processes and C code included."""

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
    """Send stdout to stderr: a command's stdout holds its answer alone."""
    # redirect_stdout: in a notebook sys.stdout does not write to descriptor 1
    with _redirected({STDOUT: STDERR}), redirect_stdout(sys.stderr):
        yield


@contextmanager
def to_file(path: Path) -> Iterator[None]:
    """Append stdout and stderr to a file. Raises OSError where it cannot be written."""
    with path.open("ab", buffering=0) as file, _redirected({STDOUT: file.fileno(), STDERR: file.fileno()}):
        yield


def flush() -> None:
    """Write out what Python and the C library have buffered."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # a full disk, a closed stream, no stream
            stream.flush()
    with suppress(OSError, TypeError, AttributeError):  # no C library is found this way
        ctypes.CDLL(None).fflush(None)


@contextmanager
def _redirected(targets: Mapping[int, int]) -> Iterator[None]:
    """Make each open file descriptor a copy of its target, and restore it afterwards."""
    flush()
    originals: dict[int, int] = {}
    for descriptor in targets:
        with suppress(OSError):  # the parent process closed it
            originals[descriptor] = os.dup(descriptor)
    try:
        for descriptor in originals:
            os.dup2(targets[descriptor], descriptor)
        yield
    finally:
        flush()
        for descriptor, original in originals.items():
            os.dup2(original, descriptor)
            os.close(original)
