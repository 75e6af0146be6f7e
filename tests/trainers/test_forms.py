"""The built-in loop with a project's own forms of inputs, optimizer, metrics, loss and fit."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toy_project import Project

from ablate.study import InputError, Metric, RunSpec, TrainingSettings
from ablate.trainers.builtin import cost, evaluation
from ablate.trainers.builtin.checkpoints import ResumeCheckpoint, load_model
from ablate.trainers.builtin.fitting import FitRun
from ablate.trainers.builtin.loop import Trainer
from ablate.trainers.builtin.optimizers import make_optimizer, make_schedule
from ablate.trainers.context import Context
from ablate.trainers.contract import Batch
from ablate.trainers.errors import Stopped
from ablate.trainers.host import execute

CPU = torch.device("cpu")


@pytest.fixture
def context(project: Project) -> Context:
    folder = project.folder
    return Context(
        "linear_toy.wrong_metrics:CATALOGUE", ("error",), folder, folder / "work", folder / "logs",
        named_metrics=("error",),
    )  # fmt: skip


def spec(form: str, output: str = "tensor", loss: str = "error", **training: Any) -> RunSpec:
    settings = {
        "data": {"factory": "linear_toy.forms:homes", "form": form},
        "model": {"factory": "linear_toy.forms:Reader", "output": output},
        "loss": {"factory": f"linear_toy.forms:{loss}"},
        "training": {"epochs": 2, "batch_size": 12, "precision": "float32", **training},
    }
    return RunSpec("toy", "plain", 1, "compare", settings, "")


@pytest.mark.parametrize(
    ("form", "output"),
    [("tokens", "tuple"), ("dict", "dict"), ("tuple", "list"), ("list", "tensor"), ("named", "dict")],
)
def test_inputs_and_outputs_in_any_form(context: Context, form: str, output: str) -> None:
    result = execute(spec(form, output), context)
    assert (result.status, result.error) == ("FINISHED", "")
    assert result.scores["cost/parameters"] == 5 + 2
    assert result.scores["test/error"] > 0
    assert result.artifacts is not None
    model = result.artifacts / "model"
    assert isinstance(load_model(model), nn.Module)
    if form != "named":  # is saved as the tuple that it is
        assert set(cost.latency(model, threads=1, device="cpu")) == {"cost/latency_ms_p50", "cost/latency_ms_p95"}


def test_a_metric_that_the_study_does_not_name_cannot_fail_it(context: Context) -> None:
    result = execute(spec("dict"), context)
    assert result.status == "FINISHED"
    assert {name for name in result.scores if name.startswith("test/")} == {
        "test/error", "test/undefined", "test/rare", "test/pooled",
    }  # fmt: skip
    log = context.log_file(spec("dict")).read_text(encoding="utf-8")
    assert "metric 'array' must give a torch tensor, one number an example; it gave numpy.ndarray" in log
    assert "metric 'raising' cannot be computed: ZeroDivisionError: no rooms; the study does not ask for it" in log


def test_a_loss_with_parameters_is_refused(context: Context) -> None:
    result = execute(spec("dict", loss="Weighted"), context)
    assert result.status == "FAILED"
    assert "the loss has parameters, which would not be trained" in result.error


class TestTraining:
    def train(self, toy: ModuleType, **training: Any) -> tuple[nn.Module, Trainer]:
        torch.manual_seed(0)
        model = toy.Line(3, 0.0)
        settings = TrainingSettings(
            **{"epochs": 3, "batch_size": 20, "precision": "float32", "gradient_clip": 0.0} | training
        )
        checkpoint, signals = training.pop("checkpoint", None), None
        data = toy.houses(device=CPU, count=128)
        trainer = Trainer(
            data, toy.squared(), settings, 1, CPU, lambda model: {}, lambda entry: None, checkpoint, signals
        )
        trainer.run(model)
        return model, trainer

    def test_the_last_batch_is_kept_where_asked(self, toy: ModuleType) -> None:
        for setting, sizes in (("drop", [20, 20, 20]), ("keep", [20, 20, 20, 4])):
            _, trainer = self.train(toy, last_batch=setting)
            assert [len(batch.inputs) for batch in trainer.batches(0)] == sizes
            assert trainer.examples_per_epoch == sum(sizes)

    def test_an_optimizer_and_a_schedule_of_ones_own_are_those_of_a_plain_loop(self, toy: ModuleType) -> None:
        optimizer = {"factory": "linear_toy.forms:momentum", "lr": 0.05, "mu": 0.5}
        model, trainer = self.train(toy, optimizer=optimizer, schedule={"factory": "linear_toy.forms:halving"})
        torch.manual_seed(0)
        plain = toy.Line(3, 0.0)
        sgd = torch.optim.SGD(plain.parameters(), lr=0.05, momentum=0.5)
        for epoch in range(3):
            for group in sgd.param_groups:
                group["lr"] = 0.05 / 2**epoch
            for batch in trainer.batches(epoch):
                sgd.zero_grad()
                toy.squared()(plain(batch.inputs), batch.targets).backward()
                sgd.step()
        assert torch.equal(model.linear.weight, plain.linear.weight)
        assert torch.equal(model.linear.bias, plain.linear.bias)

    @pytest.mark.parametrize("own", ["halving", "lambda", "one cycle", "sequential", "chained", None])
    def test_a_stopped_training_goes_on_at_its_learning_rate(
        self, toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str | None
    ) -> None:
        """The loop's own schedule also from a checkpoint of a version that kept none."""
        training: dict[str, Any] = {"epochs": 3, "batch_size": 20, "precision": "float32"}
        if own:
            schedule = {"factory": "linear_toy.forms:scheduled", "kind": own}
            training |= {
                "optimizer": {"factory": "linear_toy.forms:momentum", "lr": 0.05},
                "schedule": {"factory": "linear_toy.forms:halving"} if own == "halving" else schedule,
            }

        class Once:
            polls = 0

            def heartbeat(self) -> None:
                self.polls += 1

            def stop_requested(self) -> bool:
                return self.polls == 5  # three steps, the end of the epoch, a step

            def log(self, text: str) -> None:
                pass

        def run(model: nn.Module, **given: Any) -> None:
            settings = TrainingSettings(**training)
            data = toy.houses(device=CPU, count=128)
            Trainer(data, toy.squared(), settings, 1, CPU, lambda m: {}, lambda e: None, **given).run(model)

        monkeypatch.setattr("ablate.trainers.builtin.loop.POLL_SECONDS", 0.0)
        torch.manual_seed(0)
        whole, stopped, again = (toy.Line(3, 0.1) for _ in range(3))
        stopped.load_state_dict(whole.state_dict())
        run(whole)
        checkpoint = ResumeCheckpoint(tmp_path / "checkpoint.pt")
        with pytest.raises(Stopped):
            run(stopped, checkpoint=checkpoint, signals=Once())
        state = checkpoint.load(CPU)
        assert state is not None
        assert (len(state["history"]), state["step"]) == (1, 1)
        if not own:
            del state["schedule"]
            checkpoint.save(state)
        run(again, checkpoint=checkpoint)
        assert torch.equal(again.linear.weight, whole.linear.weight)


@pytest.mark.parametrize(
    ("training", "rule"),
    [
        ({"optimizer": {"factory": "linear_toy.forms:no_optimizer"}}, "must make a torch.optim.Optimizer"),
        ({"optimizer": {"factory": "torch.optim:LBFGS"}}, "must do its step without a closure"),
        ({"optimizer": {"factory": "torch.optim:SGD", "lrate": 1.0}}, "takes no such argument"),
        ({"schedule": {"factory": "torch.optim.lr_scheduler:ReduceLROnPlateau"}}, "must depend on the step alone"),
        ({"schedule": {"factory": "torch.nn:Identity"}}, "must make a learning-rate scheduler"),
        ({"schedule": {"factory": "linear_toy.forms:Dated"}}, "lists and dicts alone: a run could not be resumed"),
    ],
)
def test_factories_of_something_else_are_refused(toy: ModuleType, training: dict[str, Any], rule: str) -> None:
    settings = TrainingSettings(epochs=1, **training)

    def make() -> None:
        make_schedule(make_optimizer([nn.Parameter(torch.zeros(1))], settings), settings, 10, 10)

    with pytest.raises(InputError, match=rule):
        make()


class Mean:
    """The mean error, added up."""

    def __init__(self) -> None:
        self.total, self.count = 0.0, 0

    def update(self, output: Any, targets: Mapping[str, Any]) -> None:
        self.total += float((output - targets["price"]).abs().double().sum())
        self.count += len(targets["price"])

    def compute(self) -> float:
        return self.total / self.count


class Broken(Mean):
    def compute(self) -> float:
        raise ZeroDivisionError("nothing was counted")


ADDED = Metric("added", "Mean error", "k€", "lower", accumulator=Mean)
BROKEN = Metric("broken", "Broken", "k€", "lower", accumulator=Broken)
KEPT = Metric("kept", "Mean error", "k€", "lower", lambda output, targets: (output - targets["price"]).abs())


class Watched(nn.Module):
    """Counts the outputs that are alive when another is made."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: list[weakref.ref[Tensor]] = []
        self.most = 0

    def forward(self, inputs: Tensor) -> Tensor:
        gc.collect()
        self.most = max(self.most, sum(output() is not None for output in self.outputs))
        output = inputs.sum(1)
        self.outputs.append(weakref.ref(output))
        return output


class TestAddedUp:
    batch = Batch(
        torch.randn(5 * evaluation.CHUNK, 3, generator=torch.Generator().manual_seed(0)),
        {"price": torch.ones(5 * evaluation.CHUNK)},
    )

    def test_the_score_is_that_of_all_outputs_and_they_are_not_kept(self) -> None:
        model, other = Watched(), Watched()
        added = evaluation.score_model(model, self.batch, [ADDED])
        kept = evaluation.score_model(other, self.batch, [KEPT, ADDED])
        assert added["added"] == pytest.approx(kept["kept"], rel=1e-12)
        assert added["added"] == pytest.approx(kept["added"], rel=1e-12)
        assert (model.most, other.most) == (1, 4)  # the last one, or all before

    def test_an_error_names_the_metric(self) -> None:
        rule = "metric 'broken' cannot be computed: ZeroDivisionError: nothing was counted"
        with pytest.raises(evaluation.WrongOutput, match=rule):
            evaluation.score_model(Watched(), self.batch, [ADDED, BROKEN])
        notes: list[str] = []
        leave_out = evaluation.leaving_out(["added"], notes.append)
        assert list(evaluation.score_model(Watched(), self.batch, [ADDED, BROKEN], leave_out)) == ["added"]
        assert rule in notes[0]

    def test_a_metric_is_one_or_the_other(self) -> None:
        assert ADDED.pooled
        with pytest.raises(ValueError, match="'m' needs a function per_example or an accumulator, and not both"):
            Metric("m", "", "", "lower")
        with pytest.raises(ValueError, match="not both"):
            Metric("m", "", "", "lower", KEPT.per_example, accumulator=Mean)


class Descends(nn.Module):
    """Fits itself by gradient descent over three epochs, every row of each."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 1)
        self.rows: list[int] = []

    def forward(self, inputs: Tensor) -> Tensor:
        return self.linear(inputs).squeeze(-1)  # type: ignore[no-any-return]

    def fit(self, batches: Iterable[Batch], run: FitRun) -> None:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        for epoch in range(run.epochs):
            for batch in run.batches(epoch):
                self.rows.append(len(batch.inputs))
                loss = (self(batch.inputs) - batch.targets["price"]).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            run.epoch(epoch + 1, {"loss": loss.item()})


def test_a_fit_with_run_has_gradients_every_row_and_a_curve(toy: ModuleType, tmp_path: Path) -> None:
    entries: list[Mapping[str, float]] = []
    data = toy.houses(device=CPU, count=128)
    validation = data.examples("val")

    def validate(model: nn.Module) -> dict[str, float]:
        assert not model.training
        return {"val/kept": evaluation.score_model(model, validation, [KEPT])["kept"]}

    settings = TrainingSettings(epochs=3, batch_size=30, last_batch="keep")
    trainer = Trainer(
        data, toy.squared(), settings, 1, CPU, validate, entries.append, folder=tmp_path / "fit"
    )  # fmt: skip
    model = Descends()
    progress = trainer.run(model)
    assert model.rows == [30, 30, 4] * 3
    assert [set(entry) for entry in entries] == [{"epoch", "train/loss", "val/kept"}] * 3
    assert [entry["epoch"] for entry in entries] == [1, 2, 3]
    assert progress.history == entries
    assert entries[-1]["val/kept"] < entries[0]["val/kept"]
    assert not model.training


def test_a_fit_with_run_stops_when_it_is_asked_to(toy: ModuleType) -> None:
    class Asked:
        def heartbeat(self) -> None: ...

        def stop_requested(self) -> bool:
            return True

        def log(self, text: str) -> None: ...

    validate: Callable[[nn.Module], dict[str, float]] = lambda model: {}  # noqa: E731
    data, settings = toy.houses(device=CPU, count=128), TrainingSettings(epochs=3, batch_size=30)
    with pytest.raises(Stopped):
        Trainer(data, toy.squared(), settings, 1, CPU, validate, lambda entry: None, signals=Asked()).run(Descends())
