"""Named random streams from one seed: every draw of a run is fixed by (seed, purpose), whatever came before."""

from __future__ import annotations

import hashlib

from ablate.study import RunSpec


def derive(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose; unrelated purposes give unrelated streams."""
    text = repr((seed, *purpose)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def stream(spec: RunSpec) -> int:
    """The root of a run's streams. Arms share it, so differences are paired; a deliberate twin has its own."""
    return spec.seed if spec.replicate == 0 else derive(spec.seed, "replicate", spec.replicate)
