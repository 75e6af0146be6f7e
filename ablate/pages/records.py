"""An Analysis as tidy records: a fact a row, numbers with full precision. What CSV files hold; formats nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from ablate.claims.analysis import Analysis
from ablate.claims.answer import Comparison
from ablate.claims.conditions import ConditionTable
from ablate.claims.controls import ControlFinding
from ablate.claims.densities import DensityTable
from ablate.claims.external import ExternalTable
from ablate.claims.factor import FactorCurve
from ablate.claims.people import PopulationRow
from ablate.claims.records import MetricInfo
from ablate.claims.statistics import Effect
from ablate.claims.tradeoff import CostPoint
from ablate.claims.tuning_history import TuningHistory
from ablate.pages.blocks import Plain, Record

Records = tuple[Record, ...]


def flat(value: object, prefix: str = "") -> dict[str, Plain]:
    """The plain fields of a dataclass, by name; those of a dataclass inside it as `field_name`. The rest is left out.

    A metric is its name and unit.
    """
    found: dict[str, Plain] = {}
    assert is_dataclass(value)
    for field in fields(value):
        part: Any = getattr(value, field.name)
        if isinstance(part, MetricInfo):
            found |= {f"{prefix}{field.name}": part.name, f"{prefix}unit": part.unit}
        elif is_dataclass(part):
            found |= flat(part, f"{prefix}{field.name}_")
        elif part is None or isinstance(part, str | float | int | bool):
            found[f"{prefix}{field.name}"] = part
    return found


def matrix(analysis: Analysis) -> Records:
    """A row an arm and metric: score, and difference to the baseline."""
    return tuple(
        {
            **_fields(row, "arm label reference parameters runs expected_runs"),
            **_named(metric),
            **flat(row.scores[metric.name]),
            "against": analysis.baselines.get(row.arm),
            **_effect(row.effects.get(metric.name)),
        }
        for row in analysis.matrix
        for metric in analysis.metrics
    )


def comparisons(found: Sequence[Comparison]) -> Records:
    """A row a comparison."""
    return tuple({**flat(c), "verdict": c.verdict, "reason": c.reason} for c in found)


def populations(rows: Sequence[PopulationRow]) -> Records:
    """A row a comparison."""
    return tuple(flat(row) for row in rows)


def controls(findings: Sequence[ControlFinding]) -> Records:
    """A row a control and metric."""
    return tuple(
        {**flat(finding), **{name: value for name, value in flat(row).items() if name != "sentence"}}
        for finding in findings
        for row in finding.rows
    )


def external(table: ExternalTable) -> Records:
    """A row an arm and metric: score, and difference to the baseline."""
    return tuple(
        {**flat(row), **_named(metric), **flat(row.scores[metric.name]), **_effect(row.effects.get(metric.name))}
        for row in table.rows
        for metric in table.metrics
        if metric.name in row.scores
    )


def factor(curve: FactorCurve) -> Records:
    """A row a family and level: score, and difference to the baseline at that level; then arms outside the factor."""
    families = [
        {
            "setting": curve.setting,
            "level": level,
            "arm": each.arms[place],
            "family": each.family,
            "label": each.label,
            **_named(curve.metric),
            **flat(each.scores[place]),
            **_effect(each.effects[place] if each.effects else None),
        }
        for each in curve.series
        for place, level in enumerate(curve.levels)
    ]
    lines = [{**_fields(line, "arm label"), **_named(curve.metric), **flat(line.score)} for line in curve.lines]
    return (*families, *lines)


def parameters(analysis: Analysis) -> Records:
    """A row an arm, a column a part of its model."""
    return tuple(
        {**flat(row), **{f"parameters_{part}": count for part, count in row.parts.items()}}
        for row in analysis.parameters
    )


def budget(analysis: Analysis) -> Records:
    """A row an arm."""
    return tuple(flat(row) for row in analysis.budget)


def tuned(analysis: Analysis) -> Records:
    """A row an arm and tuned setting."""
    return tuple(
        {"arm": row.arm, "label": row.label, "setting": setting, "value": value}
        for row in analysis.budget
        for setting, value in row.tuned.items()
    )


def curves(analysis: Analysis) -> Records:
    """A row a score, arm and epoch: mean, lowest and highest seed."""
    return tuple(
        {"score": panel.key, "unit": panel.unit, "arm": arm, "label": analysis.labels[arm], **_columns(entry)}
        for panel in analysis.curves
        for arm, frame in panel.arms.items()
        for entry in frame.to_dict("records")
    )


def condition(table: ConditionTable) -> Records:
    """A row an arm and bin: score, and difference to the baseline."""
    return tuple(
        {
            "condition": table.column,
            "bin": table.bins.labels[place],
            "centre": table.bins.centres[place],
            "examples": table.examples[place],
            "people": table.people[place] if table.people else None,
            "bin_note": table.notes[place],
            "arm": arm,
            **_named(table.metric),
            **flat(score),
            **_effect(table.effects[arm][place] if arm in table.effects else None),
        }
        for arm, scores in table.scores.items()
        for place, score in enumerate(scores)
    )


def density(table: DensityTable) -> Records:
    """A row an arm and share: per cent of the examples."""
    return tuple(
        {"column": table.column, "arm": arm.arm, "label": arm.label, "share": name, "unit": "%", **flat(share)}
        for arm in table.arms.values()
        for name, share in zip(table.names, arm.shares, strict=True)
    )


def cost(points: Sequence[CostPoint]) -> Records:
    """A row an arm and metric."""
    return tuple(
        {**flat(point), "metric": metric, **flat(score)} for point in points for metric, score in point.scores.items()
    )


def tuning(history: TuningHistory) -> Records:
    """A row a trial: its value on validation and its settings."""
    return tuple(
        {**_fields(arm, "arm label"), "trial": trial.number, "value": trial.value, **_columns(trial.settings)}
        for arm in history.arms
        for trial in arm.trials
    )


def importances(history: TuningHistory) -> Records:
    """A row an arm and setting: Spearman's rank correlation with the score on validation."""
    return tuple(
        {**_fields(arm, "arm label"), "setting": setting, "spearman": rho}
        for arm in history.arms
        for setting, rho in arm.correlations.items()
    )


def _fields(value: object, names: str) -> dict[str, Plain]:
    return {name: getattr(value, name) for name in names.split()}


def _columns(entry: Mapping[Any, Any]) -> dict[str, Plain]:
    return {str(name): value for name, value in entry.items()}


def _named(metric: MetricInfo) -> dict[str, Plain]:
    return {"metric": metric.name, "unit": metric.unit}


def _effect(effect: Effect | None) -> dict[str, Plain]:
    return {} if effect is None else flat(effect)
