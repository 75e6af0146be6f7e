"""One run, start to end, as a worker process does it."""

from __future__ import annotations

import errno
import importlib
import itertools
import json
import os
import pickle
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from small_disk import SmallDisk
from toy_project import Project

from ablate.study import InputError, RunSpec
from ablate.study.data_digests import file_digest
from ablate.trainers.builtin import evaluation, loop, run, timing
from ablate.trainers.builtin.checkpoints import ResumeCheckpoint, load_model, save_model
from ablate.trainers.builtin.run import load_data
from ablate.trainers.context import Context
from ablate.trainers.errors import Stopped, Unavailable, storage_failure
from ablate.trainers.host import execute

SETTINGS: dict[str, dict[str, Any]] = {
    "data": {"factory": "linear_toy.components:houses", "count": 128},
    "model": {"factory": "linear_toy.components:Line", "columns": 2},
    "loss": {"factory": "linear_toy.components:squared"},
    "training": {"epochs": 3, "batch_size": 32, "learning_rate": 0.1, "precision": "float32"},
}
DRAWING = {  # components that draw from NumPy and `random` in `sample` and in the loss
    "data": {"factory": "linear_toy.odd:drawing"},
    "loss": {"factory": "linear_toy.odd:drawing_loss"},
}
Run = Callable[..., run.RunResult]


def spec(**sections: Any) -> RunSpec:
    phase = sections.pop("phase", "compare")
    settings = dict(SETTINGS)
    for name in SETTINGS.keys() & sections.keys():
        settings[name] = sections[name] if "factory" in sections[name] else {**SETTINGS[name], **sections[name]}
    return RunSpec("toy", sections.get("arm", "plain"), sections.get("seed", 1), phase, settings, "")


@pytest.fixture
def context(project: Project) -> Context:
    catalogue = "linear_toy.metrics:METRICS"
    return Context(catalogue, ("absolute_error",), project.folder, project.folder / "work", project.folder / "logs")


class TestFinished:
    def test_leaves_scores_curves_and_artifacts(self, context: Context) -> None:
        entries: list[Any] = []
        result = execute(spec(), context, on_epoch=entries.append)
        assert (result.status, result.error, result.key) == ("FINISHED", "", spec().key)
        assert result.scores.keys() == {
            "val/absolute_error",
            *(f"test/{metric}" for metric in ("absolute_error", "median_error", "close")),
            *("cost/parameters", "cost/parameters_weights", "cost/flops", "count/epochs", "count/examples"),
            *("count/train_examples", "count/test_examples"),
        }
        assert (result.scores["count/epochs"], result.scores["count/examples"]) == (3, 3 * 64)
        assert (result.scores["count/train_examples"], result.scores["count/test_examples"]) == (64, 32)
        assert [entry["epoch"] for entry in result.history] == [1, 2, 3]
        assert list(result.history) == entries
        lines = (context.folder(spec()) / "progress.jsonl").read_text().splitlines()
        assert [json.loads(line) for line in lines] == entries
        assert result.timings.keys() == {f"time/{name}_s" for name in ("train", "validate", "checkpoint", "total")}
        assert result.artifacts is not None
        assert {path.name for path in result.artifacts.iterdir()} == {
            "model",
            "scores.parquet",
            "conditions.parquet",
            "examples.npz",
            "run.log",
        }

    def test_computes_a_metric_once_on_each_split(self, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
        """Some take longer than a network's pass. The pictures need the first one again, to find the worst example."""
        computed: list[str] = []
        real = evaluation.metric_values

        def counted(metric: Any, *given: Any) -> torch.Tensor:
            computed.append(metric.name)
            return real(metric, *given)

        monkeypatch.setattr(evaluation, "metric_values", counted)
        result = execute(spec(training={"epochs": 1}), context)
        assert result.status == "FINISHED"
        assert {"median_error", "close"} < set(computed)
        assert [computed.count(name) for name in ("median_error", "close")] == [1, 1]

    def test_scores_are_those_of_the_saved_network_on_the_test_split(self, context: Context) -> None:
        result = execute(spec(), context)
        assert result.artifacts is not None
        components = importlib.import_module("linear_toy.components")
        test = components.houses(device=torch.device("cpu"), count=128).examples("test")
        with torch.no_grad():
            errors = (load_model(result.artifacts / "model")(test.inputs) - test.targets["price"]).abs()
        frame = pd.read_parquet(result.artifacts / "scores.parquet")
        assert list(frame.columns) == ["absolute_error", "close"]  # the median's values are those of the mean
        np.testing.assert_allclose(frame["absolute_error"], errors.numpy(), rtol=5e-4)
        conditions = pd.read_parquet(result.artifacts / "conditions.parquet")
        assert list(conditions.columns) == ["price", "size"]
        assert np.array_equal(conditions["price"].to_numpy(), test.targets["price"].numpy())
        assert result.scores["test/absolute_error"] == pytest.approx(errors.double().mean().item(), rel=1e-12)
        assert result.scores["test/median_error"] == pytest.approx(float(np.median(errors.double())), rel=1e-12)
        order = errors.argsort(stable=True)
        with np.load(result.artifacts / "examples.npz", allow_pickle=False) as pictures:
            assert pictures["index"].tolist() == [int(order[15]), int(order[-1]), 0, 6, 12, 18, 24, 31]
            assert pictures["role"].tolist() == [1, 2, 0, 0, 0, 0, 0, 0]
            assert np.array_equal(pictures["inputs"], test.inputs[pictures["index"]].numpy())

    def test_runs_on_the_same_examples_keep_the_same_conditions(self, context: Context) -> None:
        folders = [execute(spec(seed=seed), context).artifacts for seed in (1, 2)]
        one, two = ((folder / "conditions.parquet").read_bytes() for folder in folders if folder)
        assert one == two

    def test_depends_on_settings_and_seed_alone(self, context: Context, tmp_path: Path) -> None:
        first = execute(spec(), context)
        for seed in (torch.manual_seed, np.random.seed, random.seed):
            seed(4321)
        elsewhere = replace(context, work=tmp_path / "elsewhere", logs=tmp_path / "elsewhere")
        again = execute(replace(spec(), arm="renamed", study="other"), elsewhere)
        assert (first.scores, first.history) == (again.scores, again.history)
        assert execute(spec(seed=2), context).scores != first.scores

    @pytest.mark.parametrize("oddity", ["numpy", "random"])
    def test_every_global_generator_is_seeded_before_components_are_built(
        self, context: Context, tmp_path: Path, oddity: str
    ) -> None:
        drawing = spec(model={"factory": "linear_toy.odd:Odd", "oddity": oddity})
        first = execute(drawing, context)
        again = execute(drawing, replace(context, work=tmp_path / "elsewhere"))
        assert first.scores == again.scores
        assert weights(first) == weights(again)
        assert execute(replace(drawing, seed=2), context).scores != first.scores

    def test_a_replicate_has_random_streams_of_its_own(self, context: Context) -> None:
        replicate = replace(spec(), replicate=1)
        assert replicate.key != spec().key
        assert execute(replicate, context).scores != execute(spec(), context).scores

    def test_tuning_never_touches_the_test_split(self, context: Context) -> None:
        tuned = spec(phase="tune")
        result = execute(tuned, context)
        assert not any(name.startswith("test/") for name in result.scores)
        assert not any(name.startswith("test/") for entry in result.history for name in entry)
        assert result.artifacts is not None
        assert {path.name for path in result.artifacts.iterdir()} == {"run.log"}

    def test_a_reference_without_gradients(self, context: Context) -> None:
        result = execute(spec(model={"factory": "linear_toy.components:MeanPrice"}), context)
        assert (result.status, result.scores["count/epochs"], result.scores["cost/parameters"]) == ("FINISHED", 1, 0)


class TestTimedSteps:
    """A clock that goes on by 2 s from one step to the next."""

    def test_the_time_of_a_run_is_that_of_all_its_steps(
        self, context: Context, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ticks = itertools.count(100, 2)
        monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: float(next(ticks))))
        data, *_ = run.build(spec(), context, torch.device("cpu"))
        steps = data.train_size // 32
        assert steps > 1
        assert timing.training_seconds(spec(), context, torch.device("cpu")) == 2.0 * steps * 3
        assert next(ticks) == 100 + 2 * timing.EPOCHS
        assert not context.work.exists()
        assert not context.logs.exists()

    def test_a_model_that_fits_itself_has_no_steps(self, context: Context) -> None:
        fitted = spec(model={"factory": "linear_toy.components:MeanPrice"})
        assert timing.training_seconds(fitted, context, torch.device("cpu")) is None


class TestFailed:
    @pytest.mark.parametrize(
        ("sections", "error"),
        [
            (
                {"training": {"learning_rate": 1e30}},
                r"the training loss is not finite in epoch 1; a lower learning_rate may help$",
            ),
            (
                {"model": {"factory": "linear_toy.components:Fragile", "end": "raise"}},
                r"RuntimeError: the roof fell in \(.*components.py, line \d+\)$",
            ),
            ({"model": {"factory": "linear_toy.components:Fragile", "end": "exit"}}, "SystemExit: the owner left"),
            ({"model": {"factory": "linear_toy.odd:Odd", "oddity": "cancelled"}}, "CancelledError: deadline"),
            ({"model": {"factory": "linear_toy.odd:Odd", "oddity": "generator"}}, "GeneratorExit: over"),
            ({"model": {"columns": 7}}, "ValueError: columns must be 1, 2 or 3, got 7"),
            ({"model": {"rows": 7}}, "InputError: .*rows.*takes no such argument"),
            ({"loss": {"factory": "linear_toy.components:cubed"}}, "InputError: .*no 'cubed'"),
        ],
    )
    def test_is_a_result_with_its_reason(self, context: Context, sections: dict[str, Any], error: str) -> None:
        result = execute(spec(**sections), context)
        assert (result.status, dict(result.scores)) == ("FAILED", {})
        assert re.match(error, result.error), result.error
        assert result.artifacts is not None
        assert [path.name for path in result.artifacts.iterdir()] == ["run.log"]
        log = (result.artifacts / "run.log").read_text()
        assert re.sub(r" \([^()]+, line \d+\)$", "", result.error) in log
        assert "Traceback (most recent call last)" in log
        assert pickle.loads(pickle.dumps(result)) == result

    @pytest.mark.parametrize("default_handler", [True, False])
    def test_keyboard_interrupt_is_raised_only_under_pythons_own_handler(
        self, context: Context, default_handler: bool
    ) -> None:
        interrupting = spec(model={"factory": "linear_toy.odd:Odd", "oddity": "interrupt"})
        before = signal.signal(signal.SIGINT, signal.default_int_handler if default_handler else lambda *_: None)
        try:
            if default_handler:
                with pytest.raises(KeyboardInterrupt):
                    execute(interrupting, context)
            else:
                assert execute(interrupting, context).error.startswith("KeyboardInterrupt: of its own (")
        finally:
            signal.signal(signal.SIGINT, before)


UNLOADABLE_NETWORKS = """
import torch

class Expanded(torch.nn.Module):
    \"""A buffer whose elements share one memory location: nothing can be copied into it.\"""
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 1)
        self.register_buffer("mean", torch.zeros(1).expand(3))
    def forward(self, inputs):
        return self.linear(inputs - self.mean).squeeze(-1)

class Late(Expanded):
    \"""A buffer that is None until the first batch.\"""
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", None)
    def forward(self, inputs):
        if self.mean is None:
            self.mean = inputs.detach().mean(0)
        return super().forward(inputs)
"""


@pytest.mark.parametrize(("network", "reason"), [("Expanded", 'parameter named "mean"'), ("Late", "Unexpected key")])
def test_a_network_that_cannot_be_loaded_again_is_not_saved(context: Context, network: str, reason: str) -> None:
    """Otherwise only `ablate evaluate` would find out."""
    (context.study_dir / "unloadable_networks.py").write_text(UNLOADABLE_NETWORKS)
    result = execute(spec(model={"factory": f"unloadable_networks:{network}"}), context)
    assert result.status == "FINISHED", result.error
    assert "test/absolute_error" in result.scores
    assert result.artifacts is not None
    assert not (result.artifacts / "model").exists()
    assert result.provenance["model"].startswith("the saved network cannot be loaded again: ")
    assert reason in result.provenance["model"]
    assert str(context.work) not in result.provenance["model"]
    assert "model" not in execute(spec(), context).provenance


class TestResume:
    @pytest.fixture
    def interrupted(self, context: Context, toy: ModuleType) -> RunSpec:
        """A run that was killed in its third epoch."""

        def stop(entry: Any) -> None:
            if entry["epoch"] == 3:
                raise Stopped

        with pytest.raises(Stopped):
            execute(spec(), context, on_epoch=stop)
        assert len(checkpoints(context)) == 1
        return spec()

    @pytest.fixture
    def uninterrupted(self, context: Context, tmp_path: Path) -> run.RunResult:
        return execute(spec(), replace(context, work=tmp_path / "uninterrupted"))

    def test_goes_on_from_the_checkpoint(
        self, context: Context, interrupted: RunSpec, uninterrupted: run.RunResult
    ) -> None:
        result = execute(interrupted, context)
        assert (result.scores, result.history) == (uninterrupted.scores, uninterrupted.history)
        log = context.log_file(interrupted).read_text()
        assert "continued from a checkpoint after epoch 2" in log
        again = execute(interrupted, context)  # the scheduler was killed before it recorded the result
        assert (again.scores, again.history) == (uninterrupted.scores, uninterrupted.history)
        assert "continued from a checkpoint after epoch 3" in context.log_file(interrupted).read_text()

    def test_notes_a_damaged_checkpoint_and_uses_the_previous_one(
        self, context: Context, interrupted: RunSpec, uninterrupted: run.RunResult
    ) -> None:
        (checkpoint,) = checkpoints(context)
        checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
        result = execute(interrupted, context)
        assert (result.scores, result.history) == (uninterrupted.scores, uninterrupted.history)
        note = "(its checksum does not match); the one before was used, after epoch 1"
        assert result.provenance["checkpoint"].endswith(note)
        assert "checkpoint" not in uninterrupted.provenance
        assert result.artifacts is not None
        assert "continued from a checkpoint after epoch 1" in (result.artifacts / "run.log").read_text()

    def test_starts_anew_where_both_are_damaged(
        self, context: Context, interrupted: RunSpec, uninterrupted: run.RunResult
    ) -> None:
        (checkpoint,) = checkpoints(context)
        for path in (checkpoint, checkpoint.with_suffix(".previous")):
            path.write_bytes(b"damaged")
        result = execute(interrupted, context)
        assert (result.scores, result.history) == (uninterrupted.scores, uninterrupted.history)
        damaged = "damaged checkpoint {} (it does not begin as a checkpoint does); "
        both = (damaged.format(name) for name in (checkpoint.name, checkpoint.with_suffix(".previous").name))
        assert result.provenance["checkpoint"] == "".join(both) + "the run starts anew"
        assert "continued" not in context.log_file(interrupted).read_text()

    @pytest.mark.parametrize("stage", ["epoch", "step"])
    def test_draws_from_numpy_and_random_go_on_too(
        self, context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
    ) -> None:
        drawing = spec(**DRAWING)
        uninterrupted = execute(drawing, replace(context, work=tmp_path / "uninterrupted"))
        assert execute(replace(drawing, seed=2), context).scores != uninterrupted.scores
        odd, calls = importlib.import_module("linear_toy.odd"), itertools.count()
        sample = odd.Drawing.sample

        def stop_in_mid_epoch(self: Any, index: Any, **more: Any) -> Any:
            if stage == "step" and next(calls) == 2:  # the first of two steps of the second epoch
                context.stop_file.parent.mkdir(exist_ok=True)
                context.stop_file.touch()
            return sample(self, index, **more)

        def kill(entry: Any) -> None:
            if stage == "epoch" and entry["epoch"] == 3:
                raise Stopped

        monkeypatch.setattr(odd.Drawing, "sample", stop_in_mid_epoch)
        monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
        monkeypatch.setattr(loop, "POLL_SECONDS", 0.0 if stage == "step" else 1000.0)  # not within an epoch
        with pytest.raises(Stopped):
            execute(drawing, context, on_epoch=kill)
        context.stop_file.unlink(missing_ok=True)
        random.seed(4321)
        np.random.seed(4321)
        result = execute(drawing, context)
        epoch = "1 and 1 steps" if stage == "step" else "2"
        assert f"continued from a checkpoint after epoch {epoch}\n" in context.log_file(drawing).read_text()
        assert (result.scores, result.history) == (uninterrupted.scores, uninterrupted.history)
        assert weights(result) == weights(uninterrupted)

    def test_goes_on_from_a_checkpoint_of_an_earlier_version(
        self, context: Context, interrupted: RunSpec, uninterrupted: run.RunResult
    ) -> None:
        """It lacks the states of NumPy and `random`."""
        (path,) = checkpoints(context)
        checkpoint = ResumeCheckpoint(path)
        state = checkpoint.load(torch.device("cpu"))
        assert state is not None
        del state["random"]["numpy"], state["random"]["random"]
        checkpoint.save(state)
        result = execute(interrupted, context)
        assert "continued from a checkpoint after epoch 2" in context.log_file(interrupted).read_text()
        assert (result.scores, result.history) == (uninterrupted.scores, uninterrupted.history)

    def test_starts_anew_after_the_code_has_changed(
        self, context: Context, interrupted: RunSpec, project: Project, uninterrupted: run.RunResult
    ) -> None:
        project.edit(("0.1 * self.noise", "0.2 * self.noise"), file="linear_toy/components.py")
        result = execute(interrupted, context)
        assert "continued" not in context.log_file(interrupted).read_text()
        assert result.provenance["source_digest"] != uninterrupted.provenance["source_digest"]


SLOW = {"epochs": 3, "batch_size": 4}  # 16 steps an epoch
WORKER = """
import pickle, sys
from ablate.trainers import host
from ablate.trainers.builtin import loop
loop.POLL_SECONDS = 0.02
spec, context = pickle.loads(sys.stdin.buffer.read())
host.execute(spec, context)
"""


class TestInterruption:
    @pytest.fixture
    def slow(self) -> RunSpec:
        return spec(training=SLOW)

    @pytest.fixture
    def uninterrupted(self, context: Context, slow: RunSpec, tmp_path: Path) -> run.RunResult:
        return execute(slow, replace(context, work=tmp_path / "uninterrupted"))

    def test_writes_its_worker_and_its_heartbeat(self, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(loop, "POLL_SECONDS", 0.0)
        folder, seen = context.folder(spec()), list[tuple[Any, float]]()

        def on_epoch(entry: Any) -> None:
            seen.append((json.loads((folder / "worker.json").read_text()), time.time()))
            os.utime(folder / "progress.jsonl", (0, 0))

        execute(spec(), context, on_epoch)
        worker, _ = seen[0]
        assert (worker["pid"], worker["host"]) == (os.getpid(), socket.gethostname())
        assert worker["started"].endswith("+00:00")
        assert (folder / "progress.jsonl").stat().st_mtime >= seen[-1][1] - 0.1  # after the last epoch, too

    @pytest.mark.parametrize("stage", ["before", "sampling", "validating", "evaluating"])
    def test_stops_at_the_next_safe_point(
        self,
        context: Context,
        slow: RunSpec,
        uninterrupted: run.RunResult,
        toy: ModuleType,
        monkeypatch: pytest.MonkeyPatch,
        stage: str,
    ) -> None:
        monkeypatch.setattr(loop, "POLL_SECONDS", 0.0)

        def stop(*_: Any) -> None:
            context.stop_file.parent.mkdir(exist_ok=True)
            context.stop_file.touch()

        if stage == "before":
            stop()
        if stage == "sampling":
            sample, count = toy.Houses.sample, iter(range(10_000))

            def stop_in_mid_epoch(self: Any, index: Any, **more: Any) -> Any:
                if next(count) == 20:
                    stop()
                return sample(self, index, **more)

            monkeypatch.setattr(toy.Houses, "sample", stop_in_mid_epoch)
        epochs = {"validating": 2, "evaluating": 3}.get(stage)
        with pytest.raises(Stopped):
            execute(slow, context, lambda entry: stop() if entry["epoch"] == epochs else None)
        assert isinstance(pickle.loads(pickle.dumps(Stopped())), Stopped)
        assert "stopped; the same run again goes on from here" in context.log_file(slow).read_text()
        context.stop_file.unlink()
        result = execute(slow, context)
        assert (result.scores, result.history) == (uninterrupted.scores, uninterrupted.history)
        assert weights(result) == weights(uninterrupted)
        epoch = {"sampling": "1 and 5 steps", "validating": "2", "evaluating": "3"}.get(stage)
        log = context.log_file(slow).read_text()
        assert f"continued from a checkpoint after epoch {epoch}\n" in log if epoch else "continued" not in log

    def test_a_killed_run_continues(
        self, context: Context, slow: RunSpec, uninterrupted: run.RunResult, project: Project
    ) -> None:
        environment = {**os.environ, "LINEAR_TOY_DELAY_S": "0.05", "PYTHONPATH": str(project.folder)}
        with subprocess.Popen([sys.executable, "-c", WORKER], stdin=subprocess.PIPE, env=environment) as worker:
            assert worker.stdin is not None
            worker.stdin.write(pickle.dumps((slow, context)))
            worker.stdin.close()
            while not checkpoints(context):
                assert worker.poll() is None
                time.sleep(0.01)
            time.sleep(0.3)
            worker.send_signal(signal.SIGKILL)
        result = execute(slow, context)
        assert "continued from a checkpoint after epoch" in context.log_file(slow).read_text()
        assert (result.scores, result.history) == (uninterrupted.scores, uninterrupted.history)
        assert weights(result) == weights(uninterrupted)


class TestStorage:
    """A disk that runs full or turns read-only does not fail the run: it is done again, with the same result."""

    @pytest.mark.parametrize("free", [0, 50_000, 110_000])  # for a log; for one checkpoint; for two, not for the tables
    def test_a_full_disk(self, context: Context, disk: SmallDisk, free: int) -> None:
        heavy = spec(data={"count": 40_000}, training={"batch_size": 5000})
        uninterrupted = execute(heavy, context)
        context = replace(context, work=disk.folder / "work", logs=disk.folder / "logs")
        disk.fill(free=free)
        with pytest.raises(Unavailable, match=r"No space left on device: .*disk") as caught:
            execute(heavy, context)
        assert pickle.loads(pickle.dumps(caught.value)).reason == caught.value.reason
        assert bool(checkpoints(context)) is (free > 0)
        assert (context.folder(heavy) / "out").exists() is (free == 110_000)
        disk.empty()
        result = execute(heavy, context)
        assert (result.scores, result.history) == (uninterrupted.scores, uninterrupted.history)
        assert weights(result) == weights(uninterrupted)

    def test_a_read_only_folder(self, context: Context, disk: SmallDisk) -> None:
        uninterrupted = execute(spec(), context)
        context = replace(context, work=disk.folder / "work", logs=disk.folder / "logs")
        with pytest.raises(Unavailable, match=r"Read-only file system: .*disk"):
            execute(spec(), context, lambda entry: disk.remount("ro"))
        disk.remount("rw")
        assert execute(spec(), context).scores == uninterrupted.scores

    @pytest.mark.parametrize("writer", ["model", "scores", "examples", "metadata"])
    def test_every_writer_of_an_artifact(self, disk: SmallDisk, toy: ModuleType, writer: str) -> None:
        disk.fill(free=8000)
        frame = pd.DataFrame({"error": np.random.default_rng(0).random(100_000)})
        big = torch.nn.Linear(200, 200)
        write: Callable[[], Any] = {
            "model": lambda: save_model(big, {"factory": "torch.nn:Linear"}, [200], disk.folder),
            "scores": lambda: evaluation.save_frame(frame, disk.folder / "scores.parquet"),
            "examples": lambda: np.savez_compressed(disk.folder / "examples.npz", frame.to_numpy()),
            "metadata": lambda: safetensors.torch.save_file(big.state_dict(), disk.folder / "by-a-person.safetensors"),
        }[writer]
        with pytest.raises(Exception) as caught:  # noqa: PT011 - each library has a type of its own
            write()
        failure = storage_failure(caught.value, [disk.folder])
        assert failure is not None
        assert "No space left on device" in failure.reason


def test_a_file_that_a_component_may_not_read_is_the_runs_own_failure(tmp_path: Path) -> None:
    for folder, expected in ((tmp_path / "work", True), (tmp_path / "data", False)):
        denied = PermissionError(errno.EACCES, "Permission denied", str(folder / "file"))
        assert (storage_failure(denied, [tmp_path / "work", tmp_path / "logs"]) is not None) is expected
    missing = FileNotFoundError(errno.ENOENT, "No such file or directory", str(tmp_path / "work" / "file"))
    assert storage_failure(missing, [tmp_path / "work"]) is None
    assert storage_failure(OSError("no space left on device"), [tmp_path]) is None
    wrapped = RuntimeError("the cache could not be written")
    wrapped.__cause__ = OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
    assert "quota" in str(storage_failure(wrapped, [tmp_path]))


def weights(result: run.RunResult) -> bytes:
    assert result.artifacts is not None
    return (result.artifacts / "model" / "weights.safetensors").read_bytes()


def checkpoints(context: Context) -> list[Path]:
    return list(context.work.rglob("checkpoint-*.pt"))


class TestData:
    def test_a_file_is_found_and_limited(self, context: Context, tmp_path: Path) -> None:
        np.savez(tmp_path / "town.npz", houses=np.arange(60.0).reshape(20, 3))
        section = {"factory": "linear_toy.components:houses", "file": "town.npz"}
        data = load_data(section, replace(context, data_root=tmp_path, limit=4), torch.device("cpu"))
        assert data.train_size == 4
        batch = data.examples("val")
        assert len(batch.inputs) == len(batch.targets["price"]) == 4
        assert len(file_digest(tmp_path / "town.npz")) == 64
        with pytest.raises(InputError, match="no such data file"):
            load_data(section, context, torch.device("cpu"))

    def test_nothing_to_train_on_is_refused_unless_it_is_for_evaluation(self, context: Context) -> None:
        section = {"factory": "linear_toy.components:houses", "count": 1}
        with pytest.raises(InputError, match="no training examples"):
            load_data(section, context, torch.device("cpu"))
        assert load_data(section, context, torch.device("cpu"), to_train=False).train_size == 0
