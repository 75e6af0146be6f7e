"""Apply `control.match_compute` to a run's settings: as much compute in training as another arm.

What is matched is the number of FLOPs of one forward pass of one example, as `cost/flops` counts them, times the number
of epochs. The backward pass is about twice the forward pass in either network, so that the product is proportional to
the compute of the training where both see the same examples. Measured seconds are not matched: on a shared machine they
change from run to run by more than networks differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ablate.study import InputError, Problem, components
from ablate.trainers.builtin import cost, trees
from ablate.trainers.builtin.controls import search
from ablate.trainers.contract import Fits, Tree
from ablate.trainers.matching import with_setting
from ablate.untrusted.wording import place

KEY = "match_compute"
EPOCHS = "training.epochs"


def matched(settings: Mapping[str, Any], inputs: Tree) -> dict[str, Any]:
    """The resolved `settings` with the matching value of `match_compute.by`; unchanged where no control asks for it.

    `inputs`: any examples; the first is used. A number of epochs is rounded to a whole one, at least 1. Raises
    InputError where FLOPs are not known, and where no whole number brings them within 1 % of the other arm's.
    """
    match = settings.get("control", {}).get(KEY)
    if not match:
        return dict(settings)
    by, example = match["by"], trees.map_tensors(lambda tensor: tensor.cpu(), trees.rows(inputs, slice(1)))
    target = flops(match["of_model"], example)
    if by == EPOCHS:
        epochs = settings["training"]["epochs"] * target / flops(settings["model"], example)
        return {**settings, "training": {**settings["training"], "epochs": max(1, round(epochs))}}
    value = search(settings["model"], by, target, lambda section: flops(section, example), key=KEY, of="FLOPs")
    return {**settings, "model": with_setting(settings["model"], by, value)}


def flops(section: Mapping[str, Any], example: Tree) -> int:
    """FLOPs of one forward pass of `example` (1, …) through the network of this section. torch's random state stays.

    Raises InputError for a network that fits itself, and for one whose operations are not counted.
    """
    with torch.random.fork_rng(devices=[]):
        model = components.bind(section, place="settings.model", file=KEY)()
        if isinstance(model, Fits):
            rule = "cannot be known: the network fits itself, and how often it passes over its data is its own"
            raise InputError(Problem("settings", place("control", KEY), rule, "", "give its factory a budget"))
        found = int(cost.count(model, example)["cost/flops"])
    if not found:
        rule = "cannot be known: none of the network's operations are counted"
        raise InputError(Problem("settings", place("control", KEY), rule, "", "match_parameters takes any network"))
    return found
