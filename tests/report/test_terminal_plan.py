"""`ablate plan` in lines: the trials of tunings of every seed together, a failed one by itself."""

from __future__ import annotations

from typing import Any

import pytest

from ablate.planning.plan import Cell, Plan
from ablate.report.terminal_plan import ShownPlan, document, lines

ARMS, SEEDS = ("plain", "extra"), (1, 2, 3)


def shown(*states: str, seeds: tuple[int, ...] = SEEDS, **more: Any) -> ShownPlan:
    """The trials of `plain` have these states in turn, those of `extra` wait."""
    numbers = [(seed, trial) for seed in seeds for trial in range(2)]
    tuned = [Cell(None, "plain", seed, "tune", trial, states[i % len(states)], **more)  # type: ignore[arg-type]
             for i, (seed, trial) in enumerate(numbers)]  # fmt: skip
    waiting = [Cell(None, "extra", seed, "tune", trial, "waiting") for seed, trial in numbers]
    compared = [Cell(None, arm, seed, "compare", None, "waiting") for arm in ARMS for seed in SEEDS]
    plan = Plan("toy", [*tuned, *waiting, *compared])
    return ShownPlan(plan, [], [], ("tune", "compare"), "", {}, [])


def test_trials_of_an_arm_in_one_state_have_a_line_together() -> None:
    assert list(lines(shown("done", "running")))[:3] == [
        "done        tune    plain 3 trials of seeds 1, 2, 3",
        "running     tune    plain 3 trials of seeds 1, 2, 3",
        "waiting     tune    extra 6 trials of seeds 1, 2, 3",
    ]
    assert len(list(lines(shown("done")))) == 2 + 6
    assert len(document(shown("done"))["cells"]) == 18  # for programs each run has an entry


def test_a_failed_trial_says_why() -> None:
    text = list(lines(shown("failed", error="no memory")))
    assert text[1] == "failed      tune    plain trial 0 seed 1  no memory"
    assert len(text) == 1 + 6 + 6


@pytest.mark.parametrize("seeds", [(101,), (101, 102)])
def test_the_trials_of_one_tuning_have_a_line_each(seeds: tuple[int, ...]) -> None:
    text = list(lines(shown("done", seeds=seeds)))
    assert text[0] == "done        tune    plain trial 0 seed 101"
    assert len(text) == 4 * len(seeds) + 6
