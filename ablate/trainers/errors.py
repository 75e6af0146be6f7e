"""Why a run ends: it failed, it was asked to stop, or its folders cannot be written."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

# The storage is at fault, whichever file was being written.
STORAGE_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE})
# The storage is at fault only for a file in the run's own folders: a component may also try to read a forbidden file.
PERMISSION_ERRNOS = frozenset({errno.EACCES, errno.EPERM})
# safetensors (Rust) and pyarrow (C++) raise exceptions of their own with the errno in the message.
ERRNO_IN_MESSAGE = re.compile(r"(?:os error|errno) (\d+)", re.IGNORECASE)

SAVE_STATE_S = 6.0  # time a run has to save its state once asked to stop; cluster managers kill 10 s after SIGTERM


class RunFailed(Exception):
    """The run failed for a reason that its text tells in full."""


class Stopped(Exception):
    """The run was asked to stop and stopped at a safe point. Running it again continues from there."""


class Pruned(Exception):
    """The trial has ended by `tuning.pruner`: what it has reported is its result."""


class Unavailable(Exception):
    """The storage that a run writes to failed (full, read-only, not mounted), as `reason` says: the run did not."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def storage_failure(error: BaseException, folders: Sequence[Path]) -> Unavailable | None:
    """The storage failure that caused `error`, looking through its chain of causes; None where the run itself failed.

    `folders` are those the run writes to. The first one is named where the error names no file.
    """
    for cause in _chain(error):
        if isinstance(cause, Unavailable):
            return cause
        number, file = _errno(cause), getattr(cause, "filename", None)
        in_run_folder = isinstance(file, str) and _is_inside(Path(file), folders)
        if number in STORAGE_ERRNOS or (number in PERMISSION_ERRNOS and in_run_folder):
            return Unavailable(f"{os.strerror(number)}: {file or folders[0]}")
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _errno(error: BaseException) -> int:
    """The operating system's error number; 0 where there is none."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    match = ERRNO_IN_MESSAGE.search(str(error))
    return int(match[1]) if match else 0


def _is_inside(file: Path, folders: Sequence[Path]) -> bool:
    return any(Path(os.path.abspath(file)).is_relative_to(os.path.abspath(folder)) for folder in folders)
