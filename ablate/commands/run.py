"""`ablate run`: what is missing is run, then the report is written. Heavy libraries are imported where used."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.commands.report import results, write_report
from ablate.planning import plan
from ablate.planning.counting import Code, same_code
from ablate.scheduler import session
from ablate.scheduler.component_checks import build_all
from ablate.scheduler.loaded_study import LoadedStudy
from ablate.scheduler.shutdown import StopRequest
from ablate.scheduler.workspace import Workspace, check_folder, records, resolve_device
from ablate.study import InputError, Problem, Record, Study
from ablate.study.resolve import resolve
from ablate.untrusted.wording import shown

if TYPE_CHECKING:
    from ablate.analysis.results import Results
    from ablate.scheduler.scheduler import View

SMOKE_EXAMPLES = 64


@dataclass(frozen=True)
class Outcome:
    """How a study stands after `run`: counts of comparison cells, what failed, the results and their report."""

    done: int
    failed: int
    missing: int
    errors: Mapping[str, str]  # by run name
    results: Results | None = None
    report: Path | None = None

    @property
    def complete(self) -> bool:
        return self.failed == 0 and self.missing == 0


def run(
    loaded: LoadedStudy,
    workspace: Workspace,
    view: View,
    *,
    only: list[str] | None = None,
    rerun: str | None = None,
    command: str = "",
) -> Outcome:
    """Run what is missing, then measure latency and write the report. Resumable at any moment.

    Raises InputError before anything is created when the study, its data or its components are wrong; Interrupted when
    asked to stop by a signal, and RetryTimeout when the store or the working folder stay unusable.
    """
    study = loaded.study
    wanted = plan.selector(study, only or [], file=str(loaded.path))
    if rerun is not None:
        check_rerun(study, rerun, only or [])
    check_folder("--reports", workspace.reports)
    stop = StopRequest()
    with stop.listening():
        build_all(loaded, workspace)
        workspace = replace(workspace, device=session.device_of(loaded, workspace, view))
        if workspace.storage:
            from ablate.tuning import optuna

            optuna.check_storage(workspace.storage)
        task = session.Run(loaded, workspace, workspace.tracker(), view, stop)
        with session.only_driver(loaded, workspace, command):
            outcome = _carry_out(task, wanted, only, rerun, command)
        if not outcome.done:
            return outcome
        found = task.store.insist(lambda: results(study.name, workspace, task.tracker))
        return replace(outcome, results=found, report=write_report(found, workspace, str(loaded.path)))


def _carry_out(
    task: session.Run, wanted: Callable[..., bool], only: list[str] | None, rerun: str | None, command: str
) -> Outcome:
    """All that only one process of a study may do: its document, its runs, what is measured after them."""
    loaded, store, study = task.loaded, task.store, task.loaded.study
    old = task.take_over()
    redone = [arm for arm in study.arms if arm == rerun and (not only or arm in only)]
    task.open(command, old, redone)
    if rerun is not None:
        chosen = sorted(_chosen(loaded, old, rerun, wanted))
        store.insist(lambda: task.tracker.discard(chosen))
    driver = store.insist(task.driver)
    driver.cell_queue.wanted = wanted
    _warn_of_stale(loaded, driver.records, task.view)
    driver.run()
    task.tidy(driver.records)
    if not only:
        task.measure_latency(driver)
    outcome = _outcome(loaded.plan(driver.records))
    store.insist(lambda: task.tracker.close(study.name, finished=outcome.complete))
    task.mirror(driver.records)
    return outcome


def smoke(loaded: LoadedStudy, workspace: Workspace, view: View) -> Outcome:
    """One tiny pass through every arm in a temporary folder: nothing is recorded."""
    from ablate.tracking.memory import MemoryTracker

    stop = StopRequest()
    with stop.listening(), tempfile.TemporaryDirectory() as folder:
        build_all(loaded, workspace)
        scratch = replace(workspace, mlruns=Path(folder), device=resolve_device(workspace.device), scheduler=None)
        loaded = replace(loaded, study=_tiny(loaded.study))
        tracker = MemoryTracker()
        tracker.open(loaded.study.name, {})
        driver = session.Run(loaded, scratch, tracker, view, stop).driver()
        driver.context = replace(driver.context, limit=SMOKE_EXAMPLES)
        driver.run()
    return _outcome(loaded.plan(driver.records))


def _tiny(study: Study) -> Study:
    training = {**study.settings["training"], "epochs": 1, "batch_size": SMOKE_EXAMPLES // 2}
    settings = {**study.settings, "training": training}
    vary = [purpose for purpose in study.vary if purpose != "fold"]  # one seed makes no folds
    return study.model_copy(update={"tuning": None, "seeds": study.seeds[:1], "settings": settings, "vary": vary})


def check_rerun(study: Study, what: str, only: Collection[str] = ()) -> None:
    """Raise InputError unless `what` names something that can be done again, and among `only`."""
    if what not in ("failed", "stale", *study.arms):
        arms = ", ".join(study.arms)
        raise InputError(
            Problem("--rerun", "", "must be failed, stale or an arm of this study", shown(what), f"arms: {arms}")
        )
    if only and what in study.arms and what not in {text.partition(":")[0] for text in only}:
        raise InputError(Problem("--rerun", "", "is an arm that --only leaves out", what, f"--only {what} names it"))


def _chosen(loaded: LoadedStudy, old: list[Record], what: str, wanted: Callable[[Record], bool]) -> set[str]:
    """Ids of the `wanted` runs to be done again: an arm's, the failed ones, or those made by other code."""
    if what == "stale":
        chosen = {run_id for run_id, code in stale(loaded, old).items() if code == "changed"}
    else:
        chosen = {r.run_id for r in old if (r.status == "FAILED" if what == "failed" else r.arm == what)}
    return {r.run_id for r in old if r.run_id in chosen and wanted(r)}


def stale(loaded: LoadedStudy, old: list[Record]) -> dict[str, Code]:
    """Which finished runs that count were not made by the code that is here now, by run id: by other code, or by code
    whose digest cannot be compared."""
    from ablate.trainers.provenance import source_digest

    counted = loaded.plan(old).counted.values()
    made = [r for r in counted if r.status == "FINISHED" and "source_digest" in r.provenance]
    factories = {}
    for arm in {r.arm for r in made}:
        settings = resolve(loaded.study, arm)
        factories[arm] = tuple(str(settings[section]["factory"]) for section in ("model", "data", "loss"))
    current = {code: source_digest(code, loaded.folder) for code in set(factories.values())}
    found = {r.run_id: same_code(r.provenance["source_digest"], current[factories[r.arm]]) for r in made}
    return {run_id: code for run_id, code in found.items() if code != "same"}


def _warn_of_stale(loaded: LoadedStudy, known: list[Record], view: View) -> None:
    found = list(stale(loaded, known).values())
    if "changed" in found:
        made_otherwise = found.count("changed")
        view.note(f"{made_otherwise} finished runs were made by other source code; --rerun stale does them again")
    if "unknown" in found:
        view.note(
            f"of {found.count('unknown')} finished runs it cannot be told whether the source code has changed since: "
            "an earlier version of ablate took its digest in another way"
        )


def _outcome(planned: plan.Plan) -> Outcome:
    cells = [cell for cell in planned.cells if cell.phase == "compare"]
    states = [cell.state for cell in cells]
    errors = {f"{c.arm}-seed{c.seed}": c.error for c in cells if c.state == "failed"}
    done, failed = states.count("done"), states.count("failed")
    return Outcome(done, failed, len(cells) - done - failed, errors)


def remaining(loaded: LoadedStudy, workspace: Workspace, only: list[str] | None, rerun: str | None = None) -> int:
    """Number of chosen cells, tuning included, that are neither done nor failed, or are to be done again."""
    wanted = plan.selector(loaded.study, only or [], file=str(loaded.path))
    old = records(loaded.study.name, workspace)
    again = _chosen(loaded, old, rerun, wanted) if rerun else set()
    cells = loaded.plan(r for r in old if r.run_id not in again).cells
    return sum(wanted(cell) and cell.state not in ("done", "failed") for cell in cells)
