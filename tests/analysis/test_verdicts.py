from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ablate.analysis.statistics import Effect, paired
from ablate.analysis.verdicts import MIN_SEEDS, Claim, holds_together, judge

BY_FIVE = [-1.2, -1.0, -0.9, -1.1, -0.8]  # mean −1.0, deviation 0.158


def effect(differences: list[float], **options: Any) -> Effect:
    return paired(dict(enumerate(differences)), dict.fromkeys(range(len(differences)), 0.0), **options)


def test_supported_and_refuted_by_hand() -> None:
    better, short = judge([Claim(effect(BY_FIVE), "lower", 0.5), Claim(effect(BY_FIVE), "lower", 1.5, "°")])
    # t = 0.5 / (0.158 / √5) for one, minus that for the other; the smallest of four p, so times four
    p = stats.t.sf(0.5 / stats.sem(BY_FIVE), 4)
    assert (better.outcome, short.outcome) == ("supported", "refuted")
    assert better.p_supported == short.p_refuted == pytest.approx(4 * p)
    gap, improvement = effect(BY_FIVE).difference, better.improvement
    assert improvement.mean == pytest.approx(1.0)
    assert (improvement.low, improvement.high) == (-(gap.high or 0), -(gap.low or 0))
    assert better.reason == "shown to be better by more than the margin of 0.5 (adjusted p 0.004, 5 seeds)"
    assert short.reason == "shown not to be better by as much as the margin of 1.5° (adjusted p 0.004, 5 seeds)"


def test_direction_of_the_metric_decides_what_is_better() -> None:
    for direction, outcome, words in (
        ("lower", "supported", "shown to be better"),
        ("higher", "refuted", "shown to be worse"),
    ):
        (verdict,) = judge([Claim(effect(BY_FIVE), direction)])  # type: ignore[arg-type]
        assert verdict.outcome == outcome
        assert verdict.reason.startswith(words)


def test_at_the_margin_nothing_can_be_shown() -> None:
    (verdict,) = judge([Claim(effect(BY_FIVE), "lower", 1.0)])
    assert (verdict.outcome, verdict.p_supported, verdict.p_refuted) == ("inconclusive", 1.0, 1.0)
    words = "the improvement was shown neither to exceed the margin of 1 nor to fall short of it"
    assert verdict.reason == f"{words} (adjusted p 1.000, 5 seeds)"


@pytest.mark.parametrize(
    ("differences", "reason"),
    [
        ([], "no seed has a score of both arms"),
        ([-1.0], "1 paired seed: a verdict needs at least 5"),
        ([-1.0, -1.1, -0.9, -1.0], "4 paired seeds: a verdict needs at least 5"),
        ([-1.0] * 7, "the same difference at every seed: without variation there is no test"),
        ([0.0] * 7, "the same difference at every seed: without variation there is no test"),
    ],
)
def test_no_verdict_says_why(differences: list[float], reason: str) -> None:
    (verdict,) = judge([Claim(effect(differences), "lower")])
    assert (verdict.outcome, verdict.p_supported, verdict.p_refuted, verdict.reason) == (
        "no verdict",
        None,
        None,
        reason,
    )


def test_missing_pairs_are_named_and_below_five_there_is_no_verdict() -> None:
    scores = dict(enumerate(BY_FIVE)) | {5: math.nan, 6: -1.0}
    (five,) = judge([Claim(paired(scores, dict.fromkeys(range(6), 0.0)), "lower")])
    assert five.outcome == "supported"
    assert five.reason.endswith("5 seeds); without seeds 5, 6")
    (four,) = judge([Claim(paired(scores, dict.fromkeys(range(1, 6), 0.0)), "lower")])
    assert four.reason == "4 paired seeds: a verdict needs at least 5; without seeds 0, 5, 6"


def test_different_people_give_no_verdict_and_are_counted() -> None:
    claims = [Claim(effect(BY_FIVE), "lower", 0.5), Claim(effect(BY_FIVE), "lower", 0.5, disjoint=(2,))]
    judged, of_others = judge(claims)
    assert (of_others.outcome, of_others.p_supported, of_others.improvement.n) == ("no verdict", None, 5)
    assert of_others.reason == ("the arms have no subject in common with seed 2: their scores are of different people")
    assert judged.p_supported == pytest.approx(2 * (judge(claims[:1])[0].p_supported or 0))


def test_what_cannot_be_tested_still_counts_in_the_family() -> None:
    alone = judge([Claim(effect(BY_FIVE), "lower", 0.5)])[0]
    beside = judge([Claim(effect(BY_FIVE), "lower", 0.5), Claim(effect([-1.0]), "lower", 0.5)])[0]
    assert alone.p_supported is not None
    assert beside.p_supported == pytest.approx(2 * alone.p_supported)


def test_overlap_makes_verdicts_rarer() -> None:
    close = [-1.4, -0.7, -0.9, -1.3, -0.8]
    assert judge([Claim(effect(close), "lower", 0.3)])[0].outcome == "supported"
    assert judge([Claim(effect(close, overlap=0.5), "lower", 0.3)])[0].outcome == "inconclusive"


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.floats(-3, 3), min_size=0, max_size=8), st.sampled_from(["lower", "higher"]), st.just(0.5)
        ),
        max_size=5,
    )
)
def test_a_verdict_is_one_thing_and_more_claims_make_none_easier(cases: list[tuple[list[float], Any, float]]) -> None:
    claims = [Claim(effect(d), direction, margin) for d, direction, margin in cases]
    for claim, together in zip(claims, judge(claims), strict=True):
        (alone,) = judge([claim])
        assert (together.outcome == "no verdict") == (alone.outcome == "no verdict")
        if together.p_supported is None or together.p_refuted is None:
            n = claim.effect.difference.n
            assert n < MIN_SEEDS or np.ptp(list(claim.effect.by_seed.values())) < 1e-9
            continue
        assert alone.p_supported is not None
        assert together.p_supported >= alone.p_supported
        assert (together.outcome == "supported") == (together.p_supported <= 0.05)
        assert (together.outcome == "refuted") == (together.p_refuted <= 0.05)


def test_equivalence_is_two_one_sided_tests_of_statsmodels() -> None:
    from statsmodels.stats.weightstats import DescrStatsW

    differences = [0.1, -0.2, 0.05, 0.15, -0.1, 0.0]
    (verdict,) = judge([Claim(effect(differences), "higher", 0.5, kind="equivalent")])
    p = DescrStatsW(differences).ttost_mean(-0.5, 0.5)[0]
    assert verdict.outcome == "supported"
    assert verdict.p_supported == pytest.approx(2 * p)  # Holm over the claim and its opposite
    assert verdict.reason.startswith("shown to differ by less than the margin of 0.5, in either direction (")


@pytest.mark.parametrize(
    ("kind", "mean", "outcome", "words"),
    [
        ("not_worse", 0.0, "supported", "shown not to be worse by as much as the margin of 0.5"),
        ("not_worse", -1.0, "refuted", "shown to be worse by more than the margin of 0.5"),
        ("not_worse", -0.5, "inconclusive", "shown neither to be worse by more than the margin of 0.5 nor not to be"),
        ("equivalent", 1.0, "refuted", "shown to differ by more than the margin of 0.5"),
        ("equivalent", -1.0, "refuted", "shown to differ by more than the margin of 0.5"),
        ("equivalent", 0.5, "inconclusive", "shown neither to differ by less than the margin of 0.5 nor by more"),
    ],
)
@pytest.mark.parametrize("direction", ["lower", "higher"])
def test_kinds_of_claims(kind: Any, mean: float, outcome: str, words: str, direction: Any) -> None:
    sign = 1 if direction == "higher" else -1
    differences = [sign * (mean + jitter) for jitter in (0.1, -0.1, 0.05, -0.05, 0.02)]
    (verdict,) = judge([Claim(effect(differences), direction, 0.5, kind=kind)])
    assert verdict.outcome == outcome
    assert verdict.reason.startswith(f"{words} (")


def test_simultaneous_intervals_are_bonferroni_and_holm_may_say_more() -> None:
    near = [-1.2, -0.2, -0.9, -1.1, -0.3]
    claims = [Claim(effect(near), "lower"), *[Claim(effect(BY_FIVE), "lower")] * 2]
    verdicts = judge(claims)
    wide = verdicts[0].simultaneous
    assert wide is not None
    half = stats.t.ppf(1 - 0.05 / 6, 4) * stats.sem(near)
    assert wide.high == pytest.approx(np.mean(near) + half)
    assert not holds_together(claims[0], replace(verdicts[0], outcome="supported"))
    assert holds_together(claims[1], verdicts[1])


def test_withdrawn_claims_stay_in_the_family() -> None:
    claim = Claim(effect(BY_FIVE), "lower", 0.5)
    (alone,), (with_one,) = judge([claim]), judge([claim], withdrawn=1)
    assert with_one.p_supported == pytest.approx(2 * (alone.p_supported or 0))
