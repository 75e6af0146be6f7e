"""The training loop: gradient descent with fresh examples every epoch, resumable at any epoch's end.

Knows nothing of studies, arms or tracking: `on_epoch` carries scores out.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch

from ablate.runs.checkpoints import ResumeCheckpoint
from ablate.runs.contract import Batch, Data, Fits, Loss
from ablate.runs.seeding import derive
from ablate.study import TrainingSettings

CHECKPOINT_SECONDS = 20.0  # at most this much work is lost when a run is killed (and one epoch)


class NonFiniteLoss(Exception):
    """Training diverged: the loss of this epoch (from 1) is NaN or infinite."""

    def __init__(self, epoch: int) -> None:
        super().__init__(f"the training loss is not finite in epoch {epoch}; a lower learning_rate may help")
        self.epoch = epoch


@dataclass
class Progress:
    """What training leaves behind: one history entry an epoch, and seconds by activity.

    `resumed`: how many of the epochs came from a checkpoint.
    """

    history: list[dict[str, float]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: {"train": 0.0, "validate": 0.0, "checkpoint": 0.0})
    resumed: int = 0


@dataclass(frozen=True)
class Trainer:
    """One run's training. `validate(model)` gives the scores logged each epoch; `on_epoch(entry)` carries them out."""

    data: Data
    loss: Loss
    settings: TrainingSettings
    seed: int
    device: torch.device
    validate: Callable[[torch.nn.Module], Mapping[str, float]]
    on_epoch: Callable[[Mapping[str, float]], None]
    checkpoint: ResumeCheckpoint | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Full batches only: a last batch of one example has no batch statistics."""
        return max(1, self.data.train_size // self.settings.batch_size)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """The examples of one epoch (from 0): order, views and noise depend on (seed, epoch) alone."""
        order_rng = torch.Generator().manual_seed(derive(self.seed, "order", epoch))
        data_rng = torch.Generator(self.device).manual_seed(derive(self.seed, "data", epoch))
        order = torch.randperm(self.data.train_size, generator=order_rng).to(self.device)
        size = self.settings.batch_size
        for step in range(self.steps_per_epoch):
            yield self.data.sample(order[step * size : (step + 1) * size], generator=data_rng)

    def run(self, model: torch.nn.Module) -> Progress:
        """Train `model` in place to the final epoch. Raises NonFiniteLoss."""
        if isinstance(model, Fits):
            return self._fit(model)
        return self._descend(model)

    def _fit(self, model: Any) -> Progress:
        progress = Progress()
        started = time.perf_counter()
        with torch.no_grad():
            model.fit(self.batches(epoch=0))
        progress.seconds["train"] = time.perf_counter() - started
        self._record(progress, model.eval(), {"epoch": 1.0})
        return progress

    def _descend(self, model: torch.nn.Module) -> Progress:
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=self.settings.learning_rate, weight_decay=self.settings.weight_decay, fused=True
        )
        # float16 needs its gradients scaled, or small ones vanish
        scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision is torch.float16)
        progress = self._resume(model, optimizer, scaler)
        saved = time.perf_counter()
        for epoch in range(len(progress.history), self.settings.epochs):
            started = time.perf_counter()
            loss = self._epoch(model, optimizer, scaler, epoch)
            if not math.isfinite(loss):
                raise NonFiniteLoss(epoch + 1)
            progress.seconds["train"] += time.perf_counter() - started
            self._record(progress, model.eval(), {"epoch": epoch + 1.0, "train/loss": loss})
            if self.checkpoint and time.perf_counter() - saved > CHECKPOINT_SECONDS:
                self._save(model, optimizer, scaler, progress)
                saved = time.perf_counter()
        return progress

    def _epoch(
        self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler, epoch: int
    ) -> float:
        torch.manual_seed(derive(self.seed, "noise", epoch))  # dropout and the model's own draws
        model.train()
        set_epoch = getattr(model, "set_epoch", None)
        if set_epoch:
            set_epoch(epoch)
        total = torch.zeros((), device=self.device)
        for step, batch in enumerate(self.batches(epoch)):
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate(epoch * self.steps_per_epoch + step)
            with self.autocast():
                output = model(batch.inputs)
            loss = self.loss(output, batch.targets)
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
            if self.settings.gradient_clip:
                scaler.unscale_(optimizer)
                torch.nn.utils.clip_grad_norm_(model.parameters(), self.settings.gradient_clip)
            scaler.step(optimizer)
            scaler.update()
            total += loss.detach()
        return total.item() / self.steps_per_epoch

    def learning_rate(self, step: int) -> float:
        """Of a step (from 0): linear warm-up, then a cosine that would reach zero one step after the last."""
        steps = self.steps_per_epoch * self.settings.epochs
        warmup = self.settings.warmup_fraction * steps
        if step < warmup:
            return self.settings.learning_rate * (step + 1) / (warmup + 1)
        return self.settings.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))

    @property
    def precision(self) -> torch.dtype:
        """float16 has no fast or stable path on the CPU: bfloat16 stands in there."""
        name = self.settings.precision
        return torch.bfloat16 if name == "float16" and self.device.type == "cpu" else getattr(torch, name)

    def autocast(self) -> AbstractContextManager[Any]:
        if self.precision is torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.precision)

    def _record(self, progress: Progress, model: torch.nn.Module, entry: dict[str, float]) -> None:
        started = time.perf_counter()
        entry |= self.validate(model)
        progress.seconds["validate"] += time.perf_counter() - started
        progress.history.append(entry)
        self.on_epoch(entry)

    def _resume(
        self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler
    ) -> Progress:
        state = self.checkpoint.load(self.device) if self.checkpoint else None
        if state is None:
            return Progress()
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        scaler.load_state_dict(state["scaler"])
        progress = Progress(state["history"], state["seconds"], resumed=len(state["history"]))
        for entry in progress.history:
            self.on_epoch(entry)
        return progress

    def _save(
        self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler, progress: Progress
    ) -> None:
        assert self.checkpoint is not None
        started = time.perf_counter()
        self.checkpoint.save(
            {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "scaler": scaler.state_dict(),
                "history": progress.history,
                "seconds": progress.seconds,
            }
        )
        progress.seconds["checkpoint"] += time.perf_counter() - started
