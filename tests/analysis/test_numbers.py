from __future__ import annotations

import math

import pytest

from ablate.analysis import numbers
from ablate.analysis.statistics import Estimate, paired


def around(mean: float, half: float) -> Estimate:
    return Estimate(mean, mean - half, mean + half, 3)


@pytest.mark.parametrize(
    ("half", "fine", "coarse"), [(0.21, 2, 2), (0.41, 2, 1), (3.2, 1, 1), (4.1, 1, 0), (25.0, 0, 0), (0.004, 4, 3)]
)
def test_decimals_follow_the_uncertainty(half: float, fine: int, coarse: int) -> None:
    assert numbers.decimals_for([around(7, half)]) == fine
    assert numbers.decimals_for([around(7, half)], coarse=True) == coarse


def test_decimals_without_any_interval() -> None:
    assert numbers.decimals_for([Estimate(7.123, None, None, 1)]) == 2
    assert numbers.decimals_for([Estimate(0.0, 0.0, 0.0, 3)]) == 2
    assert numbers.decimals_for([]) == 2


@pytest.mark.parametrize(
    ("mean", "half", "score", "difference"),
    [
        (1.394e-9, 2.1e-10, "1.39e-09 ± 2.1e-10", "+1.39e-09 [+1.18e-09, +1.60e-09]"),
        (-2.1e-11, 4e-12, "−2.10e-11 ± 4.0e-12", "−2.10e-11 [−2.50e-11, −1.70e-11]"),
        (1.394e13, 2.1e12, "1.39e+13 ± 2.1e+12", "+1.39e+13 [+1.18e+13, +1.60e+13]"),
        (0.0, 2.1e-9, "0 ± 2.1e-09", "0 [−2.1e-09, +2.1e-09]"),
        (9e-5, 3e-5, "0.000090 ± 0.000030", "+0.000090 [+0.000060, +0.000120]"),
        (123456.0, 300.0, "123456 ± 300", "+123456 [+123156, +123756]"),
    ],
)
def test_very_small_and_very_large_numbers_have_powers_of_ten(
    mean: float, half: float, score: str, difference: str
) -> None:
    estimate = around(mean, half)
    decimals = numbers.decimals_for([estimate])
    assert numbers.score(estimate, decimals) == score
    assert numbers.difference(estimate, decimals) == difference


def test_a_small_number_among_large_ones_is_rounded_as_they_are() -> None:
    assert numbers.decimals_for([around(7, 0.2), around(1e-9, 1e-10)]) == 6
    assert numbers.decimals_for([around(1e-9, 1e-10), around(2e-9, 1e-10)]) == 11


def test_a_name_is_written_as_it_is() -> None:
    assert numbers.capital("nnU-Net is better") == "nnU-Net is better"
    assert numbers.capital("mAP") == "mAP"
    assert numbers.capital("it is better") == "It is better"


def test_signs_and_gaps() -> None:
    assert numbers.signed(0.412, 2) == "+0.41"
    assert numbers.signed(-0.412, 2) == "−0.41"
    assert numbers.signed(-0.001, 2) == "0.00"
    assert numbers.number(math.nan, 2) == numbers.number(None, 2) == "–"
    assert numbers.difference(Estimate(-0.4, -0.7, -0.1, 7), 1) == "−0.4 [−0.7, −0.1]"
    assert numbers.difference(Estimate(-0.4, None, None, 1), 1) == "−0.4"
    assert numbers.score(around(7.1, 0.21), 2) == "7.10 ± 0.21"


def test_counts_read_as_the_seed_writes_them() -> None:
    assert numbers.count(2_214_663) == "2.2M"
    assert numbers.signed_count(4_768_768) == "+4.8M"
    assert numbers.signed_count(-12_000) == "−12.0k"
    assert numbers.signed_count(0) == "0"
    assert numbers.count(999_999) == "1.0M"
    assert numbers.count(None) == "–"


def test_units_and_times() -> None:
    assert numbers.with_unit("7.1", "deg") == "7.1°"
    assert numbers.with_unit("7.1", "mm") == "7.1 mm"
    assert numbers.seconds(48.04) == "48.0 s"
    assert numbers.seconds(192) == "3.2 min"
    assert numbers.seconds(5400) == "1.5 h"
    assert numbers.p_value(0.0000001) == "< 0.001"


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (0.22, 2, "0.22"),
        (0.004, 2, "0.004"),
        (-0.0049, 1, "−0.005"),
        (0.0, 2, "0.00"),
        (2e-9, 2, "2e-09"),
        (-2e-9, 2, "−2e-09"),
        (None, 2, "–"),
    ],
)
def test_an_end_of_an_interval_reads_zero_only_where_it_is(value: float | None, decimals: int, text: str) -> None:
    assert numbers.end(value, decimals) == text


def test_an_interval_that_excludes_zero_shows_it() -> None:
    assert numbers.interval(Estimate(0.11, 0.004, 0.22, 5), 2) == "[+0.004, +0.22]"
    assert numbers.interval(Estimate(-0.11, -0.22, -0.004, 5), 2) == "[−0.22, −0.004]"
    assert numbers.interval(Estimate(0.11, 0.0, 0.22, 5), 2) == "[0.00, +0.22]"


@pytest.mark.parametrize(
    ("p", "text"), [(0.05, "0.050"), (0.0502, "0.0502"), (0.0496, "0.0496"), (0.0511, "0.051"), (0.0002, "< 0.001")]
)
def test_a_p_near_the_limit_says_on_which_side_it_is(p: float, text: str) -> None:
    assert numbers.p_value(p) == text


def test_a_sign_flip_p_says_where_it_could_not_be_smaller() -> None:
    def text(*gaps: float) -> str:
        return numbers.sign_flip_p(paired(dict(enumerate(gaps)), dict.fromkeys(range(len(gaps)), 0.0)))

    assert text(0.1, 0.2, 0.3, 0.15, 0.12) == "0.062 (smallest possible)"
    assert text(0.1, 0.2, 0.3, 0.15, -0.12) == "0.188"
    assert text(*[0.1, 0.2] * 20) == "< 0.001"  # by the normal approximation, which has no floor
