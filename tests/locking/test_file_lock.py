"""The lock of a study: the refusal names the holder, and the lock ends with the holder's process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ablate.locking import file_lock
from ablate.scheduler import study_lock
from ablate.study import InputError

HOLD = """
import sys, time
from pathlib import Path
from ablate.locking import file_lock
with file_lock.hold(Path(sys.argv[1]), command="ablate run toy.toml"):
    print("held", flush=True)
    time.sleep(600)
"""


def held(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_is_told_host_process_and_time_until_the_first_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "mlruns" / "toy.lock"
    with held(path) as first:
        try:
            with pytest.raises(InputError) as refused, file_lock.hold(path):
                pass
        finally:
            os.kill(first.pid, signal.SIGKILL)
    message = str(refused.value)
    assert f"is at work: process {first.pid} on {socket.gethostname()}, since 20" in message
    assert "it runs: ablate run toy.toml" in message
    assert file_lock.read_holder(path)["pid"] == first.pid  # a killed holder leaves its name …
    with file_lock.hold(path, command="ablate run again"):  # … which does not matter
        assert file_lock.read_holder(path) == {
            **file_lock.read_holder(path),
            "pid": os.getpid(),
            "command": "ablate run again",
        }
    assert file_lock.read_holder(path) == {}


@pytest.mark.parametrize("content", [b"", b"[1, 2]", b"\xff{", b"[" * 100_000])
def test_a_damaged_note_costs_only_the_note(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "toy.lock"
    with file_lock.hold(path):
        file_lock.holder_file(path).write_bytes(content)
        with pytest.raises(InputError, match=r"is at work$"), file_lock.hold(path):
            pass


def test_a_lock_file_that_was_removed_lets_nobody_in_while_its_holder_lives(tmp_path: Path) -> None:
    path = tmp_path / "toy.lock"
    with held(path) as first:
        try:
            path.unlink()
            with pytest.raises(InputError, match=f"process {first.pid} on"), file_lock.hold(path):
                pass
            assert file_lock.read_holder(path)["pid"] == first.pid
        finally:
            first.kill()
    with file_lock.hold(path):
        pass


def test_two_folders_with_one_sqlite_file_have_one_driver(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path}/shared/mlflow.db"
    (tmp_path / "shared").mkdir()
    with (
        study_lock.hold(tmp_path / "a" / "toy.lock", "toy", store=address),
        pytest.raises(InputError, match=f"process {os.getpid()} on"),
        study_lock.hold(tmp_path / "b" / "toy.lock", "toy", store=address),
    ):
        pass
    with study_lock.hold(tmp_path / "shared" / "toy.lock", "toy", store=address):  # the same file is locked once
        assert file_lock.read_holder(tmp_path / "shared" / "toy.lock")["pid"] == os.getpid()


def test_a_folder_that_cannot_be_made_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be locked"), file_lock.hold(tmp_path / "file" / "toy.lock"):
        pass
