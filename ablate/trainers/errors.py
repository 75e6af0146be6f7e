"""Why a run ends without having failed: it was asked to stop, or its place cannot be written. Knows no run."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

# Whoever writes, the place is at fault …
OF_THE_PLACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE})
# … and here only where the file is one of ours: a person's component may read a file that it must not.
OF_OUR_FILES = frozenset({errno.EACCES, errno.EPERM})
# safetensors (Rust) and pyarrow (C++) put the number into the text of exceptions of their own
IN_WORDS = re.compile(r"(?:os error|errno) (\d+)", re.IGNORECASE)

SAVE_STATE_S = 6.0  # that a run which was asked to stop has for it: 10 s after SIGTERM a cluster manager kills


class Stopped(Exception):
    """The run was asked to stop and did, at a safe point: the same run again continues there."""


class Unavailable(Exception):
    """The place a run writes to fails it (full, read-only, away), as `reason` says: not the run's own fault."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def unavailable(error: BaseException, places: Sequence[Path]) -> Unavailable | None:
    """The failure of the place behind `error`, its causes included; None where the run itself has failed.

    `places` are the folders the run writes to, the likeliest first.
    """
    for link in _chain(error):
        if isinstance(link, Unavailable):
            return link
        number, file = _number(link), getattr(link, "filename", None)
        ours = isinstance(file, str) and _within(Path(file), places)
        if number in OF_THE_PLACE or (number in OF_OUR_FILES and ours):
            return Unavailable(f"{os.strerror(number)}: {file or places[0]}")
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _number(error: BaseException) -> int:
    """The system's number for what went wrong; 0 for none."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    found = IN_WORDS.search(str(error))
    return int(found[1]) if found else 0


def _within(file: Path, places: Sequence[Path]) -> bool:
    return any(Path(os.path.abspath(file)).is_relative_to(os.path.abspath(place)) for place in places)
