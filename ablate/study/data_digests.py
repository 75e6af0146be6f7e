"""Digests of data files, worked out once for a content: what a file's status says is the same is not read again.

Remembered in the user's cache folder, a small file for each data file: not in `mlruns`, which planning must not
create, may not be allowed to write, and which may come from somebody else. Anything wrong there costs a reading.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

SMALL_BYTES = 1_000_000  # read in a millisecond: not worth a file
SETTLED_S = 2.0  # a file system may give two changes within its clock's step the same time
DIGEST = re.compile(r"[0-9a-f]{64}")


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def remembered(path: Path, *, rehash: bool = False) -> str:
    """The same, without reading the file where path, size, inode and times of change are those of an earlier call.

    `rehash`: read it all the same. A file changed within the last two seconds is not remembered. Two processes do not
    disturb each other: each writes a file whole and moves it into place.
    """
    path, now = path.resolve(), time.time()
    before = _identity(path)
    place = _place(path) if before["size"] >= SMALL_BYTES else None
    known = None if rehash or place is None else _read(place, before)
    if known is not None:
        return known
    digest = file_digest(path)
    settled = now - max(before["mtime_ns"], before["ctime_ns"]) / 1e9 >= SETTLED_S
    if place is not None and settled and _identity(path) == before:
        _write(place, {**before, "sha256": digest})
    return digest


def _identity(path: Path) -> dict[str, Any]:
    now = path.stat()
    times = {"mtime_ns": now.st_mtime_ns, "ctime_ns": now.st_ctime_ns}
    return {"path": str(path), "size": now.st_size, "inode": now.st_ino, **times}


def _place(path: Path) -> Path | None:
    """Where a file's digest is remembered; None for a user without a home."""
    try:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:32]
    return caches / "ablate" / "digests" / f"{name}.json"


def _read(place: Path, identity: dict[str, Any]) -> str | None:
    with suppress(OSError, ValueError, RecursionError):  # ValueError: no JSON, no text
        found = json.loads(place.read_bytes()[:10_000])
        if isinstance(found, dict) and all(found.get(name) == value for name, value in identity.items()):
            digest = found.get("sha256")
            return digest if isinstance(digest, str) and DIGEST.fullmatch(digest) else None
    return None


def _write(place: Path, entry: dict[str, Any]) -> None:
    with suppress(OSError):  # a full or read-only disk: the file is read again next time
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=place.parent, delete=False, encoding="utf-8") as file:
            try:
                json.dump(entry, file)
                file.close()
                os.replace(file.name, place)
            except OSError:
                os.unlink(file.name)
                raise
