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
    """Hold the lock file `path`, and where several machines may use the `store`, an MLflow address, a lock there.

    A SQLite file has a lock file beside it, wherever `path` is; a server or another database has a tag of the study.
    Raises InputError, naming host, process and time, while another process holds one of them. `command` is what the
    next one is shown, so it must not hold a password. `new`: a store that does not know the study yet is made to.
    """
    file = database_file(store) if store else None
    beside = file.resolve().with_name(path.name) if file else path.resolve()
    with ExitStack() as stack:
        stack.enter_context(file_lock.hold(path, command=command))
        if beside != path.resolve() and beside.parent.is_dir():
            stack.enter_context(file_lock.hold(beside, command=command))
        if store and file is None:
            from ablate.tracking.mlflow import server_lock  # imports mlflow

            stack.enter_context(
                server_lock.hold(store, study, path.parent, command=command, new=new, lost=end_this_process)
            )
        yield
