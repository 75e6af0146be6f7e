"""A study over a factor: the arms it is expanded to, what they are compared with, and that this happens once."""

# ruff: noqa: E501 (a message is one line, as people see it)

from __future__ import annotations

import json
from pathlib import Path

import design_toy
import pytest
from design_toy import FACTOR, problems_of

from ablate.planning import plan
from ablate.study import Study, amend, factor
from ablate.study.resolve import resolve

CLAIM = '[[hypotheses]]\narm = "extra"\nagainst = "plain"\nmetric = "error_deg"\nmargin = 0.5\n'


def swept(folder: Path, *edits: tuple[str, str], table: str = FACTOR) -> Study:
    claim = ('arm = "extra"\nagainst = "plain"', 'arm = "extra@0.5"\nagainst = "plain@0.5"')
    return design_toy.study(folder, claim, ("[report]\n", f"{table}\n[report]\n"), *edits)


def test_arms_are_replaced_by_one_per_level_and_others_stay(tmp_path: Path) -> None:
    study = swept(tmp_path)
    assert list(study.arms) == [
        *("plain@0.0", "plain@0.5", "plain@1"),
        *("extra@0.0", "extra@0.5", "extra@1"),
        *("wide", "constant"),
    ]
    arm = study.arms["plain@1"]
    assert (arm.family, arm.level, arm.label, arm.set) == ("plain", 1, "Plain @ 1", {"model.dropout": 1.0})
    settings = resolve(study, "extra@0.5")
    assert (settings["model"]["dropout"], settings["model"]["extra"]) == (0.5, True)
    assert study.arms["extra@0.5"].label == ""


def test_each_is_compared_with_the_baseline_at_its_level(tmp_path: Path) -> None:
    study = swept(tmp_path)
    assert study.baseline == "plain"
    assert [study.baseline_of(arm) for arm in ("extra@1", "plain@0.0", "wide")] == ["plain@1", "plain@0.0", "plain"]


def test_by_default_every_arm_but_the_references_is_expanded(tmp_path: Path) -> None:
    study = swept(tmp_path, table=FACTOR.replace('arms = ["plain", "extra"]\n', ""))
    assert {arm.family for arm in study.arms.values()} == {"plain", "extra", "wide", ""}
    assert study.arms["constant"].level is None


def test_the_stored_study_is_not_expanded_twice(tmp_path: Path) -> None:
    study = swept(tmp_path)
    stored = Study.model_validate(json.loads(json.dumps(study.model_dump(mode="json"))))
    assert stored == study
    assert factor.expand(stored) == stored
    assert amend.amend({"study": study.model_dump(mode="json")}, study, has_runs=True) == []


def test_like_and_controls_name_arms_at_the_same_level(tmp_path: Path) -> None:
    more = (
        "[arms.wide]\n",
        '[arms.bare]\nlike = "extra"\ncontrol.drop_input = ["hat"]\ncontrol.same_information = "plain"\n[arms.wide]\n',
    )
    table = FACTOR.replace('["plain", "extra"]', '["plain", "extra", "bare"]')
    study = swept(tmp_path, more, table=table)
    arm = study.arms["bare@0.5"]
    assert arm.control is not None
    assert (arm.like, arm.control.same_information) == ("extra@0.5", "plain@0.5")
    settings = resolve(study, "bare@0.5")
    assert (settings["model"]["extra"], settings["model"]["dropout"]) == (True, 0.5)
    assert settings["control"] == {"drop_input": ["hat"]}


def test_a_level_has_the_key_of_an_arm_with_that_setting(tmp_path: Path) -> None:
    by_hand = design_toy.study(tmp_path, ("[arms.wide]\n", '[arms.half]\nset."model.dropout" = 0.5\n[arms.wide]\n'))
    keys = [plan.compare_spec(s, arm, 1).key for s, arm in ((by_hand, "half"), (swept(tmp_path), "plain@0.5"))]
    assert keys[0] == keys[1]
    assert plan.compare_spec(swept(tmp_path), "plain@0.5", 1).name == "plain@0.5-seed1"


def test_a_selection_takes_one_level_or_all(tmp_path: Path) -> None:
    study = swept(tmp_path)
    specs = [plan.compare_spec(study, arm, seed) for arm in study.arms for seed in (1, 2)]
    assert {s.name for s in filter(plan.selector(study, ["extra@0.5:2"]), specs)} == {"extra@0.5-seed2"}
    chosen = {s.name for s in filter(plan.selector(study, ["extra:2"]), specs)}
    assert chosen == {"extra@0.0-seed2", "extra@0.5-seed2", "extra@1-seed2"}


def test_a_new_level_is_an_amendment_and_another_setting_is_refused(tmp_path: Path) -> None:
    study = swept(tmp_path)
    old = {"study": study.model_dump(mode="json")}
    wider = swept(tmp_path, table=FACTOR.replace("0.5, 1]", "0.5, 1, 2.5]").replace('"Dropout"', '"Share dropped"'))
    assert amend.amend(old, wider, has_runs=True) == [
        "arms plain@2.5, extra@2.5 added",
        'factor.label changed from "Dropout" to "Share dropped"',
    ]


# (text of the study with the factor, what it is replaced by): the problems, without the name of the file
CASES: dict[tuple[str, str], list[str]] = {
    ("[0.0, 0.5, 1]", "[0.5]"): ["factor.levels: must hold at least 2"],
    ("[0.0, 0.5, 1]", "[0.0, [1]]"): ["factor.levels[1]: must be text, a number, true or false (got [1])"],
    ("[0.0, 0.5, 1]", "[0.5, 1, 1.0]"): ["factor.levels: must not repeat a level (got [0.5, 1, 1.0])"],
    ("[0.0, 0.5, 1]", '[0.5, true, "half a"]'): [
        'factor.levels[2]: must be fit for file names, as a part of arms\' names: letters, digits, _ - + and . inside (got "half a")',
        "factor.levels[1]: must be a number, as model.dropout of arm 'plain' is (got true)",
        "factor.levels[2]: must be a number, as model.dropout of arm 'plain' is (got \"half a\")",
        "factor.levels[1]: must be a number, as model.dropout of arm 'extra' is (got true)",
        "factor.levels[2]: must be a number, as model.dropout of arm 'extra' is (got \"half a\")",
    ],
    ("levels", "level"): ["factor.level: unknown key; did you mean 'levels'?", "factor.levels: is missing"],
    ('["plain", "extra"]', "[]"): ["factor.arms: must not be empty (got []); leave it out for the default"],
    ('["plain", "extra"]', '["plain", "plain", "extre"]'): [
        "factor.arms: is not an arm of this study (got \"extre\"); did you mean 'extra'?",
        'factor.arms: must not repeat an arm (got "plain")',
    ],
    ("model.dropout", "model.dropuot"): [
        "factor.setting: is not a single setting of arm 'plain' (got \"model.dropuot\"); did you mean 'model.dropout'?",
        "factor.setting: is not a single setting of arm 'extra' (got \"model.dropuot\"); did you mean 'model.dropout'?",
    ],
    ("model.dropout", "training.learning_rate"): [
        'factor.setting: must not be a setting that is tuned (got "training.learning_rate")'
    ],
    ('model.dropout"\nlevels = [0.0, 0.5, 1]', 'training.weight_decay"\nlevels = [0.5, -1.0]'): [
        'arms."plain@-1.0".set."training.weight_decay": must be at least 0 (got -1.0)',
        'arms."extra@-1.0".set."training.weight_decay": must be at least 0 (got -1.0)',
    ],
    ("[arms.wide]\n", '[arms."wide@2"]\n'): [
        'arms."wide@2": must be fit for file names: letters, digits, _ - and . only, a letter or digit first, no . last, at most 64 (got "wide@2")'
    ],
    ("[arms.wide]\n", '[arms.wide]\nlike = "extra"\n'): [
        "arms.wide.like: is one arm per level of the factor: extra@0.0, extra@0.5, extra@1 (got extra); name one of them"
    ],
}


def test_a_claim_names_a_level(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert problems_of(("[report]\n", f"{FACTOR}\n[report]\n")) == [
        "study.toml: hypotheses[0].arm: is not an arm of this study (got \"extra\"); did you mean 'extra@1'?",
        "study.toml: hypotheses[0].against: is not an arm of this study (got \"plain\"); did you mean 'plain@1'?",
    ]


@pytest.mark.parametrize("edit", CASES)
def test_is_refused(edit: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    problems = problems_of((CLAIM, ""), ("[report]\n", f"{FACTOR}\n[report]\n"), edit)
    assert [line.removeprefix("study.toml: ") for line in problems] == CASES[edit]
