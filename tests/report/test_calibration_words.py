"""The figures of the sentences on calibration are those of benchmarks/README.md."""

from __future__ import annotations

import re
from pathlib import Path

from ablate.report import calibration

README = (Path(__file__).resolve().parents[2] / "benchmarks" / "README.md").read_text(encoding="utf-8")


def rows(first: str) -> list[list[str]]:
    """The cells of the table rows whose first cell begins so."""
    lines = [line for line in README.splitlines() if line.startswith(f"| {first}")]
    assert lines, first
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def percents(*cells: str) -> list[float]:
    return [float(cell.split()[0]) for cell in cells]


def span(values: list[float]) -> str:
    return f"{min(values):.0f} to {max(values):.0f} %"


def test_false_claims_and_coverage_of_simulated_studies() -> None:
    symmetric, mild, strong = (
        [row for name in names for row in rows(name)]
        for names in (("Gaussian", "t, 3 df"), ("gamma, shape 4",), ("exponential",))
    )
    assert span(percents(*(row[6] for row in symmetric))) == calibration.FALSE_CLAIMS
    assert span(percents(*(row[2] for row in symmetric))) == calibration.COVERAGE
    assert span(percents(*(row[6] for row in mild))) == calibration.MILD_CLAIMS
    assert span(percents(*(row[2] for row in mild))) == calibration.MILD_COVERAGE
    assert span(percents(*(row[6] for row in strong))) == calibration.STRONG_CLAIMS
    assert span(percents(*(row[2] for row in strong))) == calibration.STRONG_COVERAGE
    seeds = [int(row[1]) for row in symmetric]
    assert (min(seeds), max(seeds)) == calibration.SEEDS


def test_splits_that_are_redrawn() -> None:
    assert (
        span([float(row[2].split()[0]) for n in (5, 7, 10, 20) for row in rows(f"{n} seeds") if len(row) == 3])
        == calibration.REDRAWN
    )


def test_tuning() -> None:
    of_arm = [row for row in rows("arm:") if int(re.sub(r"\D", "", row[1])) <= 19]  # up to 19 trainings an arm
    assert span(percents(*(row[2] for row in of_arm))) == calibration.TUNED_APART
    assert span(percents(*(cell for row in rows("seed:") for cell in row[2:6]))) == calibration.TUNED_PER_SEED
