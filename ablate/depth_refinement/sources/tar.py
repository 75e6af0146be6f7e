"""Open a tar archive of any origin, with limits, to read its members without unpacking it to disk.

`tarfile` itself has no limits: it reads as many bytes at once as a header of long names declares, and decompresses as
far as a seek goes.
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
    """A stream that raises ValueError for a read that is too long or a seek that is too far."""

    def __init__(self, stream: IO[bytes], most_bytes: int, most_a_read: int) -> None:
        self._stream, self._most_bytes, self._most_a_read = stream, most_bytes, most_a_read

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= self._most_a_read:
            raise ValueError(f"a part of it announces {size:,} bytes")
        return self._stream.read(size)

    def seek(self, position: int, whence: int = SEEK_SET) -> int:
        if whence != SEEK_SET or position > self._most_bytes:
            raise ValueError(f"it announces more than {self._most_bytes:,} bytes")
        return self._stream.seek(position)

    def tell(self) -> int:
        return self._stream.tell()


@contextmanager
def opened(source: Path, *, most_bytes: int, most_a_read: int) -> Iterator[tarfile.TarFile]:
    """The archive (.tar, .tar.gz, .tar.bz2, .tar.xz). A damaged one raises many kinds of exceptions, even while read.

    `most_bytes`: the largest position in the unpacked archive, headers included.
    """
    with source.open("rb") as file:
        start = file.read(6)
    unpacker = next((function for mark, function in _UNPACKERS.items() if start.startswith(mark)), open)
    with unpacker(source, "rb") as stream:
        # Twice: a member takes a header of at least 512 bytes, and its content is padded to a multiple of 512.
        bounded = _Bounded(stream, 2 * most_bytes, most_a_read)
        with tarfile.open(fileobj=cast("IO[bytes]", bounded), mode="r:") as archive:
            yield archive
