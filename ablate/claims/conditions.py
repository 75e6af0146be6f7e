"""Scores and differences by a per-example condition: azimuth, elevation, lean. Bins and means; draws nothing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ablate.claims.costs import trained
from ablate.claims.numbers import MINUS
from ablate.claims.records import MetricInfo
from ablate.claims.results import Results
from ablate.claims.statistics import Effect, Estimate, estimate, paired
from ablate.study import Condition

NICE_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Bins:
    """Where a condition is cut. Periodic bins are equal and the first is centred on 0."""

    labels: tuple[str, ...]
    centres: tuple[float, ...]
    edges: tuple[float, ...] = ()  # of an unperiodic scale: half open, the last bin closed
    values: tuple[float, ...] = ()  # or one bin for each of few values
    period: float | None = None

    def place(self, column: np.ndarray) -> np.ndarray:
        """Bin index of every value; −1 outside of all bins and for NaN."""
        known = np.isfinite(column)
        if self.period is not None:
            width = self.period / len(self.labels)
            index = np.floor(np.where(known, column, 0.0) / width + 0.5).astype(int) % len(self.labels)
        elif self.values:
            matches = np.isclose(column[:, None], np.array(self.values))
            index = np.where(matches.any(axis=1), matches.argmax(axis=1), -1)
        else:
            index = np.searchsorted(self.edges, column, side="right") - 1
            index = np.where(column == self.edges[-1], len(self.labels) - 1, index)
            index = np.where(index >= len(self.labels), -1, index)
        return np.where(known, index, -1)


@dataclass(frozen=True)
class ConditionTable:
    """One metric along one condition: an estimate over seeds for every arm and bin, and the effect on the baseline."""

    column: str
    label: str
    metric: MetricInfo
    bins: Bins
    examples: tuple[int, ...]  # test examples in each bin, of one run
    scores: Mapping[str, tuple[Estimate, ...]]  # by arm
    effects: Mapping[str, tuple[Effect, ...]]  # by arm other than the baseline


def make_bins(column: np.ndarray, condition: Condition) -> Bins:
    """Cut a column: equally around a period, by value where there are few, else at round numbers.

    At round numbers the count of bins is near `condition.bins`, not exactly it.
    """
    if condition.period is not None:
        width = condition.period / condition.bins
        centres = tuple(i * width for i in range(condition.bins))
        return Bins(tuple(f"{c:g} ± {width / 2:g}" for c in centres), centres, period=condition.period)
    values = np.unique(column[np.isfinite(column)].astype(float))
    if len(values) <= condition.bins:
        return Bins(tuple(_plain(v) for v in values), tuple(values.tolist()), values=tuple(values.tolist()))
    edges = _round_edges(float(values[0]), float(values[-1]), condition.bins)
    pairs = list(itertools.pairwise(edges))
    return Bins(
        tuple(f"{_plain(a)} to {_plain(b)}" for a, b in pairs), tuple((a + b) / 2 for a, b in pairs), edges=tuple(edges)
    )


def condition_tables(results: Results) -> list[ConditionTable]:
    """A table for every condition and metric of the study's report that its examples have."""
    wanted = results.study.report.conditions
    bins = {column: _bins_of(results, column, condition) for column, condition in wanted.items()}
    pairs = [
        (column, metric)
        for column, condition in wanted.items()
        for metric in condition.metrics or results.study.metrics
        if bins[column] is not None and metric in results.metrics
    ]
    cells = _cells(results, pairs, {column: cut for column, cut in bins.items() if cut is not None})
    tables = (_table(results, column, metric, bins[column], cells) for column, metric in pairs)
    return [table for table in tables if table is not None]


_Cells = dict[tuple[str, str, str, int], pd.DataFrame]  # (column, metric, arm, seed) → score and size of each bin


def _bins_of(results: Results, column: str, condition: Condition) -> Bins | None:
    """From the examples of all runs, so that every arm is cut alike; None when no run has the column."""
    runs = (results.examples(str(run.arm), int(str(run.seed))) for run in results.done().itertuples())
    found = [np.unique(frame[column].to_numpy(float)) for frame in runs if frame is not None and column in frame]
    return make_bins(np.concatenate(found), condition) if found else None


def _cells(results: Results, pairs: Sequence[tuple[str, str]], bins: Mapping[str, Bins]) -> _Cells:
    cells: _Cells = {}
    arms = trained(results)
    for run in results.done().itertuples():
        arm, seed = str(run.arm), int(str(run.seed))
        frame = results.examples(arm, seed) if arm in arms else None
        for column, metric in pairs if frame is not None else ():
            if frame is not None and column in frame and metric in frame:
                place = bins[column].place(frame[column].to_numpy(float))
                by_bin = frame[metric].astype(float).groupby(place)
                cells[column, metric, arm, seed] = by_bin.agg([results.metrics[metric].reduction, "size"])
    return cells


def _table(results: Results, column: str, metric: str, bins: Bins | None, cells: _Cells) -> ConditionTable | None:
    of_pair = {(arm, seed): cell for (c, m, arm, seed), cell in cells.items() if (c, m) == (column, metric)}
    if bins is None or not of_pair:
        return None
    info, places = results.metrics[metric], range(len(bins.labels))
    arms = [arm for arm in trained(results) if any(a == arm for a, _ in of_pair)]

    def by_seed(arm: str, place: int) -> dict[int, float]:
        cells = {seed: of_pair.get((arm, seed)) for seed in results.study.seeds}
        return {
            seed: math.nan if cell is None or place not in cell.index else float(cell[info.reduction].to_dict()[place])
            for seed, cell in cells.items()
        }

    sizes = next(iter(of_pair.values()))["size"]
    baseline = results.study.baseline
    return ConditionTable(
        column=column,
        label=results.study.report.conditions[column].label or column,
        metric=info,
        bins=bins,
        examples=tuple(int(sizes.get(place, 0)) for place in places),
        scores={arm: tuple(estimate(list(by_seed(arm, i).values())) for i in places) for arm in arms},
        effects={
            arm: tuple(paired(by_seed(arm, i), by_seed(baseline, i)) for i in places)
            for arm in arms
            if arm != baseline and baseline in arms
        },
    )


def _plain(value: float) -> str:
    return f"{value:.4g}".replace("-", MINUS)


def _round_edges(low: float, high: float, bins: int) -> list[float]:
    raw = (high - low) / bins
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(nice * power for nice in NICE_STEPS if nice * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(i * step, 10) for i in range(first, last + 1)]
