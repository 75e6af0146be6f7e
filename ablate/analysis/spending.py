"""Boundaries of a t-test at several looks: how small a p must be at each look. Numbers in, numbers out.

A one-sided test at level α is done at several numbers of seeds. Its spending function says how much of α may be used up
by each look; the level of a look is what then remains for it, given that no look before it has crossed.

The levels are those of Gaussian differences with an unknown standard deviation. Published boundaries are of a known
one, which the levels approach with many seeds; applied to the p values of t-tests (S. J. Pocock, Biometrika 64, 1977)
they make up to 12 % more false claims than they say where looks follow each other from 5 to 10 seeds, measured.

Sources: K. K. G. Lan, D. L. DeMets, "Discrete sequential boundaries for clinical trials", Biometrika 70 (1983);
C. Jennison, B. W. Turnbull, "Group Sequential Methods with Applications to Clinical Trials" (2000), chapters 2, 7
and 9; P. Armitage, C. K. McPherson, B. C. Rowe, J. R. Stat. Soc. A 132 (1969), for the integration look by look.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from ablate.study import Spending, Study

if TYPE_CHECKING:
    from scipy import interpolate

NAMES: dict[Spending, str] = {"obrien-fleming": "O'Brien–Fleming", "pocock": "Pocock"}
EDGES = np.linspace(-8.0, 8.0, 241)  # of the cells of a statistic, as the normal quantile of its p
CENTRES = (EDGES[1:] + EDGES[:-1]) / 2
QUANTILES = 16  # of the share of the squares that comes from earlier seeds
# of the whole test, for which repeated p values are tabulated; above, every p counts as 1 and decides nothing
ALPHAS = (1e-9, 0.3)
POINTS = 40


@dataclass(frozen=True)
class Looks:
    """The numbers of seeds at which a study is looked at, in order, and how its error is spent over them."""

    seeds: tuple[int, ...]
    spending: Spending

    def spent(self, alpha: float) -> list[float]:
        """The part of α that may be used up by each look."""
        return [spent(self.spending, alpha, seeds / self.seeds[-1]) for seeds in self.seeds]

    def levels(self, alpha: float) -> list[float]:
        """The largest one-sided p that decides at each look, for a test at level α over all looks."""
        return [float(special.ndtr(-z)) for z in _boundaries(self, alpha)]

    def repeated_p(self, look: int, p: float) -> float:
        """The smallest level α over all looks at which a one-sided `p` at this look, counted from 0, decides.

        The smallest over the looks so far is a p value whatever the look at which a study stops, so that Holm's
        correction of these decides as the boundaries do (W. Maurer, F. Bretz, Stat. Biopharm. Res. 5, 2013).
        """
        if p <= 0:
            return 0.0
        z = -float(special.ndtri(p))
        inverse, (lowest, highest) = _inverse(self)[look]
        if z < lowest:
            return 1.0
        return float(special.ndtr(-inverse(min(z, highest))))


def looks_of(study: Study) -> Looks | None:
    """The looks that the study has planned."""
    return None if study.stopping is None else Looks(tuple(study.stopping.looks), study.stopping.spending)


def spent(spending: Spending, alpha: float, share: float) -> float:
    """The part of a one-sided α that may be used up when `share` of the seeds are there (Lan and DeMets 1983)."""
    if spending == "pocock":
        return alpha * math.log1p((math.e - 1) * share)
    return 2 * float(special.ndtr(special.ndtri(alpha / 2) / math.sqrt(share)))


def crossing(seeds: Sequence[int], boundaries: Sequence[float]) -> list[float]:
    """The probability that the statistic crosses its upper boundary first at each look, without a true difference.

    `boundaries` are quantiles of the normal distribution: −Φ⁻¹ of the levels.
    """
    found, masses = [], np.empty(0)
    for index, z in enumerate(boundaries):
        above = _first(EDGES) if index == 0 else masses @ _above(seeds[index - 1], seeds[index])
        found.append(float(np.exp(np.interp(z, EDGES, np.log(np.maximum(above, 5e-324))))))
        masses = _below(above, z, found[-1])
    return found


@lru_cache(maxsize=1000)
def _boundaries(looks: Looks, alpha: float) -> tuple[float, ...]:
    """The boundary of each look, as a quantile of the normal distribution."""
    boundaries: list[float] = []
    masses = np.empty(0)
    for index, budget in enumerate(np.diff([0.0, *looks.spent(alpha)]).tolist()):
        if index == 0:
            above, z = _first(EDGES), -float(special.ndtri(budget))
        else:
            above = masses @ _above(looks.seeds[index - 1], looks.seeds[index])
            z = float(np.interp(math.log(budget), np.log(np.maximum(above, 5e-324))[::-1], EDGES[::-1]))
        boundaries.append(z)
        masses = _below(above, z, budget)
    return tuple(boundaries)


def _first(edges: np.ndarray) -> np.ndarray:
    """The probability that the statistic of the first look is above each edge."""
    return special.ndtr(-edges)


def _below(above: np.ndarray, z: float, crossed: float) -> np.ndarray:
    """The probabilities (cells,) of a statistic that stayed below z, from those of being above each edge.

    The cell that z cuts is shared with its neighbour, so that the mean of its part stays where it is.
    """
    masses = np.maximum(-np.diff(above), 0.0)
    cut = int(np.searchsorted(EDGES, z)) - 1
    if not 1 <= cut < len(masses):
        return masses
    part = max(0.0, above[cut] - crossed)
    masses[cut:] = 0.0
    moved = (CENTRES[cut] - (EDGES[cut] + z) / 2) / (EDGES[1] - EDGES[0])
    masses[cut - 1] += part * moved
    masses[cut] = part * (1 - moved)
    return masses


@lru_cache(maxsize=64)
def _above(before: int, now: int) -> np.ndarray:
    """The probability (cells, edges) that the statistic of `now` seeds is above an edge, given that of `before`.

    Without a true difference the differences x of the seeds are a random direction, and t depends on the angle between
    x and the vector of ones alone. Of the sum of squares of all seeds, the earlier ones and the direction of the ones
    among the new ones have a share; the latter is B², and `first` the former's share in the rest.
    """
    more = now - before
    nodes, weights = np.polynomial.legendre.leggauss(QUANTILES)
    first = special.betaincinv(before / 2, (more - 1) / 2, (nodes + 1) / 2) if more > 1 else np.ones(1)
    weights = weights / 2 if more > 1 else np.ones(1)
    cosine, sine = (each[:, None, None] for each in _angle(CENTRES, before))
    next_cosine, next_sine = (each[None, :, None] for each in _angle(EDGES, now))
    # Σx / √Σx² of all seeds is length · sin(θ + turn), with B = sin θ
    turn = np.arctan2(np.sqrt(before * first) * cosine, math.sqrt(more))
    rest = now * next_sine**2 - before * (1 - first + first * sine**2)  # length² − (what is to be exceeded)²
    start = np.arctan2(math.sqrt(now) * next_cosine, np.sqrt(np.maximum(rest, 0.0)))
    inside = _below_angle(math.pi - start - turn, now) - _below_angle(start - turn, now)
    exceeded = np.where(rest > 0, inside, np.where(next_cosine < 0, 1.0, 0.0))
    return np.asarray(np.clip(exceeded, 0.0, 1.0) @ weights)


def _angle(z: np.ndarray, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine of the angle to the vector of ones where the t-test of so many seeds has the p of z."""
    t = -np.sign(z) * special.stdtrit(seeds - 1, special.ndtr(-np.abs(z)))
    length = np.hypot(t, math.sqrt(seeds - 1))
    return t / length, math.sqrt(seeds - 1) / length


def _below_angle(angle: np.ndarray, seeds: int) -> np.ndarray:
    """The probability that the coordinate sin θ of a random direction among so many has θ below the angle."""
    inner = np.clip(angle, -math.pi / 2, math.pi / 2)
    return np.asarray(special.stdtr(seeds - 1, math.sqrt(seeds - 1) * np.tan(inner)))


@lru_cache(maxsize=64)
def _inverse(looks: Looks) -> list[tuple[interpolate.PchipInterpolator, tuple[float, float]]]:
    """For each look a function from its boundary to that of the whole test, and the range of the former."""
    from scipy import interpolate  # a quarter of what `ablate judge` would import, for studies with looks alone

    whole = np.linspace(-special.ndtri(ALPHAS[1]), -special.ndtri(ALPHAS[0]), POINTS)
    boundaries = np.array([_boundaries(looks, float(special.ndtr(-z))) for z in whole])
    return [
        (interpolate.PchipInterpolator(column, whole), (float(column[0]), float(column[-1]))) for column in boundaries.T
    ]
