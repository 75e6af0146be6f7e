"""`ablate plan` and `ablate status`: what would run, what is done, which differences the study's seeds can show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.commands.stale import notes, stale
from ablate.planning.outdated import outdated
from ablate.report.terminal_plan import ShownPlan
from ablate.scheduler.component_checks import CHECKED, build_all
from ablate.scheduler.loaded_study import LoadedStudy, load, load_stored_study, refuse_adopted
from ablate.scheduler.shutdown import StopRequest
from ablate.scheduler.workspace import Workspace
from ablate.study import Phase, Record, amend

if TYPE_CHECKING:
    from ablate.analysis.power_plan import PowerPlan

Compared = Mapping[tuple[str, int], Record]  # comparison runs that count by the stored document, by arm and seed


def plan(
    path: Path, workspace: Workspace, *, check: bool = False, difference: float | None = None, rehash: bool = False
) -> tuple[ShownPlan, PowerPlan]:
    """Every run with its state, and the differences that the seeds can show, by the spread of the finished runs.

    `check` also imports the components and builds every arm's. For a `difference` the seeds needed are computed.
    """
    from ablate.analysis.power_plan import power_plan

    loaded = load(path, workspace, imports=check, rehash=rehash)
    if check:
        with StopRequest().handling_signals():
            build_all(loaded, workspace)
    shown, compared = _look(loaded, workspace, ("tune", "compare"))
    shown = replace(shown, checked=CHECKED[loaded.study.trainer] if check else "")
    return shown, power_plan(loaded.study, loaded.catalogue, compared, difference)


def status(path: Path, workspace: Workspace, *, rehash: bool = False) -> ShownPlan:
    """The comparison runs with their states."""
    return _look(load(path, workspace, imports=False, rehash=rehash), workspace, ("compare",))[0]


def _look(loaded: LoadedStudy, workspace: Workspace, phases: Sequence[Phase]) -> tuple[ShownPlan, Compared]:
    """The plan, and how the study file, its data and its code differ from what the store holds.

    Raises InputError when the study's document in the store is damaged.
    """
    from ablate.locking import file_lock

    records = workspace.reader().records(loaded.study.name)
    refuse_adopted(loaded, records)
    process = file_lock.describe_holder(workspace.lock_file(loaded.study.name))
    if process:
        planned = loaded.plan(records)
    else:  # a RUNNING record is left from an `ablate run` that was killed
        planned = loaded.plan(replace(r, status="KILLED") if r.status == "RUNNING" else r for r in records)
    stored = load_stored_study(loaded.study.name, workspace, records)
    if stored is None:
        return ShownPlan(planned, [], [], phases, process, {}, []), {}
    edits, counted = amend.edited_settings(stored.study, loaded.study), stored.plan.counted
    outdated_runs = outdated(planned, records, lambda r: edits.get(r.arm, ()) if r.run_id in counted else ())
    differences = amend.edited(stored.study, loaded.study) + amend.other_data(stored.plan.digests, loaded.digests)
    codes = stale(loaded, records)
    shown = ShownPlan(planned, outdated_runs, differences, phases, process, codes, list(notes(codes)))
    return shown, stored.plan.compared
