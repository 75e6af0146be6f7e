"""Commands that share a store or free its disk: snapshot, restore, export, import, discard, gc. Starts no run."""

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
from ablate.scheduler.workspace import Workspace, shown_path
from ablate.study import InputError, Problem, Record, StoreUnavailable, Tracker, shipped
from ablate.untrusted.addresses import command_line, redacted
from ablate.untrusted.wording import nearest, shown

if TYPE_CHECKING:
    from ablate.archive.clean import Leftover
    from ablate.archive.snapshot import Collect


class Progress(Protocol):
    """Shows a person how many runs were transferred."""

    def __call__(self, done: int, total: int, /) -> None:
        """Show that `done` of `total` runs were transferred."""

    def note(self, text: str) -> None:
        """Show a message, such as that the server does not answer."""


@dataclass(frozen=True)
class Discarding:
    """What `discard` is about to do."""

    study: str
    runs: Collection[Record]
    whole_study: bool  # the study itself goes too
    description: str


def snapshot(name: str, workspace: Workspace, progress: Progress, *, reports_only: bool = False) -> str:
    """Put a study's ended runs under DVC in the repository of the working folder; returns what was stored, in words.

    Waits for a server that does not answer; raises RetryTimeout after `workspace.patience_s`.
    """
    from ablate.archive import snapshot as repository
    from ablate.archive.dvc_storage import check_repository

    check_repository(Path.cwd())
    _check_has_runs(name, workspace, "FINISHED")
    with _disk_errors(local=not workspace.tracking_uri):
        return repository.snapshot(
            name, Path.cwd(), _collect_function(name, workspace, progress), reports_only=reports_only
        )


def restore(workspace: Workspace, progress: Progress) -> str:
    """Add the studies that `mlruns.dvc` of the working folder tracks to the store; returns what was added, in words."""
    from ablate.archive import snapshot as repository

    with _disk_errors(local=True), repository.opened(Path.cwd()) as studies:
        tracker = workspace.tracker()
        wanted = {study: absent_models(study, folder, tracker) for study, folder in studies.items()}
        note = repository.put_models(Path.cwd(), studies, wanted)
        lines = [_restore_study(study, folder, tracker, workspace, progress) for study, folder in studies.items()]
    return "\n".join([*lines, note] if note else lines)


def _restore_study(study: str, folder: Path, tracker: Tracker, workspace: Workspace, progress: Progress) -> str:
    with ExitStack() as stack:
        try:
            stack.enter_context(_lock(study, workspace, "ablate restore"))
        except InputError as error:
            return f"{study}: left alone: {error.problems[0].rule}"
        added = deliver(study, folder, tracker, progress)
        _update_dashboard(study, tracker, workspace, progress.note)
        return f"{study}: {summary(added)} restored"


def export(name: str, workspace: Workspace, out: Path, progress: Progress) -> str:
    """Write a study's ended runs to the file `out`; returns what is in it, in words. Waits as `snapshot` does."""
    from ablate.archive.zip_archive import pack

    _check_has_runs(name, workspace, "FINISHED", "FAILED")
    with (
        _disk_errors(local=not workspace.tracking_uri),
        tempfile.TemporaryDirectory(prefix="ablate-export-") as scratch,
    ):
        folder = Path(scratch, "study")
        runs = _collect_function(name, workspace, progress)(folder)
        pack(name, folder, out)
    size = out.stat().st_size / 1e6
    return (
        f"{name}: {summary(runs)} in {out} ({size:.1f} MB); `{command_line(['ablate', 'import', str(out)])}` reads it"
    )


def import_archive(file: Path, workspace: Workspace, progress: Progress) -> str:
    """Add an exported study to the store; returns what was added, in words. Waits as `snapshot` does.

    Raises InputError, and adds nothing, for a file that is not a complete export, or while another command holds the
    study's lock.
    """
    from ablate.archive.zip_archive import unpacked

    show, call = _with_retries(workspace, progress)
    runs: Added = {}
    with (
        _disk_errors(local=not workspace.tracking_uri),
        unpacked(file) as (study, folder),
        _lock(study, workspace, "ablate import"),
    ):
        tracker = workspace.tracker()
        call(lambda: deliver(study, folder, tracker, show, runs))
        if not workspace.tracking_uri:
            _update_dashboard(study, tracker, workspace, progress.note)
    nothing = "" if runs else ": what the file holds is here already, or was discarded here"
    return f"{study}: {summary(runs)} imported{nothing}"


def _update_dashboard(study: str, tracker: Tracker, workspace: Workspace, note: Callable[[str], None]) -> None:
    """Copy the trials that a study came with to the database that optuna-dashboard reads."""
    from ablate.planning.plan import plan_of_document
    from ablate.study.document import checked
    from ablate.untrusted.addresses import sqlite_address

    document, records = tracker.document(study), tracker.records(study)
    if document is None or not records:
        return
    try:
        from ablate.tuning import optuna

        parsed, facts = checked(document, study)
        planned = plan_of_document(document, parsed, facts, records)
        directions = {name: fact["direction"] for name, fact in facts.items()}
        address = sqlite_address(workspace.optuna_db)
        optuna.mirror(address, parsed, records, planned.digests.__getitem__, directions)
    except Exception as error:  # the dashboard is a convenience; the runs are in the store
        note(f"the Optuna dashboard's database could not be updated: {error}")


def _collect_function(study: str, workspace: Workspace, progress: Progress) -> Collect:
    """`collect` for this study and its store, with retries."""
    tracker = workspace.existing_tracker()
    show, call = _with_retries(workspace, progress)

    def collect_study(folder: Path, **choices: Any) -> Added:
        runs: Added = {}
        call(lambda: collect(study, tracker, folder, show, **choices, added=runs))
        return runs

    return collect_study


def _check_has_runs(study: str, workspace: Workspace, *statuses: str) -> None:
    """Raise InputError where the store has no run of the study with one of these statuses."""
    if not any(record.status in statuses for record in _study_records(study, workspace)):
        how = "finished" if statuses == ("FINISHED",) else "ended"
        hint = f"{workspace.suggest('run', shipped.file_of(study) or f'{study}.toml')} does"
        raise InputError(Problem(_shown_store(workspace), study, f"no run of this study has {how}", nearest=hint))


@contextmanager
def _disk_errors(*, local: bool) -> Iterator[None]:
    """Raise errors of the disk as InputError: they are temporary, and the same command then completes its work.

    `local`: the store is on this disk, so StoreUnavailable is such an error too.
    """
    try:
        yield
    except StoreUnavailable as error:
        if not local:
            raise
        raise _disk_problem(error) from None
    except shutil.Error as error:  # several files could not be copied: (from, to, reason) of each
        files = error.args[0] if error.args else ""
        raise _disk_problem(files[-1][-1] if isinstance(files, list) and files else error) from None
    except OSError as error:
        raise _disk_problem(error) from None


def _disk_problem(reason: object) -> InputError:
    return InputError(Problem("disk", "", "cannot be used just now", str(reason)[:300]))


def choose(text: str, workspace: Workspace) -> Discarding:
    """The runs that STUDY, STUDY:ARM or STUDY:failed names. Raises InputError when it names none."""
    study, colon, selection = text.partition(":")
    records = _study_records(study, workspace)
    if not colon:
        return Discarding(study, records, True, f"the study {study}, all {len(records)} runs")
    failed = selection == "failed"
    runs = [record for record in records if (record.status == "FAILED" if failed else record.arm == selection)]
    if not runs:
        arms = list(dict.fromkeys(record.arm for record in records))
        rule = "has no failed run" if failed else "has no run of this arm"
        hint = "" if failed else nearest(selection, [*arms, "failed"])
        raise InputError(Problem("STUDY:ARM", study, rule, shown(selection), hint))
    return Discarding(study, runs, False, f"{len(runs)} runs of {study}: {selection}")


def discard(chosen: Discarding, workspace: Workspace) -> None:
    """Forget runs: the store keeps them as deleted, no command sees them, and `ablate run` does them again.

    Raises InputError while another command holds the study's lock.
    """
    tracker = workspace.existing_tracker()
    with _lock(chosen.study, workspace, "ablate discard"):
        if chosen.whole_study:
            tracker.forget(chosen.study)
        else:
            tracker.discard([record.run_id for record in chosen.runs])


def clean(workspace: Workspace, notify: Callable[[str], None], *, days: float, dry_run: bool) -> int:
    """Remove work folders of ended runs, and files of discarded ones. Studies that another command writes are skipped.

    Reports every folder that is removed or, with `dry_run`, would be. Returns the bytes freed.
    """
    from ablate.archive import clean

    records = _all_records(workspace)
    orphans = list(_shared_orphans(workspace, notify) if workspace.tracking_uri else clean.orphans(workspace.mlruns))
    freed = 0
    for study in sorted({*clean.studies_with_work(workspace.mlruns), *(study for study, _ in orphans)}):
        try:
            with _lock(study, workspace, "ablate gc"):
                states = list(clean.unneeded_states(study, workspace.mlruns, records.get(study), days=days))
                for leftover in [*states, *(orphan for owner, orphan in orphans if owner == study)]:
                    notify(f"{leftover.size / 1e6:9.1f} MB  {shown_path(leftover.path)}  {leftover.reason}")
                    freed += leftover.size
                    if not dry_run:
                        shutil.rmtree(leftover.path)
        except InputError as error:
            notify(f"{study}: left alone: {error.problems[0].rule}")
    return freed


def _shared_orphans(workspace: Workspace, notify: Callable[[str], None]) -> Iterator[tuple[str, Leftover]]:
    """Files of discarded runs of a database whose artifacts lie on this machine, each with its study.

    Those of a server cannot be removed from here: a person is told how its operator removes them.
    """
    from ablate.archive import clean
    from ablate.tracking.mlflow import discarded

    uri = str(workspace.tracking_uri)
    runs = discarded.discarded_runs(uri, workspace.mlruns)
    if uri.startswith("http") and runs:
        studies = ", ".join(sorted({run.study for run in runs}))
        notify(f"{len(runs)} discarded runs of {studies} stay on the server until its operator runs")
        notify(discarded.advice(uri))
        return
    folders = [(run.study, kind, folder) for run in runs for kind, folder in run.folders]
    yield from clean.discarded(folders, workspace.mlruns)


def _all_records(workspace: Workspace) -> dict[str, list[Record]]:
    """The records of every study in the store; none where there is no local store."""
    if not workspace.tracking_uri and not workspace.database.is_file():
        return {}
    workspace.check_store_exists()
    reader = workspace.reader()
    return {study: reader.records(study) for study in reader.studies()}


def _study_records(study: str, workspace: Workspace) -> list[Record]:
    """The study's records. Raises InputError when the store does not have the study."""
    workspace.check_store_exists(study)
    reader = workspace.reader()
    if study not in reader.studies():
        raise InputError(workspace.unknown_study(study))
    return reader.records(study)


def _shown_store(workspace: Workspace) -> str:
    """The address or the folder of the store, as it is shown to a person."""
    return redacted(workspace.tracking_uri or shown_path(workspace.mlruns))


def _with_retries(
    workspace: Workspace, progress: Progress
) -> tuple[Callable[[int, int], None], Callable[[Callable[[], object]], object]]:
    """Two functions: one to show progress, and one that calls a function until the server answers.

    A transferred run shows that the server answers again. A local store has no outages, so its calls are not repeated.
    """
    if not workspace.tracking_uri:
        return progress, lambda function: function()
    from ablate.scheduler.retry import STORE_MESSAGES, Retry

    store_retry = Retry(*STORE_MESSAGES, progress.note, workspace.patience_s)

    def show(done: int, total: int) -> None:
        store_retry.succeeded()
        progress(done, total)

    return show, store_retry.call


def _lock(study: str, workspace: Workspace, command: str) -> AbstractContextManager[None]:
    from ablate.scheduler import study_lock

    return study_lock.hold(workspace.lock_file(study), study, command=command, store=workspace.tracking_uri)
