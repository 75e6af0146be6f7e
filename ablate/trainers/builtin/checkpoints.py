"""Weights and resume checkpoints on disk: checkpoints are written atomically, nothing in a file is executed."""

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
from ablate.trainers.builtin import trees
from ablate.trainers.contract import Tree
from ablate.untrusted.wording import shown

WEIGHTS, SETTINGS = "weights.safetensors", "model.json"
MAX_SETTINGS_BYTES = 200_000  # of model.json; a longer file is cut off and then is not valid JSON
InputsShape = list[int] | dict[str, Any]
MAGIC, DIGEST_SIZE = b"ablate checkpoint 1\n", hashlib.sha256().digest_size


def inputs_shape(inputs: Tree) -> InputsShape:
    """What is saved of a network's inputs: of one float32 tensor the shape of an example, else the form of the tree."""
    if isinstance(inputs, torch.Tensor) and inputs.dtype is torch.float32:
        return list(inputs.shape[1:])
    return trees.form(inputs)


def inputs_form(document: Mapping[str, Any]) -> dict[str, Any]:
    """The form of the inputs (see `trees`) that `model.json` describes."""
    shape = document["inputs_shape"]
    return shape if isinstance(shape, dict) else {"shape": shape, "dtype": "float32"}


def save_model(model: torch.nn.Module, section: Mapping[str, Any], inputs_shape: InputsShape, folder: Path) -> None:
    """Write `folder/weights.safetensors` and `folder/model.json`: the model section and what `inputs_shape()` gives."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {key: value for key, value in section.items() if key != "factory"}
    document = {"factory": section["factory"], "settings": settings, "inputs_shape": inputs_shape}
    tensors = {name: tensor.detach().contiguous().cpu().clone() for name, tensor in model.state_dict().items()}
    (folder / WEIGHTS).write_bytes(save(tensors))  # save_file() would hide the OSError in an error of its own
    (folder / SETTINGS).write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def save_loadable_model(
    model: torch.nn.Module, section: Mapping[str, Any], inputs_shape: InputsShape, folder: Path
) -> str:
    """Save the model as `save_model` does and load it again. If that fails, delete `folder` and return the reason.

    For example a buffer made by `expand`, or one that is None until the first batch, can be saved but not loaded.
    Loading builds the network again, which draws random numbers. Raises OSError where the folder cannot be written.
    """
    try:
        save_model(model, section, inputs_shape, folder)
        load_model(folder)
    except OSError:
        raise
    except Exception as error:  # a component may raise anything; the run keeps its scores
        shutil.rmtree(folder, ignore_errors=True)
        problem = error.problems[0] if isinstance(error, InputError) else None
        reason = f"{problem.rule}: {problem.value}" if problem else f"{type(error).__name__}: {error}"
        return " ".join(f"the saved network cannot be loaded again: {reason}".split())[:400]
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
    except (OSError, ValueError, RecursionError) as error:  # ValueError: no JSON, no UTF-8, too many digits
        raise InputError(Problem(str(path), "", "must be readable JSON", str(error)[:80])) from None
    required: dict[str, tuple[type, ...]] = {"factory": (str,), "settings": (dict,), "inputs_shape": (list, dict)}
    if not isinstance(document, dict) or any(not isinstance(document.get(k), t) for k, t in required.items()):
        raise InputError(Problem(str(path), "", f"must hold {', '.join(required)}", shown(document)))
    if "factory" in document["settings"]:  # it would replace the factory that is shown
        problem = Problem(str(path), "settings.factory", "must not be among the settings")
        raise InputError(problem._replace(value=shown(document["settings"]["factory"])))
    return document


def load_model(folder: Path) -> torch.nn.Module:
    """The saved model in eval mode, on the CPU. It imports the factory that `model.json` names: trust the folder.

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
    """The last two saved states of a run that is not finished: if one is damaged, the other is left.

    A file holds MAGIC, the SHA-256 of the rest, and the rest as `torch.save` writes it.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.previous = path, path.with_suffix(".previous")
        self.damage = ""  # what was wrong with the files at the last `load`, in words

    def save(self, state: Mapping[str, Any]) -> None:
        """Raises OSError where the file cannot be written; what was saved before stays as it was."""
        # in memory first: on a full disk torch.save would raise an error without an errno
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        payload = buffer.getbuffer()
        write_whole(self.path, [MAGIC, hashlib.sha256(payload).digest(), payload], previous=self.previous)

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """The latest undamaged state, or None where there is none (the run then starts anew). Sets `damage`."""
        problems, state = list[str](), None
        for path in (self.path, self.previous):
            try:
                state = _read_state(path, device)
                break
            except FileNotFoundError:
                continue
            except Exception as error:  # a damaged file costs time, not the study
                problems.append(f"damaged checkpoint {path.name} ({' '.join(str(error).split())[:200]})")
                if not isinstance(error, OSError):  # or the next save would rename it to `previous`
                    path.unlink(missing_ok=True)
        outcome = "the run starts anew" if state is None else "the one before was used"
        self.damage = "; ".join([*problems, outcome]) if problems else ""
        return state

    def delete(self) -> None:
        for path in (self.path, self.previous):
            path.unlink(missing_ok=True)


def _read_state(path: Path, device: torch.device) -> dict[str, Any]:
    content = memoryview(path.read_bytes())
    payload_start = len(MAGIC) + DIGEST_SIZE
    payload = content[payload_start:]
    if content[: len(MAGIC)] != MAGIC:
        raise ValueError("it does not begin as a checkpoint does")
    if content[len(MAGIC) : payload_start] != hashlib.sha256(payload).digest():
        raise ValueError("its checksum does not match")
    state: dict[str, Any] = torch.load(io.BytesIO(payload), map_location=device, weights_only=True)
    return state
