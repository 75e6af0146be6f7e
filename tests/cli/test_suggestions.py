"""Every command that is suggested is complete: it is executed as it was printed, with the store in an odd folder."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import ablate
from ablate.cli.app import app
from ablate.cli.help import with_summaries
from ablate.scheduler.workspace import OPTIONS, Workspace
from ablate.study import shipped

Cli = Callable[..., Any]
SUGGESTED = re.compile(r"`(ablate [^`]*)`")
HERE = ["--mlruns", "my runs", "--data-root", "data"]
STORE = ["--mlruns", "my runs"]
STUDY = """
name = "tiny"
question = "Is b lower than a?"
baseline = "a"
seeds = [1, 2]
[settings.run]
command = ["python", "train.py", "--x={x}", "--seed={seed}", "--out={out}"]
x = 1.0
[metric.loss]
direction = "lower"
[arms.a]
[arms.b]
set."run.x" = 2.0
"""
SCRIPT = """
import argparse, json
parser = argparse.ArgumentParser()
for name in ("--x", "--seed", "--out"):
    parser.add_argument(name)
args = parser.parse_args()
loss = float(args.x) + int(args.seed) / 10
json.dump({"val_loss": loss, "test_loss": loss}, open(args.out, "w"))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_mlruns: Callable[[Path], Path], threads: None) -> Path:
    (tmp_path / "tiny.toml").write_text(STUDY, encoding="utf-8")
    (tmp_path / "train.py").write_text(SCRIPT, encoding="utf-8")
    (tmp_path / "data").mkdir()
    new_mlruns(tmp_path).rename(tmp_path / "my runs")
    monkeypatch.chdir(tmp_path)
    for name in ("ABLATE_DATA", "ABLATE_MLRUNS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def suggested(answer: Any) -> list[str]:
    """The commands in what a command said, on one line each however wide the terminal is."""
    return SUGGESTED.findall(" ".join(f"{answer.out} {answer.err}".split()))


def pasted(cli: Cli, answer: Any, *wanted: str) -> list[Any]:
    """Execute what was suggested, which must be `wanted`."""
    commands = suggested(answer)
    assert commands == list(wanted)
    answers = [cli(*shlex.split(command)[1:]) for command in commands]
    for command, said in zip(commands, answers, strict=True):
        assert said.code in (0, 1), f"{command}: {said.err}"
    return answers


def test_what_plan_and_status_suggest_leads_to_a_report(folder: Path, cli: Cli) -> None:
    checked, ran = pasted(
        cli,
        cli("plan", "tiny.toml", *HERE),
        "ablate plan tiny.toml --check --mlruns 'my runs' --data-root data",
        "ablate run tiny.toml --mlruns 'my runs' --data-root data",
    )
    assert (checked.code, ran.code) == (0, 0)
    assert "MLflow UI  ablate ui --mlruns 'my runs'" in ran.out
    (reported,) = pasted(cli, cli("status", "tiny.toml", *HERE), "ablate report tiny --mlruns 'my runs'")
    assert reported.code == 0
    (listed,) = [cli("list", *STORE)]
    assert "tiny   4 of 4" in listed.out


def test_failed_and_stale_runs_are_done_again_by_what_is_suggested(folder: Path, cli: Cli) -> None:
    good = (folder / "train.py").read_text(encoding="utf-8")
    (folder / "train.py").write_text(good.replace("loss = ", "loss = 1 / (2 - float(args.x)) + "), encoding="utf-8")
    failed = cli("run", "tiny.toml", *HERE, "--workers", "1")
    assert failed.code == 1
    assert "failed: b-seed1, b-seed2: the command ended with exit code 1" in failed.err
    (folder / "train.py").write_text(good, encoding="utf-8")
    again = "ablate run tiny.toml --rerun failed --mlruns 'my runs' --data-root data"
    assert suggested(failed) == [again]
    (done,) = pasted(cli, failed, again)
    assert done.code == 0
    stale = "ablate run tiny.toml --rerun stale --mlruns 'my runs' --data-root data"
    (second,) = pasted(cli, done, stale)  # the runs of a are of the script as it was
    assert second.code == 0
    assert suggested(second) == []


def test_a_store_that_is_missing_or_lacks_the_study(folder: Path, cli: Cli) -> None:
    missing = cli("report", "tiny", "--mlruns", "other runs")
    assert missing.code == 2
    (ran,) = pasted(cli, missing, "ablate run tiny.toml --mlruns 'other runs'")
    assert ran.code == 0
    absent = cli("compare", "tiny", "a", "b", *STORE)
    assert absent.code == 2
    pasted(cli, absent, "ablate run tiny.toml --mlruns 'my runs'")


def test_runs_to_be_exported_and_a_name_that_adopted_results_have(folder: Path, cli: Cli) -> None:
    (folder / "scores.csv").write_text("arm,seed,loss\na,1,1\nb,1,2\n", encoding="utf-8")
    adopt = ["adopt", "scores.csv", "--baseline", "a", "--metric", "loss:lower", "--name", "tiny", *STORE]
    assert cli(*adopt).code == 0
    pasted(cli, cli("status", "tiny", *STORE), "ablate report tiny --mlruns 'my runs'")
    refused = cli("run", "tiny.toml", *STORE)
    assert refused.code == 2
    assert suggested(refused) == ["ablate discard tiny --mlruns 'my runs'"]
    assert cli(*shlex.split(suggested(refused)[0])[1:], "--yes").code == 0  # it asks, which a test cannot answer
    assert cli("run", "tiny.toml", *STORE).code == 0
    exported = cli("export", "tiny", "a file.zip", *STORE)
    (imported,) = pasted(cli, exported, "ablate import 'a file.zip'")
    assert "4 runs" in imported.out


def test_what_init_suggests(folder: Path, cli: Cli) -> None:
    made = cli("init", "--command", "python train.py --x 1.0 --seed 1 --out out.json", "--out", "new study.toml")
    assert made.code == 0
    (command,) = suggested(made)
    assert command == "ablate plan 'new study.toml' --check"
    assert "new study.toml" in cli(*shlex.split(command)[1:]).err  # its comments say what is still to be done


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["run", "quikc"], "did you mean 'quick', which comes with ablate?"),
        (["plan", "quikc.toml"], "did you mean 'quick', which comes with ablate?"),
        (["status", "tinny"], "did you mean 'tiny.toml'?"),
        (["run", "tiny"], "did you mean 'tiny.toml'?"),
        (["report", "quikc", *STORE], "did you mean 'quick', which comes with ablate?"),
        (["evaluate", "tinny", "--data", "x.npz", *STORE], "did you mean 'tiny.toml'?"),
        (["import", "tini.zip"], "did you mean 'tiny.zip'?"),
        (["adopt", "scorse.csv", "--baseline", "a", "--metric", "m:lower"], "did you mean 'scores.csv'?"),
        (["data", "inspect", "data/wlak.npz"], "did you mean 'data/walk.npz'?"),
        (["data", "prepare", "data/wlak.npz", "--out", "p.npz"], "did you mean 'data/walk.npz'?"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else None,
)
def test_did_you_mean(folder: Path, cli: Cli, arguments: list[str], hint: str) -> None:
    for name in ("tiny.zip", "scores.csv", "data/walk.npz"):
        (folder / name).touch()
    answer = cli(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.rstrip().endswith(hint)


def test_a_file_of_the_folder_goes_before_a_shipped_study(folder: Path, cli: Cli) -> None:
    (folder / "quick.toml").write_text(STUDY.replace('"tiny"', '"quick"'), encoding="utf-8")
    assert cli("run", "quikc").err.rstrip().endswith("did you mean 'quick.toml'?")
    assert shipped.file_of("quick") == Path("quick.toml")


def test_every_place_that_a_command_takes_is_in_what_is_suggested() -> None:
    """An option that says where things are, and that a suggestion lacks, would have it look elsewhere."""
    commands = with_summaries(app).commands
    places = {field.name for field in fields(Workspace)} - {"workers", "stall_after", "patience_s", "working_folder"}
    for name, options in OPTIONS.items():
        taken = {parameter.name for parameter in commands[name].params} & (places | {"patience"})
        assert set(options) == taken - {"patience"}, name


def test_no_suggestion_is_written_out() -> None:
    """They are made by `Workspace.suggest`. Exceptions: commands that need no place, and those of another version."""
    root = Path(ablate.__file__).parent
    exceptions = {
        "archive/dvc_storage.py",
        "archive/zip_archive.py",
        "commands/init/__init__.py",
        "commands/init/text.py",
        "study/tracker.py",  # names who is at work
    }
    found = {
        f"{file.relative_to(root)}: {text}"
        for file in root.rglob("*.py")
        if str(file.relative_to(root)) not in exceptions and "`ablate" in (source := file.read_text(encoding="utf-8"))
        for text in _texts(ast.parse(source))
        if re.search(r"`ablate [a-z]", text)
    }
    assert sorted(found) == sorted(_ALLOWED)


_ALLOWED = {  # which mention a command and suggest none
    "report/terminal_plan.py: differs from the last `ablate run`: ",
    "depth_refinement/recording.py: a recording has no training examples; it is for `ablate evaluate`",
}


def _texts(tree: ast.Module) -> Iterator[str]:
    """Texts outside of docstrings and of the help of options."""
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("Option", "Argument", "Typer", "command"):
            documentation |= {id(inner) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.value
