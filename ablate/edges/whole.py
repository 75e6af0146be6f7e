"""A run with all that belongs to it, free of the store that it lies in. Data alone: no rows, no requests."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ablate.edges.ledger import ROLE

ORIGIN = "ablate.origin"  # tag of a run or model that was imported into a server: its id where it was made
OF_A_SERVER = (ORIGIN, "ablate.generation", "ablate.summary")  # mean nothing in another store; the last are of old
ENDED = ("FINISHED", "FAILED")  # how a run stands that is whole
READY = 2  # status of a model that is complete


class Point(NamedTuple):
    """One value of a metric; `when` in ms since the epoch."""

    key: str
    value: float
    when: int
    step: int


@dataclass(frozen=True)
class Dataset:
    """What a run read, and what for."""

    name: str
    digest: str
    source_type: str
    source: str
    schema: str | None
    profile: str | None
    tags: Mapping[str, str]


@dataclass(frozen=True)
class WholeModel:
    """A LoggedModel. `points`: which of its run's points are also its own; `files`: the folder of its artifacts."""

    model_id: str
    name: str
    kind: str
    status: int
    began: int  # ms
    params: Mapping[str, str]
    tags: Mapping[str, str]
    points: Sequence[Point]
    files: Path | None


@dataclass(frozen=True)
class WholeRun:
    """A run, whatever its role. `files`: the folder of its artifacts."""

    run_id: str
    name: str
    status: str
    began: int  # ms
    ended: int | None  # ms
    params: Mapping[str, str]
    tags: Mapping[str, str]
    points: Sequence[Point]
    datasets: Sequence[Dataset]
    models: Sequence[WholeModel]
    files: Path | None

    @property
    def is_parent(self) -> bool:
        return self.tags.get(ROLE) == "study"


def latest(points: Iterable[Point]) -> dict[str, Point]:
    """Of every metric the value that MLflow takes for its last."""
    last: dict[str, Point] = {}
    for point in points:
        if point.key not in last or _order(point) >= _order(last[point.key]):
            last[point.key] = point
    return last


def _order(point: Point) -> tuple[int, int, float]:
    return point.step, point.when, -math.inf if math.isnan(point.value) else point.value


def own_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags that mean the same in any store."""
    return {name: value for name, value in tags.items() if name not in OF_A_SERVER}
