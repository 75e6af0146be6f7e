"""The training loop: gradient descent with fresh examples every epoch, resumable after any step.

Knows nothing of studies, arms or tracking: `on_epoch` carries scores out, `signals` says when to stop.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from ablate.study import TrainingSettings
from ablate.trainers.builtin.checkpoints import ResumeCheckpoint
from ablate.trainers.builtin.seeding import derive, seed_globals
from ablate.trainers.builtin.train_state import Progress, TrainState
from ablate.trainers.contract import Batch, Data, Fits, Loss
from ablate.trainers.errors import Stopped

CHECKPOINT_SECONDS = 20.0  # at most this much work is lost when a run is killed (and one step)
LOOK_SECONDS = 0.2  # between two looks up from training: a look takes microseconds, a step from 1 ms on


class NonFiniteLoss(Exception):
    """Training diverged: the loss of this epoch (from 1) is NaN or infinite."""

    def __init__(self, epoch: int) -> None:
        super().__init__(f"the training loss is not finite in epoch {epoch}; a lower learning_rate may help")
        self.epoch = epoch


class Signals(Protocol):
    """What training and its surroundings tell each other while it runs."""

    def beat(self) -> None:
        """Training goes on."""

    def stopping(self) -> bool:
        """Whether to stop at the next safe point."""

    def say(self, text: str) -> None:
        """A line for the log."""


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
    signals: Signals | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Full batches only: a last batch of one example has no batch statistics."""
        return max(1, self.data.train_size // self.settings.batch_size)

    def batches(self, epoch: int, *, start: int = 0, generator: torch.Generator | None = None) -> Iterator[Batch]:
        """The examples of one epoch (from 0): order, views and noise depend on (seed, epoch) alone.

        To go on in mid-epoch, name the batch to `start` with and the `generator` as the batches before left it.
        """
        order_rng = torch.Generator().manual_seed(derive(self.seed, "order", epoch))
        data_rng = self._seeded(torch.Generator(self.device), epoch) if generator is None else generator
        order = torch.randperm(self.data.train_size, generator=order_rng).to(self.device)
        size = self.settings.batch_size
        for step in range(start, self.steps_per_epoch):
            yield self.data.sample(order[step * size : (step + 1) * size], generator=data_rng)

    def _seeded(self, generator: torch.Generator, epoch: int) -> torch.Generator:
        return generator.manual_seed(derive(self.seed, "data", epoch))

    def run(self, model: torch.nn.Module) -> Progress:
        """Train `model` in place to the final epoch.

        Raises NonFiniteLoss, and Stopped once asked to stop, with a checkpoint of the last step behind it.
        """
        if isinstance(model, Fits):
            return self._fit(model)
        return self._descend(model)

    def _fit(self, model: Any) -> Progress:
        """Never resumed: a fitted model may keep what it has learnt outside of its state."""
        progress = Progress()
        started = time.perf_counter()
        with torch.no_grad():
            model.fit(self._watched(self.batches(epoch=0)))
        progress.seconds["train"] = time.perf_counter() - started
        self._record(progress, model.eval(), {"epoch": 1.0})
        progress.seconds["validate"] = time.perf_counter() - started - progress.seconds["train"]
        return progress

    def _watched(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        look_at = time.perf_counter() + LOOK_SECONDS
        for batch in batches:
            yield batch
            if time.perf_counter() >= look_at:
                if self._stopping():
                    raise Stopped
                look_at = time.perf_counter() + LOOK_SECONDS

    def _descend(self, model: torch.nn.Module) -> Progress:
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=self.settings.learning_rate, weight_decay=self.settings.weight_decay, fused=True
        )
        # float16 needs its gradients scaled, or small ones vanish
        scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision is torch.float16)
        descent = TrainState(model, optimizer, scaler, self.device)
        self._resume(descent)
        descent.look_at = time.perf_counter() + LOOK_SECONDS
        while (epoch := len(descent.progress.history)) < self.settings.epochs:
            if descent.step == 0:
                self._begin(descent, epoch)
            loss = self._epoch(descent, epoch)
            descent.spent("train")
            if not math.isfinite(loss):
                self._forget()
                raise NonFiniteLoss(epoch + 1)
            self._record(descent.progress, model.eval(), {"epoch": epoch + 1.0, "train/loss": loss})
            descent.spent("validate")
            descent.step = 0
            # after the last one always: evaluation may be interrupted too
            self._look(descent, save=epoch + 1 == self.settings.epochs)
        return descent.progress

    def _begin(self, descent: TrainState, epoch: int) -> None:
        """Before the first step of an epoch, and before a restored state that is in the middle of one."""
        seed_globals(self.seed, "noise", epoch)  # dropout and the components' own draws
        self._seeded(descent.generator, epoch)
        descent.total = torch.zeros((), device=self.device)
        descent.model.train()
        set_epoch = getattr(descent.model, "set_epoch", None)
        if set_epoch:
            set_epoch(epoch)

    def _epoch(self, descent: TrainState, epoch: int) -> float:
        """The steps that are left of an epoch. Returns the mean loss of all of them."""
        model, optimizer, scaler, first = descent.model, descent.optimizer, descent.scaler, descent.step
        for step, batch in enumerate(self.batches(epoch, start=first, generator=descent.generator), start=first):
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
            descent.total += loss.detach()
            descent.step = step + 1
            if time.perf_counter() >= descent.look_at:
                self._look(descent)
        return descent.total.item() / self.steps_per_epoch

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
        entry |= self.validate(model)
        progress.history.append(entry)
        self.on_epoch(entry)

    def _look(self, descent: TrainState, *, save: bool = False) -> None:
        """Look up from training: save where it is time, and stop where that is asked for, at most so often."""
        now = time.perf_counter()
        stopping = now >= descent.look_at and self._stopping()
        if save or stopping or now - descent.saved > CHECKPOINT_SECONDS:
            self._save(descent)
        if stopping:
            raise Stopped
        if now >= descent.look_at:
            descent.look_at = time.perf_counter() + LOOK_SECONDS

    def _stopping(self) -> bool:
        if self.signals is None:
            return False
        self.signals.beat()
        return self.signals.stopping()

    def _resume(self, descent: TrainState) -> None:
        if self.checkpoint is None:
            return
        state = self.checkpoint.load(self.device)
        damage = self.checkpoint.damage
        if damage:
            self._say(damage)
        if state is not None:
            if state["step"]:
                self._begin(descent, len(state["history"]))
            descent.restore(state)
            self._say(f"continued from a checkpoint {descent.progress.place}")
            for entry in descent.progress.history:
                self.on_epoch(entry)
        if damage:  # a run's own state remembers it from here on
            descent.progress.notes.append(f"{damage}, {descent.progress.place}" if state else damage)

    def _say(self, text: str) -> None:
        if self.signals:
            self.signals.say(text)

    def _save(self, descent: TrainState) -> None:
        if self.checkpoint is None:
            return
        descent.spent("train")
        self.checkpoint.save(descent.state())
        descent.spent("checkpoint")
        descent.saved = time.perf_counter()

    def _forget(self) -> None:
        """Whoever tries a diverged run again starts anew."""
        if self.checkpoint:
            self.checkpoint.delete()
