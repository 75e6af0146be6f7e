"""Failed runs and seeds far out are said, and no word appears without them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from toy_scores import around, load

from ablate.analysis.failures import failure_warnings, far_out, hodges_lehmann
from ablate.analysis.study_analysis import compare


def test_failures_are_tested_and_count_as_the_worst() -> None:
    results = load({"existing": around(7.0, seeds=7), "hybrid": around(6.5, 1, seeds=7)})
    assert failure_warnings(results, compare(results)) == ()
    runs = results.runs.copy()
    runs.loc[(runs.arm == "hybrid") & (runs.seed > 4), "status"] = "failed"
    some = replace(
        results, runs=runs, scores=results.scores[~((results.scores.arm == "hybrid") & (results.scores.seed > 4))]
    )
    (text,) = failure_warnings(some, compare(some))
    p = stats.boschloo_exact([[3, 0], [4, 7]]).pvalue
    assert f"“Hybrid” in 3 of 7 and “Existing only” in 0 of 7 (Boschloo's exact test, p = {p:.3f})" in text
    assert (
        "the median of 7 seeds is in favour of “Hybrid” in azimuth error; the signed-rank test does not show a diff"
        in text
    )


@pytest.mark.parametrize("diverged", [float("inf"), float("nan")])
def test_scores_that_are_no_finite_number_count_as_failures(diverged: float) -> None:
    survivors = around(6.5, 1, seeds=7) | {2: diverged, 5: diverged, 6: diverged, 7: diverged}
    results = load({"existing": around(7.0, seeds=7), "hybrid": survivors})
    (text,) = failure_warnings(results, compare(results))
    p = stats.boschloo_exact([[4, 0], [3, 7]]).pvalue
    assert text.startswith(
        "Failed runs, or runs whose azimuth error is not finite: “Hybrid” in 4 of 7 and “Existing only” in 0 of 7 "
        f"(Boschloo's exact test, p = {p:.3f}). "
    )
    assert "the median of 7 seeds is against “Hybrid” in azimuth error" in text


def test_a_score_that_was_never_recorded_is_no_failure() -> None:
    results = load({"existing": around(7.0), "hybrid": around(6.5, 1)})
    gone = replace(results, scores=results.scores[~((results.scores.arm == "hybrid") & (results.scores.seed == 2))])
    assert failure_warnings(gone, compare(gone)) == ()


def test_a_collapsed_seed_is_told_with_a_robust_estimate() -> None:
    gaps = dict(enumerate((-0.5, -0.6, 53.0, -0.4, -0.55, -0.45, -0.52), start=1))
    scores = {"existing": dict.fromkeys(gaps, 7.0), "hybrid": {seed: 7.0 + gap for seed, gap in gaps.items()}}
    results = load(scores)
    (text,) = failure_warnings(results, compare(results))
    assert "differ at seed 3 by +53" in text
    assert text.endswith("is −0.480°.")


def test_far_out() -> None:
    assert far_out([0.1, 0.2, 0.15, 0.12, 9.0]) == [4]
    assert far_out([0.1, 0.2, 0.15, 0.12, 0.3]) == []
    assert far_out([0.1, 0.2, 9.0]) == []
    assert far_out([1.0, 1.0, 1.0, 1.0, 2.0]) == []  # others without spread give no yardstick


def test_it_is_rarely_said_of_gaussian_seeds() -> None:
    rng = np.random.default_rng(0)
    assert np.mean([bool(far_out(rng.normal(size=10).tolist())) for _ in range(1000)]) < 0.02


def test_hodges_lehmann_by_hand() -> None:
    assert hodges_lehmann([1.0, 2.0, 9.0]) == pytest.approx(3.5)  # of 1, 1.5, 5, 2, 5.5, 9
