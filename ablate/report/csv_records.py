"""Tidy records for the CSV files: named values with full precision, without formatting."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

from ablate.analysis.records import MetricInfo
from ablate.report.blocks import Plain


def flat(*values: object, prefix: str = "") -> dict[str, Plain]:
    """The plain fields of dataclasses by name; fields of a nested dataclass as `field_name`. None adds nothing.

    A metric becomes its name and unit. Fields of other types are left out. Field names are the columns of the CSV.
    """
    record: dict[str, Plain] = {}
    for value in values:
        if isinstance(value, MetricInfo):
            record |= {f"{prefix}metric": value.name, f"{prefix}unit": value.unit}
        elif is_dataclass(value):
            for field in fields(value):
                part: Any = getattr(value, field.name)
                if isinstance(part, MetricInfo):
                    record |= flat(part, prefix=prefix)
                elif is_dataclass(part):
                    record |= flat(part, prefix=f"{prefix}{field.name}_")
                elif part is None or isinstance(part, str | float | int | bool):
                    record[f"{prefix}{field.name}"] = part
    return record
