"""What an interval shows and includes, and how it is worded: by hand."""

from __future__ import annotations

from typing import Any

import pytest

from ablate.analysis.phrasing import better_by, ends_text, found, includes, shown
from ablate.analysis.records import MetricInfo
from ablate.analysis.statistics import Effect, Estimate

LOWER = MetricInfo("azimuth", "Azimuth error", "°", "lower")
HIGHER = MetricInfo("accuracy", "Accuracy", "%", "higher")


def gap(low: float | None, high: float | None, mean: float | None = None) -> Estimate:
    middle = mean if mean is not None else None if low is None or high is None else (low + high) / 2
    return Estimate(middle, low, high, 5, "", 0.1)


def effect(*ends: float) -> Effect:
    return Effect(gap(*ends), {}, None, None)


@pytest.mark.parametrize(
    ("ends", "margin", "outcome"),
    [
        ((-0.3, -0.1), None, "better"),
        ((0.1, 0.3), None, "worse"),
        ((-0.1, 0.3), None, "not shown"),
        ((-0.3, -0.1), 0.05, "better"),
        ((-0.3, -0.1), 0.2, "not shown"),  # better than 0, and not shown to be so by 0.2
        ((-0.3, -0.1), 0.5, "equal"),  # better than 0, by less than 0.5
        ((0.1, 0.3), 0.05, "worse"),
        ((0.1, 0.3), 0.5, "equal"),
        ((-0.1, 0.3), 0.5, "equal"),
        ((-0.1, 0.3), 0.2, "not shown"),
        ((0.2, 0.2), 0.5, "no interval"),
    ],
)
def test_a_margin_counts_wherever_better_is_said(ends: tuple[float, float], margin: float | None, outcome: str) -> None:
    assert shown(effect(*ends), LOWER, margin) == outcome
    assert shown(effect(-ends[1], -ends[0]), HIGHER, margin) == outcome


@pytest.mark.parametrize(
    ("ends", "margin", "words"),
    [
        ((-0.1, 0.3), None, "0"),
        ((-0.1, 0.3), 0.2, "0 and the margin of 0.2°"),
        ((-0.3, -0.1), 0.2, "the margin of 0.2°"),
        ((-0.3, 0.1), 0.5, "0"),
        ((None, None), 0.2, ""),
    ],
)
def test_what_an_interval_includes(ends: Any, margin: float | None, words: str) -> None:
    assert includes(gap(*ends), LOWER, margin) == words


def test_how_far_an_interval_reaches() -> None:
    assert ends_text(gap(-0.3, -0.1), LOWER, 2) == "0.10° to 0.30°"
    assert ends_text(gap(0.1, 0.3), LOWER, 2) == "0.10° to 0.30°"
    assert ends_text(gap(-0.3, 0.1), LOWER, 2) == "from 0.30° better to 0.10° worse"
    assert ends_text(gap(-0.1, 0.3), HIGHER, 2) == "from 0.30 % better to 0.10 % worse"
    assert ends_text(gap(-0.3, -0.004), LOWER, 2) == "0.004° to 0.30°"  # not 0.00°


def test_better_and_worse_follow_the_metric_and_a_zero_is_neither() -> None:
    assert better_by(gap(-0.3, -0.1), LOWER, 1) == "0.2° better"
    assert better_by(gap(-0.3, -0.1), HIGHER, 1) == "0.2 % worse"
    assert better_by(gap(-0.1, 0.1, 0.001), LOWER, 1) == "0.0°"
    assert found(gap(-0.3, 0.1), LOWER, 2) == "0.10° better, 95 % interval from 0.30° better to 0.10° worse, 5 seeds"
