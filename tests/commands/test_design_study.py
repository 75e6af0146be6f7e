"""Studies whose arms a design makes, through the commands: planned, run, reported, and refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from toy_project import Project

pytestmark = pytest.mark.usefixtures("threads")  # cells of one worker
SCRIPT = Path(__file__).parents[1] / "script"
Cli = Callable[..., Any]
PARTS = {"dropout": 'label = "Dropout"\nset."run.dropout" = true\n', "long": 'set."run.budget" = 8\n'}


def study(kind: str, more: str = "") -> str:
    """The study of the script in tests/script, with a design in place of its arms."""
    text = (SCRIPT / "dropout.toml").read_text()
    text = text[: text.index("[arms.plain]")].replace('baseline = "plain"\n', "")
    return text + "".join(f"[{kind}.parts.{part}]\n{content}" for part, content in PARTS.items()) + more


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initialised_store: Path) -> Iterator[Path]:
    shutil.copytree(SCRIPT, tmp_path / "script", ignore=shutil.ignore_patterns("__pycache__"))
    project = Project(tmp_path / "script")
    project.store(initialised_store)
    monkeypatch.chdir(project.folder)
    for name in ("ABLATE_DATA", "ABLATE_MLRUNS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    yield project.folder
    project.stop()


def written(folder: Path, content: str) -> str:
    (folder / "dropout.toml").write_text(content, encoding="utf-8")
    return "dropout.toml"


def report(folder: Path) -> str:
    return (folder / "reports" / "dropout" / "report.md").read_text(encoding="utf-8")


def report_json(folder: Path, cli: Cli) -> Any:
    assert cli("report", "dropout", "--format", "md,json").code == 0
    return json.loads((folder / "reports" / "dropout" / "report.json").read_text(encoding="utf-8"))


ARMS = {
    "leave_one_out": ["full", "without-dropout", "without-long"],
    "add_one_in": ["bare", "with-dropout", "with-long"],
    "factorial": ["bare", "dropout", "long", "dropout+long"],
}


@pytest.mark.parametrize("kind", ARMS)
def test_a_design_is_planned_run_and_reported(folder: Path, cli: Cli, kind: str) -> None:
    file = written(folder, study(kind).replace("[1, 2, 3, 4, 5]", "[1, 2]"))
    planned = cli("plan", file, "--check", "--json")
    assert planned.code == 0, planned.err
    cells = json.loads(planned.out)["cells"]
    assert [(c["arm"], c["seed"]) for c in cells] == [(arm, seed) for arm in ARMS[kind] for seed in (1, 2)]
    done = cli("run", file, "--workers", "1", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["done"] == 2 * len(ARMS[kind])
    frame = pd.read_csv(folder / "reports" / "dropout" / "results.csv")
    loss = frame[frame.metric == "test/loss"].set_index(["arm", "seed"]).score
    whole, none = ("full", "without-long") if kind == "leave_one_out" else ("long", "bare")
    whole = "with-long" if kind == "add_one_in" else whole
    alone = sum(loss[whole, seed] - loss[none, seed] for seed in (1, 2)) / 2
    found = next(part for part in report_json(folder, cli)["design"][0]["parts"] if part["part"] == "long")
    if kind == "factorial":
        both = sum(loss["dropout+long", seed] - loss["dropout", seed] for seed in (1, 2)) / 2
        assert found["effect"]["difference"]["mean"] == pytest.approx((alone + both) / 2)
        assert "| Dropout × long |" in report(folder)
    else:
        assert found["effect"]["difference"]["mean"] == pytest.approx(alone)
    assert "## What each part does" in report(folder)
    before = report(folder)
    assert cli("report", "dropout").code == 0
    assert report(folder) == before


def test_every_arm_of_a_design_is_tuned_on_the_same_budget(folder: Path, cli: Cli) -> None:
    tuning = '[tuning]\ntrials = 2\nmetric = "val/loss"\nspace."run.lr" = { type = "float", low = 0.01, high = 0.2 }\n'
    claim = '[[hypotheses]]\narm = "with-long"\nagainst = "bare"\nmetric = "loss"\n'
    file = written(folder, study("add_one_in", tuning + claim).replace("[1, 2, 3, 4, 5]", "[1, 2]"))
    done = cli("run", file, "--workers", "1")
    assert done.code == 0, done.err
    budget = report_json(folder, cli)["budget"]
    assert [(row["arm"], row["allotted"], row["used"]) for row in budget] == [(a, 4, 4) for a in ARMS["add_one_in"]]
    assert cli("run", file, "--workers", "1", "--only", "with-long:1", "--rerun", "with-long").code == 0


WRONG = {
    "six parts in a full factorial": (
        study("factorial", "".join(f'[factorial.parts.p{i}]\nset."run.lr" = 0.{i}\n' for i in range(1, 5))),
        "factorial.parts: must name at most 5 parts",
    ),
    "two parts that touch one setting": (
        study("factorial", '[factorial.parts.wide]\nset."run.budget" = 16\n'),
        "must not touch a setting of part 'long' (run.budget) (got run.budget)",
    ),
    "a setting that is not there": (
        study("add_one_in", '[add_one_in.parts.wide]\nset."run.budgte" = 16\n'),
        "add_one_in.parts.wide.set.\"run.budgte\": no such setting; did you mean 'run.budget'?",
    ),
    "two designs": (
        study("leave_one_out", '[add_one_in.parts.wide]\nset."run.lr" = 0.1\n'),
        "cannot stand beside",
    ),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_design_that_cannot_be_is_refused_and_nothing_is_written(
    folder: Path, cli: Cli, case: str, command: str
) -> None:
    content, told = WRONG[case]
    answer = cli(command, written(folder, content))
    assert (answer.code, answer.out) == (2, "")
    assert told in answer.err
    assert "Traceback" not in answer.err
    assert not (folder / "reports").exists()


DATASETS = '[datasets.few]\nset."run.data" = "numbers.txt"\n[datasets.more]\nset."run.data" = "more.txt"\n'


def on_two_data_sets(folder: Path, more: str = "") -> str:
    (folder / "more.txt").write_text("0.9\n1.1\n1.2\n")
    text = (SCRIPT / "dropout.toml").read_text()
    text = text[: text.index("[tuning]")].replace('"--out={out}"', '"--data={data}", "--out={out}"')
    text = text.replace('inputs = ["numbers.txt"]', 'inputs = ["numbers.txt", "more.txt"]\ndata = "numbers.txt"')
    return written(folder, text + DATASETS + more)


def test_a_study_on_two_data_sets_is_planned_run_and_reported(folder: Path, cli: Cli) -> None:
    claim = '[[hypotheses]]\narm = "dropout{0}"\nagainst = "plain{0}"\nmetric = "loss"\n'
    file = on_two_data_sets(folder, claim.format("") + claim.format("@more"))
    planned = cli("plan", file, "--check", "--json")
    assert planned.code == 0, planned.err
    arms = list(dict.fromkeys(cell["arm"] for cell in json.loads(planned.out)["cells"]))
    assert arms == ["plain@few", "plain@more", "dropout@few", "dropout@more"]
    assert cli("run", file, "--workers", "1", "--only", "dropout:1").code == 0  # what was asked for is done
    begun = json.loads(cli("status", file, "--json").out)["cells"]
    assert [cell["arm"] for cell in begun if cell["state"] == "done"] == ["dropout@few", "dropout@more"]
    done = cli("run", file, "--workers", "1", "--json")
    assert done.code == 0, done.err
    assert "could not be updated" not in done.err  # what MLflow shows: its names of tags take no @
    frame = pd.read_csv(folder / "reports" / "dropout" / "results.csv")
    loss = frame[frame.metric == "test/loss"].set_index(["arm", "seed"]).score
    gaps = [(loss[f"dropout@{d}", s] - loss[f"plain@{d}", s]) / 2 for d in ("few", "more") for s in range(1, 6)]
    (table,) = report_json(folder, cli)["across"]
    assert table["rows"][1]["pooled"]["difference"]["mean"] == pytest.approx(sum(gaps) / 5)
    assert "| Arm | few | more |" in report(folder)
    assert "no verdict on others: it is over seeds alone" in report(folder)
    assert "dropout@more" in cli("compare", "dropout", "dropout@more", "plain@more").out
    everywhere = cli("compare", "dropout", "dropout", "plain").out
    assert "“dropout” against “plain”" in everywhere
    assert "Data sets" in everywhere  # the line of the interval over seeds and data sets
    assert "(declared hypothesis)" in everywhere
    mixed = cli("compare", "dropout", "dropout@more", "plain")
    assert (mixed.code, mixed.out) == (2, "")
    assert (
        "must compare arms on one data set, or both on all of them (got dropout@more plain); such as dropout plain"
        in mixed.err
    )
    power = cli("plan", file).out
    assert "“dropout” against “plain” in loss, margin 0: differences of 5 pairs" in power


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"run.data" = "more.txt"', '"run.dat" = "more.txt"', "did you mean 'run.data'?"),
        (DATASETS[DATASETS.index("[datasets.more]") :], "", "datasets: must name at least two data sets (got few)"),
    ],
)
def test_data_sets_that_cannot_be_are_refused(folder: Path, cli: Cli, old: str, new: str, told: str) -> None:
    file = on_two_data_sets(folder)
    content = (folder / file).read_text()
    assert content.count(old) == 1
    answer = cli("run", written(folder, content.replace(old, new)))
    assert (answer.code, answer.out) == (2, "")
    assert told in answer.err
    assert not (folder / "reports").exists()
