"""Data, models and loss of the toy: a price is 2·size − age + 0.5·garden + noise, and an arm may not see the garden."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ablate.trainers.builtin import loop
from ablate.trainers.contract import Batch, Split

loop.CHECKPOINT_SECONDS = 0.0  # a toy epoch takes no time: the tests of resuming want a checkpoint after each
DELAY_S = float(os.environ.get("LINEAR_TOY_DELAY_S", "0"))  # before each step, so that a test can interrupt a run


class Houses:
    """Half of the houses train, a quarter each validates and tests. Every sample adds fresh noise to the inputs."""

    def __init__(self, inputs: Tensor, noise: float, seed: int, device: torch.device) -> None:
        self.digest = hashlib.sha256(inputs.numpy().tobytes()).hexdigest()
        self.train_size = len(inputs) // 2
        generator = torch.Generator().manual_seed(seed)
        price = inputs @ torch.tensor([2.0, -1.0, 0.5]) + noise * torch.randn(len(inputs), generator=generator)
        self.inputs, self.price, self.noise = inputs.to(device), price.to(device), noise

    def sample(self, index: Tensor, *, generator: torch.Generator) -> Batch:
        if torch.is_grad_enabled():
            time.sleep(DELAY_S)
        batch = self._batch(index)
        jitter = torch.randn(batch.inputs.shape, generator=generator, device=batch.inputs.device)
        return Batch(batch.inputs + 0.1 * self.noise * jitter, batch.targets)

    def examples(self, split: Split) -> Batch:
        half, end = self.train_size, len(self.inputs)
        middle = half + (end - half) // 2
        start, stop = {"val": (half, middle), "test": (middle, end), "all": (0, end)}[split]
        return self._batch(torch.arange(start, stop))

    def _batch(self, index: Tensor) -> Batch:
        inputs = self.inputs[index]
        return Batch(inputs, {"price": self.price[index], "size": inputs[:, 0]})


def houses(
    *, device: torch.device, count: int = 512, noise: float = 0.2, seed: int = 0, file: Path | None = None
) -> Houses:
    """Drawn from `seed`, or the array "houses" (n, 3) of an npz file."""
    if noise < 0:
        raise ValueError(f"noise must not be negative, got {noise}")
    if file is None:
        return Houses(torch.randn(count, 3, generator=torch.Generator().manual_seed(seed)), noise, seed, device)
    with np.load(file, allow_pickle=False) as arrays:
        return Houses(torch.as_tensor(arrays["houses"], dtype=torch.float32), noise, seed, device)


class Line(nn.Module):
    """A linear layer on the first columns; dropout so that a run draws random numbers of its own."""

    def __init__(self, columns: int = 2, dropout: float = 0.1) -> None:
        super().__init__()
        if not 1 <= columns <= 3:
            raise ValueError(f"columns must be 1, 2 or 3, got {columns}")
        self.columns = columns
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(columns, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        prediction: Tensor = self.linear(self.dropout(inputs[:, : self.columns]))
        return prediction.squeeze(-1)

    def parameter_counts(self) -> dict[str, int]:
        return {"weights": self.linear.weight.numel()}


class MeanPrice(nn.Module):
    """A yardstick without gradients: the mean price of the training houses."""

    price: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("price", torch.zeros(()))

    def fit(self, batches: Iterable[Batch]) -> None:
        self.price = torch.cat([batch.targets["price"] for batch in batches]).mean()

    def forward(self, inputs: Tensor) -> Tensor:
        return self.price.expand(len(inputs))


class Fragile(Line):
    """Ends badly in training, in the way asked for."""

    def __init__(self, end: str) -> None:
        super().__init__()
        self.end = end

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training and self.end == "raise":
            raise RuntimeError("the roof fell in")
        if self.training and self.end == "exit":
            raise SystemExit("the owner left")
        return super().forward(inputs)


def squared(scale: float = 1.0) -> SquaredError:
    if scale <= 0:
        raise ValueError(f"scale must be positive, got {scale}")
    return SquaredError(scale)


class SquaredError:
    def __init__(self, scale: float) -> None:
        self.scale = scale

    def __call__(self, output: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        return self.scale * (output - targets["price"]).square().mean()
