"""A transformer block's training step on the CPU, forward and backward by hand. Knows no modules and no poses.

Every intermediate of a plain block is written to and read from main memory; here a few examples at a time go through
the whole block, small enough for a core's own cache. Backward likewise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ablate.depth_refinement.dropout import LEVELS, random_mask

# exp(80) · 17 is still finite in bfloat16 and float32; a softmax with scores beyond it has long saturated.
LARGEST_SCORE = 80.0
EPSILON = 1e-5
CACHED_VALUES = 400_000  # widest intermediate of one piece; 0.8 MB in bfloat16


class Weights(NamedTuple):
    """Parameters of one block. Whatever precedes a mask carries dropout's factor already."""

    norm_attention: Tensor
    norm_attention_bias: Tensor
    qkv: Tensor
    qkv_bias: Tensor
    out: Tensor
    out_bias: Tensor
    norm_feedforward: Tensor
    norm_feedforward_bias: Tensor
    expand: Tensor
    expand_bias: Tensor
    contract: Tensor
    contract_bias: Tensor


class TrainedBlock(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, num_heads: int, dropped_levels: int, *parameters: Tensor) -> Tensor:
        weights = Weights(*parameters)
        out = torch.empty_like(x)
        saved: list[Tensor] = []
        for piece in pieces(x, weights):
            y, kept_attention = attend(x[piece], weights, num_heads, dropped_levels)
            out[piece], kept_feedforward = feed(y, weights, dropped_levels)
            saved += [*kept_attention, *kept_feedforward]
        ctx.save_for_backward(*saved, *parameters)
        ctx.count, ctx.shape, ctx.num_heads, ctx.dropped_levels = len(saved), x.shape, num_heads, dropped_levels
        ctx.sizes = len(kept_attention), len(kept_feedforward)
        return out

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        tensors = ctx.saved_tensors
        saved, weights = tensors[: ctx.count], Weights(*tensors[ctx.count :])
        grads = Weights(*(torch.zeros_like(w) for w in weights))
        grad_x = torch.empty_like(grad)
        a, f = ctx.sizes
        for i, piece in enumerate(pieces(grad, weights)):
            kept = saved[i * (a + f) : (i + 1) * (a + f)]
            grad_y = feed_backward(grad[piece], weights, grads, *kept[a:])
            grad_x[piece] = attend_backward(grad_y, weights, grads, ctx.num_heads, ctx.dropped_levels, *kept[:a])
        return grad_x, None, None, *grads


def pieces(x: Tensor, weights: Weights) -> Iterator[slice]:
    batch, tokens, _ = x.shape
    step = max(1, CACHED_VALUES // (tokens * weights.expand.shape[0]))
    return (slice(start, start + step) for start in range(0, batch, step))


def attend(x: Tensor, w: Weights, num_heads: int, dropped_levels: int) -> tuple[Tensor, Sequence[Tensor]]:
    """x + mask ∘ attention(norm(x))."""
    batch, tokens, d_model = x.shape
    normed, mean, rstd = torch.native_layer_norm(x, (d_model,), w.norm_attention, w.norm_attention_bias, EPSILON)
    qkv = torch.addmm(w.qkv_bias, normed.view(-1, d_model), w.qkv.t())
    q, k, v = qkv.view(batch, tokens, 3, num_heads, -1).permute(2, 0, 3, 1, 4).contiguous().flatten(1, 2).unbind(0)
    q.mul_(q.shape[-1] ** -0.5)
    weights = torch.bmm(q, k.transpose(1, 2)).clamp_(-LARGEST_SCORE, LARGEST_SCORE).exp_()
    kept = weights * random_mask(weights, dropped_levels) if dropped_levels else weights
    sums = row_sums(weights, q.shape[-1], 1 - dropped_levels / LEVELS)
    mixed = torch.bmm(kept, v).div_(sums)
    joined = mixed.view(batch, num_heads, tokens, -1).transpose(1, 2).reshape(-1, d_model)
    branch = torch.addmm(w.out_bias, joined, w.out.t()).view(x.shape)
    mask = random_mask(branch, dropped_levels)
    y = torch.addcmul(x, branch, mask)
    return y, (x, normed, mean, rstd, q, k, v, weights, kept, sums, mixed, joined, mask)


def attend_backward(
    grad: Tensor, w: Weights, grads: Weights, num_heads: int, dropped_levels: int,
    x: Tensor, normed: Tensor, mean: Tensor, rstd: Tensor, q: Tensor, k: Tensor, v: Tensor,
    weights: Tensor, kept: Tensor, sums: Tensor, mixed: Tensor, joined: Tensor, mask: Tensor,
) -> Tensor:  # fmt: skip
    batch, tokens, d_model = x.shape
    grad_branch = (grad * mask).view(-1, d_model)
    accumulate(grads.out, grads.out_bias, grad_branch, joined)
    g = (grad_branch @ w.out).view(batch, tokens, num_heads, -1).transpose(1, 2).reshape(mixed.shape).div_(sums)
    parts = g.new_empty(3, *g.shape)
    torch.bmm(kept.transpose(1, 2), g, out=parts[2])
    centre = row_sums(g * mixed, tokens, 1 - dropped_levels / LEVELS).mul_(weights)
    scores = torch.bmm(g, v.transpose(1, 2)).mul_(kept).sub_(centre)
    torch.bmm(scores, k, out=parts[0]).mul_(q.shape[-1] ** -0.5)
    torch.bmm(scores.transpose(1, 2), q, out=parts[1])
    grad_qkv = parts.view(3, batch, num_heads, tokens, -1).permute(1, 3, 0, 2, 4).reshape(-1, 3 * d_model)
    accumulate(grads.qkv, grads.qkv_bias, grad_qkv, normed.view(-1, d_model))
    return norm_backward(
        grad_qkv @ w.qkv, grad, x, mean, rstd, (w.norm_attention, w.norm_attention_bias),
        (grads.norm_attention, grads.norm_attention_bias),
    )  # fmt: skip


def feed(y: Tensor, w: Weights, dropped_levels: int) -> tuple[Tensor, Sequence[Tensor]]:
    """y + mask ∘ contract(mask ∘ relu(expand(norm(y))))."""
    d_model = y.shape[-1]
    normed, mean, rstd = torch.native_layer_norm(y, (d_model,), w.norm_feedforward, w.norm_feedforward_bias, EPSILON)
    hidden = torch.addmm(w.expand_bias, normed.view(-1, d_model), w.expand.t()).relu_()
    if dropped_levels:
        hidden.mul_(random_mask(hidden, dropped_levels))
    branch = torch.addmm(w.contract_bias, hidden, w.contract.t()).view(y.shape)
    mask = random_mask(branch, dropped_levels)
    return torch.addcmul(y, branch, mask), (y, normed, mean, rstd, hidden, mask)


def feed_backward(
    grad: Tensor, w: Weights, grads: Weights,
    y: Tensor, normed: Tensor, mean: Tensor, rstd: Tensor, hidden: Tensor, mask: Tensor,
) -> Tensor:  # fmt: skip
    d_model = y.shape[-1]
    grad_branch = (grad * mask).view(-1, d_model)
    accumulate(grads.contract, grads.contract_bias, grad_branch, hidden)
    grad_hidden = torch.ops.aten.threshold_backward(grad_branch @ w.contract, hidden, 0)
    accumulate(grads.expand, grads.expand_bias, grad_hidden, normed.view(-1, d_model))
    return norm_backward(
        grad_hidden @ w.expand, grad, y, mean, rstd, (w.norm_feedforward, w.norm_feedforward_bias),
        (grads.norm_feedforward, grads.norm_feedforward_bias),
    )  # fmt: skip


def norm_backward(
    grad_normed: Tensor, grad: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, w: tuple[Tensor, Tensor], grads: tuple[Tensor, Tensor]
) -> Tensor:
    grad_x, grad_weight, grad_bias = torch.ops.aten.native_layer_norm_backward(
        grad_normed.view(x.shape), x, (x.shape[-1],), mean, rstd, w[0], w[1], (True, True, True)
    )
    grads[0].add_(grad_weight)
    grads[1].add_(grad_bias)
    return grad_x.add_(grad)


def accumulate(weight: Tensor, bias: Tensor, grad: Tensor, inputs: Tensor) -> None:
    weight.addmm_(grad.t(), inputs)
    bias.add_(grad.sum(0))


def row_sums(x: Tensor, copies: int, factor: float) -> Tensor:
    return (x.flatten(0, 1) @ x.new_full((x.shape[-1], copies), factor)).view(*x.shape[:-1], copies)
