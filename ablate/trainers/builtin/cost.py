"""What a model costs: parameters, theoretical FLOPs, batch-1 latency."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from ablate.trainers.builtin import trees
from ablate.trainers.builtin.checkpoints import inputs_form, load_model, read_settings
from ablate.trainers.contract import Tree, UsesTargets

LATENCY_CALLS, LATENCY_WARMUP = 200, 20


def count(model: torch.nn.Module, inputs: Tree) -> dict[str, float]:
    """`cost/parameters`, `cost/parameters_<part>` for each part that the model counts, and `cost/flops` of one example.

    FLOPs are theoretical (torch's FlopCounterMode): operations it does not know count as zero.
    """
    counts = {"cost/parameters": float(sum(p.numel() for p in model.parameters()))}
    parameter_counts = getattr(model, "parameter_counts", None)
    if parameter_counts:
        counts |= {f"cost/parameters_{name}": float(number) for name, number in parameter_counts().items()}
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(trees.rows(inputs, slice(1)))
    return counts | {"cost/flops": float(counter.get_total_flops())}


def latency(folder: Path, *, threads: int, device: str) -> dict[str, float]:
    """`cost/latency_ms_p50` and `_p95` of one example through a saved model.

    Other work on the machine slows it down: measure alone. Empty for a `UsesTargets` model, which without targets
    does no work.
    """
    torch.set_num_threads(threads)
    target = torch.device(device)
    model = load_model(folder).to(target)
    if isinstance(model, UsesTargets):
        return {}
    form = inputs_form(read_settings(folder))
    inputs = trees.of_form(form, lambda shape, dtype: torch.zeros(1, *shape, dtype=dtype, device=target))
    seconds = []
    with torch.inference_mode():
        for _ in range(LATENCY_WARMUP + LATENCY_CALLS):
            started = time.perf_counter()
            model(inputs)
            if target.type == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - started)
    times = torch.tensor(seconds[LATENCY_WARMUP:], dtype=torch.float64) * 1000
    return {f"cost/latency_ms_p{q}": float(times.quantile(q / 100)) for q in (50, 95)}
