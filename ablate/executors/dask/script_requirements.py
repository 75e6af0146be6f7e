"""What a worker must have for a run by a command or a function: its folder, program, code, inputs and, where the
script logs to MLflow itself, a way to the server.

Knows nothing of Dask. Executes nothing of the user's.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ablate.study import InputError, RunSpec, components
from ablate.study.runs import logs_to_mlflow, trainer_kind
from ablate.trainers import command, provenance
from ablate.trainers.context import Context

PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
CONNECT_S = 5.0


@dataclass(frozen=True)
class ScriptNeeds:
    """What a run by a command or a function uses, as the driver has it."""

    settings: str  # of the run, as JSON
    code: str  # digest of the code; "" for a function that travels with the run
    inputs: str  # digest of the contents of `inputs`; "" without any
    study_dir: Path  # at the driver
    versions: tuple[tuple[str, str], ...]
    server: tuple[str, int] | None = None  # host and port of the MLflow server that the script logs to


def script_needs(spec: RunSpec, context: Any, versions: tuple[tuple[str, str], ...]) -> ScriptNeeds:
    """What this process has and a worker must have as well. `context`: of the run."""
    code = "" if context.function else provenance.code_digest(spec.settings, context.study_dir)
    server = None
    if logs_to_mlflow(spec.settings):
        server = host_and_port(context.environment.get("MLFLOW_TRACKING_URI", ""))
    return ScriptNeeds(json.dumps(spec.settings), code, spec.data_digest, context.study_dir, versions, server)


def host_and_port(address: str) -> tuple[str, int] | None:
    """Where a server or a database listens; None for an address that names no host."""
    parts = urlsplit(address)
    port = parts.port or PORTS.get(parts.scheme.partition("+")[0])
    return (parts.hostname, port) if parts.hostname and port else None


def folder_here(study_dir: Path) -> Path:
    """The study's folder on this machine: the driver's path where it is a folder here too, else the working folder."""
    return study_dir if study_dir.is_dir() else Path.cwd()


def script_faults(needs: ScriptNeeds) -> Iterator[str]:
    """What this process lacks, versions aside."""
    settings, folder = json.loads(needs.settings), folder_here(needs.study_dir)
    kind = trainer_kind(settings)
    if kind == "command":
        yield from _command_faults(settings, folder)
    if needs.code and provenance.code_digest(settings, folder) != needs.code:
        hint = "copy the study's folder there, or start the worker in a copy of it"
        yield f"has other source code of the {kind} in {folder} than the driver; {hint}"
    try:
        if components.data_digest(settings, None, folder) != needs.inputs:
            yield f"has other inputs in {folder} than the driver"
    except InputError as error:
        for problem in error.problems:
            yield f"{problem.place}: {problem.rule}: {problem.value}"
    if needs.server is not None:
        yield from _server_faults(*needs.server)


def _command_faults(settings: Any, folder: Path) -> Iterator[str]:
    spec = RunSpec("study", "arm", 0, "compare", settings, "")
    try:
        problems = command.check(spec, Context("", (), folder, folder, folder))
    except InputError as error:
        problems = list(error.problems)
    for problem in problems:
        yield f"{problem.place}: {problem.rule}: {problem.value}"


def _server_faults(host: str, port: int) -> Iterator[str]:
    try:
        socket.create_connection((host, port), CONNECT_S).close()
    except OSError as error:
        yield f"cannot reach the MLflow server at {host}:{port}, to which the script logs ({error})"
