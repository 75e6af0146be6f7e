"""What `ablate plan` and `ablate status` print: a grid of states, failures, what is left; or JSON. Computes nothing."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ablate.planning.counting import Code
from ablate.planning.outdated import Outdated
from ablate.planning.plan import Cell, Plan, State
from ablate.study import Record, printable
from ablate.untrusted.wording import cut, listing

RUN_FIELDS = ("phase", "arm", "trial", "seed")  # identify a run within its study
SIGNS: Mapping[State, str] = {
    "done": "■",
    "failed": "×",
    "running": "▸",
    "interrupted": "~",
    "missing": "·",
    "waiting": "○",
}
REASON_CHARACTERS = 1000  # of why runs failed: `--json` has all of it
NAME_CHARACTERS = 32  # of an arm in the grid
INDENT = 12  # of the text beside the first word of a line


@dataclass(frozen=True)
class ShownPlan:
    """What is shown of a study: its plan, runs that do not count or are stale, and differences from the store."""

    plan: Plan
    outdated: Sequence[Outdated]
    differences: Sequence[str]
    phases: Sequence[str]
    process: str  # that is running the study; "" when none is
    stale: Mapping[str, Code]  # by run id
    stale_notes: Sequence[str]  # the same in words
    checked: str = ""  # what `--check` has looked at
    # whole sentences: what tuning costs and buys, planned looks and those taken, what a fraction cannot tell apart
    tuning: Sequence[str] = ()
    stopping: Mapping[str, Any] | None = None  # planned looks and what they decided; None where none are planned
    left: str = ""  # how long the runs that are left take, in words; "" where none is left
    next: Sequence[str] = ()  # commands to type next, each after what it does


def cells(shown: ShownPlan) -> list[Cell]:
    """The runs of the phases that are shown."""
    return [cell for cell in shown.plan.cells if cell.phase in shown.phases]


def document(shown: ShownPlan) -> dict[str, Any]:
    """Plain JSON."""
    return {
        "study": shown.plan.study,
        "driver": shown.process,
        "cells": [{name: getattr(cell, name) for name in (*RUN_FIELDS, "state", "error")} for cell in cells(shown)],
        "outdated": [
            {**{name: getattr(old.record, name) for name in (*RUN_FIELDS, "run_id")}, "changed": old.changed}
            for old in _outdated(shown)
        ],
        "stale": [
            {**{name: getattr(run, name) for name in (*RUN_FIELDS, "run_id")}, "code": shown.stale[run.run_id]}
            for run in shown.plan.counted.values()
            if run.run_id in shown.stale
        ],
        "differences": list(shown.differences),
        "tuning": list(shown.tuning),
        **({} if shown.stopping is None else {"stopping": shown.stopping}),
    }


def lines(shown: ShownPlan, width: int = 80) -> Iterator[str]:
    """The grid of states, why runs failed, outdated runs with what changed, and what is left to do."""
    yield from grid(shown, width)
    yield from _failures(shown, width)
    yield from (_line(old.record, "outdated", old.changed) for old in _outdated(shown))
    if shown.left:
        yield from _wrapped("left", shown.left, width)


def grid(shown: ShownPlan, width: int = 80) -> Iterator[str]:
    """A row for each arm and a sign for each seed, below each other in blocks where there are many seeds.

    Where arms are tuned, how many of an arm's tuning runs are done stands before its seeds.
    """
    arms = list(dict.fromkeys(cell.arm for cell in shown.plan.cells))
    compared = {(cell.arm, cell.seed): cell.state for cell in shown.plan.cells if cell.phase == "compare"}
    seeds = list(dict.fromkeys(seed for _, seed in compared))
    trials: dict[str, list[State]] = {arm: [] for arm in arms}
    for cell in shown.plan.cells:
        if cell.phase == "tune":
            trials[cell.arm].append(cell.state)
    tuned = {arm: f"{states.count('done')}/{len(states)}" if states else "" for arm, states in trials.items()}
    names = {arm: cut(arm, NAME_CHARACTERS) for arm in arms}
    first, second = max(map(len, names.values()), default=0), max(map(len, ["", *tuned.values()]))
    second = max(second, len("tuned")) if second else 0
    first = max(first, len("seed"))
    head = f"{'seed':<{first}}  {'tuned':>{second}}  " if second else f"{'seed':<{first}}  "
    each = max((len(str(seed)) for seed in seeds), default=1) + 1
    fitting = max(1, (width - len(head)) // each)
    for start in range(0, len(seeds), fitting):
        block = seeds[start : start + fitting]
        if start:
            yield ""
        yield f"{head}{''.join(f'{seed:>{each}}' for seed in block)}".rstrip()
        for arm in arms:
            signs = [SIGNS[compared[arm, seed]] if (arm, seed) in compared else "" for seed in block]
            of_arm = f"{tuned[arm]:>{second}}  " if second else ""
            yield f"{names[arm]:<{first}}  {of_arm}{''.join(f'{sign:>{each}}' for sign in signs)}".rstrip()
    present = {*compared.values()}
    yield ""
    yield "   ".join(f"{sign} {state}" for state, sign in SIGNS.items() if state in present)


def _failures(shown: ShownPlan, width: int) -> Iterator[str]:
    """Which runs failed, and why; those that failed for the same reason together."""
    reasons: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in shown.plan.cells:
        if cell.state == "failed":
            reasons.setdefault((cell.arm, cell.phase, cell.error), []).append(cell)
    for (arm, phase, error), failed in reasons.items():
        of = [_numbered("trial", [c.trial for c in failed])] if phase == "tune" else []
        which = ", ".join([*of, _numbered("seed", [c.seed for c in failed])])
        yield from _wrapped("failed", f"{arm}, {which}: {cut(printable(error), REASON_CHARACTERS)}", width)


def _numbered(word: str, numbers: Iterable[int | None]) -> str:
    """`seed 3`, `seeds 1, 2, 3`."""
    distinct = [str(number) for number in dict.fromkeys(numbers)]
    return f"{word}{'' if len(distinct) == 1 else 's'} {listing(distinct)}"


def _wrapped(word: str, text: str, width: int) -> Iterator[str]:
    """A text beside a word, whose further lines are indented. Lines of the text stay lines, and words whole."""
    first = True
    for line in text.splitlines() or [""]:
        parts = textwrap.wrap(line, max(20, width - INDENT), break_long_words=False, break_on_hyphens=False) or [""]
        for part in parts:
            yield f"{word if first else '':<{INDENT}}{part}".rstrip()
            first = False


def notes(shown: ShownPlan) -> Iterator[str]:
    """How many runs have each state, progress of tuning, and how study and code differ from what the store has."""
    states = [cell.state for cell in cells(shown)]
    counts = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
    old = len(_outdated(shown))
    yield f"{shown.plan.study}: {', '.join([*counts, *([f'{old} outdated'] if old else [])])}"
    trials = [cell.state for cell in shown.plan.cells if cell.phase == "tune"]
    if "tune" not in shown.phases and trials and set(trials) != {"done"}:
        yield f"tuning: {trials.count('done')} of {len(trials)} runs"
    yield from shown.tuning
    yield from (f"differs from the last `ablate run`: {difference}" for difference in shown.differences)
    yield from shown.stale_notes
    if shown.process:
        yield f"at work: {shown.process}"
    for command in shown.next:
        yield f"next: {command}"


def _outdated(shown: ShownPlan) -> list[Outdated]:
    return [old for old in shown.outdated if old.record.phase in shown.phases]


def _line(run: Cell | Record, state: str, text: str) -> str:
    trial = "" if run.trial is None else f" trial {run.trial}"
    return f"{state:<11} {run.phase:<7} {run.arm}{trial} seed {run.seed}  {text}".rstrip()
