"""The simulation of tuning and comparison: its short cuts are the tool's own rules, its gates bite."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ablate.analysis.statistics import paired
from ablate.analysis.verdicts import Claim, judge

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "calibration_tuning.py"


@pytest.fixture(scope="module")
def pipeline() -> Any:
    spec = importlib.util.spec_from_file_location("calibration_tuning", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["calibration_tuning"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_claims_and_intervals_are_those_of_the_report(pipeline: Any) -> None:
    rng = np.random.default_rng(0)
    differences = rng.standard_normal((60, 3, 6)) - np.array([0.0, 1.5, 3.0])[:, None]
    below, above, mean, half = pipeline.one_sided(differences)
    claims = pipeline.rejected(np.concatenate([below, above], -1))
    for study in range(len(differences)):
        effects = [paired(dict(enumerate(d)), dict.fromkeys(range(6), 0.0)) for d in differences[study].tolist()]
        outcomes = [verdict.outcome for verdict in judge([Claim(effect, "lower") for effect in effects])]
        assert outcomes == [
            "supported" if claims[study, i] else "refuted" if claims[study, 3 + i] else "inconclusive" for i in range(3)
        ]
        low_high = [(e.difference.low, e.difference.high) for e in effects]
        np.testing.assert_allclose(low_high, np.stack([mean - half, mean + half], -1)[study])
    assert claims.any(0).all() or claims.sum() > 20


def test_points_are_spread_from_the_first_on(pipeline: Any) -> None:
    four = pipeline.points(np.random.default_rng(0), 4, (100,))
    assert (np.sort((4 * four).astype(int), axis=-1) == np.arange(4)).all()


def test_one_tuning_is_a_lottery_and_a_tuning_for_every_seed_is_none(pipeline: Any) -> None:
    ways = {way.name: way for way in pipeline.WAYS}
    for name, low, high in (("arm: 4 points", 0.15, 1.0), ("seed: 4 points", 0.0, 0.08)):
        cells = {(c.seeds, c.hypotheses): c for c in pipeline.simulate(ways[name], 1.0, 400)}
        assert low <= cells[7, 3].false_claims <= high
        assert cells[20, 3].false_claims >= (0.35 if low else 0.0)  # more seeds sharpen the estimate of a lottery
        assert next(iter(pipeline.simulate(ways[name], 1.0, 400))) == cells[5, 1]


def test_the_default_holds_its_gates_at_every_curvature_and_one_tuning_of_an_arm_does_not(pipeline: Any) -> None:
    ways = {way.name: way for way in pipeline.WAYS}
    for curvature in pipeline.CURVATURES:
        cells = list(pipeline.simulate(ways["seed: 3 points"], curvature, 400))
        assert {(cell.seeds, cell.hypotheses) for cell in cells} == {
            (s, h) for s in (5, 7, 10, 20) for h in (1, 3, 6, 12)
        }
        assert not [cell.failures for cell in cells if cell.failures]
    once = ways["arm: 4 points"]
    cells = list(pipeline.simulate(once, 1.0, 400))
    assert all(list(pipeline.gates(replace(once, gated=True), c.false_claims, c.coverage, c.studies)) for c in cells)


def test_a_finite_budget_loses_less_with_more_trials(pipeline: Any) -> None:
    ways = {way.name: way for way in pipeline.WAYS}
    few, many = (pipeline.shifted(ways[f"seed: {trials} points"], 1.0, 200) for trials in (2, 8))
    assert 0 < many.loss < few.loss
    assert abs(many.bias) < 0.02


def test_gates_say_what_failed(pipeline: Any) -> None:
    ways = {way.name: way for way in pipeline.WAYS}
    assert list(pipeline.gates(ways["seed: 4 points"], 0.05, 0.95, 4000)) == []
    assert list(pipeline.gates(ways["seed: 4 points"], 0.07, 0.92, 4000)) == [
        "false claims in 7.00% of studies, more than 5.80%",
        "coverage 92.00% is not within 93% to 97%",
    ]
    assert list(pipeline.gates(ways["arm: 4 points"], 0.3, 0.8, 4000)) == []  # no way that may be the default
