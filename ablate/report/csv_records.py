"""Tidy records for the CSV files: named values with full precision, without formatting."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any

from ablate.analysis.records import MetricInfo
from ablate.analysis.statistics import Effect
from ablate.report.blocks import Plain, Record


def flat(value: object, prefix: str = "") -> dict[str, Plain]:
    """The plain fields of a dataclass by name; fields of a nested dataclass as `field_name`.

    A metric becomes its name and unit. Fields of other types are left out. Field names are the columns of the CSV.
    """
    record: dict[str, Plain] = {}
    assert is_dataclass(value)
    for field in fields(value):
        field_value: Any = getattr(value, field.name)
        if isinstance(field_value, MetricInfo):
            record |= {f"{prefix}{field.name}": field_value.name, f"{prefix}unit": field_value.unit}
        elif is_dataclass(field_value):
            record |= flat(field_value, f"{prefix}{field.name}_")
        elif field_value is None or isinstance(field_value, str | float | int | bool):
            record[f"{prefix}{field.name}"] = field_value
    return record


def flat_each(values: Iterable[object]) -> tuple[Record, ...]:
    """One record for each value."""
    return tuple(flat(value) for value in values)


def metric_fields(metric: MetricInfo) -> dict[str, Plain]:
    """The metric's name and unit."""
    return {"metric": metric.name, "unit": metric.unit}


def effect_fields(effect: Effect | None) -> dict[str, Plain]:
    """The fields of an effect; empty without one."""
    return {} if effect is None else flat(effect)
