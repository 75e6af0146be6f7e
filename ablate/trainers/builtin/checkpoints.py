"""Weights and resume checkpoints on disk: written whole or not at all, read without executing anything."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save

from ablate.study import InputError, Problem, components
from ablate.trainers.atomic_write import write_whole
from ablate.untrusted.wording import shown

WEIGHTS, SETTINGS = "weights.safetensors", "model.json"
UNLOADABLE = "model"  # fact of a run's provenance: why it kept no network, where what it saved cannot be loaded
MAX_SETTINGS_BYTES = 200_000  # of model.json; more is cut off and then no JSON
MAGIC, DIGEST_SIZE = b"ablate checkpoint 1\n", hashlib.sha256().digest_size


def save_model(model: torch.nn.Module, section: Mapping[str, Any], inputs_shape: list[int], folder: Path) -> None:
    """Write `folder/weights.safetensors` and `folder/model.json`: the section that makes the model, its input shape.

    `inputs_shape` is that of one example, without the batch dimension.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = {key: value for key, value in section.items() if key != "factory"}
    document = {"factory": section["factory"], "settings": settings, "inputs_shape": inputs_shape}
    tensors = {name: tensor.detach().contiguous().cpu().clone() for name, tensor in model.state_dict().items()}
    (folder / WEIGHTS).write_bytes(save(tensors))  # save_file() hides the system's error in one of its own
    (folder / SETTINGS).write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def keep_model(model: torch.nn.Module, section: Mapping[str, Any], inputs_shape: list[int], folder: Path) -> str:
    """Save the model as `save_model` does and load it again. Gives the reason where that fails; nothing is then kept.

    A buffer made by `expand`, or one that is None until the first batch, is saved and cannot be loaded. Building the
    network anew draws random numbers. Raises OSError where the folder cannot be written.
    """
    try:
        save_model(model, section, inputs_shape, folder)
        load_model(folder)
    except OSError:
        raise
    except Exception as error:  # a person's network may raise anything; its scores are there all the same
        shutil.rmtree(folder, ignore_errors=True)
        problem = error.problems[0] if isinstance(error, InputError) else None
        said = f"{problem.rule}: {problem.value}" if problem else f"{type(error).__name__}: {error}"
        return " ".join(f"the saved network cannot be loaded again: {said}".split())[:400]
    return ""


def read_settings(folder: Path) -> dict[str, Any]:
    """`model.json` of a model folder. Raises InputError when it is missing, not JSON or incomplete."""
    path = folder / SETTINGS
    try:
        with path.open("rb") as stream:
            document = json.loads(stream.read(MAX_SETTINGS_BYTES).decode("utf-8"))
    except FileNotFoundError:
        problem = Problem(str(folder), SETTINGS, "a model folder holds this file", nearest=f"and {WEIGHTS} beside it")
        raise InputError(problem) from None
    except (OSError, ValueError, RecursionError) as error:  # ValueError: no JSON, no UTF-8, a number without end
        raise InputError(Problem(str(path), "", "must be readable JSON", str(error)[:80])) from None
    wanted = {"factory": str, "settings": dict, "inputs_shape": list}
    if not isinstance(document, dict) or any(not isinstance(document.get(k), t) for k, t in wanted.items()):
        raise InputError(Problem(str(path), "", f"must hold {', '.join(wanted)}", shown(document)))
    if "factory" in document["settings"]:  # it would name another factory than the one that is shown
        problem = Problem(str(path), "settings.factory", "must not stand among the settings")
        raise InputError(problem._replace(value=shown(document["settings"]["factory"])))
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
    """The state of one run in flight and the one before it: a kill or a damaged file costs one of the two.

    A file holds MAGIC, the SHA-256 of the rest, and the rest as `torch.save` writes it.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.previous = path, path.with_suffix(".previous")
        self.damage = ""  # what the last `load` found wrong, for people

    def save(self, state: Mapping[str, Any]) -> None:
        """Raises OSError where the place cannot be written; what was saved before stays as it was."""
        # in memory first: a full disk is then the system's own error, not one of torch's without a number
        written = io.BytesIO()
        torch.save(dict(state), written)
        payload = written.getbuffer()
        write_whole(self.path, [MAGIC, hashlib.sha256(payload).digest(), payload], previous=self.previous)

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """The last state saved whole, or None where there is none (the run then starts anew); see `damage`."""
        found, state = list[str](), None
        for path in (self.path, self.previous):
            try:
                state = _read_state(path, device)
                break
            except FileNotFoundError:
                continue
            except Exception as error:  # a damaged file costs time, not the study
                found.append(f"damaged checkpoint {path.name} ({' '.join(str(error).split())[:200]})")
                if not isinstance(error, OSError):  # else the next save would make it the one before
                    path.unlink(missing_ok=True)
        outcome = "the run starts anew" if state is None else "the one before was used"
        self.damage = "; ".join([*found, outcome]) if found else ""
        return state

    def delete(self) -> None:
        for path in (self.path, self.previous):
            path.unlink(missing_ok=True)


def _read_state(path: Path, device: torch.device) -> dict[str, Any]:
    content = memoryview(path.read_bytes())
    head, payload = len(MAGIC), content[len(MAGIC) + DIGEST_SIZE :]
    if content[:head] != MAGIC:
        raise ValueError("it does not begin as a checkpoint does")
    if content[head : head + DIGEST_SIZE] != hashlib.sha256(payload).digest():
        raise ValueError("its checksum does not match")
    state: dict[str, Any] = torch.load(io.BytesIO(payload), map_location=device, weights_only=True)
    return state
