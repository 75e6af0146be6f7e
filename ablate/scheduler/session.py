"""What one `ablate run` does with its study while it holds the lock, piece by piece. Decides nothing of the order."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.planning import plan
from ablate.planning.counting import document_digests
from ablate.scheduler.loaded_study import LoadedStudy, context_of
from ablate.scheduler.retry import STORE, Retry, RetryTimeout
from ablate.scheduler.shutdown import StopRequest
from ablate.scheduler.workspace import Workspace, resolve_device
from ablate.study import InputError, Problem, Record, Tracker, amend, trust
from ablate.study.document import checked

if TYPE_CHECKING:
    from ablate.executors.local import Engine
    from ablate.scheduler.scheduler import Scheduler, View
    from ablate.trainers.builtin.run import Context


@contextmanager
def only_driver(loaded: LoadedStudy, workspace: Workspace, command: str) -> Iterator[None]:
    """Keep a second driver of the same study out. Raises InputError, saying who is at work."""
    from ablate.scheduler import study_lock

    path = workspace.mlruns / f"{loaded.study.name}.lock"
    with study_lock.hold(path, loaded.study.name, command=command, store=workspace.tracking_uri, new=True):
        yield


def device_of(loaded: LoadedStudy, workspace: Workspace, view: View) -> str:
    """The device of the runs, here or on the cluster. Raises InputError when they cannot be done there."""
    if workspace.scheduler is None:
        return resolve_device(workspace.device)
    try:
        from ablate.executors.dask import cluster
    except ModuleNotFoundError as error:
        hint = "install ablate with its extra: pip install '.[cluster]' in a clone"
        raise InputError(Problem("--scheduler", "", f"needs the package {error.name}", nearest=hint)) from None
    study, digests = loaded.study, loaded.digests
    specs = [plan.compare_spec(study, arm, study.seeds[0], {}, digests[arm]) for arm in study.arms]
    context = context_of(loaded, workspace, Path(), Path())
    return cluster.check(workspace.scheduler, workspace.device, specs, context, view.note)


@dataclass
class Run:
    """One undertaking: a study, where it is done, its store and who watches."""

    loaded: LoadedStudy
    workspace: Workspace  # with a device that is not "auto"
    tracker: Tracker
    view: View
    stop: StopRequest
    store: Retry = field(init=False)

    def __post_init__(self) -> None:
        self.store = Retry(*STORE, self.view.note, self.workspace.patience_s)

    @property
    def context(self) -> Context:
        root, name = self.workspace.mlruns.resolve(), self.loaded.study.name
        return context_of(self.loaded, self.workspace, root / "work" / name, root / "logs" / name)

    def take_over(self) -> list[Record]:
        """Put in order what a driver that was killed has left; what the store then holds."""
        from ablate.executors import processes

        name = self.loaded.study.name
        processes.end_leftovers(self.context.work)
        self.store.insist(lambda: self.tracker.sweep(name))
        known = self.store.insist(lambda: self.tracker.records(name))
        self.tidy(known)
        return known

    def tidy(self, known: Iterable[Record]) -> None:
        """Remove the working folders of runs that are in the store: their driver died, or the disk was read-only."""
        work = self.context.work
        ended = {self.context.folder(record) for record in known if record.status in ("FINISHED", "FAILED")}
        for folder in ended.intersection(work.iterdir() if work.is_dir() else ()):
            shutil.rmtree(folder, ignore_errors=True)

    def open(self, command: str, known: Collection[Record], rerun: Collection[str]) -> None:
        """Write the study's document and say how it differs from the one before; refuse changed settings under
        finished runs."""
        study = self.loaded.study
        today = date.today().isoformat()
        digests = self.loaded.digests
        new = amend.document(study, self.loaded.catalogue, digests, command=command, today=today)
        old = self.store.insist(lambda: self.tracker.document(study.name))
        if old is not None:
            before, _ = checked(old, study.name)
            has_runs = any(r.status == "FINISHED" for r in known)
            changes = amend.amend(old, study, file=str(self.loaded.path), has_runs=has_runs, rerun=rerun)
            if has_runs:
                changes += amend.other_data(document_digests(old, before, list(known)), digests)
            new["created"] = old.get("created", today)
            if has_runs:  # the first digest stays: what was claimed before there were results
                new["hypotheses_digest"] = old.get("hypotheses_digest", "")
            for change in changes:
                self.view.note(f"amended since the last run: {change}")
            new["amendments"] = [*old.get("amendments", []), *({"date": today, "what": change} for change in changes)]
        self.store.insist(lambda: self.tracker.open(study.name, new))

    def driver(self) -> Scheduler:
        """The driver of the runs that are missing."""
        from ablate.scheduler.scheduler import Scheduler
        from ablate.trainers.provenance import git_state

        study, workspace = self.loaded.study, self.workspace
        threads = int(study.settings["training"].get("threads", 1))
        git, diff = git_state(self.context.study_dir)
        return Scheduler(
            study,
            self.tracker,
            self.context,
            self.loaded.digests,
            *self._engine(threads),
            self.view,
            git,
            diff,
            stop=self.stop,
            stall_after_s=workspace.stall_after,
            patience_s=workspace.patience_s,
        )

    def _engine(self, threads: int) -> tuple[int, Engine]:
        """How many cells at once (0: as many as the cluster has workers), and where."""
        from ablate.executors import local

        workspace = self.workspace
        if workspace.scheduler:
            from ablate.executors.dask.executor import engine_for

            return workspace.workers or 0, engine_for(workspace.scheduler, workspace.device)
        workers = workspace.workers or local.default_workers(threads, workspace.device)
        return workers, local.pool_for(workspace.device)

    def measure_latency(self, driver: Scheduler) -> None:
        """Once an arm, with nothing else running: the finished runs of the arm share the number."""
        finished = list(self.loaded.plan(driver.records).compared.values())
        new = [r for r in finished if "cost/latency_ms_p50" not in r.scores]
        with driver.engine(1) as pool:  # starts no process before the first measurement
            for arm in dict.fromkeys(r.arm for r in new):
                runs = [r.run_id for r in new if r.arm == arm]
                known = [r.scores for r in finished if r.arm == arm and "cost/latency_ms_p50" in r.scores]
                try:
                    scores = known[0] if known else self._latency(pool, runs[0])
                except RetryTimeout:
                    raise
                except Exception as error:  # the study has its results without it
                    self.view.note(f"the latency of {arm} could not be measured: {error}")
                    continue
                latencies = {name: value for name, value in scores.items() if name.startswith("cost/latency")}
                self.store.insist(partial(self.tracker.add_scores, runs, latencies))

    def _latency(self, pool: Executor, run_id: str) -> Mapping[str, float]:
        from ablate.executors.local import Ends
        from ablate.trainers.builtin.checkpoints import read_settings
        from ablate.trainers.builtin.cost import latency

        folder = self.store.insist(lambda: self.tracker.artifact(run_id, "model"))
        if folder is None:
            return {}
        trust.check(read_settings(folder)["factory"], file=str(folder), place="model.json")
        threads = int(self.loaded.study.settings["training"].get("threads", 1))
        measured = pool.submit(latency, folder, threads=threads, device=self.workspace.device)
        try:
            return measured.result(self.workspace.stall_after)
        except TimeoutError:
            if isinstance(pool, Ends):
                pool.end(measured)
            raise TimeoutError(f"no answer for {self.workspace.stall_after:g} s") from None

    def mirror(self, known: Iterable[Record]) -> None:
        """Copy what is finished to where optuna-dashboard reads it."""
        from ablate.tuning import optuna
        from ablate.untrusted import addresses

        workspace = self.workspace
        try:
            digests = self.loaded.digests.__getitem__
            if workspace.storage:  # asked for: worth waiting for
                self.store.insist(partial(optuna.mirror, workspace.storage, self.loaded.study, list(known), digests))
            else:
                here = addresses.sqlite_address(workspace.mlruns / "optuna.db")
                optuna.mirror(here, self.loaded.study, known, digests)
        except Exception as error:  # the dashboard is a convenience; the results are in the tracking store
            self.view.note(f"the Optuna dashboard's database could not be updated: {error}")
