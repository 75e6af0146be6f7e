"""Means of an arm's scores and curves: each with the interval that the report's tables have."""

from __future__ import annotations

import math
from itertools import pairwise

import pandas as pd
import pytest
from toy_script import SPREAD, load, written

from ablate.analysis.arm_means import MOST_EPOCHS, curve_means, score_means
from ablate.analysis.curves import curve_keys
from ablate.analysis.results import CURVE_COLUMNS, Results
from ablate.analysis.statistics import estimate


def with_curves(values: dict[int, list[float]], seeds: int = 3) -> Results:
    """The toy study, whose arm `plain` has these values of val/loss by epoch, from as many seeds as are listed."""
    results = load(written())
    rows = [
        ("plain", seed, epoch, "val/loss", value)
        for epoch, of_epoch in values.items()
        for seed, value in enumerate(of_epoch, 1)
    ]
    rows += [("plain", seed, 1, "val/other", 9.0) for seed in range(1, seeds + 1)]  # no metric of the study
    results.__dict__["curves"] = pd.DataFrame(rows, columns=CURVE_COLUMNS)
    return results


def test_scores_have_the_intervals_of_the_report_and_costs_none() -> None:
    means = score_means(load(written(), {"cost/parameters": 7.0}), "plain")
    expected = estimate([11.0 + jitter for jitter in SPREAD])
    assert means["test/loss"] == (expected.mean, expected.low, expected.high)
    assert means["cost/parameters"] == (7.0, None, None)
    assert "val/loss" not in means  # not of the split that is compared


def test_curves_have_at_every_epoch_the_interval_of_the_seeds_that_reached_it() -> None:
    values = {1: [1.0, 2.0, 4.0], 2: [0.5, 1.5, math.nan], 3: [0.25]}
    results = with_curves(values)
    keys = curve_keys(results)
    means = curve_means(results, "plain", keys)
    assert list(means) == ["val/loss"]
    for epoch, of_epoch in values.items():
        expected = estimate(of_epoch)
        ends = [end for end in (expected.mean, expected.low, expected.high) if end is not None]  # one seed has a mean
        assert [end for end in means["val/loss"][epoch] if end is not None] == pytest.approx(ends, rel=1e-12)
    assert curve_means(results, "dropout", keys) == {}


def test_of_long_curves_evenly_spaced_epochs_are_kept() -> None:
    long = with_curves({epoch: [1.0 / epoch, 2.0 / epoch] for epoch in range(1, 1001)})
    epochs = list(curve_means(long, "plain", ["val/loss"])["val/loss"])
    assert len(epochs) == MOST_EPOCHS
    assert (epochs[0], epochs[-1]) == (1, 1000)
    assert {later - earlier for earlier, later in pairwise(epochs)} <= {5, 6}


def test_a_study_without_curves() -> None:
    results = load(written())
    assert curve_keys(results) == ()
    assert curve_means(results, "plain", ["val/loss"]) == {}
