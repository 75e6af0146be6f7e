"""Scores and differences by a per-example condition: azimuth, elevation, lean. Bins and means; draws nothing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ablate.analysis.costs import trained
from ablate.analysis.effects import baseline_of, difference, score
from ablate.analysis.numbers import MINUS
from ablate.analysis.population import REDUCE
from ablate.analysis.records import MetricInfo
from ablate.analysis.results import Results
from ablate.analysis.statistics import Effect, Estimate
from ablate.study import Condition

PEOPLE = "subject"  # the column that names the person of every example
MIN_EXAMPLES, MIN_PEOPLE = 30, 2  # a bin with fewer has no effect
MAX_NAMES = 40
NICE_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Bins:
    """Where a condition is cut. Periodic bins are equal and the first is centred on 0."""

    labels: tuple[str, ...]
    centres: tuple[float, ...]
    edges: tuple[float, ...] = ()  # of an unperiodic scale: half open, the last bin closed
    values: tuple[float, ...] = ()  # or one bin for each of few values
    groups: tuple[int, ...] = ()  # of each value the bin that it shares with others
    period: float | None = None
    categorical: bool = False  # the values are names without an order; `centres` are positions

    def place(self, column: np.ndarray) -> np.ndarray:
        """Bin index of every value; −1 outside of all bins and for NaN."""
        known = np.isfinite(column)
        if self.period is not None:
            width = self.period / len(self.labels)
            index = np.floor(np.where(known, column, 0.0) / width + 0.5).astype(int) % len(self.labels)
        elif self.values:
            matches = np.isclose(column[:, None], np.array(self.values))
            of_value = np.array(self.groups or range(len(self.values)))
            index = np.where(matches.any(axis=1), of_value[matches.argmax(axis=1)], -1)
        else:
            index = np.searchsorted(self.edges, column, side="right") - 1
            index = np.where(column == self.edges[-1], len(self.labels) - 1, index)
            index = np.where(index >= len(self.labels), -1, index)
        return np.where(known, index, -1)


@dataclass(frozen=True)
class ConditionTable:
    """One metric along one condition: an estimate over seeds for every arm and bin, and the effect on the baseline.

    A bin with fewer than 30 examples or two people has effects without a number, and a note; slices by person are
    exempt from the second.
    """

    column: str
    label: str
    metric: MetricInfo
    bins: Bins
    examples: tuple[int, ...]  # test examples in each bin: of the run that has fewest there
    people: tuple[int, ...] | None  # likewise; None where no run names them
    notes: tuple[str, ...]  # of a bin: "too few examples: 8, …", "one person"; "" when nothing is wrong
    scores: Mapping[str, tuple[Estimate, ...]]  # by arm
    effects: Mapping[str, tuple[Effect, ...]]  # by arm other than the baseline


def make_bins(column: np.ndarray, condition: Condition, *, categorical: bool = False) -> Bins:
    """Cut a column: by the condition's groups, equally around a period, by few values or names, or at round numbers.

    At round numbers the count of bins is near `condition.bins`, not exactly it. Of names the most frequent 40 are kept.
    """
    if condition.period is not None:
        width = condition.period / condition.bins
        centres = tuple(i * width for i in range(condition.bins))
        return Bins(tuple(f"{c:g} ± {width / 2:g}" for c in centres), centres, period=condition.period)
    if condition.groups:
        return _grouped(condition.groups)
    found, counts = np.unique(column[np.isfinite(column)].astype(float), return_counts=True)
    if categorical:
        found = np.sort(found[np.argsort(-counts, kind="stable")[:MAX_NAMES]])
        places = tuple(float(place) for place in range(len(found)))
        return Bins(tuple(f"{v:g}" for v in found), places, values=tuple(found.tolist()), categorical=True)
    if len(found) <= condition.bins:
        return Bins(tuple(_plain(v) for v in found), tuple(found.tolist()), values=tuple(found.tolist()))
    edges = _round_edges(float(found[0]), float(found[-1]), condition.bins)
    pairs = list(itertools.pairwise(edges))
    return Bins(
        tuple(f"{_plain(a)} to {_plain(b)}" for a, b in pairs), tuple((a + b) / 2 for a, b in pairs), edges=tuple(edges)
    )


def _grouped(groups: Mapping[str, Sequence[float]]) -> Bins:
    named = [(float(value), place) for place, values in enumerate(groups.values()) for value in values]
    return Bins(
        tuple(groups),
        tuple(float(place) for place in range(len(groups))),
        values=tuple(value for value, _ in named),
        groups=tuple(place for _, place in named),
        categorical=True,
    )


def condition_tables(results: Results) -> list[ConditionTable]:
    """A table for every condition and metric of the study's report that its examples have; a pooled metric has none."""
    bins = _all_bins(results)
    pairs = [
        (column, metric)
        for column, condition in results.study.report.conditions.items()
        for metric in condition.metrics or results.study.metrics
        if column in bins and metric in results.metrics
    ]
    cells = _cells(results, pairs, bins)
    tables = (_table(results, column, metric, bins[column], cells) for column, metric in pairs)
    return [table for table in tables if table is not None]


class _Cell(NamedTuple):
    """One bin of one run: its score, the examples that have one, and the people they are of."""

    score: float
    examples: int
    people: int | None


_Cells = dict[tuple[str, str, str, int], dict[int, _Cell]]  # (condition, metric, arm, seed) → bin → cell


def _all_bins(results: Results) -> dict[str, Bins]:
    """Bins of every condition that any run has values of, made from all runs together: the same for every arm."""
    wanted = results.study.report.conditions
    column_of = results.study.report.column_of
    found: dict[str, list[np.ndarray]] = {name: [] for name in wanted}
    for run in results.done().itertuples():
        table = results.columns(str(run.arm), int(str(run.seed))) or {}
        for name in wanted:
            if column_of(name) in table:
                found[name].append(table[column_of(name)])
    values = {name: np.concatenate(parts) for name, parts in found.items() if parts}
    return {
        name: make_bins(each, wanted[name], categorical=_is_name(column_of(name), each))
        for name, each in values.items()
        if np.isfinite(each.astype(float)).any()
    }


def _is_name(column: str, values: np.ndarray) -> bool:
    """Whether the values are names: integer columns number people, clips or actions."""
    return column == PEOPLE or np.issubdtype(values.dtype, np.integer)


def _cells(results: Results, pairs: Sequence[tuple[str, str]], bins: Mapping[str, Bins]) -> _Cells:
    cells: _Cells = {}
    for arm in trained(results):
        for seed in results.study.seeds:
            table = results.columns(arm, seed) or {}
            people = np.unique(table[PEOPLE], return_inverse=True)[1] if PEOPLE in table else None
            for name in dict.fromkeys(name for name, _ in pairs if results.study.report.column_of(name) in table):
                place = bins[name].place(table[results.study.report.column_of(name)].astype(float))
                inside = _inside(place)
                for metric in (metric for n, metric in pairs if n == name and metric in table):
                    reduce, values = REDUCE[results.metrics[metric].reduction], table[metric].astype(float)
                    cells[name, metric, arm, seed] = {
                        index: cell for index, rows in inside.items() if (cell := _cell(values, people, rows, reduce))
                    }
    return cells


def _inside(place: np.ndarray) -> dict[int, np.ndarray]:
    """The rows in each bin, in order; those outside of all bins left out."""
    order = np.argsort(place, kind="stable")
    names, starts = np.unique(place[order], return_index=True)
    parts = np.split(order, starts[1:]) if names.size else []
    return {index: rows for index, rows in zip(names.tolist(), parts, strict=True) if index >= 0}


def _cell(
    values: np.ndarray, people: np.ndarray | None, rows: np.ndarray, reduce: Callable[[np.ndarray], float]
) -> _Cell | None:
    """Score of the `rows` of one run; `people` are numbers from 0. None without a value."""
    rows = rows[np.isfinite(values[rows])]
    if not rows.size:
        return None
    persons = None if people is None else int(np.count_nonzero(np.bincount(people[rows])))
    return _Cell(reduce(values[rows]), rows.size, persons)


def _table(results: Results, column: str, metric: str, bins: Bins, cells: _Cells) -> ConditionTable | None:
    of_pair = {(arm, seed): found for (c, m, arm, seed), found in cells.items() if (c, m) == (column, metric)}
    if not of_pair:
        return None
    places = range(len(bins.labels))
    arms = [arm for arm in trained(results) if any(a == arm for a, _ in of_pair)]

    def by_seed(arm: str, place: int) -> dict[int, float]:
        found = {seed: of_pair.get((arm, seed), {}).get(place) for seed in results.study.seeds}
        return {seed: math.nan if cell is None else cell.score for seed, cell in found.items()}

    def effects(arm: str, base: str) -> tuple[Effect, ...]:
        pairs = [(by_seed(arm, i), by_seed(base, i)) for i in places]
        return tuple(
            difference(results, *pair) if enough else _nothing(note)
            for pair, note, enough in zip(pairs, notes, sound, strict=True)
        )

    examples, people = _sizes(of_pair.values(), places)
    notes = tuple(_note(*size) for size in zip(examples, people or [None] * len(places), strict=True))
    # a slice by person has one person a bin, and is meant to compare people
    by_person = results.study.report.column_of(column) == PEOPLE
    sound = [n >= MIN_EXAMPLES and (by_person or not note) for n, note in zip(examples, notes, strict=True)]
    bases = {arm: base for arm in arms if (base := baseline_of(results, arm)) in arms and base is not None}
    return ConditionTable(
        column=column,
        label=results.study.report.conditions[column].label or column,
        metric=results.metrics[metric],
        bins=bins,
        examples=examples,
        people=people,
        notes=notes,
        scores={arm: tuple(score(results, by_seed(arm, i)) for i in places) for arm in arms},
        effects={arm: effects(arm, base) for arm, base in bases.items()},
    )


def _sizes(
    runs: Iterable[Mapping[int, _Cell]], places: Iterable[int]
) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """Examples and people of every bin, in the run that has fewest there."""
    found = [[run.get(place, _Cell(math.nan, 0, 0)) for run in runs] for place in places]
    examples = tuple(min(cell.examples for cell in cells) for cells in found)
    if any(cell.people is None for cells in found for cell in cells):
        return examples, None
    return examples, tuple(min(cell.people or 0 for cell in cells) for cells in found)


def _note(examples: int, people: int | None) -> str:
    if not examples:
        return "no example"
    few = f"too few examples: {examples}, at least {MIN_EXAMPLES} are needed" if examples < MIN_EXAMPLES else ""
    alone = "one person" if people is not None and people < MIN_PEOPLE else ""
    return "; ".join(text for text in (few, alone) if text)


def _nothing(note: str) -> Effect:
    return Effect(Estimate(None, None, None, 0, note), {}, None, None)


def _plain(value: float) -> str:
    return f"{value:.4g}".replace("-", MINUS)


def _round_edges(low: float, high: float, bins: int) -> list[float]:
    raw = (high - low) / bins
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(nice * power for nice in NICE_STEPS if nice * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(i * step, 10) for i in range(first, last + 1)]
