"""True against predicted values: a two-dimensional histogram, and shares of small and large errors. Draws nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from ablate.analysis.costs import label, trained
from ablate.analysis.results import Results
from ablate.analysis.statistics import Estimate, estimate
from ablate.study import Density

BINS = 36  # 10° of a full turn
ROOM = 0.05  # of the true values' range, added on either side: predictions reach a little beyond that range
NICE = (5.0, 2.5, 2.0, 1.0)


@dataclass(frozen=True)
class ArmDensity:
    """One arm, all its seeds together. `counts[i][j]`: examples in true bin i and predicted bin j of the edges."""

    arm: str
    label: str
    counts: tuple[tuple[int, ...], ...]
    outside: int  # examples beyond the edges: in the shares, but not in `counts`
    seeds: int
    shares: tuple[Estimate, ...]  # per cent of the examples, mean over seeds; one for each name of the table


@dataclass(frozen=True)
class DensityTable:
    """True against predicted values of one column. Both have the same `edges`; `names` say what each share counts."""

    column: str
    label: str
    unit: str
    period: float | None
    edges: tuple[float, ...]
    names: tuple[str, ...]
    arms: Mapping[str, ArmDensity]


def density_tables(results: Results) -> tuple[DensityTable, ...]:
    """A table for every density that the study's report asks for and that the runs have values of."""
    densities = results.study.report.densities.items()
    tables = (_table(results, column, density) for column, density in densities if density.error in results.metrics)
    return tuple(table for table in tables if table is not None)


def _table(results: Results, column: str, density: Density) -> DensityTable | None:
    runs = {arm: _runs(results, arm, column, density.error) for arm in trained(results)}
    runs = {arm: run_pairs for arm, run_pairs in runs.items() if run_pairs}
    if not runs:
        return None
    pairs = [pair for run_pairs in runs.values() for pair in run_pairs]
    edges = _edges(pairs, density.period)
    scale = density.period or float(edges[-1] - edges[0])
    unit = results.metrics[density.error].unit
    ranges = _error_ranges(scale, unit, periodic=density.period is not None)
    return DensityTable(
        column=column,
        label=density.label or column,
        unit=unit,
        period=density.period,
        edges=tuple(edges.tolist()),
        names=tuple(ranges),
        arms={
            arm: _arm(arm, label(results, arm), run_pairs, edges, density.period, ranges.values())
            for arm, run_pairs in runs.items()
        },
    )


_Pair = tuple[np.ndarray, np.ndarray]  # true values and errors of one run's examples, both finite
_Range = tuple[float, float]  # of absolute errors, both ends included


def _runs(results: Results, arm: str, column: str, error: str) -> list[_Pair]:
    pairs = []
    for seed in results.study.seeds:
        table = results.columns(arm, seed) or {}
        if column in table and error in table:
            both = np.stack([table[column], table[error]]).astype(float)
            true, errors = both[:, np.isfinite(both).all(axis=0)]
            if true.size:
                pairs.append((true, errors))
    return pairs


def _edges(pairs: list[_Pair], period: float | None) -> np.ndarray:
    """Edges over one period, or at round numbers around the true values. Far predictions do not widen them."""
    if period is not None:
        return np.linspace(0.0, period, BINS + 1)
    low, high = min(float(true.min()) for true, _ in pairs), max(float(true.max()) for true, _ in pairs)
    room, step = ROOM * (high - low), _nice((high - low) / 8 or 1.0)
    return np.linspace(math.floor((low - room) / step) * step, (math.floor((high + room) / step) + 1) * step, BINS + 1)


def _arm(
    arm: str,
    name: str,
    pairs: list[_Pair],
    edges: np.ndarray,
    period: float | None,
    ranges: Iterable[_Range],
) -> ArmDensity:
    true, errors = np.concatenate(pairs, axis=1)
    shown = (true, true + errors) if period is None else (true % period, (true + errors) % period)
    counts = np.histogram2d(*shown, bins=(edges, edges))[0].astype(int)
    sizes = [_size(errors, period) for _, errors in pairs]
    shares = tuple(
        estimate([100 * float(np.mean((size >= low) & (size <= high))) for size in sizes]) for low, high in ranges
    )
    outside = len(true) - int(counts.sum())
    return ArmDensity(arm, name, tuple(tuple(row) for row in counts.tolist()), outside, len(pairs), shares)


def _size(error: np.ndarray, period: float | None) -> np.ndarray:
    """Absolute errors; on a periodic scale the distance the short way around the circle."""
    size: np.ndarray = np.abs(error if period is None else (error + period / 2) % period - period / 2)
    return size


def _error_ranges(scale: float, unit: str, *, periodic: bool) -> dict[str, _Range]:
    """Name → range that is counted: small errors, large errors and, around a circle, errors near half a turn."""
    text = partial(_with_unit, unit=unit)
    near = scale / 16 if periodic else _nice(scale / 16)
    far = 4 * near  # at most a quarter of the scale
    ranges = {f"Within {text(limit)}": (0.0, limit) for limit in (near, 2 * near)}
    ranges[f"Off by over {text(far)}"] = (math.nextafter(far, math.inf), math.inf)
    if periodic:
        half = scale / 2
        ranges[f"{text(half - scale / 16)} to {text(half)}"] = (half - scale / 16, half)
    return ranges


def _with_unit(value: float, *, unit: str) -> str:
    return f"{value:g}°" if unit == "°" else f"{value:g} {unit}".rstrip()


def _nice(value: float) -> float:
    """The largest 1, 2, 2.5 or 5 times a power of ten that is not above `value`."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in NICE if step * power <= value * (1 + 1e-9))
