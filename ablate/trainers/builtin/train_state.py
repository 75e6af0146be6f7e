"""Everything that a training step changes, as one state that can be saved and restored. Knows no data and no loss."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ablate.trainers.builtin import seeding


@dataclass
class Progress:
    """What training leaves behind: one history entry an epoch, and seconds by activity.

    `resumed`: how many of the epochs came from a checkpoint, `resumed_steps`: and steps of the epoch after them;
    `notes`: what was wrong with checkpoints.
    """

    history: list[dict[str, float]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: {"train": 0.0, "validate": 0.0, "checkpoint": 0.0})
    notes: list[str] = field(default_factory=list)
    resumed: int = 0
    resumed_steps: int = 0

    @property
    def place(self) -> str:
        """Where a checkpoint was taken, in words."""
        steps = f" and {self.resumed_steps} steps" if self.resumed_steps else ""
        return f"after epoch {self.resumed}{steps}"


@dataclass
class TrainState:
    """A training run between two steps. `step` counts those done of the epoch at hand, `total` sums their losses.

    `generator` draws the epoch's data. `look_at` and `saved` are on the clock of time.perf_counter: when to look up
    from training next, and when the last checkpoint was.
    """

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    device: torch.device
    progress: Progress = field(default_factory=Progress)
    step: int = 0
    total: Tensor = field(init=False)  # scalar float32
    generator: torch.Generator = field(init=False)
    look_at: float = 0.0
    saved: float = field(default_factory=time.perf_counter)
    _mark: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self.total = torch.zeros((), device=self.device)
        self.generator = torch.Generator(self.device)

    def spent(self, activity: str) -> None:
        """The time since this was last called went into `activity`."""
        now = time.perf_counter()
        self.progress.seconds[activity] += now - self._mark
        self._mark = now

    def state(self) -> dict[str, Any]:
        """All of it, in types that `torch.load(weights_only=True)` reads."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "history": self.progress.history,
            "seconds": self.progress.seconds,
            "notes": self.progress.notes,
            "step": self.step,
            "total": self.total,
            "random": self._random(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a `state()` made on a device of the same type."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.step = state["step"]
        self.total = state["total"].to(self.device)
        resumed = {"resumed": len(state["history"]), "resumed_steps": self.step}
        self.progress = Progress(state["history"], state["seconds"], state["notes"], **resumed)
        # the states of all generators live on the CPU, wherever the rest was loaded to
        random = {name: _on_cpu(value) for name, value in state["random"].items()}
        torch.set_rng_state(random["cpu"])
        if "numpy" in random:  # checkpoints of earlier versions have it not, and their runs drew what no seed fixed
            seeding.restore_globals(random)
        self.generator.set_state(random["data"])
        if "cuda" in random:
            torch.cuda.set_rng_state(random["cuda"], self.device)

    def _random(self) -> dict[str, Any]:
        states = {"cpu": torch.get_rng_state(), "data": self.generator.get_state(), **seeding.global_states()}
        if self.device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(self.device)
        return states


def _on_cpu(value: Any) -> Any:
    if isinstance(value, list):
        return [_on_cpu(part) for part in value]
    return value.cpu() if isinstance(value, Tensor) else value
