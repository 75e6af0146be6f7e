"""What a study's runs have shown, as a store keeps it beside them for its users: of every arm a mean with its interval.

Plain data, written by the command that has the report and read by people, never by `ablate` itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ablate.study.model import Direction


class Ends(NamedTuple):
    """A mean over seeds and the ends of its 95 % interval; None where one value or none gives no interval."""

    mean: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class ArmSummary:
    """One arm over its finished seeds. `metrics` and `curves` have the names of the runs' metrics."""

    arm: str
    label: str
    colour: str  # "#rrggbb", as in the figures of the report
    yardstick: bool  # a reference, which is not trained
    runs: Mapping[int, str]  # run id of every finished seed
    metrics: Mapping[str, Ends]
    curves: Mapping[str, Mapping[int, Ends]]  # metric → epoch → values
    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class StudySummary:
    """A study as one page: what it asks and answers, in Markdown, its arms, and what to show of them."""

    study: str
    note: str
    verdicts: Mapping[str, str]  # "<arm>/<against>/<metric>" → outcome
    arms: Sequence[ArmSummary]  # in study order
    shown: Mapping[str, Direction]  # the metrics that are compared, the primary one first
    curves: tuple[str, ...]  # the curves that are shown
    best: str | None  # of the trained arms, that with the best mean in the primary metric
    baseline: str
    files: Mapping[str, Path] = field(default_factory=dict)  # path inside the store → file
