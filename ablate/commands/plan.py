"""`ablate plan` and `ablate status`: what would run, what is done, which differences the study's seeds can show."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.analysis.fraction import fraction_words
from ablate.analysis.phrasing import counted, duration
from ablate.commands.stale import notes, stale
from ablate.planning.forecast import Forecast, forecast
from ablate.planning.outdated import outdated
from ablate.planning.plan import Plan
from ablate.planning.trials import tuned_arms
from ablate.report.terminal_plan import ShownPlan
from ablate.scheduler import timed_steps
from ablate.scheduler.component_checks import CHECKED, build_all
from ablate.scheduler.loaded_study import LoadedStudy, load, load_stored_study, refuse_adopted
from ablate.scheduler.looks import at_look
from ablate.scheduler.shutdown import StopRequest
from ablate.scheduler.workspace import Workspace
from ablate.study import Phase, Record, Study, amend

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
    timed: float | None = None
    if check:
        with StopRequest().handling_signals():
            build_all(loaded, workspace)
            if not workspace.reader().records(loaded.study.name):
                timed = timed_steps.seconds(loaded, workspace, loaded.plan([]).cells)
    shown, compared = _look(loaded, workspace, ("tune", "compare"), timed)
    checked = CHECKED[loaded.study.trainer] if check else ""
    study = loaded.study
    words = [*tuning_words(study), *stopping_words(study), *fraction_words(study), *shown.tuning]
    if not check:
        command = workspace.suggest("plan", path, "--check")
        shown = replace(shown, next=[f"{command} builds every component", *shown.next])
    shown = replace(shown, checked=checked, tuning=words)
    return shown, power_plan(study, loaded.catalogue, compared, difference)


def tuning_words(study: Study) -> Iterator[str]:
    """What the study's way of tuning costs and what it buys, in whole sentences; none without tuning."""
    tuning, arms = study.tuning, len(tuned_arms(study))
    if tuning is None or not arms:
        return
    per_seed, compared = arms * len(study.seeds) * tuning.trials, len(study.arms) * len(study.seeds)
    pruned = ", of which the pruner ends some early" if tuning.pruner else ""
    if tuning.per == "seed":
        yield (
            f"tuning is repeated for every seed: {counted(per_seed, 'tuning run')} ({counted(arms, 'arm')} × "
            f"{counted(len(study.seeds), 'seed')} × {counted(tuning.trials, 'trial')}){pruned} before "
            f"{counted(compared, 'comparison run')}; one tuning of each arm would take {arms * tuning.trials}."
        )
        yield (
            "It buys verdicts on the arms as they are tuned at this budget: the luck of tuning is in every interval. "
            'With per = "arm" a verdict holds for the tuned settings alone.'
        )
        return
    runs = arms * tuning.trials * len(tuning.seeds)
    yield (
        f"each arm is tuned once for all its seeds: {counted(runs, 'tuning run')}{pruned} before "
        f"{counted(compared, 'comparison run')}. Verdicts hold for these tuned settings and not for the arms as such: "
        f'the luck of tuning is in no interval. per = "seed" would take {counted(per_seed, "tuning run")}.'
    )


def stopping_words(study: Study) -> Iterator[str]:
    """The fewest and the most runs of a study that stops by itself; none of another."""
    if study.stopping is None:
        return
    compared, tuned, seeds = len(study.arms), len(tuned_arms(study)), (study.stopping.looks[0], len(study.seeds))
    trials = study.tuning.trials if study.tuning is not None else 0
    each = [trials * (n if study.tuning and study.tuning.per == "seed" else len(study.tuning_seeds)) for n in seeds]
    runs = [counted(compared * n, "comparison run") for n in seeds]
    runs = [f"{run} and {counted(tuned * k, 'tuning run')}" if k else run for run, k in zip(runs, each, strict=True)]
    yield (
        f"the study stops when every hypothesis is decided: at least {runs[0]}, with {seeds[0]} seeds; at most "
        f"{runs[1]}, with {seeds[1]}. What is said of power is of one look at all {seeds[1]}; planned looks cost some."
    )


def status(path: Path, workspace: Workspace, *, rehash: bool = False) -> ShownPlan:
    """The comparison runs with their states."""
    return _look(load(path, workspace, imports=False, rehash=rehash), workspace, ("compare",))[0]


def _look(
    loaded: LoadedStudy, workspace: Workspace, phases: Sequence[Phase], timed: float | None = None
) -> tuple[ShownPlan, Compared]:
    """The plan, and how the study file, its data and its code differ from what the store holds.

    `timed`: seconds that the whole study trains, by timed steps; None where they were not measured.
    Raises InputError when the study's document in the store is damaged.
    """
    from ablate.locking import file_lock

    reader = workspace.reader()
    records = reader.records(loaded.study.name)
    refuse_adopted(loaded, workspace, records)
    now, looks = at_look(loaded, reader, records)
    state = () if looks is None else tuple(looks.lines())
    extra: dict[str, Any] = {} if looks is None else {"tuning": state, "stopping": looks.document()}
    process = file_lock.describe_holder(workspace.lock_file(loaded.study.name))
    if process:
        planned = now.plan(records)
    else:  # a RUNNING record is left from an `ablate run` that was killed
        planned = now.plan(replace(r, status="KILLED") if r.status == "RUNNING" else r for r in records)
    extra["left"] = _left(loaded, workspace, planned, records, timed)
    extra["next"] = [] if process else list(_next(loaded, workspace, planned))
    stored = load_stored_study(loaded.study.name, workspace, records)
    if stored is None:
        return ShownPlan(planned, [], [], phases, process, {}, [], **extra), {}
    edits, counted = amend.edited_settings(stored.study, loaded.study), stored.plan.counted
    outdated_runs = outdated(planned, records, lambda r: edits.get(r.arm, ()) if r.run_id in counted else ())
    differences = amend.edited(stored.study, loaded.study) + amend.other_data(stored.plan.digests, loaded.digests)
    codes = stale(loaded, records)
    shown = ShownPlan(
        planned,
        outdated_runs,
        differences,
        phases,
        process,
        codes,
        list(notes(codes, workspace.suggest("run", loaded.path, "--rerun", "stale"))),
        **extra,
    )
    return shown, stored.plan.compared


def _left(
    loaded: LoadedStudy, workspace: Workspace, planned: Plan, records: Sequence[Record], timed: float | None
) -> str:
    """How many runs are left, how long they take and what disk they need, by the finished ones; "" for none."""
    cells = [cell for cell in planned.cells if cell.state not in ("done", "failed")]
    if not cells:
        return ""
    times = workspace.reader().times(loaded.study.name) if records else {}
    ahead, runs = forecast(loaded.study, cells, records, times), counted(len(cells), "run")
    if ahead.seconds is None and timed:
        training = _time(replace(ahead, seconds=timed), loaded, workspace)
        return f"{runs}, {training} of training alone, by timed steps of each arm"
    if ahead.seconds is None:
        return f"{runs}; how long they take is known once one is finished"
    text = f"{runs}, {_time(ahead, loaded, workspace)}, by {counted(ahead.measured, 'finished run')}"
    size = _bytes_of_a_run(loaded, workspace, records)
    return f"{text}; about {_megabytes(size * len(cells))} of disk" if size else text


def _time(ahead: Forecast, loaded: LoadedStudy, workspace: Workspace) -> str:
    """`about 4 minutes with 2 workers`."""
    workers = min(workers_of(loaded, workspace), ahead.runs)
    return f"about {duration((ahead.seconds or 0.0) / workers)} with {counted(workers, 'worker')}"


def workers_of(loaded: LoadedStudy, workspace: Workspace) -> int:
    """How many runs go at once here: as many as were asked for, or else what `run` takes by itself."""
    from ablate.executors.local import default_workers
    from ablate.trainers.gpu import gpus

    threads = workspace.threads_of(loaded.study)
    return workspace.workers or default_workers(threads, "cuda" if gpus() else "cpu")


def _next(loaded: LoadedStudy, workspace: Workspace, planned: Plan) -> Iterator[str]:
    """The command that goes on with the study, and what it does."""
    states = [cell.state for cell in planned.cells if cell.phase == "compare"]
    if any(state not in ("done", "failed") for state in states):
        goes_on = "goes on" if any(cell.record for cell in planned.cells) else "starts the study"
        yield f"{workspace.suggest('run', loaded.path)} {goes_on}"
    elif "failed" in states:
        yield f"{workspace.suggest('run', loaded.path, '--rerun', 'failed')} does the failed runs again"
    else:
        yield f"{workspace.suggest('report', loaded.study.name)} writes the report"


def _bytes_of_a_run(loaded: LoadedStudy, workspace: Workspace, records: Sequence[Record]) -> float:
    """Mean size of the files of a finished run and its model in the local store; 0 where there are none."""
    finished = sum(record.status == "FINISHED" for record in records)
    folder = workspace.mlruns / "artifacts" / loaded.study.name
    if workspace.tracking_uri or not finished:
        return 0.0
    files = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    return sum(file.lstat().st_size for file in files if not file.is_symlink()) / finished


def _megabytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(1, round(size / 1e6))} MB"
