"""The toy study as a person has it: a folder of one's own outside the repository, used through the commands."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from ablate.study import Record
from ablate.tracking.mlflow.sqlite_reader import LocalStore

TOY = Path(__file__).parent / "toy"
PATIENCE_S = 600  # a busy machine takes ten times as long as an idle one; a test has 900 s, and what waits says more
GONE_S = 60  # for processes that were killed, or whose parent was


def _as_in_a_terminal() -> None:
    """A script's background job ignores SIGINT and its children inherit that; a terminal's child does not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # `end` aborts processes for the sake of their last words


@dataclass(frozen=True)
class Project:
    """A copy of the toy study and what its commands wrote beside it."""

    folder: Path
    processes: list[subprocess.Popen[str]] = field(default_factory=list, compare=False)

    @classmethod
    def create(cls, folder: Path) -> Project:
        shutil.copytree(TOY, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        return cls(folder)

    @property
    def study(self) -> Path:
        return self.folder / "linear.toml"

    @property
    def results(self) -> bytes:
        return (self.folder / "reports" / "linear" / "results.csv").read_bytes()

    def edit(self, *edits: tuple[str, str], file: str = "linear.toml") -> None:
        """Replace texts that occur exactly once, so that a test cannot miss its target."""
        text = (self.folder / file).read_text(encoding="utf-8")
        for old, new in edits:
            assert text.count(old) == 1, (old, text.count(old))
            text = text.replace(old, new)
        (self.folder / file).write_text(text, encoding="utf-8")

    def store(self, initialised: Path) -> None:
        """Begin with this empty store instead of making one."""
        (self.folder / "mlruns").mkdir()
        shutil.copy(initialised, self.folder / "mlruns" / "mlflow.db")

    def without_tuning(self) -> None:
        text = self.study.read_text(encoding="utf-8")
        start, end = text.index("[tuning]"), text.index("[[hypotheses]]")
        self.study.write_text(text[:start] + text[end:], encoding="utf-8")

    def records(self) -> list[Record]:
        return LocalStore(self.folder / "mlruns" / "mlflow.db").records("linear")

    def statuses(self) -> list[str]:
        return [record.status for record in self.records()]

    # Real processes

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """`python -m ablate …` in a process group of its own, as a shell would start it."""
        process = subprocess.Popen(
            [sys.executable, "-m", "ablate", *arguments],
            cwd=self.folder,
            env={**clean_environment(), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=_as_in_a_terminal,
        )
        self.processes.append(process)
        return process

    def stop(self) -> None:
        """End what a failed test has left running, and show what it was at."""
        for process in self.processes:
            if process.poll() is None:
                print(end(process))
            else:
                finish(process, GONE_S)

    def call(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, **environment)
        return finish(process)

    def checkpoints(self) -> list[Path]:
        return list((self.folder / "mlruns").glob("work/linear/*/checkpoint-*.pt"))


def clean_environment() -> dict[str, str]:
    """Without what a person's shell may say about stores and data, and one torch thread in every process."""
    mine = {key: value for key, value in os.environ.items() if not key.startswith(("ABLATE_", "MLFLOW_TRACKING"))}
    return {**mine, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "PYTHONFAULTHANDLER": "1"}


def finish(process: subprocess.Popen[str], timeout_s: float = PATIENCE_S) -> subprocess.CompletedProcess[str]:
    """Wait for its end, and for that of all who hold its output. One that does not come says what it was at."""
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"no end after {timeout_s:g} s. {end(process)}") from None
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def end(process: subprocess.Popen[str]) -> str:
    """Kill a process started by `Project.start`, and its group. Which there were, what they said, and their stacks."""
    members = "\n".join(map(_described, group_members(process.pid)))
    said = f"{process.args}, exit code {process.poll()}; of its group there were:\n{members}"
    for number in (signal.SIGABRT, signal.SIGKILL):  # the first has Python show its stacks: see clean_environment
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            out, err = process.communicate(timeout=GONE_S)
            return f"{said}\nit said:\n{out}\n{err}"
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    return f"{said}\na process of another group holds its output"


def _described(pid: int) -> str:
    try:
        process = psutil.Process(pid)
        return f"{pid} {process.status()} {' '.join(process.cmdline())[:200]}"
    except psutil.Error:
        return f"{pid} has just ended"


def wait_until(
    condition: Callable[[], Any], timeout_s: float = PATIENCE_S, *, tell: Callable[[], str] = lambda: ""
) -> None:
    """`tell`: what to say when it was in vain. A condition that takes long to look at is looked at less often."""
    latest = time.monotonic() + timeout_s
    while True:
        begun = time.thread_time()
        if condition():
            return
        assert time.monotonic() < latest, f"waited in vain for {timeout_s:g} s. {tell()}"
        time.sleep(max(0.05, 10 * (time.thread_time() - begun)))


def group_members(group: int) -> list[int]:
    """Processes of a process group that are alive (not waiting to be reaped)."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().rpartition(") ")
        except OSError:
            continue
        state, _, pgrp, *_ = rest.split()
        if int(pgrp) == group and state != "Z":
            members.append(int(name.partition(" ")[0]))
    return members


def as_json(text: str) -> Mapping[str, Any]:
    """The one JSON document that is all of stdout."""
    document: Mapping[str, Any] = json.loads(text)
    return document
