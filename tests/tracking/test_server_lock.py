"""A lock on a real `mlflow server`: who holds it is named, and it ends with its holder, once that can be known."""

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
    """The sign of a driver on another machine, as it stands in the study's tag."""
    experiment_id = client.create_experiment(study)
    sign = LockHolder("f00d", "far-away", 7, "2026-01-01T00:00:00+00:00", "another machine", 0.0, time.time())

    def stand(**changes: object) -> None:
        client.set_experiment_tag(experiment_id, TAG, json.dumps(asdict(replace(sign, **changes))))  # type: ignore[arg-type]

    yield stand
    client.delete_experiment(experiment_id)


def hold(address: str, study: str, **more: Any) -> AbstractContextManager[None]:
    return server_lock.hold(address, study, Path("mlruns"), **{"lost": pytest.fail, **more})


def refusal(address: str, study: str, **more: float) -> str:
    with pytest.raises(InputError) as caught, hold(address, study, **more):
        pass
    return str(caught.value)


def test_the_second_is_told_who_where_and_since_when_until_the_first_is_killed(address: str, study: str) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, address, study], stdout=subprocess.PIPE, text=True) as first:
        try:
            assert first.stdout is not None
            assert first.stdout.readline() == "held\n"
            said = refusal(address, study)
        finally:
            os.kill(first.pid, signal.SIGKILL)
    assert f"is at work: process {first.pid} on {socket.gethostname()}, since 20" in said
    assert "it runs: ablate run toy.toml" in said
    begun = time.monotonic()
    with hold(address, study):  # its sign is fresh, but here it is known to be gone
        assert time.monotonic() - begun < 20
        assert f"process {os.getpid()} on" in refusal(address, study)


def test_once_let_go_nothing_is_left(address: str, study: str, client: MlflowClient) -> None:
    with hold(address, study):
        experiment = client.get_experiment_by_name(study)
        assert experiment is not None
        assert TAG in experiment.tags
    assert TAG not in client.get_experiment(experiment.experiment_id).tags
    with hold(address, f"{study} unknown", new=False):
        assert client.get_experiment_by_name(f"{study} unknown") is None


def test_a_driver_elsewhere_is_believed_while_its_sign_is_fresh(
    address: str, study: str, write: Callable[..., None]
) -> None:
    write()
    assert "process 7 on far-away, since 2026-01-01" in refusal(address, study)


def test_a_sign_that_looks_stale_is_watched_for_clocks_differ(
    address: str, study: str, write: Callable[..., None]
) -> None:
    over = threading.Event()

    def live_in_the_past() -> None:
        beat = time.time() - 3600
        while not over.wait(0.1):
            beat += 0.1
            write(beat=beat)

    write(beat=time.time() - 3600)
    other = threading.Thread(target=live_in_the_past)
    other.start()
    try:
        assert "far-away" in refusal(address, study, renew_s=1.0)
    finally:
        over.set()
        other.join(20)
    with hold(address, study, renew_s=0.2):
        pass


def test_a_driver_that_is_gone_from_the_machine_of_the_future_is_replaced(
    address: str, study: str, write: Callable[..., None]
) -> None:
    write(beat=time.time() + 2 * STALE_S)
    with hold(address, study, renew_s=0.2):
        pass


def test_who_finds_another_in_its_place_is_told(address: str, study: str, write: Callable[..., None]) -> None:
    heard: list[str] = []
    told = threading.Event()

    def lost(reason: str) -> None:
        heard.append(reason)
        told.set()

    with hold(address, study, lost=lost, renew_s=0.2):
        write()
        assert told.wait(20)
    assert "process 7 on far-away" in heard[0]
    assert "far-away" in refusal(address, study)  # it has not taken away what is not its own


def test_of_two_at_once_the_later_sign_counts(
    address: str, study: str, write: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_lock.time, "sleep", lambda seconds: write())  # between writing and reading back
    with pytest.raises(InputError, match="far-away"):
        Lock(address, study, Path("mlruns")).take()


def test_a_tag_that_somebody_has_spoilt_holds_nobody_up(address: str, study: str, client: MlflowClient) -> None:
    experiment_id = client.create_experiment(study)
    for text in (
        "[1]",
        "{",
        '{"token": 1}',
        json.dumps({**asdict(Lock(address, study, Path("mlruns")).sign), "pid": "x"}),
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
