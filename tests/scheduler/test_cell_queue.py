"""The agenda of a study that goes on for long: worked out once, it says what one worked out anew would say."""

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
    place = (spec.arm, spec.seed, spec.phase, spec.key)
    return Record(f"{number:032x}", *place, status, scores, spec.overrides, spec.trial)  # type: ignore[arg-type]


@pytest.mark.parametrize("tuning", TUNINGS)
@pytest.mark.parametrize("workers", [1, 4])
def test_it_says_what_one_worked_out_anew_says(tuning: str, workers: int) -> None:
    of, rng = study(tuning), random.Random(f"{tuning}{workers}")
    kept, busy, records = cell_queue(of, []), dict[Any, RunSpec](), list[Record]()
    for number in range(1000):
        fresh = cell_queue(of, records).ready(busy)
        assert kept.ready(busy) == fresh
        assert kept.ready(busy, 2) == fresh[:2]
        assert kept.records == records
        busy |= {cell_id(spec): spec for spec in fresh[: workers - len(busy)]}
        if not busy:
            break
        spec = busy.pop(rng.choice(list(busy)))
        status = rng.choice(["FINISHED", "FINISHED", "FAILED", "KILLED"])
        records.append(ended(spec, number, status))
        kept.add(records[-1])
    assert not kept.ready(())
    phases = [record.phase for record in records if record.status != "KILLED"]
    assert phases.count("tune") == sum(len(of.tuning.seeds) * of.tuning.trials for _ in of.arms if of.tuning)


def test_a_choice_made_later_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    of = study("untuned")
    whole = cell_queue(of, [])
    assert len(whole.ready(())) == 9
    whole.wanted = lambda spec: spec.arm == "b"
    assert {spec.arm for spec in whole.ready(())} == {"b"}
    assert whole.ready(()) == cell_queue(of, [], wanted=whole.wanted).ready(())


def test_comparison_waits_behind_the_tuning_of_other_arms() -> None:
    of = study("random")
    records = list[Record]()
    kept = cell_queue(of, records)
    while tuning := [spec for spec in kept.ready(()) if spec.arm == "a" and spec.phase == "tune"]:
        kept.add(ended(tuning[0], 0))
    ready = kept.ready(())
    assert [spec.phase for spec in ready] == ["tune"] * 4 + ["compare"] * 3
    assert [spec.arm for spec in ready] == ["b", "b", "c", "c", "a", "a", "a"]


def test_asking_costs_the_same_however_many_cells_there_are() -> None:
    """Worked out anew for every cell, 6000 cells took minutes."""
    of = study("untuned", seeds=2000)
    kept = cell_queue(of, [])
    began = time.process_time()
    for number in range(6000):
        (spec,) = kept.ready((), 1)
        kept.add(ended(spec, number))
    assert kept.ready(()) == []
    assert time.process_time() - began < 10
