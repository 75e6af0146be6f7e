"""Every arm on every data set: the arms that are made, and what is refused, one message each."""

# ruff: noqa: E501 (a message is one line, as people see it)

from __future__ import annotations

import json
from pathlib import Path

import pytest
from design_toy import problems_of

from ablate.planning.plan import compare_spec
from ablate.study import InputError, Study, amend, document, study_file
from ablate.study.datasets import expand_datasets
from ablate.study.resolve import resolve

BASE = """
name = "several"
question = "Does it help everywhere?"
baseline = "plain"
seeds = [1, 2, 3, 4, 5]
[settings.run]
command = ["python", "train.py", "--lr={lr}", "{dropout?--dropout}", "--data={data}", "--seed={seed}", "--out={out}"]
lr = 0.05
dropout = false
data = "a.txt"
inputs = ["a.txt"]
[metric.loss]
direction = "lower"
[arms.plain]
label = "Plain"
[arms.dropout]
set."run.dropout" = true
[arms.slow]
like = "dropout"
set."run.lr" = 0.01
control.same_information = "plain"
"""
SLOW = BASE[BASE.index("[arms.slow]") :]
TWO = """
[datasets.a]
label = "Data A"
set."run.data" = "a.txt"
[datasets.b]
set."run.data" = "b.txt"
set."run.inputs" = ["b.txt"]
"""


def load(folder: Path, content: str) -> Study:
    (folder / "several.toml").write_text(content, encoding="utf-8")
    return study_file.load(folder / "several.toml")


def problems(folder: Path, content: str) -> list[str]:
    with pytest.raises(InputError) as error:
        load(folder, content)
    return [str(problem).partition("several.toml: ")[2] for problem in error.value.problems]


def edited(old: str, new: str) -> str:
    """BASE and TWO with a text replaced."""
    assert (BASE + TWO).count(old) == 1, old
    return (BASE + TWO).replace(old, new)


def test_every_arm_is_made_for_every_data_set(tmp_path: Path) -> None:
    study = load(tmp_path, BASE + TWO)
    assert list(study.arms) == ["plain@a", "plain@b", "dropout@a", "dropout@b", "slow@a", "slow@b"]
    assert study.arms["plain@a"].label == "Plain @ Data A"
    assert resolve(study, "slow@b")["run"] | {"command": ""} == {
        "command": "", "lr": 0.01, "dropout": True, "data": "b.txt", "inputs": ["b.txt"],
    }  # fmt: skip
    assert [study.baseline_of(arm) for arm in ("dropout@a", "dropout@b")] == ["plain@a", "plain@b"]
    assert study.arms["slow@b"].control is not None
    assert (study.arms["slow@b"].like, study.arms["slow@b"].control.same_information) == ("dropout@b", "plain@b")


def test_a_run_on_the_data_of_the_settings_has_the_key_that_it_had_without_data_sets(tmp_path: Path) -> None:
    before, now = load(tmp_path, BASE), load(tmp_path, BASE + TWO)
    assert compare_spec(before, "dropout", 3, {}, "d").key == compare_spec(now, "dropout@a", 3, {}, "d").key


def test_the_parts_of_a_design_are_on_every_data_set(tmp_path: Path) -> None:
    parts = '[add_one_in.parts.drop]\nset."run.dropout" = true\n[add_one_in.parts.slow]\nset."run.lr" = 0.01\n'
    study = load(tmp_path, BASE[: BASE.index("[arms.plain]")].replace('baseline = "plain"\n', "") + parts + TWO)
    assert list(study.arms) == [f"{arm}@{data}" for arm in ("bare", "with-drop", "with-slow") for data in "ab"]
    stored = json.loads(json.dumps({"study": study.model_dump(mode="json"), "metrics": {"loss": {"label": "loss"}}}))
    assert document.checked(stored, "several")[0] == study


def test_the_stored_study_has_the_arms_and_a_data_set_may_be_added(tmp_path: Path) -> None:
    study = load(tmp_path, BASE + TWO)
    stored = json.loads(json.dumps({"study": study.model_dump(mode="json"), "metrics": {"loss": {"label": "loss"}}}))
    read, _ = document.checked(stored, "several")
    assert expand_datasets(read) == read == study
    more = load(tmp_path, BASE + TWO + '[datasets.c]\nset."run.data" = "c.txt"\n')
    assert amend.amend(stored, more, has_runs=True) == ["arms plain@c, dropout@c, slow@c added"]


def test_a_hypothesis_about_all_data_sets_is_another_one_where_these_change(tmp_path: Path) -> None:
    """Else one that fails on a data set would be kept by leaving the data set out."""
    claims = CLAIM.format("dropout", "plain") + CLAIM.format("dropout@b", "plain@b")
    study = load(tmp_path, BASE + TWO + claims)
    more = load(tmp_path, BASE + TWO + claims + '[datasets.c]\nset."run.data" = "c.txt"\n')
    late = "dropout against plain in loss, margin 0"
    for before, after, data in ((study, more, ("a, b", "a, b, c")), (more, study, ("a, b, c", "a, b"))):
        stored = {"study": before.model_dump(mode="json"), "metrics": {"loss": {"label": "loss"}}}
        told = amend.amend(stored, after, has_runs=True)
        assert told[-2:] == [
            f"data sets changed from {data[0]} to {data[1]}, so that a hypothesis about all of them is another one",
            f"hypothesis added after runs had finished: {late}",
        ]
        history = amend.history_of({"amendments": [{"date": "2026-01-01", "what": what} for what in told]}, after)
        assert (history.late, history.withdrawn) == ((late,), ())


def test_a_stored_data_set_whose_name_is_a_path_is_refused(tmp_path: Path) -> None:
    stored = load(tmp_path, BASE + TWO).model_dump(mode="json")
    stored["arms"]["plain@../x"] = {**stored["arms"]["plain@a"], "level": "../x"}
    with pytest.raises(InputError, match="must be fit for file names"):
        document.checked({"study": stored, "metrics": {"loss": {"label": "loss"}}}, "several")


CLAIM = '[[hypotheses]]\narm = "{}"\nagainst = "{}"\nmetric = "loss"\n'


def test_a_hypothesis_is_about_one_data_set_or_about_all(tmp_path: Path) -> None:
    study = load(tmp_path, BASE + TWO + CLAIM.format("dropout", "plain") + CLAIM.format("dropout@b", "plain@b"))
    assert study.over_datasets(study.hypotheses[0].arm)
    assert study.members("dropout") == ["dropout@a", "dropout@b"]
    assert not study.over_datasets("dropout@b")


REFUSED = {
    "one data set": (
        BASE + TWO[: TWO.index("[datasets.b]")],
        "datasets: must name at least two data sets (got a); one data set is part of [settings]",
    ),
    "a table of none": (
        BASE + "[datasets]\n",
        "datasets: must name at least two data sets (got none); one data set is part of [settings]",
    ),
    "names that differ in case": (
        edited("[datasets.b]", "[datasets.A]"),
        "datasets.A: differs from 'a' only in case, which some file systems ignore",
    ),
    "a setting that is not there": (
        edited('set."run.data" = "b.txt"', 'set."run.date" = "b.txt"'),
        'datasets.b.set."run.date": no such setting; did you mean \'run.data\'?',
    ),
    "a setting that an arm changes": (
        edited('set."run.inputs" = ["b.txt"]', 'set."run.lr" = 0.1'),
        'datasets.b.set."run.lr": must not touch a setting of arm \'slow\': it would be another on every data set (got run.lr)',
    ),
    "a tuned setting": (
        edited('set."run.inputs" = ["b.txt"]', 'set."run.lr" = 0.1').replace(SLOW, "")
        + '[tuning]\ntrials = 2\nmetric = "val/loss"\nspace."run.lr" = { type = "float", low = 0.01, high = 0.1 }\n',
        'datasets.b.set."run.lr": must not be a setting that is tuned (got run.lr)',
    ),
    "two data sets that are one": (
        edited('set."run.data" = "b.txt"\nset."run.inputs" = ["b.txt"]', 'set."run.data" = "a.txt"'),
        "datasets.b: has the same settings as the data set 'a' (got b)",
    ),
    "a name that is a path": (
        edited("[datasets.b]", '[datasets."../b"]'),
        'datasets."../b": must be fit for file names: letters, digits, _ - and . only, a letter or digit first, no . last, at most 64 (got "../b")',
    ),
    "a factor beside them": (
        edited("[datasets.a]", '[factor]\nsetting = "run.lr"\nlevels = [0.1, 0.2]\n[datasets.a]'),
        "factor: cannot stand beside [datasets]; leave one of them out",
    ),
    "a misspelt key": (
        edited('label = "Data A"', 'lable = "Data A"'),
        "datasets.a.lable: unknown key; did you mean 'label'?",
    ),
    "an arm that says which data set it is on": (
        edited('label = "Plain"', 'level = "a"'),
        "arms.plain.level: is written by [factor] or [datasets] and cannot be set",
    ),
    "one data set against all": (
        BASE + TWO + CLAIM.format("dropout", "plain@a"),
        'hypotheses[0]: must compare arms on one data set, or both on all of them (got "dropout against plain@a")',
    ),
    "one data set against another": (
        BASE + TWO + CLAIM.format("dropout@b", "plain@a"),
        'hypotheses[0]: must compare arms on one data set, or both on all of them (got "dropout@b against plain@a"); for one setting at several values, data among them, there is [factor]',
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_one_message(tmp_path: Path, case: str) -> None:
    content, message = REFUSED[case]
    assert problems(tmp_path, content) == [message]


def test_a_data_set_of_the_built_in_loop_changes_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sets = '[datasets.a]\nset."model.dropout" = 0.5\n[datasets.b]\nset."data.size" = 4\n[report]\n'
    found = problems_of(("[report]\n", sets))
    assert 'study.toml: datasets.a.set: must change the data (got model.dropout); such as "data.file"' in found
