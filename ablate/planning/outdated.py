"""Finished runs that no longer count because data or settings changed, and what changed. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ablate.planning.counting import coordinates_of, matches
from ablate.planning.plan import Cell, Plan
from ablate.study import DATASET_CHARS, Record
from ablate.untrusted.wording import shown

DATA, SETTINGS, UNTUNED = "data content", "settings", "tuned settings: the arm's tuning is not finished"


@dataclass(frozen=True)
class Outdated:
    """A finished run of a cell of the study, and how it differs from the study now, in words."""

    record: Record
    changed: str


def outdated(
    planned: Plan, records: Iterable[Record], edits: Callable[[Record], Sequence[str]] = lambda record: ()
) -> list[Outdated]:
    """The finished runs of the plan's cells that do not count, oldest first.

    `edits` gives the changes of the settings of a run's arm, where they are known. Runs of removed arms, seeds and
    trials are left out: the study's amendments list those.
    """
    cells = {(c.phase, c.arm, c.trial, c.seed): c for c in planned.cells}
    outdated_runs = []
    for record in records:
        cell = cells.get(coordinates_of(record))
        if record.status == "FINISHED" and cell and not (cell.spec and matches(record, cell.spec)):
            outdated_runs.append(Outdated(record, _changed(record, cell, planned, edits(record))))
    return outdated_runs


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


def _differing(old: Mapping[str, object], new: Mapping[str, object]) -> list[str]:
    paths = [path for path in dict.fromkeys([*old, *new]) if old.get(path) != new.get(path)]
    return [f"{path} was {_value(old, path)}, is {_value(new, path)}" for path in paths]


def _value(table: Mapping[str, object], path: str) -> str:
    return shown(table[path]) if path in table else "absent"
