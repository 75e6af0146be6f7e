"""Named random streams from one seed: every draw of a run is fixed by (seed, purpose), whatever came before."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ablate.study import RunSpec


def derive(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose; unrelated purposes give unrelated streams."""
    text = repr((seed, *purpose)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def stream(spec: RunSpec) -> int:
    """The root of a run's streams. Arms share it, so differences are paired; a deliberate twin has its own."""
    return spec.seed if spec.replicate == 0 else derive(spec.seed, "replicate", spec.replicate)


def seed_globals(seed: int, *purpose: str | int) -> None:
    """Seed the global generators that components may draw from: those of torch, NumPy and `random`."""
    torch.manual_seed(derive(seed, *purpose))
    np.random.seed(derive(seed, "numpy", *purpose) % 2**32)  # it takes no more
    random.seed(derive(seed, "random", *purpose))


def global_states() -> dict[str, Any]:
    """The states of NumPy's and `random`'s global generators, in types that `torch.load(weights_only=True)` reads."""
    _, words, *rest = np.random.get_state()
    version, numbers, gauss = random.getstate()
    return {
        "numpy": [torch.from_numpy(np.asarray(words, np.int64)), *rest],
        "random": [version, torch.tensor(numbers), gauss],
    }


def restore_globals(states: Mapping[str, Any]) -> None:
    """Take over `global_states()`."""
    words, *rest = states["numpy"]
    np.random.set_state(("MT19937", words.numpy().astype(np.uint32), *rest))
    version, numbers, gauss = states["random"]
    random.setstate((version, tuple(numbers.tolist()), gauss))
