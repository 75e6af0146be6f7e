"""Apply a control to a run: shuffle or zero inputs, freeze submodules, match the width. Knows no study or arm.

A control is the plain table `RunSpec.settings["control"]`: `shuffle_input`, `drop_input`, `drop_joints` and
`freeze` are lists of names, `match_parameters` is {"by": dotted path, "of_model": the other arm's model section}; for
`match_compute`, see `compute`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ablate.study import InputError, Problem, components
from ablate.study.resolve import lookup
from ablate.trainers.builtin.seeding import derive_seed
from ablate.trainers.contract import Batch, Data, Split
from ablate.trainers.matching import match_error, matching_value, with_setting
from ablate.untrusted.wording import nearest, place


def controlled(data: Data, control: Mapping[str, Any]) -> Data:
    """`data` with the control's changes to its inputs; `data` itself where the control changes no inputs.

    Raises InputError for names the data does not have.
    """
    names = {key: control.get(key, []) for key in ("shuffle_input", "drop_input", "drop_joints")}
    return ControlledData(data, **names) if any(names.values()) else data


class ControlledData:
    """A Data whose inputs are changed, in training and in evaluation alike. Targets stay as they are.

    A shuffled input is taken from a donor, another example. In training donors are drawn from each batch anew. In
    evaluation they are fixed, and of another subject where the data has the target "subject".
    """

    def __init__(
        self, data: Data, *, shuffle_input: Sequence[str], drop_input: Sequence[str], drop_joints: Sequence[str]
    ) -> None:
        self.data, self.digest, self.train_size = data, data.digest, data.train_size
        # both attributes are optional; a data component may use these names for something else
        data_inputs, data_joints = getattr(data, "inputs", None), getattr(data, "joints", None)
        inputs: Mapping[str, Any] = data_inputs if isinstance(data_inputs, Mapping) else {}
        joints = list(data_joints) if isinstance(data_joints, Sequence) else []
        requested = {"shuffle_input": shuffle_input, "drop_input": drop_input}
        problems = [p for key, names in requested.items() for p in _unknown_names(key, names, inputs, "inputs")]
        problems += _unknown_names("drop_joints", drop_joints, joints, "joints")
        if problems:
            raise InputError(*problems)
        self._key = next(key for key in (*requested, "drop_joints") if {**requested, "drop_joints": drop_joints}[key])
        self._shuffled = [slice(*inputs[name]) for name in shuffle_input]
        self._dropped = [slice(*inputs[name]) for name in drop_input]
        self._joints = [joints.index(name) for name in drop_joints]

    def sample(self, index: Tensor, *, generator: torch.Generator) -> Batch:
        """Training examples. Raises InputError where an input is to be shuffled in a batch of one example."""
        # a copy of the generator draws the donors, so that the data's own draws are those of the arms without control
        copy = generator.clone_state()
        batch = self._one_tensor(self.data.sample(index, generator=generator))
        if not self._shuffled:
            return self._with_changes(batch, None)
        if len(batch.inputs) < 2:
            raise _input_error("shuffle_input", "needs at least two examples in a batch", str(len(batch.inputs)))
        seed = int(torch.randint(2**62, (), generator=copy, device=generator.device))
        return self._with_changes(batch, derangement(len(batch.inputs), torch.Generator().manual_seed(seed)))

    def examples(self, split: Split) -> Batch:
        """The fixed examples. Raises InputError where there is no other subject to take a shuffled input from."""
        batch = self._one_tensor(self.data.examples(split))
        if not self._shuffled:
            return self._with_changes(batch, None)
        generator = torch.Generator().manual_seed(derive_seed(0, "donors", split))
        subject = batch.targets.get("subject")
        if subject is not None:
            return self._with_changes(batch, draw_donors(subject.cpu(), generator, split))
        if len(batch.inputs) < 2:
            raise _input_error("shuffle_input", f"needs at least two examples in {split!r}", str(len(batch.inputs)))
        return self._with_changes(batch, derangement(len(batch.inputs), generator))

    def _one_tensor(self, batch: Batch) -> Batch:
        """The batch. Raises InputError where its inputs are no single tensor, so that names mean no channels of it."""
        if isinstance(batch.inputs, Tensor):
            return batch
        rule = "changes channels of inputs that are one tensor"
        hint = "give the data a setting that does this"
        raise _input_error(self._key, rule, f"a {type(batch.inputs).__name__}", hint)

    def _with_changes(self, batch: Batch, donor: Tensor | None) -> Batch:
        inputs = batch.inputs.clone()
        for channels in self._shuffled if donor is not None else ():
            inputs[..., channels] = batch.inputs[donor.to(inputs.device)][..., channels]  # type: ignore[union-attr]
        for channels in self._dropped:
            inputs[..., channels] = 0
        if self._joints:
            inputs[:, self._joints] = 0
        return batch._replace(inputs=inputs)


def derangement(size: int, generator: torch.Generator) -> Tensor:
    """For each of `size` ≥ 2 examples the index of another, each used once (one random cycle). Shape (size,), int64."""
    order = torch.randperm(size, generator=generator)
    donor = torch.empty_like(order)
    donor[order] = order.roll(1)
    return donor


def draw_donors(subject: Tensor, generator: torch.Generator, split: str) -> Tensor:
    """For each example, a random one of another subject, all equally likely. `subject` (n,) → indices (n,) int64.

    Raises InputError where there is only one subject.
    """
    subjects, subject_index, sizes = torch.unique(subject, return_inverse=True, return_counts=True)
    if len(subjects) < 2:
        raise _input_error("shuffle_input", f"needs at least two subjects in {split!r}", str(len(subjects)))
    order = torch.argsort(subject_index, stable=True)
    own_end = sizes.cumsum(0)[subject_index]  # position in `order` after the subject's own examples
    others = len(subject) - sizes[subject_index]
    step = (torch.rand(len(subject), generator=generator, dtype=torch.float64) * others).long()
    return order[(own_end + step) % len(subject)]


def freeze(model: torch.nn.Module, names: Sequence[str]) -> None:
    """Fix the parameters of these submodules at their random initial values, in place.

    They get no gradient, so the optimizer neither updates nor decays them. Buffers, such as the running statistics
    of a BatchNorm, are still updated. Raises InputError for unknown names, submodules without parameters, and where
    nothing is left to train.
    """
    modules = dict(model.named_modules())
    freezable = [name for name, module in modules.items() if name and any(True for _ in module.parameters())]
    problems = _unknown_names("freeze", names, freezable, "submodules with parameters")
    if problems:
        raise InputError(*problems)
    for name in names:
        modules[name].requires_grad_(False)
    if names and not any(p.requires_grad for p in model.parameters()):
        raise _input_error("freeze", "leaves nothing to train", ", ".join(names))


def trained_parameters(model: torch.nn.Module) -> dict[str, float]:
    """`cost/parameters_trained`; empty where nothing is frozen."""
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return {} if all(p.requires_grad for p in model.parameters()) else {"cost/parameters_trained": float(trained)}


def matched_model(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The model section of resolved `settings`; where the control matches parameters, with the matching value set.

    Raises InputError where no whole number brings the count within 1 % of the other arm's.
    """
    section: dict[str, Any] = settings["model"]
    match = settings.get("control", {}).get("match_parameters")
    if not match:
        return section
    return with_setting(section, match["by"], matched_value(settings))


def matched_value(settings: Mapping[str, Any]) -> int:
    """The whole number for `match_parameters.by` whose parameter count is nearest to the other arm's."""
    match = settings["control"]["match_parameters"]
    sections = (json.dumps(section, sort_keys=True) for section in (settings["model"], match["of_model"]))
    return _search(*sections, match["by"])


@functools.cache
def _search(section_json: str, other_section_json: str, by: str) -> int:
    target = parameter_count(json.loads(other_section_json))
    return search(json.loads(section_json), by, target, parameter_count, key="match_parameters", of="parameters")


def search(
    section: Mapping[str, Any], by: str, target: int, count_of: Callable[[Mapping[str, Any]], int], *, key: str, of: str
) -> int:
    """The value of `by` in the model section whose count comes nearest to `target`, see `matching_value`."""

    def count(value: int) -> int:
        try:
            return count_of(with_setting(section, by, value))
        except Exception as error:  # a component's constructor may raise anything
            rule, hint = f"{by} = {value} makes no network: {error}", "name a setting that takes every whole number"
            raise match_error(rule, hint=hint, key=key) from error

    value_in_file: int = lookup({"model": section}, by)
    return matching_value(count, target, value_in_file, by, key=key, of=of)


def parameter_count(section: Mapping[str, Any]) -> int:
    """Number of parameters of the model that this section builds. torch's random state stays as it was."""
    make = components.bind(section, place="settings.model", file="match_parameters")
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):  # shapes without memory
                model = make()
        except Exception:  # a constructor that reads values needs real ones
            model = make()
    return sum(p.numel() for p in model.parameters())


def _unknown_names(
    key: str, names: Sequence[str], valid: Sequence[str] | Mapping[str, Any], noun: str
) -> list[Problem]:
    rule = "is not among the data's" if noun in ("inputs", "joints") else "is not among the network's"
    rule = f"{rule} {noun}" if valid else f"cannot be used: there are no named {noun}"
    return [Problem("settings", place("control", key), rule, n, nearest(n, valid)) for n in names if n not in valid]


def _input_error(key: str, rule: str, value: str = "", hint: str = "") -> InputError:
    return InputError(Problem("settings", place("control", key), rule, value, hint))
