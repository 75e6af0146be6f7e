"""The local pool: processes that are killed in the middle of a word, or do not want to end, hold nobody up."""

from __future__ import annotations

import os
import signal
import struct
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from pathlib import Path
from typing import Any, NoReturn

import psutil
import pytest
from toy_project import wait_until

from ablate.edges.engines import LocalPool, local_pool


def dies_while_it_sends_its_result() -> bytes:
    """Killed after the first bytes of a long answer."""

    def send(self: connection.Connection, content: Any) -> None:
        os.write(self.fileno(), struct.pack("!i", len(content)) + bytes(10))
        os.kill(os.getpid(), signal.SIGKILL)

    connection.Connection._send_bytes = send  # type: ignore[attr-defined]
    return bytes(100_000)


def refuse() -> NoReturn:
    raise ValueError("cannot be read")


class Unreadable:
    """What cannot be unpickled where it arrives."""

    def __reduce__(self) -> tuple[Any, ...]:
        return refuse, ()


def waits(file: Path) -> int:
    file.write_text(str(os.getpid()))
    time.sleep(600)
    return 0


@pytest.mark.skipif(sys.platform != "linux", reason="pipes as Linux has them")
def test_half_a_result_is_a_lost_worker() -> None:
    with local_pool(1) as pool:
        begun = time.monotonic()
        error = pool.submit(dies_while_it_sends_its_result).exception(60)
        assert isinstance(error, BrokenProcessPool)
        assert pool.submit(os.getpid).result(60) != os.getpid()
    assert time.monotonic() - begun < 60


def test_a_result_that_cannot_be_read_leaves_no_process_that_is_waited_for() -> None:
    """The process lives, and SIGTERM does not move it."""
    begun = time.monotonic()
    with local_pool(1) as pool:
        assert isinstance(pool.submit(Unreadable).exception(60), BrokenProcessPool)
    assert time.monotonic() - begun < 60


def test_workers_whose_fork_server_was_killed_are_gone_before_their_cells_begin_again(tmp_path: Path) -> None:
    """They live on: two processes at one cell would write over each other."""
    with local_pool(2) as pool:
        assert isinstance(pool, LocalPool)
        files = [tmp_path / "a", tmp_path / "b"]
        futures = [pool.submit(waits, file) for file in files]
        wait_until(lambda: all(file.exists() and file.read_text() for file in files))
        workers = [psutil.Process(int(file.read_text())) for file in files]
        server = workers[0].parent()
        assert server is not None
        assert server.pid != os.getpid()
        server.kill()
        assert [type(future.exception(60)) for future in futures] == [BrokenProcessPool] * 2
        assert pool.submit(os.getpid).result(60)
        assert not any(worker.is_running() and worker.status() != "zombie" for worker in workers)
