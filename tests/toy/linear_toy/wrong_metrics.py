"""A metric that is right in a catalogue with those that are not. Imports no torch, as no catalogue does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ablate.study import Metric


def error(output: Any, targets: Mapping[str, Any]) -> Any:
    price = output["price"] if isinstance(output, dict) else output[0] if isinstance(output, tuple | list) else output
    return (price - targets["price"]).abs()


def array(output: Any, targets: Mapping[str, Any]) -> Any:
    return error(output, targets).numpy()


def broadcast(output: Any, targets: Mapping[str, Any]) -> Any:
    return output[:, None] - targets["price"]


def single(output: Any, targets: Mapping[str, Any]) -> Any:
    return error(output, targets).mean()


def raising(output: Any, targets: Mapping[str, Any]) -> Any:
    raise ZeroDivisionError("no rooms")


def undefined(output: Any, targets: Mapping[str, Any]) -> Any:
    return error(output, targets) * float("nan")


def rare(output: Any, targets: Mapping[str, Any]) -> Any:
    """Undefined for all examples but one, and an error where there are few."""
    if len(targets["price"]) < 10:
        raise ValueError("needs ten examples")
    values = undefined(output, targets)
    values[-1] = 1.0
    return values


CATALOGUE = {
    function.__name__: Metric(function.__name__, function.__name__, "k€", "lower", function)
    for function in (error, array, broadcast, single, raising, undefined, rare)
} | {"pooled": Metric("pooled", "pooled", "k€", "lower", single, pooled=True)}
