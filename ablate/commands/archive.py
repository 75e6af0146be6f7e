"""Keep a store small and share it: snapshot, restore, export, import, discard, clean up. Starts no run."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ablate.archive.bundle import Added, summary
from ablate.archive.collect import collect
from ablate.archive.deliver import absent_models, deliver
from ablate.scheduler.workspace import Workspace, records, shown_path
from ablate.study import InputError, Problem, Record, StoreUnavailable, Tracker
from ablate.tracking.mlflow import relocation
from ablate.untrusted.addresses import redacted
from ablate.untrusted.wording import nearest, shown

if TYPE_CHECKING:
    from ablate.archive.clean import Leftover
    from ablate.archive.snapshot import Collect

OLD_DAYS = 14.0


class Tell(Protocol):
    """Who hears how a server's runs come or go."""

    def __call__(self, done: int, total: int, /) -> None:
        """So many of so many."""

    def note(self, text: str) -> None:
        """That the server does not answer and is waited for, or answers again."""


@dataclass(frozen=True)
class Discarding:
    """What `discard` is about to do."""

    study: str
    runs: Collection[Record]
    whole: bool  # the study itself goes too
    what: str


def snapshot(name: str, workspace: Workspace, tell: Tell, *, reports_only: bool = False) -> str:
    """Put a study's ended runs under DVC in the repository of the working folder; says what was stored.

    A server that goes away is waited for: raises RetryTimeout.
    """
    from ablate.archive import snapshot as repository
    from ablate.archive.dvc_storage import check_repository

    check_repository(Path.cwd())
    _ended(name, workspace, "FINISHED")
    with _disk(local=not workspace.tracking_uri):
        return repository.snapshot(name, Path.cwd(), _collected(name, workspace, tell), reports_only=reports_only)


def restore(workspace: Workspace, tell: Tell) -> str:
    """Bring what `mlruns.dvc` of the working folder tracks into the store; says what came back."""
    from ablate.archive import snapshot as repository

    with _disk(local=True), repository.opened(Path.cwd()) as studies:
        tracker = workspace.tracker()
        wanted = {study: absent_models(study, folder, tracker) for study, folder in studies.items()}
        said = repository.put_models(Path.cwd(), studies, wanted)
        lines = [_restored(study, folder, tracker, workspace, tell) for study, folder in studies.items()]
    return "\n".join([*lines, said] if said else lines)


def _restored(study: str, folder: Path, tracker: Tracker, workspace: Workspace, tell: Tell) -> str:
    with ExitStack() as held:
        try:
            held.enter_context(_lock(study, workspace, "ablate restore"))
        except InputError as error:
            return f"{study}: left alone: {error.problems[0].rule}"
        return f"{study}: {summary(deliver(study, folder, tracker, tell))} restored"


def export(name: str, workspace: Workspace, out: Path, tell: Tell) -> str:
    """Write a study's ended runs to the file `out`; says what is in it. A server: see `snapshot`."""
    from ablate.archive.zip_archive import pack

    _ended(name, workspace, "FINISHED", "FAILED")
    with _disk(local=not workspace.tracking_uri), tempfile.TemporaryDirectory(prefix="ablate-export-") as scratch:
        came = _collected(name, workspace, tell)(Path(scratch, "study"))
        pack(name, Path(scratch, "study"), out)
    size = out.stat().st_size / 1e6
    return f"{name}: {summary(came)} in {out} ({size:.1f} MB); `ablate import` reads it"


def bring_in(file: Path, workspace: Workspace, tell: Tell) -> str:
    """Bring an exported study into the store; says what came. A server: see `snapshot`.

    Raises InputError, and brings nothing, for a file that is no whole export, or while a driver of the study is at
    work.
    """
    from ablate.archive.zip_archive import unpacked

    heard, insist = _patiently(workspace, tell)
    came: Added = {}
    with (
        _disk(local=not workspace.tracking_uri),
        unpacked(file) as (study, folder),
        _lock(study, workspace, "ablate import"),
    ):
        tracker = workspace.tracker()
        insist(lambda: deliver(study, folder, tracker, heard, came))
    nothing = "" if came else ": what the file holds is here already, or was discarded here"
    return f"{study}: {summary(came)} imported{nothing}"


def _collected(study: str, workspace: Workspace, tell: Tell) -> Collect:
    """`collect` of this study, once its store answers."""
    tracker = workspace.existing_tracker()
    heard, insist = _patiently(workspace, tell)

    def collected(folder: Path, **choices: Any) -> Added:
        came: Added = {}
        insist(lambda: collect(study, tracker, folder, heard, **choices, added=came))
        return came

    return collected


def _ended(study: str, workspace: Workspace, *statuses: str) -> None:
    """Raises InputError where the store has no run of the study that has ended so."""
    if not any(record.status in statuses for record in _known(study, workspace)):
        how = "finished" if statuses == ("FINISHED",) else "ended"
        hint = "`ablate run` it first"
        raise InputError(Problem(_place(workspace), study, f"no run of this study has {how}", nearest=hint))


@contextmanager
def _disk(*, local: bool) -> Iterator[None]:
    """What the disk refuses, of a local store or of temporary files, as an InputError; later the call completes."""
    try:
        yield
    except StoreUnavailable as error:
        if not local:
            raise
        raise InputError(Problem("disk", "", "cannot be used just now", str(error)[:300])) from None
    except OSError as error:
        files = error.args[0] if isinstance(error, shutil.Error) else ""  # of many files: (from, to, reason) each
        reason = files[-1][-1] if isinstance(files, list) and files else error
        raise InputError(Problem("disk", "", "cannot be used just now", str(reason)[:300])) from None


def choose(text: str, workspace: Workspace) -> Discarding:
    """The runs that STUDY, STUDY:ARM or STUDY:failed names. Raises InputError when it names none."""
    study, colon, part = text.partition(":")
    known = _known(study, workspace)
    if not colon:
        return Discarding(study, known, True, f"the study {study}, all {len(known)} runs")
    chosen = [r for r in known if (r.status == "FAILED" if part == "failed" else r.arm == part)]
    if not chosen:
        arms = list(dict.fromkeys(record.arm for record in known))
        rule = "has no failed run" if part == "failed" else "has no run of this arm"
        near = nearest(part, [*arms, "failed"]) if part != "failed" else ""
        raise InputError(Problem("STUDY:ARM", study, rule, shown(part), near))
    return Discarding(study, chosen, False, f"{len(chosen)} runs of {study}: {part}")


def discard(chosen: Discarding, workspace: Workspace) -> None:
    """Forget runs: the store keeps them as deleted, no command sees them, and `run` does them again.

    Raises InputError while a driver of the study is at work.
    """
    tracker = workspace.existing_tracker()
    with _lock(chosen.study, workspace, "ablate discard"):
        if chosen.whole:
            tracker.forget(chosen.study)
        else:
            tracker.discard([record.run_id for record in chosen.runs])


def clean(workspace: Workspace, say: Callable[[str], None], *, days: float = OLD_DAYS, dry_run: bool = False) -> int:
    """Remove states of ended runs, and files of discarded ones; of studies with a driver at work, nothing.

    Says what goes, folder by folder; with `dry_run` what would. Returns the bytes freed.
    """
    from ablate.archive import clean

    if not workspace.tracking_uri:
        relocation.update_addresses(workspace.mlruns)
    known = _all_records(workspace)
    orphans = list(_shared_orphans(workspace, say) if workspace.tracking_uri else clean.orphans(workspace.mlruns))
    freed = 0
    for study in sorted({*clean.studies_with_work(workspace.mlruns), *(study for study, _ in orphans)}):
        try:
            with _lock(study, workspace, "ablate gc"):
                found = list(clean.unneeded_states(study, workspace.mlruns, known.get(study), days=days))
                for leftover in [*found, *(other for owner, other in orphans if owner == study)]:
                    say(f"{leftover.size / 1e6:9.1f} MB  {shown_path(leftover.path)}  {leftover.reason}")
                    freed += leftover.size
                    if not dry_run:
                        shutil.rmtree(leftover.path)
        except InputError as error:
            say(f"{study}: left alone: {error.problems[0].rule}")
    return freed


def _shared_orphans(workspace: Workspace, say: Callable[[str], None]) -> Iterator[tuple[str, Leftover]]:
    """Files of discarded runs of a database whose artifacts lie here; of a server's it says how they go."""
    from ablate.archive import clean
    from ablate.tracking.mlflow import discarded

    uri = str(workspace.tracking_uri)
    runs = discarded.discarded_runs(uri, workspace.mlruns)
    if uri.startswith("http") and runs:
        studies = ", ".join(sorted({run.study for run in runs}))
        say(f"{len(runs)} discarded runs of {studies} stay on the server until its operator runs")
        say(discarded.advice(uri))
        return
    folders = [(run.study, kind, folder) for run in runs for kind, folder in run.folders]
    yield from clean.discarded(folders, workspace.mlruns)


def _all_records(workspace: Workspace) -> dict[str, list[Record]]:
    if not workspace.tracking_uri and not workspace.database.is_file():
        return {}
    return {study: records(study, workspace) for study in _studies(workspace)}


def _studies(workspace: Workspace) -> list[str]:
    from ablate.tracking.mlflow.sqlite_reader import studies_from_sqlite

    if not workspace.tracking_uri:
        return studies_from_sqlite(workspace.database)
    return workspace.existing_tracker().studies()


def _known(study: str, workspace: Workspace) -> list[Record]:
    """The study's records. Raises InputError when the store does not know it."""
    if not workspace.tracking_uri and not workspace.database.is_file():
        raise InputError(
            Problem(shown_path(workspace.mlruns), "", "there is no store here", nearest="`ablate run` makes one")
        )
    studies = _studies(workspace)
    if study not in studies:
        raise InputError(Problem(_place(workspace), "study", "not in the store", study, nearest(study, studies)))
    return records(study, workspace)


def _place(workspace: Workspace) -> str:
    """The store as a person knows it."""
    return redacted(workspace.tracking_uri or shown_path(workspace.mlruns))


def _patiently(workspace: Workspace, tell: Tell) -> tuple[Callable[[int, int], None], Callable[..., None]]:
    """Who hears of runs that come or go, and what insists that they do: each that does ends an outage."""
    if not workspace.tracking_uri:
        return tell, lambda call: call()
    from ablate.scheduler.retry import STORE, Retry

    store = Retry(*STORE, tell.note, workspace.patience_s)

    def heard(done: int, total: int) -> None:
        store.over()
        tell(done, total)

    return heard, store.insist


def _lock(study: str, workspace: Workspace, command: str) -> AbstractContextManager[None]:
    from ablate.scheduler import study_lock

    path = workspace.mlruns / f"{study}.lock"
    return study_lock.hold(path, study, command=command, store=workspace.tracking_uri)
