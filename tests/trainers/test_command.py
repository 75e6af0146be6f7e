"""A run by a command, with real processes: what it is started with, what it gives back, and how it ends."""

from __future__ import annotations

import json
import os
import pickle
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from small_disk import SmallDisk
from toy_project import GONE_S, PATIENCE_S, wait_until

from ablate.study import RunResult, RunSpec
from ablate.trainers import child_process
from ablate.trainers.context import Context
from ablate.trainers.errors import Stopped, Unavailable
from ablate.trainers.gpu import gpus
from ablate.trainers.host import execute

GIVES_SCORES = "import json, sys; json.dump({'val_acc': 0.5, 'test_acc': 0.25, 'extra': 'x'}, open(sys.argv[1], 'w'))"
PATTERN = r"(?P<name>\w+)=(?P<value>\S+)"
Script = Callable[..., RunSpec]


@pytest.fixture
def context(tmp_path: Path) -> Context:
    names = {"accuracy": ("val_acc", "test_acc")}
    return Context("", (), tmp_path, tmp_path / "work", tmp_path / "logs", metric_names=names)


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """A run of this Python source, whose first argument is the file for the scores."""

    def make(source: str, *words: str, phase: Any = "compare", seed: int = 3, **section: Any) -> RunSpec:
        (tmp_path / "script.py").write_text(source)
        command = ["python", "script.py", *(words or ("{out}",))]
        return RunSpec("study", "arm", seed, phase, {"run": {"command": command, **section}}, "")

    return make


def reason(result: RunResult) -> str:
    assert result.status == "FAILED", result
    return result.error


class TestStart:
    def test_placeholders_are_settings_and_what_ablate_knows(self, script: Script, context: Context) -> None:
        source = GIVES_SCORES + "\nprint('ARGUMENTS', json.dumps(sys.argv[2:]))"
        words = [
            "{out}",
            "--lr={lr}",
            "{x?--x}",
            "{y?--y}",
            "{layers}",
            "{head.width}",
            "{seed}-{phase}",
            "{{}}",
            "{name}",
        ]
        words += ["{device}", "{threads}", "{on}"]
        settings = {
            "lr": 1e-4,
            "x": True,
            "y": False,
            "layers": [8, 16],
            "head": {"width": 3},
            "name": "a b",
            "on": True,
        }
        result = execute(script(source, *words, **settings), replace(context, threads=2))
        assert result.status == "FINISHED", result.error
        log = context.log_file(script(source)).read_text()
        given = json.loads(next(line for line in log.splitlines() if line.startswith("ARGUMENTS ")).partition(" ")[2])
        assert given == ["--lr=0.0001", "--x", "8", "16", "3", "3-compare", "{}", "a b", "cpu", "2", "true"]

    def test_a_control_is_the_names_in_it(self, script: Script, context: Context) -> None:
        source = GIVES_SCORES + "\nimport os\nprint('ARGUMENTS', json.dumps([*sys.argv[2:], os.environ['FROZEN']]))"
        words = ["{out}", "--drop={drop_input}", "{drop_input?--dropped}", "{drop_input}", "{freeze?--frozen}"]
        section = {"honours": ["drop_input", "freeze"], "env": {"FROZEN": "{freeze}"}}
        for control, told in (
            ({"drop_input": ["hat", "coat"]}, ["--drop=hat,coat", "--dropped", "hat", "coat", ""]),
            ({"freeze": ["a.b"]}, ["--drop=", "--frozen", "a.b"]),
        ):
            spec = script(source, *words, **section)
            spec = replace(spec, settings={**spec.settings, "control": control})
            context.log_file(spec).unlink(missing_ok=True)
            assert execute(spec, context).status == "FINISHED"
            log = context.log_file(spec).read_text().splitlines()
            (line,) = [line for line in log if line.startswith("ARGUMENTS ")]
            assert json.loads(line.partition(" ")[2]) == told

    def test_a_twin_draws_anew(self, script: Script, context: Context) -> None:
        """As a function does: the script gets the seed that `run.seed` is."""
        source = GIVES_SCORES.replace("0.5", "random.Random(int(sys.argv[2])).random()").replace("sys;", "random, sys;")
        runs = [replace(script(source, "{out}", "{seed}"), replicate=replicate) for replicate in (0, 1, 1, 2)]
        scores = [execute(run, context).scores["val/accuracy"] for run in runs]
        assert scores[0] == random.Random(3).random()
        assert scores == [random.Random(run.own_seed).random() for run in runs]
        assert len(set(scores)) == 3

    def test_its_environment_folder_and_interpreter(self, script: Script, context: Context, tmp_path: Path) -> None:
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub" / "script.py").write_text(
            GIVES_SCORES
            + "\nimport os, pathlib\nprint('ENV', json.dumps([os.environ['OMP_NUM_THREADS'], os.environ['MINE'], "
            + "os.environ['CUDA_VISIBLE_DEVICES'], os.getcwd(), sys.executable]))"
        )
        run = script("", cwd="sub", env={"MINE": "seed {seed}"})
        result = execute(run, context)
        assert result.status == "FINISHED", result.error
        line = next(line for line in context.log_file(run).read_text().splitlines() if line.startswith("ENV "))
        assert json.loads(line.partition(" ")[2]) == ["1", "seed 3", "", str(tmp_path / "sub"), sys.executable]

    def test_one_gpu_is_all_it_sees(self, script: Script, context: Context) -> None:
        source = GIVES_SCORES + "\nimport os\nprint('GPU', os.environ['CUDA_VISIBLE_DEVICES'], sys.argv[2])"
        run = script(source, "{out}", "{device}")
        assert execute(run, replace(context, device="cuda:1")).status == "FINISHED"
        assert "GPU 1 cuda\n" in context.log_file(run).read_text()

    @pytest.fixture
    def two_gpus(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "nvidia-smi").write_text("#!/bin/sh\necho 'GPU 0: A'\necho 'GPU 1: B'\n")
        (tmp_path / "bin" / "nvidia-smi").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    @pytest.mark.usefixtures("two_gpus")
    @pytest.mark.parametrize(
        ("named", "usable"),
        [
            (None, ["0", "1"]),
            ("1", ["1"]),
            ("1, 0", ["1", "0"]),
            ("0,2,1", ["0"]),
            ("GPU-8e1a,MIG-3f/1", ["GPU-8e1a", "MIG-3f/1"]),
            ("", []),
            ("-1", []),
            ("none", []),
        ],
    )
    def test_those_that_this_process_may_use(
        self, monkeypatch: pytest.MonkeyPatch, named: str | None, usable: list[str]
    ) -> None:
        if named is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
        assert gpus() == usable

    @pytest.mark.usefixtures("two_gpus")
    @pytest.mark.parametrize("device", ["cuda", "cuda:0"])
    def test_it_is_one_of_those(
        self, script: Script, context: Context, monkeypatch: pytest.MonkeyPatch, device: str
    ) -> None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
        run = script(GIVES_SCORES + "\nimport os\nprint('GPU', os.environ['CUDA_VISIBLE_DEVICES'])")
        assert execute(run, replace(context, device=device)).status == "FINISHED"
        assert "GPU 1\n" in context.log_file(run).read_text()

    @pytest.mark.usefixtures("two_gpus")
    def test_none_is_given(self, script: Script, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        result = execute(script(GIVES_SCORES), replace(context, device="cuda"))
        assert reason(result) == "there is no GPU: nvidia-smi lists none that CUDA_VISIBLE_DEVICES names"

    @pytest.mark.usefixtures("two_gpus")
    def test_two_runs_at_once_have_a_gpu_each_and_a_third_waits(
        self, script: Script, context: Context, tmp_path: Path
    ) -> None:
        cuda = replace(context, device="cuda")
        wait = "import os, time\nprint('GPU', os.environ['CUDA_VISIBLE_DEVICES'])\n"
        wait += "open('begun-' + sys.argv[2], 'w').close()\n"
        wait += "while not os.path.exists('go'):\n    time.sleep(0.02)\n"
        runs = [script(f"import sys\n{wait}{GIVES_SCORES}", "{out}", "{seed}", seed=seed) for seed in (1, 2, 3)]
        with ThreadPoolExecutor(3) as threads:
            running = [threads.submit(execute, run, cuda) for run in runs]
            wait_until(lambda: len(list(tmp_path.glob("begun-*"))) == 2)
            assert not any(future.done() for future in running)
            (tmp_path / "go").touch()
            assert [future.result(PATIENCE_S).status for future in running] == ["FINISHED"] * 3
        logs = [context.log_file(run).read_text() for run in runs]
        gpus = [next(line for line in log.splitlines() if line.startswith("GPU ")) for log in logs]
        assert set(gpus) == {"GPU 0", "GPU 1"}

    def test_no_gpu_is_told(self, script: Script, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "")
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        result = execute(script(GIVES_SCORES), replace(context, device="cuda"))
        assert reason(result) == "there is no GPU: nvidia-smi lists none"

    def test_old_scores_are_gone_and_its_own_folder_is_kept(self, script: Script, context: Context) -> None:
        """After an attempt that failed, the next one finds its checkpoints and no scores."""
        source = (
            "import json, os, sys\nassert not os.path.exists(sys.argv[1]), 'scores of the first attempt'\n"
            "kept = sys.argv[2] + '/kept'\njson.dump({'val_acc': 1, 'test_acc': 1}, open(sys.argv[1], 'w'))\n"
            "if not os.path.exists(kept):\n    open(kept, 'w').close()\n    sys.exit(1)\n"
        )
        run = script(source, "{out}", "{dir}")
        assert execute(run, context).status == "FAILED"
        assert execute(run, context).status == "FINISHED"


class TestScores:
    def test_by_file(self, script: Script, context: Context) -> None:
        result = execute(script(GIVES_SCORES), context)
        assert result.scores == {"val/accuracy": 0.5, "test/accuracy": 0.25}
        assert result.artifacts is not None
        assert (result.artifacts / "run.log").is_file()

    def test_by_pattern(self, script: Script, context: Context) -> None:
        source = "import sys\nprint('val_acc=0.1')\nprint('val_acc=0.5 test_acc=2.5e-1')\n"
        source += "print('test_acc=9', file=sys.stderr)"
        result = execute(script(source, "x", pattern=PATTERN), context)
        assert result.scores == {"val/accuracy": 0.5, "test/accuracy": 0.25}  # the last value on stdout counts

    @pytest.mark.parametrize("before", [99_990, 99_980, 199_990])
    def test_by_pattern_in_a_line_that_the_log_cuts(self, script: Script, context: Context, before: int) -> None:
        source = f"print('. ' * {before // 2}, end='\\rval_acc=0.75 test_acc=0.25')"
        result = execute(script(source, "x", pattern=PATTERN), context)
        assert result.scores == {"val/accuracy": 0.75, "test/accuracy": 0.25}

    def test_by_pattern_beside_a_line_without_end(self, script: Script, context: Context) -> None:
        """To search all of it for `\\w+=` would take many minutes, in which no other thread runs."""
        source = "print('x' * 3_000_000, flush=True)\nprint('val_acc=0.5 ' + 'y' * 100_000 + ' test_acc=0.25')"
        result = execute(script(source, "x", pattern=PATTERN, timeout_s=120), context)
        assert result.scores == {"val/accuracy": 0.5, "test/accuracy": 0.25}

    def test_while_tuning_no_test_score_is_kept(self, script: Script, context: Context) -> None:
        source = GIVES_SCORES + "\nprint('test accuracy 0.25')"
        tuned = execute(script(source, phase="tune"), context)
        assert tuned.scores == {"val/accuracy": 0.5}
        assert tuned.artifacts is None
        then = "\nprint('acc of Test: 0.25; test_acc=1', 'TEST 2', 'latest 3', sep='\\n')\nraise RuntimeError('test')"
        failed = execute(script(source + then, phase="tune"), context)
        assert (failed.status, failed.artifacts) == ("FAILED", None)
        last = failed.error.partition("; its last lines:\n")[2]
        assert last.startswith("latest 3\nTraceback")
        assert last.endswith("RuntimeError: test")
        assert reason(execute(script("raise SystemExit('TEST 2')"), context)).endswith("\nTEST 2")

    def test_of_one_split(self, script: Script, context: Context) -> None:
        result = execute(script(GIVES_SCORES, test="none"), context)
        assert result.scores == {"val/accuracy": 0.5}

    @pytest.mark.parametrize(
        ("source", "told"),
        [
            ("pass", "the command wrote no file of scores to {out}"),
            ("os.mkfifo(out)", "what the command wrote to {out} is no plain file"),
            ("give({'test_acc': '0.5'})", 'the score test_acc must be a number, not "0.5"'),
            ("give({'test_acc': 10**400})", "the score test_acc is inf"),
            ("give({chr(0xd800): 1})", 'the score "test_acc" did not come; it gave "\\ud800"'),
            ("open(out, 'w').write('{')", "the file of scores at {out} is no JSON: "),
            ("open(out, 'w').write('[1]')", 'must hold one JSON object, such as {"val_acc": 0.9}'),
            ("open(out, 'w').write('[' * 100_000)", "the file of scores at {out} is no JSON: "),
            ("open(out, 'w').write(' ' * 100_000_000)", "the file of scores at {out} has more than 1,000,000 bytes"),
            ("os.mkdir(out)", "what the command wrote to {out} is no plain file"),
            ("give({'val_acc': 1})", 'the score "test_acc" did not come; it gave "val_acc"'),
            (
                "give({'val_acc': 1, 'test_ac': 1})",
                'did not come; it gave "val_acc", "test_ac" (did you mean \'test_ac\'?)',
            ),
            ("give({})", 'the score "test_acc" did not come; it gave none'),
            ("give({'test_acc': 'high'})", 'the score test_acc must be a number, not "high"'),
            ("give({'test_acc': True})", "the score test_acc must be a number, not true"),
            ("give({'test_acc': None})", "the score test_acc must be a number, not "),
            ("give({'test_acc': float('nan')})", "the score test_acc is nan"),
            ("give({'test_acc': float('-inf')})", "the score test_acc is -inf"),
        ],
    )
    def test_that_cannot_be_used(self, script: Script, context: Context, source: str, told: str) -> None:
        head = "import json, os, sys\nout = sys.argv[1]\ndef give(scores): json.dump(scores, open(out, 'w'))\n"
        assert told in reason(execute(script(head + source), context))

    def test_a_folder_in_their_place_does_not_stay(self, script: Script, context: Context) -> None:
        made = reason(execute(script("import os, sys; os.makedirs(sys.argv[1] + '/x')"), context))
        assert made == "what the command wrote to {out} is no plain file"
        assert execute(script(GIVES_SCORES), context).status == "FINISHED"

    def test_lines_that_cannot_be_a_curve_are_left_out(self, script: Script, context: Context) -> None:
        lines = [
            '{"epoch": NaN, "val_acc": 1}',
            '{"epoch": 1e300, "val_acc": 1}',
            '{"epoch": 2, "n": ' + "9" * 400 + "}",
        ]
        lines += [
            '{"epoch": 3, "acc (%)": 1, "a//../b": 2, "train/test_acc": 3}',
            '{"epoch": 4, "' + "x" * 400 + '": 5}',
        ]
        source = f"open(sys.argv[2] + '/progress.jsonl', 'w').write({chr(10).join(lines) + chr(10)!r})"
        result = execute(script(f"import sys\n{source}\n{GIVES_SCORES}", "{out}", "{dir}"), context)
        assert result.status == "FINISHED", result.error
        first, second = result.history
        assert first == {"epoch": 3, "train/acc ___": 1, "train/a/b": 2}
        assert [len(name) for name in second] == [5, 250]

    def test_a_curve_comes_line_by_line(self, script: Script, context: Context) -> None:
        source = (
            GIVES_SCORES + "\nwith open(sys.argv[2] + '/progress.jsonl', 'a') as file:\n"
            "    for i in (1, 2):\n"
            "        entry = {'epoch': i, 'val_acc': i / 4, 'loss': 1 / i, 'test_acc': 9, 'note': 'x'}\n"
            "        entry |= {'train/lr': i, 'test/accuracy': 9}\n"
            "        file.write(json.dumps(entry) + '\\n')\n"
            "    file.write('no JSON\\n[1]\\n')\n"
        )
        result = execute(script(source, "{out}", "{dir}"), context)
        assert list(result.history) == [
            {"epoch": 1.0, "val/accuracy": 0.25, "train/loss": 1.0, "train/lr": 1.0},
            {"epoch": 2.0, "val/accuracy": 0.5, "train/loss": 0.5, "train/lr": 2.0},
        ]


class TestEnd:
    def test_an_exit_code_and_the_last_lines(self, script: Script, context: Context) -> None:
        told = reason(execute(script("print('begun')\nraise SystemExit('no data')"), context))
        assert told == "the command ended with exit code 1; its last lines:\nbegun\nno data"

    def test_death_at_import(self, script: Script, context: Context) -> None:
        told = reason(execute(script("import nothing_of_this_name"), context))
        assert told.startswith("the command ended with exit code 1; its last lines:\n")
        assert "ModuleNotFoundError: No module named 'nothing_of_this_name'" in told

    def test_a_signal(self, script: Script, context: Context) -> None:
        told = reason(execute(script("import os; os.kill(os.getpid(), 11)"), context))
        assert told.startswith("the command was ended by SIGSEGV")

    def test_no_such_program(self, context: Context) -> None:
        run = RunSpec("study", "arm", 1, "compare", {"run": {"command": ["/no/such", "{out}"]}}, "")
        assert reason(execute(run, context)) == "/no/such cannot be started: No such file or directory"

    @pytest.mark.parametrize("then", ["", "time.sleep(3600)"])
    def test_a_script_that_deletes_its_runs_folder(self, script: Script, context: Context, then: str) -> None:
        source = (
            "import os, shutil, sys, time\nprint('begun', flush=True)\nshutil.rmtree(os.path.dirname(sys.argv[1]))\n"
        )
        run = script(source + then, "{out}")
        told = reason(result := execute(run, context))
        assert told == f"the run's own folder was deleted before the run had ended: {context.folder(run)}"
        assert result.artifacts is not None
        assert "begun\n" in (result.artifacts / "run.log").read_text()

    def test_a_script_that_deletes_its_own_folder_alone(self, script: Script, context: Context) -> None:
        source = f"import shutil\n{GIVES_SCORES}\nshutil.rmtree(sys.argv[2])"
        assert execute(script(source, "{out}", "{dir}"), context).status == "FINISHED"

    def test_a_closed_stdout_is_no_end(self, script: Script, context: Context) -> None:
        source = "import os\nos.close(1)\nos.close(2)\nimport time; time.sleep(0.5)\n" + GIVES_SCORES
        assert execute(script(source), context).status == "FINISHED"

    def test_too_long(self, script: Script, context: Context) -> None:
        told = reason(execute(script("import time; time.sleep(3600)", timeout_s=0.5), context))
        assert told == "the command did not end within timeout_s = 0.5"

    def test_more_output_than_the_log_keeps(
        self, script: Script, context: Context, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(child_process, "LOG_BYTES", 10_000)
        source = GIVES_SCORES + "\nfor i in range(2000): print('line', i, 'x' * 20_000)\nprint('the end')"
        run = script(source)
        assert execute(run, context).status == "FINISHED"
        log = context.log_file(run).read_text()
        assert "line 0 xxx" in log
        assert "bytes of output are left out here" in log
        assert log.rstrip().endswith("FINISHED")
        assert "the end" in log
        assert len(log) < 1_000_000  # of forty million characters


FILLS_THE_DISK = """
import json, os, sys
out, own, how = sys.argv[1:]
print('val_acc=0.5')
full = os.path.exists(own + '/filler')
if not full:
    with open(own + '/filler', 'wb', buffering=0) as filler:
        try:
            while filler.write(bytes(1 << 16)) == 1 << 16: pass
        except OSError:
            pass
for i in range(100):
    print('line', i, 'x' * 1000)
if how == 'frees':
    os.truncate(own + '/filler', 0)
    print('then')
print('test_acc=0.25', flush=True)
if how == 'file':
    json.dump({'val_acc': 0.5, 'test_acc': 0.25}, open(out, 'w'))
"""


class TestFullDisk:
    """The run's folder and its log are on a disk that the script fills."""

    @pytest.fixture
    def small(self, context: Context, disk: SmallDisk) -> Context:
        return replace(context, work=disk.folder / "work", logs=disk.folder / "logs")

    @pytest.mark.parametrize(("how", "section"), [("file", {}), ("pattern", {"pattern": PATTERN})])
    def test_is_no_failure_of_the_run(self, script: Script, small: Context, how: str, section: dict[str, str]) -> None:
        run = script(FILLS_THE_DISK, "{out}", "{dir}", how, **section)
        with pytest.raises(Unavailable, match="No space left on device"):
            execute(run, small)
        os.truncate(small.folder(run) / "dir" / "filler", 0)  # it stays, so that the script fills nothing again
        result = execute(run, small)
        assert result.status == "FINISHED", result.error
        assert result.scores == {"val/accuracy": 0.5, "test/accuracy": 0.25}

    def test_for_a_while_costs_a_part_of_the_log_alone(self, script: Script, small: Context) -> None:
        result = execute(script(FILLS_THE_DISK, "{out}", "{dir}", "frees", pattern=PATTERN), small)
        assert result.status == "FINISHED", result.error
        assert result.scores == {"val/accuracy": 0.5, "test/accuracy": 0.25}
        assert result.artifacts is not None
        log = (result.artifacts / "run.log").read_text()
        assert "[a part of the output is missing: No space left on device]" in log


class TestStop:
    """The stop file, as Ctrl-C makes it; and nothing is left running."""

    def run_and_stop(self, run: RunSpec, context: Context) -> None:
        with pytest.raises(Stopped):
            execute(run, context)

    def stopped(self, run: RunSpec, context: Context, ready: Path) -> None:
        """Ask the run to stop once the script has made the file `ready`."""

        def ask() -> None:
            wait_until(ready.exists)
            context.stop_file.touch()

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            self.run_and_stop(run, context)
        finally:
            thread.join(PATIENCE_S)

    def test_a_script_that_saves_its_state(self, script: Script, context: Context, tmp_path: Path) -> None:
        source = (
            "import signal, sys, time\n"
            "def save(*_):\n    open('saved', 'w').close()\n    sys.exit(0)\n"
            "signal.signal(signal.SIGTERM, save)\nopen('ready', 'w').close()\ntime.sleep(3600)"
        )
        self.stopped(script(source), context, tmp_path / "ready")
        assert (tmp_path / "saved").exists()

    def test_a_script_that_then_writes_its_scores(self, script: Script, context: Context, tmp_path: Path) -> None:
        """They are of a training cut short: the run is interrupted, not done, though the script ends with 0."""
        source = (
            "import json, signal, sys, time\n"
            "def end(*_):\n    json.dump({'val_loss': 1, 'test_loss': 1}, open(out, 'w'))\n    sys.exit(0)\n"
            "out = sys.argv[1]\nsignal.signal(signal.SIGTERM, end)\nopen('ready', 'w').close()\ntime.sleep(3600)"
        )
        self.stopped(script(source), context, tmp_path / "ready")
        assert list(tmp_path.rglob("scores.json"))

    def test_a_script_that_ignores_it_and_its_children(
        self, script: Script, context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(child_process, "STOP_S", 0.3)
        source = (
            "import os, signal, subprocess, sys, time\n"
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "sleep = 'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(3600)'\n"
            "command = [sys.executable, '-c', sleep]\n"
            "children = [subprocess.Popen(command, start_new_session=new) for new in (False, True)]\n"
            "open('pids', 'w').write(' '.join(str(p) for p in [os.getpid(), *(c.pid for c in children)]))\n"
            "os.rename('pids', 'ready')\ntime.sleep(3600)"
        )
        self.stopped(script(source), context, tmp_path / "ready")
        pids = [int(pid) for pid in (tmp_path / "ready").read_text().split()]
        wait_until(lambda: not any(_runs(pid) for pid in pids))

    def test_a_script_dies_with_the_process_that_runs_it(
        self, script: Script, context: Context, tmp_path: Path
    ) -> None:
        """As when a worker is killed for want of memory."""
        run = script(
            "import os, time\nopen('pid', 'w').write(str(os.getpid()))\nos.rename('pid', 'ready')\ntime.sleep(3600)"
        )
        code = (
            "import pickle, sys\nfrom ablate.trainers.host import execute\n"
            "execute(*pickle.loads(sys.stdin.buffer.read()))"
        )
        worker = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
        assert worker.stdin is not None
        worker.stdin.write(pickle.dumps((run, context)))
        worker.stdin.close()
        try:
            wait_until((tmp_path / "ready").exists)
            pid = int((tmp_path / "ready").read_text())
            assert _runs(pid)
        finally:
            worker.kill()
            worker.wait(GONE_S)
        wait_until(lambda: not _runs(pid))


class TestSignsOfLife:
    def test_a_silent_script_shows_some(self, script: Script, context: Context, tmp_path: Path) -> None:
        assert _heartbeats(script("import time; time.sleep(1.5)\n" + GIVES_SCORES), context) > 1

    def test_one_that_has_announced_them_shows_its_own(self, script: Script, context: Context, tmp_path: Path) -> None:
        source = (
            "import sys, time; open(sys.argv[2] + '/progress.jsonl', 'w').close(); time.sleep(1.5)\n" + GIVES_SCORES
        )
        assert _heartbeats(script(source, "{out}", "{dir}"), context) <= 2


def _heartbeats(run: RunSpec, context: Context) -> int:
    """How often the run's progress file changed while the script was at work."""
    file, seen, done = context.folder(run) / "progress.jsonl", set[int](), threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            if file.exists():
                seen.add(file.stat().st_mtime_ns)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        result = execute(run, context)
        assert result.status == "FINISHED", result.error
    finally:
        done.set()
        thread.join(PATIENCE_S)
    return len(seen)


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
