"""What every trainer does, whichever way a run is trained: one set of expectations for command, function and loop."""

from __future__ import annotations

import math
import pickle
import shutil
import sys
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from toy_project import Project

from ablate.study import RunResult, RunSpec
from ablate.trainers.context import Context
from ablate.trainers.errors import Stopped
from ablate.trainers.host import execute

FUNCTION = Path(__file__).parents[1] / "function"


class TrainerContract:
    """A trainer's class gives a run of three epochs with a metric, and one that fails because "the roof fell in"."""

    metric = "loss"

    @pytest.fixture
    @abstractmethod
    def context(self) -> Context: ...

    @abstractmethod
    def settings(self, *, failing: bool = False) -> Mapping[str, Any]: ...

    def run(self, *, failing: bool = False, **more: Any) -> RunSpec:
        spec = RunSpec("study", "arm", 3, "compare", self.settings(failing=failing), "")
        return replace(spec, **more)

    def test_finishes_with_scores_and_a_curve(self, context: Context) -> None:
        seen: list[Any] = []
        result = execute(self.run(), context, on_epoch=seen.append)
        assert (result.status, result.error, result.key) == ("FINISHED", "", self.run().key)
        for split in ("val", "test"):
            assert math.isfinite(result.scores[f"{split}/{self.metric}"])
        assert result.scores["count/epochs"] == 3
        assert [entry["epoch"] for entry in result.history] == [1, 2, 3]
        assert all(f"val/{self.metric}" in entry for entry in result.history)
        assert seen == list(result.history)
        assert {"time/train_s", "time/total_s"} <= result.timings.keys()
        assert {"source_digest", "version/ablate", "device", "threads", "python"} <= result.provenance.keys()
        assert result.artifacts is not None
        assert f"study arm-seed3 key {result.key} settings" in (result.artifacts / "run.log").read_text()
        assert pickle.loads(pickle.dumps(result)) == result

    def test_gives_the_same_bytes_again(self, context: Context, tmp_path: Path) -> None:
        elsewhere = replace(context, work=tmp_path / "elsewhere", logs=tmp_path / "elsewhere")
        results = [execute(self.run(), context), execute(self.run(arm="renamed", study="other"), elsewhere)]
        assert results[0].scores == results[1].scores
        assert results[0].history == results[1].history
        assert _files(results[0]) == _files(results[1])
        assert execute(self.run(seed=4), context).scores != results[0].scores

    def test_stops_and_goes_on(self, context: Context, tmp_path: Path) -> None:
        def stop(entry: Mapping[str, float]) -> None:
            if entry["epoch"] == 2:
                context.stop_file.touch()

        (context.study_dir / "pause").touch()  # for a command, which runs on while it is asked to stop
        with pytest.raises(Stopped):
            execute(self.run(), context, on_epoch=stop)
        (context.study_dir / "pause").unlink(missing_ok=True)
        context.stop_file.unlink()
        result = execute(self.run(), context)
        uninterrupted = execute(self.run(), replace(context, work=tmp_path / "uninterrupted"))
        assert result.status == "FINISHED", result.error
        assert (result.scores, result.history) == (uninterrupted.scores, uninterrupted.history)
        assert _files(result) == _files(uninterrupted)

    def test_fails_with_a_reason(self, context: Context) -> None:
        result = execute(self.run(failing=True), context)
        assert (result.status, dict(result.scores)) == ("FAILED", {})
        assert "the roof fell in" in result.error
        assert result.artifacts is not None
        assert [file.name for file in result.artifacts.iterdir()] == ["run.log"]
        assert "the roof fell in" in (result.artifacts / "run.log").read_text()

    def test_keeps_no_test_score_while_tuning(self, context: Context) -> None:
        tuned = self.run(phase="tune")
        result = execute(tuned, context)
        assert math.isfinite(result.scores[f"val/{self.metric}"])
        names = [*result.scores, *(name for entry in result.history for name in entry)]
        assert [name for name in names if "test" in name] == []
        assert "test" not in (context.folder(tuned) / "progress.jsonl").read_text()
        assert _files(result) == {}


def _files(result: RunResult) -> dict[str, bytes]:
    """The artifacts of a run without its log."""
    files = result.artifacts.rglob("*") if result.artifacts else ()
    return {f.name: f.read_bytes() for f in files if f.is_file() and f.name != "run.log"}


class TestLoop(TrainerContract):
    metric = "absolute_error"

    @pytest.fixture
    def context(self, project: Project) -> Context:
        folder = project.folder
        return Context("linear_toy.metrics:METRICS", (self.metric,), folder, folder / "work", folder / "logs")

    def settings(self, *, failing: bool = False) -> Mapping[str, Any]:
        fragile = {"factory": "linear_toy.components:Fragile", "end": "raise"}
        return {
            "data": {"factory": "linear_toy.components:houses", "count": 128},
            "model": fragile if failing else {"factory": "linear_toy.components:Line", "columns": 2},
            "loss": {"factory": "linear_toy.components:squared"},
            "training": {"epochs": 3, "batch_size": 32, "learning_rate": 0.1, "precision": "float32"},
        }


SCRIPT = """
import json, pathlib, random, signal, sys
out, folder, seed = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3])
if "--fail" in sys.argv:
    raise RuntimeError("the roof fell in")
saved, pause = folder / "saved.json", pathlib.Path("pause")
done, weight = json.loads(saved.read_text()) if saved.exists() else (0, random.Random(seed).random())
for epoch in range(done + 1, 4):
    weight *= 0.9
    saved.write_text(json.dumps([epoch, weight]))
    with open(folder / "progress.jsonl", "a") as file:
        file.write(json.dumps({"epoch": epoch, "val_loss": weight, "test_loss": weight, "lr": 0.1}) + "\\n")
    if epoch == 2 and pause.exists():
        signal.pause()
out.write_text(json.dumps({"val_loss": weight, "test_loss": weight + 1}))
"""


class TestCommand(TrainerContract):
    @pytest.fixture
    def context(self, tmp_path: Path) -> Context:
        folder = tmp_path / "project"
        folder.mkdir()
        (folder / "train.py").write_text(SCRIPT)
        return _context(folder)

    def settings(self, *, failing: bool = False) -> Mapping[str, Any]:
        command = ["python", "train.py", "{out}", "{dir}", "{seed}", *(["--fail"] if failing else [])]
        return {"run": {"command": command, "resumes": True}}


class TestFunction(TrainerContract):
    @pytest.fixture
    def context(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
        monkeypatch.delitem(sys.modules, "ablation", raising=False)
        folder = tmp_path / "project"
        shutil.copytree(FUNCTION, folder, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "failing.py").write_text("def train(settings, run):\n    raise RuntimeError('the roof fell in')\n")
        return _context(folder)

    def settings(self, *, failing: bool = False) -> Mapping[str, Any]:
        function = "failing:train" if failing else "ablation:train"
        section = {"function": function, "inputs": ["numbers.txt"], "lr": 0.05, "dropout": True, "budget": 3}
        return {"run": section}


def _context(folder: Path) -> Context:
    names = {"loss": ("val_loss", "test_loss")}
    return Context("", ("loss",), folder, folder / "work", folder / "logs", metric_names=names)
