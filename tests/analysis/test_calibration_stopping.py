"""The calibration of planned looks runs, is the same twice, and its gates bite."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "calibration_stopping.py"


@pytest.fixture(scope="module")
def calibration() -> ModuleType:
    spec = importlib.util.spec_from_file_location("calibration_stopping", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["calibration_stopping"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_a_few_studies_are_calibrated_and_stop_earlier_where_there_is_a_gain(calibration: Any) -> None:
    design = calibration.Design((5, 8, 12), ("better",))
    row = calibration.simulate(design, "pocock", 300)
    assert row.false_claims < 0.1
    assert row.coverage > 0.9
    assert row.seeds_with < row.seeds_without <= 12
    assert 0.4 < row.power < row.fixed_power
    assert calibration.simulate(design, "pocock", 30) == calibration.simulate(design, "pocock", 30)


def test_gates_say_what_failed(calibration: Any) -> None:
    assert list(calibration.gates(0.05, 0.95, 4000, 1)) == []
    assert list(calibration.gates(0.07, 0.93, 4000, 1)) == [
        "false claims in 7.00% of studies, more than 5.80%",
        "repeated intervals hold in 93.00%, less than 94.20%",
    ]


def test_its_answer_as_json(
    calibration: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(calibration, "DESIGNS", calibration.DESIGNS[:1])
    monkeypatch.setattr(sys, "argv", [str(FILE), "--studies", "20", "--json"])
    with pytest.raises(SystemExit) as ended:
        calibration.main()
    document = json.loads(capsys.readouterr().out)
    assert ended.value.code == bool(document["failed"])
    assert [row["spending"] for row in document["rows"]] == ["obrien-fleming", "pocock"]
