"""A trial that its tuning ends early, by each trainer: where its curve ends, what its result holds, what is not left.

The rule is one of Optuna's: no score of any trial here is below 0, so each ends in its second epoch.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest

from ablate.study import RunResult, RunSpec, ThresholdPruner
from ablate.study.runs import PRUNED
from ablate.trainers.context import Context
from ablate.trainers.host import execute
from ablate.tuning.pruning import TrialPruning

LINE: dict[str, dict[str, Any]] = {
    "data": {"factory": "linear_toy.components:houses", "count": 128},
    "model": {"factory": "linear_toy.components:Line", "columns": 2},
    "loss": {"factory": "linear_toy.components:squared"},
    "training": {"epochs": 5, "batch_size": 32, "learning_rate": 0.1, "precision": "float32"},
}
FIT = """
import torch
class Fitted(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)
    def forward(self, inputs):
        return self.layer(inputs)[:, 0]
    def fit(self, batches, run):
        for epoch in range(1, 9):
            try:
                run.epoch(epoch, {"loss": 1.0 / epoch})
            except Exception:
                pass  # a library may swallow what ends it
"""
FUNCTION = """
def train(settings, run):
    for epoch in range(1, 9):
        (run.folder / "reached").write_text(str(epoch))
        run.epoch(epoch, {"val_loss": 1.0 / epoch, "test_loss": 2.0})
    return {"val_loss": 0.125, "test_loss": 2.0}
"""
SWALLOWS = """
def train(settings, run):
    for epoch in range(1, 9):
        try:
            run.epoch(epoch, {"val_loss": 1.0 / epoch})
        except Exception:
            pass
    raise RuntimeError("the rest of it cannot be done any more")
"""
SCRIPT = """
import json, sys, time
with open(sys.argv[2] + "/progress.jsonl", "a") as file:
    for epoch in range(1, 9):
        file.write(json.dumps({"epoch": epoch, "val_loss": 1.0 / epoch}) + "\\n")
    file.flush()
time.sleep(float(sys.argv[3]))
json.dump({"val_loss": 0.125, "test_loss": 2.0}, open(sys.argv[1], "w"))
sys.exit(int(sys.argv[4]))
"""
Trial = Callable[..., RunSpec]


def rule(metric: str, epochs: int | None = None) -> TrialPruning:
    pruner = ThresholdPruner(type="threshold", upper=0.0, n_warmup_steps=2)
    return TrialPruning(pruner, "lower", metric, (), epochs)


@pytest.fixture
def context(tmp_path: Path) -> Context:
    names = {"loss": ("val_loss", "test_loss")}
    folder = tmp_path / "study"
    folder.mkdir()
    pruning = rule("val/loss")
    return Context("", (), folder, tmp_path / "work", tmp_path / "logs", metric_names=names, pruning=pruning)


def trial(settings: dict[str, Any]) -> RunSpec:
    return RunSpec("study", "arm", 3, "tune", settings, "", trial=1)


def check(result: RunResult, metric: str, epochs: int = 2) -> None:
    assert result.status == "FINISHED", result.error
    assert result.provenance[PRUNED] == f"after epoch {epochs}"
    assert [entry["epoch"] for entry in result.history] == list(range(1, epochs + 1))
    assert result.scores["count/epochs"] == epochs
    assert not any(name.startswith("test/") for name in result.scores)
    assert result.scores[metric] == pytest.approx(result.history[-1][metric])
    assert "source_digest" in result.provenance


class TestBuiltIn:
    METRIC = "val/absolute_error"

    @pytest.fixture
    def built_in(self, toy: ModuleType, context: Context) -> Context:
        catalogue, metrics = "linear_toy.metrics:METRICS", ("absolute_error",)
        return replace(context, catalogue=catalogue, curve_metrics=metrics, pruning=rule(self.METRIC, 5))

    @pytest.fixture
    def ctrl_c(self) -> Iterator[None]:
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a script ignores it
        yield
        signal.signal(signal.SIGINT, before)

    def test_it_ends_after_the_epoch(self, built_in: Context) -> None:
        check(execute(trial(LINE), built_in), self.METRIC)
        whole = execute(trial(LINE), replace(built_in, pruning=None, work=built_in.work / "whole"))
        assert PRUNED not in whole.provenance
        assert len(whole.history) == 5

    def test_interrupted_it_ends_after_the_same_epoch(self, built_in: Context, ctrl_c: None) -> None:
        """Whether the checkpoint it goes on from is of an epoch before the end, or of the end itself."""
        for last in (1, 2):

            def stop(entry: Any, after: int = last) -> None:
                if entry["epoch"] == after:
                    raise KeyboardInterrupt

            of = replace(built_in, work=built_in.work / str(last))
            with pytest.raises(KeyboardInterrupt):
                execute(trial(LINE), of, on_epoch=stop)
            check(execute(trial(LINE), of), self.METRIC)

    def test_a_model_that_fits_itself_ends_too(self, built_in: Context) -> None:
        (built_in.study_dir / "fitted_model.py").write_text(FIT)
        check(execute(trial({**LINE, "model": {"factory": "fitted_model:Fitted"}}), built_in), self.METRIC)


class TestFunction:
    def run(self, context: Context, source: str = FUNCTION) -> RunResult:
        (context.study_dir / "own.py").write_text(source)
        return execute(self.spec(), context)

    def spec(self) -> RunSpec:
        return trial({"run": {"function": "own:train"}})

    def test_it_ends_in_its_report(self, context: Context) -> None:
        result = self.run(context)
        check(result, "val/loss")
        assert (context.folder(self.spec()) / "dir" / "reached").read_text() == "2"
        assert result.scores == {"val/loss": 0.5, "count/epochs": 2.0}

    def test_what_it_does_after_being_ended_changes_nothing(self, context: Context) -> None:
        check(self.run(context, SWALLOWS), "val/loss")

    @pytest.mark.parametrize("reported", [1, 2, 3])
    def test_interrupted_it_ends_after_the_same_epoch(self, context: Context, reported: int) -> None:
        """What an attempt before had reported counts, also where that went further before it was killed."""
        own = context.folder(self.spec()) / "dir"
        own.mkdir(parents=True)
        lines = [json.dumps({"epoch": float(e), "val/loss": 1.0 / e}) for e in range(1, reported + 1)]
        (own / "epochs.jsonl").write_text("".join(f"{line}\n" for line in lines))
        result = self.run(context, FUNCTION.replace("range(1, 9)", f"range({reported + 1}, 9)"))
        check(result, "val/loss")

    def test_with_nothing_left_to_report_it_has_ended_too(self, context: Context) -> None:
        own = context.folder(self.spec()) / "dir"
        own.mkdir(parents=True)
        (own / "epochs.jsonl").write_text("".join(f'{{"epoch": {e}.0, "val/loss": {1.0 / e}}}\n' for e in range(1, 9)))
        check(self.run(context, FUNCTION.replace("range(1, 9)", "[]")), "val/loss")


class TestCommand:
    def run(self, context: Context, seconds: float, code: int = 0) -> RunResult:
        (context.study_dir / "script.py").write_text(SCRIPT)
        words = ["python", "script.py", "{out}", "{dir}", str(seconds), str(code)]
        return execute(trial({"run": {"command": words}}), context)

    def test_it_is_ended_and_nothing_of_it_is_left(self, context: Context) -> None:
        started = time.monotonic()
        check(self.run(context, 3600.0), "val/loss")
        assert time.monotonic() - started < 1800
        assert not [child for child in psutil.Process().children() if "script.py" in " ".join(child.cmdline())]

    @pytest.mark.parametrize("code", [0, 7])
    def test_where_it_had_ended_by_itself_its_result_is_the_same(self, context: Context, code: int) -> None:
        assert self.run(context, 0.0, code).scores == {"val/loss": 0.5, "count/epochs": 2.0}
