"""The scheduler with real worker processes: what runs, in which order, and what happens when workers die."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import pytest
import toy_cells
from toy_cells import Folders

from ablate.driver import Driver
from ablate.edges.engines import local_pool
from ablate.edges.memory import MemoryTracker
from ablate.runs.execution import Context
from ablate.study import RunResult, RunSpec, Study


class Seen:
    """A View that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.notes: list[str] = []

    def started(self, spec: RunSpec) -> None:
        self.lines.append(f"started {spec.name}")

    def epoch(self, spec: RunSpec, entry: Mapping[str, float]) -> None:
        self.lines.append(f"epoch {entry['epoch']:g} {spec.name}")

    def ended(self, spec: RunSpec, result: RunResult) -> None:
        self.lines.append(f"{result.status} {spec.name}")

    def note(self, text: str) -> None:
        self.notes.append(text)


Engine = Callable[[int], AbstractContextManager[Executor]]


class Bench:
    """One study, one store, and as many drivers in succession as a test wants."""

    def __init__(self, folder: Path) -> None:
        self.work = folder
        self.tracker = MemoryTracker()
        self.tracker.open("cells", {})
        self.view = Seen()

    def driver(self, study: Study, workers: int = 1, engine: Engine = ThreadPoolExecutor, **more: Any) -> Driver:
        self.view = Seen()
        context = cast(Context, Folders(self.work))
        digests = dict.fromkeys(study.arms, "")
        more.setdefault("execute", toy_cells.execute)
        return Driver(study, self.tracker, context, digests, workers, engine, self.view, **more)

    def run(self, study: Study, workers: int = 1, engine: Engine = ThreadPoolExecutor, **more: Any) -> None:
        self.driver(study, workers, engine, **more).run()

    def statuses(self) -> dict[str, str]:
        return {f"{r.arm}-{r.seed}": r.status for r in self.tracker.records("cells") if r.phase == "compare"}

    def trials(self) -> list[tuple[str, int | None, int, Any, str]]:
        records = [r for r in self.tracker.records("cells") if r.phase == "tune"]
        return sorted((r.arm, r.trial, r.seed, tuple(r.overrides.items()), r.status) for r in records)  # type: ignore[type-var]

    def begun(self) -> Counter[str]:
        path = self.work / "begun"
        return Counter(path.read_text().splitlines()) if path.exists() else Counter()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


class TestOneStudy:
    def test_runs_what_is_missing_and_then_nothing(self, bench: Bench) -> None:
        study = toy_cells.study({"a": "", "b": "fails"}, seeds=2)
        bench.run(study)
        assert bench.statuses() == {"a-1": "FINISHED", "a-2": "FINISHED", "b-1": "FAILED", "b-2": "FAILED"}
        ids = [r.run_id for r in bench.tracker.records("cells")]
        bench.run(study)
        assert bench.view.lines == []
        assert [r.run_id for r in bench.tracker.records("cells")] == ids
        bench.run(toy_cells.study({"a": "", "b": "fails"}, seeds=3))  # a seed more
        assert bench.begun() == dict.fromkeys(["a-seed1", "a-seed2", "a-seed3", "b-seed1", "b-seed2", "b-seed3"], 1)

    def test_only_what_is_wanted(self, bench: Bench) -> None:
        study = toy_cells.study({"a": "", "b": ""}, seeds=2)
        bench.run(study, wanted=lambda spec: spec.arm == "b" and spec.seed == 2)
        assert bench.begun() == {"b-seed2": 1}

    def test_a_person_sees_whole_lines_only(self, bench: Bench) -> None:
        bench.run(toy_cells.study({"a": ""}))
        assert bench.view.lines == ["started a-seed1", "epoch 1 a-seed1", "FINISHED a-seed1"]
        (record,) = bench.tracker.records("cells")
        assert bench.tracker.history(record.run_id) == [{"epoch": 1.0, "val/error": pytest.approx(0.031)}]

    def test_leaves_no_scratch_of_a_recorded_run(self, bench: Bench) -> None:
        bench.run(toy_cells.study({"a": ""}))
        assert [path.name for path in bench.work.iterdir()] == ["begun"]

    def test_an_error_outside_the_run_costs_that_run(self, bench: Bench) -> None:
        bench.run(toy_cells.study({"a": "raises", "b": ""}))
        assert bench.statuses() == {"a-1": "FAILED", "b-1": "FINISHED"}
        assert {r.error for r in bench.tracker.records("cells")} == {"OSError: no space left on device", ""}

    def test_provenance_of_the_driver_goes_to_every_run(self, bench: Bench) -> None:
        bench.run(toy_cells.study({"a": ""}, seeds=2), provenance={"commit": "abc"})
        assert [r.provenance for r in bench.tracker.records("cells")] == [{"commit": "abc"}] * 2


class TestDyingWorkers:
    def test_the_guilty_run_fails_after_three_deaths_and_the_others_go_on(self, bench: Bench) -> None:
        study = toy_cells.study({"slow": "slow", "guilty": "dies", "unlucky": "dies once", "plain": ""})
        bench.run(study, workers=2, engine=local_pool)
        statuses = bench.statuses()
        assert statuses == {"slow-1": "FINISHED", "guilty-1": "FAILED", "unlucky-1": "FINISHED", "plain-1": "FINISHED"}
        begun = bench.begun()
        assert begun["guilty-seed1"] == 3
        assert begun["slow-seed1"] <= 2  # its neighbour died beside it once; after that, suspects run alone
        (reason,) = [r.error for r in bench.tracker.records("cells") if r.arm == "guilty"]
        assert "the worker process died 3 times" in reason
        assert all("last checkpoints" in note for note in bench.view.notes)
        assert len(bench.view.notes) >= 3


class TestInterrupted:
    def test_runs_in_flight_are_marked_and_done_later(self, bench: Bench) -> None:
        study = toy_cells.study({"a": "", "b": ""}, seeds=2)
        driver = bench.driver(study)
        bench.view.ended = lambda spec, result: press_ctrl_c(spec)  # type: ignore[method-assign]

        def press_ctrl_c(spec: RunSpec) -> None:
            if spec.name == "a-seed2":
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            driver.run()
        assert bench.statuses() == {"a-1": "FINISHED", "a-2": "KILLED"}
        assert "the same command continues" in bench.view.notes[-1]
        bench.run(study)
        assert set(bench.statuses().values()) == {"FINISHED"}
        assert len(bench.statuses()) == 4


class TestTuning:
    @pytest.mark.parametrize("sampler", ["tpe", "random", "qmc"])
    def test_a_stopped_study_takes_the_same_path(self, tmp_path: Path, sampler: str) -> None:
        study = toy_cells.study({"a": "", "b": ""}, tuning={"trials": 4, "sampler": sampler})
        whole = Bench(tmp_path / "whole")
        whole.work.mkdir()
        whole.run(study)
        for stop in (1, 3, 5, 9):
            bench = Bench(tmp_path / str(stop))
            bench.work.mkdir()
            driver = bench.driver(study, workers=2)
            count = 0

            def ended(spec: RunSpec, result: RunResult, stop: int = stop) -> None:
                nonlocal count
                count += 1
                if count == stop:
                    raise KeyboardInterrupt

            bench.view.ended = ended  # type: ignore[method-assign]
            with pytest.raises(KeyboardInterrupt):
                driver.run()
            bench.run(study, workers=2)
            assert bench.trials() == whole.trials()
            assert bench.statuses() == whole.statuses() == {"a-1": "FINISHED", "b-1": "FINISHED"}

    def test_every_arm_gets_the_allotted_trials_and_the_best_is_compared(self, bench: Bench) -> None:
        bench.run(toy_cells.study({"a": "", "b": ""}, tuning={"trials": 5, "sampler": "qmc"}))
        trials = bench.trials()
        assert Counter(arm for arm, *_ in trials) == {"a": 5, "b": 5}
        rates = [dict(overrides)["training.learning_rate"] for arm, _, _, overrides, _ in trials if arm == "a"]
        assert rates[0] == 0.02  # as written
        compared = [r for r in bench.tracker.records("cells") if r.phase == "compare"]
        assert {r.overrides["training.learning_rate"] for r in compared} == {min(rates, key=lambda x: abs(x - 0.05))}

    @pytest.mark.parametrize("sampler", ["tpe", "qmc"])
    def test_a_lost_trial_in_the_middle_is_done_again_alone(self, bench: Bench, sampler: str) -> None:
        study = toy_cells.study({"a": ""}, tuning={"trials": 4, "sampler": sampler})
        bench.run(study)
        before = bench.trials()
        lost = [r.run_id for r in bench.tracker.records("cells") if r.trial == 1]
        bench.tracker.discard(lost)
        bench.run(study)
        assert bench.trials() == before
        assert bench.begun()["a-trial1-seed101"] == 2
        assert sum(bench.begun().values()) == 4 + 1 + 1

    def test_two_trials_of_the_same_values_are_two_trials(self, bench: Bench) -> None:
        space = {"training.learning_rate": {"type": "categorical", "choices": [0.02]}}
        study = toy_cells.study({"a": ""}, tuning={"trials": 3, "seeds": [101, 102], "space": space})
        bench.run(study, workers=2)
        assert bench.begun() == {
            **{f"a-trial{trial}-seed{seed}": 1 for trial in range(3) for seed in (101, 102)},
            "a-seed1": 1,
        }

    def test_an_arm_whose_trials_all_fail_stays_a_gap(self, bench: Bench) -> None:
        bench.run(toy_cells.study({"a": "fails", "b": ""}, tuning={"trials": 2}))
        assert bench.statuses() == {"b-1": "FINISHED"}
        assert [status for arm, *_, status in bench.trials() if arm == "a"] == ["FAILED", "FAILED"]
