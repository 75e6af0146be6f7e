"""Count and save a network that a function has trained, as the built-in loop does for its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ablate.trainers.builtin import controls, cost
from ablate.trainers.builtin.checkpoints import inputs_shape, save_loadable_model
from ablate.trainers.builtin.seeding import global_states, restore_globals
from ablate.trainers.errors import RunFailed
from ablate.trainers.provenance import UNLOADABLE
from ablate.untrusted.wording import shown


def measure(
    network: Any, inputs: Any, section: Mapping[str, Any] | None, folder: Path | None
) -> tuple[dict[str, float], dict[str, str]]:
    """Costs by name, and facts for the provenance: why FLOPs are not counted, or the network is not saved.

    The network is saved to `folder`, from where `section` builds it again. Random generators, training mode and
    gradients are left as they are. Raises RunFailed for what is no network.
    """
    if not isinstance(network, torch.nn.Module):
        raise RunFailed(f"run.model: needs a torch.nn.Module, not {type(network).__name__}")
    if section is not None and not isinstance(section.get("factory"), str):
        raise RunFailed(f'run.model: made_by needs a factory, "module:attribute", not {shown(section.get("factory"))}')
    states, modes = global_states(), {module: module.training for module in network.modules()}
    facts: dict[str, str] = {}
    try:
        with torch.random.fork_rng():
            try:
                counts = cost.count(network, inputs)
            except Exception as error:  # the inputs may be anything; the parameters are known all the same
                counts = {"cost/parameters": float(sum(p.numel() for p in network.parameters()))}
                facts["flops"] = f"FLOPs are not counted: {type(error).__name__}: {error}"
            if folder is not None and section is not None:
                unloadable = save_loadable_model(network, section, inputs_shape(inputs), folder)
                facts |= {UNLOADABLE: unloadable} if unloadable else {}
    finally:
        restore_globals(states)
        for module, mode in modes.items():
            module.training = mode
    return counts | controls.trained_parameters(network), facts
