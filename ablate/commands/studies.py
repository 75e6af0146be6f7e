"""`ablate list`: the studies of a store, what they ask, how far they are, and when they last changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from ablate.planning.plan import Plan, plan_of_document
from ablate.report.terminal_list import ListedStudy
from ablate.scheduler.workspace import Workspace
from ablate.study import InputError, Record, RunReader
from ablate.study.document import checked


def studies(workspace: Workspace) -> list[ListedStudy]:
    """Every study of the store, the one that changed last first. Raises InputError where there is no store."""
    workspace.check_store_exists()
    reader = workspace.reader()
    found = [_listed(reader, name) for name in reader.studies()]
    return sorted(found, key=lambda study: (study.changed or "", study.name), reverse=True)


def _listed(reader: RunReader, name: str) -> ListedStudy:
    changed, records = _changed(reader.times(name)), reader.records(name)
    try:
        planned, question = _plan(reader, name, records)
    except InputError as error:  # a damaged document: the other studies are listed all the same
        return ListedStudy(name, "", 0, 0, 0, changed, str(error))
    states = [cell.state for cell in planned.cells if cell.phase == "compare"]
    done, failed = states.count("done"), states.count("failed")
    return ListedStudy(name, question, done, failed, len(states), changed)


def _plan(reader: RunReader, name: str, records: Sequence[Record]) -> tuple[Plan, str]:
    document = reader.document(name) or {}
    study, metrics = checked(document, name)
    return plan_of_document(document, study, metrics, records), study.question


def _changed(times: Mapping[str, tuple[int, int]]) -> str | None:
    """When a run last began or ended, as an ISO time in UTC; None before the first."""
    last = max((moment for pair in times.values() for moment in pair), default=0)
    return datetime.fromtimestamp(last / 1000, UTC).isoformat(timespec="seconds") if last else None
