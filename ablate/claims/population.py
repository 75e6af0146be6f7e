"""Differences between two arms over the test people, not over the seeds. Reads Results; makes no verdicts."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ablate.claims.results import Results
from ablate.claims.statistics import Estimate, estimate
from ablate.study import Reduction

MIN_SUBJECTS = 10
_Pair = tuple[pd.DataFrame, pd.DataFrame]  # a seed's test examples of the arm and of what it is against
REDUCE: Mapping[Reduction, Callable[[np.ndarray], float]] = {
    "mean": lambda values: float(values.mean()),
    "median": lambda values: float(np.median(values)),
    "rms": lambda values: math.sqrt(float((values**2).mean())),
}


@dataclass(frozen=True)
class Population:
    """The difference arm minus against over test subjects. It holds the trained networks fixed.

    `difference` is the mean of the per-subject differences with its t interval: it says what other people of this kind
    would show, which the interval over seeds does not. `descriptive` with fewer than 10 subjects: a number, no claim.
    """

    subjects: int
    difference: Estimate
    descriptive: bool
    by_subject: Mapping[float, float] = field(default_factory=dict)  # subject id → mean difference
    note: str = ""


def population(results: Results, arm: str, against: str, metric: str, column: str = "subject") -> Population:
    """The difference of two arms in one metric over the values of `column` in the test examples.

    A subject's score is its examples reduced as the metric says (mean, median or root mean square; NaN left out), in
    every seed that both arms have; its difference is the mean over these seeds. Over few subjects of unequal size
    this t interval covers 0.96, bootstraps of the subjects 0.76 (measured).
    """
    return populations(results, arm, against, [metric], column)[metric]


def populations(
    results: Results, arm: str, against: str, metrics: Sequence[str], column: str = "subject"
) -> dict[str, Population]:
    """`population` of several metrics, by metric; the examples are read once for all."""
    read = ((results.examples(arm, s), results.examples(against, s)) for s in _common_seeds(results, arm, against))
    pairs = [(ours, theirs) for ours, theirs in read if ours is not None and theirs is not None]
    return {metric: _population(pairs, metric, results.metrics[metric].reduction, column) for metric in metrics}


def _population(pairs: Sequence[_Pair], metric: str, reduction: Reduction, column: str) -> Population:
    absent = _absence(pairs, metric, column)
    if absent:
        return Population(0, Estimate(None, None, None, 0, "no value"), True, {}, absent)
    gaps: dict[float, list[float]] = defaultdict(list)
    for pair in pairs:
        ours, theirs = (by_subject(frame, metric, reduction, column) for frame in pair)
        for subject in ours.keys() & theirs.keys():
            gaps[subject].append(ours[subject] - theirs[subject])
    finite = {subject: [gap for gap in own if math.isfinite(gap)] for subject, own in sorted(gaps.items())}
    means = {subject: float(np.mean(own)) for subject, own in finite.items() if own}
    difference = estimate(list(means.values()), of="subject")
    note = _note(difference, len(finite) - len(means)) if means else f"{metric} is undefined for every {column}"
    return Population(len(means), difference, len(means) < MIN_SUBJECTS, means, note)


def by_subject(frame: pd.DataFrame, metric: str, reduction: Reduction, column: str = "subject") -> dict[float, float]:
    """Score of every subject in the examples of one run, by subject id; NaN where all its examples are undefined."""
    subjects, values = frame[column].to_numpy(float), frame[metric].to_numpy(float)
    scores = {}
    for subject in np.unique(subjects[np.isfinite(subjects)]):
        own = values[(subjects == subject) & np.isfinite(values)]
        scores[float(subject)] = REDUCE[reduction](own) if own.size else math.nan
    return scores


def _common_seeds(results: Results, arm: str, against: str) -> list[int]:
    done = results.done()
    have = [set(done[done.arm == each].seed.astype(int)) for each in (arm, against)]
    return [seed for seed in results.study.seeds if seed in have[0] & have[1]]


def _absence(pairs: Sequence[_Pair], metric: str, column: str) -> str:
    """Why there is nothing to take apart by subject, in words; empty when there is."""
    if not pairs:
        return "no seed has the examples of both arms"
    if not all(metric in frame for pair in pairs for frame in pair):
        return f"{metric} has no value of a single example: nothing to take apart by {column}"
    if not all(column in frame for pair in pairs for frame in pair):
        return f"the data names no {column}: nothing can be said of other people"
    return ""


def _note(difference: Estimate, left_out: int) -> str:
    n = difference.n
    few = f"{n} test {'subject' if n == 1 else 'subjects'}: descriptive only" if n < MIN_SUBJECTS else ""
    without = f"{left_out} left out for want of a value" if left_out else ""
    return "; ".join(part for part in (few, without, difference.note) if part)
