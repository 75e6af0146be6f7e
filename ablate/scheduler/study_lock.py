"""The lock of a study: a second `ablate run` of it, on this machine or against the same server, is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ablate.locking import file_lock
from ablate.scheduler.shutdown import end_this_process
from ablate.untrusted.addresses import database_file


@contextmanager
def hold(path: Path, study: str, *, command: str = "", store: str | None = None, new: bool = False) -> Iterator[None]:
    """Hold the lock file `path`, and a second lock at the `store`, an MLflow address, where machines may share it.

    For a SQLite file the second lock is a lock file beside it; for a server or another database, a tag of the study.
    Raises InputError, naming host, process and time, while another process holds one of them. `command` is shown to a
    person whose command is refused, so it must not hold a password. `new`: create the study in a store that lacks it.
    """
    sqlite_file = database_file(store) if store else None
    store_lock = sqlite_file.resolve().with_name(path.name) if sqlite_file else path.resolve()
    with ExitStack() as stack:
        stack.enter_context(file_lock.hold(path, command=command))
        if store_lock != path.resolve() and store_lock.parent.is_dir():
            stack.enter_context(file_lock.hold(store_lock, command=command))
        if store and sqlite_file is None:
            from ablate.tracking.mlflow import server_lock  # imports mlflow

            stack.enter_context(
                server_lock.hold(store, study, path.parent, command=command, new=new, lost=end_this_process)
            )
        yield
