from __future__ import annotations

import math
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ablate.analysis.statistics import estimate, holm, paired, sign_flip

VALUES = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=9)


def test_interval_of_three_values_by_hand() -> None:
    # mean 2, deviation 1, t(0.975, 2) = 4.302653: half width 4.302653 / sqrt(3)
    result = estimate([1.0, 2.0, 3.0])
    assert (result.mean, result.n) == (2.0, 3)
    assert result.half_width == pytest.approx(2.484138, abs=1e-6)
    assert result.low == pytest.approx(2 - 2.484138, abs=1e-6)


def test_one_value_has_no_interval() -> None:
    result = estimate([7.1])
    assert (result.mean, result.low, result.high, result.half_width) == (7.1, None, None, None)
    assert result.note == "one seed: no interval"
    assert not result.excludes_zero


def test_no_value_is_no_number() -> None:
    result = estimate([math.nan, math.inf])
    assert (result.mean, result.n) == (None, 0)


def test_equal_values_have_an_interval_of_zero_width_and_say_so() -> None:
    result = estimate([7.1] * 4)
    assert (result.low, result.mean, result.high) == (7.1, 7.1, 7.1)
    assert "zero width" in result.note


@settings(max_examples=50, deadline=None)
@given(VALUES)
def test_interval_is_scipys(values: list[float]) -> None:
    if np.ptp(values) < 1e-6:
        return
    result = estimate(values)
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert result.low == pytest.approx(low, rel=1e-9, abs=1e-9)
    assert result.high == pytest.approx(high, rel=1e-9, abs=1e-9)


def test_paired_difference_by_hand() -> None:
    # differences -1, -2, -3: mean -2, deviation 1, so d_z -2 and t = -2 / (1/sqrt 3)
    result = paired({1: 4.0, 2: 5.0, 3: 6.0}, {1: 5.0, 2: 7.0, 3: 9.0})
    assert result.by_seed == {1: -1.0, 2: -2.0, 3: -3.0}
    assert result.difference.mean == -2.0
    assert result.d_z == pytest.approx(-2.0)
    assert result.p == pytest.approx(2 * stats.t.cdf(-2 * math.sqrt(3), 2))
    assert not result.difference.excludes_zero
    assert result.note == ""


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(-100, 100), st.floats(-100, 100)), min_size=2, max_size=9))
def test_paired_p_is_scipys(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = dict(enumerate(p[0] for p in pairs)), dict(enumerate(p[1] for p in pairs))
    differences = [a - b for a, b in pairs]
    if np.std(differences) < 1e-6:
        return
    reference = stats.ttest_rel(list(ours.values()), list(theirs.values()))
    assert paired(ours, theirs).p == pytest.approx(reference.pvalue, rel=1e-6, abs=1e-12)


def test_pairs_are_the_common_seeds_and_it_says_how_many() -> None:
    result = paired({1: 1.0, 2: 2.0, 3: math.nan, 4: 9.0, 5: 1.0}, {1: 2.0, 2: 4.0, 3: 5.0, 5: math.inf})
    assert result.by_seed == {1: -1.0, 2: -2.0}
    assert result.unpaired == (3, 4, 5)
    assert result.note == "2 of 5 seeds have a score of both"


def test_one_pair_and_no_pair_claim_nothing() -> None:
    one = paired({1: 1.0}, {1: 2.0})
    assert (one.difference.mean, one.p, one.d_z, one.difference.low) == (-1.0, None, None, None)
    none = paired({1: 1.0, 3: math.nan}, {2: 2.0, 3: 2.0})
    assert (none.difference.mean, none.p, none.difference.n) == (None, None, 0)


def test_differences_without_variation() -> None:
    # 7.3 - 7.1 and 0.3 - 0.1 differ in the last bits: rounding, not variation
    same = paired({1: 7.3, 2: 0.3}, {1: 7.1, 2: 0.1})
    assert same.difference.low == same.difference.high == pytest.approx(0.2)
    zero = paired({1: 7.3, 2: 0.3}, {1: 7.3, 2: 0.3})
    assert zero.difference.mean == 0.0
    for result in (same, zero):  # no p, neither 0 nor 1
        assert (result.p, result.p_sign_flip, result.d_z) == (None, None, None)
        assert not result.difference.excludes_zero
        assert result.note == "the same value at every seed: an interval of zero width, no test"


def test_overlapping_training_sets_widen_the_interval() -> None:
    # differences 1, 2, 3: s = 1, n = 3; overlap 1/4 makes the variance 1/3 + 1/4 = 7/12 in place of 1/3
    scores = {1: 1.0, 2: 2.0, 3: 3.0}, dict.fromkeys((1, 2, 3), 0.0)
    result = paired(*scores, overlap=0.25)
    assert result.difference.standard_error == pytest.approx(math.sqrt(7 / 12))
    assert result.difference.half_width == pytest.approx(4.302653 * math.sqrt(7 / 12), abs=1e-6)
    assert result.p == pytest.approx(2 * stats.t.sf(2 / math.sqrt(7 / 12), 2))
    assert (result.overlap, result.d_z) == (0.25, paired(*scores).d_z)
    assert paired(*scores, overlap=0.0).p == paired(*scores).p


@pytest.mark.parametrize(
    ("differences", "share"),
    [
        ([1.0, 1.0, 1.0], 2 / 8),  # only all plus and all minus are as far
        ([3.0, 1.0, -1.0], 6 / 8),  # |sum| 3; all patterns but −3 or 3 with the ones against it: 5, 3, 3, 1
        ([1.0, -1.0], 1.0),
        ([2.0], 1.0),
        ([0.1] * 20, 2 / 2**20),
        ([], 1.0),
    ],
)
def test_sign_flip_by_hand(differences: list[float], share: float) -> None:
    assert sign_flip(np.array(differences)) == share


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=1, max_size=8))
def test_sign_flip_counts_every_pattern(differences: list[int]) -> None:
    # multiples of a tenth: ties that floating point does not see as ties
    values = np.array(differences) / 10
    patterns = list(product((1, -1), repeat=len(values)))
    as_far = [abs(sum(s * d for s, d in zip(p, differences, strict=True))) >= abs(sum(differences)) for p in patterns]
    assert sign_flip(values) == pytest.approx(sum(as_far) / len(patterns))


def test_sign_flip_of_many_differences_meets_its_normal_limit() -> None:
    values = np.random.default_rng(0).normal(0.3, 1, 60)
    exact, limit = sign_flip(values[:30]), 2 * stats.norm.sf(abs(values[:30].sum()) / np.sqrt((values[:30] ** 2).sum()))
    assert exact == pytest.approx(limit, abs=0.01)
    many = sign_flip(values)
    assert many == pytest.approx(stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=20_000, rng=1
    ).pvalue, abs=0.01)  # fmt: skip


def test_holm_by_hand() -> None:
    # sorted .01 .02 .04 times 3 2 1 = .03 .04 .04
    assert holm([0.04, 0.01, None, 0.02]) == pytest.approx([0.04, 0.03, None, 0.04])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_lowers_a_p_and_keeps_their_order(p_values: list[float]) -> None:
    adjusted = [p for p in holm(p_values) if p is not None]
    assert all(a >= p for a, p in zip(adjusted, p_values, strict=True))
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    assert all(adjusted[a] <= adjusted[b] for a, b in pairwise(order))
