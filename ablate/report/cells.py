"""The runs of a plan in words and as JSON, for `ablate plan` and `ablate status`. Computes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ablate.planning.outdated import Outdated
from ablate.planning.plan import Cell, Plan
from ablate.study import Record

PLACE = ("phase", "arm", "trial", "seed")  # of a run in its study


@dataclass(frozen=True)
class Shown:
    """What is shown of a study: its plan, what of the store it does not count, how it differs from the store."""

    plan: Plan
    outdated: Sequence[Outdated]
    differences: Sequence[str]
    phases: Sequence[str]
    driver: str  # who is at work; "" for nobody


def cells(of: Shown) -> list[Cell]:
    """The runs of the phases that are shown."""
    return [cell for cell in of.plan.cells if cell.phase in of.phases]


def document(of: Shown) -> dict[str, Any]:
    """Plain JSON."""
    return {
        "study": of.plan.study,
        "driver": of.driver,
        "cells": [{name: getattr(cell, name) for name in (*PLACE, "state", "error")} for cell in cells(of)],
        "outdated": [
            {**{name: getattr(old.record, name) for name in (*PLACE, "run_id")}, "changed": old.changed}
            for old in _outdated(of)
        ],
        "differences": list(of.differences),
    }


def lines(of: Shown) -> Iterator[str]:
    """A line a run, then a line an outdated one with what changed."""
    yield from (_line(cell, cell.state, cell.error) for cell in cells(of))
    yield from (_line(old.record, "outdated", old.changed) for old in _outdated(of))


def notes(of: Shown) -> Iterator[str]:
    """How many of each, how far tuning is, what differs between the study file and its data and the store."""
    states = [cell.state for cell in cells(of)]
    counts = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
    old = len(_outdated(of))
    yield f"{of.plan.study}: {', '.join([*counts, *([f'{old} outdated'] if old else [])])}"
    trials = [cell.state for cell in of.plan.cells if cell.phase == "tune"]
    if "tune" not in of.phases and trials and set(trials) != {"done"}:
        yield f"tuning: {trials.count('done')} of {len(trials)} runs"
    yield from (f"differs from the last `ablate run`: {difference}" for difference in of.differences)
    if of.driver:
        yield f"at work: {of.driver}"


def _outdated(of: Shown) -> list[Outdated]:
    return [old for old in of.outdated if old.record.phase in of.phases]


def _line(of: Cell | Record, state: str, text: str) -> str:
    trial = "" if of.trial is None else f" trial {of.trial}"
    return f"{state:<11} {of.phase:<7} {of.arm}{trial} seed {of.seed}  {text}".rstrip()
