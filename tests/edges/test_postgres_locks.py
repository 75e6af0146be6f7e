"""Advisory locks on a real PostgreSQL: who holds one is named, and it ends with its holder, however that ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers import PASSWORD, QUOTED, Postgres
from toy_project import wait_until

from ablate.edges import locks, locks_postgres
from ablate.study import InputError

HOLDER = """\
import sys, time
from ablate.edges import locks_postgres
with locks_postgres.hold(sys.argv[1], sys.argv[2], ping_s=0.2):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def address(new_database: Callable[[], str]) -> str:
    return new_database()


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def holder(address: str) -> Iterator[Start]:
    """Start a process that holds the lock of a study."""
    started = []

    def start(study: str = "toy") -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, address, study], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def refusal(address: str, study: str = "toy") -> str:
    with pytest.raises(InputError) as caught, locks_postgres.hold(address, study):
        pass
    return str(caught.value)


def free(address: str, study: str = "toy") -> bool:
    try:
        with locks_postgres.hold(address, study):
            return True
    except InputError:
        return False


def test_the_second_is_told_who_where_and_since_when_and_the_lock_ends_with_its_holder(
    address: str, holder: Start
) -> None:
    process = holder()
    said = refusal(address)
    assert f"process {process.pid} on {socket.gethostname()[:20]}" in said
    assert re.search(r"since 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d", said)
    assert PASSWORD not in said
    assert QUOTED not in said
    assert free(address, "another study")
    process.send_signal(signal.SIGKILL)
    wait_until(lambda: free(address), 10)


def test_a_lock_lost_with_its_server_is_taken_again(address: str, holder: Start, postgres: Postgres) -> None:
    process = holder()
    postgres.stop()
    assert "cannot be opened" in refusal(address)
    postgres.start()
    wait_until(lambda: not free(address), 10)
    assert f"process {process.pid}" in refusal(address)
    assert process.poll() is None


def test_who_finds_his_lock_taken_by_another_is_told(address: str, postgres: Postgres) -> None:
    heard: list[str] = []
    told = threading.Event()

    def lost(reason: str) -> None:
        heard.append(reason)
        told.set()

    with locks_postgres.hold(address, "toy", lost=lost, ping_s=2):
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'ablate%'"
        postgres.query(cut)
        with locks_postgres.hold(address, "toy"):
            assert told.wait(10)
    assert f"process {os.getpid()}" in heard[0]
    assert free(address)


def test_a_session_that_the_server_has_not_given_up_is_ended_by_its_owner(address: str) -> None:
    """A connection that breaks in the middle: the server may hold the lock of the dead one for a minute."""
    lease = locks_postgres.Lease(address, "toy")
    lease.take()
    left = lease.engine, lease.session
    lease.engine = lease.session = None
    assert not free(address)
    lease.take()
    assert not free(address)
    lease.release()
    assert free(address)
    assert left[1] is not None
    left[1].invalidate()


def test_only_one_at_a_time_makes_tables(address: str) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        with locks_postgres.alone(address, "tables"):
            inside.append(1)
            most.append(len(inside))
            threading.Event().wait(0.05)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 5


def test_the_lock_of_a_study_takes_those_of_its_databases(address: str, tmp_path: Path) -> None:
    with (
        locks.hold(tmp_path / "here" / "toy.lock", "toy", addresses=[address, None, f"sqlite:///{tmp_path / 'x.db'}"]),
        pytest.raises(InputError, match=f"process {os.getpid()}"),
        locks.hold(tmp_path / "on another machine" / "toy.lock", "toy", addresses=[address]),
    ):
        pass


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("postgresql://me:s3cret@127.0.0.1:1/x", "refused"),
        ("postgresql+nosuchdriver://me:s3cret@127.0.0.1/x", "driver"),
    ],
)
def test_a_database_that_is_not_there_is_an_error_without_its_password(address: str, said: str) -> None:
    text = refusal(address)
    assert said in text
    assert "s3cret" not in text
