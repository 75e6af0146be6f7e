"""Everything that a training step changes, as one state that can be saved and restored. Knows no data and no loss."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ablate.trainers.builtin import seeding
from ablate.trainers.builtin.optimizers import Schedule


@dataclass
class Progress:
    """The history of a training, one entry per epoch, and its seconds by activity.

    A run that continued from a checkpoint took over `resumed` epochs and `resumed_steps` steps of the epoch after
    them. `notes` says which checkpoints were damaged.
    """

    history: list[dict[str, float]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: {"train": 0.0, "validate": 0.0, "checkpoint": 0.0})
    notes: list[str] = field(default_factory=list)
    resumed: int = 0
    resumed_steps: int = 0

    @property
    def resumed_from(self) -> str:
        """The point in training at which the checkpoint was taken, in words."""
        steps = f" and {self.resumed_steps} steps" if self.resumed_steps else ""
        return f"after epoch {self.resumed}{steps}"


@dataclass
class TrainState:
    """Model, optimizer, schedule, random generators and progress between two steps.

    `step` counts the steps done in the current epoch, `loss_sum` adds up their losses, `generator` draws the epoch's
    data. `next_poll` and `saved_at` are times of time.perf_counter: of the next look at the stop signal and of the
    last checkpoint.
    """

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    scaler: torch.amp.GradScaler
    device: torch.device
    progress: Progress = field(default_factory=Progress)
    step: int = 0
    loss_sum: Tensor = field(init=False)  # scalar float32
    generator: torch.Generator = field(init=False)
    next_poll: float = 0.0
    saved_at: float = field(default_factory=time.perf_counter)
    _counted_until: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self.loss_sum = torch.zeros((), device=self.device)
        self.generator = torch.Generator(self.device)

    def count_time(self, activity: str) -> None:
        """Add the time since the last call to the seconds of `activity`."""
        now = time.perf_counter()
        self.progress.seconds[activity] += now - self._counted_until
        self._counted_until = now

    def state_dict(self) -> dict[str, Any]:
        """The whole state, in types that `torch.load(weights_only=True)` reads."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "history": self.progress.history,
            "seconds": self.progress.seconds,
            "notes": self.progress.notes,
            "step": self.step,
            "total": self.loss_sum,
            "random": self._random_states(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a `state_dict()` that was taken on a device of the same type."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.scaler.load_state_dict(state["scaler"])
        self.step = state["step"]
        self.loss_sum = state["total"].to(self.device)
        resumed = {"resumed": len(state["history"]), "resumed_steps": self.step}
        self.progress = Progress(state["history"], state["seconds"], state["notes"], **resumed)
        # generator states must be CPU tensors, whatever device the checkpoint was loaded to
        random = {name: _on_cpu(value) for name, value in state["random"].items()}
        torch.set_rng_state(random["cpu"])
        if "numpy" in random:  # checkpoints of earlier versions lack it; their NumPy and `random` draws were unseeded
            seeding.restore_globals(random)
        self.generator.set_state(random["data"])
        if "cuda" in random:
            torch.cuda.set_rng_state(random["cuda"], self.device)

    def _random_states(self) -> dict[str, Any]:
        states = {"cpu": torch.get_rng_state(), "data": self.generator.get_state(), **seeding.global_states()}
        if self.device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(self.device)
        return states


def _on_cpu(value: Any) -> Any:
    if isinstance(value, list):
        return [_on_cpu(item) for item in value]
    return value.cpu() if isinstance(value, Tensor) else value
