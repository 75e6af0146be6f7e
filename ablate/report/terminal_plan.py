"""What `ablate plan` and `ablate status` print: the runs of a plan, as lines and as JSON. Computes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ablate.analysis.phrasing import counted
from ablate.planning.counting import Code
from ablate.planning.outdated import Outdated
from ablate.planning.plan import Cell, Plan
from ablate.study import Record

RUN_FIELDS = ("phase", "arm", "trial", "seed")  # identify a run within its study


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


def lines(shown: ShownPlan) -> Iterator[str]:
    """A line for each run, then one for each outdated run with what changed.

    Where each seed has a tuning of its own, the trials of an arm that are in one state have a line together.
    """
    compared = {cell.seed for cell in shown.plan.cells if cell.phase == "compare"}
    alike: dict[tuple[str, str], list[Cell]] = {}  # by arm and state
    others = []
    for cell in cells(shown):
        if cell.phase == "tune" and cell.seed in compared and not cell.error:
            alike.setdefault((cell.arm, cell.state), []).append(cell)
        else:
            others.append(cell)
    yield from (_trials(arm, state, trials) for (arm, state), trials in alike.items())
    yield from (_line(cell, cell.state, cell.error) for cell in others)
    yield from (_line(old.record, "outdated", old.changed) for old in _outdated(shown))


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


def _outdated(shown: ShownPlan) -> list[Outdated]:
    return [old for old in shown.outdated if old.record.phase in shown.phases]


def _trials(arm: str, state: str, trials: Sequence[Cell]) -> str:
    seeds = list(dict.fromkeys(cell.seed for cell in trials))
    of = f"seed{'' if len(seeds) == 1 else 's'} {', '.join(map(str, seeds))}"
    return f"{state:<11} {'tune':<7} {arm} {counted(len(trials), 'trial')} of {of}"


def _line(run: Cell | Record, state: str, text: str) -> str:
    trial = "" if run.trial is None else f" trial {run.trial}"
    return f"{state:<11} {run.phase:<7} {run.arm}{trial} seed {run.seed}  {text}".rstrip()
