"""`ablate plan` and `ablate status`: what would run, what is done, which differences the study's seeds can show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ablate.commands.stale import stale
from ablate.planning import plan
from ablate.planning.counting import Code
from ablate.planning.outdated import Outdated, outdated
from ablate.scheduler.component_checks import build_all
from ablate.scheduler.loaded_study import LoadedStudy, load_stored_study
from ablate.scheduler.shutdown import StopRequest
from ablate.scheduler.workspace import Workspace
from ablate.study import Record, amend

if TYPE_CHECKING:
    from ablate.analysis.power_plan import PowerPlan


def make_plan(
    loaded: LoadedStudy, workspace: Workspace, *, check: bool = False, records: Sequence[Record] | None = None
) -> plan.Plan:
    """What would run and what is done. `check` also imports the components and builds every arm's.

    `records`: the study's, where they have been read already.
    """
    if check:
        with StopRequest().handling_signals():
            build_all(loaded, workspace)
    records = workspace.reader().records(loaded.study.name) if records is None else records
    if not running_process(loaded, workspace):  # a RUNNING record is then left from a killed `ablate run`
        records = [replace(record, status="KILLED") if record.status == "RUNNING" else record for record in records]
    return loaded.plan(records)


def running_process(loaded: LoadedStudy, workspace: Workspace) -> str:
    """Process, host and time of the `ablate run` that runs this study with this `mlruns` folder; "" for none."""
    from ablate.locking import file_lock

    return file_lock.describe_holder(workspace.lock_file(loaded.study.name))


@dataclass(frozen=True)
class StudyStatus:
    """How a study file, its data and its code differ from what the store holds."""

    outdated: Sequence[Outdated]  # finished runs that do not count by file and data
    differences: Sequence[str]  # between the file and the stored document, in words
    compared: Mapping[tuple[str, int], Record]  # comparison runs that count by the document, by arm and seed
    stale: Mapping[str, Code]  # finished runs that count but were made by other code, by run id


def study_status(
    loaded: LoadedStudy, workspace: Workspace, records: Sequence[Record], planned: plan.Plan
) -> StudyStatus:
    """`records`: the study's, and their plan. Raises InputError when the study's document is damaged."""
    stored = load_stored_study(loaded.study.name, workspace, records)
    if stored is None:
        return StudyStatus([], [], {}, {})
    edits, counted = amend.edited_settings(stored.study, loaded.study), stored.plan.counted
    outdated_runs = outdated(planned, records, lambda r: edits.get(r.arm, ()) if r.run_id in counted else ())
    differences = amend.edited(stored.study, loaded.study) + amend.other_data(stored.plan.digests, loaded.digests)
    return StudyStatus(outdated_runs, differences, stored.plan.compared, stale(loaded, records))


def power_plan(loaded: LoadedStudy, status: StudyStatus, *, difference: float | None = None) -> PowerPlan:
    """The differences that the study's seeds can show, by the spread of its finished runs; for a `difference` also the
    seeds needed."""
    from ablate.analysis import power_plan as analysis

    return analysis.power_plan(loaded.study, loaded.catalogue, status.compared, difference)
