# Question:    What do verdicts and intervals promise after looks, with collapsed seeds, over folds, and would a spread
#              pooled over arms do better?
# Command:     python benchmarks/calibration_departures.py
# Cost:        two minutes on one CPU core
# Expectation: at most 5 % of studies make a false claim after seeds were added; at least nine in ten studies of seven
#              or more seeds with one collapsed run carry a warning; the corrected interval over folds covers at least
#              93 % where the arms differ. Exit code 1 when one of these fails.
"""Simulate studies that are not the plain case, with a known truth, and run the report's own functions on them.

    python benchmarks/calibration_departures.py [--studies 4000] [--quick] [--seed 0]

Looks: seeds are added until a hypothesis is decided; no correction of later looks can undo the first. Collapses: a
tenth of one arm's runs end far off, which the mean includes and few seeds do not show. Folds: every seed is a fold of
60 examples, scored by squared error; the truth is the expected difference for new data of the size. Pooled: the
residual variance of all arms instead of each pair's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import calibration_options
import numpy as np
from scipy import special

from ablate.analysis.failures import far_out
from ablate.analysis.records import FOLD_SHARE
from ablate.analysis.statistics import ALPHA, Effect, paired
from ablate.analysis.verdicts import Claim, judge

Z = 2.33  # Monte-Carlo error allowed: one in a hundred honest runs would exceed it
LOOKS = ((5,), (5, 7), (5, 7, 10), (5, 7, 10, 15, 20))  # the numbers of seeds at which results are looked at
COLLAPSE, FAR = 0.1, 50.0  # chance of one run of the arm, and how far off it then is, in sd of a difference
EXAMPLES = 60  # of the data that folds are made of
ARMS, GAIN = 5, 1.5  # arms beside the baseline, and the gain that power is the chance to find, in sd
SHOWN = 0.93


def effect(values: Sequence[float], overlap: float | None = None) -> Effect:
    return paired(dict(enumerate(values)), dict.fromkeys(range(len(values)), 0.0), overlap=overlap)


def covers(found: Effect, truth: float) -> bool:
    gap = found.difference
    return gap.low is not None and gap.high is not None and gap.low <= truth <= gap.high


def looked(looks: Sequence[int], hypotheses: int, studies: int, seed: int = 0) -> tuple[float, float, float]:
    """Shares of studies without any difference that stop at the first look with a claim: as the claims stand, with the
    correction for looks, and with it those that stop after seeds were added."""
    rng = np.random.default_rng([seed, hypotheses, *looks])
    stopped_at = np.full((studies, 2), len(looks))
    for study in range(studies):
        values = rng.standard_normal((hypotheses, looks[-1]))
        for index, seeds in reversed(list(enumerate(looks))):
            claims = [Claim(effect(row[:seeds].tolist()), "higher") for row in values]
            for column, earlier in enumerate(((), looks[:index])):
                if any(v.outcome in ("supported", "refuted") for v in judge(claims, looks=earlier)):
                    stopped_at[study, column] = index
    claimed, later = stopped_at < len(looks), (stopped_at > 0) & (stopped_at < len(looks))
    return float(claimed[:, 0].mean()), float(claimed[:, 1].mean()), float(later[:, 1].mean())


@dataclass(frozen=True)
class Collapses:
    """Shares of studies: whose interval covers the mean, that are warned of a collapse in them, and without any."""

    coverage: float
    warned: float
    one_warned: float
    false_warning: float


def collapsed(seeds: int, studies: int, seed: int = 0) -> Collapses:
    """A tenth of the arm's runs collapse; `warned` counts studies with a collapse, `one_warned` those with just one."""
    rng = np.random.default_rng([seed, seeds, 1])
    hits, far, counts = [], [], []
    for _ in range(studies):
        collapses = rng.random(seeds) < COLLAPSE
        values = (rng.standard_normal(seeds) + FAR * collapses).tolist()
        hits.append(covers(effect(values), COLLAPSE * FAR))
        far.append(bool(far_out(values)))
        counts.append(int(collapses.sum()))
    number, warned = np.array(counts), np.array(far)
    return Collapses(
        float(np.mean(hits)),
        *(float(warned[chosen].mean()) for chosen in (number > 0, number == 1, number == 0)),
    )


@dataclass(frozen=True)
class Learners:
    """Least squares on some of the features against another number of them; none is the mean, −1 is always 0."""

    name: str
    arm: int
    against: int
    signal: float  # coefficient of every one of `arm` features, or the mean where there is none
    gated: bool = True


LEARNERS = (
    Learners("mean against 0, mean 1", 0, -1, 1.0),
    Learners("10 features against 5, signal 0.3", 10, 5, 0.3),
    Learners("20 features without signal against the mean", 20, 0, 0.0),
    Learners("mean against 0, mean 0.1", 0, -1, 0.1, gated=False),  # the arms hardly differ in what they predict
)


def expected_error(features: int, learners: Learners, trained: int) -> float:
    """Expected squared error of least squares on Gaussian features with an intercept; noise has variance 1."""
    missed = max(0, learners.arm - max(0, features)) * learners.signal**2
    if features < 0:
        return 1.0 + learners.signal**2
    fitted = (trained - 2) / (trained - features - 2) if features else 1.0
    return (1 + missed) * (1 + 1 / trained) * fitted


def over_folds(learners: Learners, folds: int, studies: int, seed: int = 0) -> tuple[float, float, float]:
    """Coverage without a correction, with that by Nadeau and Bengio, and with the report's share of it."""
    rng = np.random.default_rng([seed, folds, learners.arm, learners.against + 1, 2])
    trained = EXAMPLES - EXAMPLES // folds
    truth = expected_error(learners.arm, learners, trained) - expected_error(learners.against, learners, trained)
    whole = EXAMPLES // folds / trained
    hits = []
    for _ in range(studies):
        features = rng.standard_normal((EXAMPLES, max(1, learners.arm)))
        mean = learners.signal * features.sum(axis=1) if learners.arm else learners.signal
        values, fold = mean + rng.standard_normal(EXAMPLES), np.arange(EXAMPLES) % folds
        gaps = []
        for each in range(folds):
            test = fold == each
            ours, theirs = (
                ((predict(features[~test], values[~test], features[test], number) - values[test]) ** 2).mean()
                for number in (learners.arm, learners.against)
            )
            gaps.append(float(ours - theirs))
        hits.append([covers(effect(gaps, share), truth) for share in (None, whole, FOLD_SHARE * whole)])
    return tuple(np.mean(hits, axis=0).tolist())


def predict(features: np.ndarray, values: np.ndarray, new: np.ndarray, number: int) -> np.ndarray:
    """Least squares on the first `number` features with an intercept; 0 for −1."""
    if number < 0:
        return np.zeros(len(new))
    design, wanted = (np.column_stack([np.ones(len(x)), x[:, :number]]) for x in (features, new))
    return np.asarray(wanted @ np.linalg.lstsq(design, values, rcond=None)[0])


def pooled(spreads: Sequence[float], seeds: int, studies: int, seed: int = 0) -> list[tuple[float, float]]:
    """Coverage of the difference of the arm with the largest spread, and the power to find a gain of 1.5 of its sd:
    with the pair's own variance, and with one that is pooled over all arms of the study."""
    rng = np.random.default_rng([seed, seeds, len(spreads), round(10 * max(spreads)), 3])
    values = rng.standard_normal((studies, seeds, len(spreads))) * np.array(spreads)
    widest = int(np.argmax(spreads))
    mean = values[:, :, widest].mean(axis=1)
    each = values.var(axis=1, ddof=1)
    found = []
    for variance, degrees in ((each[:, widest], seeds - 1), (each.mean(axis=1), len(spreads) * (seeds - 1))):
        half = special.stdtrit(degrees, 1 - ALPHA / 2) * np.sqrt(variance / seeds)
        gain = GAIN * spreads[widest]
        found.append((float(np.mean(np.abs(mean) <= half)), float(np.mean(mean + gain > half))))
    return found


def rows(studies: int, seed: int) -> Iterator[tuple[str, str]]:
    """Lines of the tables, each with what it broke, in words."""
    slack = Z * math.sqrt(ALPHA * (1 - ALPHA) / studies)
    yield (
        _header("Looks at", "Hypotheses", "False claims, uncorrected", "Corrected", "Of these after the first look"),
        "",
    )
    for looks in LOOKS:
        for hypotheses in (1, 3):
            claims = looked(looks, hypotheses, studies, seed)
            at = f"{', '.join(map(str, looks))} seeds"
            failure = f"looks at {at}, {hypotheses} hypotheses: {claims[2]:.1%}" if claims[2] > ALPHA + slack else ""
            yield f"| {at} | {hypotheses} | {_percent(*claims)} |", failure
    yield _header("Seeds", "Coverage of the mean", "Collapse warned of", "One collapse", "Warned without one"), ""
    for seeds in (5, 7, 10, 20):
        c = collapsed(seeds, studies, seed)
        failure = f"{seeds} seeds: {c.one_warned:.1%} warned of a collapse" if seeds >= 7 and c.one_warned < 0.9 else ""
        yield f"| {seeds} | {_percent(c.coverage, c.warned, c.one_warned, c.false_warning)} |", failure
    yield _header("Folds", "Learners", "Uncorrected", "Whole correction, wider by", "Half, wider by"), ""
    for learners in LEARNERS:
        for folds in (5, 10):
            shares = over_folds(learners, folds, studies, seed)
            width = [math.sqrt(1 + folds * share / (folds - 1)) - 1 for share in (1.0, FOLD_SHARE)]
            low = SHOWN - Z * math.sqrt(SHOWN * (1 - SHOWN) / studies)
            failure = f"{folds} folds, {learners.name}: {shares[2]:.1%}" if learners.gated and shares[2] < low else ""
            text = [f"{100 * share:.1f} %, {100 * wider:.0f} %" for share, wider in zip(shares[1:], width, strict=True)]
            yield f"| {folds} | {learners.name} | {_percent(shares[0])} | {' | '.join(text)} |", failure
    yield (
        _header("Spread of the other arms", "Seeds", "Own variance: coverage", "Power", "Pooled: coverage", "Power"),
        "",
    )
    for others in (1.0, 0.7, 0.33):
        for seeds in (5, 7, 10):
            own, together = pooled([1.0, *[others] * (ARMS - 1)], seeds, 10 * studies, seed)
            yield f"| {others} of this arm's | {seeds} | {_percent(*own, *together)} |", ""


def _header(*names: str) -> str:
    return f"\n| {' | '.join(names)} |\n{'|---' * len(names)}|"


def _percent(*shares: float) -> str:
    return " | ".join(f"{100 * share:.1f} %" for share in shares)


def main() -> None:
    options = calibration_options.parse(__doc__, studies=4000, of="row", few=200, quick="")
    studies = options.studies
    failures = []
    for line, failure in rows(studies, options.seed):
        print(line, flush=True)
        failures += [failure] if failure else []
    print()
    calibration_options.end(failures)


if __name__ == "__main__":
    main()
