"""Scores and differences by a condition of the examples, such as azimuth, elevation or lean. Draws nothing."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ablate.analysis.costs import trained
from ablate.analysis.effects import baseline_of, difference, score
from ablate.analysis.numbers import MINUS
from ablate.analysis.population import PEOPLE, REDUCE, rows_by_value
from ablate.analysis.records import MetricInfo
from ablate.analysis.results import Results
from ablate.analysis.statistics import Effect, Estimate
from ablate.study import Condition

MIN_EXAMPLES, MIN_PEOPLE = 30, 2  # a bin with fewer has no effect
MAX_NAMES = 40
NICE_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Bins:
    """How the values of a condition are binned. Periodic bins are of equal width and the first is centred on 0."""

    labels: tuple[str, ...]
    centres: tuple[float, ...]
    edges: tuple[float, ...] = ()  # of a scale without a period: bins are half open, the last one is closed
    values: tuple[float, ...] = ()  # instead of edges: the values that have a bin of their own
    groups: tuple[int, ...] = ()  # where values share bins: the bin index of each of `values`
    period: float | None = None
    categorical: bool = False  # the values are names without an order; `centres` are positions

    def index_of(self, column: np.ndarray) -> np.ndarray:
        """Bin index of every value; −1 outside of all bins and for NaN."""
        finite = np.isfinite(column)
        if self.period is not None:
            width = self.period / len(self.labels)
            index = np.floor(np.where(finite, column, 0.0) / width + 0.5).astype(int) % len(self.labels)
        elif self.values:
            matches = np.isclose(column[:, None], np.array(self.values))
            of_value = np.array(self.groups or range(len(self.values)))
            index = np.where(matches.any(axis=1), of_value[matches.argmax(axis=1)], -1)
        else:
            index = np.searchsorted(self.edges, column, side="right") - 1
            index = np.where(column == self.edges[-1], len(self.labels) - 1, index)
            index = np.where(index >= len(self.labels), -1, index)
        return np.where(finite, index, -1)


@dataclass(frozen=True)
class ConditionTable:
    """One metric along one condition: an estimate over seeds for every arm and bin, and the effect on the baseline.

    A bin with fewer than 30 examples or fewer than two people has effects without a number, and a note. Where the
    condition is the person, one person a bin is enough.
    """

    column: str
    label: str
    metric: MetricInfo
    bins: Bins
    examples: tuple[int, ...]  # test examples in each bin, in the run that has the fewest there
    people: tuple[int, ...] | None  # likewise; None where a run does not record them
    notes: tuple[str, ...]  # of a bin: "too few examples: 8, …", "one person"; "" when nothing is wrong
    scores: Mapping[str, tuple[Estimate, ...]]  # by arm
    effects: Mapping[str, tuple[Effect, ...]]  # by arm other than the baseline


def make_bins(column: np.ndarray, condition: Condition, *, categorical: bool = False) -> Bins:
    """Bins for a column: the condition's groups, equal parts of a period, one per value or name, or round numbers.

    With edges at round numbers there are about `condition.bins` bins. Of names, the 40 most frequent have a bin.
    """
    if condition.period is not None:
        width = condition.period / condition.bins
        centres = tuple(i * width for i in range(condition.bins))
        return Bins(tuple(f"{c:g} ± {width / 2:g}" for c in centres), centres, period=condition.period)
    if condition.groups:
        return _grouped(condition.groups)
    values, counts = np.unique(column[np.isfinite(column)].astype(float), return_counts=True)
    if categorical:
        values = np.sort(values[np.argsort(-counts, kind="stable")[:MAX_NAMES]])
        positions = tuple(float(position) for position in range(len(values)))
        return Bins(tuple(f"{v:g}" for v in values), positions, values=tuple(values.tolist()), categorical=True)
    if len(values) <= condition.bins:
        return Bins(tuple(_plain(v) for v in values), tuple(values.tolist()), values=tuple(values.tolist()))
    if (values == np.round(values)).all():
        return _of_counts(int(values[0]), int(values[-1]), condition.bins)
    edges = _round_edges(float(values[0]), float(values[-1]), condition.bins)
    pairs = list(itertools.pairwise(edges))
    return Bins(
        tuple(f"{_plain(a)} to {_plain(b)}" for a, b in pairs), tuple((a + b) / 2 for a, b in pairs), edges=tuple(edges)
    )


def _of_counts(low: int, high: int, bins: int) -> Bins:
    """About `bins` bins of whole numbers, each named by the first and the last that it can hold: `8 to 9`, `10`."""
    width = round(_nice_step((high - low + 1) / bins, whole=True))
    starts = list(range(low // width * width, high + 1, width))
    ends = [(max(a, low), min(a + width - 1, high)) for a in starts]
    names = [f"{_plain(a)} to {_plain(b)}" if a < b else _plain(a) for a, b in ends]
    centres = tuple(a + (width - 1) / 2 for a in starts)
    return Bins(tuple(names), centres, edges=tuple(a - 0.5 for a in [*starts, starts[-1] + width]))


def _grouped(groups: Mapping[str, Sequence[float]]) -> Bins:
    numbered = [(float(value), index) for index, values in enumerate(groups.values()) for value in values]
    return Bins(
        tuple(groups),
        tuple(float(index) for index in range(len(groups))),
        values=tuple(value for value, _ in numbered),
        groups=tuple(index for _, index in numbered),
        categorical=True,
    )


def condition_tables(results: Results) -> list[ConditionTable]:
    """A table for every condition and metric of the study's report that the examples have values of.

    A pooled metric has no value per example, so it has no table.
    """
    bins = _all_bins(results)
    pairs = [
        (column, metric)
        for column, condition in results.study.report.conditions.items()
        for metric in condition.metrics or results.study.metrics
        if column in bins and metric in results.metrics
    ]
    cells = _cells(results, pairs, bins)
    return [_table(results, *pair, bins[pair[0]], cells[pair]) for pair in pairs if pair in cells]


class _Cell(NamedTuple):
    """One bin of one run: its score, and how many examples and people have a value in it."""

    score: float
    examples: int
    people: int | None


NO_CELL = _Cell(math.nan, 0, 0)
_Cells = Mapping[tuple[str, int], Mapping[int, _Cell]]  # (arm, seed) → bin → cell


def _all_bins(results: Results) -> dict[str, Bins]:
    """Bins of every condition that any run has values of, made from all runs together, so that arms share them."""
    conditions = results.study.report.conditions
    column_of = results.study.report.column_of
    columns: dict[str, list[np.ndarray]] = {name: [] for name in conditions}
    for run in results.run_ids:
        table = results.columns(*run) or {}
        for name in conditions:
            if column_of(name) in table:
                columns[name].append(table[column_of(name)])
    values = {name: np.concatenate(arrays) for name, arrays in columns.items() if arrays}
    return {
        name: make_bins(each, conditions[name], categorical=_holds_names(column_of(name), each))
        for name, each in values.items()
        if np.isfinite(each.astype(float)).any()
    }


def _holds_names(column: str, values: np.ndarray) -> bool:
    """Whether the values are names without an order: integer columns hold the numbers of people, clips or actions."""
    return column == PEOPLE or np.issubdtype(values.dtype, np.integer)


def _cells(
    results: Results, pairs: Sequence[tuple[str, str]], bins: Mapping[str, Bins]
) -> dict[tuple[str, str], dict[tuple[str, int], dict[int, _Cell]]]:
    """The cells of every (condition, metric) that a run has values of; each run's table is read once."""
    column_of = results.study.report.column_of
    cells: dict[tuple[str, str], dict[tuple[str, int], dict[int, _Cell]]] = defaultdict(dict)
    for arm in trained(results):
        for seed in results.study.seeds:
            table = results.columns(arm, seed) or {}
            people = np.unique(table[PEOPLE], return_inverse=True)[1] if PEOPLE in table else None
            for name in dict.fromkeys(name for name, _ in pairs if column_of(name) in table):
                rows_by_bin = rows_by_value(bins[name].index_of(table[column_of(name)].astype(float)))
                for metric in (metric for n, metric in pairs if n == name and metric in table):
                    reduce, values = REDUCE[results.metrics[metric].reduction], table[metric].astype(float)
                    cells[name, metric][arm, seed] = {
                        int(index): cell
                        for index, rows in rows_by_bin.items()
                        if index >= 0 and (cell := _cell(values, people, rows, reduce))
                    }
    return cells


def _cell(
    values: np.ndarray, people: np.ndarray | None, rows: np.ndarray, reduce: Callable[[np.ndarray], float]
) -> _Cell | None:
    """Score of the `rows` of one run, None without values; `people`: the person of every example, numbered from 0."""
    rows = rows[np.isfinite(values[rows])]
    if not rows.size:
        return None
    persons = None if people is None else int(np.count_nonzero(np.bincount(people[rows])))
    return _Cell(reduce(values[rows]), rows.size, persons)


def _table(results: Results, column: str, metric: str, bins: Bins, cells: _Cells) -> ConditionTable:
    indices = range(len(bins.labels))
    arms = list(dict.fromkeys(arm for arm, _ in cells))

    def by_seed(arm: str, index: int) -> dict[int, float]:
        return {seed: cells.get((arm, seed), {}).get(index, NO_CELL).score for seed in results.study.seeds}

    def effects(arm: str, base: str) -> tuple[Effect, ...]:
        pairs = [(by_seed(arm, i), by_seed(base, i)) for i in indices]
        return tuple(
            difference(results, *pair) if wanted else Effect(Estimate(None, None, None, 0, note), {}, None, None)
            for pair, note, wanted in zip(pairs, notes, has_effect, strict=True)
        )

    examples, people = _sizes(cells.values(), indices)
    notes = tuple(_note(*size) for size in zip(examples, people or [None] * len(indices), strict=True))
    # binned by person, every bin has one person: that table compares people
    by_person = results.study.report.column_of(column) == PEOPLE
    has_effect = [n >= MIN_EXAMPLES and (by_person or not note) for n, note in zip(examples, notes, strict=True)]
    bases = {arm: base for arm in arms if (base := baseline_of(results, arm)) in arms and base is not None}
    return ConditionTable(
        column=column,
        label=results.study.report.conditions[column].label or column,
        metric=results.metrics[metric],
        bins=bins,
        examples=examples,
        people=people,
        notes=notes,
        scores={arm: tuple(score(results, by_seed(arm, i)) for i in indices) for arm in arms},
        effects={arm: effects(arm, base) for arm, base in bases.items()},
    )


def _sizes(
    runs: Iterable[Mapping[int, _Cell]], indices: Iterable[int]
) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """Examples and people of every bin, in the run that has the fewest there."""
    cells_by_bin = [[run.get(index, NO_CELL) for run in runs] for index in indices]
    examples = tuple(min(cell.examples for cell in cells) for cells in cells_by_bin)
    if any(cell.people is None for cells in cells_by_bin for cell in cells):
        return examples, None
    return examples, tuple(min(cell.people or 0 for cell in cells) for cells in cells_by_bin)


def _note(examples: int, people: int | None) -> str:
    if not examples:
        return "no example"
    few = f"too few examples: {examples}, at least {MIN_EXAMPLES} are needed" if examples < MIN_EXAMPLES else ""
    alone = "one person" if people is not None and people < MIN_PEOPLE else ""
    return "; ".join(text for text in (few, alone) if text)


def _plain(value: float) -> str:
    return f"{value:.4g}".replace("-", MINUS)


def _round_edges(low: float, high: float, bins: int) -> list[float]:
    step = _nice_step((high - low) / bins)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(i * step, 10) for i in range(first, last + 1)]


def _nice_step(least: float, *, whole: bool = False) -> float:
    """The smallest 1, 2, 2.5 or 5 times a power of ten that is not below `least`, and a whole number if asked."""
    power = 10.0 ** math.floor(math.log10(least))
    steps = (nice * p for p in (power, 10 * power) for nice in NICE_STEPS)
    return next(s for s in steps if s >= least * (1 - 1e-9) and (not whole or s == round(s)))
