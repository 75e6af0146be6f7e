"""Pack a folder into one .tar.xz and unpack it again. Knows nothing of what the files mean."""

from __future__ import annotations

import lzma
import tarfile
from pathlib import Path

from ablate.study import InputError, Problem

SUFFIX = ".tar.xz"


def pack(folder: Path, file: Path) -> None:
    """Write every file below `folder` into `file`; the same contents give the same bytes."""
    with tarfile.open(file, "w:xz", preset=9) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
            entry.size = path.stat().st_size
            with path.open("rb") as content:
                archive.addfile(entry, content)


def unpack(file: Path, folder: Path) -> None:
    """Unpack into `folder`. Raises InputError for a damaged archive, or one that reaches outside of `folder`."""
    try:
        with tarfile.open(file, "r:xz") as archive:
            archive.extractall(folder, filter="data")
    except (tarfile.TarError, lzma.LZMAError, EOFError, OSError) as error:
        raise InputError(Problem(file.name, "", "cannot be unpacked", str(error))) from None
