"""Self-attention over a small number of tokens, optimised for the CPU. Independent of poses and angles."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ablate.depth_refinement.dropout import ByteDropout

# exp(±60), its sums and reciprocals are well inside the range of bfloat16 and float32; a softmax is saturated long
# before its scores are that large.
LARGEST_SCORE = 60.0


class SelfAttention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017) in which every token attends to every token.

    On CUDA it uses `scaled_dot_product_attention`. On the CPU it uses two `bmm` over (batch · heads, tokens, d_head):
    at 17 tokens in bfloat16 that makes the whole step four times faster (measured). Training on the CPU uses
    `TrainedAttention`.
    """

    def __init__(self, d_model: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        # No bias: the shift of the preceding LayerNorm acts as one, and a bias here would cost two passes over memory.
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False)
        self.out = nn.Linear(d_model, d_model)
        self.dropout = ByteDropout(dropout)

    def forward(self, x: Float[Tensor, "batch tokens d_model"]) -> Float[Tensor, "batch tokens d_model"]:
        """Mixes information between tokens; same shape."""
        qkv = self.qkv(x)
        if x.is_cuda:
            mixed = self.by_sdpa(qkv)
        elif self.training and qkv.dtype != torch.float16:  # in float16, exp overflows above 11
            mixed = self.by_trained_attention(qkv)
        else:
            mixed = self.by_bmm(qkv)
        joined: Tensor = self.out(mixed)
        return joined

    def by_sdpa(self, qkv: Tensor) -> Tensor:
        q, k, v = split_heads(qkv, 3, self.num_heads).unbind(0)
        dropout = 1 - self.dropout.keep if self.training else 0.0
        return join_heads(F.scaled_dot_product_attention(q, k, v, dropout_p=dropout))

    def by_bmm(self, qkv: Tensor) -> Tensor:
        heads = split_heads(qkv, 3, self.num_heads)
        q, k, v = heads.flatten(1, 2).unbind(0)
        weights = torch.softmax(torch.bmm(q * q.shape[-1] ** -0.5, k.transpose(1, 2)), dim=-1)
        return join_heads(torch.bmm(self.dropout(weights), v).view(heads.shape[1:]))

    def by_trained_attention(self, qkv: Tensor) -> Tensor:
        batch, tokens, _ = qkv.shape
        mask, keep = None, 1.0
        if self.dropout.active:
            keep = self.dropout.keep
            mask = self.dropout.mask((batch * self.num_heads, tokens, tokens), qkv)
        mixed: Tensor = TrainedAttention.apply(qkv, mask, keep, self.num_heads)  # type: ignore[no-untyped-call]
        return mixed


class TrainedAttention(torch.autograd.Function):
    """softmax(q kᵀ / √d_head) v from matrix products and elementwise operations only.

    ATen's softmax along rows of 17 takes ten times as long as `exp` in the forward pass, and longer in the backward
    pass (measured). Therefore the weights stay unnormalised, E = exp(scores), and are summed by a product with ones:
    Z = keep · Σ E, where keep is 1 without dropout. Then out = (E ∘ mask) v / Z. Backward, with g = grad / Z:
    dv = (E ∘ mask)ᵀ g and dscores = E ∘ mask ∘ g vᵀ − E ∘ keep Σ g ∘ out (the row-sum identity of FlashAttention,
    Dao et al. 2022, eq. 4).
    """

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, mask: Tensor | None, keep: float, num_heads: int) -> Tensor:
        """(batch, tokens, 3 · d_model) → (batch, tokens, d_model).

        `mask` (batch · heads, tokens, tokens) is 1 with probability `keep`, else 0.
        """
        heads = split_heads(qkv, 3, num_heads).contiguous()
        q, k, v = heads.flatten(1, 2).unbind(0)
        q.mul_(q.shape[-1] ** -0.5)
        weights = torch.bmm(q, k.transpose(1, 2)).clamp_(-LARGEST_SCORE, LARGEST_SCORE).exp_()
        kept = weights if mask is None else weights * mask
        sums = row_sums(weights, q.shape[-1], keep)
        out = torch.bmm(kept, v).div_(sums)
        ctx.save_for_backward(q, k, v, weights, kept, sums, out)
        ctx.keep, ctx.num_heads = keep, num_heads
        return join_heads(out.view(heads.shape[1:]))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        """Gradient of `qkv`."""
        q, k, v, weights, kept, sums, out = ctx.saved_tensors
        batch, tokens, d_model = grad.shape
        g = split_heads(grad, 1, ctx.num_heads).reshape(out.shape) / sums
        parts = g.new_empty(3, *g.shape)
        torch.bmm(kept.transpose(1, 2), g, out=parts[2])
        centre = row_sums(g * out, tokens, ctx.keep).mul_(weights)
        scores = torch.bmm(g, v.transpose(1, 2)).mul_(kept).sub_(centre)
        torch.bmm(scores, k, out=parts[0]).mul_(q.shape[-1] ** -0.5)
        torch.bmm(scores.transpose(1, 2), q, out=parts[1])
        joined = parts.view(3, batch, ctx.num_heads, tokens, -1).permute(1, 3, 0, 2, 4)
        return joined.reshape(batch, tokens, 3 * d_model), None, None, None


def row_sums(x: Float[Tensor, "rows m n"], copies: int, factor: float) -> Float[Tensor, "rows m copies"]:
    """`factor` times the sums along the last dimension, repeated `copies` times.

    A matrix product is faster than ATen's reduction of short rows.
    """
    sums: Tensor = x.flatten(0, 1) @ x.new_full((x.shape[-1], copies), factor)
    return sums.view(*x.shape[:-1], copies)


def split_heads(x: Float[Tensor, "batch tokens width"], parts: int, num_heads: int) -> Tensor:
    """(parts, batch, heads, tokens, d_head), a view."""
    batch, tokens, width = x.shape
    return x.view(batch, tokens, parts, num_heads, width // parts // num_heads).permute(2, 0, 3, 1, 4)


def join_heads(x: Float[Tensor, "batch heads tokens d_head"]) -> Float[Tensor, "batch tokens d_model"]:
    """Undo `split_heads` of one part."""
    return x.transpose(1, 2).flatten(2)
