"""The cell queue: computed once and then updated, it gives the same cells as one that is computed again."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import toy_cells

from ablate.planning.counting import cell_id
from ablate.scheduler.cell_queue import CellQueue
from ablate.study import Record, RunSpec, Study
from ablate.study.runs import PRUNED

TUNINGS: dict[str, dict[str, Any] | None] = {
    "untuned": None,
    "random": {"sampler": "random", "seeds": [101, 102]},
    "tpe": {"sampler": "tpe", "trials": 4},
    "qmc": {"sampler": "qmc"},
    "qmc of every seed": {"per": "seed", "seeds": []},
    "tpe of every seed": {"per": "seed", "seeds": [], "sampler": "tpe", "include_defaults": True},
    "pruned": {"per": "seed", "seeds": [], "pruner": {"type": "median", "n_startup_trials": 1}},
    "pruned tpe": {"sampler": "tpe", "trials": 4, "pruner": {"type": "successive_halving"}},
}


def study(tuning: str, seeds: int = 3) -> Study:
    return toy_cells.study({"a": "", "b": "fails", "c": "slow"}, seeds=seeds, tuning=TUNINGS[tuning])


def cell_queue(of: Study, records: list[Record], **more: Any) -> CellQueue:
    return CellQueue(of, dict.fromkeys(of.arms, "d"), records, **more)


def ended(spec: RunSpec, number: int, status: str = "FINISHED") -> Record:
    scores = {"val/error": abs(spec.settings["training"]["learning_rate"] - 0.05) + spec.seed / 1000}
    identity = (spec.arm, spec.seed, spec.phase, spec.key)
    return Record(f"{number:032x}", *identity, status, scores, spec.overrides, spec.trial)  # type: ignore[arg-type]


def pruned(record: Record) -> Record:
    return replace(record, provenance={PRUNED: "after epoch 1"}, scores={**record.scores, "count/epochs": 1.0})


def test_trials_that_may_be_pruned_run_one_after_the_other_in_each_tuning_alone() -> None:
    of = study("pruned")
    queue, records = cell_queue(of, []), list[Record]()
    while trials := [spec for spec in queue.ready(()) if spec.phase == "tune"]:
        assert len({(spec.arm, spec.seed) for spec in trials}) == len(trials)
        if not records:
            assert len(trials) == 9  # of three arms and three seeds
        spec = trials[-1]
        assert [each.index for each in queue.earlier_trials(spec)] == list(range(spec.trial or 0))
        records.append(pruned(ended(spec, len(records))) if spec.trial == 1 else ended(spec, len(records)))
        queue.add(records[-1])
    assert Counter(record.trial for record in records) == {0: 9, 1: 9, 2: 9}
    compared = [spec for spec in queue.ready(()) if spec.phase == "compare"]
    ended_early = [dict(record.overrides) for record in records if record.pruned]
    assert len(compared) == 9
    assert not [spec for spec in compared if dict(spec.overrides) in ended_early]


def test_a_trial_that_is_tried_again_is_compared_with_lower_numbers_alone() -> None:
    of = study("pruned", seeds=1)
    first, second, third = ended_trials(of)
    queue = cell_queue(of, [first, third])
    again = next(spec for spec in queue.ready(()) if spec.arm == "a")
    assert (again.trial, [each.index for each in queue.earlier_trials(again)]) == (1, [0])
    assert dict(again.overrides) == dict(second.overrides)


def ended_trials(of: Study) -> list[Record]:
    queue, records = cell_queue(of, []), list[Record]()
    for number in range(3):
        records.append(ended(next(spec for spec in queue.ready(()) if spec.arm == "a"), number))
        queue.add(records[-1])
    return records


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
        record = ended(spec, number, status)
        may_be_pruned = spec.phase == "tune" and of.tuning is not None and of.tuning.pruner is not None
        records.append(pruned(record) if may_be_pruned and status == "FINISHED" and spec.trial else record)
        queue.add(records[-1])
    assert not queue.ready(())
    phases = [record.phase for record in records if record.status != "KILLED"]
    assert phases.count("tune") == sum(len(of.tuning_seeds) * of.tuning.trials for _ in of.arms if of.tuning)


def test_comparison_waits_behind_the_tuning_of_other_arms() -> None:
    of = study("random")
    records = list[Record]()
    queue = cell_queue(of, records)
    while tuning := [spec for spec in queue.ready(()) if spec.arm == "a" and spec.phase == "tune"]:
        queue.add(ended(tuning[0], 0))
    ready = queue.ready(())
    assert [spec.phase for spec in ready] == ["tune"] * 4 + ["compare"] * 3
    assert [spec.arm for spec in ready] == ["b", "b", "c", "c", "a", "a", "a"]


def test_where_every_seed_is_tuned_the_cells_of_a_seed_come_before_those_of_the_next() -> None:
    of = study("qmc of every seed", seeds=2)
    queue, ended_cells = cell_queue(of, []), []
    while ready := queue.ready((), 1):
        ended_cells.append((ready[0].seed, ready[0].phase, ready[0].arm))
        queue.add(ended(ready[0], 0))
    one_seed = [*(("tune", arm) for arm in "abc" for _ in range(3)), *(("compare", arm) for arm in "abc")]
    assert ended_cells == [(seed, *cell) for seed in (1, 2) for cell in one_seed]


def test_arms_are_tried_at_the_same_points_and_seeds_at_others() -> None:
    ready = cell_queue(study("qmc of every seed"), []).ready(())
    points = {(s.arm, s.seed, s.trial): s.overrides["training.learning_rate"] for s in ready}
    assert len(points) == 27
    assert all(points["a", seed, trial] == points[arm, seed, trial] for arm, seed, trial in points)
    assert len({points["a", seed, trial] for seed in (1, 2, 3) for trial in range(3)}) == 9


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
