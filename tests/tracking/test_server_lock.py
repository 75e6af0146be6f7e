"""The lock on a real `mlflow server`: an error names its holder, and it ends when its holder is known to be dead."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from servers import PASSWORD, QUOTED, TrackingServer

from ablate.scheduler import study_lock
from ablate.study import InputError
from ablate.tracking.mlflow import server_lock
from ablate.tracking.mlflow.server_lock import STALE_S, TAG, Lock, LockHolder

HOLDER = """
import sys, time
from pathlib import Path
from ablate.tracking.mlflow import server_lock
with server_lock.hold(sys.argv[1], sys.argv[2], Path("mlruns"), command="ablate run toy.toml", lost=print):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def address(tracking_server: TrackingServer) -> str:
    return tracking_server.address


@pytest.fixture
def study() -> str:
    return f"toy {uuid.uuid4().hex[:8]}"


@pytest.fixture
def client(address: str) -> MlflowClient:
    return MlflowClient(tracking_uri=address)


@pytest.fixture
def write(client: MlflowClient, study: str) -> Iterator[Callable[..., None]]:
    """A function that writes the entry of a process on another machine into the study's tag."""
    experiment_id = client.create_experiment(study)
    holder = LockHolder("f00d", "far-away", 7, "2026-01-01T00:00:00+00:00", "another machine", 0.0, time.time())

    def write_entry(**changes: object) -> None:
        client.set_experiment_tag(experiment_id, TAG, json.dumps(asdict(replace(holder, **changes))))  # type: ignore[arg-type]

    yield write_entry
    client.delete_experiment(experiment_id)


def hold(address: str, study: str, **more: Any) -> AbstractContextManager[None]:
    return server_lock.hold(address, study, Path("mlruns"), **{"lost": pytest.fail, **more})


def refusal(address: str, study: str, **more: float) -> str:
    with pytest.raises(InputError) as caught, hold(address, study, **more):
        pass
    return str(caught.value)


def test_a_second_process_is_refused_with_host_pid_and_time_until_the_first_is_killed(address: str, study: str) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, address, study], stdout=subprocess.PIPE, text=True) as first:
        try:
            assert first.stdout is not None
            assert first.stdout.readline() == "held\n"
            message = refusal(address, study)
        finally:
            os.kill(first.pid, signal.SIGKILL)
    assert f"is at work: process {first.pid} on {socket.gethostname()}, since 20" in message
    assert "it runs: ablate run toy.toml" in message
    with hold(address, study):  # its entry is fresh, but on the same machine its process is known to be dead
        assert f"process {os.getpid()} on" in refusal(address, study)


def test_the_tag_is_deleted_on_release(address: str, study: str, client: MlflowClient) -> None:
    with hold(address, study):
        experiment = client.get_experiment_by_name(study)
        assert experiment is not None
        assert TAG in experiment.tags
    assert TAG not in client.get_experiment(experiment.experiment_id).tags
    with hold(address, f"{study} unknown", new=False):
        assert client.get_experiment_by_name(f"{study} unknown") is None


def test_a_fresh_entry_of_another_machine_holds_the_lock(address: str, study: str, write: Callable[..., None]) -> None:
    write()
    assert "process 7 on far-away, since 2026-01-01" in refusal(address, study)


def test_an_entry_that_looks_stale_is_watched_because_clocks_differ(
    address: str, study: str, write: Callable[..., None]
) -> None:
    end = threading.Event()

    def renew_with_a_late_clock() -> None:
        beat = time.time() - 3600
        while not end.wait(0.1):
            beat += 0.1
            write(beat=beat)

    write(beat=time.time() - 3600)
    other = threading.Thread(target=renew_with_a_late_clock)
    other.start()
    try:
        assert "far-away" in refusal(address, study, renew_s=1.0)
    finally:
        end.set()
        other.join(20)
    with hold(address, study, renew_s=0.2):
        pass


def test_an_entry_from_the_future_that_is_not_renewed_is_replaced(
    address: str, study: str, write: Callable[..., None]
) -> None:
    write(beat=time.time() + 2 * STALE_S)
    with hold(address, study, renew_s=0.2):
        pass


def test_a_holder_whose_entry_is_replaced_is_notified(address: str, study: str, write: Callable[..., None]) -> None:
    reasons: list[str] = []
    notified = threading.Event()

    def lost(reason: str) -> None:
        reasons.append(reason)
        notified.set()

    with hold(address, study, lost=lost, renew_s=0.2):
        write()
        assert notified.wait(300)
    assert "process 7 on far-away" in reasons[0]
    assert "far-away" in refusal(address, study)  # the release has not deleted the other's entry


def test_of_two_at_once_the_later_entry_counts(
    address: str, study: str, write: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_lock.time, "sleep", lambda seconds: write())  # between writing and reading back
    with pytest.raises(InputError, match="far-away"):
        Lock(address, study, Path("mlruns")).take()


def test_a_damaged_tag_is_ignored(address: str, study: str, client: MlflowClient) -> None:
    experiment_id = client.create_experiment(study)
    for text in (
        "[1]",
        "{",
        '{"token": 1}',
        json.dumps({**asdict(Lock(address, study, Path("mlruns")).holder), "pid": "x"}),
    ):
        client.set_experiment_tag(experiment_id, TAG, text)
        with hold(address, study):
            pass


def test_a_database_without_a_server_in_front_has_the_same_lock(
    new_database: Callable[..., str], study: str, tmp_path: Path
) -> None:
    address = new_database(with_mlflow=True)
    with study_lock.hold(tmp_path / "here" / "toy.lock", study, store=address, new=True, command="ablate run toy.toml"):
        elsewhere = tmp_path / "on another machine" / "toy.lock"
        with pytest.raises(InputError) as caught, study_lock.hold(elsewhere, study, store=address):
            pass
    assert f"process {os.getpid()} on" in str(caught.value)
    assert "it runs: ablate run toy.toml" in str(caught.value)
    assert PASSWORD not in str(caught.value)
    assert QUOTED not in str(caught.value)
    with study_lock.hold(elsewhere, study, store=address):
        pass


def test_a_server_that_is_away_is_wrong_usage() -> None:
    assert "does not answer" in refusal("http://127.0.0.1:9", "toy")
