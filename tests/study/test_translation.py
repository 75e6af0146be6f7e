"""Values of the wrong type and unknown keys of a study file, and the exact messages."""

from __future__ import annotations

from pathlib import Path

import pytest
from design_toy import problems_of

# name: (edits of the valid study, problems without the name of the file)
CASES: dict[str, tuple[list[tuple[str, str]], list[str]]] = {
    "unknown top-level key": (
        [("seeds = [1, 2, 3]", "seeds = [1, 2, 3]\nmetrcs = []")],
        ["metrcs: unknown key; did you mean 'metrics'?"],
    ),
    "unknown key of an arm": (
        [('label = "Plain"', 'lable = "Plain"')],
        ["arms.plain.lable: unknown key; did you mean 'label'?"],
    ),
    "unknown key of the tuning": (
        [("trials = 4", "trials = 4\ntrails = 4")],
        ["tuning.trails: unknown key; did you mean 'trials'?"],
    ),
    "unknown key of a space entry": (
        [("low = 1e-4", "low = 1e-4\nlo = 1")],
        ["tuning.space.\"training.learning_rate\".lo: unknown key; did you mean 'low' or 'log'?"],
    ),
    "unknown key of a hypothesis": (
        [("margin = 0.5", "margins = 0.5")],
        ["hypotheses[0].margins: unknown key; did you mean 'margin'?"],
    ),
    "unknown key of the report": ([("gallery =", "galery =")], ["report.galery: unknown key; did you mean 'gallery'?"]),
    "unknown key of a condition": (
        [("period = 360", "periods = 360")],
        ["report.conditions.angle_deg.periods: unknown key; did you mean 'period'?"],
    ),
    "unknown key of the training": (
        [("epochs = 4", "epochs = 4\nlearningrate = 1.0")],
        ["settings.training.learningrate: unknown key; did you mean 'learning_rate'?"],
    ),
    "missing key": ([('question = "Does the extra part help?"\n', "")], ["question: is missing"]),
    "missing keys of a hypothesis": ([('against = "plain"\n', "")], ["hypotheses[0].against: is missing"]),
    "text where a list belongs": ([("seeds = [1, 2, 3]", 'seeds = "1"')], ['seeds: must be a list (got "1")']),
    "text where a whole number belongs": (
        [("seeds = [1, 2, 3]", 'seeds = [1, "2", 3]')],
        ['seeds[1]: must be a whole number (got "2")'],
    ),
    "fraction where a whole number belongs": (
        [("trials = 4", "trials = 4.5")],
        ["tuning.trials: must be a whole number (got 4.5)"],
    ),
    "truth value where a whole number belongs": (
        [("trials = 4", "trials = true")],
        ["tuning.trials: must be a whole number (got true)"],
    ),
    "number where text belongs": ([('name = "toy"', "name = 3")], ["name: must be text (got 3)"]),
    "text where a number belongs": (
        [("margin = 0.5", 'margin = "a lot"')],
        ['hypotheses[0].margin: must be a number (got "a lot")'],
    ),
    "number where a truth value belongs": (
        [("reference = true", "reference = 1")],
        ["arms.constant.reference: must be true or false (got 1)"],
    ),
    "text where a table belongs": (
        [
            (
                '[report.conditions.angle_deg]\nlabel = "Angle (°)"\nperiod = 360\nmetrics = ["error_deg"]\n',
                'conditions = "angle_deg"\n',
            )
        ],
        ['report.conditions: must be a table (got "angle_deg")'],
    ),
    "a section that is not a table": (
        [('[settings.loss]\nfactory = "design_toy:loss"\n', "[settings]\nloss = 3\n")],
        ["settings.loss: must be a table (got 3)"],
    ),
    "a list as a choice": (
        [('choices = ["adam", "sgd"]', 'choices = ["adam", ["sgd"]]')],
        ['tuning.space."model.optimizer".choices[1]: must be text, a number, true or false (got ["sgd"])'],
    ),
    "no space type": (
        [('type = "categorical"\n', "")],
        ['tuning.space."model.optimizer".type: is missing; valid: categorical, float, int'],
    ),
    "unknown space type": (
        [('type = "categorical"', 'type = "categoric"')],
        ["tuning.space.\"model.optimizer\".type: must be one of 'categorical', 'float', 'int' (got \"categoric\")"],
    ),
    "space entry that is not a table": (
        [
            (
                '[tuning.space."model.optimizer"]\ntype = "categorical"\nchoices = ["adam", "sgd"]\n',
                '[tuning.space]\n"model.optimizer" = 3\n',
            )
        ],
        ['tuning.space."model.optimizer": must be a table (got 3)'],
    ),
    "no choices": (
        [('choices = ["adam", "sgd"]', "choices = []")],
        ['tuning.space."model.optimizer".choices: must not be empty'],
    ),
    "unknown sampler": (
        [("epochs = 2\n", 'epochs = 2\nsampler = "grid"\n')],
        ["tuning.sampler: must be one of 'tpe', 'random' or 'qmc' (got \"grid\")"],
    ),
    "negative margin": ([("margin = 0.5", "margin = -0.5")], ["hypotheses[0].margin: must be at least 0 (got -0.5)"]),
    "zero trials": ([("trials = 4", "trials = 0")], ["tuning.trials: must be at least 1 (got 0)"]),
    "zero epochs": ([("epochs = 4", "epochs = 0")], ["settings.training.epochs: must be at least 1 (got 0)"]),
    "learning rate zero": (
        [("learning_rate = 0.001", "learning_rate = 0")],
        ["settings.training.learning_rate: must be greater than 0 (got 0)"],
    ),
    "not a number": (
        [("dropout = 0.1", "dropout = nan")],
        ["settings.model.dropout: must be a finite number (got nan)"],
    ),
    "infinite": (
        [("high = 1e-2", "high = inf")],
        ['tuning.space."training.learning_rate".high: must be a finite number (got inf)'],
    ),
    "a date": (
        [("dropout = 0.1", "dropout = 2024-01-01")],
        ["settings.model.dropout: cannot be a date or time; write it as text (got 2024-01-01)"],
    ),
    "beyond 64 bits": (
        [("dropout = 0.1", "dropout = 123456789012345678901234567890")],
        ["settings.model.dropout: must fit in 64 bits (got 123456789012345678901234567890)"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_is_reported_with_place_value_and_hint(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    edits, expected = CASES[name]
    assert problems_of(*edits) == [f"study.toml: {problem}" for problem in expected]
