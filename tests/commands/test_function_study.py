"""A whole study of a function, through the command and from Python, with real processes."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import tomllib
from ast import literal_eval
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from toy_project import GONE_S, Project, clean_environment, wait_until

import ablate
from ablate.study import InputError, Record
from ablate.tracking.mlflow.sqlite_reader import LocalStore

TESTS = Path(__file__).parents[1]
Cli = Callable[..., Any]


def copied(folder: Path) -> Project:
    shutil.copytree(TESTS / "function", folder, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    return Project(folder)


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Project]:
    project = copied(tmp_path / "study")
    yield project
    project.stop()


@pytest.fixture
def here(study: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The study's folder is the working folder; its module is imported from there alone."""
    monkeypatch.chdir(study.folder)
    for name in ("ABLATE_DATA", "ABLATE_MLRUNS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delitem(sys.modules, "ablation", raising=False)
    return study


@pytest.fixture(scope="session")
def finished_function(once: Callable[..., Path], initialised_store: Path) -> Path:
    """The folder of the example study, run by the real command."""

    def run(folder: Path) -> None:
        project = copied(folder)
        project.store(initialised_store)
        done = project.call("run", "dropout.toml", "--json", "--workers", "2")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["done"] == 10

    return once("finished-function", run)


def records(folder: Path) -> list[Record]:
    return LocalStore(folder / "mlruns" / "mlflow.db").records("dropout")


def results(folder: Path) -> bytes:
    return (folder / "reports" / "dropout" / "results.csv").read_bytes()


class TestExample:
    def test_its_numbers_are_those_of_the_script(self, finished_function: Path) -> None:
        """Of ../script/train.py, which does the same without ablate, to the last digit."""
        compared = [record for record in records(finished_function) if record.phase == "compare"]
        assert len(compared) == 10
        for record in compared:
            out = finished_function / "script.json"
            words = [f"--lr={record.overrides['run.lr']!r}", f"--seed={record.seed}", f"--out={out}"]
            words += ["--dropout"] if record.arm == "dropout" else []
            script = [sys.executable, str(TESTS / "script" / "train.py"), *words]
            subprocess.run(script, check=True, cwd=TESTS / "script", stdout=subprocess.DEVNULL)
            scores = json.loads(out.read_text())
            assert record.scores["val/loss"] == scores["val_loss"]
            assert record.scores["test/loss"] == scores["test_loss"]

    def test_its_report_shows_curves_examples_and_people(self, finished_function: Path) -> None:
        report = (finished_function / "reports" / "dropout" / "report.md").read_text()
        assert "on 4 test examples" in report
        assert "## Across people" in report
        assert "figures/learning_curves.png" in report
        assert " against parameters and latency" not in report  # no latency was measured
        assert {r.scores.get("count/epochs") for r in records(finished_function) if r.phase == "tune"} == {2}
        with (finished_function / "reports" / "dropout" / "timings.csv").open() as file:
            assert not any("latency" in row["metric"] for row in csv.DictReader(file))

    def test_while_tuning_no_test_score_is_stored(self, finished_function: Path) -> None:
        tuned = [record for record in records(finished_function) if record.phase == "tune"]
        assert len(tuned) == 4
        assert not any("test" in name for record in tuned for name in record.scores)


@pytest.mark.usefixtures("threads")
def test_a_killed_study_goes_on_from_its_checkpoints(
    here: Project, finished_function: Path, initialised_store: Path, cli: Cli
) -> None:
    study = here
    code = (study.folder / "ablation.py").read_text()
    reports = "        report(run, epoch"
    assert reports in code
    wait = "        open('waits', 'a').close()\n        while not exists('go'): sleep(0.01)\n"
    head = "from os.path import exists\nfrom time import sleep\n"
    (study.folder / "ablation.py").write_text(head + code.replace(reports, wait + reports))
    study.store(initialised_store)
    process = study.start("run", "dropout.toml", "--workers", "1")
    wait_until((study.folder / "waits").exists)  # saved, and not reported
    process.kill()
    process.wait(GONE_S)
    (study.folder / "go").touch()
    done = cli("run", "dropout.toml", "--workers", "1")
    assert done.code == 0, done.err
    assert results(study.folder) == results(finished_function)
    scores = [{r.name: _untimed(r) for r in records(f)} for f in (study.folder, finished_function)]
    assert scores[0] == scores[1]


def _untimed(record: Record) -> dict[str, float]:
    return {name: score for name, score in record.scores.items() if not name.startswith("time/")}


class TestCheck:
    @pytest.mark.parametrize(
        ("old", "new", "told"),
        [
            ("ablation:train", "ablation:trian", "settings.run.function: ablation has no 'trian'"),
            ("ablation:train", "ablation:trian", "did you mean 'train'?"),
            ("ablation:train", "ablaton:train", "no module named 'ablaton'"),
            ("ablation:train", "ablation:dropped", "must take two arguments: def train(settings, run)"),
            ("ablation:train", "ablation", 'settings.run.function: must be an import path "module:attribute"'),
            ("lr = 0.05", "lr = 0.05\npattern = 'x'", "settings.run.pattern: is for a command"),
            ("lr = 0.05", "lr = 0.05\ntimeout_s = 3", "settings.run.timeout_s: is for a command"),
        ],
    )
    def test_what_is_wrong_is_told(self, here: Project, cli: Cli, old: str, new: str, told: str) -> None:
        here.edit((old, new), file="dropout.toml")
        done = cli("run", "dropout.toml")
        assert (done.code, done.out) == (2, "")
        assert told in done.err
        assert "Traceback" not in done.err
        assert not (here.folder / "mlruns").exists()

    def test_what_is_right_was_imported(self, here: Project, cli: Cli) -> None:
        done = cli("plan", "dropout.toml", "--check")
        assert done.code == 0, done.err
        assert "every function was imported and takes its arguments; none was called" in done.out + done.err


NETWORK = """
import torch

class Net(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(4, width), torch.nn.Linear(width, 1))
    def forward(self, inputs):
        return self.layers(inputs)

def train(settings, run):
    made_by = settings["model"]
    net = Net(made_by["width"])
    run.model(net, torch.zeros(8, 4), made_by=made_by)
    loss = net(torch.ones(1, 4)).item() ** 2
    return {"val": {"loss": loss}, "test": {"loss": loss}}
"""


def test_a_network_that_a_factory_makes_has_its_latency_measured(study: Project, initialised_store: Path) -> None:
    study.store(initialised_store)
    (study.folder / "ablation.py").write_text(NETWORK)
    text = (study.folder / "dropout.toml").read_text()
    text = text[: text.index("[tuning]")].replace("[1, 2, 3, 4, 5]", "[1]")
    text = text.replace("[metric.loss]", '[settings.run.model]\nfactory = "ablation:Net"\nwidth = 8\n[metric.loss]')
    (study.folder / "dropout.toml").write_text(text.replace('"run.dropout" = true', '"run.model.width" = 16'))
    done = study.call("run", "dropout.toml", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert "could not be measured" not in done.stderr
    scores = {record.arm: record.scores for record in records(study.folder)}
    assert {arm: s["cost/parameters"] for arm, s in scores.items()} == {"plain": 49, "dropout": 97}
    assert all("cost/latency_ms_p50" in s and s["cost/flops"] > 0 for s in scores.values())


SCRIPT = """
import random
import ablate

def made(offset):
    def train(settings, run):
        weight = random.gauss(0, 0.1) + offset
        run.epoch(1, {"loss": weight})
        return {"val_loss": weight, "test_loss": weight + settings["dropout"]}
    return train

print("read")
outcome = ablate.run("dropout.toml", train=made(1))
print(outcome.done, outcome.failed, outcome.report.name, len(outcome.results.frame()))
"""


class TestFromPython:
    @pytest.fixture
    def unnamed(self, study: Project) -> Project:
        """The study without the name of a function."""
        study.edit(('function = "ablation:train"\n', ""), file="dropout.toml")
        return study

    def test_a_closure_of_a_script(self, unnamed: Project, initialised_store: Path) -> None:
        """Nothing guards the script's last lines from being run again in the processes of the runs."""
        unnamed.store(initialised_store)
        unnamed.edit(("seeds = [1, 2, 3, 4, 5]", "seeds = [1, 2]"), file="dropout.toml")
        (unnamed.folder / "script.py").write_text(SCRIPT)
        first = python(unnamed, "script.py")
        assert first.stdout.split("\n") == ["read", "4 0 report.md 4", ""], first.stderr
        stored = records(unnamed.folder)
        weights = {r.seed: r.scores["test/loss"] for r in stored if r.phase == "compare" and r.arm == "plain"}
        assert len(set(weights.values())) == 2
        assert "ablate.run('dropout.toml', train=train)" in report(unnamed)
        (unnamed.folder / "script.py").write_text(SCRIPT.replace("print(", "# read it\nprint("))
        assert "other source code" not in python(unnamed, "script.py").stderr
        (unnamed.folder / "script.py").write_text(SCRIPT.replace("made(1)", "made(2)"))
        assert "8 finished runs were made by other source code" in python(unnamed, "script.py").stderr
        assert len(records(unnamed.folder)) == len(stored)

    @pytest.mark.usefixtures("here", "threads", "unrendered")
    def test_a_function_of_a_module_is_that_of_the_command(
        self, unnamed: Project, finished_function: Path, initialised_store: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.syspath_prepend(str(unnamed.folder))
        unnamed.store(initialised_store)
        import ablation  # type: ignore[import-not-found]

        assert ablate.run("dropout.toml", ablation.train, ablate.Workspace(workers=1)).done == 10
        assert results(unnamed.folder) == results(finished_function)
        keys = [{(r.name, r.key) for r in records(folder)} for folder in (unnamed.folder, finished_function)]
        assert keys[0] == keys[1]
        codes = [{r.provenance["source_digest"] for r in records(f)} for f in (unnamed.folder, finished_function)]
        assert codes[0] == codes[1]

    @pytest.mark.usefixtures("threads", "unrendered")
    def test_a_study_without_a_file(self, here: Project, initialised_store: Path) -> None:
        here.store(initialised_store)
        here.edit(("seeds = [1, 2, 3, 4, 5]", "seeds = [1, 2]"), file="dropout.toml")
        content = tomllib.loads((here.folder / "dropout.toml").read_text())
        del content["tuning"]
        study, workspace = ablate.Study.model_validate(content), ablate.Workspace(workers=1)
        assert [ablate.run(each, workspace=workspace).done for each in (study, content)] == [4, 4]
        assert len(records(here.folder)) == 4
        with pytest.raises(InputError, match="tuning"):  # which the finished runs have not
            ablate.run("dropout.toml", workspace=workspace)

    def test_what_cannot_be_sent(self, unnamed: Project) -> None:
        refused = [
            ("lambda settings, run: {}", "train: must be a function, made with def"),
            ("print", "train: must be a function, made with def"),
            (
                "locked()",
                "train: cannot be sent to the process of a run: TypeError: cannot pickle '_thread.lock' object",
            ),
            ("one", "must take two arguments: def train(settings, run) (got one(settings))"),
            ("textless()", "train: has no source text, by which later runs could tell whether it has changed"),
        ]
        code = (
            "import threading, ablate\n"
            "def locked():\n    lock = threading.Lock()\n    def train(settings, run): lock\n    return train\n"
            "def one(settings): pass\n"
            "def textless():\n    names = {}\n    exec('def train(settings, run): pass', names)\n"
            "    return names['train']\n"
            f"for train in ({', '.join(train for train, _ in refused)}):\n"
            "    try:\n        ablate.run('dropout.toml', train=train)\n"
            "    except ablate.InputError as error:\n        print(repr(str(error)))\n"
        )
        (unnamed.folder / "code.py").write_text(code)
        said = [literal_eval(line) for line in python(unnamed, "code.py").stdout.splitlines()]
        assert [told in text for (_, told), text in zip(refused, said, strict=True)] == [True] * 5, said
        assert not (unnamed.folder / "mlruns").exists()

    def test_a_study_that_names_what_trains(self, study: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(study.folder)
        with pytest.raises(InputError, match="names what trains, and so does the argument `train`: leave one out"):
            ablate.run("dropout.toml", train=copied)
        with pytest.raises(InputError, match=r"settings.run: needs a command or a function"):
            ablate.run({"name": "x", "settings": {"run": {}}})


def python(project: Project, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=project.folder,
        env={**clean_environment(), "PYTHONPATH": str(project.folder)},
        capture_output=True,
        text=True,
    )


def report(project: Project) -> str:
    return (project.folder / "reports" / "dropout" / "report.md").read_text()
