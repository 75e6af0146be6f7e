"""`ablate run`: run what is missing, then write the report. Heavy libraries are imported where they are used."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.commands import summary
from ablate.commands.plan import workers_of
from ablate.commands.report import results, write_report
from ablate.commands.stale import notes, stale
from ablate.planning import plan
from ablate.planning.forecast import forecast
from ablate.report.formats import FORMATS
from ablate.scheduler import finished_marker, study_lock
from ablate.scheduler.component_checks import build_all
from ablate.scheduler.loaded_study import LoadedStudy, refuse_adopted
from ablate.scheduler.looks import at_look
from ablate.scheduler.session import Session, device_of
from ablate.scheduler.shutdown import StopRequest
from ablate.scheduler.view import StudyView, View
from ablate.scheduler.workspace import Workspace, check_folder, resolve_device
from ablate.study import Arm, InputError, Problem, Record, Study, Tracker
from ablate.study.runs import logs_to_mlflow
from ablate.study.stopping_rules import check_only
from ablate.untrusted.wording import shown

if TYPE_CHECKING:
    from ablate.analysis.results import Results
    from ablate.analysis.stopping import Progress

SMOKE_EXAMPLES = 64


@dataclass(frozen=True)
class Outcome:
    """The state of a study after `run`: counts of comparison cells, errors, the results and their report.

    In a study with `[stopping]` the cells are those that it needs now, and `looks` says what its looks have decided.
    """

    done: int
    failed: int
    missing: int
    errors: Mapping[str, str]  # by run name
    results: Results | None = field(default=None, repr=False)
    report: Path | None = None
    looks: Progress | None = None

    @property
    def complete(self) -> bool:
        return self.failed == 0 and self.missing == 0


@dataclass(frozen=True)
class ToDo:
    """What is left of a study: `cells`, or at most those where it stops by itself; the study with the seeds that it
    needs `now`, and what its looks have decided (`looks`)."""

    cells: list[plan.Cell]
    now: LoadedStudy
    looks: Progress | None


def run(
    loaded: LoadedStudy,
    workspace: Workspace,
    view: StudyView,
    records: list[Record],
    *,
    only: list[str] | None = None,
    rerun: str | None = None,
    command: str = "",
) -> Outcome:
    """Run what is missing, then measure latency and write the report. Resumable at any moment.

    `records`: those of the study in the store. Where nothing has changed since the study was finished, nothing is
    written.

    Raises InputError before anything is created when the study, its data or its components are wrong; Interrupted after
    a signal to stop, and RetryTimeout when the store or the working folder stay unusable.
    """
    study = loaded.study
    refuse_adopted(loaded, workspace, records)
    wanted = plan.selector(study, only or [], file=str(loaded.path))
    check_folder("--reports", workspace.reports)
    again = workspace.suggest("run", loaded.path, "--rerun", "stale")
    to_do = left_to_do(loaded, workspace, records, only, rerun)
    seconds = _forecast(loaded, workspace, to_do.cells, records)
    view.expect(study, to_do.cells, at_most=to_do.looks is not None, seconds=seconds)
    if not to_do.cells and not rerun and finished_marker.is_finished(loaded, workspace):
        _note_stale_runs(loaded, records, view, again)
        report = workspace.reports / study.name / FORMATS["md"]
        outcome = _outcome(to_do.now.plan(records))
        found = results(study.name, workspace, records)
        return replace(outcome, results=found, report=report, looks=to_do.looks)
    stop = StopRequest()
    counted: dict[str, int] = {}
    with stop.handling_signals():
        if to_do.cells:
            view.step("building the components of every arm")
            counted = build_all(loaded, workspace, count=True)
            workspace = replace(workspace, device=device_of(loaded, workspace, view))
        if workspace.storage:
            from ablate.tuning import optuna

            optuna.check_storage(workspace.storage)
        view.step("opening the store")
        session = Session(loaded, workspace, workspace.tracker(), view, stop, counted=counted)
        lock, uri = workspace.lock_file(study.name), workspace.tracking_uri
        with study_lock.hold(lock, study.name, command=command, store=uri, new=True):
            outcome = _run_locked(session, wanted, only, rerun, command, view, again)
        if not outcome.done:
            return outcome
        store = finished_marker.store_state(workspace)
        view.step("writing the report")
        records = session.store_retry.call(lambda: session.tracker.records(study.name))
        study_results = session.store_retry.call(lambda: results(study.name, workspace, records))
        written = write_report(study_results, workspace, str(loaded.path))
        try:
            with study_lock.hold(lock, study.name, command=command, store=uri):
                unchanged = store == finished_marker.store_state(workspace)
                session.store_retry.call(lambda: summary.publish(study_results, written, session.tracker, records))
                store = finished_marker.store_state(workspace) if unchanged else store
        except Exception as error:  # it is for looking at: results and report do not depend on it
            view.note(f"what the MLflow UI shows of the study could not be updated: {error}")
        if not only:
            finished_marker.write(loaded, workspace, store)
        return replace(outcome, results=study_results, report=written.file)


def _run_locked(
    session: Session,
    wanted: Callable[..., bool],
    only: list[str] | None,
    rerun: str | None,
    command: str,
    view: StudyView,
    again: str,
) -> Outcome:
    """The steps that need the study's lock: write its document, do its runs, measure latency."""
    loaded, store_retry, study = session.loaded, session.store_retry, session.loaded.study
    records = session.recover()
    rerun_arms = [arm for arm in study.arms if arm == rerun and (not only or arm in only)]
    session.write_document(command, records, rerun_arms)
    if rerun is not None:
        discarded = _runs_to_redo(loaded, records, rerun, wanted)
        store_retry.call(lambda: session.tracker.discard(sorted(discarded)))
        records = [record for record in records if record.run_id not in discarded]
    _note_stale_runs(loaded, records, view, again)
    looks = session.to_look(loaded, records)
    if only:
        check_only(study, session.loaded.study, only, file=str(loaded.path))
    while _unfinished(session.loaded, records, wanted):
        before = session.loaded.study
        scheduler = session.scheduler(records, wanted)
        scheduler.run()
        records = scheduler.records
        session.remove_recorded_folders(records)
        looks = session.to_look(loaded, records)
        if session.loaded.study.seeds == before.seeds:  # else a look was taken, which asks for more of them
            break
    if looks is not None and looks.taken:
        session.view.note(looks.words)
    if not only:
        view.step("measuring the latency of every arm")
        session.measure_latency(records)
    outcome = replace(_outcome(session.loaded.plan(records)), looks=looks)
    store_retry.call(lambda: session.tracker.close(study.name, finished=outcome.complete))
    session.update_dashboard(records)
    return outcome


def smoke(loaded: LoadedStudy, workspace: Workspace, view: StudyView) -> Outcome:
    """Run every arm once, with little data, in a temporary folder: nothing is recorded."""
    stop = StopRequest()
    with stop.handling_signals(), tempfile.TemporaryDirectory() as folder:
        loaded = replace(loaded, study=_tiny(loaded.study, str(loaded.path)))
        view.expect(loaded.study, loaded.plan([]).cells)
        view.step("building the components of every arm")
        counted = build_all(loaded, workspace, count=True)
        device = resolve_device(workspace.device, with_torch=loaded.study.trainer == "built-in")
        scratch = replace(workspace, mlruns=Path(folder), tracking_uri=None, device=device, scheduler=None)
        tracker = _smoke_tracker(loaded.study, scratch)
        tracker.open(loaded.study.name, {})
        scheduler = Session(loaded, scratch, tracker, view, stop, SMOKE_EXAMPLES, counted).scheduler([])
        scheduler.run()
    return _outcome(loaded.plan(scheduler.records))


def _smoke_tracker(study: Study, scratch: Workspace) -> Tracker:
    """A store in memory; where the scripts log their scores to MLflow themselves, one in the temporary folder."""
    from ablate.tracking.memory import MemoryTracker

    return scratch.tracker() if logs_to_mlflow(study.settings) else MemoryTracker()


def _tiny(study: Study, file: str) -> Study:
    """The study with one short run per arm. Raises InputError for a command or a function without a budget."""
    if "run" in study.settings:
        if "budget" not in study.settings["run"]:
            rule = "needs a budget to make short: the setting budget of [settings.run]"
            raise InputError(Problem(file, "--smoke", rule, "", "a plain run does each arm once in full"))
        settings = {"run": {**study.settings["run"], "budget": 1}}
        arms = _with_one(study, "run.budget")
        return study.model_copy(update={"tuning": None, "seeds": study.seeds[:1], "settings": settings, "arms": arms})
    training = {**study.settings["training"], "epochs": 1, "batch_size": SMOKE_EXAMPLES // 2}
    settings = {**study.settings, "training": training}
    vary = [purpose for purpose in study.vary if purpose != "fold"]  # one seed makes no folds
    short = {"settings": settings, "arms": _with_one(study, "training.epochs"), "vary": vary}
    return study.model_copy(update={"tuning": None, "seeds": study.seeds[:1], **short})


def _with_one(study: Study, path: str) -> dict[str, Arm]:
    """The arms, with 1 for this setting where they set it themselves."""
    ones = {name: {**arm.set, path: 1} for name, arm in study.arms.items() if path in arm.set}
    return {
        name: arm.model_copy(update={"set": ones[name]} if name in ones else {}) for name, arm in study.arms.items()
    }


def check_rerun(study: Study, rerun: str, only: Collection[str] = ()) -> None:
    """Raise InputError unless `rerun` names runs that can be done again, and among `only`."""
    if rerun not in ("failed", "stale", *study.arms):
        arms = ", ".join(study.arms)
        raise InputError(
            Problem("--rerun", "", "must be failed, stale or an arm of this study", shown(rerun), f"arms: {arms}")
        )
    if only and rerun in study.arms and rerun not in {text.partition(":")[0] for text in only}:
        raise InputError(Problem("--rerun", "", "is an arm that --only leaves out", rerun, f"--only {rerun} names it"))


def _runs_to_redo(loaded: LoadedStudy, records: list[Record], rerun: str, wanted: Callable[[Record], bool]) -> set[str]:
    """Ids of the `wanted` runs that `rerun` names: an arm's, the failed ones, or those made by other code."""
    if rerun == "stale":
        named = {run_id for run_id, code in stale(loaded, records).items() if code == "changed"}
    else:
        named = {r.run_id for r in records if (r.status == "FAILED" if rerun == "failed" else r.arm == rerun)}
    return {r.run_id for r in records if r.run_id in named and wanted(r)}


def _note_stale_runs(loaded: LoadedStudy, records: list[Record], view: View, again: str) -> None:
    """`again`: the command that does stale runs again."""
    for note in notes(stale(loaded, records), again):
        view.note(note)


def _outcome(planned: plan.Plan) -> Outcome:
    cells = [cell for cell in planned.cells if cell.phase == "compare"]
    states = [cell.state for cell in cells]
    errors = {f"{c.arm}-seed{c.seed}": c.error for c in cells if c.state == "failed"}
    done, failed = states.count("done"), states.count("failed")
    return Outcome(done, failed, len(cells) - done - failed, errors)


def left_to_do(
    loaded: LoadedStudy, workspace: Workspace, records: list[Record], only: list[str] | None, rerun: str | None = None
) -> ToDo:
    """The chosen cells, tuning included, that are neither done nor failed, or are to be done again.

    Raises InputError for an `only` or `rerun` that the study does not have, or does not need now.
    """
    wanted = plan.selector(loaded.study, only or [], file=str(loaded.path))
    if rerun is not None:
        check_rerun(loaded.study, rerun, only or [])
    redone = _runs_to_redo(loaded, records, rerun, wanted) if rerun else set()
    kept = [r for r in records if r.run_id not in redone]
    now, looks = at_look(loaded, workspace.reader(), kept)
    if looks is not None:
        check_only(loaded.study, now.study, only or [], file=str(loaded.path))
        if not _unfinished(now, kept, wanted):
            return ToDo([], now, looks)
    return ToDo(_unfinished(loaded, kept, wanted), now, looks)


def _unfinished(loaded: LoadedStudy, records: list[Record], wanted: Callable[[plan.Cell], bool]) -> list[plan.Cell]:
    cells = loaded.plan(records).cells
    return [cell for cell in cells if wanted(cell) and cell.state not in ("done", "failed")]


def _forecast(
    loaded: LoadedStudy, workspace: Workspace, cells: Sequence[plan.Cell], records: Sequence[Record]
) -> float | None:
    """Seconds that these cells take by the finished runs; None: not known."""
    if not (cells and records):
        return None
    seconds = forecast(loaded.study, cells, records, workspace.reader().times(loaded.study.name)).seconds
    return None if seconds is None else seconds / min(workers_of(loaded, workspace), len(cells))
