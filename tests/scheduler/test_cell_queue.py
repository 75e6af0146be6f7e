"""The cell queue: computed once and then updated, it gives the same cells as one that is computed again."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
import toy_cells

from ablate.planning.counting import cell_id
from ablate.scheduler.cell_queue import CellQueue
from ablate.study import Record, RunSpec, Study

TUNINGS: dict[str, dict[str, Any] | None] = {
    "untuned": None,
    "random": {"sampler": "random", "seeds": [101, 102]},
    "tpe": {"sampler": "tpe", "trials": 4},
    "qmc": {"sampler": "qmc"},
}


def study(tuning: str, seeds: int = 3) -> Study:
    return toy_cells.study({"a": "", "b": "fails", "c": "slow"}, seeds=seeds, tuning=TUNINGS[tuning])


def cell_queue(of: Study, records: list[Record], **more: Any) -> CellQueue:
    return CellQueue(of, dict.fromkeys(of.arms, "d"), records, **more)


def ended(spec: RunSpec, number: int, status: str = "FINISHED") -> Record:
    scores = {"val/error": abs(spec.settings["training"]["learning_rate"] - 0.05) + spec.seed / 1000}
    identity = (spec.arm, spec.seed, spec.phase, spec.key)
    return Record(f"{number:032x}", *identity, status, scores, spec.overrides, spec.trial)  # type: ignore[arg-type]


@pytest.mark.parametrize("tuning", TUNINGS)
@pytest.mark.parametrize("workers", [1, 4])
def test_an_updated_queue_gives_the_same_cells_as_a_new_one(tuning: str, workers: int) -> None:
    of, rng = study(tuning), random.Random(f"{tuning}{workers}")
    queue, busy, records = cell_queue(of, []), dict[Any, RunSpec](), list[Record]()
    for number in range(1000):
        fresh = cell_queue(of, records).ready(busy)
        assert queue.ready(busy) == fresh
        assert queue.ready(busy, 2) == fresh[:2]
        assert queue.records == records
        busy |= {cell_id(spec): spec for spec in fresh[: workers - len(busy)]}
        if not busy:
            break
        spec = busy.pop(rng.choice(list(busy)))
        status = rng.choice(["FINISHED", "FINISHED", "FAILED", "KILLED"])
        records.append(ended(spec, number, status))
        queue.add(records[-1])
    assert not queue.ready(())
    phases = [record.phase for record in records if record.status != "KILLED"]
    assert phases.count("tune") == sum(len(of.tuning.seeds) * of.tuning.trials for _ in of.arms if of.tuning)


def test_comparison_waits_behind_the_tuning_of_other_arms() -> None:
    of = study("random")
    records = list[Record]()
    queue = cell_queue(of, records)
    while tuning := [spec for spec in queue.ready(()) if spec.arm == "a" and spec.phase == "tune"]:
        queue.add(ended(tuning[0], 0))
    ready = queue.ready(())
    assert [spec.phase for spec in ready] == ["tune"] * 4 + ["compare"] * 3
    assert [spec.arm for spec in ready] == ["b", "b", "c", "c", "a", "a", "a"]


def test_ready_takes_the_same_time_however_many_cells_there_are() -> None:
    """With a queue computed again for every cell, 6000 cells took minutes."""
    of = study("untuned", seeds=2000)
    queue = cell_queue(of, [])
    began = time.process_time()
    for number in range(6000):
        (spec,) = queue.ready((), 1)
        queue.add(ended(spec, number))
    assert queue.ready(()) == []
    assert time.process_time() - began < 10
