"""What a control does to a run: inputs shuffled or zeroed, random branches, a matched width. Knows no study or arm.

A control arrives as the plain table `RunSpec.settings["control"]`: `shuffle_input`, `drop_input`, `drop_joints` and
`freeze` are lists of names, `match_parameters` is {"by": dotted path, "of_model": the other arm's model section}.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ablate.study import InputError, Problem, components
from ablate.study.resolve import lookup, replace
from ablate.trainers.builtin.seeding import derive
from ablate.trainers.contract import Batch, Data, Split
from ablate.untrusted.wording import nearest, place

TOLERANCE = 0.01  # share of the other arm's parameters by which a matched arm may differ
WIDEST = 2**24  # a setting that has not reached the count by then never will


def controlled(data: Data, control: Mapping[str, Any]) -> Data:
    """`data` as this control shows it; `data` itself where the control leaves inputs alone.

    Raises InputError for names the data does not have.
    """
    names = {what: control.get(what, []) for what in ("shuffle_input", "drop_input", "drop_joints")}
    return Controlled(data, **names) if any(names.values()) else data


class Controlled:
    """A Data whose inputs are changed, in training and in evaluation alike. Targets stay as they are.

    In training a shuffled input comes from another example of the batch, drawn anew every time. In evaluation its
    donors are fixed and always another subject's, where the data has the target "subject"; else any other example.
    """

    def __init__(
        self, data: Data, *, shuffle_input: Sequence[str], drop_input: Sequence[str], drop_joints: Sequence[str]
    ) -> None:
        self.data, self.digest, self.train_size = data, data.digest, data.train_size
        # names are optional, and a person's data may call something else so
        inputs: Mapping[str, Any] = named if isinstance(named := getattr(data, "inputs", None), Mapping) else {}
        joints = list(listed) if isinstance(listed := getattr(data, "joints", None), Sequence) else []
        wanted = {"shuffle_input": shuffle_input, "drop_input": drop_input}
        problems = [p for what, names in wanted.items() for p in _unknown(what, names, inputs, "inputs")]
        problems += _unknown("drop_joints", drop_joints, joints, "joints")
        if problems:
            raise InputError(*problems)
        self._shuffled = [slice(*inputs[name]) for name in shuffle_input]
        self._dropped = [slice(*inputs[name]) for name in drop_input]
        self._joints = [joints.index(name) for name in drop_joints]

    def sample(self, index: Tensor, *, generator: torch.Generator) -> Batch:
        """Training examples; raises InputError where a batch of one leaves nobody to take an input from."""
        # a copy of the generator chooses donors, so that the data's own draws stay those of the arms without control
        copy = generator.clone_state()
        batch = self.data.sample(index, generator=generator)
        if not self._shuffled:
            return self._changed(batch, None)
        if len(batch.inputs) < 2:
            raise _problem("shuffle_input", "needs at least two examples in a batch", str(len(batch.inputs)))
        seed = int(torch.randint(2**62, (), generator=copy, device=generator.device))
        return self._changed(batch, derangement(len(batch.inputs), torch.Generator().manual_seed(seed)))

    def examples(self, split: Split) -> Batch:
        """The fixed examples. Raises InputError where a shuffled input has no other subject to come from."""
        batch = self.data.examples(split)
        if not self._shuffled:
            return self._changed(batch, None)
        generator = torch.Generator().manual_seed(derive(0, "donors", split))
        subject = batch.targets.get("subject")
        if subject is not None:
            return self._changed(batch, donors(subject.cpu(), generator, split))
        if len(batch.inputs) < 2:
            raise _problem("shuffle_input", f"needs at least two examples in {split!r}", str(len(batch.inputs)))
        return self._changed(batch, derangement(len(batch.inputs), generator))

    def _changed(self, batch: Batch, donor: Tensor | None) -> Batch:
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


def donors(subject: Tensor, generator: torch.Generator, split: str) -> Tensor:
    """For each example, one of another subject, all of them equally likely. `subject` (n,) → indices (n,) int64.

    Raises InputError where there is one subject only.
    """
    people, which, sizes = torch.unique(subject, return_inverse=True, return_counts=True)
    if len(people) < 2:
        raise _problem("shuffle_input", f"needs at least two subjects in {split!r}", str(len(people)))
    order = torch.argsort(which, stable=True)
    behind = sizes.cumsum(0)[which]  # first place after the subject's own examples, in the sorted order
    others = len(subject) - sizes[which]
    step = (torch.rand(len(subject), generator=generator, dtype=torch.float64) * others).long()
    return order[(behind + step) % len(subject)]


def freeze(model: torch.nn.Module, names: Sequence[str]) -> None:
    """Let the parameters of these submodules keep their random values, in place.

    They get no gradient, so the optimizer neither moves nor decays them. What a module keeps beside its parameters,
    such as the running statistics of a BatchNorm, may still follow the data. Raises InputError for unknown names,
    submodules without parameters, and where nothing is left to train.
    """
    modules = dict(model.named_modules())
    known = [name for name, module in modules.items() if name and any(True for _ in module.parameters())]
    problems = _unknown("freeze", names, known, "submodules with parameters")
    if problems:
        raise InputError(*problems)
    for name in names:
        modules[name].requires_grad_(False)
    if names and not any(p.requires_grad for p in model.parameters()):
        raise _problem("freeze", "leaves nothing to train", ", ".join(names))


def trained_parameters(model: torch.nn.Module) -> dict[str, float]:
    """`cost/parameters_trained`; empty where nothing is frozen."""
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return {} if all(p.requires_grad for p in model.parameters()) else {"cost/parameters_trained": float(trained)}


def matched(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The model section of resolved `settings`, with the width found where the control matches parameters.

    Raises InputError where no whole number brings the count within 1 % of the other arm's.
    """
    section: dict[str, Any] = settings["model"]
    match = settings.get("control", {}).get("match_parameters")
    if not match:
        return section
    return _with(section, match["by"], width(settings))


def width(settings: Mapping[str, Any]) -> int:
    """The whole number for `match_parameters.by` whose parameter count is nearest to the other arm's."""
    match = settings["control"]["match_parameters"]
    return _search(*(json.dumps(part, sort_keys=True) for part in (settings["model"], match["of_model"])), match["by"])


@functools.cache
def _search(section_json: str, of_json: str, by: str) -> int:
    """Double (or begin at 1) until the count is passed, then halve the interval: counts grow with the setting."""
    section, target = json.loads(section_json), parameters(json.loads(of_json))

    @functools.cache
    def count(value: int) -> int:
        try:
            return parameters(_with(section, by, value))
        except Exception as error:  # a person's constructor may raise anything
            reason = f"{by} = {value} makes no network: {error}"
            raise _problem("match_parameters", reason, hint="name a setting that takes every whole number") from error

    written: int = lookup({"model": section}, by)
    low = high = max(1, written)
    if count(high) > target:
        low = 1
    while count(high) < target and high < WIDEST:
        low, high = high, 2 * high
        if count(high) == count(low):
            raise _problem("match_parameters", f"{by} does not change the number of parameters", f"{count(low):,}")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) < target else (low, middle)
    best = min((low, high), key=lambda value: abs(count(value) - target))
    if abs(count(best) - target) > TOLERANCE * target:
        near = " and ".join(f"{count(value):,} at {value}" for value in dict.fromkeys((low, high)))
        rule = f"no {by} comes within {TOLERANCE:.0%} of {target:,} parameters"
        raise _problem("match_parameters", rule, hint=f"the nearest are {near}")
    return best


def parameters(section: Mapping[str, Any]) -> int:
    """Number of parameters of the model that this section makes; no random stream is moved."""
    make = components.bind(section, place="settings.model", file="match_parameters")
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):  # shapes without memory
                model = make()
        except Exception:  # a constructor that looks at its numbers needs real ones
            model = make()
    return sum(p.numel() for p in model.parameters())


def _with(section: Mapping[str, Any], by: str, value: int) -> dict[str, Any]:
    settings: dict[str, dict[str, Any]] = {"model": json.loads(json.dumps(section))}
    replace(settings, by, value)
    return settings["model"]


def _unknown(what: str, names: Sequence[str], known: Sequence[str] | Mapping[str, Any], noun: str) -> list[Problem]:
    rule = "is not among the data's" if noun in ("inputs", "joints") else "is not among the network's"
    rule = f"{rule} {noun}" if known else f"cannot be used: there are no named {noun}"
    return [Problem("settings", place("control", what), rule, n, nearest(n, known)) for n in names if n not in known]


def _problem(what: str, rule: str, value: str = "", hint: str = "") -> InputError:
    return InputError(Problem("settings", place("control", what), rule, value, hint))
