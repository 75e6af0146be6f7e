"""The one rule for which stored record counts for a run of a study. Pure: no I/O.

A record counts for a run that has the same coordinates (phase, arm, trial, seed) and the same key, which is a hash of
settings, seed and data content. Of several records the newest FINISHED one counts, else the newest. Code is not part of
the key: a record of other code counts, and is called stale.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from ablate.study import DATASET_CHARS, Phase, Record, RunSpec, Study
from ablate.study.resolve import resolve

CellId = tuple[str, str, str, int | None]  # key, phase, arm, trial; two trials may have the same values, so one key
Coordinates = tuple[Phase, str, int | None, int]  # phase, arm, trial, seed
Code = Literal["same", "changed", "unknown"]
ENDED = ("FINISHED", "FAILED")


def cell_id(run: RunSpec | Record) -> CellId:
    """Identifies a cell within its study."""
    return run.key, run.phase, run.arm, run.trial


def coordinates_of(run: RunSpec | Record) -> Coordinates:
    """The position of a run in its study, whatever its settings and data."""
    return run.phase, run.arm, run.trial, run.seed


def matches(record: Record, spec: RunSpec) -> bool:
    """Whether the record is a run of `spec`.

    Where an older document has only the first characters of the data's digest, no key can be computed: then data and
    tuned values are compared.
    """
    if coordinates_of(record) != coordinates_of(spec):
        return False
    if len(spec.data_digest) != DATASET_CHARS:
        return record.key == spec.key
    return record.dataset == spec.data_digest and dict(record.overrides) == dict(spec.overrides)


class RecordIndex:
    """The records of a study, oldest first, indexed by coordinates: a lookup does not slow down with their number."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._by_coordinates: dict[Coordinates, list[Record]] = {}
        self._by_trial: dict[tuple[str, int], list[Record]] = {}
        for record in records:
            self.add(record)

    def add(self, record: Record) -> None:
        """Add a record that is newer than all the others."""
        self._by_coordinates.setdefault(coordinates_of(record), []).append(record)
        if record.phase == "tune" and record.trial is not None:
            self._by_trial.setdefault((record.arm, record.trial), []).append(record)

    def counted(self, spec: RunSpec) -> Record | None:
        """The record that counts for `spec`: the newest finished one, else the newest of any status."""
        records = self._matching(spec)
        return next(reversed([record for record in records if record.status == "FINISHED"] or records), None)

    def ended(self, spec: RunSpec) -> bool:
        """Whether any record of the cell has FINISHED or FAILED, also an older one."""
        return any(record.status in ENDED for record in self._matching(spec))

    def trial(self, arm: str, trial: int, seed: int | None = None) -> Sequence[Record]:
        """Every record of one trial, oldest first; with `seed`, those of that seed."""
        if seed is not None:
            return self._by_coordinates.get(("tune", arm, trial, seed), ())
        return self._by_trial.get((arm, trial), ())

    def _matching(self, spec: RunSpec) -> list[Record]:
        return [record for record in self._by_coordinates.get(coordinates_of(spec), ()) if matches(record, spec)]


def document_digests(document: Mapping[str, Any], study: Study, records: Sequence[Record]) -> dict[str, str]:
    """Data digest by arm, from the study's document.

    Documents of older versions have none. Then an arm that reads a file gets the digest of its newest finished
    comparison run, else of its newest finished run, else of its newest run.
    """
    digests = document.get("data_digests") or {}
    return {arm: digests[arm] if arm in digests else _recorded_digest(study, arm, records) for arm in study.arms}


def _recorded_digest(study: Study, arm: str, records: Sequence[Record]) -> str:
    if resolve(study, arm).get("data", {}).get("file") is None:
        return ""
    of_arm = [record for record in records if record.arm == arm and record.dataset]
    finished = [record for record in of_arm if record.status == "FINISHED"]
    compared = [record for record in finished if record.phase == "compare"]
    return next((records[-1].dataset for records in (compared, finished, of_arm) if records), "")


def same_code(recorded: str, current: str) -> Code:
    """Whether two digests of source code are equal; unknown where they were computed by different versions.

    A digest is "VERSION:HEX"; one without a version is of version 1.
    """
    (recorded_version, recorded_hex), (current_version, current_hex) = map(_version_and_hex, (recorded, current))
    if recorded_version != current_version:
        return "unknown"
    return "same" if recorded_hex == current_hex else "changed"


def _version_and_hex(digest: str) -> tuple[str, str]:
    version, colon, hexadecimal = digest.partition(":")
    return (version, hexadecimal) if colon else ("1", digest)
