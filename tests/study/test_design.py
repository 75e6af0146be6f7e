"""The arms that a design makes from its parts, and what is refused: one message each, with place, rule and hint."""

# ruff: noqa: E501 (a message is one line, as people see it)

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import combinations
from math import prod
from operator import mul
from pathlib import Path

import design_toy
import pytest
from design_toy import problems_of

from ablate.study import Control, InputError, Study, amend, design, document, fractions, study_file
from ablate.study.resolve import resolve

BASE = """
name = "parts"
question = "Which parts help?"
seeds = [1, 2, 3]
[settings.run]
command = ["python", "train.py", "--lr={lr}", "{dropout?--dropout}", "--epochs={budget}", "--width={width}", "--deep={table.deep}", "--seed={seed}", "--out={out}"]
lr = 0.05
dropout = false
width = 4
budget = 4
table = { deep = 1 }
[metric.loss]
direction = "lower"
"""
SETS = {
    "dropout": 'label = "Dropout"\nset."run.dropout" = true\n',
    "long": 'set."run.budget" = 8\n',
    "wide": 'set."run.width" = 8\n',
    "low": 'set."run.lr" = 0.01\n',
}


def many(parts: int) -> str:
    """A factorial of so many parts, called a, b, c and so on."""
    letters = "abcdefghijklmnop"[:parts]
    content = BASE.replace('"--seed', "".join(f'"{{x.{c}}}", ' for c in letters) + '"--seed') + "".join(
        f'[factorial.parts.{c}]\nset."run.x.{c}" = 1\n' for c in letters
    )
    return content.replace("table = ", "x = { " + ", ".join(f"{c} = 0" for c in letters) + " }\ntable = ")


SIX = many(6)


def text(kind: str = "factorial", parts: Sequence[str] = ("dropout", "long"), more: str = "") -> str:
    return BASE + "".join(f"[{kind}.parts.{part}]\n{SETS[part]}" for part in parts) + more


def load(folder: Path, content: str) -> Study:
    (folder / "parts.toml").write_text(content, encoding="utf-8")
    return study_file.load(folder / "parts.toml")


def problems(folder: Path, content: str) -> list[str]:
    with pytest.raises(InputError) as error:
        load(folder, content)
    return [str(problem).partition("parts.toml: ")[2] for problem in error.value.problems]


def test_a_factorial_has_an_arm_for_every_subset(tmp_path: Path) -> None:
    study = load(tmp_path, text(parts=("dropout", "long", "wide")))
    assert list(study.arms) == [
        *("bare", "dropout", "long", "wide"),
        *("dropout+long", "dropout+wide", "long+wide", "dropout+long+wide"),
    ]
    assert study.baseline == "bare"
    run = resolve(study, "dropout+wide")["run"]
    assert (run["dropout"], run["budget"], run["width"]) == (True, 4, 8)
    assert [study.arms[arm].label for arm in ("bare", "dropout+long")] == ["Bare", "Dropout + long"]


def test_leave_one_out_takes_each_part_from_the_full_design(tmp_path: Path) -> None:
    study = load(tmp_path, text("leave_one_out", ("dropout", "long", "wide")))
    assert list(study.arms) == ["full", "without-dropout", "without-long", "without-wide"]
    assert study.baseline == "full"
    run = resolve(study, "without-long")["run"]
    assert (run["dropout"], run["budget"], run["width"]) == (True, 4, 8)
    assert study.arms["without-dropout"].label == "Without Dropout"


def test_add_one_in_adds_each_part_to_the_bare_design(tmp_path: Path) -> None:
    study = load(tmp_path, text("add_one_in", ("dropout", "long")))
    assert list(study.arms) == ["bare", "with-dropout", "with-long"]
    assert study.baseline == "bare"
    run = resolve(study, "with-long")["run"]
    assert (run["dropout"], run["budget"]) == (False, 8)


def test_written_arms_hypotheses_and_the_baseline_may_name_generated_arms(tmp_path: Path) -> None:
    claim = '[[hypotheses]]\narm = "dropout+long"\nagainst = "deep"\nmetric = "loss"\n'
    deep = '[arms.deep]\nlike = "long"\nset."run.table.deep" = 2\n'
    study = load(tmp_path, text(more=deep + claim).replace('name = "parts"', 'name = "parts"\nbaseline = "long"'))
    assert list(study.arms) == ["bare", "dropout", "long", "dropout+long", "deep"]
    assert study.baseline == "long"
    assert resolve(study, "deep")["run"]["budget"] == 8


def test_the_stored_study_has_the_arms_and_is_not_expanded_twice(tmp_path: Path) -> None:
    study = load(tmp_path, text())
    stored = json.loads(json.dumps({"study": study.model_dump(mode="json"), "metrics": {"loss": {"label": "loss"}}}))
    assert "dropout+long" in stored["study"]["arms"]
    read, _ = document.checked(stored, "parts")
    assert read == study
    assert design.expand_design(read) == read
    assert amend.amend(stored, study, has_runs=True) == []


def test_a_part_added_after_runs_is_an_amendment_and_one_that_changed_is_refused(tmp_path: Path) -> None:
    before = {"study": load(tmp_path, text()).model_dump(mode="json")}
    more = load(tmp_path, text(parts=("dropout", "long", "wide")))
    assert amend.amend(before, more, has_runs=True) == ["arms wide, dropout+wide, long+wide, dropout+long+wide added"]
    longer = load(tmp_path, text().replace('"run.budget" = 8', '"run.budget" = 16'))
    with pytest.raises(InputError, match="cannot change under finished runs of long, dropout"):
        amend.amend(before, longer, has_runs=True)


@pytest.mark.parametrize(
    ("name", "parts"), [("../evil", ["dropout"]), ("dropout", ["long"]), ("long+dropout", ["long", "dropout"])]
)
def test_a_stored_arm_that_no_design_makes_is_refused(tmp_path: Path, name: str, parts: list[str]) -> None:
    study = load(tmp_path, text()).model_dump(mode="json")
    study["arms"][name] = {**study["arms"]["dropout"], "parts": parts}
    stored = {"study": study, "metrics": {"loss": {"label": "loss"}}}
    if name == "dropout":  # a name fit for files, of other parts than it says: no table may count it as that arm
        read, _ = document.checked(stored, "parts")
        assert not design.is_generated(read, name)
        return
    with pytest.raises(InputError, match="must be fit for file names"):
        document.checked(stored, "parts")


REFUSED = {
    "one part": (
        text(parts=("long",)),
        "factorial.parts: must name at least two parts (got long); for one part write two arms",
    ),
    "six parts": (
        SIX,
        "factorial.parts: must name at most 5 parts, 32 arms (got 6 parts, 64 arms); a fraction takes them: arms = 8 or 16 or 32; [leave_one_out] and [add_one_in] take 6 parts with 7 arms",
    ),
    "a fraction of no such size": (
        "factorial.arms = 12\n" + SIX,
        "factorial.arms: must be the number of arms of a fraction (got 12); with 6 parts 8 or 16 or 32; left out, it means all 64 arms",
    ),
    "a fraction of two parts": (
        "factorial.arms = 2\n" + text(),
        "factorial.arms: must be the number of arms of a fraction (got 2); left out, it means all 4 arms",
    ),
    "a fraction of another design": (
        "add_one_in.arms = 2\n" + text("add_one_in"),
        "add_one_in.arms: is for a [factorial], of which it takes a fraction (got 2)",
    ),
    "eleven parts in a fraction": (
        "factorial.arms = 32\n" + many(11),
        "factorial.parts: must name at most 10 parts (got 11 parts); [leave_one_out] and [add_one_in] take 11 parts with 12 arms",
    ),
    "the same setting": (
        text(more='[factorial.parts.wide]\nset."run.dropout" = true\n'),
        'factorial.parts.wide.set."run.dropout": must not touch a setting of part \'dropout\' (run.dropout) (got run.dropout); a setting with several values is a [factor], or the two are one part dropout-wide',
    ),
    "a table and a value in it": (
        text(more='[factorial.parts.x]\nset."run.table" = { deep = 2 }\n[factorial.parts.y]\nset."run.table.deep" = 3\n'),
        'factorial.parts.y.set."run.table.deep": must not touch a setting of part \'x\' (run.table) (got run.table.deep); a setting with several values is a [factor], or the two are one part x-y',
    ),
    "an unknown setting": (
        text(more='[factorial.parts.wide]\nset."run.widht" = 8\n'),
        'factorial.parts.wide.set."run.widht": no such setting; did you mean \'run.width\'?',
    ),
    "a part that changes nothing": (
        text(more='[factorial.parts.wide]\nset."run.width" = 4\n'),
        'factorial.parts.wide.set: changes nothing: the study\'s settings, which are without the part, have these values already (got {"run.width": 4})',
    ),
    "a name that collides": (
        text(more='[arms.long]\nset."run.width" = 8\n'),
        'arms.long: is an arm that [factorial] makes (got "long"); call this arm long-2, or leave it out',
    ),
    "a part called bare": (
        text(more='[factorial.parts.bare]\nset."run.width" = 8\n'),
        'factorial.parts.bare: makes an arm of the same name as another that [factorial] makes (got "bare"); such as bare-part',
    ),
    "a name unfit for files": (
        text(more='[factorial.parts."a+b"]\nset."run.width" = 8\n'),
        'factorial.parts."a+b": must be fit for file names: letters, digits, _ - and . only, a letter or digit first, no . last, at most 64 (got "a+b")',
    ),
    "names that differ in case": (
        text(more='[factorial.parts.LONG]\nset."run.width" = 8\n'),
        "factorial.parts.LONG: differs from 'long' only in case, which some file systems ignore",
    ),
    "two designs": (
        text(more='[leave_one_out.parts.wide]\nset."run.width" = 8\n[leave_one_out.parts.low]\nset."run.lr" = 0.01\n'),
        "factorial: cannot stand beside [leave_one_out]; leave one of them out",
    ),
    "a factor beside it": (
        text(more='[factor]\nsetting = "run.width"\nlevels = [4, 8]\n'),
        "factor: cannot stand beside [factorial]; leave one of them out",
    ),
    "a tuned setting": (
        text(
            parts=("dropout", "low"),
            more='[tuning]\ntrials = 2\nseeds = [101]\nmetric = "val/loss"\nspace."run.lr" = { type = "float", low = 0.01, high = 0.1 }\n',
        ),
        'factorial.parts.low.set."run.lr": must not be a setting that is tuned (got run.lr)',
    ),
    "a misspelt key of a part": (
        text(more='[factorial.parts.wide]\nlable = "Wide"\nset."run.width" = 8\n'),
        "factorial.parts.wide.lable: unknown key; did you mean 'label'?",
    ),
    "a misspelt key of the design": (
        text(more="[factorial.part]\n"),
        "factorial.part: unknown key; did you mean 'parts'?",
    ),
    "a part without settings": (
        text(more='[factorial.parts.wide]\nlabel = "Wide"\n'),
        "factorial.parts.wide.set: is missing",
    ),
    "parts of an arm": (
        text(more="[arms.x]\nparts = []\n"),
        "arms.x.parts: is written by a design and cannot be set",
    ),
    "a hypothesis about an arm that is not made": (
        text(more='[[hypotheses]]\narm = "dropuot+long"\nagainst = "bare"\nmetric = "loss"\n'),
        'hypotheses[0].arm: is not an arm of this study (got "dropuot+long"); did you mean \'dropout+long\'?',
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_one_message(tmp_path: Path, case: str) -> None:
    content, message = REFUSED[case]
    assert problems(tmp_path, content) == [message]


def test_of_parts_that_touch_one_setting_each_is_told_once(tmp_path: Path) -> None:
    wide = "".join(f'[leave_one_out.parts.w{width}]\nset."run.width" = {width}\n' for width in (5, 6, 7, 8))
    found = problems(tmp_path, text("leave_one_out", more=wide))
    assert [problem.partition(": ")[0] for problem in found] == [
        f'leave_one_out.parts.w{width}.set."run.width"' for width in (6, 7, 8)
    ]
    assert all("must not touch a setting of part 'w5'" in problem for problem in found)


def test_parts_of_the_built_in_loop_are_checked_as_arms_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    parts = (
        '[add_one_in.parts.long]\nset."training.epochs" = 0\n[add_one_in.parts.wide]\nset."model.width" = 9\n[report]\n'
    )
    found = problems_of(("[report]\n", parts))
    assert found == ['study.toml: add_one_in.parts.long.set."training.epochs": must be at least 1 (got 0)']


@pytest.mark.parametrize(("parts", "arms", "resolution"), [(6, 8, 3), (6, 16, 4), (6, 32, 6), (8, 16, 4), (10, 32, 4)])
def test_a_fraction_has_orthogonal_main_effects_and_the_bare_arm(
    tmp_path: Path, parts: int, arms: int, resolution: int
) -> None:
    study = load(tmp_path, f"factorial.arms = {arms}\n" + many(parts))
    assert len(study.arms) == arms
    assert next(iter(study.arms)) == "bare"
    assert all(design.is_generated(study, name) for name in study.arms)
    signs = {p: [1 if p in (arm.parts or ()) else -1 for arm in study.arms.values()] for p in "abcdefghij"[:parts]}
    products = [list(map(prod, zip(*(signs[p] for p in pair), strict=True))) for pair in combinations(signs, 2)]
    assert not any(map(sum, [*signs.values(), *products]))  # balanced, and no two main effects share a number
    with_pairs = [sum(map(mul, one, pair)) for one in signs.values() for pair in products]
    shared = [s for s in with_pairs if s]  # a main effect with an interaction of two others
    assert bool(shared) == (resolution == 3)
    assert fractions.resolution(fractions.defining_words(parts, arms)) == resolution


def test_every_fraction_has_the_arms_and_the_resolution_of_the_table_in_montgomery() -> None:
    levels = {key: fractions.resolution(fractions.defining_words(*key)) for key in fractions.GENERATORS}
    assert levels == {
        (3, 4): 3, (4, 8): 4, (5, 8): 3, (5, 16): 5, (6, 8): 3, (6, 16): 4, (6, 32): 6, (7, 8): 3, (7, 16): 4,
        (7, 32): 4, (8, 16): 4, (8, 32): 4, (9, 16): 3, (9, 32): 4, (10, 16): 3, (10, 32): 4,
    }  # fmt: skip
    for parts, arms in levels:
        assert len(design.subsets("factorial", range_of(parts), arms)) == arms


def range_of(parts: int) -> list[str]:
    return list("abcdefghij"[:parts])


LOOP = """
[factorial.parts.seen]
without.shuffle_input = ["hat"]
without.drop_joints = ["left"]
[factorial.parts.broad]
set."model.width" = 9
without.drop_joints = ["right"]
[report]
"""


def test_arms_without_a_part_have_the_control_that_stands_in_for_it(tmp_path: Path) -> None:
    study = design_toy.study(tmp_path, ("[report]\n", LOOP))
    bare, seen, broad, both = (study.arms[name].control for name in ("bare", "seen", "broad", "seen+broad"))
    assert bare == Control(shuffle_input=["hat"], drop_joints=["left", "right"])
    assert (seen, both) == (Control(drop_joints=["right"]), None)
    assert broad == Control(shuffle_input=["hat"], drop_joints=["left"])
    assert "control" not in resolve(study, "seen+broad")
    assert resolve(study, "broad")["control"] == {"shuffle_input": ["hat"], "drop_joints": ["left"]}


WITHOUT_REFUSED = {
    "the same input in two parts": (
        LOOP.replace('["right"]', '["left"]'),
        "factorial.parts.broad.without.drop_joints: must not name what part 'seen' names (got left)",
    ),
    "a match": (
        LOOP.replace('without.drop_joints = ["right"]', 'without.match_parameters = { of = "extra", by = "model.width" }'),
        "factorial.parts.broad.without.match_parameters: is for an arm: what arms without a part have changes their inputs, or freezes; valid: shuffle_input, drop_input, drop_joints, freeze",
    ),
    "an input twice": (
        LOOP.replace('["hat"]', '["hat", "hat"]'),
        "factorial.parts.seen.without.shuffle_input: must not repeat a name (got hat, hat)",
    ),
    "a misspelt control": (
        LOOP.replace("without.shuffle_input", "without.shufle_input"),
        "factorial.parts.seen.without.shufle_input: unknown key; did you mean 'shuffle_input'?",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WITHOUT_REFUSED)
def test_a_control_in_place_of_a_part_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    monkeypatch.chdir(tmp_path)
    content, message = WITHOUT_REFUSED[case]
    assert problems_of(("[report]\n", content)) == [f"study.toml: {message}"]


def test_a_command_has_no_control_in_place_of_a_part(tmp_path: Path) -> None:
    found = problems(tmp_path, text(more='[factorial.parts.seen]\nwithout.drop_input = ["x"]\n'))
    assert found == [
        "factorial.parts.seen.without.drop_input: is done by a command only where it declares so; "
        'honours = ["drop_input"] in [settings.run] and {drop_input} in the command, or a setting of the script that '
        "does it, and an arm that sets it"
    ]


def test_a_stored_factorial_of_forty_parts_is_not_counted_through(tmp_path: Path) -> None:
    study = load(tmp_path, text()).model_dump(mode="json")
    part = {"label": "", "set": {"run.dropout": True}}
    study["factorial"] = {"parts": {f"p{i}": part for i in range(40)}}
    for name, arm in study["arms"].items():
        arm["parts"] = [] if name == "bare" else ["p1"]
    study["arms"] = {name: study["arms"][name] for name in ("bare", "dropout")}
    read, _ = document.checked({"study": study, "metrics": {"loss": {"label": "loss"}}}, "parts")
    assert [design.is_generated(read, name) for name in read.arms] == [False, False]
