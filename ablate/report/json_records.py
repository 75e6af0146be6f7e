"""Facts as tidy records: numbers with full precision, a name each. What CSV files hold; formats nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any

from ablate.analysis.records import MetricInfo
from ablate.analysis.statistics import Effect
from ablate.report.blocks import Plain, Record


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


def flat_each(values: Iterable[object]) -> tuple[Record, ...]:
    """A record a value."""
    return tuple(flat(value) for value in values)


def metric_fields(metric: MetricInfo) -> dict[str, Plain]:
    """Its name and unit."""
    return {"metric": metric.name, "unit": metric.unit}


def effect_fields(effect: Effect | None) -> dict[str, Plain]:
    """Nothing without an effect."""
    return {} if effect is None else flat(effect)
