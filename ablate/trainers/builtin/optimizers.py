"""The optimizer and the learning rates of a training: the loop's own, or those that the training settings name."""

from __future__ import annotations

import inspect
import io
import math
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import torch

from ablate.study import InputError, Problem, TrainingSettings, components

STEPS = ("steps", "steps_per_epoch")  # arguments that a schedule may take beside its settings


class Schedule(Protocol):
    """Sets the learning rates of an optimizer, as those in torch.optim.lr_scheduler do."""

    def step(self) -> None:
        """Called after every training step."""

    def state_dict(self) -> dict[str, Any]:
        """In types that `torch.load(weights_only=True)` reads."""

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def make_optimizer(parameters: Iterable[torch.nn.Parameter], settings: TrainingSettings) -> torch.optim.Optimizer:
    """AdamW, or what `training.optimizer` names, called with (parameters, **its settings).

    Raises InputError where that is no optimizer whose step needs no closure.
    """
    section = settings.optimizer
    if not section:
        return torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    optimizer = _factory(section, "optimizer")(parameters)
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise _error("optimizer", "its factory must make a torch.optim.Optimizer", type(optimizer).__name__)
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is closure.empty:
        raise _error("optimizer", "must do its step without a closure", type(optimizer).__name__)
    _check_state("optimizer", optimizer)
    return optimizer


def make_schedule(
    optimizer: torch.optim.Optimizer, settings: TrainingSettings, steps: int, steps_per_epoch: int
) -> Schedule:
    """Linear warm-up and cosine, or what `training.schedule` names, called with (optimizer, **its settings).

    A factory with an argument `steps` or `steps_per_epoch` gets the number of training steps in all or in an epoch.
    Raises InputError where that is no schedule.
    """
    section = settings.schedule
    if not section:
        return WarmupCosine(optimizer, steps, settings.warmup_fraction)
    numbers = dict(zip(STEPS, (steps, steps_per_epoch), strict=True))
    given = {n: number for n, number in numbers.items() if n not in section and _takes(section["factory"], n)}
    schedule = _factory(section, "schedule", also=tuple(given))(optimizer, **given)
    if isinstance(schedule, torch.optim.lr_scheduler.ReduceLROnPlateau):
        raise _error("schedule", "must depend on the step alone", "ReduceLROnPlateau")
    if missing := [name for name in ("step", "state_dict", "load_state_dict") if not hasattr(schedule, name)]:
        rule = f"its factory must make a learning-rate scheduler, with {', '.join(missing)}"
        raise _error("schedule", rule, type(schedule).__name__)
    _check_state("schedule", schedule)
    made: Schedule = schedule
    return made


class WarmupCosine:
    """Sets every learning rate to its first value times a linear warm-up, then a cosine to zero after the last step."""

    def __init__(self, optimizer: torch.optim.Optimizer, steps: int, warmup_fraction: float) -> None:
        self._optimizer, self._steps, self._warmup = optimizer, steps, warmup_fraction * steps
        self._peaks = [group["lr"] for group in optimizer.param_groups]
        self._step = 0
        self._set()

    def rate(self, peak: float, step: int) -> float:
        """Of a step (from 0)."""
        if step < self._warmup:
            return peak * (step + 1) / (self._warmup + 1)
        return peak * 0.5 * (1 + math.cos(math.pi * (step - self._warmup) / (self._steps - self._warmup)))

    def step(self) -> None:
        self._step += 1
        self._set()

    def _set(self) -> None:
        for group, peak in zip(self._optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = self.rate(peak, self._step)

    def state_dict(self) -> dict[str, Any]:
        return {"step": self._step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._step = state["step"]
        self._set()


def _check_state(name: str, made: Any) -> None:
    """Raise InputError where a checkpoint could not give back its state: nothing in one is executed."""
    buffer = io.BytesIO()
    try:
        torch.save(made.state_dict(), buffer)
        buffer.seek(0)
        torch.load(buffer, weights_only=True)
    except Exception as error:  # whatever an object's own pickling raises
        rule = "its state_dict() must hold tensors, numbers, text, lists and dicts alone: a run could not be resumed"
        raise _error(name, rule, type(made).__name__) from error


def _takes(factory: str, argument: str) -> bool:
    """Whether it has an argument of this name; one that takes any is given none."""
    parameters = components.parameters_of(components.load_component(factory, file="study", place="factory"))
    return parameters is not None and argument in parameters


def _factory(section: Mapping[str, Any], name: str, also: tuple[str, ...] = ()) -> Any:
    """The factory with its settings bound; its first argument is left to the caller."""
    place = f"settings.training.{name}"
    factory = components.load_component(section["factory"], file="study", place=f"{place}.factory")
    parameters = components.parameters_of(factory) or {}
    takes_any = any(p.kind is p.VAR_POSITIONAL for p in parameters.values())
    first = () if takes_any else tuple(parameters)[:1]
    return components.bind(section, place=place, file="study", also=(*first, *also))


def _error(name: str, rule: str, value: str) -> InputError:
    return InputError(Problem("study", f"settings.training.{name}", rule, value))
