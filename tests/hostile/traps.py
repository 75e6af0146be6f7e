"""What a stranger puts into files: objects that act when they are unpickled, modules that act when imported, zeros."""

from __future__ import annotations

import os
import pickle
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Trap:
    """Unpickled, it makes the folder `marker`."""

    marker: str

    def __reduce__(self) -> Any:
        return os.mkdir, (self.marker,)


def pickled(marker: Path) -> bytes:
    return pickle.dumps(Trap(str(marker)))


def module(marker: Path) -> str:
    """Source that makes the folder `marker` when it is imported."""
    return f"import os\nos.makedirs({str(marker)!r}, exist_ok=True)\n\ndef factory(**settings):\n    return None\n"


def is_armed(marker: Path) -> bool:
    """Whether the trap works at all; it is set again."""
    pickle.loads(pickled(marker))
    armed = marker.is_dir()
    marker.rmdir()
    return armed


def deflated_zeros(start: bytes, megabytes: int, wbits: int) -> bytes:
    """A stream of `start` and so many MB of zeros, at a thousandth of their size; `wbits` as zlib has them.

    The same deflated block over and over: to make it takes no longer than to write it.
    """
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    head = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + block * megabytes + packer.flush(zlib.Z_FINISH)
