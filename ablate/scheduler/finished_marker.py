"""A file that says: this study is finished, and its report shows it. So the next `ablate run` has nothing to do.

The file holds one digest, of everything that could change since: the store's files by time and size, the study and the
metrics by content, the report's files by content. It is safe to delete: then `ablate run` looks at everything again.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from ablate.scheduler.loaded_study import LoadedStudy
from ablate.scheduler.workspace import Workspace
from ablate.study import amend, digest


def is_finished(loaded: LoadedStudy, workspace: Workspace) -> bool:
    """Whether nothing has changed since `write`. Never so for a server, nor with `--storage`."""
    try:
        return _marker(loaded, workspace).read_text(encoding="ascii") == _digest(loaded, workspace)
    except (OSError, UnicodeDecodeError):
        return False


def write(loaded: LoadedStudy, workspace: Workspace) -> None:
    """Call it last, after the report has been written."""
    with suppress(OSError):  # a full disk: the next `ablate run` looks at everything
        _marker(loaded, workspace).parent.mkdir(parents=True, exist_ok=True)
        _marker(loaded, workspace).write_text(_digest(loaded, workspace), encoding="ascii")


def _marker(loaded: LoadedStudy, workspace: Workspace) -> Path:
    return workspace.mlruns / "cache" / f"{loaded.study.name}.finished"


def _digest(loaded: LoadedStudy, workspace: Workspace) -> str:
    """Raises OSError where a file is missing."""
    database, folder = workspace.sqlite_file, workspace.reports / loaded.study.name
    if database is None or workspace.storage:
        raise FileNotFoundError("a server or a database of the person's own has no file to look at")
    document = amend.document(loaded.study, loaded.catalogue, loaded.digests, command="", today="")
    databases = [database, workspace.optuna_db, *_log(database)]
    store = [[file.name, file.stat().st_mtime_ns, file.stat().st_size] for file in databases]
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    report = [[str(file.relative_to(folder)), hashlib.sha256(file.read_bytes()).hexdigest()] for file in files]
    return digest([document, store, report])


def _log(database: Path) -> list[Path]:
    """SQLite's write-ahead log, which may hold the last changes alone."""
    log = Path(f"{database}-wal")
    return [log] if log.is_file() else []
