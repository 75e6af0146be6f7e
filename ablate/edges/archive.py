"""Pack a folder into one .tar.xz and unpack it again. Knows nothing of what the files mean."""

from __future__ import annotations

import lzma
import tarfile
from pathlib import Path

from ablate.study import InputError, Problem

SUFFIX = ".tar.xz"
MOST_FILES = 100_000
MOST_BYTES = 20 * 2**30  # unpacked
MOST_RATIO = 1000  # of unpacked to packed bytes, above the first RATIO_FREE_BYTES; equal tables pack very well
RATIO_FREE_BYTES = 64 * 2**20


def pack(folder: Path, file: Path) -> None:
    """Write every file below `folder` into `file`; the same contents give the same bytes."""
    with tarfile.open(file, "w:xz", preset=9) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
            entry.size = path.stat().st_size
            with path.open("rb") as content:
                archive.addfile(entry, content)


def unpack(file: Path, folder: Path) -> None:
    """Unpack into `folder`.

    Raises InputError for an archive that is damaged, holds anything but plain files inside of `folder`, more than
    MOST_FILES of them, or more bytes than MOST_BYTES or MOST_RATIO allow.
    """
    left = min(MOST_BYTES, RATIO_FREE_BYTES + MOST_RATIO * file.stat().st_size)
    try:
        with tarfile.open(file, "r:xz") as archive:
            for number, entry in enumerate(archive):
                left -= entry.size
                if not entry.isfile() or number >= MOST_FILES or left < 0:
                    raise tarfile.TarError(f"{entry.name}: no plain file, or too much")
                archive.extract(entry, folder, filter="data")
    except (tarfile.TarError, lzma.LZMAError, EOFError, OSError, ValueError) as error:  # ValueError: a NUL in a name
        raise InputError(Problem(file.name, "", "cannot be unpacked", str(error)[:200])) from None
