"""Refuse a network that its weights cannot fill before it takes memory. Knows no architecture; reads no weight."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open

from ablate.study import InputError, Problem, components
from ablate.trainers.builtin.checkpoints import SETTINGS, WEIGHTS, read_settings

NUMBERS_A_LAYER = 12  # of a transformer, in squares of its width
MOST_RATIO = 400  # of a network's numbers to those in its file, that costs too little to ask


def check_size(folder: Path) -> None:
    """Raises InputError where the network that `model.json` describes has more numbers than the weights beside it.

    The network is made without memory. One whose constructor needs real numbers goes unchecked.
    """
    document = read_settings(folder)
    sizes = stored(folder / WEIGHTS)
    held = sum(sizes)
    if _modest(document["settings"], held, len(sizes)):
        return
    section = {**document["settings"], "factory": document["factory"]}
    make = components.bind(section, place="model", file=str(folder / SETTINGS))
    try:
        with torch.device("meta"), torch.random.fork_rng(devices=[]):
            wanted = sum(tensor.numel() for tensor in make().state_dict().values())
    except InputError:
        raise
    except Exception:  # a constructor that looks at its numbers: it is made for real, and then says what is wrong
        return
    if wanted > held:
        rule = "must hold the weights of the network in model.json"
        raise InputError(Problem(str(folder / WEIGHTS), "", rule, f"{held:,} numbers of {wanted:,}"))


def _modest(settings: object, held: int, tensors: int) -> bool:
    """Whether the network may be tried: of the two largest whole numbers, one is its width and one its depth at worst.

    To make one without memory, torch imports 800 modules first (measured: 1.1 s).
    """
    depth, width = sorted([1, 1, *_whole_numbers(settings)])[-2:]
    return NUMBERS_A_LAYER * width**2 * min(depth, tensors) <= MOST_RATIO * held


def _whole_numbers(value: object) -> Iterator[int]:
    if isinstance(value, int):
        yield abs(value)
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _whole_numbers(item)


def stored(path: Path) -> list[int]:
    """How many numbers each tensor in a file of weights has. Raises InputError when it is damaged or not there."""
    try:
        with safe_open(path, framework="pt") as file:
            return [math.prod(file.get_slice(name).get_shape()) for name in file.keys()]  # noqa: SIM118
    except FileNotFoundError:
        raise InputError(Problem(str(path.parent), path.name, "a model folder holds this file")) from None
    except Exception as error:  # safetensors raises its own types
        reason = " ".join(str(error).split())[:200]
        raise InputError(Problem(str(path), "", "must hold the weights of the network in model.json", reason)) from None
