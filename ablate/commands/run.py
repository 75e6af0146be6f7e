"""`ablate run`: run what is missing, then write the report. Heavy libraries are imported where they are used."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.commands.report import results, write_report
from ablate.planning import plan
from ablate.planning.counting import Code, same_code
from ablate.report.formats import FORMATS
from ablate.scheduler import study_lock
from ablate.scheduler.component_checks import build_all
from ablate.scheduler.loaded_study import LoadedStudy
from ablate.scheduler.session import Session, device_of, without_latency
from ablate.scheduler.shutdown import StopRequest
from ablate.scheduler.workspace import Workspace, check_folder, resolve_device
from ablate.study import InputError, Problem, Record, Study, amend
from ablate.study.resolve import resolve
from ablate.tracking.mlflow.sqlite_reader import changed_ns, has_unended_runs
from ablate.untrusted.wording import shown

if TYPE_CHECKING:
    from ablate.analysis.results import Results
    from ablate.scheduler.scheduler import View

SMOKE_EXAMPLES = 64


@dataclass(frozen=True)
class Outcome:
    """The state of a study after `run`: counts of comparison cells, errors, the results and their report."""

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
    records: list[Record],
    *,
    only: list[str] | None = None,
    rerun: str | None = None,
    command: str = "",
) -> Outcome:
    """Run what is missing, then measure latency and write the report. Resumable at any moment.

    `records`: those of the study in the store. Where nothing is missing and the report is current, nothing is written.

    Raises InputError before anything is created when the study, its data or its components are wrong; Interrupted after
    a signal to stop, and RetryTimeout when the store or the working folder stay unusable.
    """
    study = loaded.study
    wanted = plan.selector(study, only or [], file=str(loaded.path))
    if rerun is not None:
        check_rerun(study, rerun, only or [])
    check_folder("--reports", workspace.reports)
    to_do = remaining(loaded, records, only, rerun)
    if not to_do and not rerun and (study_results := _current_results(loaded, workspace, records, only)):
        _note_stale_runs(loaded, records, view)
        report = workspace.reports / study.name / FORMATS["md"]
        return replace(_outcome(loaded.plan(records)), results=study_results, report=report)
    stop = StopRequest()
    with stop.handling_signals():
        if to_do:
            build_all(loaded, workspace)
            workspace = replace(workspace, device=device_of(loaded, workspace, view))
        if workspace.storage:
            from ablate.tuning import optuna

            optuna.check_storage(workspace.storage)
        session = Session(loaded, workspace, workspace.tracker(), view, stop)
        lock, uri = workspace.lock_file(study.name), workspace.tracking_uri
        with study_lock.hold(lock, study.name, command=command, store=uri, new=True):
            outcome = _run_locked(session, wanted, only, rerun, command)
        if not outcome.done:
            return outcome
        study_results = session.store_retry.call(lambda: results(study.name, workspace))
        report = write_report(study_results, workspace, str(loaded.path))
        return replace(outcome, results=study_results, report=report)


def _run_locked(
    session: Session, wanted: Callable[..., bool], only: list[str] | None, rerun: str | None, command: str
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
    _note_stale_runs(loaded, records, session.view)
    if remaining(loaded, records, only):
        scheduler = session.scheduler(records, wanted)
        scheduler.run()
        records = scheduler.records
        session.remove_recorded_folders(records)
    if not only:
        session.measure_latency(records)
    session.update_dashboard(records)
    outcome = _outcome(loaded.plan(records))
    # last: to `_current_results` an open study is one whose session was killed
    store_retry.call(lambda: session.tracker.close(study.name, finished=outcome.complete))
    return outcome


def _current_results(
    loaded: LoadedStudy, workspace: Workspace, records: list[Record], only: list[str] | None
) -> Results | None:
    """The results in a local store, where the report shows them and a session would add nothing; else None.

    None where a session was killed before it closed the study, and where latency is still to be measured.
    """
    store, folder, name = workspace.sqlite_file, workspace.reports / loaded.study.name, loaded.study.name
    report = folder / FORMATS["md"]
    if workspace.storage or store is None or not all(f.is_file() for f in (store, report, workspace.optuna_db)):
        return None
    if report.stat().st_mtime_ns <= changed_ns(store) or has_unended_runs(store, name):
        return None
    reader = workspace.reader()
    stored = reader.document(name) or {}
    present = amend.document(loaded.study, loaded.catalogue, loaded.digests, command="", today="")
    if any(stored.get(key) != present[key] for key in ("study", "metrics", "data_digests", "schema")):
        return None
    unmeasured = without_latency(loaded.plan(records).compared.values())
    if not only and any(reader.artifact(record.run_id, "model") for record in unmeasured):
        return None
    study_results = results(name, workspace)
    return study_results if _is_shown(study_results, folder) else None


def _is_shown(study_results: Results, folder: Path) -> bool:
    """Whether a report's folder has the scores and timings of these results, and the pictures that the report names.

    Times differ from run to run, so a report of the same study in another store is told from it by its timings.
    """
    from ablate.analysis.results import csv_files

    csv_as_written = ((folder / name, text.encode()) for name, text in csv_files(study_results).items())
    pictures = re.findall(r'src="(figures/[^"]+)"', (folder / FORMATS["md"]).read_text(encoding="utf-8"))
    return all(path.is_file() and path.read_bytes() == content for path, content in csv_as_written) and all(
        (folder / picture).is_file() for picture in pictures
    )


def smoke(loaded: LoadedStudy, workspace: Workspace, view: View) -> Outcome:
    """Run every arm once, with little data, in a temporary folder: nothing is recorded."""
    from ablate.tracking.memory import MemoryTracker

    stop = StopRequest()
    with stop.handling_signals(), tempfile.TemporaryDirectory() as folder:
        build_all(loaded, workspace)
        scratch = replace(workspace, mlruns=Path(folder), device=resolve_device(workspace.device), scheduler=None)
        loaded = replace(loaded, study=_tiny(loaded.study))
        tracker = MemoryTracker()
        tracker.open(loaded.study.name, {})
        scheduler = Session(loaded, scratch, tracker, view, stop).scheduler([])
        scheduler.context = replace(scheduler.context, limit=SMOKE_EXAMPLES)
        scheduler.run()
    return _outcome(loaded.plan(scheduler.records))


def _tiny(study: Study) -> Study:
    training = {**study.settings["training"], "epochs": 1, "batch_size": SMOKE_EXAMPLES // 2}
    settings = {**study.settings, "training": training}
    vary = [purpose for purpose in study.vary if purpose != "fold"]  # one seed makes no folds
    return study.model_copy(update={"tuning": None, "seeds": study.seeds[:1], "settings": settings, "vary": vary})


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


def stale(loaded: LoadedStudy, records: list[Record]) -> dict[str, Code]:
    """The finished runs that count and whose code is not the code on disk, by run id.

    "changed": made by other code; "unknown": made by code whose digest cannot be compared.
    """
    from ablate.trainers.provenance import source_digest

    counted = loaded.plan(records).counted.values()
    finished = [r for r in counted if r.status == "FINISHED" and "source_digest" in r.provenance]
    factories = {}
    for arm in {r.arm for r in finished}:
        settings = resolve(loaded.study, arm)
        factories[arm] = tuple(str(settings[section]["factory"]) for section in ("model", "data", "loss"))
    digests = {names: source_digest(names, loaded.folder) for names in set(factories.values())}
    codes = {r.run_id: same_code(r.provenance["source_digest"], digests[factories[r.arm]]) for r in finished}
    return {run_id: code for run_id, code in codes.items() if code != "same"}


def _note_stale_runs(loaded: LoadedStudy, records: list[Record], view: View) -> None:
    codes = list(stale(loaded, records).values())
    if changed := codes.count("changed"):
        view.note(f"{changed} finished runs were made by other source code; --rerun stale does them again")
    if unknown := codes.count("unknown"):
        view.note(
            f"of {unknown} finished runs it cannot be told whether the source code has changed since: "
            "an earlier version of ablate took its digest in another way"
        )


def _outcome(planned: plan.Plan) -> Outcome:
    cells = [cell for cell in planned.cells if cell.phase == "compare"]
    states = [cell.state for cell in cells]
    errors = {f"{c.arm}-seed{c.seed}": c.error for c in cells if c.state == "failed"}
    done, failed = states.count("done"), states.count("failed")
    return Outcome(done, failed, len(cells) - done - failed, errors)


def remaining(loaded: LoadedStudy, records: list[Record], only: list[str] | None, rerun: str | None = None) -> int:
    """The number of chosen cells, tuning included, that are neither done nor failed, or are to be done again."""
    wanted = plan.selector(loaded.study, only or [], file=str(loaded.path))
    redone = _runs_to_redo(loaded, records, rerun, wanted) if rerun else set()
    cells = loaded.plan(r for r in records if r.run_id not in redone).cells
    return sum(wanted(cell) and cell.state not in ("done", "failed") for cell in cells)
