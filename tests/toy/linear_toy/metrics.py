"""The catalogue. Like every catalogue it is read when a study loads, so it imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ablate.study import Metric


def absolute_error(output: Any, targets: Mapping[str, Any]) -> Any:
    return (output - targets["price"]).abs()


def close(output: Any, targets: Mapping[str, Any]) -> Any:
    """100 where the prediction is within 0.5 of the price, 0 elsewhere; undefined for the smallest houses."""
    hit = (absolute_error(output, targets) < 0.5).float() * 100
    return hit.masked_fill(targets["size"] < -2, float("nan"))


METRICS = {
    "absolute_error": Metric("absolute_error", "Absolute error", "k€", "lower", absolute_error),
    "median_error": Metric("median_error", "Median error", "k€", "lower", absolute_error, reduction="median"),
    "close": Metric("close", "Within 0.5", "%", "higher", close),
}
PRICES = {"absolute_error": METRICS["absolute_error"]}  # of data without a size
