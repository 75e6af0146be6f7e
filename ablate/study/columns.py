"""The column in which the per-example values of each metric are stored. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Iterable

from ablate.study import Metric


def columns(metrics: Iterable[Metric]) -> dict[str, str]:
    """Metric → the first metric whose `per_example` is the same function; "" for a pooled one, which has no column.

    Mean, median and root mean square of one error are three scores of the same values.
    """
    earlier: list[Metric] = []
    column_of: dict[str, str] = {}
    for metric in metrics:
        first = next((other.name for other in earlier if other.per_example is metric.per_example), metric.name)
        column_of[metric.name] = "" if metric.pooled else first
        if not metric.pooled:
            earlier.append(metric)
    return column_of
