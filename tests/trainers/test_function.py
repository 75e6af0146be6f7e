"""A run by a function: what it is given, what may come back, what it may report, and what is told before it runs."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import random
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from toy_project import clean_environment

from ablate.study import InputError, RunResult, RunSpec
from ablate.trainers import function, function_run, provenance
from ablate.trainers.builtin.checkpoints import load_model
from ablate.trainers.context import Context
from ablate.trainers.errors import Stopped
from ablate.trainers.host import execute

SCORES = {"val_acc": 0.5, "test_acc": 0.25}
NUMBER = itertools.count()
Function = Callable[..., RunSpec]
NETWORK = """
import torch
class Net(torch.nn.Module):
    def __init__(self, width=3):
        super().__init__()
        self.layer = torch.nn.Linear(4, width)
        self.drop = torch.nn.Dropout(0.5)
    def forward(self, inputs):
        return self.drop(self.layer(inputs))
"""


@pytest.fixture
def context(tmp_path: Path) -> Context:
    folder = tmp_path / "study"
    folder.mkdir()
    names = {"accuracy": ("val_acc", "test_acc")}
    return Context("", (), folder, tmp_path / "work", tmp_path / "logs", metric_names=names)


@pytest.fixture
def train(context: Context) -> Function:
    """A run of this function's body, in a module of its own."""

    def make(body: str = "", *, head: str = "", phase: Any = "compare", seed: int = 3, **section: Any) -> RunSpec:
        name = f"function_{next(NUMBER)}"
        body = "".join(f"\n    {line}" for line in (body or f"return {SCORES}").splitlines())
        (context.study_dir / f"{name}.py").write_text(f"{head}\ndef train(settings, run):{body}\n")
        return RunSpec("study", "arm", seed, phase, {"run": {"function": f"{name}:train", **section}}, "")

    return make


def reason(result: RunResult) -> str:
    assert result.status == "FAILED", result
    return result.error


def finished(result: RunResult) -> RunResult:
    assert result.status == "FINISHED", result.error
    return result


def said(spec: RunSpec, context: Context, word: str) -> list[str]:
    """What a run printed after a word, in a worker process."""
    code = (
        "import multiprocessing, pickle, sys\n"
        "from ablate.trainers import print_capture\nfrom ablate.trainers.host import execute\n"
        "spec, context = pickle.loads(sys.stdin.buffer.read())\nlog = context.log_file(spec)\n"
        "log.parent.mkdir(exist_ok=True)\n"
        "with print_capture.to_file(log): result = execute(spec, context)\n"
        "print(result.status, result.error, 'torch' in sys.modules)"
    )
    context.log_file(spec).unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps((spec, context)),
        capture_output=True,
        check=True,
        env=clean_environment(),
    )
    assert done.stdout.startswith(b"FINISHED"), (done.stdout, done.stderr)
    lines = [*context.log_file(spec).read_text().splitlines(), f"RESULT {done.stdout.decode().strip()}"]
    return [line.removeprefix(f"{word} ") for line in lines if line.startswith(f"{word} ")]


class TestGiven:
    def test_settings_without_reserved_keys(self, train: Function, context: Context) -> None:
        body = f"settings['net']['width'] += 1\nprint('SETTINGS', settings)\nreturn {SCORES}"
        spec = train(body, lr=0.1, net={"width": 3}, sizes=[1, 2], inputs=[], test="", selection="best-val")
        (line,) = said(spec, context, "SETTINGS")
        assert line == "{'lr': 0.1, 'net': {'width': 4}, 'sizes': [1, 2]}"
        assert spec.settings["run"]["net"] == {"width": 3}

    def test_the_names_in_a_control_it_honours(self, train: Function, context: Context) -> None:
        spec = train(f"print('SETTINGS', settings)\nreturn {SCORES}", lr=0.1, honours=["drop_input", "freeze"])
        spec = replace(spec, settings={**spec.settings, "control": {"freeze": ["head"]}})
        (line,) = said(spec, context, "SETTINGS")
        assert line == "{'lr': 0.1, 'drop_input': [], 'freeze': ['head']}"

    def test_run(self, train: Function, context: Context) -> None:
        (context.study_dir / "data").write_text("x")
        values = "[run.seed, run.device, run.threads, run.budget, run.phase]"
        body = f"print('RUN', {values}, run.inputs[0].read_text(), run.folder.is_dir())"
        spec = train(f"{body}\nreturn {SCORES}", budget=4, inputs=["data"])
        assert said(spec, replace(context, threads=2, device="cuda:1"), "RUN") == [
            "[3, 'cuda:1', 2, 4, 'compare'] x True"
        ]
        assert said(replace(spec, phase="tune"), context, "RUN") == ["[3, 'cpu', 1, 4, 'tune'] x True"]
        assert said(train(f"print('RUN', run.budget, run.inputs)\nreturn {SCORES}"), context, "RUN") == ["None ()"]

    def test_a_folder_that_is_kept_when_the_run_fails(self, train: Function, context: Context) -> None:
        body = "kept = run.folder / 'kept'\nif not kept.exists():\n    kept.touch()\n    raise ValueError('first')"
        spec = train(f"{body}\nreturn {SCORES}")
        module = spec.settings["run"]["function"].partition(":")[0]
        assert reason(execute(spec, context)) == f"ValueError: first ({module}.py, line 6)"
        finished(execute(spec, context))

    def test_the_studys_folder_as_working_folder_and_thread_counts(self, train: Function, context: Context) -> None:
        (context.study_dir / "sub").mkdir()
        body = f"import os; print('HERE', os.getcwd(), os.environ['OMP_NUM_THREADS'])\nreturn {SCORES}"
        assert said(train(body), replace(context, threads=5), "HERE") == [f"{context.study_dir} 5"]
        assert said(train(body, cwd="sub"), context, "HERE") == [f"{context.study_dir / 'sub'} 1"]
        before = (Path.cwd(), dict(os.environ))
        finished(
            execute(train(f"assert os.environ['MKL_NUM_THREADS'] == '1'\nreturn {SCORES}", head="import os"), context)
        )
        assert (Path.cwd(), dict(os.environ)) == before
        assert reason(execute(train(body, cwd="none"), context)).startswith("no such folder: ")

    def test_seeded_generators_with_gradients(self, train: Function, context: Context) -> None:
        draws = "random.random(), numpy.random.rand()"
        head = f"import random, numpy, torch\nAT_IMPORT = [{draws}]"
        in_run = f"[{draws}, torch.rand(()).item()]"
        spec = train(f"print('DRAWN', AT_IMPORT, {in_run}, torch.is_grad_enabled())\nreturn {SCORES}", head=head)
        (line,) = said(spec, context, "DRAWN")
        random.seed(3)
        np.random.seed(3)
        torch.manual_seed(3)
        drawn = [random.random(), np.random.rand(), torch.rand(()).item()]
        assert line == f"{drawn[:2]} {drawn} True"
        assert said(spec, context, "DRAWN") == [line]
        assert said(replace(spec, replicate=1), context, "DRAWN") != [line]

    def test_a_replicate_has_a_seed_of_its_own(self, train: Function) -> None:
        seeds = {replace(train(seed=seed), replicate=r).own_seed for seed in (1, 2) for r in (0, 1, 2)}
        assert len(seeds) == 6
        assert {1, 2} < seeds
        assert all(0 <= seed < 2**31 for seed in seeds)


class TestTorch:
    def test_is_not_imported_for_a_function_without_it(self, train: Function, context: Context) -> None:
        body = f"run.epoch(1, {{'val_acc': 1}})\nrun.examples('test', {{'accuracy': [1.0]}})\nreturn {SCORES}"
        assert said(train(body), context, "RESULT") == ["FINISHED  False"]

    def test_that_is_imported_too_late_is_told(self, train: Function, context: Context) -> None:
        late = train(f"import torch\nreturn {SCORES}")
        assert said(late, context, "RESULT") == ["FINISHED  True"]
        assert "torch was not seeded: it was imported after" in context.log_file(late).read_text()
        early = train(f"import torch\nreturn {SCORES}", head="import torch")
        assert said(early, context, "RESULT") == ["FINISHED  True"]
        assert "torch was not seeded" not in context.log_file(early).read_text()


class TestScores:
    @pytest.mark.parametrize(
        "given",
        [
            "{'val_acc': 0.5, 'test_acc': 0.25, 'extra': 'x'}",
            "{'val': {'accuracy': 0.5}, 'test': {'accuracy': 0.25, 'other': None}, 'note': 'x'}",
            "{'val': {'accuracy': numpy.float32(0.5)}, 'test': {'accuracy': numpy.array(0.25)}}",
            "{'val_acc': torch.tensor(0.5, requires_grad=True), 'test_acc': torch.tensor([0.25])}",
        ],
    )
    def test_by_name_or_by_split(self, train: Function, context: Context, given: str) -> None:
        spec = train(f"return {given}", head="import numpy, torch")
        assert finished(execute(spec, context)).scores == {"val/accuracy": 0.5, "test/accuracy": 0.25}
        assert finished(execute(replace(spec, phase="tune"), context)).scores == {"val/accuracy": 0.5}

    def test_of_one_split(self, train: Function, context: Context) -> None:
        spec = train("run.examples('val', {'accuracy': [1.0, 0.0]})\nreturn {'val': {'accuracy': 0.5}}", test="none")
        result = finished(execute(spec, context))
        assert result.scores == {"val/accuracy": 0.5, "count/val_examples": 2}

    @pytest.mark.parametrize(
        ("given", "told"),
        [
            ("None", "the function must return its scores, such as"),
            ("0.5", "not 0.5"),
            ("{}", 'the score "test_acc" did not come; it gave none'),
            ("{'val': {'accuracy': 1}}", 'the score "test/accuracy" did not come; it gave "val/accuracy"'),
            (
                "{'val': {'accuracy': 1}, 'test': {'acuracy': 1}}",
                'it gave "val/accuracy", "test/acuracy" (did you mean \'test/acuracy\'?)',
            ),
            ("{'test_acc': float('nan')}", "the score test_acc is nan"),
            ("{'test_acc': [1, 2]}", "the score test_acc must be a number, not [1, 2]"),
            ("{'test_acc': numpy.zeros(2)}", "the score test_acc must be a number, not "),
            ("{'test_acc': True}", "the score test_acc must be a number, not true"),
        ],
    )
    def test_that_cannot_be_used(self, train: Function, context: Context, given: str, told: str) -> None:
        assert told in reason(execute(train(f"return {given}", head="import numpy"), context))


class TestEpochs:
    def test_are_the_curve(self, train: Function, context: Context) -> None:
        body = (
            "run.epoch(1, {'val_acc': 0.25, 'loss': 2, 'test_acc': 9})\n"
            "run.epoch(2, {'val': {'accuracy': numpy.float32(0.5)}, 'train': {'loss': 1}, 'test': {'accuracy': 9}})\n"
        )
        result = finished(execute(train(f"{body}return {SCORES}", head="import numpy"), context))
        assert list(result.history) == [
            {"epoch": 1.0, "val/accuracy": 0.25, "train/loss": 2.0},
            {"epoch": 2.0, "val/accuracy": 0.5, "train/loss": 1.0},
        ]
        assert result.scores["count/epochs"] == 2

    @pytest.mark.parametrize(
        ("call", "told"),
        [
            ("run.epoch('one', {})", 'run.epoch: the epoch must be a number, not "one"'),
            ("run.epoch(float('nan'), {})", "run.epoch: the epoch must be a number, not NaN"),
            ("run.epoch(1, {'loss': 'high'})", 'run.epoch: loss must be a number, not "high"'),
            ("run.epoch(1, {'val': {'accuracy': None}})", "run.epoch: val/accuracy must be a number, not null"),
        ],
    )
    def test_of_a_wrong_kind_are_told_in_the_first(
        self, train: Function, context: Context, call: str, told: str
    ) -> None:
        assert reason(execute(train(f"{call}\nreturn {SCORES}"), context)) == told

    def test_of_an_interrupted_run_count(self, train: Function, context: Context) -> None:
        """It goes on at its third epoch, after two were reported and the file's last line was cut off."""
        body = f"for epoch in range(1, 4):\n    run.epoch(epoch, {{'loss': epoch}})\nreturn {SCORES}"
        whole = finished(execute(train(body), context))
        spec = train(body.replace("range(1", "range(settings['first']"), first=3)
        seen: list[Any] = []
        file = context.folder(spec) / "dir" / function_run.EPOCHS
        file.parent.mkdir(parents=True)
        lines = [json.dumps(entry) for entry in (*whole.history[:2], {"epoch": 3.0, "train/loss": 9.0})]
        file.write_text("\n".join(lines) + '\n{"epoch": 4')
        resumed = finished(execute(spec, context, on_epoch=seen.append))
        assert resumed.history == whole.history == seen
        again = finished(execute(train(body, first=3), context))
        assert again.history == whole.history

    def test_a_run_that_starts_anew_forgets_those_before(self, train: Function, context: Context) -> None:
        spec = train(f"run.epoch(1, {{'loss': 1}})\nreturn {SCORES}")
        first = finished(execute(spec, context))
        file = context.folder(spec) / "dir" / function_run.EPOCHS
        file.write_text(file.read_text() + json.dumps({"epoch": 2.0, "train/loss": 5.0}) + "\n")
        assert finished(execute(spec, context)).history == first.history

    @pytest.mark.parametrize("catch", ["except Exception: pass", "except Exception as e: raise ValueError from e"])
    def test_a_stop_that_the_function_catches_is_one(self, train: Function, context: Context, catch: str) -> None:
        context.stop_file.parent.mkdir()
        context.stop_file.touch()
        with pytest.raises(Stopped):
            execute(train(f"try: run.epoch(1, {{'loss': 1}})\n{catch}\nreturn {SCORES}"), context)

    def test_without_any_the_run_shows_signs_of_life(
        self, train: Function, context: Context, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(function_run, "LIFE_S", 0.01)
        body = (
            "import os, time\nfile = run.folder.parent / 'progress.jsonl'\n"
            "before = file.stat().st_mtime_ns\n"
            "while file.stat().st_mtime_ns == before: time.sleep(0.01)\n"
            "run.epoch(1, {'loss': 1})\nimport threading\n"
            "while any(t.name == 'signs of life' for t in threading.enumerate()): time.sleep(0.01)\n"
        )
        finished(execute(train(f"{body}return {SCORES}"), context))
        assert not any(thread.name == "signs of life" for thread in threading.enumerate())


class TestExamples:
    FRAME = "pandas.DataFrame({'accuracy': [1.0, 0.5], 'subject': [1, 2], 'dark': [True, False], 'size': [1.5, 2.5]})"

    def test_are_the_files_of_the_report(self, train: Function, context: Context) -> None:
        spec = train(f"run.examples('test', {self.FRAME})\nreturn {SCORES}", head="import pandas")
        result = finished(execute(spec, context))
        assert result.artifacts is not None
        assert result.scores["count/test_examples"] == 2
        scores = pd.read_parquet(result.artifacts / "scores.parquet")
        assert scores.to_dict("list") == {"accuracy": [1.0, 0.5]}
        conditions = pd.read_parquet(result.artifacts / "conditions.parquet")
        assert conditions.to_dict("list") == {"subject": [1, 2], "dark": [True, False], "size": [1.5, 2.5]}
        assert scores.dtypes.to_list() == [np.float32]

    def test_of_every_kind_of_number_and_without_importing_pandas(self, train: Function, context: Context) -> None:
        kinds = "'f2', 'f8', '>f4', 'i1', 'u2', '>i4', 'i8', 'u8'"
        body = (
            f"table = {{kind: numpy.arange(40)[::2].astype(kind) for kind in ({kinds})}}\n"
            "table['?'] = numpy.arange(40)[::2] % 7 == 1\n"
            "table['accuracy'] = numpy.where(numpy.arange(20) == 3, numpy.nan, 0.5)\n"
            "run.examples('test', table)\nimport sys\nloaded = [m in sys.modules for m in ('pyarrow', 'pandas')]\n"
            f"print('LOADED', *loaded)\nreturn {SCORES}"
        )
        spec = train(body, head="import numpy")
        assert said(spec, context, "LOADED") == ["True False"]
        out = context.folder(spec) / "out"
        conditions, numbers = pd.read_parquet(out / "conditions.parquet"), np.arange(40)[::2]
        for kind in ("f2", "f8", ">f4", "i1", "u2", ">i4", "i8", "u8"):
            assert conditions[kind].to_list() == numbers.tolist(), kind
            native = np.dtype("f4") if "f" in kind else np.dtype(kind).newbyteorder("=")
            assert conditions[kind].dtype == native
        assert conditions["?"].to_list() == (numbers % 7 == 1).tolist()
        assert pd.read_parquet(out / "scores.parquet")["accuracy"].isna().to_list() == [i == 3 for i in range(20)]

    def test_are_dropped_while_tuning(self, train: Function, context: Context) -> None:
        spec = train(f"run.examples('test', {self.FRAME})\nreturn {SCORES}", head="import pandas", phase="tune")
        result = finished(execute(spec, context))
        assert result.artifacts is None
        assert list(context.work.rglob("*.parquet")) == []
        assert dict(result.scores) == {"val/accuracy": 0.5}

    @pytest.mark.parametrize(
        ("call", "told"),
        [
            ("run.examples('val', {'accuracy': [1]})", 'the comparison is on the split "test", not "val"'),
            (
                "run.examples('test', {'acuracy': [1]})",
                "no column is a metric of the study; it has acuracy; did you mean",
            ),
            ("run.examples('test', {'accuracy': ['a']})", '"accuracy" must hold one number for each example'),
            ("run.examples('test', {'accuracy': [[1]]})", '"accuracy" must hold one number for each example'),
            ("run.examples('test', {'accuracy': [1, 2], 'x': [1]})", "needs examples, and as many in every column"),
            ("run.examples('test', {'accuracy': numpy.zeros(0)})", "needs examples, and as many in every column"),
            ("run.examples('test', {})", "needs examples, and as many in every column"),
        ],
    )
    def test_that_cannot_be_shown(self, train: Function, context: Context, call: str, told: str) -> None:
        result = execute(train(f"{call}\nreturn {SCORES}", head="import numpy"), context)
        assert told in reason(result)


class TestNetwork:
    def spec(self, train: Function, context: Context, call: str, *, body: str = "", **more: Any) -> RunSpec:
        (context.study_dir / "a_network.py").write_text(NETWORK)
        sys.modules.pop("a_network", None)
        body = f"net = a_network.Net(**settings.get('size', {{}}))\nx = torch.ones(8, 4)\n{call}\n{body}return {SCORES}"
        return train(body, head="import a_network, torch, random, numpy", **more)

    def test_is_counted(self, train: Function, context: Context) -> None:
        result = finished(execute(self.spec(train, context, "run.model(net, x)"), context))
        assert result.scores == {"val/accuracy": 0.5, "test/accuracy": 0.25} | {
            "cost/parameters": 15,
            "cost/flops": 24,
        }
        assert result.artifacts is not None
        assert not (result.artifacts / "model").exists()

    def test_made_by_a_factory_is_saved(self, train: Function, context: Context) -> None:
        size = {"width": 2}
        made_by = "made_by={'factory': 'a_network:Net', **settings['size']}"
        spec = self.spec(train, context, f"run.model(net, x, {made_by})", size=size)
        result = finished(execute(spec, context))
        assert result.artifacts is not None
        loaded = load_model(result.artifacts / "model")
        assert loaded(torch.ones(1, 4)).shape == (1, 2)
        tuned = finished(execute(replace(spec, phase="tune"), context))
        assert tuned.artifacts is None
        assert tuned.scores["cost/parameters"] == 10
        wrong = self.spec(train, context, "run.model(net, x, made_by={'factory': 'a_network:Net', 'width': 9})")
        assert "cannot be loaded again" in finished(execute(wrong, context)).provenance["model"]

    def test_changes_nothing(self, train: Function, context: Context) -> None:
        draws = "random.random(), numpy.random.rand(), torch.rand(()).item()"
        draws = f"print([{draws}, net.training, net.drop.training])\n"
        made_by = "made_by={'factory': 'a_network:Net'}"
        lines = []
        for call in ("net.drop.eval()", f"net.drop.eval()\nrun.model(net, x, {made_by})"):
            (line,) = [
                line
                for line in said_by_worker(self.spec(train, context, call, body=draws), context)
                if line.startswith("[")
            ]
            lines.append(line)
        assert lines[0] == lines[1]
        assert lines[0].endswith("True, False]")

    def test_inputs_that_are_no_tensor(self, train: Function, context: Context) -> None:
        result = finished(execute(self.spec(train, context, "run.model(net, {'x': x})"), context))
        assert result.scores["cost/parameters"] == 15
        assert "cost/flops" not in result.scores
        assert "FLOPs are not counted" in context.log_file(self.spec(train, context, "")).read_text()

    @pytest.mark.parametrize(
        ("call", "told"),
        [
            ("run.model(3, x)", "run.model: needs a torch.nn.Module, not int"),
            ("run.model(net, x, made_by={'width': 3})", 'run.model: made_by needs a factory, "module:attribute"'),
        ],
    )
    def test_that_is_none(self, train: Function, context: Context, call: str, told: str) -> None:
        assert told in reason(execute(self.spec(train, context, call), context))


def said_by_worker(spec: RunSpec, context: Context) -> list[str]:
    said(spec, context, "RESULT")
    return context.log_file(spec).read_text().splitlines()


class TestCheck:
    @pytest.mark.parametrize(
        ("source", "told"),
        [
            ("def train(settings): pass", "must take two arguments: def train(settings, run) (got train(settings))"),
            ("def train(settings, run, more): pass", "must take two arguments"),
            ("def train(*, settings, run): pass", "must take two arguments"),
            ("train = 3", "must be a function: def train(settings, run)"),
            ("def trian(settings, run): pass", "has no 'train'"),
            ("def trian(settings, run): pass", "did you mean 'trian'?"),
            ("raise SystemExit(3)", "failed: SystemExit: 3; raised at "),
            ("import nothing_of_this_name", "No module named 'nothing_of_this_name'"),
        ],
    )
    def test_one_that_does_not(self, context: Context, source: str, told: str) -> None:
        name = f"function_{next(NUMBER)}"
        (context.study_dir / f"{name}.py").write_text(source)
        spec = RunSpec("study", "arm", 1, "compare", {"run": {"function": f"{name}:train"}}, "")
        problems = function.check(spec, context)
        assert told in str(InputError(*problems))
        assert all(problem.place == "settings.run.function" for problem in problems)

    def test_no_working_folder(self, context: Context) -> None:
        spec = RunSpec("study", "arm", 1, "compare", {"run": {"function": "json:dumps", "cwd": "nowhere"}}, "")
        (problem,) = function.check(spec, context)
        assert (problem.place, problem.rule) == ("settings.run.cwd", "no such folder")

    @pytest.mark.parametrize(
        "source",
        [
            "def train(settings, run): pass",
            "def train(*anything): pass",
            "def train(settings, run, more=1): pass",
            "class C:\n    def __call__(self, s, r): pass\ntrain = C()",
            "import functools\ntrain = functools.partial(lambda a, s, r: {}, 1)",
        ],
    )
    def test_one_that_fits(self, context: Context, source: str) -> None:
        name = f"function_{next(NUMBER)}"
        (context.study_dir / f"{name}.py").write_text(source)
        spec = RunSpec("study", "arm", 1, "compare", {"run": {"function": f"{name}:train"}}, "")
        assert function.check(spec, context) == []


class TestCode:
    def test_is_what_the_function_imports(self, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = context.study_dir
        (folder / "code_of.py").write_text("import helps\ndef train(settings, run): return helps.go()\n")
        (folder / "helps.py").write_text("def go(): return 1\n")
        (folder / "other.py").write_text("x = 1\n")
        settings = {"run": {"function": "code_of:train"}}
        before = provenance.code_digest(settings, folder)
        (folder / "other.py").write_text("x = 2\n")
        (folder / "helps.py").write_text("def go(): return 1  # a comment\n")
        monkeypatch.setattr(provenance, "LOOP_MODULE", "ablate.trainers.builtin.cost")  # as if the loop had changed
        assert provenance.code_digest(settings, folder) == before
        (folder / "helps.py").write_text("def go(): return 2\n")
        assert provenance.code_digest(settings, folder) != before


def test_what_a_function_sees_of_run_is_what_the_documentation_names(train: Function, context: Context) -> None:
    page = (Path(__file__).parents[2] / "docs" / "function.md").read_text(encoding="utf-8")
    table = page[page.index("| `run.` | |") : page.index("`random` and NumPy are seeded before")]
    named = {*re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE), *re.findall(r"^- `run\.(\w+)\(", page, re.MULTILINE)}
    assert {"seed", "epoch"} < named
    spec = train(f"import json, pathlib\npathlib.Path('seen').write_text(json.dumps(dir(run)))\nreturn {SCORES}")
    finished(execute(spec, context))
    seen = json.loads((context.study_dir / "seen").read_text())
    assert {name for name in seen if not name.startswith("_")} == named


def test_a_function_that_deletes_its_runs_folder(train: Function, context: Context) -> None:
    spec = train(f"import shutil\nshutil.rmtree(run.folder.parent)\nrun.epoch(1, {{'val_acc': 1}})\nreturn {SCORES}")
    told = reason(execute(spec, context))
    assert told == f"the run's own folder was deleted before the run had ended: {context.folder(spec)}"
