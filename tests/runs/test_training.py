"""The loop by itself: shared streams, the schedule, resuming to the bit, divergence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ablate.runs import training
from ablate.runs.checkpoints import ResumeCheckpoint
from ablate.runs.training import NonFiniteLoss, Trainer
from ablate.study import TrainingSettings

CPU = torch.device("cpu")
Make = Callable[..., Trainer]


@pytest.fixture
def trainer(toy: ModuleType) -> Make:
    def make(seed: int = 1, **changes: Any) -> Trainer:
        outside = {k: changes.pop(k) for k in ("data", "loss", "on_epoch", "checkpoint") if k in changes}
        settings = {"epochs": 4, "batch_size": 32, "learning_rate": 0.1, "precision": "float32", **changes}
        parts = {
            "data": toy.houses(device=CPU, count=128),
            "loss": toy.squared(),
            "on_epoch": lambda entry: None,
            **outside,
        }
        return Trainer(settings=TrainingSettings(**settings), seed=seed, device=CPU, validate=lambda model: {}, **parts)

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
        torch.manual_seed(999)  # whatever an arm drew before
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


def test_learning_rate_by_hand(trainer: Make) -> None:
    # 64 examples in batches of 32 over 5 epochs: 10 steps, of which 2 warm up; the cosine spans the other 8.
    rate = trainer(epochs=5, warmup_fraction=0.2, learning_rate=1.0).learning_rate
    assert [rate(0), rate(1)] == pytest.approx([1 / 3, 2 / 3])
    assert [rate(2), rate(4), rate(6), rate(8), rate(10)] == pytest.approx(
        [1, (1 + 0.5**0.5) / 2, 0.5, 0.14645, 0], 1e-4
    )
    assert trainer(epochs=5, warmup_fraction=0.0, learning_rate=3.0).learning_rate(0) == 3.0


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
    told: list[int] = []
    model = line(toy)
    model.set_epoch = told.append  # type: ignore[assignment]
    trainer(epochs=3).run(model)
    assert told == [0, 1, 2]


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_trains_on_a_cpu(toy: ModuleType, trainer: Make, precision: str) -> None:
    made = trainer(precision=precision)
    assert made.precision is torch.bfloat16
    history = made.run(line(toy)).history
    assert history[-1]["train/loss"] < history[0]["train/loss"]


class Stopped(Exception):
    """Stands in for a kill."""


class TestResume:
    @pytest.mark.parametrize("epochs_done", [1, 3])
    def test_continues_as_if_never_interrupted(
        self, toy: ModuleType, trainer: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epochs_done: int
    ) -> None:
        monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
        whole = line(toy)
        history = trainer().run(whole).history

        def stop(entry: Mapping[str, float]) -> None:
            if entry["epoch"] == epochs_done + 1:
                raise Stopped

        checkpoint = ResumeCheckpoint(tmp_path / "checkpoint.pt")
        with pytest.raises(Stopped):
            trainer(checkpoint=checkpoint, on_epoch=stop).run(line(toy))

        heard: list[Mapping[str, float]] = []
        torch.manual_seed(12345)
        fresh = toy.Line()  # of other weights: those of the checkpoint count
        progress = trainer(checkpoint=checkpoint, on_epoch=heard.append).run(fresh)
        assert progress.resumed == epochs_done
        assert progress.history == history == heard
        assert same(whole.state_dict(), fresh.state_dict())

    def test_saves_no_more_often_than_asked(
        self, toy: ModuleType, trainer: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 3600.0)
        trainer(checkpoint=ResumeCheckpoint(tmp_path / "checkpoint.pt")).run(line(toy))
        assert list(tmp_path.glob("*.pt")) == []


def test_divergence_names_the_epoch(toy: ModuleType, trainer: Make) -> None:
    heard: list[Mapping[str, float]] = []

    class Breaking:
        def __init__(self) -> None:
            self.steps = 0

        def __call__(self, output: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
            self.steps += 1
            return output.mean() * (float("nan") if self.steps == 5 else 1.0)  # two steps an epoch: the third

    with pytest.raises(NonFiniteLoss, match="not finite in epoch 3") as caught:
        trainer(loss=Breaking(), on_epoch=heard.append).run(line(toy))
    assert caught.value.epoch == 3
    assert [entry["epoch"] for entry in heard] == [1, 2]


def test_a_model_that_fits_gets_one_epoch_and_no_gradients(toy: ModuleType, trainer: Make) -> None:
    model = toy.MeanPrice()
    progress = trainer().run(model)
    prices = torch.cat([batch.targets["price"] for batch in trainer().batches(epoch=0)])
    assert model.price == prices.mean()
    assert progress.history == [{"epoch": 1.0}]
