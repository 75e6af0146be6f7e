"""Named random streams from one seed: every draw of a run depends on (seed, purpose) alone, not on earlier draws."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ablate.study import RunSpec


def derive_seed(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose; different purposes give independent streams."""
    text = repr((seed, *purpose)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def root_seed(spec: RunSpec) -> int:
    """The seed of all streams of a run. Arms share it, so differences are paired; a replicate has its own."""
    return spec.seed if spec.replicate == 0 else derive_seed(spec.seed, "replicate", spec.replicate)


def seed_globals(seed: int, *purpose: str | int) -> None:
    """Seed the global generators of torch, NumPy and `random`, which components may draw from."""
    torch.manual_seed(derive_seed(seed, *purpose))
    np.random.seed(derive_seed(seed, "numpy", *purpose) % 2**32)  # NumPy takes at most 32 bits
    random.seed(derive_seed(seed, "random", *purpose))


def global_states() -> dict[str, Any]:
    """The states of NumPy's and `random`'s global generators, in types that `torch.load(weights_only=True)` reads."""
    _, words, *rest = np.random.get_state()
    version, numbers, gauss = random.getstate()
    return {
        "numpy": [torch.from_numpy(np.asarray(words, np.int64)), *rest],
        "random": [version, torch.tensor(numbers), gauss],
    }


def restore_globals(states: Mapping[str, Any]) -> None:
    """Set the generators to the states that `global_states()` gave."""
    words, *rest = states["numpy"]
    np.random.set_state(("MT19937", words.numpy().astype(np.uint32), *rest))
    version, numbers, gauss = states["random"]
    random.setstate((version, tuple(numbers.tolist()), gauss))
