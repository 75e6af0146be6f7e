"""Dropout with masks from random bytes. Knows no network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

LEVELS = 256  # values of a byte


class ByteDropout(nn.Module):
    """Dropout whose masks come from random bytes, eight to one 64-bit draw of torch's global generator.

    `bernoulli_` draws one value at a time and took 46 % of a plain bfloat16 step (measured). A byte can express
    keep probabilities of n/256 only; kept values are multiplied by exactly 256/n, so the mean is unchanged.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.dropped_levels = min(round(p * LEVELS), LEVELS - 1)

    @property
    def p(self) -> float:
        """The probability of a zero as used: a multiple of 1/256."""
        return self.dropped_levels / LEVELS

    @property
    def active(self) -> bool:
        """False in eval mode and where nothing is dropped."""
        return self.training and self.dropped_levels > 0

    def forward(self, x: Float[Tensor, " *shape"]) -> Float[Tensor, " *shape"]:
        """Same shape and dtype; the input itself unless `active`."""
        # The factor is no part of the mask: there it would be rounded, by 0.3 % in bfloat16.
        return x * self.mask(x.shape, x) * (1 / (1 - self.p)) if self.active else x

    def add(self, x: Float[Tensor, " *shape"], branch: Float[Tensor, " *shape"]) -> Float[Tensor, " *shape"]:
        """x + dropout(branch) in one pass."""
        if not self.active:
            return x + branch
        return torch.addcmul(x, branch, self.mask(branch.shape, branch), value=1 / (1 - self.p))

    def mask(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """A fresh mask of 0 and 1 with the dtype and device of `like`."""
        if like.device.type != "cpu":
            return (torch.rand(shape, device=like.device) >= self.p).to(like.dtype)
        size = torch.Size(shape).numel()
        words = torch.empty((size + 7) // 8, dtype=torch.int64)
        words.random_(-(2**63), None)  # without bounds the sign bit would stay 0
        levels = words.view(torch.uint8)[:size].view(shape)
        # 1 where level ≥ dropped_levels: a comparison with a scalar, or a bool, would cost ten times as much.
        keep = levels.clamp_(self.dropped_levels - 1, self.dropped_levels).sub_(self.dropped_levels - 1)
        return keep.to(like.dtype)

    def extra_repr(self) -> str:
        """Shown by print(model)."""
        return f"p={self.p}"


def random_mask(like: Tensor, dropped_levels: int) -> Tensor:
    size = like.numel()
    words = torch.empty((size + 7) // 8, dtype=torch.int64)
    words.random_(-(2**63), None)  # without bounds the sign bit would stay 0
    levels = words.view(torch.uint8)[:size].view(like.shape)
    return levels.clamp_(dropped_levels - 1, dropped_levels).sub_(dropped_levels - 1).to(like.dtype)
