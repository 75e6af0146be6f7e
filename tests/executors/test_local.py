"""Cells in processes of their own: no cell sees changes of another, and a killed process blocks nothing."""

from __future__ import annotations

import builtins
import json
import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import psutil
import pytest
from toy_project import PATIENCE_S, finish, group_members, wait_until

from ablate.executors import local
from ablate.executors.local import LocalPool, WorkerLost, local_pool
from ablate.executors.processes import kill_leftover_workers
from ablate.trainers.errors import Unavailable

FORKED = ("ablate.executors.cell_process",)  # preloaded in the fork server: no torch, which these cells do not need


@pytest.fixture
def pool() -> Iterator[LocalPool]:
    with local_pool(2, preloaded=FORKED) as pool:
        assert isinstance(pool, LocalPool)
        yield pool


def changes_its_process() -> dict[str, Any]:
    """The state of the process, which the next call would find changed if it ran in the same process."""
    state = {
        "pid": os.getpid(),
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "random": random.random() if hasattr(random, "ours") else None,
        "modules": "ablate_mark" in sys.modules,
    }
    os.chdir(tempfile.gettempdir())
    os.environ["ABLATE_MARK"] = "left"
    random.ours = True  # type: ignore[attr-defined]
    sys.modules["ablate_mark"] = sys
    return state


def test_every_call_finds_a_fresh_process_in_the_folder_and_environment_of_the_driver(
    pool: LocalPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pool.submit(os.getpid).result(PATIENCE_S) != os.getpid()  # the fork server is there before the next lines
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ABLATE_OURS", "1")
    states = [pool.submit(changes_its_process).result(PATIENCE_S) for _ in range(3)]
    assert len({each.pop("pid") for each in states}) == 3
    assert states == [{"folder": str(tmp_path), "environment": dict(os.environ), "random": None, "modules": False}] * 3


def concurrency(folder: Path) -> int:
    """How many processes run this function at once."""
    own_file = folder / str(os.getpid())
    own_file.touch()
    time.sleep(0.5)
    count = len(list(folder.iterdir()))
    own_file.unlink()
    return count


def test_at_most_so_many_processes_at_once(pool: LocalPool, tmp_path: Path) -> None:
    counts = [future.result(PATIENCE_S) for future in [pool.submit(concurrency, tmp_path) for _ in range(5)]]
    assert max(counts) == 2


@pytest.mark.parametrize("size", [0, 100_000, 30_000_000])
def test_a_result_of_any_size(pool: LocalPool, size: int) -> None:
    assert pool.submit(bytes, size).result(PATIENCE_S) == bytes(size)


# What a call raises or returns


class Own(Exception):
    """Raises when it is unpickled: it needs another argument beside its message."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)


def raises(error: BaseException) -> NoReturn:
    raise error


def raises_its_own() -> NoReturn:
    raise Own("of its own", 1)


def refuse() -> NoReturn:
    raise ValueError("cannot be read")


class Unreadable:
    """Cannot be unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return refuse, ()


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        ((raises, FileNotFoundError(2, "gone", "a.txt")), FileNotFoundError, "gone: 'a.txt'"),
        ((raises, Unavailable("no room")), Unavailable, "no room"),
        ((raises, KeyboardInterrupt("mine")), RuntimeError, "KeyboardInterrupt: mine"),
        ((raises, SystemExit(3)), RuntimeError, "SystemExit: 3"),
        ((raises_its_own,), RuntimeError, "Own: of its own"),
        ((threading.Lock,), TypeError, "cannot pickle '_thread.lock' object"),
        ((Unreadable,), RuntimeError, "the result cannot be read: ValueError: cannot be read"),
        ((lambda: 0,), Exception, "(?i)can't pickle|cannot pickle"),
    ],
)
def test_what_cannot_be_done_or_sent_costs_that_call_alone(
    pool: LocalPool, call: tuple[Any, ...], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        pool.submit(*call).result(PATIENCE_S)
    assert not isinstance(caught.value, WorkerLost)
    assert pool.submit(len, "abc").result(PATIENCE_S) == 3


# Processes that end, or do not


def keeps_the_pipe(seconds: float) -> NoReturn:
    """A child process without exec holds every file of its parent open."""
    if os.fork() == 0:
        time.sleep(seconds)
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def half_an_answer() -> None:
    """Killed in the middle of sending; a child process keeps the pipe."""

    def send(pipe: int, *_: Any, **__: Any) -> NoReturn:
        os.write(pipe, (1000).to_bytes(8, "big") + bytes(10))
        keeps_the_pipe(PATIENCE_S + 50)

    builtins.open = send  # type: ignore[assignment]


@pytest.mark.parametrize("preloaded", [FORKED, ()], ids=["forkserver", "spawn"])
@pytest.mark.parametrize("ending", [(os._exit, 9), (keeps_the_pipe, PATIENCE_S + 50), (half_an_answer,)])
def test_a_process_that_dies_is_a_lost_worker(preloaded: tuple[str, ...], ending: tuple[Any, ...]) -> None:
    with local_pool(1, preloaded=preloaded) as pool:
        assert isinstance(pool.submit(*ending).exception(PATIENCE_S), WorkerLost)
        assert pool.submit(os.getpid).result(PATIENCE_S) != os.getpid()


def waits(file: Path) -> int:
    file.write_text(str(os.getpid()))
    time.sleep(600)
    return 0


def pid_in(file: Path) -> psutil.Process:
    wait_until(lambda: file.exists() and file.read_text())
    return psutil.Process(int(file.read_text()))


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == "zombie"


def test_one_that_is_ended_takes_no_neighbour_with_it(pool: LocalPool, tmp_path: Path) -> None:
    one, other = (pool.submit(waits, tmp_path / name) for name in "ab")
    process, neighbour = pid_in(tmp_path / "a"), pid_in(tmp_path / "b")
    pool.end(one)
    assert isinstance(one.exception(PATIENCE_S), WorkerLost)
    assert gone(process)
    assert not gone(neighbour)
    assert not other.done()
    pool.end(other)


def test_one_that_is_ended_before_it_has_started(pool: LocalPool, tmp_path: Path) -> None:
    futures: list[Future[int]] = [pool.submit(waits, tmp_path / str(number)) for number in range(4)]
    for future in futures:
        pool.end(future)
    assert [type(future.exception(PATIENCE_S)) for future in futures] == [WorkerLost] * 4


def leaves_threads_and_children(file: Path) -> str:
    """Threads and child processes that do not end with the work."""
    threading.Thread(target=time.sleep, args=(600,)).start()
    child = multiprocessing.Process(target=time.sleep, args=(600,))
    child.start()
    other = subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL)
    file.write_text(json.dumps([child.pid, other.pid]))
    return "done"


@pytest.mark.parametrize("preloaded", [FORKED, ()], ids=["forkserver", "spawn"])
def test_threads_and_child_processes_that_are_left_block_nothing(preloaded: tuple[str, ...], tmp_path: Path) -> None:
    with local_pool(1, preloaded=preloaded) as pool:
        assert pool.submit(leaves_threads_and_children, tmp_path / "children").result(PATIENCE_S) == "done"
        left = json.loads((tmp_path / "children").read_text())
        wait_until(lambda: all(not psutil.pid_exists(pid) or gone(psutil.Process(pid)) for pid in left))


def test_left_by_an_exception_it_ends_what_runs_and_drops_what_waits(tmp_path: Path) -> None:
    futures: list[Future[int]] = []
    with pytest.raises(KeyboardInterrupt), local_pool(1, preloaded=FORKED) as pool:  # noqa: PT012
        futures = [pool.submit(waits, tmp_path / str(number)) for number in range(2)]
        process = pid_in(tmp_path / "0")
        raise KeyboardInterrupt
    assert gone(process)
    assert isinstance(futures[0].exception(), WorkerLost)
    assert futures[1].cancelled() or isinstance(futures[1].exception(), WorkerLost)


def test_workers_whose_fork_server_was_killed_are_gone_before_their_cells_begin_again(
    pool: LocalPool, tmp_path: Path
) -> None:
    """They survive their fork server: two processes of one cell would write to the same files."""
    futures = [pool.submit(waits, tmp_path / name) for name in "ab"]
    workers = [pid_in(tmp_path / name) for name in "ab"]
    server = workers[0].parent()
    assert server is not None
    assert server.pid != os.getpid()
    server.kill()
    assert [type(future.exception(PATIENCE_S)) for future in futures] == [WorkerLost] * 2
    assert all(map(gone, workers))
    assert pool.submit(os.getpid).result(PATIENCE_S)


def test_where_no_process_can_be_started_the_cell_can_wait(pool: LocalPool, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any) -> NoReturn:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", refuse)
    with pytest.raises(Unavailable, match=r"no worker process can be started: .*Resource temporarily unavailable"):
        pool.submit(os.getpid).result(PATIENCE_S)
    monkeypatch.undo()
    assert pool.submit(os.getpid).result(PATIENCE_S)


DRIVER = """
import sys, time
from pathlib import Path
import test_local
from ablate.executors.local import local_pool
if __name__ == "__main__":
    with local_pool(1, preloaded=test_local.FORKED if sys.argv[1] == "forked" else ()) as pool:
        future = pool.submit(test_local.waits, Path(sys.argv[2]))
        while not future.done():
            time.sleep(0.1)
        print(repr(future.exception()))
"""


@pytest.fixture
def driver(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """A process with a cell that waits, in a group of its own."""
    path = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, request.param, str(tmp_path / "cell")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    finish(process)


@pytest.mark.parametrize("driver", ["forked", "spawned"], indirect=True)
def test_workers_end_when_the_driver_dies(driver: subprocess.Popen[str], tmp_path: Path) -> None:
    worker = pid_in(tmp_path / "cell")
    driver.kill()
    wait_until(lambda: gone(worker))
    wait_until(lambda: group_members(driver.pid) == [])


@pytest.mark.parametrize("driver", ["forked", "spawned"], indirect=True)
def test_signals_to_the_whole_group_are_the_drivers(driver: subprocess.Popen[str], tmp_path: Path) -> None:
    """Workers, and the fork server that the next cells need, stay."""
    worker = pid_in(tmp_path / "cell")
    others = [pid for pid in group_members(driver.pid) if pid != driver.pid]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        for pid in others:
            os.kill(pid, number)
    time.sleep(1.0)
    assert set(others) <= set(group_members(driver.pid))
    worker.kill()
    assert "WorkerLost" in finish(driver).stdout


def registered(pid: int, folder: Path, *, host: str | None = None, started: datetime | None = None) -> None:
    folder.mkdir(parents=True)
    begun = (started or datetime.now(UTC)).isoformat(timespec="seconds")
    document = {"pid": pid, "host": host or socket.gethostname(), "started": begun}
    (folder / "worker.json").write_text(json.dumps(document))


def test_leftovers_of_a_driver_that_is_no_more_are_ended(pool: LocalPool, tmp_path: Path) -> None:
    left, kept = pool.submit(waits, tmp_path / "a"), pool.submit(waits, tmp_path / "b")
    process, neighbour = pid_in(tmp_path / "a"), pid_in(tmp_path / "b")
    registered(neighbour.pid, tmp_path / "work" / "elsewhere", host="another")
    registered(neighbour.pid, tmp_path / "work" / "earlier", started=datetime(2020, 1, 1, tzinfo=UTC))
    registered(os.getpid(), tmp_path / "work" / "mine")
    (tmp_path / "work" / "damaged").mkdir()
    (tmp_path / "work" / "damaged" / "worker.json").write_text("{")
    assert kill_leftover_workers(tmp_path / "work") == 0
    registered(process.pid, tmp_path / "work" / "left")
    assert kill_leftover_workers(tmp_path / "work") == 1
    assert gone(process)
    assert isinstance(left.exception(PATIENCE_S), WorkerLost)
    assert not gone(neighbour)
    pool.end(kept)


def test_what_cells_need_is_preloaded_by_names_that_exist() -> None:
    """The fork server passes over modules that it cannot import, and every cell pays for them."""
    for name in local.PRELOADED:
        __import__(name)
