"""Parameters and latency of every arm beside its scores. Numbers only; draws nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ablate.analysis.costs import count, label, references_last
from ablate.analysis.results import Results
from ablate.analysis.statistics import Estimate, estimate


@dataclass(frozen=True)
class CostPoint:
    """One arm or reference. A cost is None where no run recorded it; a reference may have no parameters at all."""

    arm: str
    label: str
    reference: bool
    parameters: float | None
    latency_ms: float | None  # of one example: the median of a run, averaged over the runs that measured it
    scores: Mapping[str, Estimate]  # by metric

    @property
    def costs(self) -> Mapping[str, float | None]:
        """The costs by the keys of `COSTS`."""
        return {"parameters": self.parameters, "latency": self.latency_ms}


COSTS: Mapping[str, str] = {"parameters": "Parameters", "latency": "Latency of one example (ms)"}
LATENCY = "cost/latency_ms_p50"


def tradeoff(results: Results) -> tuple[CostPoint, ...]:
    """A point for every arm and reference that has a score, in study order, references last."""
    points = (_point(results, arm) for arm in references_last(results))
    return tuple(point for point in points if any(score.n for score in point.scores.values()))


def _point(results: Results, arm: str) -> CostPoint:
    keys = {name: results.metrics[name].test for name in results.study.metrics}
    return CostPoint(
        arm=arm,
        label=label(results, arm),
        reference=results.study.arms[arm].reference,
        parameters=count(results, arm),
        latency_ms=estimate(list(results.by_seed(arm, LATENCY).values())).mean,
        scores={name: estimate(list(results.by_seed(arm, key).values())) for name, key in keys.items()},
    )
