"""Finished runs that no longer count, and what changed since. Pure: no I/O.

Another data content or other settings than the study asks for now are another key (see `counting`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ablate.planning.counting import answers, place_of
from ablate.planning.plan import Cell, Plan
from ablate.study import DATASET_CHARS, Record
from ablate.untrusted.wording import shown

DATA, SETTINGS, UNTUNED = "data content", "settings", "tuned settings: the arm's tuning is not finished"


@dataclass(frozen=True)
class Outdated:
    """A finished run of a cell of the study, and what of it is not what the study asks for, in words."""

    record: Record
    changed: str


def outdated(
    planned: Plan, records: Iterable[Record], edits: Callable[[Record], Sequence[str]] = lambda record: ()
) -> list[Outdated]:
    """The finished runs of the plan's cells that do not count, oldest first.

    `edits`: what was changed in the settings of a run's arm since, where that is known. Runs of arms, seeds and trials
    that the study has no more are no cell's: its amendments tell of those.
    """
    cells = {(c.phase, c.arm, c.trial, c.seed): c for c in planned.cells}
    found = []
    for record in records:
        cell = cells.get(place_of(record))
        if record.status == "FINISHED" and cell and not (cell.spec and answers(record, cell.spec)):
            found.append(Outdated(record, _changed(record, cell, planned, edits(record))))
    return found


def _changed(record: Record, cell: Cell, planned: Plan, edits: Sequence[str]) -> str:
    digest = planned.digests.get(record.arm, "")
    changed = [DATA] if digest and record.dataset and record.dataset != digest[:DATASET_CHARS] else []
    if edits:
        changed.append(f"{SETTINGS} ({', '.join(edits)})")
    elif cell.spec is None and record.phase == "compare":
        changed += [] if changed else [UNTUNED]
    elif cell.spec is not None:
        tuned = _differing(record.overrides, cell.spec.overrides)
        changed += [f"tuned {SETTINGS} ({', '.join(tuned)})"] if tuned else []
    return " and ".join(changed) or SETTINGS


def _differing(was: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    paths = [path for path in dict.fromkeys([*was, *now]) if was.get(path) != now.get(path)]
    return [f"{path} was {_value(was, path)}, is {_value(now, path)}" for path in paths]


def _value(table: Mapping[str, object], path: str) -> str:
    return shown(table[path]) if path in table else "absent"
