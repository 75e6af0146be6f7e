"""The training loop: gradient descent with fresh examples every epoch, resumable after any step.

It must not know studies, arms or tracking: `on_epoch` passes scores out, `signals` says when to stop.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from ablate.study import TrainingSettings
from ablate.trainers.builtin.checkpoints import ResumeCheckpoint
from ablate.trainers.builtin.fitting import FitRun, takes_run
from ablate.trainers.builtin.optimizers import make_optimizer, make_schedule
from ablate.trainers.builtin.seeding import derive_seed, seed_globals
from ablate.trainers.builtin.train_state import Progress, TrainState
from ablate.trainers.contract import Batch, Data, Fits, Loss
from ablate.trainers.errors import Pruned, RunFailed, Stopped

CHECKPOINT_SECONDS = 20.0  # a killed run loses at most this much work, and one step
POLL_SECONDS = 0.2  # between two polls of the stop signal: a poll takes microseconds, a step at least 1 ms


class NonFiniteLoss(RunFailed):
    """Training diverged: the loss of this epoch (from 1) is NaN or infinite."""

    def __init__(self, epoch: int) -> None:
        super().__init__(f"the training loss is not finite in epoch {epoch}; a lower learning_rate may help")
        self.epoch = epoch


class Signals(Protocol):
    """What the loop reports while it runs, the request to stop, and whether it has reported enough."""

    pruned: str  # not "" once the last epoch that was passed to `on_epoch` has ended the trial

    def heartbeat(self) -> None:
        """Called at every poll: training is alive."""

    def stop_requested(self) -> bool:
        """Whether to stop at the next safe point."""

    def log(self, text: str) -> None:
        """Add a line to the run's log."""


@dataclass(frozen=True)
class Trainer:
    """Trains the model of one run. `validate(model)` gives each epoch's scores; `on_epoch(entry)` receives them."""

    data: Data
    loss: Loss
    settings: TrainingSettings
    seed: int
    device: torch.device
    validate: Callable[[torch.nn.Module], Mapping[str, float]]
    on_epoch: Callable[[Mapping[str, float]], None]
    checkpoint: ResumeCheckpoint | None = None
    signals: Signals | None = None
    folder: Path | None = None  # for a model that fits itself

    @property
    def steps_per_epoch(self) -> int:
        """Full batches only, since a last batch of one example has no batch statistics, or with `last_batch`, all."""
        full, rest = divmod(self.data.train_size, self.settings.batch_size)
        return max(1, full + (self.settings.last_batch == "keep" and rest > 0))

    @property
    def examples_per_epoch(self) -> int:
        return min(self.steps_per_epoch * self.settings.batch_size, self.data.train_size)

    def batches(self, epoch: int, *, start: int = 0, generator: torch.Generator | None = None) -> Iterator[Batch]:
        """The examples of one epoch (from 0): order, views and noise depend on (seed, epoch) alone.

        To continue within an epoch, give the batch to `start` with and the `generator` in its state after the
        batches before.
        """
        order_rng = torch.Generator().manual_seed(derive_seed(self.seed, "order", epoch))
        data_rng = self._seed_data(torch.Generator(self.device), epoch) if generator is None else generator
        order = torch.randperm(self.data.train_size, generator=order_rng).to(self.device)
        size = self.settings.batch_size
        for step in range(start, self.steps_per_epoch):
            yield self.data.sample(order[step * size : (step + 1) * size], generator=data_rng)

    def _seed_data(self, generator: torch.Generator, epoch: int) -> torch.Generator:
        return generator.manual_seed(derive_seed(self.seed, "data", epoch))

    def run(self, model: torch.nn.Module) -> Progress:
        """Train `model` in place to the final epoch, or to that which ends a trial early.

        Raises NonFiniteLoss; raises Stopped when asked to stop, after saving a checkpoint of the last step.
        """
        if isinstance(model, Fits):
            return self._fit(model)
        return self._train(model)

    def _fit(self, model: Any) -> Progress:
        """Never resumed from a checkpoint: a fitted model may keep what it has learnt outside its `state_dict`.

        A `fit` with the argument `run` is called with gradients on, and may report epochs.
        """
        progress = Progress()
        started = time.perf_counter()
        if takes_run(model):
            seed_globals(self.seed, "noise", 0)
            try:
                model.fit(self._polling(self.batches(epoch=0)), run=self._fit_run(model, progress))
            except Exception:
                if not self._pruned():  # what a fit raises when it is ended need not be Pruned
                    raise
        else:
            with torch.no_grad():
                model.fit(self._polling(self.batches(epoch=0)))
        progress.seconds["train"] = time.perf_counter() - started - progress.seconds["validate"]
        if not progress.history:
            self._timed_validation(progress, model, {"epoch": 1.0})
        model.eval()
        return progress

    def _fit_run(self, model: torch.nn.Module, progress: Progress) -> FitRun:
        def report(epoch: float, scores: Mapping[str, float]) -> None:
            if self._pruned():
                raise Pruned
            training = model.training
            self._timed_validation(progress, model, {"epoch": epoch, **scores})
            model.train(training)
            if self._pruned():
                raise Pruned
            if self._stop_requested():
                raise Stopped

        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        threads, epochs = self.settings.threads, self.settings.epochs
        return FitRun(
            self.seed, self.device, threads, epochs, self.folder, lambda e: self._polling(self.batches(e)), report
        )

    def _timed_validation(self, progress: Progress, model: torch.nn.Module, entry: dict[str, float]) -> None:
        started = time.perf_counter()
        self._validate(progress, model.eval(), entry)
        progress.seconds["validate"] += time.perf_counter() - started

    def _polling(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The batches; polls the stop signal between them and raises Stopped."""
        next_poll = time.perf_counter() + POLL_SECONDS
        for batch in batches:
            yield batch
            if time.perf_counter() >= next_poll:
                if self._stop_requested():
                    raise Stopped
                next_poll = time.perf_counter() + POLL_SECONDS

    def _train(self, model: torch.nn.Module) -> Progress:
        optimizer = make_optimizer(model.parameters(), self.settings)
        steps = self.steps_per_epoch * self.settings.epochs
        schedule = make_schedule(optimizer, self.settings, steps, self.steps_per_epoch)
        # float16 needs its gradients scaled, or small ones become zero
        scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision is torch.float16)
        state = TrainState(model, optimizer, schedule, scaler, self.device)
        self._resume(state)
        state.next_poll = time.perf_counter() + POLL_SECONDS
        while (epoch := len(state.progress.history)) < self.settings.epochs and not self._pruned():
            if state.step == 0:
                self._start_epoch(state, epoch)
            loss = self._finish_epoch(state, epoch)
            state.count_time("train")
            if not math.isfinite(loss):
                self._delete_checkpoint()
                raise NonFiniteLoss(epoch + 1)
            self._validate(state.progress, model.eval(), {"epoch": epoch + 1.0, "train/loss": loss})
            state.count_time("validate")
            state.step = 0
            # always save after the last epoch: the evaluation that follows may be interrupted too
            self._poll(state, save=epoch + 1 == self.settings.epochs or self._pruned())
        return state.progress

    def _start_epoch(self, state: TrainState, epoch: int) -> None:
        """Called before the first step of an epoch, and before restoring a checkpoint taken within one."""
        seed_globals(self.seed, "noise", epoch)  # dropout and the components' own draws
        self._seed_data(state.generator, epoch)
        state.loss_sum = torch.zeros((), device=self.device)
        state.model.train()
        set_epoch = getattr(state.model, "set_epoch", None)
        if set_epoch:
            set_epoch(epoch)

    def _finish_epoch(self, state: TrainState, epoch: int) -> float:
        """Do the remaining steps of an epoch. Returns the mean loss over all its steps."""
        model, optimizer, scaler, first = state.model, state.optimizer, state.scaler, state.step
        for step, batch in enumerate(self.batches(epoch, start=first, generator=state.generator), start=first):
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
            state.schedule.step()
            state.loss_sum += loss.detach()
            state.step = step + 1
            if time.perf_counter() >= state.next_poll:
                self._poll(state)
        return state.loss_sum.item() / self.steps_per_epoch

    @property
    def precision(self) -> torch.dtype:
        """The dtype of autocast. On the CPU float16 is neither fast nor stable: bfloat16 is used instead."""
        name = self.settings.precision
        return torch.bfloat16 if name == "float16" and self.device.type == "cpu" else getattr(torch, name)

    def autocast(self) -> AbstractContextManager[Any]:
        if self.precision is torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.precision)

    def _validate(self, progress: Progress, model: torch.nn.Module, entry: dict[str, float]) -> None:
        """Add the validation scores to `entry` and record it."""
        entry |= self.validate(model)
        progress.history.append(entry)
        self.on_epoch(entry)

    def _poll(self, state: TrainState, *, save: bool = False) -> None:
        """Save a checkpoint where one is due, and stop where that was requested; ask at most every POLL_SECONDS."""
        now = time.perf_counter()
        stop = now >= state.next_poll and self._stop_requested()
        if save or stop or now - state.saved_at > CHECKPOINT_SECONDS:
            self._save(state)
        if stop:
            raise Stopped
        if now >= state.next_poll:
            state.next_poll = time.perf_counter() + POLL_SECONDS

    def _pruned(self) -> bool:
        return self.signals is not None and bool(self.signals.pruned)

    def _stop_requested(self) -> bool:
        if self.signals is None:
            return False
        self.signals.heartbeat()
        return self.signals.stop_requested()

    def _resume(self, state: TrainState) -> None:
        if self.checkpoint is None:
            return
        saved = self.checkpoint.load(self.device)
        damage = self.checkpoint.damage
        if damage:
            self._log(damage)
        if saved is not None:
            if saved["step"]:
                self._start_epoch(state, len(saved["history"]))
            # checkpoints of earlier versions lack it: their schedule was a function of the step
            steps_done = len(saved["history"]) * self.steps_per_epoch + saved["step"]
            state.load_state_dict({"schedule": {"step": steps_done}, **saved})
            self._log(f"continued from a checkpoint {state.progress.resumed_from}")
            for entry in state.progress.history:
                self.on_epoch(entry)
        if damage:  # later checkpoints of this run keep the note
            state.progress.notes.append(f"{damage}, {state.progress.resumed_from}" if saved else damage)

    def _log(self, text: str) -> None:
        if self.signals:
            self.signals.log(text)

    def _save(self, state: TrainState) -> None:
        if self.checkpoint is None:
            return
        state.count_time("train")
        self.checkpoint.save(state.state_dict())
        state.count_time("checkpoint")
        state.saved_at = time.perf_counter()

    def _delete_checkpoint(self) -> None:
        """A diverged run that is tried again starts from its first epoch."""
        if self.checkpoint:
            self.checkpoint.delete()
