"""Labels of the arms, their parameters and other costs. Numbers only; draws nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ablate.analysis.results import Results
from ablate.analysis.statistics import Estimate, estimate
from ablate.study import Scalar
from ablate.study.factor import level_text

PARAMETERS, LATENCY = "cost/parameters", "cost/latency_ms_p50"
COSTS: Mapping[str, str] = {"parameters": "Parameters", "latency": "Latency of one example (ms)"}


@dataclass(frozen=True)
class ParameterRow:
    """Parameter counts of one trained arm; `added` against the baseline, None where either is unknown."""

    arm: str
    label: str
    total: float | None
    parts: Mapping[str, float | None]  # parts that the model names, for example its angle path
    added: float | None
    flops: float | None  # of one example, theoretical
    latency_ms: float | None  # at batch size 1: the median of a run, averaged over the runs that measured it


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


def label(results: Results, arm: str) -> str:
    """The arm's label, or its name where it has no label; label and name where another arm has the same label.

    Of an arm on all data sets together, the label in the file.
    """
    arms = results.study.arms
    if arm not in arms and results.study.over_datasets(arm):
        return family_label(results, arm)
    own = arms[arm].label or arm
    shared = sum((other.label or name) == own for name, other in arms.items()) > 1
    return f"{own} ({arm})" if shared else own


def family_label(results: Results, family: str) -> str:
    """The label of a family, without a level or a data set. `family` may also name an arm outside the factor."""
    if family in results.study.arms:
        return label(results, family)
    member = next((arm for arm in results.study.arms.values() if arm.family == family), None)
    if member is None or member.level is None or not member.label:
        return family
    return member.label.removesuffix(f" @ {level_label(results, member.level)}")


def level_label(results: Results, level: Scalar) -> str:
    """How the report names a level of the factor, or a data set."""
    found = results.study.datasets.get(level) if isinstance(level, str) else None
    return level_text(level) if found is None else found.label or level_text(level)


def trained(results: Results) -> list[str]:
    """The arms that are not references, in study order."""
    return [name for name, arm in results.study.arms.items() if not arm.reference]


def references_last(results: Results) -> list[str]:
    """All arms in study order, references last."""
    arms = results.study.arms
    return sorted(arms, key=lambda name: arms[name].reference)


def count(results: Results, arm: str, key: str = PARAMETERS) -> float | None:
    """A count that is the same for every seed; None before any run has recorded it."""
    return next((v for v in results.by_seed(arm, key).values() if math.isfinite(v)), None)


def mean_of(by_seed: Mapping[int, float]) -> float | None:
    """The mean of the finite values; None without any."""
    values = [value for value in by_seed.values() if math.isfinite(value)]
    return sum(values) / len(values) if values else None


def parameter_rows(results: Results) -> list[ParameterRow]:
    """A row for every trained arm; all rows have the parts that any arm's model names."""
    parts = sorted({str(m) for m in results.scores.metric if str(m).startswith(f"{PARAMETERS}_")})
    return [_parameter_row(results, arm, parts) for arm in trained(results)]


def tradeoff(results: Results) -> tuple[CostPoint, ...]:
    """A point for every arm and reference that has a score, in study order, references last."""
    points = (_point(results, arm) for arm in references_last(results))
    return tuple(point for point in points if any(score.n for score in point.scores.values()))


def _parameter_row(results: Results, arm: str, parts: list[str]) -> ParameterRow:
    total, against = count(results, arm), results.study.baseline_of(arm)
    base = count(results, against)
    is_other = arm != against and total is not None and base is not None
    return ParameterRow(
        arm=arm,
        label=label(results, arm),
        total=total,
        parts={part.removeprefix(f"{PARAMETERS}_"): count(results, arm, part) for part in parts},
        added=(total or 0) - (base or 0) if is_other else None,
        flops=count(results, arm, "cost/flops"),
        latency_ms=mean_of(results.by_seed(arm, LATENCY)),
    )


def _point(results: Results, arm: str) -> CostPoint:
    keys = {name: results.study.score_key(name) for name in results.study.metrics}
    return CostPoint(
        arm=arm,
        label=label(results, arm),
        reference=results.study.arms[arm].reference,
        parameters=count(results, arm),
        latency_ms=estimate(list(results.by_seed(arm, LATENCY).values())).mean,
        scores={name: estimate(list(results.by_seed(arm, key).values())) for name, key in keys.items()},
    )
