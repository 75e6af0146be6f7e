"""Differences between arms over the people of the test data, not over the seeds, in numbers and words. No verdict."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ablate.analysis import numbers
from ablate.analysis.costs import label, trained
from ablate.analysis.effects import baseline_of, effect, effect_decimals, margin_of
from ablate.analysis.phrasing import counted, margin_text, quoted, signed_size
from ablate.analysis.records import SPLITS, MetricInfo
from ablate.analysis.results import Results
from ablate.analysis.statistics import Estimate, estimate
from ablate.study import Reduction

PEOPLE = "subject"  # the column with the person of every example
MIN_SUBJECTS = 10
REDUCE: Mapping[Reduction, Callable[[np.ndarray], float]] = {
    "mean": lambda values: float(np.add.reduce(values) / values.size),  # same result as mean() in a third of the time
    "median": lambda values: float(np.median(values)),
    "rms": lambda values: math.sqrt(float((values**2).mean())),
}


@dataclass(frozen=True)
class Population:
    """The difference `arm` minus `against` over test subjects, with the trained networks fixed.

    `difference` is the mean of the differences by subject. Its t interval is about other people of this kind; an
    interval over seeds is about other seeds. `descriptive`: with fewer than 10 subjects it supports no claim.
    """

    subjects: int
    difference: Estimate
    descriptive: bool
    by_subject: Mapping[float, float] = field(default_factory=dict)  # subject id → mean difference
    note: str = ""


@dataclass(frozen=True)
class PopulationRow:
    """One comparison over people instead of seeds, without the variance of training. `sentence`: in words."""

    arm: str
    label: str
    against: str
    against_label: str
    metric: MetricInfo
    population: Population
    declared: bool  # a hypothesis asks for this comparison
    places: int
    pooled: float | None = None  # the same difference over all examples, which weights people by their examples
    margin: float | None = None  # of the hypothesis

    @property
    def sentence(self) -> str:
        """`“Hybrid” against “Existing” in azimuth error: −0.25°, 95 % interval −0.6° to 0.1°, 4 test subjects; …`."""
        people = self.population
        comparison = f"{quoted(self.label)} against {quoted(self.against_label)} in {self.metric.in_text}"
        if not people.subjects:
            return f"{comparison}: {people.note}."
        value = signed_size(people.difference, self.metric, self.places, f"{SPLITS[self.metric.split]} subject")
        few = "; descriptive only, so few people say little of others" if people.descriptive else ""
        return f"{comparison}: {value}, {self._better}{few}{self._weights}."

    @property
    def _better(self) -> str:
        """In how many people the first arm is better, and by more than the margin, if there is one."""
        sign = -1 if self.metric.direction == "lower" else 1
        gains = [sign * gap for gap in self.population.by_subject.values()]
        text = f"better in {sum(gain > 0 for gain in gains)} of {self.population.subjects}"
        if not self.margin:
            return text
        return f"{text}, by more than {margin_text(self.margin, self.metric)} in {sum(g > self.margin for g in gains)}"

    @property
    def _weights(self) -> str:
        """Both means, where people with more examples change the difference."""
        if self.pooled is None or self.population.difference.mean is None:
            return ""
        by_person, by_example = (numbers.signed(v, self.places) for v in (self.population.difference.mean, self.pooled))
        if by_person == by_example:
            return ""
        pooled = numbers.with_unit(by_example, self.metric.unit)
        return f"; every person counts the same here, and over all examples the difference is {pooled}"


def population_rows(results: Results) -> tuple[PopulationRow, ...]:
    """Every declared hypothesis, then every trained arm against its baseline in every metric.

    Without a row where no run's examples name people. Else a comparison that is not declared is left out where it has
    no difference by person.
    """
    if not names_people(results):
        return ()
    arms = results.study.arms  # people of several data sets are not pooled
    declared = [(h.arm, h.against, h.metric) for h in results.study.hypotheses if h.arm in arms]
    pairs = [(arm, base) for arm in trained(results) if (base := baseline_of(results, arm))]
    comparisons = dict.fromkeys([*declared, *((*pair, metric) for pair in pairs for metric in results.study.metrics)])
    metrics: dict[tuple[str, str], list[str]] = defaultdict(list)
    for arm, against, metric in comparisons:
        metrics[arm, against].append(metric)
    of_pair = {pair: populations(results, *pair, names) for pair, names in metrics.items()}
    rows = (
        PopulationRow(
            arm=arm,
            label=label(results, arm),
            against=against,
            against_label=label(results, against),
            metric=results.metrics[metric],
            population=of_pair[arm, against][metric],
            declared=(arm, against, metric) in declared,
            places=effect_decimals(results, metric),
            pooled=effect(results, arm, against, metric).difference.mean,
            margin=margin_of(results.study, arm, against, metric),
        )
        for arm, against, metric in comparisons
    )
    return tuple(row for row in rows if row.declared or row.population.subjects)


def names_people(results: Results) -> bool:
    """Whether the examples of any finished run name the person of each."""
    return any(PEOPLE in (results.columns(*run) or ()) for run in results.run_ids)


def population(results: Results, arm: str, against: str, metric: str) -> Population:
    """The difference of two arms in one metric over the subjects of the test examples.

    A subject's score with one seed reduces its examples as the metric does (mean, median or root mean square; NaN is
    left out). Its difference is the mean over the seeds that both arms have. With few subjects of unequal size this t
    interval covers the true difference in 0.96 of all cases, bootstraps of the subjects in 0.76 (measured).
    """
    return populations(results, arm, against, [metric])[metric]


def populations(results: Results, arm: str, against: str, metrics: Sequence[str]) -> dict[str, Population]:
    """`population` for several metrics, by metric; the examples are read once for all of them."""
    gaps: dict[str, dict[float, list[float]]] = {metric: defaultdict(list) for metric in metrics}
    seeds, lacking = 0, set[str]()
    for seed in results.study.seeds:
        tables = results.columns(arm, seed), results.columns(against, seed)
        if tables[0] is None or tables[1] is None:
            continue
        seeds += 1
        lacking |= {name for name in (*metrics, PEOPLE) if name not in tables[0] or name not in tables[1]}
        for metric in set(metrics) - lacking if PEOPLE not in lacking else ():
            ours, theirs = (_by_subject(results, (name, seed), metric) for name in (arm, against))
            for subject in ours.keys() & theirs.keys():
                gaps[metric][subject].append(ours[subject] - theirs[subject])
    return {metric: _population(gaps[metric], _missing(seeds, lacking, metric), metric) for metric in metrics}


def disjoint(results: Results, arm: str, against: str, metric: str) -> tuple[int, ...]:
    """The seeds where the examples of both arms name people, and none has a score in both."""
    seeds = results.study.seeds
    people = [(s, _people(results, (arm, s), metric), _people(results, (against, s), metric)) for s in seeds]
    return tuple(seed for seed, ours, theirs in people if ours and theirs and not ours & theirs)


def _people(results: Results, run: tuple[str, int], metric: str) -> set[float]:
    """The subjects of a run that have a score; all of them where no example has a value of the metric."""
    table = results.columns(*run) or {}
    if PEOPLE not in table:
        return set()
    if metric not in table:
        return set(by_subject(table[PEOPLE], np.ones(len(table[PEOPLE])), "mean"))
    return {subject for subject, score in _by_subject(results, run, metric).items() if math.isfinite(score)}


def _missing(seeds: int, lacking: Collection[str], metric: str) -> str:
    """Why a metric has no differences by subject, in words; empty when it has."""
    if not seeds:
        return "no seed has the examples of both arms"
    if metric in lacking:
        return f"{metric} has no value of a single example: nothing to take apart by {PEOPLE}"
    return f"the data names no {PEOPLE}: nothing can be said of other people" if PEOPLE in lacking else ""


def _population(gaps: Mapping[float, Sequence[float]], missing: str, metric: str) -> Population:
    if missing:
        return Population(0, Estimate(None, None, None, 0, "no value"), True, {}, missing)
    finite = {subject: [gap for gap in gaps[subject] if math.isfinite(gap)] for subject in sorted(gaps)}
    means = {subject: float(np.mean(values)) for subject, values in finite.items() if values}
    difference = estimate(list(means.values()), of=PEOPLE)
    undefined = f"{metric} is undefined for every {PEOPLE}" if gaps else f"the arms have no {PEOPLE} in common"
    note = _note(difference, len(finite) - len(means)) if means else undefined
    return Population(len(means), difference, len(means) < MIN_SUBJECTS, means, note)


def _by_subject(results: Results, run: tuple[str, int], metric: str) -> dict[float, float]:
    """Scores by subject, computed once for each run: every comparison needs those of the baseline."""
    key = ("by subject", run, metric)
    if key not in results.memo:
        table, reduction = results.columns(*run) or {}, results.metrics[metric].reduction
        results.memo[key] = by_subject(table[PEOPLE], table[metric], reduction)
    scores: dict[float, float] = results.memo[key]
    return scores


def by_subject(subjects: np.ndarray, values: np.ndarray, reduction: Reduction) -> dict[float, float]:
    """Score of every subject in the examples (n,) of one run, by subject id; NaN where all its examples are undefined.

    Examples whose subject is NaN are left out.
    """
    named = np.isfinite(subjects)
    subjects, values = subjects[named].astype(float), values[named].astype(float)
    scores = {}
    for subject, rows in rows_by_value(subjects).items():
        finite = values[rows][np.isfinite(values[rows])]
        scores[subject] = REDUCE[reduction](finite) if finite.size else math.nan
    return scores


def rows_by_value(column: np.ndarray) -> dict[float, np.ndarray]:
    """Each value of a column (n,) and its rows in order; no NaN."""
    order = np.argsort(column, kind="stable")
    values, starts = np.unique(column[order], return_index=True)
    return dict(zip(values.tolist(), np.split(order, starts[1:]), strict=False))  # without rows: no value, one part


def _note(difference: Estimate, left_out: int) -> str:
    n = difference.n
    few = f"{counted(n, 'test subject')}: descriptive only" if n < MIN_SUBJECTS else ""
    without = f"{left_out} left out for want of a value" if left_out else ""
    return "; ".join(part for part in (few, without, difference.note) if part)
