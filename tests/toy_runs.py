"""Toy specs and results for the tests of the stores: a linear layer, three epochs, hand-written scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file

from ablate.study import RunResult, RunSpec

DOCUMENT = {"study": {"name": "toy"}, "hypotheses_digest": "f00d", "created": "2025-01-01", "amendments": []}
MODEL = {"factory": "torch.nn:Linear", "settings": {"in_features": 6, "out_features": 3}, "inputs_shape": [17, 6]}
SCORES = {"val/error": 0.75, "test/error": 1.25, "cost/parameters": 21.0}
TIMINGS = {"time/total_s": 2.5}
PROVENANCE = {"commit": "abc123", "device": "Toy CPU °"}


class TwoHeads(torch.nn.Module):
    """A network that answers with a dict, the second part nested."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(width, 2)

    def forward(self, inputs: torch.Tensor) -> dict[str, Any]:
        out = self.layer(inputs)
        return {"angles": out.mean(1), "pose": [out, 2 * out]}


def settings(**model: Any) -> dict[str, Any]:
    return {
        "model": {"factory": MODEL["factory"], **MODEL["settings"], **model},
        "data": {"factory": "toy:data", "file": "toy.npz", "splits": [1, 2]},
        "training": {"epochs": 3, "learning_rate": 1e-3},
    }


def spec(study: str, arm: str = "plain", seed: int = 1, **changes: Any) -> RunSpec:
    return RunSpec(**{"study": study, "arm": arm, "seed": seed, "phase": "compare", "settings": settings(),
                      "data_digest": "d" * 64, **changes})  # fmt: skip


def trial(study: str, index: int, arm: str = "plain", **overrides: Any) -> RunSpec:
    return spec(study, arm, 101, phase="tune", trial=index, overrides=overrides)


def history(epochs: int = 3) -> list[dict[str, float]]:
    return [{"epoch": float(e), "train/loss": 1 / e, "val/error": 2.0 - e / 4} for e in range(1, epochs + 1)]


def curves(tracker: Any, run_id: str, study: str = "toy") -> list[dict[str, float]]:
    """The history of one run, as its store has it."""
    return dict(tracker.histories(study, [run_id])).get(run_id, [])


def linear(seed: int) -> torch.nn.Linear:
    generator = torch.Generator().manual_seed(seed)
    layer = torch.nn.Linear(6, 3)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    return layer


def artifacts(folder: Path, seed: int = 1) -> Path:
    """What a run leaves in its folder."""
    (folder / "model").mkdir(parents=True)
    save_file(linear(seed).state_dict(), folder / "model" / "weights.safetensors")
    (folder / "model" / "model.json").write_text(json.dumps(MODEL))
    pd.DataFrame({"error": [0.5, 2.0 + seed]}).to_parquet(folder / "scores.parquet")
    np.savez(folder / "examples.npz", inputs=np.full((1, 17, 6), seed, dtype=np.float32))
    (folder / "run.log").write_text("epoch 1\n")
    (folder / "uncommitted.diff").write_text("+ a line\n")
    (folder / "checkpoint.pt").write_bytes(b"resume")
    return folder


def finished(of: RunSpec, folder: Path | None = None, **changes: Any) -> RunResult:
    return RunResult(**{"key": of.key, "status": "FINISHED", "scores": SCORES, "history": history(),
                        "timings": TIMINGS, "provenance": PROVENANCE, "artifacts": folder, **changes})  # fmt: skip


def failed(of: RunSpec, error: str = "ValueError: no") -> RunResult:
    return RunResult(of.key, "FAILED", error=error)


def run(tracker: Any, of: RunSpec, folder: Path | None = None, **changes: Any) -> str:
    """One whole finished run; its id."""
    run_id: str = tracker.start(of)
    for entry in history():
        tracker.log_epochs(run_id, [entry])
    tracker.finish(run_id, of, finished(of, folder, **changes))
    return run_id
