"""The scheduler with real worker processes: what runs, in which order, and what happens when workers die."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import toy_cells
from toy_cells import Folders

from ablate.executors import local
from ablate.scheduler import retry, running_cell, scheduler
from ablate.scheduler.retry import RetryTimeout
from ablate.scheduler.scheduler import Scheduler
from ablate.scheduler.shutdown import Interrupted
from ablate.study import RunResult, RunSpec, StoreUnavailable, Study
from ablate.tracking.memory import MemoryTracker
from ablate.trainers.context import Context

local_pool = partial(local.local_pool, preloaded=("ablate.executors.cell_process", "ablate.study"))


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

    def driver(self, study: Study, workers: int = 1, engine: Engine = ThreadPoolExecutor, **more: Any) -> Scheduler:
        self.view = Seen()
        context = cast(Context, Folders(self.work))
        digests = dict.fromkeys(study.arms, "")
        more.setdefault("execute", toy_cells.execute)
        return Scheduler(study, self.tracker, context, digests, workers, engine, self.view, **more)

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
        (_, history), *_ = bench.tracker.histories("cells", [record.run_id])
        assert history == [{"epoch": 1.0, "val/error": pytest.approx(0.031)}]

    def test_leaves_no_scratch_of_a_recorded_run(self, bench: Bench) -> None:
        bench.run(toy_cells.study({"a": ""}))
        assert [path.name for path in bench.work.iterdir()] == ["begun"]

    def test_an_error_outside_the_run_costs_that_run(self, bench: Bench) -> None:
        bench.run(toy_cells.study({"a": "raises", "b": ""}))
        assert bench.statuses() == {"a-1": "FAILED", "b-1": "FINISHED"}
        assert {r.error for r in bench.tracker.records("cells")} == {"OSError: no space left on device", ""}

    def test_an_error_is_shown_and_recorded_cut_and_without_control_characters(self, bench: Bench) -> None:
        def fails(spec: RunSpec, context: Any) -> RunResult:
            return RunResult(spec.key, "FAILED", error="\x1b[31m" + "x" * 100_000)

        driver = bench.driver(toy_cells.study({"a": ""}), execute=fails)
        shown: list[str] = []
        bench.view.ended = lambda spec, result: shown.append(result.error)  # type: ignore[method-assign]
        driver.run()
        (error,) = shown
        assert error.startswith("\\x1b[31mxxx")
        assert len(error) <= 8000
        assert [r.error for r in driver.records] == [r.error for r in bench.tracker.records("cells")] == [error]

    def test_provenance_of_the_driver_goes_to_every_run(self, bench: Bench) -> None:
        bench.run(toy_cells.study({"a": ""}, seeds=2), provenance={"commit": "abc"})
        assert [r.provenance for r in bench.tracker.records("cells")] == [{"commit": "abc"}] * 2

    def test_a_network_that_was_not_kept_is_noted_and_its_run_is_finished(self, bench: Bench) -> None:
        def unloadable(spec: RunSpec, context: Any) -> RunResult:
            return RunResult(spec.key, "FINISHED", {"val/error": 1.0}, provenance={"model": "it cannot be loaded"})

        bench.run(toy_cells.study({"a": ""}), execute=unloadable)
        assert bench.statuses() == {"a-1": "FINISHED"}
        (note,) = bench.view.notes
        assert note.startswith("a-seed1: it cannot be loaded")


class TestLostWorkers:
    def test_a_run_whose_worker_dies_twice_fails_and_takes_no_neighbour_with_it(self, bench: Bench) -> None:
        study = toy_cells.study({"slow": "slow", "guilty": "dies", "unlucky": "dies once", "plain": ""})
        bench.run(study, workers=2, engine=local_pool)
        statuses = bench.statuses()
        assert statuses == {"slow-1": "FINISHED", "guilty-1": "FAILED", "unlucky-1": "FINISHED", "plain-1": "FINISHED"}
        assert bench.begun() == {"slow-seed1": 1, "guilty-seed1": 2, "unlucky-seed1": 2, "plain-seed1": 1}
        (reason,) = [r.error for r in bench.tracker.records("cells") if r.arm == "guilty"]
        assert reason == "the worker process died (killed, or out of memory?), 2 times"
        assert sum("starts again from its last checkpoint" in note for note in bench.view.notes) == 2

    def test_a_worker_lost_after_its_run_has_finished_does_not_count_the_first_time(self, bench: Bench) -> None:
        bench.run(toy_cells.study({"unlucky": "dies late, then dies"}), engine=local_pool)
        assert bench.statuses() == {"unlucky-1": "FINISHED"}
        assert bench.begun() == {"unlucky-seed1": 3}

    def test_a_worker_without_a_sign_of_life_is_replaced_once(self, bench: Bench) -> None:
        study = toy_cells.study({"guilty": "hangs", "unlucky": "hangs once", "slow": "slow"})
        bench.run(study, workers=2, engine=local_pool, stall_after_s=5.0)
        assert bench.statuses() == {"guilty-1": "FAILED", "unlucky-1": "FINISHED", "slow-1": "FINISHED"}
        assert bench.begun() == {"guilty-seed1": 2, "unlucky-seed1": 2, "slow-seed1": 1}
        (failed,) = [r for r in bench.tracker.records("cells") if r.arm == "guilty"]
        assert failed.error == "no sign of life for 5 s, 2 times"

    def test_a_driver_that_slept_does_not_take_its_workers_for_dead(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        slept_s = 0.0

        def sleep(spec: RunSpec) -> None:  # before the cell is sent
            nonlocal slept_s
            slept_s = 61.0

        clock = SimpleNamespace(monotonic=lambda: time.monotonic() + slept_s, sleep=time.sleep)
        monkeypatch.setattr(scheduler, "time", clock)
        monkeypatch.setattr(running_cell, "time", clock)
        driver = bench.driver(toy_cells.study({"slow": "slow"}), engine=local_pool, stall_after_s=60.0)
        bench.view.started = sleep  # type: ignore[method-assign]
        driver.run()
        assert bench.statuses() == {"slow-1": "FINISHED"}
        assert bench.view.notes == []


class TestRetries:
    def test_a_failed_run_is_tried_again_as_often_as_the_study_says(self, bench: Bench) -> None:
        study = toy_cells.study({"unlucky": "fails once", "hopeless": "fails", "plain": ""}, retries=2)
        bench.run(study)
        assert bench.statuses() == {"unlucky-1": "FINISHED", "hopeless-1": "FAILED", "plain-1": "FINISHED"}
        assert bench.begun() == {"unlucky-seed1": 2, "hopeless-seed1": 3, "plain-seed1": 1}
        assert bench.view.notes == [
            "unlucky-seed1 failed: it was not to be; try 2 of 3",
            "hopeless-seed1 failed: it was not to be; try 2 of 3",
            "hopeless-seed1 failed: it was not to be; try 3 of 3",
        ]
        assert bench.view.lines.count("FAILED hopeless-seed1") == 1
        bench.run(study)
        assert bench.view.lines == []

    @pytest.mark.parametrize("after", ["finish", "start"])
    def test_a_driver_that_dies_between_two_tries_leaves_the_others_to_the_next(self, bench: Bench, after: str) -> None:
        """Just after a try was recorded as failed, or just after the next began."""
        study = toy_cells.study({"hopeless": "fails"}, retries=2)
        for tries in (1, 2):
            driver = bench.driver(study)
            driver.tracker = Dying(bench.tracker, after, 1 if after == "finish" else 3 - tries)  # type: ignore[assignment]
            with pytest.raises(Killed):
                driver.run()
            bench.tracker.sweep("cells")
            assert bench.statuses() == {"hopeless-1": "KILLED"}
            assert [r.failures for r in bench.tracker.records("cells")] == [tries if after == "finish" else 1]
        bench.run(study)
        assert bench.statuses() == {"hopeless-1": "FAILED"}
        assert bench.begun() == {"hopeless-seed1": 3}
        (record,) = bench.tracker.records("cells")
        assert record.error == "it was not to be"
        assert bench.view.lines.count("FAILED hopeless-seed1") == 1


class Killed(BaseException):
    """Nothing that the driver does afterwards reaches the store."""


class Dying:
    """A store whose driver is killed just after it was called for the n-th time."""

    def __init__(self, tracker: MemoryTracker, call: str, nth: int) -> None:
        self.tracker, self.call, self.left = tracker, call, nth

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.tracker, name)
        if self.left == 0:
            raise StoreUnavailable("the driver is dead")
        return partial(self._die_after, call) if name == self.call else call

    def _die_after(self, call: Callable[..., Any], *arguments: Any) -> Any:
        answer = call(*arguments)
        self.left -= 1
        if self.left == 0:
            raise Killed
        return answer


class Moody:
    """A store of which every other call fails, before or after it is done; `forever`: the calls that end a run."""

    def __init__(self, tracker: MemoryTracker, *, forever: bool = False) -> None:
        self.tracker, self.forever, self.calls = tracker, forever, 0

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.tracker, name)
        return partial(self._refuse, call) if name in ("start", "log_epochs", "finish", "kill") else call

    def _refuse(self, call: Callable[..., Any], *arguments: Any) -> Any:
        self.calls += 1
        if self.forever and call.__name__ in ("finish", "kill"):
            raise StoreUnavailable("database is locked")
        if not self.forever and self.calls % 4 == 1:
            raise StoreUnavailable("database is locked")
        answer = call(*arguments)
        if not self.forever and self.calls % 4 == 3:  # done, and the answer was lost
            raise StoreUnavailable("the server closed the connection")
        return answer


class TestOutages:
    def test_runs_wait_until_their_folder_can_be_written(self, bench: Bench) -> None:
        bench.run(toy_cells.study({"a": "no room twice", "b": "", "c": "no room twice"}), workers=2)
        assert set(bench.statuses().values()) == {"FINISHED"}
        assert bench.begun() == {"a-seed1": 3, "b-seed1": 1, "c-seed1": 3}
        first, *_, last = bench.view.notes
        assert first == "the runs cannot go on: no space left on device; waiting, for at most 120 s more"
        assert last == "the runs go on"

    def test_patience_has_an_end_and_the_others_end_well(self, bench: Bench) -> None:
        driver = bench.driver(toy_cells.study({"full": "no room", "long": "long"}), workers=2, patience_s=2.0)
        with pytest.raises(RetryTimeout, match=r"no space left on device \(waited 2 s\)"):
            driver.run()
        assert bench.statuses() == {"full-1": "KILLED", "long-1": "KILLED"}
        assert not (bench.work / "stop").exists()

    def test_what_the_store_refuses_for_a_while_is_recorded_later(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retry, "FIRST_DELAY_S", 0.05)
        study = toy_cells.study({"a": "", "b": "fails"}, seeds=2)
        driver = bench.driver(study, workers=2)
        driver.tracker = Moody(bench.tracker)  # type: ignore[assignment]
        driver.run()
        assert bench.statuses() == {"a-1": "FINISHED", "a-2": "FINISHED", "b-1": "FAILED", "b-2": "FAILED"}
        assert set(bench.begun().values()) == {1}
        assert len(bench.tracker.records("cells")) == 4
        assert "the store answers again" in bench.view.notes

    def test_a_run_that_somebody_deletes_is_done_again(self, bench: Bench) -> None:
        driver = bench.driver(toy_cells.study({"a": "", "b": ""}))
        begin = bench.tracker.start

        def begin_and_delete(spec: RunSpec, failures: int = 0) -> str:
            run_id = begin(spec, failures)
            if bench.view.notes == []:
                bench.tracker.discard([run_id])
            return run_id

        bench.tracker.start = begin_and_delete  # type: ignore[method-assign]
        driver.run()
        assert bench.view.notes == ["a-seed1: its run was deleted in the store; it is done again"]
        assert bench.statuses() == {"a-1": "FINISHED", "b-1": "FINISHED"}
        assert bench.begun() == {"a-seed1": 2, "b-seed1": 1}

    def test_a_store_that_stays_away_stops_the_study(self, bench: Bench) -> None:
        study = toy_cells.study({"a": "", "b": ""})
        driver = bench.driver(study, workers=2, patience_s=1.0)
        driver.tracker = Moody(bench.tracker, forever=True)  # type: ignore[assignment]
        with pytest.raises(RetryTimeout, match="the store does not answer: database is locked"):
            driver.run()
        bench.run(study)
        assert bench.statuses() == {"a-1": "FINISHED", "b-1": "FINISHED"}


class TestStopped:
    def test_asked_to_stop_it_waits_for_safe_points(self, bench: Bench) -> None:
        study = toy_cells.study({"a": "", "b": "long", "c": ""})
        driver = bench.driver(study)
        bench.view.started = lambda spec: driver.stop.request("SIGTERM") if spec.arm == "b" else None  # type: ignore[method-assign]
        with pytest.raises(Interrupted, match="SIGTERM"):
            driver.run()
        assert bench.statuses() == {"a-1": "FINISHED", "b-1": "KILLED"}
        assert "stopping the runs; what they have saved is kept" in bench.view.notes[-1]
        assert not (bench.work / "stop").exists()

    def test_a_stop_file_of_another_process_stops_the_study(self, bench: Bench) -> None:
        driver = bench.driver(toy_cells.study({"a": "long", "b": ""}))
        bench.view.started = lambda spec: driver.context.stop_file.touch()  # type: ignore[method-assign]
        with pytest.raises(Interrupted, match="stop"):
            driver.run()
        assert bench.statuses() == {"a-1": "KILLED"}

    def test_workers_that_do_not_stop_in_time_are_ended(self, bench: Bench) -> None:
        driver = bench.driver(toy_cells.study({"a": "hangs"}), engine=local_pool)
        bench.view.started = lambda spec: driver.stop.request("SIGTERM", 3.0)  # type: ignore[method-assign]
        with pytest.raises(Interrupted):
            driver.run()  # a worker that is not ended holds this up until the test's time is over
        assert bench.statuses() == {"a-1": "KILLED"}

    def test_stopped_at_once_it_leaves_what_is_recorded(self, bench: Bench) -> None:
        study = toy_cells.study({"a": "", "b": ""}, seeds=2)
        driver = bench.driver(study)
        bench.view.ended = lambda spec, result: press_ctrl_c(spec)  # type: ignore[method-assign]

        def press_ctrl_c(spec: RunSpec) -> None:
            if spec.name == "a-seed2":
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            driver.run()
        assert bench.statuses() == {"a-1": "FINISHED", "a-2": "FINISHED"}
        bench.run(study)
        assert set(bench.statuses().values()) == {"FINISHED"}
        assert len(bench.statuses()) == 4
        assert set(bench.begun().values()) == {1}


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
