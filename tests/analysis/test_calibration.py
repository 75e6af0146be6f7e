"""The calibration benchmark runs, is the same twice, and its gates bite."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "calibration.py"


@pytest.fixture(scope="module")
def calibration() -> ModuleType:
    spec = importlib.util.spec_from_file_location("calibration", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["calibration"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_a_few_gaussian_studies_are_calibrated(calibration: Any) -> None:
    cell = calibration.simulate(calibration.SHAPES[0], 7, 400)
    assert cell.coverage == pytest.approx(0.95, abs=0.02)
    assert cell.uncorrected == pytest.approx(1 - 0.95**6, abs=0.07)  # unadjusted verdicts: 27 % of studies
    assert cell.false_claims < 0.08
    assert cell == calibration.simulate(calibration.SHAPES[0], 7, 400)


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
