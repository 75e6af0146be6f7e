"""The global generators: each has a seed of its own, and its state is saved and restored."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from ablate.trainers.builtin.seeding import derive_seed, global_states, restore_globals, seed_globals


def draws() -> tuple[Any, ...]:
    """Normal draws too: the generators compute them in pairs and keep one for the next draw."""
    return random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn()


def test_seeds_fix_every_draw_and_torch_keeps_its_stream() -> None:
    seed_globals(1, "init")
    first, state = draws(), torch.get_rng_state()
    assert torch.equal(state, torch.manual_seed(derive_seed(1, "init")).get_state())
    seed_globals(1, "init")
    assert draws() == first
    seed_globals(2, "init")
    assert not set(draws()) & set(first)
    seed_globals(1, "noise", 0)
    assert not set(draws()) & set(first)


def test_states_are_restored_in_the_middle_of_a_stream() -> None:
    seed_globals(2**63 - 1, "init")
    draws()
    states = global_states()
    expected = [draws() for _ in range(3)]
    seed_globals(3, "init")
    restore_globals(states)
    assert [draws() for _ in range(3)] == expected
