"""Two schedulers of one study in one database, as after a failed lock: time is wasted, but no cell counts twice."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest
import toy_cells
import toy_runs as toy
from toy_cells import Folders

from ablate.analysis import results
from ablate.planning import plan
from ablate.planning.counting import cell_id
from ablate.scheduler.scheduler import Scheduler
from ablate.study import RunDiscarded, RunResult, RunSpec, Study, amend
from ablate.tracking.mlflow.tracker import MlflowTracker
from ablate.trainers.context import Context

COMPARED, TUNED = 2 * 3, 2 * 3  # two arms: three seeds, three trials


class Quiet:
    def started(self, spec: RunSpec) -> None: ...
    def epoch(self, spec: RunSpec, entry: Any) -> None: ...
    def ended(self, spec: RunSpec, result: RunResult) -> None: ...
    def note(self, text: str) -> None: ...


@pytest.fixture
def study() -> Study:
    return toy_cells.study({"a": "", "b": ""}, seeds=3, tuning={"sampler": "random"})


def drive(study: Study, tracker: MlflowTracker, work: Path, together: threading.Barrier) -> None:
    work.mkdir()

    def execute(spec: RunSpec, context: Any) -> RunResult:
        result = toy_cells.execute(spec, context)
        with suppress(threading.BrokenBarrierError):
            together.wait(20)  # both at the same cell, as long as both have cells left
        scores = {**result.scores, "test/error": result.scores["val/error"]}
        return RunResult(spec.key, "FINISHED", scores, result.history)

    context = cast(Context, Folders(work))
    digests = dict.fromkeys(study.arms, "")
    Scheduler(study, tracker, context, digests, 1, ThreadPoolExecutor, Quiet(), execute=execute).run()


def test_every_cell_counts_once(mlruns: Path, tmp_path: Path, study: Study) -> None:
    trackers = [MlflowTracker(None, mlruns) for _ in "ab"]
    document = amend.document(study, toy_cells.METRICS, command="ablate run cells.toml", today="2026-01-01")
    for tracker in trackers:
        tracker.open(study.name, document)
        tracker.sweep(study.name)
    together = threading.Barrier(2)
    drivers = [
        threading.Thread(target=drive, args=(study, tracker, tmp_path / name, together), daemon=True)
        for name, tracker in zip("ab", trackers, strict=True)
    ]
    for driver in drivers:
        driver.start()
    for driver in drivers:
        driver.join(600)
        assert not driver.is_alive()
    records = trackers[0].records(study.name)
    assert {record.status for record in records} == {"FINISHED"}
    cells = [cell_id(record) for record in records]
    assert len(cells) > len(set(cells)) == COMPARED + TUNED, "some cell was done by both"
    planned = plan.make_plan(study, records, lambda arm: "", direction="lower")
    assert [cell.state for cell in planned.cells] == ["done"] * (COMPARED + TUNED)
    loaded = results.load(trackers[0], study.name)
    assert len(loaded.done()) == COMPARED
    assert not loaded.frame().duplicated(["arm", "seed"]).any()
    values = {arm: [outcome.value for outcome in outcomes] for arm, outcomes in loaded.trials.items()}
    assert {arm: len(of_arm) for arm, of_arm in values.items()} == {"a": 3, "b": 3}
    assert not any(None in of_arm for of_arm in values.values())


@pytest.mark.parametrize("also", [False, True], ids=["the first alone begins again", "both begin again"])
def test_neither_keeps_the_other_from_ending(mlruns: Path, also: bool) -> None:
    """Once, each discarded the run that the other had started of the same cell and started it again, without end."""
    one, other = (MlflowTracker(None, mlruns) for _ in range(2))
    one.open("toy", toy.DOCUMENT)
    spec, end = toy.spec("toy"), toy.finished(toy.spec("toy"))
    first = one.start(spec)
    second = other.start(spec)
    if also:
        other.kill(second)
        second = other.start(spec)
    again = one.start(spec)  # as after a lost answer
    with pytest.raises(RunDiscarded):
        one.finish(first, spec, end)
    other.finish(second, spec, end)
    one.finish(again, spec, end)
    assert [record.status for record in one.records("toy")] == ["FINISHED", "FINISHED"]
