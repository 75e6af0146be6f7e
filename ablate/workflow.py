"""Wires the pieces: from a loaded study to runs, records and a report. Heavy libraries are imported where used."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ablate.design import amend, plan, studyfile
from ablate.design.resolve import resolve
from ablate.design.wording import nearest, shown
from ablate.loading import Loaded, Workspace, build_all, check_folder, context_of, load, records, resolve_device
from ablate.study import InputError, Problem, Record, Study, Tracker

if TYPE_CHECKING:
    import pandas as pd

    from ablate.claims.outlook import Outlook
    from ablate.claims.results import Results
    from ablate.claims.versus import Versus
    from ablate.driver import Driver, View

__all__ = ["Loaded", "Workspace", "load"]  # what the command line needs to begin

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


def make_plan(loaded: Loaded, workspace: Workspace, *, check: bool = False) -> plan.Plan:
    """What would run and what is done. `check` also imports the components and builds every arm's."""
    if check:
        build_all(loaded, workspace)
    return loaded.plan(records(loaded.study.name, workspace))


def outlook(loaded: Loaded, workspace: Workspace, *, difference: float | None = None) -> Outlook:
    """What the study's seeds can show, by the spread of its finished runs; and for a `difference`, the seeds needed."""
    from ablate.claims import outlook as prospects

    return prospects.outlook(loaded.study, loaded.catalogue, records(loaded.study.name, workspace), difference)


def run(
    loaded: Loaded,
    workspace: Workspace,
    view: View,
    *,
    only: list[str] | None = None,
    rerun: str | None = None,
    command: str = "",
) -> Outcome:
    """Run what is missing, then measure latency and write the report. Resumable at any moment.

    Raises InputError before anything is created when the study, its data or its components are wrong.
    """
    study = loaded.study
    wanted = plan.selector(study, only or [], file=str(loaded.path))
    if rerun is not None:
        check_rerun(study, rerun, only or [])
    check_folder("--reports", workspace.reports)
    build_all(loaded, workspace)
    device = resolve_device(workspace.device)
    tracker = workspace.tracker()
    with _only_driver(workspace, study.name):
        old = tracker.records(study.name)
        redone = [arm for arm in study.arms if arm == rerun and (not only or arm in only)]
        _open(tracker, loaded, command, old, redone)
        if rerun is not None:
            tracker.discard(sorted(_chosen(loaded, old, rerun, wanted)))
        driver = _driver(loaded, replace(workspace, device=device), tracker, view)
        driver.agenda.wanted = wanted
        _warn_of_stale(loaded, driver.records, view)
        driver.run()
        if not only:
            _measure_latency(driver, device)
        outcome = _outcome(loaded.plan(driver.records))
        tracker.close(study.name, finished=outcome.complete)
        _mirror(loaded, driver, workspace, view)
    if not outcome.done:
        return outcome
    found = results(study.name, workspace)
    return replace(outcome, results=found, report=_write_report(found, workspace, str(loaded.path)))


def smoke(loaded: Loaded, workspace: Workspace, view: View) -> Outcome:
    """One tiny pass through every arm in a temporary folder: nothing is recorded."""
    from ablate.edges.memory import MemoryTracker

    build_all(loaded, workspace)
    with tempfile.TemporaryDirectory() as folder:
        scratch = replace(workspace, mlruns=Path(folder), device=resolve_device(workspace.device))
        loaded = replace(loaded, study=_tiny(loaded.study))
        tracker = MemoryTracker()
        tracker.open(loaded.study.name, {})
        driver = _driver(loaded, scratch, tracker, view)
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
    from ablate.pages.report import FORMATS

    wrong = [f for f in formats if f not in FORMATS]
    if wrong or not formats:
        rule = "is no format of a report" if wrong else "must name a format"
        raise InputError(Problem("--format", "", rule, ", ".join(map(shown, wrong)), f"valid: {', '.join(FORMATS)}"))
    check_folder("--reports", workspace.reports)
    folder = _write_report(results(name, workspace), workspace, formats=formats).parent
    return [folder / FORMATS[f] for f in formats]


def compare(name: str, workspace: Workspace, arm: str, against: str, metrics: Sequence[str] = ()) -> list[Versus]:
    """Two arms side by side in each metric, by default the study's. Raises InputError for a name it does not have."""
    from ablate.claims import versus

    found = results(name, workspace)
    known, arms = versus.scored(found), list(found.study.arms)
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
    return versus.versus(found, arm, against, list(dict.fromkeys(metrics)) or found.study.metrics)


def _write_report(found: Results, workspace: Workspace, study_file: str = "", formats: Sequence[str] = ("md",)) -> Path:
    from ablate.pages import report as page

    folder = workspace.reports / found.document["study"]["name"]
    try:
        return page.build(found, folder, study_file=study_file, formats=formats)
    except OSError as error:
        raise InputError(Problem("--reports", "", "cannot be written", str(error))) from None


def results(name: str, workspace: Workspace) -> Results:
    """The study's results as the claims and pages read them. Raises InputError when the store does not know it."""
    from ablate.claims import results as tables
    from ablate.edges import ledger

    unknown = Problem(str(workspace.mlruns), "study", "not in the store", name)
    local = workspace.tracking_uri is None and workspace.database.is_file()
    if local and ledger.document_from_sqlite(workspace.database, name) is None:
        raise InputError(unknown)  # before mlflow is imported, which takes seconds
    tracker = workspace.existing_tracker()
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


def _chosen(loaded: Loaded, old: list[Record], what: str, wanted: Callable[[Record], bool]) -> set[str]:
    """Ids of the `wanted` runs to be done again: an arm's, the failed ones, or those made by other code."""
    old = [r for r in old if wanted(r)]
    if what == "stale":
        return stale(loaded, old)
    return {r.run_id for r in old if (r.status == "FAILED" if what == "failed" else r.arm == what)}


def stale(loaded: Loaded, old: list[Record]) -> set[str]:
    """Ids of finished runs whose components' source has changed since."""
    from ablate.runs.provenance import source_digest

    made = [r for r in old if r.status == "FINISHED" and r.arm in loaded.study.arms and "source_digest" in r.provenance]
    factories = {}
    for arm in {r.arm for r in made}:
        settings = resolve(loaded.study, arm)
        factories[arm] = tuple(str(settings[section]["factory"]) for section in ("model", "data", "loss"))
    current = {code: source_digest(code) for code in set(factories.values())}
    return {r.run_id for r in made if r.provenance["source_digest"] != current[factories[r.arm]]}


def _warn_of_stale(loaded: Loaded, known: list[Record], view: View) -> None:
    made_otherwise = stale(loaded, known)
    if made_otherwise:
        view.note(f"{len(made_otherwise)} finished runs were made by other source code; --rerun stale does them again")


def _driver(loaded: Loaded, workspace: Workspace, tracker: Tracker, view: View) -> Driver:
    from ablate.driver import Driver
    from ablate.edges import engines
    from ablate.runs.provenance import git_state

    study, root = loaded.study, workspace.mlruns.resolve()
    context = context_of(loaded, workspace, root / "work" / study.name, root / "logs" / study.name)
    threads = int(study.settings["training"].get("threads", 1))
    git, diff = git_state(context.study_dir)
    return Driver(
        study,
        tracker,
        context,
        loaded.digests,
        workspace.workers or engines.default_workers(threads, workspace.device),
        engines.pool_for(workspace.device),
        view,
        git,
        diff,
    )


@contextmanager
def _only_driver(workspace: Workspace, study: str) -> Iterator[None]:
    """Keep a second driver of the same study out; the operating system frees the lock when this process ends."""
    from filelock import FileLock, Timeout

    path = workspace.mlruns / f"{study}.lock"
    try:
        with FileLock(path, timeout=0):
            yield
    except Timeout:
        raise InputError(Problem(str(path), "", "another `ablate run` of this study is at work", study)) from None


def _open(tracker: Tracker, loaded: Loaded, command: str, known: Collection[Record], rerun: Collection[str]) -> None:
    """Write the study's document; refuse changed settings under finished runs."""
    study = loaded.study
    today = date.today().isoformat()
    new = amend.document(study, loaded.catalogue, command=command, today=today)
    old = tracker.document(study.name)
    if old is not None:
        has_runs = any(r.status == "FINISHED" for r in known)
        changes = amend.amend(old, study, file=str(loaded.path), has_runs=has_runs, rerun=rerun)
        new["created"] = old["created"]
        if has_runs:  # the first digest stays: what was claimed before there were results
            new["hypotheses_digest"] = old["hypotheses_digest"]
        new["amendments"] = [*old["amendments"], *({"date": today, "what": change} for change in changes)]
    tracker.open(study.name, new)


def _measure_latency(driver: Driver, device: str) -> None:
    """Once an arm, with nothing else running: the finished runs of the arm share the number."""
    from ablate.runs.cost import latency

    finished = [r for r in driver.records if r.phase == "compare" and r.status == "FINISHED"]
    new = [r for r in finished if "cost/latency_ms_p50" not in r.scores]
    threads = int(driver.study.settings["training"].get("threads", 1))
    with driver.engine(1) as pool:  # starts no process before the first measurement
        for arm in dict.fromkeys(r.arm for r in new):
            runs = [r.run_id for r in new if r.arm == arm]
            known = [r.scores for r in finished if r.arm == arm and "cost/latency_ms_p50" in r.scores]
            folder = driver.tracker.artifact(runs[0], "model")
            if folder is None:
                continue
            try:
                scores = known[0] if known else pool.submit(latency, folder, threads=threads, device=device).result()
            except Exception as error:  # the study has its results without it
                driver.view.note(f"the latency of {arm} could not be measured: {error}")
                continue
            latencies = {name: value for name, value in scores.items() if name.startswith("cost/latency")}
            driver.tracker.add_scores(runs, latencies)


def _mirror(loaded: Loaded, driver: Driver, workspace: Workspace, view: View) -> None:
    from ablate.edges import tuning

    try:
        tuning.mirror(workspace.mlruns / "optuna.db", loaded.study, driver.records, loaded.digests.__getitem__)
    except Exception as error:  # the dashboard is a convenience; the results are in the tracking store
        view.note(f"the Optuna dashboard's database could not be updated: {error}")


def _outcome(planned: plan.Plan) -> Outcome:
    cells = [cell for cell in planned.cells if cell.phase == "compare"]
    states = [cell.state for cell in cells]
    errors = {f"{c.arm}-seed{c.seed}": c.error for c in cells if c.state == "failed"}
    done, failed = states.count("done"), states.count("failed")
    return Outcome(done, failed, len(cells) - done - failed, errors)


def remaining(loaded: Loaded, workspace: Workspace, only: list[str] | None, rerun: str | None = None) -> int:
    """Number of chosen cells, tuning included, that are neither done nor failed, or are to be done again."""
    wanted = plan.selector(loaded.study, only or [], file=str(loaded.path))
    old = records(loaded.study.name, workspace)
    again = _chosen(loaded, old, rerun, wanted) if rerun else set()
    cells = loaded.plan(r for r in old if r.run_id not in again).cells
    return sum(wanted(cell) and cell.state not in ("done", "failed") for cell in cells)


def study_name(study: str) -> str:
    """The name of a study given by name or by file."""
    return studyfile.load(Path(study)).name if study.endswith(".toml") else study


def serve_ui(workspace: Workspace, port: int, say: Callable[[str], None]) -> NoReturn:
    """Become the MLflow UI on 127.0.0.1. Raises InputError when the port is taken."""
    import os
    import socket
    import sys

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise InputError(Problem("--port", "", f"cannot be used ({error.strerror})", str(port))) from None
    workspace.tracker()  # an empty or older database is initialised before the server's processes open it
    uri = workspace.tracking_uri or f"sqlite:///{workspace.database.resolve()}"
    say(f"MLflow UI on http://127.0.0.1:{port}, in a few seconds (Ctrl-C ends it)")
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--host", "127.0.0.1"]
    os.execv(sys.executable, [*command, "--port", str(port), "--workers", "1"])  # so that its signals are ours


def snapshot(name: str, workspace: Workspace, *, reports_only: bool = False) -> str:
    """Put a finished study under DVC in the repository of the working folder; says what was stored."""
    from ablate.edges import snapshot as dvc

    return dvc.snapshot(name, Path.cwd(), workspace.mlruns, reports_only=reports_only)


def restore(workspace: Workspace) -> str:
    """Merge what `mlruns.dvc` of the working folder tracks into the store; says what came back."""
    from ablate.edges import snapshot as dvc

    return dvc.restore(Path.cwd(), workspace.mlruns)
