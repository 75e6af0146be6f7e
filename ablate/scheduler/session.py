"""The steps of one `ablate run` around its scheduler. The order of the steps is the command's."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.planning import plan
from ablate.planning.counting import document_digests
from ablate.scheduler.loaded_study import LoadedStudy, context_of
from ablate.scheduler.looks import at_look
from ablate.scheduler.retry import STORE_MESSAGES, Retry, RetryTimeout
from ablate.scheduler.shutdown import StopRequest
from ablate.scheduler.workspace import Workspace, resolve_device, shown_path
from ablate.study import InputError, Problem, Record, RunSpec, Tracker, amend, trust
from ablate.study.document import checked
from ablate.study.runs import logs_to_mlflow

if TYPE_CHECKING:
    from ablate.analysis.stopping import Progress
    from ablate.executors.local import Engine
    from ablate.scheduler.scheduler import Scheduler
    from ablate.scheduler.view import View
    from ablate.trainers.context import Context


def device_of(loaded: LoadedStudy, workspace: Workspace, view: View) -> str:
    """The device of the runs, on this machine or on the cluster. Raises InputError when it cannot be used there."""
    if workspace.scheduler is None:
        return resolve_device(workspace.device, with_torch=loaded.study.trainer == "built-in")
    try:
        from ablate.executors.dask import cluster
    except ModuleNotFoundError as error:
        hint = "install ablate with its extra: pip install '.[cluster]' in a clone"
        raise InputError(Problem("--scheduler", "", f"needs the package {error.name}", nearest=hint)) from None
    study, digests = loaded.study, loaded.digests
    specs = [plan.compare_spec(study, arm, study.seeds[0], {}, digests[arm]) for arm in study.arms]
    context = context_of(loaded, workspace, Path(), Path())
    if any(logs_to_mlflow(spec.settings) for spec in specs):
        context = replace(context, environment={"MLFLOW_TRACKING_URI": _server_of_scripts(workspace)})
    return cluster.check(workspace.scheduler, workspace.device, specs, context, view.note)


def _server_of_scripts(workspace: Workspace) -> str:
    """The tracking address, to which the scripts on the workers log. Raises InputError where it is a file's."""
    if workspace.tracking_uri is None or workspace.sqlite_file is not None:
        rule = 'cannot be used where scripts log to a store in a file (scores = "mlflow"): the workers may not share it'
        hint = "start `mlflow server` where they reach it, and give its address with --tracking-uri"
        raise InputError(Problem("--scheduler", "", rule, shown_path(workspace.sqlite_file), hint))
    return workspace.tracking_uri


@dataclass
class Session:
    """One execution of `ablate run`: a study, the machine, the store, the view and the stop request."""

    loaded: LoadedStudy
    workspace: Workspace
    tracker: Tracker
    view: View
    stop: StopRequest
    limit: int | None = None  # at most so many examples of every split
    counted: Mapping[str, int] = field(default_factory=dict)  # see `Context.counted`
    store_retry: Retry = field(init=False)

    def __post_init__(self) -> None:
        self.store_retry = Retry(*STORE_MESSAGES, self.view.note, self.workspace.patience_s)

    @cached_property
    def device(self) -> str:
        """The device of the runs, never "auto". Finding it imports torch."""
        chosen = self.workspace.device
        return device_of(self.loaded, self.workspace, self.view) if chosen == "auto" else chosen

    @property
    def work(self) -> Path:
        """The folder of the runs' checkpoints and artifacts until they are recorded."""
        return self.workspace.mlruns.resolve() / "work" / self.loaded.study.name

    @property
    def context(self) -> Context:
        logs = self.workspace.mlruns.resolve() / "logs" / self.loaded.study.name
        context = context_of(self.loaded, replace(self.workspace, device=self.device), self.work, logs)
        return replace(context, limit=self.limit, counted=self.counted)

    def recover(self) -> list[Record]:
        """Clean up after an `ablate run` that was killed; returns the records that the store then has."""
        from ablate.executors import processes

        name = self.loaded.study.name
        processes.kill_leftover_workers(self.work)
        self.store_retry.call(lambda: self.tracker.sweep(name))
        records = self.store_retry.call(lambda: self.tracker.records(name))
        self.remove_recorded_folders(records)
        return records

    def remove_recorded_folders(self, records: Iterable[Record]) -> None:
        """Remove the work folders of runs that the store has. They are left when a scheduler is killed just after it
        recorded a run, or while the disk is read-only."""
        ended = {self.work / record.folder_name for record in records if record.status in ("FINISHED", "FAILED")}
        for folder in ended.intersection(self.work.iterdir() if self.work.is_dir() else ()):
            shutil.rmtree(folder, ignore_errors=True)

    def write_document(self, command: str, records: Collection[Record], rerun: Collection[str]) -> None:
        """Write the study's document and report how it differs from the one before. Raises InputError where settings
        were changed under finished runs. `rerun`: arms whose runs are all done again."""
        study = self.loaded.study
        today = date.today().isoformat()
        digests = self.loaded.digests
        new = amend.document(study, self.loaded.catalogue, digests, command=command, today=today)
        old = self.store_retry.call(lambda: self.tracker.document(study.name))
        if old is not None:
            old_study, _ = checked(old, study.name)
            has_runs = any(r.status == "FINISHED" for r in records)
            changes = amend.amend(
                old,
                study,
                file=str(self.loaded.path),
                has_runs=has_runs,
                rerun=rerun,
                complete=amend.complete(old_study, records),
            )
            if has_runs:
                changes += amend.other_data(document_digests(old, old_study, list(records)), digests)
            new["created"] = old.get("created", today)
            if has_runs:  # the first digest stays: it is of the hypotheses made before there were results
                new["hypotheses_digest"] = old.get("hypotheses_digest", "")
            for change in changes:
                self.view.note(f"amended since the last run: {change}")
            new["amendments"] = [*old.get("amendments", []), *({"date": today, "what": change} for change in changes)]
        self.store_retry.call(lambda: self.tracker.open(study.name, new))

    def to_look(self, loaded: LoadedStudy, records: Sequence[Record]) -> Progress | None:
        """From here on, only the seeds of `loaded` that it needs now; a look that lets it go on is told."""
        before = len(self.loaded.study.seeds)
        self.loaded, looks = self.store_retry.call(lambda: at_look(loaded, self.tracker, records))
        if looks is not None and looks.taken and len(self.loaded.study.seeds) > before:
            self.view.note(looks.words)
        return looks

    def scheduler(self, records: Sequence[Record], wanted: Callable[[RunSpec], bool] = lambda spec: True) -> Scheduler:
        """The scheduler of the `wanted` runs that are missing from `records`."""
        from ablate.scheduler.scheduler import Scheduler
        from ablate.trainers.provenance import git_state

        study, workspace = self.loaded.study, self.workspace
        git, diff = git_state(self.context.study_dir)
        return Scheduler(
            study,
            self.tracker,
            self.context,
            self.loaded.digests,
            *self._engine(),
            self.view,
            git,
            diff,
            store_records=records,
            wanted=wanted,
            stop=self.stop,
            stall_after_s=workspace.stall_after,
            patience_s=workspace.patience_s,
        )

    def _engine(self) -> tuple[int, Engine]:
        """The number of cells at once (0: as many as the cluster has workers), and the engine that runs them."""
        from ablate.executors import local

        workspace = self.workspace
        if workspace.scheduler:
            from ablate.executors.dask.executor import engine_for

            return workspace.workers or 0, engine_for(workspace.scheduler, self.device, self.loaded.study.trainer)
        workers = workspace.workers or local.default_workers(workspace.threads_of(self.loaded.study), self.device)
        tuning = self.loaded.study.tuning
        more = ("ablate.tuning.pruning",) if tuning is not None and tuning.pruner is not None else ()
        return workers, local.pool_for(self.device, self.loaded.study.trainer, more)

    def measure_latency(self, records: Iterable[Record]) -> None:
        """Measure the latency of every arm, while nothing else runs: the finished runs of the arm share the number."""
        if self.loaded.study.trainer == "command":
            return  # it saves no network
        finished = list(self.loaded.plan(records).compared.values())
        unmeasured = [r for r in finished if "cost/latency_ms_p50" not in r.scores]
        if not unmeasured:
            return
        _, engine = self._engine()
        with engine(1) as pool:  # starts no process before the first measurement
            for arm in dict.fromkeys(r.arm for r in unmeasured):
                runs = [r.run_id for r in unmeasured if r.arm == arm]
                measured = [r.scores for r in finished if r.arm == arm and "cost/latency_ms_p50" in r.scores]
                try:
                    scores = measured[0] if measured else self._latency(pool, runs[0])
                except RetryTimeout:
                    raise
                except Exception as error:  # the results do not depend on it
                    self.view.note(f"the latency of {arm} could not be measured: {error}")
                    continue
                latencies = {name: value for name, value in scores.items() if name.startswith("cost/latency")}
                self.store_retry.call(partial(self.tracker.add_scores, runs, latencies))

    def _latency(self, pool: Executor, run_id: str) -> Mapping[str, float]:
        folder = self.store_retry.call(lambda: self.tracker.artifact(run_id, "model"))
        if folder is None:
            return {}
        from ablate.executors.local import CanEndCell  # torch too: only where there is a network
        from ablate.trainers.builtin.checkpoints import read_settings
        from ablate.trainers.builtin.cost import latency

        trust.check(read_settings(folder)["factory"], file=str(folder), place="model.json")
        future = pool.submit(latency, folder, threads=self.workspace.threads_of(self.loaded.study), device=self.device)
        try:
            return future.result(self.workspace.stall_after)
        except TimeoutError:
            if isinstance(pool, CanEndCell):
                pool.end(future)
            raise TimeoutError(f"no answer for {self.workspace.stall_after:g} s") from None

    def update_dashboard(self, records: Iterable[Record]) -> None:
        """Copy the finished trials and runs to the database that optuna-dashboard reads."""
        from ablate.tuning import optuna
        from ablate.untrusted import addresses

        workspace, study = self.workspace, self.loaded.study
        digest_of = self.loaded.digests.__getitem__
        try:
            if workspace.storage:  # the person asked for it, so an outage is waited for
                self.store_retry.call(partial(optuna.mirror, workspace.storage, study, list(records), digest_of))
            else:
                address = addresses.sqlite_address(workspace.optuna_db)
                optuna.mirror(address, study, records, digest_of)
        except Exception as error:  # the dashboard is a convenience; the results are in the tracking store
            self.view.note(f"the Optuna dashboard's database could not be updated: {error}")
