"""The calibration benchmark runs, is the same twice, and its gates bite."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "calibration.py"


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FILE.with_stem(name))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def calibration() -> ModuleType:
    return loaded("calibration")


def test_a_few_gaussian_studies_are_calibrated(calibration: Any) -> None:
    cell = calibration.simulate(calibration.SHAPES[0], 7, 400)
    assert cell.coverage == pytest.approx(0.95, abs=0.02)
    assert cell.uncorrected == pytest.approx(1 - 0.95**6, abs=0.07)  # unadjusted verdicts: 27 % of studies
    assert cell.false_claims < 0.08
    assert calibration.simulate(calibration.SHAPES[0], 7, 40) == calibration.simulate(calibration.SHAPES[0], 7, 40)


def test_skew_shows(calibration: Any) -> None:
    lognormal = calibration.simulate(calibration.SHAPES[-1], 5, 100)
    assert lognormal.coverage < 0.9
    assert lognormal.failures == ()  # published, not gated


def test_gates_say_what_failed(calibration: Any) -> None:
    gaussian = calibration.SHAPES[0]
    assert list(calibration.gates(gaussian, 0.95, 0.05, 4000)) == []
    assert list(calibration.gates(gaussian, 0.93, 0.07, 4000)) == [
        "coverage 93.00% is not within 94.0% to 96.5%",
        "false claims in 7.00% of studies, more than 5.80%",
    ]


def test_overlap_without_correction_covers_too_little(calibration: Any) -> None:
    found = calibration.simulate_overlap(7, 300)
    assert found.naive < 0.88 < 0.91 < found.corrected


def test_its_answer_as_json(
    calibration: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [str(FILE), "--studies", "20", "--json"])
    with pytest.raises(SystemExit) as ended:
        calibration.main()
    document = json.loads(capsys.readouterr().out)
    assert ended.value.code == bool(document["failed"])
    assert len(document["cells"]) == 5 * 4


@pytest.fixture(scope="module")
def departures() -> ModuleType:
    return loaded("calibration_departures")


def test_looks_that_are_corrected_for_leave_few_false_claims_after_the_first(departures: Any) -> None:
    plain, corrected, later = departures.looked((5, 7, 10), 1, 300)
    assert plain > corrected > later
    assert later < 0.08
    assert departures.looked((5,), 1, 300)[2] == 0.0


def test_a_collapse_is_not_in_the_interval_and_is_warned_of(departures: Any) -> None:
    found = departures.collapsed(7, 300)
    assert found.coverage == pytest.approx(0.53, abs=0.08)
    assert found.one_warned > 0.95
    assert found.false_warning < 0.06


def test_half_the_correction_covers_over_folds(departures: Any) -> None:
    plain, whole, half = departures.over_folds(departures.LEARNERS[1], 5, 300)
    assert plain <= half <= whole
    assert half == pytest.approx(0.96, abs=0.035)


def test_the_truth_over_folds_is_that_of_new_data(departures: Any) -> None:
    learners = departures.LEARNERS[1]
    rng, errors = np.random.default_rng(0), []
    for _ in range(1500):
        features, values = rng.standard_normal((48, 10)), rng.standard_normal(48)
        values = values + 0.3 * features.sum(axis=1)
        new = rng.standard_normal((50, 10))
        truth = 0.3 * new.sum(axis=1) + rng.standard_normal(50)
        errors.append(((departures.predict(features, values, new, 5) - truth) ** 2).mean())
    assert np.mean(errors) == pytest.approx(departures.expected_error(5, learners, 48), abs=0.03)


def test_a_pooled_spread_does_not_cover_where_arms_differ_in_theirs(departures: Any) -> None:
    own, together = departures.pooled([1.0, 0.33, 0.33, 0.33, 0.33], 7, 2000)
    assert own[0] == pytest.approx(0.95, abs=0.02)
    assert together[0] < 0.8
