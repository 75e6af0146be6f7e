"""Open a tar archive from anywhere for reading its members in place. Knows nothing of what is in it.

`tarfile` alone reads whatever length a header of long names announces, at once, and unpacks as far as it is sent.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import SEEK_SET
from pathlib import Path
from typing import IO, Any, cast

_UNPACKERS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x5d\x00\x00": lzma.open,
}


class _Bounded:
    """A stream that refuses a long read and a far place with ValueError."""

    def __init__(self, stream: IO[bytes], most_bytes: int, most_a_read: int) -> None:
        self._stream, self._most_bytes, self._most_a_read = stream, most_bytes, most_a_read

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= self._most_a_read:
            raise ValueError(f"a part of it announces {size:,} bytes")
        return self._stream.read(size)

    def seek(self, place: int, whence: int = SEEK_SET) -> int:
        if whence != SEEK_SET or place > self._most_bytes:
            raise ValueError(f"it announces more than {self._most_bytes:,} bytes")
        return self._stream.seek(place)

    def tell(self) -> int:
        return self._stream.tell()


@contextmanager
def opened(source: Path, *, most_bytes: int, most_a_read: int) -> Iterator[tarfile.TarFile]:
    """The archive (.tar, .tar.gz, .tar.bz2, .tar.xz). Damaged ones raise all kinds of exceptions, here and while read.

    `most_bytes`: how far into the unpacked archive anything may lie, headers included.
    """
    with source.open("rb") as file:
        start = file.read(6)
    unpacker = next((found for mark, found in _UNPACKERS.items() if start.startswith(mark)), open)
    with unpacker(source, "rb") as stream:
        # Headers take 512 bytes and up, a file of a member as much again.
        bounded = _Bounded(stream, 2 * most_bytes, most_a_read)
        with tarfile.open(fileobj=cast("IO[bytes]", bounded), mode="r:") as archive:
            yield archive
