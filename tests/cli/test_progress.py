"""What a person sees while runs go on, on a terminal and in a log file."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ablate.cli import progress
from ablate.cli.progress import ProgressView, clock
from ablate.study import RunResult, RunSpec
from ablate.study.runs import PRUNED


class Clock:
    """Time as the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)


def spec(arm: str = "hybrid", seed: int = 1, trial: int | None = None) -> RunSpec:
    return RunSpec("toy", arm, seed, "compare", {"training": {"epochs": 10}}, "", trial=trial)


def finished(of: RunSpec) -> RunResult:
    return RunResult(of.key, "FINISHED")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0:00"), (59.4, "0:59"), (59.6, "1:00"), (3600.0, "1:00:00"), (7325.0, "2:02:05")]
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


class TestPlainLines:
    """Not a terminal: few lines, each of which says something new."""

    @pytest.fixture
    def out(self) -> io.StringIO:
        return io.StringIO()

    @pytest.fixture
    def view(self, out: io.StringIO) -> ProgressView:
        return ProgressView(2, Console(file=out, width=200))

    def test_one_run(self, out: io.StringIO) -> None:
        with ProgressView(1, Console(file=out, width=200)):
            pass
        assert out.getvalue() == "1 run to do\n"

    def test_a_trial_that_ended_early_says_after_which_epoch(self, view: ProgressView, out: io.StringIO) -> None:
        trial = spec(trial=3)
        with view:
            view.started(trial)
            view.epoch(trial, {"epoch": 2.0, "val/azimuth_mae_deg": 7.123})
            view.ended(trial, RunResult(trial.key, "FINISHED", provenance={PRUNED: "after epoch 2"}))
        assert out.getvalue().splitlines()[-1] == (
            "[1/2] hybrid-trial3-seed1  validation  azimuth_mae_deg 7.12  pruned after epoch 2  0:00"
        )

    def test_a_line_a_run_and_its_reason_when_it_failed(self, view: ProgressView, out: io.StringIO) -> None:
        with view:
            view.started(spec())
            view.epoch(spec(), {"epoch": 1.0, "train/loss": 3.0, "val/azimuth_mae_deg": 7.123})
            view.ended(spec(), finished(spec()))
            view.started(spec(seed=2))
            view.ended(spec(seed=2), RunResult("k", "FAILED", error="[red]no[/red] loss"))
            view.note("look")
            view.note("\x1b]0;title\x07 \u202e")
        assert out.getvalue().splitlines() == [
            "2 runs to do",
            "[1/2] hybrid-seed1  validation  azimuth_mae_deg 7.12  0:00",
            "[2/2] hybrid-seed2  FAILED: [red]no[/red] loss",
            "look",
            "\\x1b]0;title\\x07 \\u202e",
        ]

    def test_a_long_run_is_heard_of_now_and_then(
        self, view: ProgressView, out: io.StringIO, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = Clock(monkeypatch)
        view.started(spec())
        view.lines[spec().name].started = clock.now
        for epoch in range(1, 9):
            clock.now += 6
            view.epoch(spec(), {"epoch": float(epoch), "val/error": 1.0 / epoch})
        assert out.getvalue().splitlines() == [
            "hybrid-seed1  epoch 4/10  validation  error 0.25  0:36 left",  # the first after 20 s: 6 epochs of 6 s
            "hybrid-seed1  epoch 8/10  validation  error 0.12  0:12 left",
        ]

    def test_a_resumed_run_is_not_thought_to_be_fast(self, view: ProgressView, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = Clock(monkeypatch)
        view.started(spec())
        for epoch in (1, 2, 3):  # from the checkpoint, all at once
            view.epoch(spec(), {"epoch": float(epoch)})
        clock.now += 30
        view.epoch(spec(), {"epoch": 4.0})
        left = view.lines[spec().name].seconds_left
        assert left is not None
        assert left == pytest.approx(6 * 30)

    def test_two_trials_of_the_same_values_are_two_lines(self, view: ProgressView, out: io.StringIO) -> None:
        one, other = spec(trial=0), spec(trial=1)
        assert one.key == other.key
        for each in (one, other):
            view.started(each)
        for each in (one, other):
            view.ended(each, finished(each))
        assert len(out.getvalue().splitlines()) == 2


def test_a_terminal_shows_every_run_in_flight() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    view = ProgressView(3, console)
    with view:
        view.started(spec())
        view.started(spec(seed=2))
        view.epoch(spec(seed=2), {"epoch": 5.0, "val/error": 1.5})
        view.ended(spec(), RunResult("k", "FAILED", error="no"))
    recorder = Console(file=io.StringIO(), width=100)
    recorder.print(view.render())
    assert isinstance(recorder.file, io.StringIO)
    lines = [" ".join(line.split()) for line in recorder.file.getvalue().splitlines()]
    assert lines == ["hybrid-seed2 epoch 5/10 validation error 1.50 starting", "1 of 3 runs done, 1 failed"]
