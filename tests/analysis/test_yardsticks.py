"""Which arms are named beside a yardstick: by paired intervals, never beside a reference that knows the truth."""

from __future__ import annotations

from typing import Any

import pytest
from toy_scores import around, asked, load

from ablate.analysis.yardsticks import yardstick_sentences


def sentences(reference: float, *, truth: bool = False, seeds: int = 5, **more: Any) -> tuple[str, ...]:
    arms = {"ridge": {"label": "Ridge", "reference": True, "knows_truth": truth}}
    scores = {
        "existing": around(7.0, seeds=seeds),
        "hybrid": around(6.5, 1, seeds),
        "ridge": around(reference, 2, seeds),
    }
    return yardstick_sentences(load(scores, arms=arms, **more))


def test_arms_that_are_worse_are_named_with_their_interval() -> None:
    (worse,) = sentences(6.8)
    assert worse.startswith("Worse than “Ridge” in azimuth error: “Existing only” (0.200° worse, 95 % interval 0.1")
    assert "Hybrid" not in worse


def test_an_interval_that_includes_zero_is_called_so_and_no_equality() -> None:
    worse, unclear = sentences(6.5)
    assert worse.startswith("Worse than “Ridge”")
    assert unclear.startswith(
        "Not shown to be better than “Ridge” in azimuth error: “Hybrid” (0.000°, 95 % interval from 0.0"
    )
    assert "as well" not in unclear


def test_a_margin_counts() -> None:
    assert sentences(7.6) == ()
    (unclear,) = sentences(7.6, hypotheses=[asked(1.1, "hybrid", "ridge")])
    assert unclear.startswith("Not shown to be better than “Ridge” in azimuth error: “Hybrid” (1.100° better, 95 %")
    assert unclear.endswith(", margin 1.1°).")


def test_one_seed_has_means_and_no_interval() -> None:
    (unknown,) = sentences(6.8, seeds=1)
    assert unknown.startswith("No better than “Ridge” in mean azimuth error, without an interval: “Existing only” (0.")


@pytest.mark.parametrize("score", [1.0, 6.5, 6.8])
def test_a_reference_that_knows_the_truth_never_warns(score: float) -> None:
    assert sentences(score, truth=True) == ()
