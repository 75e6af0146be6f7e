"""Rules on controls, `like` and `vary`: one broken study each, and the exact message."""

# ruff: noqa: E501 (a message is one line, as people see it)

from __future__ import annotations

from pathlib import Path

import design_toy
import pytest
from design_toy import problems_of

from ablate.planning import plan, trials
from ablate.study.resolve import resolve

WIDE = 'set."model.width" = 16'


def wide(text: str) -> list[tuple[str, str]]:
    """The edit that gives the arm `wide` another content."""
    return [(WIDE, text)]


# name: (edits of the valid study, problems without the name of the file)
CASES: dict[str, tuple[list[tuple[str, str]], list[str]]] = {
    "empty control": (wide(f"{WIDE}\n[arms.wide.control]"), ["arms.wide.control: must not be empty"]),
    "unknown kind of control": (
        wide(f'{WIDE}\ncontrol.shufle_input = ["hat"]'),
        [
            "arms.wide.control.shufle_input: unknown key; did you mean 'shuffle_input'?",
            "arms.wide.control: must not be empty",
        ],
    ),
    "unknown key of a match": (
        wide('control.match_parameters = { off = "extra", by = "model.width" }'),
        [
            "arms.wide.control.match_parameters.of: is missing",
            "arms.wide.control.match_parameters.off: unknown key; did you mean 'of'?",
        ],
    ),
    "shuffled in batches of one": (
        [*wide(f'{WIDE}\ncontrol.shuffle_input = ["hat"]'), ("epochs = 4", "epochs = 4\nbatch_size = 1")],
        ["arms.wide.control.shuffle_input: needs at least two examples in a batch (got training.batch_size = 1)"],
    ),
    "like an unknown arm": (
        wide('like = "extr"'),
        ["arms.wide.like: is not an arm of this study (got extr); did you mean 'extra'?"],
    ),
    "like itself": (
        wide(f'like = "wide"\n{WIDE}'),
        ["arms.wide.like: must name another arm (got wide); valid: constant, extra, plain"],
    ),
    "like an arm that has a like": (
        [*wide(f'like = "extra"\n{WIDE}'), ("[arms.constant]", '[arms.chained]\nlike = "wide"\n[arms.constant]')],
        ["arms.chained.like: must not name an arm that is itself like another (extra) (got wide)"],
    ),
    "a setting that the arm in like lacks": (
        [
            *wide(f'like = "bare"\n{WIDE}'),
            (
                "[arms.constant]",
                '[arms.bare]\nset.model = { factory = "design_toy:model", depth = 1, optimizer = "adam", momentum = 0.6 }\n[arms.constant]',
            ),
        ],
        ["arms.wide.set.\"model.width\": no such setting; did you mean 'model.depth'?"],
    ),
    "nothing but a like": (
        wide('like = "extra"'),
        ["arms.wide: has the same settings as arm 'extra'; a deliberate twin has replicate = 1"],
    ),
    "same_information changes nothing": (
        wide('control.same_information = "extra"'),
        ["arms.wide: has the same settings as arm 'plain'; a deliberate twin has replicate = 1"],
    ),
    "two arms with the same control": (
        [
            *wide('control.drop_input = ["hat", "coat"]'),
            ("[arms.constant]", '[arms.again]\ncontrol.drop_input = ["coat", "hat"]\n[arms.constant]'),
        ],
        ["arms.again: has the same settings as arm 'wide'; a deliberate twin has replicate = 1"],
    ),
    "the information of an unknown arm": (
        wide(f'{WIDE}\ncontrol.same_information = "nobody"'),
        ["arms.wide.control.same_information: is not an arm of this study (got nobody); valid: constant, extra, plain"],
    ),
    "empty and repeated names": (
        wide('control.freeze = ["", "head", "head"]'),
        [
            "arms.wide.control.freeze: must not repeat a name (got , head, head)",
            "arms.wide.control.freeze: must not hold an empty name",
        ],
    ),
    "shuffled and dropped": (
        wide('control.shuffle_input = ["hat"]\ncontrol.drop_input = ["hat"]'),
        ["arms.wide.control.drop_input: must not drop an input that is shuffled (got hat)"],
    ),
    "a match with an unknown arm and setting": (
        wide('control.match_parameters = { of = "extr", by = "model.widht" }'),
        [
            "arms.wide.control.match_parameters.of: is not an arm of this study (got extr); did you mean 'extra'?",
            "arms.wide.control.match_parameters.by: is not a setting of this arm (got model.widht); did you mean 'model.width'?",
        ],
    ),
    "a match by a setting that is not a whole number": (
        wide('control.match_parameters = { of = "extra", by = "model.extra" }'),
        [
            "arms.wide.control.match_parameters.by: must be a whole number in the model's settings (got model.extra); did you mean 'model.width'?"
        ],
    ),
    "a match by a setting of the data": (
        wide('control.match_parameters = { of = "extra", by = "data.examples" }'),
        [
            "arms.wide.control.match_parameters.by: must be a whole number in the model's settings (got data.examples); valid: model.head.depth, model.head.width, model.width"
        ],
    ),
    "a match with one that is matched": (
        [
            *wide('control.match_parameters = { of = "extra", by = "model.width" }'),
            (
                "[arms.constant]",
                '[arms.more]\ncontrol.match_parameters = { of = "wide", by = "model.width" }\n[arms.constant]',
            ),
        ],
        ["arms.more.control.match_parameters.of: must not name an arm that is itself matched (got wide)"],
    ),
    "a match by a tuned setting": (
        [
            *wide('control.match_parameters = { of = "extra", by = "model.width" }'),
            (
                '[tuning.space."model.optimizer"]',
                '[tuning.space."model.width"]\ntype = "int"\nlow = 1\nhigh = 9\n[tuning.space."model.optimizer"]',
            ),
        ],
        ["arms.wide.control.match_parameters.by: must not be a setting that is tuned (got model.width)"],
    ),
    "controls of a reference": (
        [("reference = true", 'reference = true\ncontrol.freeze = ["head"]\ncontrol.drop_input = ["hat"]')],
        [
            "arms.constant.control.freeze: must not be set on a reference, which is not trained: only its inputs can be shuffled or dropped"
        ],
    ),
    "vary without the order": (
        [("seeds = [1, 2, 3]", 'seeds = [1, 2, 3]\nvary = ["init", "split", "split"]')],
        [
            'vary: must hold "order": it is always drawn anew (got ["init", "split", "split"])',
            'vary: must not repeat a purpose (got ["init", "split", "split"])',
        ],
    ),
    "split and fold": (
        [("seeds = [1, 2, 3]", 'seeds = [1]\nvary = ["init", "order", "split", "fold"]')],
        [
            'vary: must not hold both "split" and "fold" (got ["init", "order", "split", "fold"])',
            'vary: "fold" needs at least two seeds, one a fold (got 1)',
        ],
    ),
    "vary an unknown purpose": (
        [("seeds = [1, 2, 3]", 'seeds = [1, 2, 3]\nvary = ["init", "order", "weather"]')],
        ["vary[2]: must be one of 'init', 'order', 'split' or 'fold' (got \"weather\")"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    edits, expected = CASES[name]
    assert [line.removeprefix("study.toml: ") for line in problems_of(*edits)] == expected


def test_like_starts_from_the_other_arm(tmp_path: Path) -> None:
    study = design_toy.study(tmp_path, (WIDE, f'like = "extra"\n{WIDE}'))
    settings = resolve(study, "wide")
    assert (settings["model"]["extra"], settings["model"]["width"]) == (True, 16)


def test_the_changes_of_a_control_are_part_of_the_settings(tmp_path: Path) -> None:
    control = 'control.freeze = ["b", "a"]\ncontrol.match_parameters = { of = "extra", by = "model.width" }'
    study = design_toy.study(
        tmp_path,
        (
            WIDE,
            f'like = "constant"\nset.model = {{ factory = "design_toy:model", width = 3, optimizer = "adam", momentum = 0.6 }}\n{control}',
        ),
    )
    settings = plan.compare_spec(study, "wide", 1).settings
    assert settings["control"] == {
        "freeze": ["a", "b"],
        "match_parameters": {"by": "model.width", "of_model": resolve(study, "extra")["model"]},
    }
    assert trials.trial_specs(study, "wide", 0, {})[0].settings["control"] == settings["control"]


def test_runs_without_a_control_keep_their_keys(tmp_path: Path) -> None:
    study = design_toy.study(tmp_path, (WIDE, f'{WIDE}\ncontrol.same_information = "extra"'))
    assert set(plan.compare_spec(study, "wide", 1).settings) == {"model", "data", "loss", "training"}
    # a changed key would orphan every finished run
    assert (
        plan.compare_spec(design_toy.study(tmp_path), "wide", 1).key == plan.compare_spec(study, "wide", 1).key == KEY
    )


KEY = "7df24ca6e6753ffd"
