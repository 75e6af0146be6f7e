"""Refuse a network that has more parameters than its weights file, before it takes memory. Reads no weight."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open

from ablate.study import InputError, Problem, components
from ablate.trainers.builtin.checkpoints import SETTINGS, WEIGHTS, read_settings

LAYER_PARAMETERS = 12  # of a transformer layer, times the square of its width
UNCHECKED_RATIO = 400  # of a network's estimated parameters to those in its file: up to here memory is no danger


def check_size(folder: Path) -> None:
    """Raises InputError where the network that `model.json` describes has more parameters than the weights beside it.

    The network is built on the meta device. One whose constructor fails there goes unchecked.
    """
    document = read_settings(folder)
    sizes = tensor_sizes(folder / WEIGHTS)
    stored = sum(sizes)
    if _is_small(document["settings"], stored, len(sizes)):
        return
    section = {**document["settings"], "factory": document["factory"]}
    make = components.bind(section, place="model", file=str(folder / SETTINGS))
    try:
        with torch.device("meta"), torch.random.fork_rng(devices=[]):
            needed = sum(tensor.numel() for tensor in make().state_dict().values())
    except InputError:
        raise
    except Exception:  # the constructor reads values: `load_model` builds it with real ones and reports errors
        return
    if needed > stored:
        rule = "must hold the weights of the network in model.json"
        raise InputError(Problem(str(folder / WEIGHTS), "", rule, f"{stored:,} numbers of {needed:,}"))


def _is_small(settings: object, stored: int, tensors: int) -> bool:
    """Whether the network is small enough to build unchecked, taking the two largest settings as depth and width.

    For the meta device torch first imports 800 modules (measured: 1.1 s).
    """
    depth, width = sorted([1, 1, *_whole_numbers(settings)])[-2:]
    return LAYER_PARAMETERS * width**2 * min(depth, tensors) <= UNCHECKED_RATIO * stored


def _whole_numbers(value: object) -> Iterator[int]:
    if isinstance(value, int):
        yield abs(value)
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _whole_numbers(item)


def tensor_sizes(path: Path) -> list[int]:
    """The number of elements of each tensor in a weights file. Raises InputError when it is damaged or missing."""
    try:
        with safe_open(path, framework="pt") as file:
            return [math.prod(file.get_slice(name).get_shape()) for name in file.keys()]  # noqa: SIM118
    except FileNotFoundError:
        raise InputError(Problem(str(path.parent), path.name, "a model folder holds this file")) from None
    except Exception as error:  # safetensors raises its own types
        reason = " ".join(str(error).split())[:200]
        raise InputError(Problem(str(path), "", "must hold the weights of the network in model.json", reason)) from None
