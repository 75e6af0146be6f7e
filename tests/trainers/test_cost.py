"""Costs that can be counted by hand."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from ablate.trainers.builtin import cost
from ablate.trainers.builtin.checkpoints import save_model


def test_counts_parameters_and_theoretical_flops() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2, bias=False))
    counts = cost.count(model, torch.zeros(10, 3))
    assert counts == {"cost/parameters": 3 * 4 + 4 + 4 * 2, "cost/flops": 2 * (3 * 4 + 4 * 2)}  # of one example


def test_counts_the_parts_a_model_names(toy: ModuleType) -> None:
    counts = cost.count(toy.Line(columns=3), torch.zeros(2, 3))
    assert counts == {"cost/parameters": 4, "cost/parameters_weights": 3, "cost/flops": 2 * 3}


def test_latency_is_that_of_one_example_in_evaluation_mode(tmp_path: Path) -> None:
    save_model(nn.BatchNorm1d(3), {"factory": "torch.nn:BatchNorm1d", "num_features": 3}, [3], tmp_path)
    times = cost.latency(tmp_path, threads=1, device="cpu")  # a batch of one would fail in training mode
    assert set(times) == {"cost/latency_ms_p50", "cost/latency_ms_p95"}
    assert 0 < times["cost/latency_ms_p50"] <= times["cost/latency_ms_p95"] < 1000
