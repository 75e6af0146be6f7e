"""Differences between two arms over the test people, not over the seeds. Reads Results; makes no verdicts."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ablate.analysis.phrasing import counted
from ablate.analysis.results import Results
from ablate.analysis.statistics import Estimate, estimate
from ablate.study import Reduction

MIN_SUBJECTS = 10
_Run = tuple[str, int]  # arm and seed
REDUCE: Mapping[Reduction, Callable[[np.ndarray], float]] = {
    "mean": lambda values: float(np.add.reduce(values) / values.size),  # what mean() does, at a third of its cost
    "median": lambda values: float(np.median(values)),
    "rms": lambda values: math.sqrt(float((values**2).mean())),
}


@dataclass(frozen=True)
class Population:
    """The difference arm minus against over test subjects. It holds the trained networks fixed.

    `difference` is the mean of the per-subject differences with its t interval, for other people of this kind; the
    interval over seeds is for other seeds. `descriptive` with fewer than 10 subjects: a number, no claim.
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
    found = _Gaps({metric: defaultdict(list) for metric in metrics})
    for seed in _common_seeds(results, arm, against):
        if results.columns(arm, seed) is not None and results.columns(against, seed) is not None:
            found.add(results, (arm, seed), (against, seed), column)
    return {metric: _population(found, metric, column) for metric in metrics}


@dataclass
class _Gaps:
    """Differences by subject, a value a seed; and why some are missing."""

    gaps: Mapping[str, dict[float, list[float]]]  # by metric and subject
    pairs: int = 0
    without_metric: set[str] = field(default_factory=set)
    without_column: bool = False

    def add(self, results: Results, ours: _Run, theirs: _Run, column: str) -> None:
        self.pairs += 1
        for metric, gaps in self.gaps.items():
            scores, others = (_by_subject(results, run, metric, column) for run in (ours, theirs))
            if scores is None or others is None:
                self.note_absence(results, (ours, theirs), metric, column)
                continue
            for subject in scores.keys() & others.keys():
                gaps[subject].append(scores[subject] - others[subject])

    def note_absence(self, results: Results, runs: Sequence[_Run], metric: str, column: str) -> None:
        tables = [results.columns(*run) or {} for run in runs]
        if not all(metric in table for table in tables):
            self.without_metric.add(metric)
        if not all(column in table for table in tables):
            self.without_column = True

    def absence(self, metric: str, column: str) -> str:
        """Why there are no differences by subject, in words; empty when there are."""
        if not self.pairs:
            return "no seed has the examples of both arms"
        if metric in self.without_metric:
            return f"{metric} has no value of a single example: nothing to take apart by {column}"
        if self.without_column:
            return f"the data names no {column}: nothing can be said of other people"
        return ""


def _population(found: _Gaps, metric: str, column: str) -> Population:
    absent = found.absence(metric, column)
    if absent:
        return Population(0, Estimate(None, None, None, 0, "no value"), True, {}, absent)
    gaps = sorted(found.gaps[metric].items())
    finite = {subject: [gap for gap in own if math.isfinite(gap)] for subject, own in gaps}
    means = {subject: float(np.mean(own)) for subject, own in finite.items() if own}
    difference = estimate(list(means.values()), of="subject")
    note = _note(difference, len(finite) - len(means)) if means else f"{metric} is undefined for every {column}"
    return Population(len(means), difference, len(means) < MIN_SUBJECTS, means, note)


def _by_subject(results: Results, run: _Run, metric: str, column: str) -> dict[float, float] | None:
    """Computed once a run: the baseline's scores are in every comparison."""
    place = ("by subject", run, metric, column)
    if place not in results.memo:
        table = results.columns(*run) or {}
        known = metric in table and column in table
        reduction = results.metrics[metric].reduction
        results.memo[place] = by_subject(table[column], table[metric], reduction) if known else None
    found: dict[float, float] | None = results.memo[place]
    return found


def by_subject(subjects: np.ndarray, values: np.ndarray, reduction: Reduction) -> dict[float, float]:
    """Score of every subject in the examples (n,) of one run, by subject id; NaN where all its examples are undefined.

    NaN is no subject.
    """
    known = np.isfinite(subjects)
    subjects, values = subjects[known].astype(float), values[known].astype(float)
    order = np.argsort(subjects, kind="stable")
    names, starts = np.unique(subjects[order], return_index=True)
    scores = {}
    parts = np.split(values[order], starts[1:]) if names.size else []
    for name, own in zip(names.tolist(), parts, strict=True):
        finite = own[np.isfinite(own)]
        scores[name] = REDUCE[reduction](finite) if finite.size else math.nan
    return scores


def _common_seeds(results: Results, arm: str, against: str) -> list[int]:
    done = results.done()
    have = [set(done[done.arm == each].seed.astype(int)) for each in (arm, against)]
    return [seed for seed in results.study.seeds if seed in have[0] & have[1]]


def _note(difference: Estimate, left_out: int) -> str:
    n = difference.n
    few = f"{counted(n, 'test subject')}: descriptive only" if n < MIN_SUBJECTS else ""
    without = f"{left_out} left out for want of a value" if left_out else ""
    return "; ".join(part for part in (few, without, difference.note) if part)
