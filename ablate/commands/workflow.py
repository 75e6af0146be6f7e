"""Wires the pieces: from a loaded study to runs, records and a report. Heavy libraries are imported where used."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ablate.planning import plan
from ablate.planning.counting import Code, same_code
from ablate.planning.outdated import Outdated, outdated
from ablate.scheduler import session
from ablate.scheduler.shutdown import StopRequest
from ablate.scheduler.workspace import (
    LoadedStudy,
    Workspace,
    build_all,
    check_folder,
    load,
    records,
    resolve_device,
    shown_path,
    stored,
)
from ablate.study import InputError, Problem, Record, Study, Tracker, amend, components, trust
from ablate.study import study_file as studyfile
from ablate.study.resolve import resolve
from ablate.untrusted.wording import nearest, shown

if TYPE_CHECKING:
    import pandas as pd

    from ablate.analysis.compare import ArmComparison
    from ablate.analysis.power_plan import PowerPlan
    from ablate.analysis.results import Results
    from ablate.scheduler.scheduler import View

__all__ = ["LoadedStudy", "Workspace", "load", "records"]  # what the command line needs to begin

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
        return replace(outcome, results=found, report=_write_report(found, workspace, str(loaded.path)))


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


def report(name: str, workspace: Workspace, formats: Sequence[str] = ("md",)) -> list[Path]:
    """Write `reports/<study>/` from the store alone; gives the file of each format, for CSV the folder of tables.

    Raises InputError when a format is unknown or the store does not know the study.
    """
    from ablate.report.build import FORMATS

    wrong = [f for f in formats if f not in FORMATS]
    if wrong or not formats:
        rule = "is no format of a report" if wrong else "must name a format"
        raise InputError(Problem("--format", "", rule, ", ".join(map(shown, wrong)), f"valid: {', '.join(FORMATS)}"))
    check_folder("--reports", workspace.reports)
    folder = _write_report(results(name, workspace), workspace, formats=formats).parent
    return [folder / FORMATS[f] for f in formats]


def compare(
    name: str, workspace: Workspace, arm: str, against: str, metrics: Sequence[str] = ()
) -> list[ArmComparison]:
    """Two arms side by side in each metric, by default the study's. Raises InputError for a name it does not have."""
    from ablate.analysis import compare

    found = results(name, workspace)
    known, arms = compare.scored(found), list(found.study.arms)
    problems = [
        Problem(place, "", "no arm of this study", shown(value), nearest(value, arms))
        for place, value in (("ARM_A", arm), ("ARM_B", against))
        if value not in arms
    ]
    if arm == against and not problems:
        problems.append(Problem("ARM_B", "", "must be another arm than ARM_A", shown(against)))
    problems += [
        Problem("--metric", "", "no metric of this study", shown(metric), nearest(metric, known))
        for metric in metrics
        if metric not in known
    ]
    if problems:
        raise InputError(*problems)
    return compare.versus(found, arm, against, list(dict.fromkeys(metrics)) or found.study.metrics)


def _write_report(found: Results, workspace: Workspace, study_file: str = "", formats: Sequence[str] = ("md",)) -> Path:
    from ablate.report import build as page

    folder = workspace.reports / found.document["study"]["name"]
    try:
        return page.build(found, folder, study_file=study_file, formats=formats)
    except OSError as error:
        raise InputError(Problem("--reports", "", "cannot be written", str(error))) from None


def results(name: str, workspace: Workspace, tracker: Tracker | None = None) -> Results:
    """The study's results as the claims and pages read them. Raises InputError when the store does not know it.

    `tracker`: the store, where it is open already.
    """
    from ablate.analysis import results as tables
    from ablate.tracking.mlflow import sqlite_reader

    unknown = Problem(shown_path(workspace.mlruns), "study", "not in the store", name)
    local = workspace.tracking_uri is None and workspace.database.is_file()
    if local and sqlite_reader.document_from_sqlite(workspace.database, name) is None:
        raise InputError(unknown)  # before mlflow is imported, which takes seconds
    tracker = tracker or workspace.existing_tracker()
    if tracker.document(name) is None:
        raise InputError(unknown)
    return tables.load(tracker, name)


def load_results(study: str | Path, workspace: Workspace | None = None) -> pd.DataFrame:
    """A row an arm and seed: status, run id and every score of a study, by name or by study file."""
    return results(study_name(str(study)), workspace or Workspace()).frame()


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


def study_name(study: str) -> str:
    """The name of a study given by name or by file, of which nothing is imported."""
    return studyfile.load(Path(study), imports=False).name if study.endswith(".toml") else study


def trust_packages(names: Sequence[str]) -> None:
    """The person vouches for these packages: what the store names of them may be imported, from here too."""
    for name in names:
        trust.accept_package(name)
    if names:
        components.importable([Path.cwd()])


def serve_ui(workspace: Workspace, port: int, say: Callable[[str], None]) -> NoReturn:
    """Become the MLflow UI on 127.0.0.1. Raises InputError when the port is taken."""
    import os
    import socket
    import sys

    from ablate.untrusted.addresses import redacted, sqlite_address, with_driver

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise InputError(Problem("--port", "", f"cannot be used ({error.strerror})", str(port))) from None
    if workspace.tracking_uri and workspace.tracking_uri.startswith("http"):
        rule, hint = "is a server, which has a page of its own", "open it in a browser"
        raise InputError(Problem("--tracking-uri", "", rule, redacted(workspace.tracking_uri), hint))
    workspace.tracker()  # an empty or older database is initialised before the server's processes open it
    # By the environment: anyone on the machine can read a command, with the password of a database in it.
    uri = workspace.tracking_uri or sqlite_address(workspace.database)
    os.environ["MLFLOW_BACKEND_STORE_URI"] = with_driver(uri)
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # workers for jobs that no study has
    say(f"MLflow UI on http://127.0.0.1:{port}, in a few seconds (Ctrl-C ends it)")
    command = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    os.execv(sys.executable, command)  # so that its signals are ours
