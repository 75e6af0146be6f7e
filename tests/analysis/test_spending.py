"""Boundaries of several looks against published tables, and against simulated t-tests of few seeds."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import special

from ablate.analysis.spending import Looks, crossing
from ablate.study import Spending

MANY = tuple(2000 * look for look in range(1, 6))  # so many seeds that t is normal, as in the tables


def quantiles(looks: Looks, alpha: float) -> list[float]:
    return [-float(special.ndtri(level)) for level in looks.levels(alpha)]


@pytest.mark.parametrize(
    ("spending", "published"),
    [
        ("obrien-fleming", [4.8769, 3.3569, 2.6803, 2.2898, 2.0310]),
        ("pocock", [2.4380, 2.4268, 2.4101, 2.3966, 2.3859]),
    ],
)
def test_five_equal_looks_by_spending(spending: Spending, published: list[float]) -> None:
    """Two-sided 5 %, as the program of Reboussin, DeMets, Kim and Lan (LanDeMets) gives them."""
    assert quantiles(Looks(MANY, spending), 0.025) == pytest.approx(published, abs=1e-3)


@pytest.mark.parametrize(("looks", "constant"), [(2, 2.178), (3, 2.289), (4, 2.361), (5, 2.413)])
def test_pocock_constants(looks: int, constant: float) -> None:
    """Jennison and Turnbull 2000, table 2.1: two-sided 5 %."""
    assert sum(crossing(MANY[:looks], [constant] * looks)) == pytest.approx(0.025, abs=1e-4)


@pytest.mark.parametrize(("looks", "constant"), [(2, 1.977), (3, 2.004), (4, 2.024), (5, 2.040)])
def test_obrien_fleming_constants(looks: int, constant: float) -> None:
    """Jennison and Turnbull 2000, table 2.3: two-sided 5 %."""
    boundaries = [constant * (looks / k) ** 0.5 for k in range(1, looks + 1)]
    assert sum(crossing(MANY[:looks], boundaries)) == pytest.approx(0.025, abs=1e-4)


@pytest.mark.parametrize("spending", ["obrien-fleming", "pocock"])
@pytest.mark.parametrize("seeds", [(5, 8, 12), (5, 6, 7, 8), (5, 10), (5, 6, 40, 41)])
def test_levels_of_few_seeds_hold_in_simulated_t_tests(spending: Spending, seeds: tuple[int, ...]) -> None:
    looks, alpha, studies = Looks(seeds, spending), 0.1, 100_000
    values = np.random.default_rng(1).standard_normal((studies, seeds[-1])).astype("float32")
    crossed = np.zeros(studies, dtype=bool)
    for n, level in zip(seeds, looks.levels(alpha), strict=True):
        t = values[:, :n].mean(1) / values[:, :n].std(1, ddof=1) * n**0.5
        crossed |= special.stdtr(n - 1, -np.abs(t).astype(float)) <= level  # either side, which are alike
    assert crossed.mean() / 2 == pytest.approx(alpha, abs=0.003)
    assert sum(crossing(seeds, quantiles(looks, alpha))) == pytest.approx(alpha, rel=2e-3)


@pytest.mark.parametrize("spending", ["obrien-fleming", "pocock"])
def test_everything_is_spent_and_no_look_is_easier_at_a_smaller_level(spending: Spending) -> None:
    looks = Looks((5, 8, 12), spending)
    assert looks.spent(0.05)[-1] == pytest.approx(0.05)
    assert looks.levels(0.05)[0] == pytest.approx(looks.spent(0.05)[0])
    for smaller, larger in pairwise(looks.levels(alpha) for alpha in np.geomspace(1e-8, 0.29, 12)):
        assert all(a < b for a, b in zip(smaller, larger, strict=True))


@pytest.mark.parametrize("spending", ["obrien-fleming", "pocock"])
def test_repeated_p_is_the_level_that_just_decides(spending: Spending) -> None:
    looks = Looks((5, 8, 12), spending)
    for alpha in (0.05, 0.025, 0.05 / 12, 1e-5):
        for look, level in enumerate(looks.levels(alpha)):
            assert looks.repeated_p(look, level) == pytest.approx(alpha, rel=2e-3)
    assert looks.repeated_p(0, 0.0) == 0.0
    assert looks.repeated_p(0, 0.4) == looks.repeated_p(2, 1.0) == 1.0
