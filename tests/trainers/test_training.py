"""The training loop alone: shared random streams, the schedule, bit-identical resuming, divergence."""

from __future__ import annotations

import importlib
import math
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ablate.study import TrainingSettings
from ablate.trainers.builtin import controls, loop
from ablate.trainers.builtin.checkpoints import ResumeCheckpoint
from ablate.trainers.builtin.loop import NonFiniteLoss, Trainer
from ablate.trainers.builtin.optimizers import WarmupCosine
from ablate.trainers.errors import Stopped

CPU = torch.device("cpu")
Make = Callable[..., Trainer]


@pytest.fixture
def trainer(toy: ModuleType) -> Make:
    def make(seed: int = 1, **changes: Any) -> Trainer:
        arguments = {k: changes.pop(k) for k in ("data", "loss", "on_epoch", "checkpoint", "signals") if k in changes}
        settings = {"epochs": 4, "batch_size": 32, "learning_rate": 0.1, "precision": "float32", **changes}
        components = {
            "data": toy.houses(device=CPU, count=128),
            "loss": toy.squared(),
            "on_epoch": lambda entry: None,
            **arguments,
        }
        return Trainer(
            settings=TrainingSettings(**settings), seed=seed, device=CPU, validate=lambda model: {}, **components
        )

    return make


def line(toy: ModuleType, **settings: Any) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = toy.Line(**settings)
    return model


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class TestStreams:
    def test_examples_depend_on_seed_and_epoch_alone(self, trainer: Make) -> None:
        first = [batch.inputs for batch in trainer().batches(epoch=2)]
        torch.manual_seed(999)  # arms draw differently before
        again = [batch.inputs for batch in trainer(learning_rate=0.5, epochs=9).batches(epoch=2)]
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
        for other in (trainer().batches(epoch=3), trainer(seed=2).batches(epoch=2)):
            assert not torch.equal(first[0], next(iter(other)).inputs)

    def test_an_epoch_is_every_example_once_in_full_batches(self, trainer: Make) -> None:
        prices = torch.cat([batch.targets["price"] for batch in trainer(batch_size=30).batches(epoch=0)])
        assert len(prices) == len(prices.unique()) == 60  # 64 examples: the last 4 wait for another epoch

    def test_fewer_examples_than_a_batch_make_one_step(self, trainer: Make) -> None:
        (batch,) = trainer(batch_size=1000).batches(epoch=0)
        assert len(batch.inputs) == 64

    def test_a_models_own_noise_is_shared_by_arms(self, toy: ModuleType, trainer: Make) -> None:
        class Recorder(toy.Line):  # type: ignore[name-defined,misc]
            def forward(self, inputs: Tensor) -> Tensor:
                if self.training:
                    drawn.append(torch.rand(1).item())
                answer: Tensor = super().forward(inputs)
                return answer

        draws = []
        for columns in (2, 3):  # another arm: another number of initial weights
            drawn: list[float] = []
            torch.manual_seed(columns)
            trainer(epochs=2, batch_size=64).run(Recorder(columns=columns, dropout=0.0))
            draws.append(drawn)
        assert draws[0] == draws[1]
        assert draws[0][0] != draws[0][1]  # another epoch


def test_learning_rate_by_hand() -> None:
    # 10 steps, of which 2 warm up; the cosine spans the other 8.
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = WarmupCosine(optimizer, 10, 0.2)
    rates = []
    for _ in range(11):
        rates.append(optimizer.param_groups[0]["lr"])
        schedule.step()
    assert rates[:2] == pytest.approx([1 / 3, 2 / 3])
    assert rates[2::2] == pytest.approx([1, (1 + 0.5**0.5) / 2, 0.5, 0.14645, 0], 1e-4)
    assert WarmupCosine(optimizer, 10, 0.0).rate(3.0, 0) == 3.0


@pytest.mark.parametrize(("clip", "expected"), [(0.001, 0.001), (0.0, None)])
def test_gradients_are_clipped_by_their_global_norm(
    toy: ModuleType, trainer: Make, clip: float, expected: float | None
) -> None:
    model = line(toy, dropout=0.0)
    trainer(gradient_clip=clip, epochs=1, batch_size=64).run(model)
    norm = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm().item()
    if expected is None:
        assert norm > 0.1
    else:
        assert norm == pytest.approx(expected, rel=1e-3)


def test_set_epoch_is_called_before_every_epoch(toy: ModuleType, trainer: Make) -> None:
    epochs: list[int] = []
    model = line(toy)
    model.set_epoch = epochs.append  # type: ignore[assignment]
    trainer(epochs=3).run(model)
    assert epochs == [0, 1, 2]


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_trains_on_a_cpu(toy: ModuleType, trainer: Make, precision: str) -> None:
    half = trainer(precision=precision)
    assert half.precision is torch.bfloat16
    history = half.run(line(toy)).history
    assert history[-1]["train/loss"] < history[0]["train/loss"]


class Killed(Exception):
    """Stands in for a kill."""


class StopAfter:
    """Signals that request a stop after a number of polls, and keep the lines of the log."""

    pruned = ""

    def __init__(self, polls: float = math.inf) -> None:
        self.polls, self.heartbeats, self.lines = polls, 0, list[str]()

    def heartbeat(self) -> None:
        self.heartbeats += 1

    def stop_requested(self) -> bool:
        return self.heartbeats > self.polls

    def log(self, text: str) -> None:
        self.lines.append(text)


class TestResume:
    @pytest.mark.parametrize("precision", ["float32", "bfloat16"])
    @pytest.mark.parametrize("kind", ["dropout", "batch statistics", "shuffled input"])
    def test_stopped_after_any_step_it_ends_the_same(
        self, trainer: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toy: ModuleType, precision: str, kind: str
    ) -> None:
        monkeypatch.setattr(loop, "POLL_SECONDS", 0.0)
        make, data = model_and_data(toy, kind)
        settings = {"data": data, "epochs": 5, "batch_size": 8, "precision": precision}
        uninterrupted, history, draws_after = make(), [], []
        expected = trainer(**settings, on_epoch=history.append).run(uninterrupted)
        draws_after.append(torch.rand(3))

        chance, checkpoint, logs = random.Random(kind), ResumeCheckpoint(tmp_path / "checkpoint.pt"), []
        while True:
            torch.manual_seed(len(logs))  # another process starts with another random state
            model, signals = make(), StopAfter(polls=chance.randrange(1, 12))
            try:
                progress = trainer(**settings, checkpoint=checkpoint, signals=signals).run(model)
                break
            except Stopped:
                logs.append(signals.lines)
        draws_after.append(torch.rand(3))

        assert len(logs) > 3
        assert any("steps" in first for (first, *_) in logs[1:])
        assert progress.history == expected.history == history
        assert [weights.numpy().tobytes() for weights in model.state_dict().values()] == [
            weights.numpy().tobytes() for weights in uninterrupted.state_dict().values()
        ]
        assert torch.equal(*draws_after)  # evaluation would draw the same too

    def test_a_kill_in_mid_epoch_goes_on_from_the_last_step_saved(
        self, toy: ModuleType, trainer: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
        monkeypatch.setattr(loop, "POLL_SECONDS", 0.0)
        settings = {"batch_size": 4, "epochs": 2}  # 16 steps an epoch
        uninterrupted = line(toy)
        history = trainer(**settings).run(uninterrupted).history
        data, sampled = toy.houses(device=CPU, count=128), []

        def sample(index: Tensor, *, generator: torch.Generator) -> Any:
            sampled.append(index)
            if len(sampled) == 24:
                raise Killed
            return toy.Houses.sample(data, index, generator=generator)

        data.sample = sample
        checkpoint, signals = ResumeCheckpoint(tmp_path / "checkpoint.pt"), StopAfter()
        with pytest.raises(Killed):
            trainer(data=data, checkpoint=checkpoint, **settings).run(line(toy))
        checkpoint.path.write_bytes(b"damaged")
        resumed = toy.Line()
        progress = trainer(data=data, checkpoint=checkpoint, signals=signals, **settings).run(resumed)
        assert len(sampled) == 24 + 10  # 23 steps were done, the previous checkpoint has 22 of 32: 10 are left
        damage = "damaged checkpoint checkpoint.pt (it does not begin as a checkpoint does); the one before was used"
        assert signals.lines == [damage, "continued from a checkpoint after epoch 1 and 6 steps"]
        assert progress.notes == [f"{damage}, after epoch 1 and 6 steps"]
        assert progress.history == history
        assert same(uninterrupted.state_dict(), resumed.state_dict())

    def test_the_last_epoch_is_kept_for_an_interrupted_evaluation(
        self, toy: ModuleType, trainer: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 3600.0)
        saved: list[bool] = []
        checkpoint = ResumeCheckpoint(tmp_path / "checkpoint.pt")
        one = trainer(checkpoint=checkpoint, on_epoch=lambda entry: saved.append(checkpoint.path.exists()))
        history = one.run(line(toy)).history
        assert saved == [False] * 4  # not within CHECKPOINT_SECONDS
        again = one.run(line(toy))
        assert (again.history, again.resumed) == (history, 4)

    def test_polls_at_most_every_poll_seconds(
        self, toy: ModuleType, trainer: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(loop, "POLL_SECONDS", 3600.0)
        signals = StopAfter(polls=0)
        trainer(signals=signals).run(line(toy))
        trainer(signals=signals).run(toy.MeanPrice())
        assert signals.heartbeats == 0

    def test_a_fit_is_stopped_too_and_done_again(
        self, toy: ModuleType, trainer: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(loop, "POLL_SECONDS", 0.0)
        checkpoint = ResumeCheckpoint(tmp_path / "checkpoint.pt")
        with pytest.raises(Stopped):
            trainer(signals=StopAfter(polls=1), checkpoint=checkpoint).run(toy.MeanPrice())
        assert list(tmp_path.glob("checkpoint*")) == []
        model = toy.MeanPrice()
        trainer(signals=StopAfter(), checkpoint=checkpoint).run(model)
        assert model.price != 0

    def test_a_diverged_run_is_not_resumed(
        self, toy: ModuleType, trainer: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
        monkeypatch.setattr(loop, "POLL_SECONDS", 0.0)
        with pytest.raises(NonFiniteLoss):
            trainer(learning_rate=1e30, checkpoint=ResumeCheckpoint(tmp_path / "checkpoint.pt")).run(line(toy))
        assert list(tmp_path.glob("checkpoint*")) == []


def model_and_data(toy: ModuleType, kind: str) -> tuple[Callable[[], nn.Module], Any]:
    """A network, the same at every call, and data of 64 training examples."""
    terrace = importlib.import_module("linear_toy.terrace")

    def seeded(make: Callable[..., nn.Module], *arguments: Any) -> Callable[[], nn.Module]:
        def build() -> nn.Module:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                return make(*arguments)

        return build

    if kind == "dropout":
        return seeded(toy.Line, 3, 0.5), toy.houses(device=CPU, count=128)
    if kind == "batch statistics":
        return seeded(terrace.TwoBranches), terrace.terraces(device=CPU, count=128)
    shuffled = {"shuffle_input": ["age"], "drop_input": [], "drop_joints": []}
    return seeded(terrace.TwoBranches, 4), controls.ControlledData(terrace.terraces(device=CPU, count=128), **shuffled)


def test_divergence_names_the_epoch(toy: ModuleType, trainer: Make) -> None:
    entries: list[Mapping[str, float]] = []

    class Breaking:
        def __init__(self) -> None:
            self.steps = 0

        def __call__(self, output: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
            self.steps += 1
            return output.mean() * (float("nan") if self.steps == 5 else 1.0)  # two steps an epoch: the third

    with pytest.raises(NonFiniteLoss, match="not finite in epoch 3") as caught:
        trainer(loss=Breaking(), on_epoch=entries.append).run(line(toy))
    assert caught.value.epoch == 3
    assert [entry["epoch"] for entry in entries] == [1, 2]


def test_a_model_that_fits_gets_one_epoch_and_no_gradients(toy: ModuleType, trainer: Make) -> None:
    model = toy.MeanPrice()
    progress = trainer().run(model)
    prices = torch.cat([batch.targets["price"] for batch in trainer().batches(epoch=0)])
    assert model.price == prices.mean()
    assert progress.history == [{"epoch": 1.0}]
