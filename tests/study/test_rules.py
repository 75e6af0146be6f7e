"""Rules on names, seeds, metrics and hypotheses: one broken study each, and the exact message."""

# ruff: noqa: E501 (a message is one line, as people see it)

from __future__ import annotations

from pathlib import Path

import pytest
from design_toy import problems_of

# name: (edits of the valid study, problems without the name of the file)
CASES: dict[str, tuple[list[tuple[str, str]], list[str]]] = {
    "name with a separator": (
        [('name = "toy"', 'name = "a/b"')],
        [
            'name: must be fit for file names: letters, digits, _ - and . only, a letter or digit first, no . last, at most 64 (got "a/b")'
        ],
    ),
    "name that is a parent folder": (
        [('name = "toy"', 'name = ".."')],
        [
            'name: must be fit for file names: letters, digits, _ - and . only, a letter or digit first, no . last, at most 64 (got "..")'
        ],
    ),
    "empty question": ([('"Does the extra part help?"', '"  "')], ["question: must not be empty"]),
    "arm name with a space": (
        [("[arms.wide]", '[arms."very wide"]')],
        [
            'arms."very wide": must be fit for file names: letters, digits, _ - and . only, a letter or digit first, no . last, at most 64 (got "very wide")'
        ],
    ),
    "arm names that differ in case": (
        [("[arms.wide]", "[arms.Extra]")],
        ["arms.Extra: differs from arm 'extra' only in case, which some file systems ignore"],
    ),
    "reserved arm name": (
        [("[arms.wide]", "[arms.compare]")],
        ["arms.compare: is a reserved name; call the arm something else"],
    ),
    "baseline not an arm": (
        [('baseline = "plain"', 'baseline = "plan"')],
        ["baseline: is not an arm of this study (got \"plan\"); did you mean 'plain'?"],
    ),
    "baseline a reference": (
        [('baseline = "plain"', 'baseline = "constant"')],
        ['baseline: must not be a reference arm (got "constant"); valid: extra, plain, wide'],
    ),
    "no seeds": ([("seeds = [1, 2, 3]", "seeds = []")], ["seeds: must not be empty"]),
    "negative seed": ([("seeds = [1, 2, 3]", "seeds = [1, -2, 3]")], ["seeds: must be from 0 to 4294967295 (got -2)"]),
    "seed beyond 32 bits": (
        [("seeds = [1, 2, 3]", "seeds = [1, 4294967296]")],
        ["seeds: must be from 0 to 4294967295 (got 4294967296)"],
    ),
    "repeated seed": ([("seeds = [1, 2, 3]", "seeds = [1, 2, 1]")], ["seeds: must not repeat a seed (got 1)"]),
    "repeated tuning seed": (
        [("seeds = [101, 102]", "seeds = [101, 101]")],
        ["tuning.seeds: must not repeat a seed (got 101)"],
    ),
    "overlapping seeds": (
        [("seeds = [101, 102]", "seeds = [3, 102, 1]")],
        ["tuning.seeds: must not overlap the comparison seeds (got [1, 3])"],
    ),
    "unknown metric": (
        [('metrics = ["error_deg", "accuracy"]', 'metrics = ["error_dg", "accuracy"]')],
        ["metrics[0]: is not a metric of the catalogue (got \"error_dg\"); did you mean 'error_deg'?"],
    ),
    "metric unlike any": (
        [('metrics = ["error_deg", "accuracy"]', 'metrics = ["zzz"]')],
        ['metrics[0]: is not a metric of the catalogue (got "zzz"); valid: accuracy, error_deg, error_mm'],
    ),
    "repeated metric": (
        [('metrics = ["error_deg", "accuracy"]', 'metrics = ["accuracy", "accuracy"]')],
        ['metrics: must not repeat a metric (got "accuracy")'],
    ),
    "tuning on test data": (
        [('metric = "val/error_deg"', 'metric = "test/error_deg"')],
        [
            'tuning.metric: must start with "val/": tuning sees validation data only (got "test/error_deg"); did you mean \'val/error_deg\'?'
        ],
    ),
    "tuning metric without its split": (
        [('metric = "val/error_deg"', 'metric = "error_deg"')],
        [
            'tuning.metric: must start with "val/": tuning sees validation data only (got "error_deg"); did you mean \'val/error_deg\'?'
        ],
    ),
    "unknown tuning metric": (
        [('metric = "val/error_deg"', 'metric = "val/error_degs"')],
        ["tuning.metric: is not a metric of the catalogue (got \"error_degs\"); did you mean 'error_deg'?"],
    ),
    "hypothesis on an unknown arm": (
        [('arm = "extra"', 'arm = "extre"')],
        ["hypotheses[0].arm: is not an arm of this study (got \"extre\"); did you mean 'extra'?"],
    ),
    "hypothesis against an unknown arm": (
        [('against = "plain"', 'against = "plane"')],
        ["hypotheses[0].against: is not an arm of this study (got \"plane\"); did you mean 'plain'?"],
    ),
    "hypothesis of an arm against itself": (
        [('against = "plain"', 'against = "extra"')],
        ['hypotheses[0]: must compare two different arms (got "extra")'],
    ),
    "hypothesis declared twice": (
        [
            (
                "[report]",
                '[[hypotheses]]\narm = "extra"\nagainst = "plain"\nmetric = "error_deg"\nmargin = 0.5\n[report]',
            )
        ],
        ["hypotheses[1]: must not repeat a hypothesis"],
    ),
    "hypothesis on an unknown metric": (
        [('metric = "error_deg"\nmargin', 'metric = "error"\nmargin')],
        [
            "hypotheses[0].metric: is not a metric of the catalogue (got \"error\"); did you mean 'error_mm' or 'error_deg'?"
        ],
    ),
    "condition with an unknown metric": (
        [('metrics = ["error_deg"]\n', 'metrics = ["accuracies"]\n')],
        [
            "report.conditions.angle_deg.metrics[0]: is not a metric of the catalogue (got \"accuracies\"); did you mean 'accuracy'?"
        ],
    ),
    "groups that share a value, and an empty one": (
        [
            (
                "[report.conditions.angle_deg]",
                "[report.conditions.clip.groups]\nwalk = [1, 2]\ndance = [2]\nrest = []\n[report.conditions.angle_deg]",
            )
        ],
        [
            'report.conditions.clip.groups.dance: shares a value with walk (got "2")',
            "report.conditions.clip.groups.rest: must list values",
        ],
    ),
    "gallery not an import path": (
        [('gallery = "design_toy:model"', 'gallery = "design_toy.model"')],
        ['report.gallery: must be an import path "module:attribute" (got "design_toy.model")'],
    ),
    "catalogue not an import path": (
        [('catalogue = "design_toy:METRICS"', 'catalogue = "design_toy"')],
        ['catalogue: must be an import path "module:attribute" (got "design_toy")'],
    ),
    "catalogue of an unknown module": (
        [('catalogue = "design_toy:METRICS"', 'catalogue = "design_toi:METRICS"')],
        ["catalogue: no module named 'design_toi' (got \"design_toi\"); did you mean 'design_toy'?"],
    ),
    "catalogue without Metrics": (
        [('catalogue = "design_toy:METRICS"', 'catalogue = "design_toy:NOT_METRICS"')],
        ['catalogue: must be a mapping from names to Metrics (got "design_toy:NOT_METRICS")'],
    ),
    "catalogue a function": (
        [('catalogue = "design_toy:METRICS"', 'catalogue = "design_toy:nothing"')],
        ['catalogue: must be a mapping from names to Metrics (got "design_toy:nothing")'],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_is_reported_with_place_value_and_hint(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    edits, expected = CASES[name]
    assert problems_of(*edits) == [f"study.toml: {problem}" for problem in expected]
