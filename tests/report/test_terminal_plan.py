"""The grid of states, the reasons of failures, and the list of a store's studies, as text."""

from __future__ import annotations

from collections.abc import Sequence

from ablate.planning.plan import Cell, Plan, State
from ablate.report import terminal_list
from ablate.report.terminal_list import ListedStudy
from ablate.report.terminal_plan import ShownPlan, lines

WIDTH = 40


def shown(cells: Sequence[Cell], **more: object) -> ShownPlan:
    return ShownPlan(Plan("toy", cells), [], [], ("compare",), "", {}, [], **more)  # type: ignore[arg-type]


def cell(arm: str, seed: int, state: State, error: str = "") -> Cell:
    return Cell(None, arm, seed, "compare", None, state, error)


def test_a_sign_for_each_arm_and_seed() -> None:
    states: list[State] = ["done", "failed", "running", "interrupted", "missing", "waiting"]
    cells = [cell("plain", seed, "done") for seed in range(1, 7)]
    cells += [cell("a-hybrid", seed, state) for seed, state in enumerate(states, 1)]
    cells += [Cell(None, "a-hybrid", 101, "tune", trial, "done" if trial else "missing") for trial in range(3)]
    assert list(lines(shown(cells), WIDTH))[:5] == [
        "seed      tuned   1 2 3 4 5 6",
        "plain             ■ ■ ■ ■ ■ ■",
        "a-hybrid    2/3   ■ × ▸ ~ · ○",
        "",
        "■ done   × failed   ▸ running   ~ interrupted   · missing   ○ waiting",
    ]


def test_many_seeds_are_blocks_that_fit() -> None:
    text = list(
        lines(shown([cell("plain", seed, "done" if seed < 95 else "missing") for seed in range(80, 103)]), WIDTH)
    )
    assert max(map(len, text)) <= WIDTH
    assert text == [
        "seed     80  81  82  83  84  85  86  87",
        "plain     ■   ■   ■   ■   ■   ■   ■   ■",
        "",
        "seed     88  89  90  91  92  93  94  95",
        "plain     ■   ■   ■   ■   ■   ■   ■   ·",
        "",
        "seed     96  97  98  99 100 101 102",
        "plain     ·   ·   ·   ·   ·   ·   ·",
        "",
        "■ done   · missing",
    ]


def test_runs_that_failed_for_one_reason_are_told_together_and_no_control_character_gets_through() -> None:
    cells = [cell("plain", seed, "failed", "no \x1b[31m loss") for seed in (1, 2)]
    cells += [cell("plain", 3, "failed", f"{'long ' * 900_000}end\nand a second line")]
    text = list(lines(shown(cells, left="1 run, about 5 seconds with 1 worker, by 3 finished runs"), WIDTH))
    assert text[4] == "failed      plain, seeds 1, 2: no"
    assert text[5] == "            \\x1b[31m loss"
    assert text[6].startswith("failed      plain, seed 3: long long")
    assert text[-3] == "            and a second line"
    assert sum(map(len, text)) < 2500
    assert text[-2:] == ["left        1 run, about 5 seconds with", "            1 worker, by 3 finished runs"]


def test_the_list_of_studies_fits_and_wraps_questions() -> None:
    studies = [
        ListedStudy(
            "dropout", "Does dropout lower the loss of a small network?", 9, 1, 10, "2026-11-29T14:21:03+00:00"
        ),
        ListedStudy("new", "", 0, 0, 4, None),
        ListedStudy("bad", "", 0, 0, 0, None, "its document is damaged"),
    ]
    text = list(terminal_list.lines(studies, 80))
    assert max(map(len, text)) <= 80
    assert text[0].split() == ["study", "runs", "done", "last", "change", "question"]
    assert {text[0].index("question"), text[1].index("Does"), text[2].index("small")} == {46}
    assert text[1].startswith("dropout  9 of 10, 1 failed  2026-11-")
    assert text[1].endswith("Does dropout lower the loss of a")
    assert text[2].split() == ["small", "network?"]
    assert text[3].split() == ["new", "0", "of", "4", "–"]
    assert text[4].endswith("its document is damaged")
    assert terminal_list.document(studies)[1] == {
        "name": "new",
        "question": "",
        "done": 0,
        "failed": 0,
        "runs": 4,
        "changed": None,
        "damage": "",
    }
