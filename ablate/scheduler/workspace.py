"""What belongs to the machine: the store, the data, the device, and which files can be written.

Imports torch and mlflow only where a function needs them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.study import InputError, Problem, RunReader, Study, Tracker, shipped
from ablate.trainers.gpu import gpus, of_those_named
from ablate.untrusted import addresses
from ablate.untrusted.wording import close, nearest

# The options of a command that say where things are or how runs are done, by the names of the workspace's fields.
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "run": ("mlruns", "reports", "tracking_uri", "data_root", "device", "threads", "storage", "scheduler"),
    "plan": ("mlruns", "tracking_uri", "data_root"),
    "status": ("mlruns", "tracking_uri", "data_root"),
    "list": ("mlruns", "tracking_uri"),
    "report": ("mlruns", "reports", "tracking_uri"),
    "compare": ("mlruns", "tracking_uri"),
    "evaluate": ("mlruns", "tracking_uri", "data_root", "device"),
    "ui": ("mlruns", "tracking_uri"),
    "discard": ("mlruns", "tracking_uri"),
}
DEFAULTS: Mapping[str, object] = {"mlruns": Path("mlruns"), "reports": Path("reports"), "device": "auto", "threads": 1}

if TYPE_CHECKING:
    from ablate.tracking.mlflow.tracker import MlflowTracker


@dataclass(frozen=True)
class Workspace:
    """What belongs to the machine: where the store and the reports are, which data, which device.

    Its folders, and the files in its addresses, are absolute, because a component may change the working folder.
    """

    mlruns: Path = Path("mlruns")
    reports: Path = Path("reports")
    tracking_uri: str | None = None  # default: SQLite inside mlruns
    data_root: Path | None = None
    device: str = "auto"
    workers: int | None = None
    threads: int = 1  # of a run by a command or a function
    storage: str | None = None  # SQLAlchemy address of Optuna's database; default: SQLite inside mlruns
    scheduler: str | None = None  # address of a Dask scheduler whose workers do the runs; default: local processes
    stall_after: float = 1800.0  # seconds without a sign of life after which a worker is replaced
    patience_s: float = 120.0  # how long to wait for a store, a disk or a scheduler that fails
    working_folder: Path = field(default_factory=Path.cwd)  # when the command started

    def __post_init__(self) -> None:
        for name in ("mlruns", "reports", "data_root"):
            if (folder := getattr(self, name)) is not None:
                object.__setattr__(self, name, self.working_folder / folder)
        for name in ("tracking_uri", "storage"):
            if address := getattr(self, name):
                object.__setattr__(self, name, addresses.absolute(address, self.working_folder))

    @property
    def database(self) -> Path:
        """The SQLite file of the local store, which is used where no `tracking_uri` is given."""
        return self.mlruns / "mlflow.db"

    @property
    def optuna_db(self) -> Path:
        """The SQLite file of the trials for optuna-dashboard, which is used where no `storage` is given."""
        return self.mlruns / "optuna.db"

    @property
    def sqlite_file(self) -> Path | None:
        """The SQLite file of the store; None for a server or another database."""
        return addresses.database_file(self.tracking_uri) if self.tracking_uri else self.database

    def threads_of(self, study: Study) -> int:
        """The CPU threads of one run of the study: the file says it for the built-in loop, `--threads` for others."""
        return self.threads if study.trainer != "built-in" else int(study.settings["training"].get("threads", 1))

    def lock_file(self, study: str) -> Path:
        """The file that is locked by the command that writes the study."""
        return self.mlruns / f"{study}.lock"

    def suggest(self, command: str, *arguments: str | Path) -> str:
        """A command to type next, between backticks: complete, so that it works where it is pasted.

        It has the options of this workspace that are not the default, quoted for a shell. A password in an address is
        hidden: the command then needs it again.
        """
        words = ["ablate", command, *map(str, arguments)]
        for name in OPTIONS[command]:
            value = getattr(self, name)
            if isinstance(value, Path) and value.is_relative_to(self.working_folder):
                value = value.relative_to(self.working_folder)
            if value is not None and value != DEFAULTS.get(name):
                words += [f"--{name.replace('_', '-')}", str(value)]
        return f"`{addresses.command_line(words)}`"

    def check_store_exists(self, study: str = "") -> None:
        """Raise InputError where the store would be a SQLite file that does not exist. `study`: which is wanted of it,
        by name or by file."""
        if self.sqlite_file is not None and not self.sqlite_file.is_file():
            shown = shown_path(self.sqlite_file if self.tracking_uri else self.mlruns)
            file = (shipped.file_of(study) if study else None) or "quick"
            raise InputError(
                Problem(shown, "", "there is no store here", nearest=f"{self.suggest('run', file)} makes one")
            )

    def unknown_study(self, study: str) -> Problem:
        """The problem that the store has no study of this name, with the nearest that it has, or that can be run."""
        store = addresses.redacted(self.tracking_uri or shown_path(self.mlruns))
        file, studies = shipped.file_of(study), self.reader().studies()
        if file is not None:
            hint = f"{self.suggest('run', file)} runs it"
        elif close(study, studies):
            hint = nearest(study, studies)
        else:
            hint = shipped.nearest_study(Path(study))
            hint = hint if hint.startswith("did") else nearest(study, studies)
        return Problem(store, "study", "not in the store", study, hint)

    def reader(self) -> RunReader:
        """The store, to read from. A SQLite store is read without mlflow and never created; a server must answer."""
        from ablate.tracking.mlflow.sqlite_reader import LocalStore

        return self.tracker() if self.sqlite_file is None else LocalStore(self.sqlite_file)

    def tracker(self) -> MlflowTracker:
        """The store, created where it does not exist. Raises InputError when it cannot be reached or written."""
        from ablate.tracking.mlflow.tracker import MlflowTracker

        return MlflowTracker(self.tracking_uri, self.mlruns)

    def existing_tracker(self) -> Tracker:
        """The store, never a new one. Raises InputError when there is none, or it cannot be reached or written."""
        self.check_store_exists()
        return self.tracker()


def check_folder(option: str, folder: Path) -> None:
    """Raise InputError, before any work is done, for a folder that could not be created or written to."""
    parent = next(p for p in (folder, *folder.resolve().parents) if p.exists())
    if not (parent.is_dir() and os.access(parent, os.W_OK)):
        raise InputError(Problem(option, "", "cannot be written", shown_path(folder)))


def shown_path(path: object) -> str:
    """A path as it is shown to a person: relative, where it lies in the working folder."""
    folder = Path.cwd()
    return str(path.relative_to(folder) if isinstance(path, Path) and path.is_relative_to(folder) else path)


def check_file(option: str, file: Path) -> None:
    """Raise InputError, before any work is done, for a file that could not be written.

    Devices and pipes are refused too: the file is written under another name and renamed, which would replace them.
    """
    if file.is_dir():
        raise InputError(Problem(option, "", "cannot be written: it is a folder", str(file)))
    if file.exists() and not file.is_file():
        raise InputError(Problem(option, "", "cannot be written: it is no plain file", str(file)))
    if not file.parent.is_dir():
        raise InputError(Problem(option, "", "cannot be written: its folder does not exist", str(file)))
    if not os.access(file.parent, os.W_OK):
        raise InputError(Problem(option, "", "cannot be written", str(file)))


def resolve_device(name: str, *, with_torch: bool = True) -> str:
    """`auto` is CUDA where there is one. Raises InputError for a device that this machine lacks.

    Without torch, a machine has CUDA where `nvidia-smi` lists a GPU that CUDA_VISIBLE_DEVICES does not hide.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise InputError(Problem("--device", "", "not usable on this machine", name, "valid: auto, cpu, cuda, cuda:N"))
    if not with_torch:
        count = len(gpus())
        if name.startswith("cuda") and int(name.partition(":")[2] or 0) >= count:
            hint = f"nvidia-smi lists {count} GPUs{of_those_named()}"
            raise InputError(Problem("--device", "", "not usable on this machine", name, hint))
        return ("cuda" if count else "cpu") if name == "auto" else name
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(Problem("--device", "", "not usable on this machine", name, reason)) from None
    return name
