"""A folder of results as bytes that travel between machines. Knows nothing of what the files mean."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath


def pack(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`, by relative path with "/" between the parts; links are left out."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def unpack(files: Mapping[str, bytes], folder: Path) -> Path:
    """Write what was packed into `folder`, which then holds nothing else. Returns `folder`.

    Raises ValueError, with nothing written, for a path that leaves the folder; OSError when it cannot be written.
    """
    for name in files:
        inside = PurePosixPath(name)
        if inside.is_absolute() or ".." in inside.parts or not inside.parts or "\\" in name or "\0" in name:
            raise ValueError(f"{name!r} is no path below a folder")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder
