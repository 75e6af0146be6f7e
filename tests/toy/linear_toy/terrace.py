"""Terraces of three houses: data that names its inputs and houses, and a network with two branches."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ablate.trainers.contract import Batch, Split

HOUSES = ("left", "middle", "right")
STREETS = 8


class Terraces:
    """Inputs (batch, 3 houses, 3 channels: two of size, one of age); the price is that of the middle house."""

    def __init__(self, device: torch.device, count: int, streets: int, split_seed: int) -> None:
        generator = torch.Generator().manual_seed(7)
        inputs = torch.randn(count, 3, 3, generator=generator)
        street = torch.arange(count) % streets
        owner = torch.randperm(streets, generator=torch.Generator().manual_seed(split_seed))
        part = torch.tensor([0, 1, 2, 2])[owner * 4 // streets][street] if streets >= 4 else torch.arange(count) % 3
        self.inputs, self.joints = {"size": (0, 2), "age": (2, 3)}, HOUSES
        self.digest = f"terraces-{count}-{streets}"
        price = inputs[:, 1, 0] + inputs[:, 1, 1] - inputs[:, 1, 2]
        self.rows = [torch.nonzero(part == number).flatten() for number in range(3)]
        self.batch = Batch(inputs.to(device), {"price": price.to(device), "subject": street.to(device)})
        self.train_size = len(self.rows[2])

    def sample(self, index: Tensor, *, generator: torch.Generator) -> Batch:
        batch = self._take(self.rows[2][index])
        return batch._replace(inputs=batch.inputs + 0.01 * torch.randn(batch.inputs.shape, generator=generator))

    def examples(self, split: Split) -> Batch:
        return self._take(torch.arange(len(self.batch.inputs)) if split == "all" else self.rows[split == "test"])

    def _take(self, index: Tensor) -> Batch:
        return Batch(self.batch.inputs[index], {name: value[index] for name, value in self.batch.targets.items()})


def terraces(*, device: torch.device, count: int = 256, streets: int = STREETS, split_seed: int = 0) -> Terraces:
    return Terraces(device, count, streets, split_seed)


class TwoBranches(nn.Module):
    """One branch sees the sizes, the other everything; `width` is the hidden width of both."""

    def __init__(self, width: int = 8, sizes: bool = True, even: bool = False) -> None:
        super().__init__()
        if even and width % 2:
            raise ValueError(f"width must be even, got {width}")
        self.whole = nn.Sequential(nn.Linear(9, width), nn.ReLU())
        self.sizes = nn.Sequential(nn.Linear(6, width), nn.BatchNorm1d(width), nn.ReLU()) if sizes else None
        self.price = nn.Linear(width * (1 + sizes), 1)

    def forward(self, inputs: Tensor) -> Tensor:
        features = [self.whole(inputs.flatten(1))]
        if self.sizes is not None:
            features.append(self.sizes(inputs[..., :2].flatten(1)))
        price: Tensor = self.price(torch.cat(features, dim=1))
        return price.squeeze(-1)


class Stubborn(nn.Module):
    """Its parameters do not grow with `width`, and it looks at their numbers, which needs real ones."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.randn(2))
        self.scale = width * float(self.weights.detach().abs().max())

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.flatten(1)[:, :2] @ self.weights * self.scale


class Fitted(nn.Module):
    """The mean price, fitted to the batches of one epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def fit(self, batches: Iterable[Batch]) -> None:
        self.mean = torch.cat([batch.targets["price"] for batch in batches]).mean()

    def forward(self, inputs: Tensor) -> Tensor:
        return self.mean.expand(len(inputs))
