"""Read arrays from .npz archives of strangers: without unpickling, and within a limit of memory. Imports no torch.

`numpy.load` trusts the headers: 60 bytes that announce 10¹² strings of length 0 make it hang.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from numpy.lib import format as npy
from numpy.typing import NDArray

from ablate.untrusted.problems import InputError, Problem
from ablate.untrusted.wording import nearest_file

MAX_MEMBERS = 1000
PLAIN = "biufcSU"  # dtype kinds; not objects, fields or raw bytes
# numpy writes no others. One read of a bz2 or xz member can unpack gigabytes at once.
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}

Arrays = dict[str, NDArray[Any]]


class Archive:
    """An open .npz, from which arrays of at most `most_bytes` in all can be read."""

    def __init__(self, members: zipfile.ZipFile, most_bytes: int) -> None:
        self._zip, self._bytes_left = members, most_bytes
        self._members = {info.filename.removesuffix(".npy"): info for info in members.infolist()}

    @property
    def names(self) -> list[str]:
        return list(self._members)

    def read(self, name: str) -> NDArray[Any]:
        """One array. Raises ValueError when it is damaged, too large or not plain, KeyError when there is none."""
        info = self._members[name]
        if info.file_size > self._bytes_left:
            raise ValueError(f"arrays must have at most {self._bytes_left:,} bytes more; it has {info.file_size:,}")
        try:
            with self._zip.open(info) as stream:
                _check_header(stream, info)
            with self._zip.open(info) as stream:
                array: NDArray[Any] = npy.read_array(stream, allow_pickle=False)
        except ValueError:
            raise
        except Exception as error:  # for damaged members zipfile, zlib and numpy raise many types
            raise ValueError(str(error) or type(error).__name__) from error
        self._bytes_left -= info.file_size
        return array


@contextmanager
def open_npz(file: Path, *, most_bytes: int) -> Iterator[Archive]:
    """Open an archive. Raises InputError for a file that is no .npz archive."""
    if not file.is_file():
        if file.is_dir():
            raise InputError(Problem(str(file), "", "is a folder, not an .npz file"))
        raise InputError(Problem(str(file), "", "no such file", nearest=nearest_file(file)))
    try:
        if not zipfile.is_zipfile(file):
            raise InputError(
                Problem(str(file), "", "is not an .npz archive", nearest="write it with numpy.savez_compressed")
            )
        members = zipfile.ZipFile(file)
    except InputError:
        raise
    except Exception as error:  # as in `Archive.read`
        raise InputError(Problem(str(file), "", f"is damaged: {str(error)[:200]}")) from error
    with members:
        if len(members.infolist()) > MAX_MEMBERS:
            raise InputError(Problem(str(file), "", f"must have at most {MAX_MEMBERS} arrays"))
        if any(info.compress_type not in _COMPRESSIONS for info in members.infolist()):
            raise InputError(Problem(str(file), "", "must be compressed as numpy does: deflated, or not at all"))
        yield Archive(members, most_bytes)


def read_npz(file: Path, *, most_bytes: int) -> Arrays:
    """Every array of the archive. Raises InputError for all that cannot be read."""
    arrays: Arrays = {}
    problems = []
    with open_npz(file, most_bytes=most_bytes) as archive:
        for name in archive.names:
            try:
                arrays[name] = archive.read(name)
            except ValueError as error:
                problems.append(Problem(str(file), name[:100], f"cannot be read as a plain array: {error}"))
    if problems:
        raise InputError(*problems)
    return arrays


def array_names(file: Path) -> frozenset[str]:
    """Names of the arrays, without reading them; none for a file that is no archive."""
    try:
        with open_npz(file, most_bytes=0) as archive:
            return frozenset(archive.names)
    except InputError:
        return frozenset()


def _check_header(stream: IO[bytes], info: zipfile.ZipInfo) -> None:
    """Raises ValueError unless the header announces a plain array that the member has bytes for."""
    version = npy.read_magic(stream)
    if version not in _HEADERS:
        raise ValueError(f"is of version {version[0]}.{version[1]}, which plain arrays do not need")
    shape, _, dtype = _HEADERS[version](stream)
    if dtype.hasobject:
        raise ValueError("holds Python objects, which are never unpickled")
    if dtype.kind not in PLAIN or dtype.itemsize == 0:
        raise ValueError(f"must hold numbers or text, not {str(dtype)[:60]}")
    size = dtype.itemsize
    for length in shape:
        size *= length
    if min(shape, default=0) < 0 or size > info.file_size:
        raise ValueError(f"announces {size:,} bytes and has {info.file_size:,}")
