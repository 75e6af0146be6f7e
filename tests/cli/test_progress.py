"""What a person sees while runs go on, on a terminal and in a log file."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from ablate.cli import progress
from ablate.cli.progress import ProgressView, clock
from ablate.planning.plan import make_plan
from ablate.study import RunResult, RunSpec, study_file
from ablate.study.runs import PRUNED

STUDY = Path(__file__).parents[1] / "script" / "dropout.toml"


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
        assert out.getvalue().splitlines()[-2] == (
            "[1/2]  hybrid-trial3-seed1       7.123     0:00  pruned after epoch 2"
        )

    def test_a_line_a_run_and_its_reason_when_it_failed(self, view: ProgressView, out: io.StringIO) -> None:
        with view:
            view.started(spec())
            view.epoch(spec(), {"epoch": 1.0, "train/loss": 3.0, "val/azimuth_mae_deg": 7.123, "val/close": 1.0})
            view.ended(spec(), finished(spec()))
            view.started(spec(seed=2))
            view.ended(spec(seed=2), RunResult("k", "FAILED", error="[red]no[/red] loss"))
            view.note("look")
            view.note("\x1b]0;title\x07 \u202e")
        assert out.getvalue().splitlines() == [
            "2 runs to do",
            "       run                          time  left",
            "[1/2]  hybrid-seed1       7.123     0:00  0:00",
            "[2/2]  hybrid-seed2  FAILED: [red]no[/red] loss",
            "look",
            "\\x1b]0;title\\x07 \\u202e",
            "2 of 2 runs in 0:00, 1 failed",
        ]

    def test_a_reason_of_megabytes_is_cut(self, view: ProgressView, out: io.StringIO) -> None:
        view.started(spec())
        view.ended(spec(), RunResult("k", "FAILED", error=f"first {'x' * 4_000_000} last"))
        (line,) = [line for line in out.getvalue().splitlines() if "FAILED" in line]
        assert len(line) < 600
        assert line.startswith("[1/2]  hybrid-seed1  FAILED: first xx")
        assert line.endswith("xx last")

    def test_a_long_run_is_heard_of_now_and_then(
        self, view: ProgressView, out: io.StringIO, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = Clock(monkeypatch)
        view.started(spec())
        view.lines[spec().name].started = clock.now
        for epoch in range(1, 9):
            clock.now += 6
            view.epoch(spec(), {"epoch": float(epoch), "val/error": 1.0 / epoch})
        assert out.getvalue().splitlines()[1:] == [
            "    1  hybrid-seed1      0.2500     0:24  epoch 4/10, 0:36 left",  # the first after 20 s: 6 epochs of 6 s
            "    1  hybrid-seed1      0.1250     0:48  epoch 8/10, 0:12 left",
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
        assert [line[:5] for line in out.getvalue().splitlines()] == ["     ", "[1/2]", "[2/2]"]


class TestWholeStudy:
    """`expect` tells the view what is to be done: it knows how wide names are, and how long it will take."""

    @pytest.fixture
    def out(self) -> io.StringIO:
        return io.StringIO()

    @pytest.fixture
    def view(self, out: io.StringIO) -> ProgressView:
        return ProgressView(console=Console(file=out, width=80))

    def test_the_lines_of_a_log_are_aligned_and_have_no_control_codes(
        self, view: ProgressView, out: io.StringIO
    ) -> None:
        study = study_file.load(STUDY, imports=False)
        cells = make_plan(study, [], lambda arm: "", direction="lower").cells
        with view:
            view.step("preparing dropout.toml")
            view.expect(study, cells)
            view.step("building the components")
            for cell in cells:
                run = RunSpec("dropout", cell.arm, cell.seed, cell.phase, {}, "", trial=cell.trial)
                view.started(run)
                view.ended(run, RunResult("k", "FINISHED", {"val/loss": 0.5 - cell.seed / 3e5, "test/loss": 7.0}))
        lines = out.getvalue().splitlines()
        assert lines[:4] == [
            "preparing dropout.toml",
            "14 runs to do: 4 of tuning, 10 of comparison (shown: validation loss)",
            "         run                           loss     time  left",
            "[ 1/14]  plain-trial0-seed101        0.4997     0:00  0:00",
        ]
        assert lines[-2:] == ["[14/14]  dropout-seed5               0.5000     0:00", "14 of 14 runs in 0:00"]
        assert {line.index("0.") for line in lines[3:-1]} == {37}
        assert max(map(len, lines)) <= 80
        assert all(text.isprintable() for text in lines)
        assert "7.0" not in out.getvalue()  # what tests score is in the report alone

    def test_time_left_is_that_of_the_trials_and_of_whole_runs(
        self, view: ProgressView, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """4 trials of half a run's budget and 10 runs: 12 runs. The first two trials, 1 run, take 10 s."""
        clock = Clock(monkeypatch)
        study = study_file.load(STUDY, imports=False)
        view.expect(study, make_plan(study, [], lambda arm: "", direction="lower").cells, seconds=90)
        trials = [RunSpec("dropout", "plain", 101, "tune", {}, "", trial=trial) for trial in (0, 1)]
        for run in trials:
            view.started(run)
        clock.now += 30
        assert view._left() == "1:00"  # by earlier runs
        for run in trials:
            view.ended(run, finished(run))
        assert view._left() == "5:30"

    def test_a_name_that_is_too_long_for_a_terminal_is_cut_in_the_middle(self) -> None:
        out = io.StringIO()
        view = ProgressView(2, Console(file=out, width=60, force_terminal=True, color_system=None))
        run = spec("an-arm-with-a-name-of-many-words")
        view.started(run)
        view.ended(run, RunResult("k", "FINISHED", {"val/error": -1.5e-9}))
        row = out.getvalue().splitlines()[-1]
        assert row.split("  ")[1].startswith("an-arm-")
        assert row.split("  ")[1].endswith("-seed1")
        assert " … " in row
        assert "-1.500e-09" in row
        assert len(row) <= 60


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
    first, bar = recorder.file.getvalue().splitlines()
    assert first == "    2  hybrid-seed2       1.500     0:00  epoch 5/10"
    assert bar.startswith("━━")
    assert bar.endswith("  1 of 3 runs, 1 failed  0:00 left")
    assert len(bar) == 100


def test_more_workers_than_a_terminal_has_lines() -> None:
    view = ProgressView(99, Console(file=io.StringIO(), width=80, height=24, force_terminal=True))
    for seed in range(60):
        view.started(spec(seed=seed))
    recorder = Console(file=io.StringIO(), width=80)
    recorder.print(view.render())
    assert isinstance(recorder.file, io.StringIO)
    lines = recorder.file.getvalue().splitlines()
    assert len(lines) == 21
    assert lines[-2:-1] == ["and 41 more runs at work"]
    assert "0 of 99 runs" in lines[-1]
