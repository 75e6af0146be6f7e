"""Rules on sections, arms and the tuning space: one broken study each, and the exact message."""

# ruff: noqa: E501 (a message is one line, as people see it)

from __future__ import annotations

from pathlib import Path

import pytest
from design_toy import problems_of

# name: (edits of the valid study, problems without the name of the file)
CASES: dict[str, tuple[list[tuple[str, str]], list[str]]] = {
    "missing section": ([('[settings.loss]\nfactory = "design_toy:loss"\n', "")], ["settings.loss: is missing"]),
    "unknown section": (
        [("[settings.loss]", "[settings.los]")],
        ["settings.loss: is missing", "settings.los: unknown section; did you mean 'loss'?"],
    ),
    "section without factory": (
        [('factory = "design_toy:loss"\n', "")],
        ['settings.loss.factory: is missing; must be an import path "module:attribute"'],
    ),
    "factory not an import path": (
        [('factory = "design_toy:loss"', 'factory = "design_toy"')],
        ['settings.loss.factory: must be an import path "module:attribute" (got "design_toy")'],
    ),
    "factory not text": (
        [('factory = "design_toy:loss"', "factory = 3")],
        ['settings.loss.factory: must be an import path "module:attribute" (got 3)'],
    ),
    "key with a dot": (
        [("dropout = 0.1", '"drop.out" = 0.1')],
        ['settings: must not hold empty keys or keys with a dot: no dotted path could name them (got "drop.out")'],
    ),
    "empty key": (
        [("dropout = 0.1", 'dropout = 0.1\n"" = 0.1')],
        ['settings: must not hold empty keys or keys with a dot: no dotted path could name them (got "")'],
    ),
    "data file not text": (
        [("examples = 10", "file = 3")],
        ["settings.data.file: must be a relative path under the data root (got 3)"],
    ),
    "absolute data file": (
        [("examples = 10", 'file = "/data/cmu.npz"')],
        [
            'settings.data.file: must be a relative path under the data root (got "/data/cmu.npz"); name its folder with --data-root or ABLATE_DATA'
        ],
    ),
    "absolute data file of Windows": (
        [("examples = 10", "file = 'C:\\data\\cmu.npz'")],
        [
            'settings.data.file: must be a relative path under the data root (got "C:\\\\data\\\\cmu.npz"); name its folder with --data-root or ABLATE_DATA'
        ],
    ),
    "data file in a parent folder": (
        [("examples = 10", 'file = "../cmu.npz"')],
        [
            'settings.data.file: must be a relative path under the data root (got "../cmu.npz"); name its folder with --data-root or ABLATE_DATA'
        ],
    ),
    "override of an unknown setting": (
        [('set."model.extra"', 'set."model.extr"')],
        ["arms.extra.set.\"model.extr\": no such setting; did you mean 'model.extra'?"],
    ),
    "override in an unknown section": (
        [('set."model.extra"', 'set."modle.extra"')],
        ["arms.extra.set.\"modle.extra\": no such setting; did you mean 'model.extra'?"],
    ),
    "override without a section": (
        [('set."model.width" = 16', "set.width = 16")],
        ["arms.wide.set.width: no such setting; did you mean 'model.width'?"],
    ),
    "override in a nested table": (
        [('set."model.width" = 16', 'set."model.head.widht" = 16')],
        ["arms.wide.set.\"model.head.widht\": no such setting; did you mean 'model.head.width'?"],
    ),
    "dotted key without quotes": (
        [('set."model.width" = 16', "set.model.width = 16")],
        [
            'arms.wide.set.model.factory: is missing from the section that replaces the study\'s; to change one setting write set."model.width" with the quotes'
        ],
    ),
    "training replaced": (
        [('set."model.width" = 16', "set.training.epochs = 16")],
        [
            'arms.wide.set.training: cannot replace the whole section; to change one setting write set."training.epochs" with the quotes'
        ],
    ),
    "section replaced by a number": (
        [('set."model.width" = 16', "set.model = 16")],
        [
            'arms.wide.set.model: must be a table to replace a section; to change one setting write set."model.…" with the quotes'
        ],
    ),
    "replaced section empty": (
        [('{ factory = "design_toy:strict_model", width = 1 }', "{}")],
        ['arms.constant.set.model.factory: is missing; must be an import path "module:attribute"'],
    ),
    "replaced section with a bad factory": (
        [('{ factory = "design_toy:strict_model", width = 1 }', '{ factory = "strict_model" }')],
        ['arms.constant.set.model.factory: must be an import path "module:attribute" (got "strict_model")'],
    ),
    "invalid training of an arm": (
        [('set."model.width" = 16', 'set."training.epochs" = -1')],
        ['arms.wide.set."training.epochs": must be at least 1 (got -1)'],
    ),
    "two equal arms": (
        [('set."model.width" = 16', 'set."model.extra" = true')],
        ["arms.wide: has the same settings as arm 'extra'; a deliberate twin has replicate = 1"],
    ),
    "arms that differ in tuned settings only": (
        [('set."model.width" = 16', 'set."training.learning_rate" = 0.002')],
        ["arms.wide: differs from arm 'plain' only in settings that are tuned for both"],
    ),
    "low above high": (
        [("low = 0.5\nhigh = 1.0", "low = 1.5\nhigh = 1.0")],
        ['tuning.space."model.momentum": low must be below high (got low 1.5, high 1)'],
    ),
    "log from zero": (
        [("low = 1e-4", "low = 0")],
        ['tuning.space."training.learning_rate".low: must be above 0 when log = true (got 0)'],
    ),
    "repeated choices": (
        [('choices = ["adam", "sgd"]', 'choices = ["adam", "sgd", "adam"]')],
        ['tuning.space."model.optimizer".choices: must not repeat a value (got ["adam", "sgd", "adam"])'],
    ),
    "space path not a setting": (
        [('[tuning.space."model.momentum"]', '[tuning.space."model.momentun"]')],
        ["tuning.space.\"model.momentun\": is not a setting of any arm; did you mean 'model.momentum'?"],
    ),
    "space path a table": (
        [('[tuning.space."model.momentum"]', '[tuning.space."model.head"]')],
        [
            "tuning.space.\"model.head\": is not a setting of any arm; did you mean 'model.head.width' or 'model.head.depth'?"
        ],
    ),
    "space path a section": (
        [('[tuning.space."model.momentum"]', "[tuning.space.model]")],
        ["tuning.space.model: is not a setting of any arm; did you mean 'model.width' or 'model.extra'?"],
    ),
    "space path not of every arm": (
        [('set."model.width" = 16', 'set.model = { factory = "design_toy:model", width = 16, optimizer = "adam" }')],
        ["tuning.space.\"model.momentum\": is not a setting of arm 'wide'; did you mean 'model.optimizer'?"],
    ),
    "tuned data": (
        [('[tuning.space."model.momentum"]', '[tuning.space."data.examples"]')],
        ['tuning.space."data.examples": data cannot be tuned: every arm is judged on the same examples'],
    ),
    "tuned epochs beside fixed ones": (
        [
            (
                '[tuning.space."model.momentum"]\ntype = "float"\nlow = 0.5\nhigh = 1.0',
                '[tuning.space."training.epochs"]\ntype = "int"\nlow = 1\nhigh = 3',
            )
        ],
        ['tuning.space."training.epochs": cannot be tuned while tuning.epochs fixes it'],
    ),
    "space outside the training's rules": (
        [
            (
                '[tuning.space."model.momentum"]\ntype = "float"\nlow = 0.5\nhigh = 1.0',
                '[tuning.space."training.batch_size"]\ntype = "int"\nlow = 0\nhigh = 3',
            )
        ],
        ['tuning.space."training.batch_size".low: is not a valid training.batch_size: must be at least 1 (got 0)'],
    ),
    "float space of a whole number": (
        [
            (
                '[tuning.space."model.momentum"]\ntype = "float"\nlow = 0.5\nhigh = 1.0',
                '[tuning.space."training.batch_size"]\ntype = "float"\nlow = 1.5\nhigh = 3',
            )
        ],
        [
            'tuning.space."training.batch_size".low: is not a valid training.batch_size: must be a whole number (got 1.5)',
            'tuning.space."training.batch_size".high: is not a valid training.batch_size: must be a whole number (got 3.0)',
        ],
    ),
    "when of an unknown entry": (
        [('when = { "model.optimizer" = "sgd" }', 'when = { "model.optimiser" = "sgd" }')],
        [
            'tuning.space."model.momentum".when."model.optimiser": is not an entry of the tuning space; did you mean \'model.optimizer\'?'
        ],
    ),
    "when of a value outside the choices": (
        [('when = { "model.optimizer" = "sgd" }', 'when = { "model.optimizer" = "rmsprop" }')],
        [
            'tuning.space."model.momentum".when."model.optimizer": is not a value of model.optimizer (got "rmsprop"); valid: "adam", "sgd"'
        ],
    ),
    "when of a value outside the range": (
        [('when = { "model.optimizer" = "sgd" }', 'when = { "training.learning_rate" = 1.0 }')],
        [
            'tuning.space."model.momentum".when."training.learning_rate": is not a value of training.learning_rate (got 1.0); valid: 0.0001 to 0.01'
        ],
    ),
    "when in a cycle": (
        [('choices = ["adam", "sgd"]', 'choices = ["adam", "sgd"]\nwhen = { "model.momentum" = 0.5 }')],
        ["tuning.space: `when` must not form a cycle: model.optimizer → model.momentum → model.optimizer"],
    ),
    "when of itself": (
        [('when = { "model.optimizer" = "sgd" }', 'when = { "model.momentum" = 0.5 }')],
        ["tuning.space: `when` must not form a cycle: model.momentum → model.momentum"],
    ),
    "malformed TOML": ([("trials = 4", "trials = ")], ["line 43, column 10: is not valid TOML: invalid value"]),
    "unterminated": (
        [('gallery = "design_toy:model"', 'gallery = """x')],
        ["last line: is not valid TOML: unterminated string"],
    ),
    "duplicate key": (
        [("trials = 4", "trials = 4\ntrials = 5")],
        ["line 44, column 11: is not valid TOML: cannot overwrite a value"],
    ),
    "duplicate arm": (
        [("[arms.wide]", "[arms.plain]")],
        ["line 35, column 12: is not valid TOML: cannot declare [arms.plain] twice"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_is_reported_with_place_value_and_hint(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    edits, expected = CASES[name]
    assert problems_of(*edits) == [f"study.toml: {problem}" for problem in expected]
