"""Weights and resume checkpoints on disk: written whole or not at all, read without executing anything."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from ablate.design import components
from ablate.study import InputError, Problem

WEIGHTS, SETTINGS = "weights.safetensors", "model.json"


def save_model(model: torch.nn.Module, section: Mapping[str, Any], inputs_shape: list[int], folder: Path) -> None:
    """Write `folder/weights.safetensors` and `folder/model.json`: the section that makes the model, its input shape.

    `inputs_shape` is that of one example, without the batch dimension.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = {key: value for key, value in section.items() if key != "factory"}
    document = {"factory": section["factory"], "settings": settings, "inputs_shape": inputs_shape}
    tensors = {name: tensor.detach().contiguous().cpu().clone() for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / WEIGHTS)
    (folder / SETTINGS).write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def read_settings(folder: Path) -> dict[str, Any]:
    """`model.json` of a model folder. Raises InputError when it is missing, not JSON or incomplete."""
    path = folder / SETTINGS
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        problem = Problem(str(folder), SETTINGS, "a model folder holds this file", nearest=f"and {WEIGHTS} beside it")
        raise InputError(problem) from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(Problem(str(path), "", "must be readable JSON", str(error))) from None
    wanted = {"factory": str, "settings": dict, "inputs_shape": list}
    if not isinstance(document, dict) or any(not isinstance(document.get(k), t) for k, t in wanted.items()):
        raise InputError(Problem(str(path), "", f"must hold {', '.join(wanted)}", str(document)[:80]))
    if "factory" in document["settings"]:  # it would name another factory than the one that is shown
        problem = Problem(str(path), "settings.factory", "must not stand among the settings")
        raise InputError(problem._replace(value=str(document["settings"]["factory"])[:80]))
    return document


def load_model(folder: Path) -> torch.nn.Module:
    """The saved model in eval mode, on the CPU. The factory named in `model.json` is imported: trust the folder.

    Raises InputError when a file is missing or damaged, or the weights do not fit the network.
    """
    document = read_settings(folder)
    section = {**document["settings"], "factory": document["factory"]}
    model: torch.nn.Module = components.bind(section, place="model", file=str(folder / SETTINGS))()
    load_weights(model, folder)
    return model.eval()


def load_weights(model: torch.nn.Module, folder: Path) -> None:
    """Fill `model` with the weights in a model folder. Raises InputError when they are missing or do not fit."""
    path = folder / WEIGHTS
    try:
        model.load_state_dict(load_file(path))
    except FileNotFoundError:
        raise InputError(Problem(str(folder), WEIGHTS, "a model folder holds this file")) from None
    except Exception as error:  # safetensors raises its own types; torch a RuntimeError that lists every key
        reason = " ".join(str(error).split())[:200]
        raise InputError(Problem(str(path), "", "must hold the weights of the network in model.json", reason)) from None


class ResumeCheckpoint:
    """The state of one run in flight: a file replaced atomically, so a kill leaves the last whole one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def save(self, state: Mapping[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        torch.save(dict(state), partial)
        os.replace(partial, self.path)

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """The last saved state, or None when there is none or it cannot be read (the run then starts anew)."""
        if not self.path.is_file():
            return None
        try:
            state: dict[str, Any] = torch.load(self.path, map_location=device, weights_only=True)
        except Exception:  # a damaged file costs time, not the study
            return None
        return state

    def delete(self) -> None:
        self.path.unlink(missing_ok=True)
