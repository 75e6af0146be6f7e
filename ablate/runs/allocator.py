"""Keep freed memory for the next training step instead of giving it back. Knows nothing of models."""

from __future__ import annotations

import ctypes
import sys

# malloc.h of glibc; musl and macOS have no such options, and need none
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_MMAP_THRESHOLD = 32 * 1024 * 1024  # glibc refuses more
NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell glibc to keep what is freed, for the rest of the process; False where the C library is another.

    A training step frees its activations at its end. By default glibc returns them to the system, which hands the
    pages out again, zeroed, one fault each: 20,000 faults and 7 % of a step (measured, batch 384 on one thread).
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)) and bool(mallopt(M_TRIM_THRESHOLD, NEVER))
