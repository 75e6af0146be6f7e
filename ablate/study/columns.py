"""Under which name the per-example values of each metric are kept. Pure: knows no file format."""

from __future__ import annotations

from collections.abc import Iterable

from ablate.study import Metric


def columns(metrics: Iterable[Metric]) -> dict[str, str]:
    """Metric → the first metric whose `per_example` is the same function; "" for a pooled one, which keeps none.

    Mean, median and root mean square of one error are three scores of the same values.
    """
    kept: list[Metric] = []
    found: dict[str, str] = {}
    for metric in metrics:
        same = next((other.name for other in kept if other.per_example is metric.per_example), metric.name)
        found[metric.name] = "" if metric.pooled else same
        if not metric.pooled:
            kept.append(metric)
    return found
