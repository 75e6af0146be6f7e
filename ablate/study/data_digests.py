"""Digests of data files, cached: a file whose path, size, inode and times have not changed is not read again.

The cache has a small JSON file for each data file, in the user's cache folder. It is not in `mlruns`: planning must
not create that folder, may lack the right to write there, and it may come from somebody else. A missing or damaged
cache file only means that the data file is read again.
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

SMALL_BYTES = 1_000_000  # smaller files are not cached: reading them takes a millisecond
SETTLED_S = 2.0  # two changes within the time resolution of a file system get the same time
DIGEST = re.compile(r"[0-9a-f]{64}")


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def cached_digest(path: Path, *, rehash: bool = False) -> str:
    """`file_digest`, from the cache where path, size, inode and times of change are those of an earlier call.

    `rehash`: read the file in any case. The digest of a file that changed within the last two seconds is not cached.
    Processes may call this at the same time: each writes a cache file of its own and renames it.
    """
    path, now = path.resolve(), time.time()
    identity = _identity(path)
    cache_file = _cache_file(path) if identity["size"] >= SMALL_BYTES else None
    cached = None if rehash or cache_file is None else _read(cache_file, identity)
    if cached is not None:
        return cached
    digest = file_digest(path)
    settled = now - max(identity["mtime_ns"], identity["ctime_ns"]) / 1e9 >= SETTLED_S
    if cache_file is not None and settled and _identity(path) == identity:
        _write(cache_file, {**identity, "sha256": digest})
    return digest


def _identity(path: Path) -> dict[str, Any]:
    status = path.stat()
    times = {"mtime_ns": status.st_mtime_ns, "ctime_ns": status.st_ctime_ns}
    return {"path": str(path), "size": status.st_size, "inode": status.st_ino, **times}


def _cache_file(path: Path) -> Path | None:
    """The cache file of a data file; None for a user without a home folder."""
    try:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:32]
    return caches / "ablate" / "digests" / f"{name}.json"


def _read(cache_file: Path, identity: dict[str, Any]) -> str | None:
    with suppress(OSError, ValueError, RecursionError):  # ValueError: not JSON, not text
        entry = json.loads(cache_file.read_bytes()[:10_000])
        if isinstance(entry, dict) and all(entry.get(name) == value for name, value in identity.items()):
            digest = entry.get("sha256")
            return digest if isinstance(digest, str) and DIGEST.fullmatch(digest) else None
    return None


def _write(cache_file: Path, entry: dict[str, Any]) -> None:
    with suppress(OSError):  # a full or read-only disk: the data file is read again next time
        cache_file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=cache_file.parent, delete=False, encoding="utf-8") as file:
            try:
                json.dump(entry, file)
                file.close()
                os.replace(file.name, cache_file)
            except OSError:
                os.unlink(file.name)
                raise
