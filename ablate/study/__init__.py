"""Studies, arms, metrics, runs and records as plain data; reading and checking a study file.

Also the Protocols of a store (`tracker`), the components that a study names (`components`), and which of them a file
from elsewhere may name (`trust`).
"""

from __future__ import annotations

from ablate.study.model import (
    Arm,
    CategoricalSpace,
    ClaimKind,
    Condition,
    Control,
    DeclaredMetric,
    Density,
    Direction,
    Factor,
    FloatSpace,
    Frozen,
    Hypothesis,
    IntSpace,
    Match,
    Metric,
    Purpose,
    Reduction,
    ReportSettings,
    Space,
    SpaceEntry,
    Study,
    TrainingSettings,
    Tuning,
)
from ablate.study.runs import DATASET_CHARS, Phase, Record, RunResult, RunSpec, Scalar, Split, StoredRun, digest
from ablate.study.tracker import SCHEMA, RunDiscarded, RunReader, StoreUnavailable, Tracker, study_in_use
from ablate.untrusted.problems import MESSAGE_LIMIT, InputError, Problem, printable

__all__ = [
    "DATASET_CHARS",
    "MESSAGE_LIMIT",
    "SCHEMA",
    "Arm",
    "CategoricalSpace",
    "ClaimKind",
    "Condition",
    "Control",
    "DeclaredMetric",
    "Density",
    "Direction",
    "Factor",
    "FloatSpace",
    "Frozen",
    "Hypothesis",
    "InputError",
    "IntSpace",
    "Match",
    "Metric",
    "Phase",
    "Problem",
    "Purpose",
    "Record",
    "Reduction",
    "ReportSettings",
    "RunDiscarded",
    "RunReader",
    "RunResult",
    "RunSpec",
    "Scalar",
    "Space",
    "SpaceEntry",
    "Split",
    "StoreUnavailable",
    "StoredRun",
    "Study",
    "Tracker",
    "TrainingSettings",
    "Tuning",
    "digest",
    "printable",
    "study_in_use",
]
