"""A file that says: this study is finished, and its report shows it. So the next `ablate run` has nothing to do.

The file holds one digest, of everything that could change since: ablate by version, the store's files by time and size,
the study and the metrics by content, the report's files by content. It is safe to delete: then `ablate run` looks at
everything again.
"""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from ablate.scheduler.loaded_study import LoadedStudy
from ablate.scheduler.workspace import Workspace
from ablate.study import amend, digest
from ablate.study.data_digests import file_digest
from ablate.study.shipped import DISTRIBUTION

StoreState = list[tuple[str, int, int]] | None


def is_finished(loaded: LoadedStudy, workspace: Workspace) -> bool:
    """Whether nothing has changed since `write`. Never so for a server, nor with `--storage`."""
    try:
        written = _marker(loaded, workspace).read_text(encoding="ascii")
        return written == _digest(loaded, workspace, store_state(workspace))
    except (OSError, UnicodeDecodeError):
        return False


def write(loaded: LoadedStudy, workspace: Workspace, store: StoreState) -> None:
    """Call it last, after the report has been written. `store`: its state before the report read it."""
    with suppress(OSError):  # a full disk: the next `ablate run` looks at everything
        _marker(loaded, workspace).parent.mkdir(parents=True, exist_ok=True)
        _marker(loaded, workspace).write_text(_digest(loaded, workspace, store), encoding="ascii")


def _marker(loaded: LoadedStudy, workspace: Workspace) -> Path:
    return workspace.mlruns / "cache" / f"{loaded.study.name}.finished"


def store_state(workspace: Workspace) -> StoreState:
    """Name, time of change in nanoseconds and size of the store's files; None for a server, or with `--storage`."""
    database = workspace.sqlite_file
    if database is None or workspace.storage:
        return None
    log = Path(f"{database}-wal")  # SQLite's write-ahead log, which may hold the last changes alone
    files = [file for file in (database, workspace.optuna_db, log) if file.is_file()]
    return [(file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files]


def _digest(loaded: LoadedStudy, workspace: Workspace, store: StoreState) -> str:
    """Raises OSError where there is nothing to look at."""
    if store is None:
        raise FileNotFoundError("the store is not in files of this machine")
    folder = workspace.reports / loaded.study.name
    document = amend.document(loaded.study, loaded.catalogue, loaded.digests, command="", today="")
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    report = [[str(file.relative_to(folder)), file_digest(file)] for file in files]
    return digest([version(DISTRIBUTION), document, store, report])
