"""Which metrics share their per-example values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ablate.study import Metric
from ablate.study.columns import columns


def error(output: Any, targets: Mapping[str, Any]) -> Any:
    return output


def other(output: Any, targets: Mapping[str, Any]) -> Any:
    return output


def test_scores_of_one_function_share_a_column_and_pooled_ones_have_none() -> None:
    metrics = [
        Metric("whole", "", "", "lower", error, pooled=True),
        Metric("mean", "", "", "lower", error),
        Metric("other", "", "", "lower", other),
        Metric("median", "", "", "lower", error, "median"),
        Metric("rms", "", "", "lower", error, "rms"),
    ]
    assert columns(metrics) == {"whole": "", "mean": "mean", "other": "other", "median": "mean", "rms": "mean"}
