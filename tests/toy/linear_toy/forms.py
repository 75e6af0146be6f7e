"""Data and lines whose inputs and outputs come in other forms than one tensor, an optimizer and a schedule."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from ablate.trainers.contract import Batch, Split
from linear_toy.components import squared as squared
from linear_toy.terrace import Terraces

ROOMS = 5  # kinds of a room, as tokens


class House(NamedTuple):
    rooms: Tensor
    size: Tensor


class Homes:
    """Homes of four rooms, int64, and a size, float32: the price is the sum of their kinds and the size."""

    def __init__(self, form: str, count: int, device: torch.device) -> None:
        generator = torch.Generator().manual_seed(3)
        rooms = torch.randint(ROOMS, (count, 4), generator=generator).to(device)
        size = torch.randn(count, 1, generator=generator).to(device)
        self.inputs: Any = {
            "tokens": rooms,
            "dict": {"rooms": rooms, "more": {"size": size}},
            "tuple": (rooms, size),
            "list": [rooms, size],
            "named": House(rooms, size),
        }[form]
        self.price = rooms.sum(1) + (0 if form == "tokens" else size[:, 0])
        self.digest, self.train_size = f"homes-{form}-{count}", count // 2

    def sample(self, index: Tensor, *, generator: torch.Generator) -> Batch:
        return self._batch(index)

    def examples(self, split: Split) -> Batch:
        half, end = self.train_size, len(self.price)
        start, stop = {"val": (half, half + half // 2), "test": (half + half // 2, end), "all": (0, end)}[split]
        return self._batch(torch.arange(start, stop))

    def _batch(self, index: Tensor) -> Batch:
        return Batch(_rows(self.inputs, index), {"price": self.price[index].float()})


def _rows(inputs: Any, index: Tensor) -> Any:
    if isinstance(inputs, dict):
        return {name: _rows(value, index) for name, value in inputs.items()}
    if isinstance(inputs, House):
        return House(*(value[index] for value in inputs))
    return type(inputs)(value[index] for value in inputs) if isinstance(inputs, tuple | list) else inputs[index]


def homes(*, device: torch.device, form: str = "dict", count: int = 64) -> Homes:
    return Homes(form, count, device)


class Pairs(Homes):
    """Gives what a torch Dataset gives, a plain pair: no Batch."""

    def examples(self, split: Split) -> Any:
        return tuple(super().examples(split))


def pairs(*, device: torch.device, form: str = "dict", count: int = 64) -> Pairs:
    return Pairs(form, count, device)


class Reader(nn.Module):
    """Embeds the rooms and adds the size. `output` says in what form it answers, `wrong` what is wrong with that."""

    def __init__(self, output: str = "tensor", wrong: str = "") -> None:
        super().__init__()
        self.output, self.wrong = output, wrong
        self.rooms, self.size = nn.Embedding(ROOMS, 1), nn.Linear(1, 1)

    def forward(self, inputs: Any) -> Any:
        if self.wrong == "raise":
            raise RuntimeError("the roof fell in")
        if isinstance(inputs, dict):
            rooms, size = inputs["rooms"], inputs["more"]["size"]
        elif isinstance(inputs, House):
            rooms, size = inputs.rooms, inputs.size
        else:
            rooms, size = (inputs, None) if isinstance(inputs, Tensor) else inputs
        price = self.rooms(rooms).sum((1, 2))
        if size is not None:
            price = price + self.size(size)[:, 0]
        odd = {"text": "cheap", "none": None, "single": price.mean(), "few": price[:1]}.get(self.wrong, rooms)
        return {"tensor": price, "tuple": (price, odd), "list": [price, odd], "dict": {"price": price, "odd": odd}}[
            self.output
        ]


def priced(output: Any) -> Any:
    return output["price"] if isinstance(output, dict) else output[0] if isinstance(output, tuple | list) else output


class Error:
    def __call__(self, output: Any, targets: Mapping[str, Tensor]) -> Tensor:
        return (priced(output) - targets["price"]).square().mean()


def error() -> Error:
    return Error()


class Weighted(nn.Module):
    """A loss with a weight to learn, or a frozen one."""

    def __init__(self, frozen: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()), requires_grad=not frozen)

    def forward(self, output: Any, targets: Mapping[str, Tensor]) -> Tensor:
        return self.weight * (priced(output) - targets["price"]).square().mean()


def momentum(parameters: Iterable[nn.Parameter], lr: float, mu: float = 0.9) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=lr, momentum=mu)


def halving(optimizer: torch.optim.Optimizer, steps_per_epoch: int) -> torch.optim.lr_scheduler.StepLR:
    """Half the rate after every epoch."""
    return torch.optim.lr_scheduler.StepLR(optimizer, step_size=steps_per_epoch, gamma=0.5)


SCHEDULES = {
    "lambda": lambda optimizer, steps: lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step)),
    "one cycle": lambda optimizer, steps: lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=steps),
    "sequential": lambda optimizer, steps: lr_scheduler.SequentialLR(
        optimizer,
        [lr_scheduler.LambdaLR(optimizer, lambda step: step / 2), lr_scheduler.CosineAnnealingLR(optimizer, steps)],
        milestones=[2],
    ),
    "chained": lambda optimizer, steps: lr_scheduler.ChainedScheduler(
        [lr_scheduler.ConstantLR(optimizer, 0.5, total_iters=5), lr_scheduler.ExponentialLR(optimizer, 0.9)]
    ),
}


def scheduled(optimizer: torch.optim.Optimizer, steps: int, kind: str) -> lr_scheduler.LRScheduler:
    """One of torch's schedulers."""
    return SCHEDULES[kind](optimizer, steps)


class Dated(lr_scheduler.ConstantLR):
    """Its state holds what `torch.load(weights_only=True)` does not read."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        super().__init__(optimizer)
        self.made = datetime.date(2026, 1, 1)


def no_optimizer(parameters: Iterator[nn.Parameter]) -> list[nn.Parameter]:
    return list(parameters)


class Unnamed(Terraces):
    """Terraces whose inputs are a dict: no names of channels can mean anything there."""

    def examples(self, split: Split) -> Batch:
        batch = super().examples(split)
        return Batch({"all": batch.inputs}, batch.targets)


def unnamed(*, device: torch.device) -> Unnamed:
    return Unnamed(device, 64, 8, 0)
