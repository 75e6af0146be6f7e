"""Which stored record counts for a run that a study asks for: the one rule. Pure: Records and RunSpecs in, no I/O.

A record counts for a run when it stands at the same place (phase, arm, trial, seed) and has the same key, which is
made of settings, seed and data content. Of several, the newest FINISHED one counts, else the newest. What made it,
its code, is no part of the key: a run of other code counts and is called stale.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from ablate.study import DATASET_CHARS, Phase, Record, RunSpec, Study
from ablate.study.resolve import resolve

CellId = tuple[str, str, str, int | None]  # key, phase, arm, trial: two trials may choose the same values
Place = tuple[Phase, str, int | None, int]  # phase, arm, trial, seed
Code = Literal["same", "changed", "unknown"]
ENDED = ("FINISHED", "FAILED")


def cell_id(of: RunSpec | Record) -> CellId:
    """What tells a cell from every other of its study."""
    return of.key, of.phase, of.arm, of.trial


def place_of(of: RunSpec | Record) -> Place:
    """Where in a study a run stands, whatever its settings and data."""
    return of.phase, of.arm, of.trial, of.seed


def answers(record: Record, spec: RunSpec) -> bool:
    """Whether the record is of the run that `spec` asks for.

    Of data that an older document tells of, only the first characters of its digest are known, and no key can be
    made of them: then the data and the tuned values tell.
    """
    if place_of(record) != place_of(spec):
        return False
    if len(spec.data_digest) != DATASET_CHARS:
        return record.key == spec.key
    return record.dataset == spec.data_digest and dict(record.overrides) == dict(spec.overrides)


class RecordIndex:
    """The records of a study, oldest first, found by place: asking costs the same among ten and ten thousand."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._by_place: dict[Place, list[Record]] = {}
        self._by_trial: dict[tuple[str, int], list[Record]] = {}
        for record in records:
            self.add(record)

    def add(self, record: Record) -> None:
        """Take note of a record that is newer than all the others."""
        self._by_place.setdefault(place_of(record), []).append(record)
        if record.phase == "tune" and record.trial is not None:
            self._by_trial.setdefault((record.arm, record.trial), []).append(record)

    def of(self, spec: RunSpec) -> Record | None:
        """The record that counts for `spec`: the newest finished one, else the newest of any status."""
        mine = self._of(spec)
        return next(reversed([record for record in mine if record.status == "FINISHED"] or mine), None)

    def ended(self, spec: RunSpec) -> bool:
        """Whether the cell has FINISHED or FAILED, whatever came after."""
        return any(record.status in ENDED for record in self._of(spec))

    def trial(self, arm: str, trial: int) -> Sequence[Record]:
        """Every record of one trial, oldest first."""
        return self._by_trial.get((arm, trial), ())

    def _of(self, spec: RunSpec) -> list[Record]:
        return [record for record in self._by_place.get(place_of(spec), ()) if answers(record, spec)]


def document_digests(document: Mapping[str, Any], study: Study, records: Sequence[Record]) -> dict[str, str]:
    """Data digest by arm, as the study's document has it.

    A document that an older version wrote has none: then an arm that reads a file has what its newest finished
    comparison run was given; where there is none, its newest finished run; else its newest run.
    """
    said = document.get("data_digests") or {}
    return {arm: said[arm] if arm in said else _given(study, arm, records) for arm in study.arms}


def _given(study: Study, arm: str, records: Sequence[Record]) -> str:
    if resolve(study, arm)["data"].get("file") is None:
        return ""
    mine = [record for record in records if record.arm == arm and record.dataset]
    finished = [record for record in mine if record.status == "FINISHED"]
    compared = [record for record in finished if record.phase == "compare"]
    return next((records[-1].dataset for records in (compared, finished, mine) if records), "")


def same_code(recorded: str, current: str) -> Code:
    """Whether two digests of source code are of the same code: unknown where they were made in different ways.

    A digest is "VERSION:HEX"; one without a version is of the first.
    """
    (old, was), (new, now) = (_versioned(each) for each in (recorded, current))
    if old != new:
        return "unknown"
    return "same" if was == now else "changed"


def _versioned(code: str) -> tuple[str, str]:
    version, colon, digest = code.partition(":")
    return (version, digest) if colon else ("1", code)
