"""Counting the parameters of a command and of a function, in real processes, and matching them."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ablate.study import InputError, RunSpec
from ablate.trainers import parameters
from ablate.trainers.context import Context
from ablate.trainers.errors import Stopped
from ablate.trainers.host import execute
from ablate.trainers.parameters import Counter

SCRIPT = """
import argparse, json, sys
parser = argparse.ArgumentParser()
parser.add_argument("--width", type=int, default=4)
parser.add_argument("--extra", action="store_true")
parser.add_argument("--count", action="store_true")
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--out")
args = parser.parse_args()
if args.count:
    open("counts", "a").write("x")
    print("counting", 12)
    print(10 * args.width + 1 + (args.extra and 100 * args.width))
    print("a warning", file=sys.stderr)
else:
    json.dump({"val_acc": 0.5, "test_acc": args.width}, open(args.out, "w"))
"""
MODULE = """
import torch
def train(settings, run):
    return {"val_acc": 0.5, "test_acc": settings["net"]["width"]}
def count(settings):
    open("counts", "a").write("x")
    print("counting", settings)
    return torch.nn.Linear(settings["net"]["width"], 10 if settings["extra"] else 1).weight.numel()
"""
WORDS = ["python", "script.py", "--width={width}", "{extra?--extra}"]


@pytest.fixture
def context(tmp_path: Path) -> Context:
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "script.py").write_text(SCRIPT)
    (folder / "counted_module.py").write_text(MODULE)
    names = {"accuracy": ("val_acc", "test_acc")}
    return Context("", (), folder, tmp_path / "work", tmp_path / "logs", metric_names=names)


def command(counts: list[str] | None = None, **section: Any) -> RunSpec:
    """A run of the script, whose `--count` prints the number."""
    run = {"command": [*WORDS, "--lr={lr}", "--out={out}"], "parameters": counts or [*WORDS, "--count"]}
    return spec({**run, "width": 20, "extra": False, "lr": 0.1, **section})


def function(**section: Any) -> RunSpec:
    run = {"function": "counted_module:train", "parameters": "counted_module:count"}
    return spec({**run, "net": {"width": 20}, "extra": False, "budget": 3, **section})


def spec(run: dict[str, Any], phase: Any = "compare") -> RunSpec:
    return RunSpec("study", "arm", 3, phase, {"run": run}, "")


def matching(run: RunSpec, by: str, **of: Any) -> RunSpec:
    """The run as a control that matches its parameters to a run with these settings."""
    match = {"by": by, "of_run": {**run.settings["run"], **of}}
    return replace(run, settings={**run.settings, "control": {"match_parameters": match}})


def counter(context: Context, **known: Any) -> Counter:
    return Counter(context, context.work / "count", context.logs / "count.log", lambda: None, **known)


def counts(context: Context) -> int:
    """How often the script or the function was asked."""
    file = context.study_dir / "counts"
    return len(file.read_text()) if file.exists() else 0


class TestCount:
    def test_of_a_command_is_its_last_line(self, context: Context) -> None:
        assert counter(context).count(command()) == 201
        log = (context.logs / "count.log").read_text()
        assert "counting 12" in log
        assert "a warning" in log

    def test_of_a_function_is_what_it_returns(self, context: Context) -> None:
        assert counter(context).count(function()) == 20
        log = (context.logs / "count.log").read_text()
        assert "counting {'net': {'width': 20}, 'extra': False}" in log

    def test_is_asked_once_for_all_that_it_depends_on(self, context: Context) -> None:
        known: dict[str, int] = {}
        once = counter(context, known=known)
        assert [once.count(command()), once.count(command(lr=0.2)), once.count(command(width=21))] == [201, 201, 211]
        assert counts(context) == 2
        assert counter(replace(context, counted=known)).count(command(width=21)) == 211
        assert counts(context) == 2

    def test_imports_no_torch_here(self, context: Context) -> None:
        code = (
            "import pickle, sys\nfrom ablate.trainers.parameters import Counter\n"
            "spec, context = pickle.loads(sys.stdin.buffer.read())\n"
            "print(Counter(context, context.work, context.logs / 'log', lambda: None).count(spec))\n"
            "print('torch' in sys.modules)"
        )
        asked = pickle.dumps((function(), context))
        done = subprocess.run([sys.executable, "-c", code], input=asked, capture_output=True, check=True)
        assert done.stdout.split() == [b"20", b"False"]

    def test_logs_to_no_run_of_mlflow(self, context: Context) -> None:
        (context.study_dir / "script.py").write_text("import os\nprint(1 + len(os.environ.get('MLFLOW_RUN_ID', '')))")
        assert counter(replace(context, environment={"MLFLOW_RUN_ID": "abc"})).count(command()) == 1

    @pytest.mark.parametrize(
        ("source", "told"),
        [
            ("print('many')", 'a whole number of at least 1, as its last line (got "many")'),
            ("print(-5)", '(got "-5")'),
            ("print(0)", '(got "0")'),
            ("print(1.5)", '(got "1.5")'),
            ("print(12, 'parameters')", '(got "12 parameters")'),
            ("", "(got nothing)"),
            ("print(3)\nraise ValueError('no network')", "the count ended with exit code 1; its last lines:"),
            ("import os\nos.kill(os.getpid(), 9)", "the count was ended by SIGKILL"),
        ],
    )  # fmt: skip
    def test_of_a_command_that_cannot_be_used(self, context: Context, source: str, told: str) -> None:
        (context.study_dir / "script.py").write_text(source)
        with pytest.raises(InputError) as refused:
            counter(context).count(command())
        assert str(refused.value).startswith(": settings.run.parameters: ")
        assert told in str(refused.value)

    @pytest.mark.parametrize(
        ("body", "told"),
        [
            ("return 'many'", "must give a whole number of at least 1 (got 'many')"),
            ("return -5", "(got -5)"),
            ("return 5.0", "(got 5.0)"),
            ("return True", "(got True)"),
            ("raise ValueError('no network')", "ValueError: no network"),
            (
                "import atexit; atexit.register(print, 'bye'); return 5",
                'printed something after its answer (got "bye")',
            ),
        ],
    )
    def test_of_a_function_that_cannot_be_used(self, context: Context, body: str, told: str) -> None:
        (context.study_dir / "odd_count.py").write_text(f"def count(settings):\n    {body}\n")
        with pytest.raises(InputError) as refused:
            counter(context).count(function(parameters="odd_count:count"))
        assert "settings.run.parameters: " in str(refused.value)
        assert told in str(refused.value)

    def test_that_is_no_function_or_not_there(self, context: Context) -> None:
        for path, told in (
            ("counted_module:cout", "did you mean 'count'?"),
            ("counted_module:torch", "must be a func"),
        ):
            with pytest.raises(InputError) as refused:
                counter(context).count(function(parameters=path))
            assert told in str(refused.value)
        with pytest.raises(InputError, match=r"nosuchprogram cannot be started: No such file"):
            counter(context).count(command(["nosuchprogram"]))

    def test_that_takes_too_long_or_is_stopped(self, context: Context) -> None:
        (context.study_dir / "script.py").write_text("import time\ntime.sleep(3600)")
        with pytest.raises(InputError, match=r"the count did not end within 0\.5 s"):
            counter(context).count(command(timeout_s=0.5))

        def stop() -> None:
            raise Stopped

        stopped = counter(context)
        stopped.wait = stop
        with pytest.raises(Stopped):
            stopped.count(command())


class TestMatch:
    def test_of_a_command(self, context: Context) -> None:
        asked = counter(context)
        matched = asked.matched(matching(command(), "run.width", extra=True))
        assert matched.settings["run"]["width"] == 220  # 10 · 220 + 1 = 110 · 20 + 1
        assert parameters.matched_setting(matched, matched) == {"matched/run.width": "220"}
        times = counts(context)
        asked.matched(matching(command(lr=0.3), "run.width", extra=True))
        assert counts(context) == times

    def test_of_a_function_in_one_process(self, context: Context) -> None:
        asked = counter(context)
        matched = asked.matched(matching(function(), "run.net.width", extra=True))
        assert matched.settings["run"]["net"] == {"width": 200}
        times = counts(context)
        asked.matched(matching(function(budget=1), "run.net.width", extra=True))  # as a trial or --smoke
        assert counts(context) == times
        assert (context.logs / "count.log").read_text().count("counting {'net': {'width': 20}, 'extra': True}") == 1

    @pytest.mark.parametrize("run", [command(), function(width=3)])
    def test_without_a_control_nothing_is_asked(self, run: RunSpec, context: Context) -> None:
        assert counter(context).matched(run) is run
        assert counts(context) == 0

    def test_refuses_a_setting_that_widens_nothing(self, context: Context) -> None:
        for run in (command([*WORDS[:2], "{extra?--extra}", "--count"]), function(width=1)):
            with pytest.raises(InputError, match=r"control\.match_parameters: run\.width does not change the number"):
                counter(context).matched(matching(run, "run.width", extra=True))

    def test_refuses_where_no_number_fits(self, context: Context) -> None:
        (context.study_dir / "script.py").write_text(SCRIPT.replace("10 * args.width", "1000 * args.width"))
        with pytest.raises(InputError, match=r"within 1% of 1,101 parameters; the nearest are 1,001 at 1 and 2,001"):
            counter(context).matched(matching(command(width=2), "run.width", width=1, extra=True))


class TestRuns:
    def test_are_trained_with_the_matching_value_and_keep_their_key(self, context: Context) -> None:
        for run, value, count in (
            (matching(command(), "run.width", extra=True), 220, 2201),
            (matching(function(), "run.net.width", extra=True), 200, 200),
        ):
            result = execute(run, context)
            assert result.status == "FINISHED", result.error
            assert result.scores["test/accuracy"] == value
            assert result.scores["cost/parameters"] == count
            assert [v for name, v in result.provenance.items() if name.startswith("matched/")] == [str(value)]
            assert result.key == run.key
            assert not (context.folder(run) / "count").exists()

    def test_count_their_parameters_in_the_comparison(self, context: Context) -> None:
        assert execute(command(), context).scores["cost/parameters"] == 201
        tuned = replace(command(), phase="tune")
        assert "cost/parameters" not in execute(tuned, context).scores
        assert counts(context) == 1
        without = {name: value for name, value in command().settings["run"].items() if name != "parameters"}
        assert "cost/parameters" not in execute(spec(without), context).scores

    def test_fail_where_the_count_fails(self, context: Context) -> None:
        for run in (command([*WORDS, "--counts"]), function(parameters="counted_module:no")):
            result = execute(run, context)
            assert result.status == "FAILED"
            assert result.error.startswith("settings.run.parameters: ")


class TestKey:
    def test_what_counts_is_not_in_it(self) -> None:
        assert command(["a"]).key == command().key
        assert matching(command(["a"]), "run.width", extra=True).key == matching(command(), "run.width", extra=True).key

    def test_what_is_matched_is_in_it(self) -> None:
        keys = [matching(command(), "run.width", width=width).key for width in (5, 6)]
        assert len({command().key, *keys}) == 3
