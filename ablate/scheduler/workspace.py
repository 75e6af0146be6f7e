"""A study file and the machine it meets: checked, its data found and digested, its components built once.

Light until `build_all`: planning needs neither torch nor mlflow.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ablate.study import InputError, Problem, Record, Tracker


@dataclass(frozen=True)
class Workspace:
    """What belongs to the machine: where the store and the reports are, which data, which device.

    Its folders, and files in addresses, are absolute: a component may change the working folder.
    """

    mlruns: Path = Path("mlruns")
    reports: Path = Path("reports")
    tracking_uri: str | None = None  # default: SQLite inside mlruns
    data_root: Path | None = None
    device: str = "auto"
    workers: int | None = None
    storage: str | None = None  # of Optuna, as SQLAlchemy writes addresses; default: SQLite inside mlruns
    scheduler: str | None = None  # address of a Dask scheduler whose workers do the runs; default: processes here
    stall_after: float = 1800.0  # seconds without a sign of life after which a worker is replaced
    patience_s: float = 120.0  # how long to wait for a store, a disk or a scheduler that does not work
    here: Path = field(default_factory=Path.cwd)  # the working folder that the command was given in

    def __post_init__(self) -> None:
        from ablate.untrusted.addresses import absolute

        for name in ("mlruns", "reports", "data_root"):
            if (folder := getattr(self, name)) is not None:
                object.__setattr__(self, name, self.here / folder)
        for name in ("tracking_uri", "storage"):
            if address := getattr(self, name):
                object.__setattr__(self, name, absolute(address, self.here))

    @property
    def database(self) -> Path:
        return self.mlruns / "mlflow.db"

    def tracker(self) -> Tracker:
        """The store, initialised. Raises InputError when it cannot be reached or written."""
        from ablate.tracking.mlflow.tracker import MlflowTracker

        return MlflowTracker(self.tracking_uri, self.mlruns)

    def existing_tracker(self) -> Tracker:
        """The store, never a new one. Raises InputError when there is none, or it cannot be reached or written."""
        from ablate.untrusted import addresses

        database = addresses.database_file(self.tracking_uri) if self.tracking_uri else self.database
        if database is not None and not database.is_file():
            where = shown_path(database if self.tracking_uri else self.mlruns)
            raise InputError(Problem(where, "", "there is no store here", nearest="`ablate run` makes one"))
        return self.tracker()


def records(study: str, workspace: Workspace) -> list[Record]:
    """What the store remembers of a study; a SQLite store is read without mlflow and never created.

    Raises InputError when the store cannot be read.
    """
    from ablate.tracking.mlflow import sqlite_reader
    from ablate.untrusted import addresses

    uri = workspace.tracking_uri
    database = addresses.database_file(uri) if uri else workspace.database
    if database is None:
        return workspace.tracker().records(study)
    return sqlite_reader.records_from_sqlite(database, study)


def document(study: str, workspace: Workspace) -> dict[str, Any] | None:
    """The study's document in the store; a SQLite store is read without mlflow and never created."""
    from ablate.tracking.mlflow import sqlite_reader
    from ablate.untrusted import addresses

    uri = workspace.tracking_uri
    database = addresses.database_file(uri) if uri else workspace.database
    if database is None:
        return workspace.tracker().document(study)
    return sqlite_reader.document_from_sqlite(database, study)


def check_folder(option: str, folder: Path) -> None:
    """Refuse, before any work is done, a folder that could not be made or written to."""
    parent = next(p for p in (folder, *folder.resolve().parents) if p.exists())
    if not (parent.is_dir() and os.access(parent, os.W_OK)):
        raise InputError(Problem(option, "", "cannot be written", shown_path(folder)))


def shown_path(path: object) -> str:
    """A path as one would write it in the working folder."""
    here = Path.cwd()
    return str(path.relative_to(here) if isinstance(path, Path) and path.is_relative_to(here) else path)


def check_file(option: str, file: Path) -> None:
    """Refuse, before any work is done, a file that could not be written.

    Devices and pipes are refused too: what is written beside its place and moved there would take theirs.
    """
    if file.is_dir():
        raise InputError(Problem(option, "", "cannot be written: it is a folder", str(file)))
    if file.exists() and not file.is_file():
        raise InputError(Problem(option, "", "cannot be written: it is no plain file", str(file)))
    if not file.parent.is_dir():
        raise InputError(Problem(option, "", "cannot be written: its folder does not exist", str(file)))
    if not os.access(file.parent, os.W_OK):
        raise InputError(Problem(option, "", "cannot be written", str(file)))


def resolve_device(name: str) -> str:
    """`auto` is CUDA where there is one. Raises InputError for a device that this machine lacks."""
    import torch

    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise InputError(Problem("--device", "", "not usable on this machine", name, "valid: auto, cpu, cuda, cuda:N"))
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(Problem("--device", "", "not usable on this machine", name, reason)) from None
    return name
