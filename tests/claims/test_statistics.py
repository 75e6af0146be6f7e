from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ablate.claims.statistics import estimate, holm, paired

VALUES = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=9)


def test_interval_of_three_values_by_hand() -> None:
    # mean 2, deviation 1, t(0.975, 2) = 4.302653: half width 4.302653 / sqrt(3)
    found = estimate([1.0, 2.0, 3.0])
    assert (found.mean, found.n) == (2.0, 3)
    assert found.half_width == pytest.approx(2.484138, abs=1e-6)
    assert found.low == pytest.approx(2 - 2.484138, abs=1e-6)


def test_one_value_has_no_interval() -> None:
    found = estimate([7.1])
    assert (found.mean, found.low, found.high, found.half_width) == (7.1, None, None, None)
    assert found.note == "one seed: no interval"
    assert not found.excludes_zero


def test_no_value_is_no_number() -> None:
    found = estimate([math.nan, math.inf])
    assert (found.mean, found.n) == (None, 0)


def test_equal_values_have_an_interval_of_zero_width_and_say_so() -> None:
    found = estimate([7.1] * 4)
    assert (found.low, found.mean, found.high) == (7.1, 7.1, 7.1)
    assert "zero width" in found.note


@settings(max_examples=50, deadline=None)
@given(VALUES)
def test_interval_is_scipys(values: list[float]) -> None:
    if np.ptp(values) < 1e-6:
        return
    found = estimate(values)
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert found.low == pytest.approx(low, rel=1e-9, abs=1e-9)
    assert found.high == pytest.approx(high, rel=1e-9, abs=1e-9)


def test_paired_difference_by_hand() -> None:
    # differences -1, -2, -3: mean -2, deviation 1, so d_z -2 and t = -2 / (1/sqrt 3)
    found = paired({1: 4.0, 2: 5.0, 3: 6.0}, {1: 5.0, 2: 7.0, 3: 9.0})
    assert found.by_seed == {1: -1.0, 2: -2.0, 3: -3.0}
    assert found.difference.mean == -2.0
    assert found.d_z == pytest.approx(-2.0)
    assert found.p == pytest.approx(2 * stats.t.cdf(-2 * math.sqrt(3), 2))
    assert not found.difference.excludes_zero
    assert found.note == ""


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
    found = paired({1: 1.0, 2: 2.0, 3: math.nan, 4: 9.0}, {1: 2.0, 2: 4.0, 3: 5.0})
    assert found.by_seed == {1: -1.0, 2: -2.0}
    assert found.unpaired == (3, 4)
    assert found.note == "2 of 4 seeds have both runs"


def test_one_pair_and_no_pair_claim_nothing() -> None:
    one = paired({1: 1.0}, {1: 2.0})
    assert (one.difference.mean, one.p, one.d_z, one.difference.low) == (-1.0, None, None, None)
    none = paired({1: 1.0}, {2: 2.0})
    assert (none.difference.mean, none.p, none.difference.n) == (None, None, 0)


def test_differences_without_variation() -> None:
    # 7.3 - 7.1 and 0.3 - 0.1 differ in the last bits: rounding, not variation
    same = paired({1: 7.3, 2: 0.3}, {1: 7.1, 2: 0.1})
    assert same.difference.low == same.difference.high == pytest.approx(0.2)
    assert (same.p, same.d_z) == (0.0, None)
    zero = paired({1: 7.3, 2: 0.3}, {1: 7.3, 2: 0.3})
    assert (zero.difference.mean, zero.p) == (0.0, 1.0)
    assert not zero.difference.excludes_zero


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
