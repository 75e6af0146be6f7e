"""Lines on the toy's houses that change their process, raise what no component should, draw from anywhere, or print."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys

import numpy as np
import torch
from torch import Tensor

from ablate.trainers.contract import Batch
from linear_toy.components import Houses, Line, SquaredError


class Odd(Line):
    """`oddity` says in which way."""

    def __init__(self, oddity: str = "", tag: int = 0) -> None:
        super().__init__(dropout=0.0)
        self.oddity = oddity
        if oddity == "process":
            torch.set_default_dtype(torch.float64)
            os.environ["LINEAR_TOY_ODD"] = "1"
            os.chdir("/")
        if oddity == "numpy":
            self.linear.weight.data = torch.tensor(np.random.randn(1, 2), dtype=torch.float32)
        if oddity == "random":
            self.linear.weight.data = torch.tensor([[random.random(), random.random()]])
        if oddity == "print":
            say("building")

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training and self.oddity == "cancelled":
            raise asyncio.CancelledError("deadline")
        if self.training and self.oddity == "interrupt":
            raise KeyboardInterrupt("of its own")
        if self.training and self.oddity == "generator":
            raise GeneratorExit("over")
        if self.training and self.oddity == "print":
            say("training")
        return super().forward(inputs.to(self.linear.weight.dtype))


def say(what: str) -> None:
    """On stdout, from Python, from a child process and past Python's own buffers."""
    print(f"{what} in Python")
    subprocess.run([sys.executable, "-S", "-c", f"print('{what} in a child')"], check=True)
    os.write(1, f"{what} by its number\n".encode())


def broken(how: str) -> Odd:
    """Raises while it is built what is no Exception."""
    raise {"cancelled": asyncio.CancelledError, "interrupt": KeyboardInterrupt, "exit": SystemExit}[how](
        f"{how} it was"
    )


class Drawing(Houses):
    """Every example is moved by draws from the global generators of NumPy and `random`."""

    def sample(self, index: Tensor, *, generator: torch.Generator) -> Batch:
        batch = super().sample(index, generator=generator)
        return Batch(batch.inputs + 0.1 * np.random.randn() + 0.1 * random.gauss(0, 1), batch.targets)


def drawing(*, device: torch.device, count: int = 128) -> Drawing:
    return Drawing(torch.from_numpy(np.random.default_rng(0).normal(size=(count, 3))).float(), 0.2, 0, device)


class DrawingLoss(SquaredError):
    def __call__(self, output: Tensor, targets: dict[str, Tensor]) -> Tensor:  # type: ignore[override]
        return super().__call__(output, targets) * (1 + 0.1 * random.random() + 0.1 * float(np.random.rand()))


def drawing_loss() -> DrawingLoss:
    return DrawingLoss(1.0)
