"""The outcome of a control: its differences to both arms, and a sentence that states what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ablate.analysis.phrasing import Shown
from ablate.analysis.records import MetricInfo
from ablate.analysis.statistics import Effect

Kind = Literal["match parameters", "shuffle input", "drop input", "drop joints", "freeze", "same information"]


@dataclass(frozen=True)
class ControlRow:
    """One metric of a finding. A difference is the first arm minus the second."""

    metric: MetricInfo
    gain: Effect | None  # controlled arm minus baseline; None where the controlled arm is the baseline itself
    remaining: Effect  # controlled arm minus control
    control: Effect  # control minus the baseline
    gain_shown: Shown | None
    remaining_shown: Shown
    control_shown: Shown
    places: int  # decimals of the differences
    margin: float | None  # of the hypothesis about the controlled arm in this metric, if any
    sentence: str  # what the outcome means
    gain_margin: float | None = None  # of the hypothesis about the gain
    control_margin: float | None = None  # of the hypothesis about the control and the baseline


@dataclass(frozen=True)
class ControlFinding:
    """A control beside the arm it controls for. `of` is that arm; `baseline` is the arm both are compared with."""

    control: str
    label: str
    kinds: tuple[Kind, ...]
    what: str  # what the control changes: "another example's pose_2d"
    of: str
    of_label: str
    baseline: str
    baseline_label: str
    parameters: Mapping[str, float | None]  # by arm: control, controlled, baseline
    rows: tuple[ControlRow, ...]  # one for each metric of the study, the primary one first
    sentence: str  # of the primary metric
    tuned_apart: str = ""  # what tuning chose for the controlled arm and for the control, where it differs
    changed: str = ""  # the same for a sentence: "with another example's pose_2d"
