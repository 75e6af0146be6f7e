"""Stores for the tests: an initialised empty database, made once, and a real tracking server on a free port."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an initialised MLflow database without studies: migrating one takes seconds, copying it none."""
    from ablate.edges.tracking import MlflowTracker

    folder = tmp_path_factory.mktemp("empty")
    MlflowTracker(None, folder)
    return folder / "mlflow.db"


@pytest.fixture
def new_mlruns(empty_store: Path) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "mlruns").mkdir(parents=True)
        shutil.copy(empty_store, folder / "mlruns" / "mlflow.db")
        return folder / "mlruns"

    return make


@pytest.fixture
def mlruns(new_mlruns: Callable[[Path], Path], tmp_path: Path) -> Path:
    """A fresh store of the default kind."""
    return new_mlruns(tmp_path)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def server(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real `mlflow server` that keeps artifacts itself."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_store, folder / "mlflow.db")
    address = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--artifacts-destination", str(folder)]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # half the processes, half the start
    log = folder / "log"
    with (
        log.open("w") as out,
        subprocess.Popen(command, stdout=out, stderr=out, cwd=folder, env=environment) as process,
    ):
        try:
            _wait(f"{address}/health", process, log)
            yield address
        finally:
            process.terminate()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except (urllib.error.URLError, OSError):
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
    raise TimeoutError(log.read_text())
