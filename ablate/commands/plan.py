"""`ablate plan` and `ablate status`: what would run, what is done, what the study's seeds can show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ablate.planning import plan
from ablate.planning.outdated import Outdated, outdated
from ablate.scheduler.component_checks import build_all
from ablate.scheduler.loaded_study import LoadedStudy, stored
from ablate.scheduler.shutdown import StopRequest
from ablate.scheduler.workspace import Workspace, records
from ablate.study import Record, amend

if TYPE_CHECKING:
    from ablate.analysis.power_plan import PowerPlan


def make_plan(
    loaded: LoadedStudy, workspace: Workspace, *, check: bool = False, known: Sequence[Record] | None = None
) -> plan.Plan:
    """What would run and what is done. `check` also imports the components and builds every arm's.

    `known`: the study's records, where they have been read already.
    """
    if check:
        with StopRequest().listening():
            build_all(loaded, workspace)
    known = records(loaded.study.name, workspace) if known is None else known
    if not driver_of(loaded, workspace):  # which may have been killed
        known = [replace(record, status="KILLED") if record.status == "RUNNING" else record for record in known]
    return loaded.plan(known)


def driver_of(loaded: LoadedStudy, workspace: Workspace) -> str:
    """Process, host and time of the `ablate run` that is at this study with this `mlruns` folder; "" for none."""
    from ablate.locking import file_lock

    return file_lock.at_work(workspace.mlruns / f"{loaded.study.name}.lock")


@dataclass(frozen=True)
class StudyStatus:
    """How a study file and its data stand to what the store holds."""

    outdated: Sequence[Outdated]  # finished runs that do not count by file and data
    differences: Sequence[str]  # between the file and the stored document, in words
    compared: Mapping[tuple[str, int], Record]  # comparison runs that count by the document, by arm and seed


def standing(loaded: LoadedStudy, workspace: Workspace, known: Sequence[Record], planned: plan.Plan) -> StudyStatus:
    """`known`: the study's records, and their plan. Raises InputError when the study's document is damaged."""
    found = stored(loaded.study.name, workspace, known)
    if found is None:
        return StudyStatus([], [], {})
    edits, counted = amend.edited_settings(found.study, loaded.study), found.plan.counted
    since = outdated(planned, known, lambda r: edits.get(r.arm, ()) if r.run_id in counted else ())
    differences = amend.edited(found.study, loaded.study) + amend.other_data(found.plan.digests, loaded.digests)
    return StudyStatus(since, differences, found.plan.compared)


def outlook(loaded: LoadedStudy, found: StudyStatus, *, difference: float | None = None) -> PowerPlan:
    """What the study's seeds can show, by the spread of its finished runs; and for a `difference`, the seeds needed."""
    from ablate.analysis import power_plan as prospects

    return prospects.outlook(loaded.study, loaded.catalogue, found.compared, difference)
