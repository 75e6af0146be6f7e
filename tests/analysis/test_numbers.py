from __future__ import annotations

import math

import pytest

from ablate.analysis import numbers
from ablate.analysis.statistics import Estimate


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
