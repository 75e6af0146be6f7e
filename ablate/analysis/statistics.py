"""Means over seeds, paired differences and their intervals. Numbers in, numbers out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

CONFIDENCE = 0.95
ALPHA = 0.05
# A spread below this share of the values is rounding, not variation: 7.3 − 7.1 and 8.3 − 8.1 differ in their last bits.
ROUNDING = 1e-12
EXACT_PAIRS = 30  # most pairs of the exact sign-flip test: its time and memory grow as 2^(n/2)
TIE = 1e-9  # sums of differences that are closer than this share of their size are taken as equal


@dataclass(frozen=True)
class Estimate:
    """A mean with its two-sided t interval.

    `low`, `high` and `standard_error` are None when fewer than two values give no interval; `mean` is None when there
    is no value. Without any variation the interval has zero width, and `note` is not empty. `degrees`: degrees of
    freedom of its t where they are not n − 1.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int
    note: str = ""
    standard_error: float | None = None
    degrees: float | None = None

    @property
    def degrees_of_freedom(self) -> float:
        return self.n - 1 if self.degrees is None else self.degrees

    @property
    def half_width(self) -> float | None:
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    @property
    def excludes_zero(self) -> bool:
        """Always False for an interval of zero width: values without variation do not show their spread."""
        if self.low is None or self.high is None or self.low == self.high:
            return False
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Effect:
    """The paired difference of two arms in one metric: arm minus against, seed by seed.

    `p` is the two-sided paired t-test, `p_sign_flip` the exact two-sided sign-flip test of the same differences (a
    check of how much `p` depends on the normal distribution), `d_z` the mean difference over the standard deviation of
    the differences. All three are None with fewer than two pairs or with differences without variation. `unpaired`:
    seeds with a score of only one arm, which are left out. `overlap`: see `estimate`; the interval and `p` use it.
    """

    difference: Estimate
    by_seed: Mapping[int, float]
    p: float | None
    d_z: float | None
    unpaired: tuple[int, ...] = ()
    p_sign_flip: float | None = None
    overlap: float | None = None

    @property
    def note(self) -> str:
        """What is unusual about this difference, in words; empty when nothing is."""
        n = self.difference.n
        pairs = f"{n} of {n + len(self.unpaired)} seeds have a score of both" if self.unpaired else ""
        return "; ".join(part for part in (pairs, self.difference.note) if part)


def estimate(values: Sequence[float], *, overlap: float | None = None, of: str = "seed") -> Estimate:
    """Mean and t interval of independent values; values that are not finite are left out.

    The t interval keeps its nominal coverage from n = 3 on, where bootstraps of so few values fall to 0.75–0.86.
    `overlap` = test examples over training examples, when every value has its own split of the same people: the
    values then share training examples, and the variance of their mean is (1/n + overlap)·s² instead of s²/n.
    `of` is the word in `note` for what one value belongs to.

    Source: C. Nadeau, Y. Bengio, "Inference for the Generalization Error", Machine Learning 52 (2003), section 3.
    """
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    n = len(finite)
    if n == 0:
        return Estimate(None, None, None, 0, "no value")
    mean = float(finite.mean())
    if n == 1:
        return Estimate(mean, None, None, 1, f"one {of}: no interval")
    if np.ptp(finite) <= ROUNDING * np.abs(finite).max():
        note = f"the same value at every {of}: an interval of zero width, no test"
        return Estimate(mean, mean, mean, n, note, 0.0)
    error = float(finite.std(ddof=1)) * math.sqrt(1 / n + (overlap or 0.0))
    half = float(special.stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * error
    return Estimate(mean, mean - half, mean + half, n, "", error)


def paired(arm: Mapping[int, float], against: Mapping[int, float], *, overlap: float | None = None) -> Effect:
    """The effect over the seeds that both arms have. `arm` and `against` map seed → score; `overlap`: see `estimate`.

    Fewer than two pairs, or differences without any variation, have no p: the t-test would give 0 or 1. The sign-flip
    p ignores `overlap`.
    """
    ours, theirs = _scored(arm), _scored(against)
    common = [seed for seed in arm if seed in ours and seed in theirs]
    scale = max((abs(value[seed]) for value in (ours, theirs) for seed in common), default=0.0)
    by_seed = {seed: ours[seed] - theirs[seed] for seed in common}
    unpaired = tuple(sorted({*arm, *against} - set(common)))
    values = _without_rounding(np.array(list(by_seed.values()), dtype=float), scale)
    difference = estimate(values.tolist(), overlap=overlap)
    if not difference.standard_error or difference.mean is None:
        return Effect(difference, by_seed, None, None, unpaired, None, overlap)
    p = float(2 * special.stdtr(len(values) - 1, -abs(difference.mean / difference.standard_error)))
    d_z = difference.mean / float(values.std(ddof=1))
    return Effect(difference, by_seed, p, d_z, unpaired, sign_flip(values), overlap)


def sign_flip(differences: np.ndarray) -> float:
    """Two-sided p of the sign-flip test: the share of all 2ⁿ sign patterns with a mean as far from 0 as the observed.

    Exact up to 30 differences (n,): the signed sums of each half are listed and paired by a sorted search, so that 2ⁿ
    patterns take about 2^(n/2) steps. With more, the normal approximation of Σd / √Σd². Never below 2/2ⁿ. 1 for NaN
    and without differences.
    """
    total, size = abs(float(differences.sum())), float(np.abs(differences).sum())
    n = len(differences)
    if not size > 0:
        return 1.0
    if n > EXACT_PAIRS:
        return float(2 * special.ndtr(-total / math.sqrt(float((differences**2).sum()))))
    left, right = _signed_sums(differences[: n // 2]), np.sort(_signed_sums(differences[n // 2 :]))
    below = np.searchsorted(right, total - TIE * size - left)  # for each left sum, how many right sums are too small
    as_far = left.size * right.size - int(below.sum())
    return min(1.0, 2 * as_far / 2.0**n)  # by symmetry as many patterns lie as far on the other side


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjustment of several p values; None stays None and is not counted.

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6 (1979).
    """
    order = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, index) in enumerate(order):
        highest = max(highest, min(1.0, p * (len(order) - rank)))
        adjusted[index] = highest
    return adjusted


def _signed_sums(values: np.ndarray) -> np.ndarray:
    """The 2ⁿ sums of the values (n,) under every pattern of signs."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def _scored(scores: Mapping[int, float]) -> dict[int, float]:
    return {seed: score for seed, score in scores.items() if math.isfinite(score)}


def _without_rounding(differences: np.ndarray, scale: float) -> np.ndarray:
    """Sets differences to one value where their spread is only rounding of the scores, whose size is `scale`."""
    if len(differences) and np.ptp(differences) <= ROUNDING * scale:
        mean = float(differences.mean())
        return np.full_like(differences, 0.0 if abs(mean) <= ROUNDING * scale else mean)
    return differences
