# Question:    How often does a study call a difference between arms that have none, when tuning belongs to the study?
# Command:     python benchmarks/calibration_tuning.py
# Cost:        six minutes on a CPU core that is shared with other work
# Expectation: with a tuning for every seed no more than 5 % of studies make a false claim and 93–97 % of the intervals
#              hold the difference between the procedures; with one tuning of an arm far more do, the more the more
#              seeds. Exit code 1 when a gate of the way that is the default fails.
"""Simulate the whole pipeline, tuning and then the comparison over seeds, with arms whose truth is known.

    python benchmarks/calibration_tuning.py [--studies 4000] [--quick] [--json]

One setting x is tuned, its space is 0 to 1. A run with the setting x has the score  c (x - x*)² + noise  on test data,
in degrees, lower is better, and on validation the same with noise of its own. In the unit of the stored studies:

- one trial's noise on validation is 0.078°, one run's noise on test data is 0.065° (the spread of a difference between
  two arms at fixed settings is then 0.09°, as in the committed studies);
- all trials of an arm share the one validation set, whose own preference is a slope in x, with a spread of 0.078° over
  the space, drawn for every arm and study: more seeds do not remove it;
- the curvature c is 1.5°, so that the edges of the space lose 0.4°; it was chosen so that one tuning of an arm at four
  spread settings makes about as many false claims with seven seeds (20 % with one hypothesis, 27 % with three) as four
  trials did in a simulation from the stored runs (21 %). A half and a quarter of it are simulated too.

What is estimated is the expected difference between two procedures, each tuned on its validation set with this budget
and then trained, over seeds and tunings. Arms with equal optima differ by nothing else than their validation set's
preference. Of arms with shifted optima (x* = 0.3 and 0.7, the same best score) one may win by the budget alone: that
bias is printed. `halving` tries twice as many settings at a third of the epochs, where the optimum lies 0.1 higher and
the noise is half as large again, and goes on with the best third.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import calibration_options
import numpy as np
from scipy import special, stats

ALPHA = 0.05
Z = 2.33  # Monte-Carlo error allowed above 5 % of studies: one in a hundred honest runs would exceed it
COVERAGE = (0.93, 0.97)
CURVATURE, CURVATURES = 1.5, (1.0, 0.5, 0.25)
TRIAL_NOISE, RUN_NOISE, SHARED_NOISE = 0.078, 0.065, 0.078  # degrees
SEEDS, HYPOTHESES = (5, 7, 10, 20), (1, 3, 6, 12)
GAIN = 0.15  # degrees: what power is the chance to find
AS_WRITTEN, NEAR = 0.6, 0.05  # where the first trial of TPE lies, and how near the next ones do
SHIFTED = (0.3, 0.7)
CHUNK = 250  # studies at a time, for memory
BITS = 30
TUNINGS = 400_000  # of which an expected score is the mean, over all the preferences that it is computed for


def points(rng: np.random.Generator, trials: int, shape: tuple[int, ...]) -> np.ndarray:
    """The first points of a scrambled van der Corput sequence, which is Sobol's in one dimension: (*shape, trials)."""
    whole = np.array([int(f"{i:0{BITS}b}"[::-1], 2) for i in range(trials)])
    scramble = rng.integers(0, 2**BITS, (*shape, 1))
    return np.asarray(np.bitwise_xor(whole, scramble) / 2.0**BITS)


@dataclass(frozen=True)
class Surface:
    """Of one or of several arms; arrays broadcast with (studies, arms, tunings)."""

    curvature: float
    optimum: np.ndarray
    slope: np.ndarray  # the preference of the validation set

    def truth(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.curvature * (x - self.optimum) ** 2)

    def seen(
        self, rng: np.random.Generator, x: np.ndarray, runs: int = 1, shift: float = 0.0, noise: float = 1.0
    ) -> np.ndarray:
        """Scores on validation, the mean of so many runs; x: (studies, arms, tunings, trials)."""
        true = self.curvature * (x - self.optimum[..., None] - shift) ** 2 + self.slope[..., None] * (x - 0.5)
        return np.asarray(true + noise * TRIAL_NOISE / math.sqrt(runs) * rng.standard_normal(true.shape))


@dataclass(frozen=True)
class Way:
    """A way of tuning. `cost`: of one tuning, in trainings of full length."""

    name: str
    cost: float
    choose: Callable[[np.random.Generator, Surface, tuple[int, ...]], np.ndarray]  # x for (studies, arms, tunings)
    per_seed: bool = True
    gated: bool = False


def picked(x: np.ndarray, seen: np.ndarray) -> np.ndarray:
    best = np.argmin(seen, axis=-1)[..., None]
    return np.take_along_axis(np.broadcast_to(x, seen.shape), best, -1)[..., 0]


def untuned(rng: np.random.Generator, surface: Surface, shape: tuple[int, ...]) -> np.ndarray:
    return np.full(shape, AS_WRITTEN)


def qmc(trials: int, runs: int = 1) -> Callable[[np.random.Generator, Surface, tuple[int, ...]], np.ndarray]:
    """The same points for all arms of a study and seed; every trial is the mean of so many runs."""

    def choose(rng: np.random.Generator, surface: Surface, shape: tuple[int, ...]) -> np.ndarray:
        studies, _, tunings = shape
        x = np.broadcast_to(points(rng, trials, (studies, 1, tunings)), (*shape, trials))
        return picked(x, surface.seen(rng, x, runs))

    return choose


def tpe(trials: int) -> Callable[[np.random.Generator, Surface, tuple[int, ...]], np.ndarray]:
    """What TPE did in the stored runs: first as written, then in 32 of 37 cases within 15 % of what was best so far."""

    def choose(rng: np.random.Generator, surface: Surface, shape: tuple[int, ...]) -> np.ndarray:
        best = np.full(shape, AS_WRITTEN)
        value = surface.seen(rng, best[..., None])[..., 0]
        for _ in range(trials - 1):
            near = np.clip(best + NEAR * rng.uniform(-1, 1, shape), 0, 1)
            x = np.where(rng.random(shape) < 32 / 37, near, rng.random(shape))
            new = surface.seen(rng, x[..., None])[..., 0]
            best, value = np.where(new < value, x, best), np.minimum(new, value)
        return best

    return choose


def halving(trials: int, kept: int) -> Callable[[np.random.Generator, Surface, tuple[int, ...]], np.ndarray]:
    """All trials at a third of the epochs, the best of them in full."""

    def choose(rng: np.random.Generator, surface: Surface, shape: tuple[int, ...]) -> np.ndarray:
        studies, _, tunings = shape
        x = np.broadcast_to(points(rng, trials, (studies, 1, tunings)), (*shape, trials))
        order = np.argsort(surface.seen(rng, x, shift=0.1, noise=1.5), axis=-1)[..., :kept]
        left = np.take_along_axis(x, order, -1)
        return picked(left, surface.seen(rng, left))

    return choose


WAYS = (
    Way("no tuning, same settings", 0, untuned),
    Way("arm: TPE, 4 trials, first as written", 4, tpe(4), per_seed=False),
    Way("arm: TPE, 6 trials, first as written", 6, tpe(6), per_seed=False),
    Way("arm: 4 points", 4, qmc(4), per_seed=False),
    Way("arm: 4 points × 3 tuning seeds", 12, qmc(4, 3), per_seed=False),
    Way("arm: 16 points × 3 tuning seeds", 48, qmc(16, 3), per_seed=False),
    Way("seed: 2 points", 2, qmc(2), gated=True),
    Way("seed: 3 points", 3, qmc(3), gated=True),
    Way("seed: 4 points", 4, qmc(4), gated=True),
    Way("seed: 8 points", 8, qmc(8), gated=True),
    Way("seed: halving, 6 at a third, 2 in full", 4, halving(6, 2), gated=True),
)


@dataclass(frozen=True)
class Cell:
    """Shares in one way of tuning, curvature, number of seeds and of hypotheses."""

    way: str
    curvature: float
    seeds: int
    hypotheses: int
    studies: int
    runs: float  # trainings of full length for each arm, tuning included
    false_claims: float  # of studies: any `supported` or `refuted`
    coverage: float  # of the difference between the procedures, by single 95 % intervals
    power: float  # of finding a gain of GAIN, of one of the hypotheses
    width: float  # degrees: half an interval's, mean
    failures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shifted:
    """Arms with the same best score at different settings: what their difference at this budget is."""

    way: str
    curvature: float
    bias: float  # degrees: the expected difference between the two procedures, 0 at an endless budget
    loss: float  # degrees: what the procedures lose to the best setting, mean of both
    false_claims: float  # of studies with ten seeds and one hypothesis: any claim of a difference


def one_sided(differences: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """p below 0 and p above 0, means and half widths of 95 % intervals, over the last axis."""
    n = differences.shape[-1]
    mean, error = differences.mean(-1), differences.std(-1, ddof=1) / math.sqrt(n)
    t = mean / error
    return special.stdtr(n - 1, t), special.stdtr(n - 1, -t), mean, float(stats.t.ppf(0.975, n - 1)) * error


def rejected(p: np.ndarray) -> np.ndarray:
    """Holm's rejections at 5 % along the last axis, as `verdicts.judge` makes them."""
    tests = p.shape[-1]
    order = np.argsort(p, -1)
    in_order = np.take_along_axis(p, order, -1)
    holds = np.logical_and.accumulate(in_order * (tests - np.arange(tests)) <= ALPHA, axis=-1)
    found = np.zeros(p.shape, dtype=bool)
    np.put_along_axis(found, order, holds, -1)
    return found


def scores(rng: np.random.Generator, way: Way, surface: Surface, studies: int, seeds: int) -> np.ndarray:
    """Test scores (studies, arms, seeds) of arms that are tuned in this way."""
    arms = surface.optimum.shape[1]
    x = way.choose(rng, surface, (studies, arms, seeds if way.per_seed else 1))
    true = np.broadcast_to(surface.truth(x), (studies, arms, seeds))
    return true + RUN_NOISE * rng.standard_normal((studies, arms, seeds))


def expected(rng: np.random.Generator, way: Way, curvature: float, optimum: float, slopes: np.ndarray) -> np.ndarray:
    """The expected score of the procedure on validation sets with these preferences, over tunings and seeds."""
    surface = Surface(curvature, np.full((1, 1, 1), optimum), slopes[:, None, None])
    x = way.choose(rng, surface, (len(slopes), 1, TUNINGS // len(slopes)))
    return np.asarray(surface.truth(x).mean(axis=(1, 2)))


def simulate(way: Way, curvature: float, studies: int, seed: int = 0) -> Iterator[Cell]:
    """Studies of identical arms, the first of them the baseline, in all numbers of seeds and hypotheses.

    The numbers share studies: those with fewer seeds and hypotheses are parts of those with more.
    """
    rng = np.random.default_rng([seed, WAYS.index(way), int(100 * curvature)])
    arms, seeds, c = max(HYPOTHESES) + 1, max(SEEDS), CURVATURE * curvature
    grid = SHARED_NOISE * np.linspace(-5, 5, 41)
    table = expected(rng, way, c, 0.5, grid)
    parts = []
    for begin in range(0, studies, CHUNK):
        size = min(CHUNK, studies - begin)
        slope = SHARED_NOISE * rng.standard_normal((size, arms, 1))
        got = scores(rng, way, Surface(c, np.full(slope.shape, 0.5), slope), size, seeds)
        truth = np.interp(slope[..., 0], grid, table)
        parts.append((got[:, 1:] - got[:, :1], truth[:, 1:] - truth[:, :1]))
    differences, truths = (np.concatenate(each) for each in zip(*parts, strict=True))
    for n in SEEDS:
        for m in HYPOTHESES:
            yield cell(way, curvature, differences[:, :m, :n], truths[:, :m])


def cell(way: Way, curvature: float, differences: np.ndarray, truths: np.ndarray) -> Cell:
    """Of differences (studies, hypotheses, seeds) and the true ones (studies, hypotheses)."""
    studies, hypotheses, seeds = differences.shape
    below, above, mean, half = one_sided(differences)
    claims = rejected(np.concatenate([below, above], -1)).any(-1).mean()
    better = differences.copy()
    better[:, 0] -= GAIN
    p = np.concatenate(one_sided(better)[:2], -1)
    coverage = float((np.abs(mean - truths) <= half).mean())
    runs = way.cost * (seeds if way.per_seed else 1) + seeds
    return Cell(
        way.name,
        curvature,
        seeds,
        hypotheses,
        studies,
        runs,
        float(claims),
        coverage,
        float(rejected(p)[:, 0].mean()),
        float(half.mean()),
        tuple(gates(way, float(claims), coverage, studies)),
    )


def gates(way: Way, false_claims: float, coverage: float, studies: int) -> Iterator[str]:
    """What a way of tuning that may be the default promised and did not keep, in words."""
    if not way.gated:
        return
    limit = ALPHA + Z * math.sqrt(ALPHA * (1 - ALPHA) / studies)
    if false_claims > limit:
        yield f"false claims in {false_claims:.2%} of studies, more than {limit:.2%}"
    if not COVERAGE[0] <= coverage <= COVERAGE[1]:
        yield f"coverage {coverage:.2%} is not within {COVERAGE[0]:.0%} to {COVERAGE[1]:.0%}"


def shifted(way: Way, curvature: float, studies: int, seed: int = 0) -> Shifted:
    """Two arms with the same best score, at the two settings of SHIFTED."""
    rng = np.random.default_rng([seed, WAYS.index(way), int(100 * curvature), 1])
    c = CURVATURE * curvature
    slopes = SHARED_NOISE * rng.standard_normal(200)
    left, right = (float(expected(rng, way, c, optimum, slopes).mean()) for optimum in SHIFTED)
    slope = SHARED_NOISE * rng.standard_normal((studies, 2, 1))
    optimum = np.broadcast_to(np.array(SHIFTED)[:, None], slope.shape)
    got = scores(rng, way, Surface(c, optimum, slope), studies, 10)
    below, above, *_ = one_sided(got[:, 1] - got[:, 0])
    claims = rejected(np.stack([below, above], -1)).any(-1).mean()
    return Shifted(way.name, curvature, right - left, (left + right) / 2, float(claims))


def tables(cells: Sequence[Cell], bias: Sequence[Shifted]) -> Iterator[str]:
    """Two tables as markdown; a gated number that failed is marked with !."""
    yield "| Tuning | Curvature | Seeds | Hypotheses | Runs an arm | False claims | Coverage | Power | Half width |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for c in cells:
        yield (
            f"| {c.way} | ×{c.curvature:g} | {c.seeds} | {c.hypotheses} | {c.runs:g} | {100 * c.false_claims:.1f} % | "
            f"{100 * c.coverage:.1f} % | {100 * c.power:.0f} % | {c.width:.3f}° |"
        ) + "".join(f" ! {failure}" for failure in c.failures)
    yield ""
    yield "| Optima 0.3 and 0.7 | Curvature | Remaining difference | Lost to the optimum | Claims of a difference |"
    yield "|---|---|---|---|---|"
    for s in bias:
        yield (f"| {s.way} | ×{s.curvature:g} | {s.bias:+.4f}° | {s.loss:.4f}° | {100 * s.false_claims:.1f} % |")


def main() -> None:
    options = calibration_options.parse(__doc__, studies=4000, of="way and curvature", few=300, quick="", as_json=True)
    studies = options.studies
    started = time.perf_counter()
    cells = [c for way in WAYS for curvature in CURVATURES for c in simulate(way, curvature, studies, options.seed)]
    bias = [shifted(way, curvature, studies, options.seed) for way in WAYS for curvature in CURVATURES]
    failures = [
        f"{c.way}, curvature ×{c.curvature:g}, {c.seeds} seeds, {c.hypotheses} hypotheses: {failure}"
        for c in cells
        for failure in c.failures
    ]
    if options.json:
        document = {"cells": [asdict(c) for c in cells], "shifted": [asdict(s) for s in bias], "failed": failures}
        print(json.dumps(document))
    else:
        print("\n".join(tables(cells, bias)))
        print(f"\n{studies} studies a way and curvature, {time.perf_counter() - started:.0f} s")
    calibration_options.end(failures, quiet=options.json)


if __name__ == "__main__":
    main()
