"""A real Dask cluster, every process on 127.0.0.1, and cells that need no torch so that they start soon."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import toy_cells
from toy_project import GONE_S, clean_environment, wait_until

from ablate.executors.local import WorkerLost, local_pool
from ablate.study import RunResult, RunSpec
from ablate.trainers.errors import Stopped, Unavailable

TESTS = Path(__file__).parent
# Without the address, what is left of the dashboard listens on every network interface.
NO_PAGE = ("--no-dashboard", "--dashboard-address", "127.0.0.1:0")


@dataclass
class Cluster:
    """A `dask scheduler` and its `dask worker` processes, each worker in a working folder of its own."""

    folder: Path
    scheduler: subprocess.Popen[bytes] | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    port: int = 0

    def __enter__(self) -> Cluster:
        self.start_scheduler()
        return self

    def start_scheduler(self) -> None:
        """At the same port as before, if there was one before."""
        self._file.unlink(missing_ok=True)
        self.scheduler = self._start("scheduler", "--host", f"tcp://127.0.0.1:{self.port}", *NO_PAGE)
        wait_until(lambda: self._file.is_file() and self._file.stat().st_size > 0, tell=self.log)  # it fills it later
        self.port = int(self.address.rpartition(":")[2])

    @property
    def _file(self) -> Path:
        return self.folder / "scheduler.json"

    @property
    def address(self) -> str:
        address: str = json.loads(self._file.read_text(encoding="utf-8"))["address"]
        return address

    def add(self, count: int = 1, *options: str, nanny: bool = False, **environment: str) -> Cluster:
        """Start workers and wait until they are there."""
        with self._looking() as present:
            known = present()
            for _ in range(count):
                name = f"w{len(self.workers)}"
                more = ["--name", name, "--nthreads", "1", "--memory-limit", "0", "--host", "127.0.0.1", *NO_PAGE]
                more += ["--nanny" if nanny else "--no-nanny", "--local-directory", str(self.folder), *options]
                self.workers.append(self._start("worker", *more, TOY_WORKER=name, **environment))
            wait_until(lambda: len(present() - known) >= count, tell=self.log)
        return self

    def add_elsewhere(self) -> Cluster:
        """Start a worker that does not see the driver's work folder, as one on another machine."""
        blind = self.folder / "blind.py"
        blind.write_text("from ablate.executors.dask import worker\nworker.PROBE = 'of another folder'\n")
        return self.add(1, "--preload", str(blind))

    def _start(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
        with (self.folder / f"{arguments[0]}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", *arguments, "--scheduler-file", str(self._file)],
                cwd=self.folder,
                env={**clean_environment(), "PYTHONPATH": os.pathsep.join(paths), **environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def present(self) -> set[str]:
        """The addresses of the workers that the scheduler knows."""
        with self._looking() as present:
            return present()

    @contextmanager
    def _looking(self) -> Iterator[Callable[[], set[str]]]:
        """`present` for many looks: connecting takes longer than a look."""
        from ablate.executors.dask import cluster

        with cluster.connect(self.address) as client:
            yield lambda: set(client.scheduler_info(n_workers=-1)["workers"])

    def log(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log")))

    def stop_scheduler(self) -> None:
        assert self.scheduler is not None
        self.scheduler.kill()
        self.scheduler.wait(GONE_S)

    def end_workers(self) -> None:
        """All of them; returns once the scheduler knows of none."""
        _end(self.workers)
        self.workers.clear()
        with self._looking() as present:
            wait_until(lambda: not present(), tell=self.log)

    def __exit__(self, *_: object) -> None:
        _end([*self.workers, *filter(None, [self.scheduler])])


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(GONE_S)


# Cells


def cells_on(address: str, workers: int = 0, device: str = "cpu") -> AbstractContextManager[Executor]:
    """The cluster as an executor of the cells below, in processes that have not imported torch."""
    from ablate.executors.dask import executor

    inner = partial(local_pool, preloaded=("toy_cluster",))
    return executor.dask_cluster(workers, address=address, device=device, inner=inner)


@dataclass(frozen=True)
class Place:
    """What the engine needs of a Context; `traces` is where the cells of a test leave traces."""

    work: Path
    logs: Path
    traces: Path
    study_dir: Path
    data_root: Path | None = None
    stop: Path | None = None
    function: None = None

    @classmethod
    def create(cls, folder: Path) -> Place:
        (folder / "traces").mkdir(parents=True, exist_ok=True)
        return cls(folder / "driver" / "work", folder / "driver" / "logs", folder / "traces", folder)

    @property
    def stop_file(self) -> Path:
        return self.stop or self.work / "stop"

    def log_file(self, spec: RunSpec) -> Path:
        return self.logs / f"{spec.name}.log"

    def folder(self, spec: RunSpec) -> Path:
        return self.work / f"{spec.phase}-{spec.name}-{spec.key}"


def execute(spec: RunSpec, context: Place) -> RunResult:
    """Three epochs, a sign of life at each, and an artifact. The arm's setting says what else happens."""
    ending = spec.settings["model"]["ending"]
    with (context.traces / "begun").open("a") as file:
        file.write(f"{spec.name} {os.environ['TOY_WORKER']}\n")
    folder = context.folder(spec)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "progress.jsonl").write_text("")
    (context.traces / f"pid-{spec.name}").write_text(str(os.getpid()))
    history = []
    for epoch in (1.0, 2.0, 3.0):
        history.append({"epoch": epoch, "val/error": spec.seed / epoch})
        with (folder / "progress.jsonl").open("a") as file:
            file.write(json.dumps(history[-1]) + "\n")
        if ending.startswith("waits"):
            _wait(spec, context)
        if ending == "hangs":
            time.sleep(3600)
        if ending == "slow":
            time.sleep(0.05)
    if ending == "full":
        raise Unavailable("No space left on device: here")
    if ending == "raises":
        raise OSError("it was not to be")
    (folder / "out" / "model").mkdir(parents=True, exist_ok=True)
    (folder / "out" / "run.log").write_text(spec.name)
    (folder / "out" / "model" / "weights").write_bytes(bytes(range(spec.seed % 256)) * 100)
    return RunResult(spec.key, "FINISHED", {"val/error": history[-1]["val/error"]}, history, artifacts=folder / "out")


def _wait(spec: RunSpec, context: Place) -> None:
    """Until the test lets go of the cells."""
    while not (context.traces / "go").exists():
        (context.folder(spec) / "progress.jsonl").touch()
        if context.stop_file.exists():
            (context.traces / "stopped").touch()
            raise Stopped
        time.sleep(0.02)


def size(folder: Path, *, factor: int) -> int:
    """A call to make on a worker: the bytes of the files below a folder."""
    return factor * sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def spec(ending: str = "", seed: int = 1, **data: str) -> RunSpec:
    settings = {
        "model": {"factory": "toy_cells:nothing", "ending": ending},
        "data": {"factory": "toy_cells:nothing", **data},
        "loss": {"factory": "toy_cells:nothing"},
        "training": {"learning_rate": 0.02},
    }
    return RunSpec("cells", "a", seed, "compare", settings, "")


__all__ = ["Cluster", "Place", "Stopped", "WorkerLost", "cells_on", "execute", "spec", "toy_cells"]
