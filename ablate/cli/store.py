"""Commands that keep and share a store: snapshot, restore, export, import, discard, gc. Imports nothing heavy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ablate.cli.options import Patience, Store, StudyName, Uri

app = typer.Typer(rich_markup_mode=None)


@app.command(epilog="Example:  ablate snapshot quick && git add mlruns.dvc .dvc && git commit -m 'quick: results'")
def snapshot(
    study: StudyName,
    reports_only: Annotated[
        bool, typer.Option("--reports-only", help="Keep what the report reads: no models, a tenth of the size.")
    ] = False,
    mlruns: Store = Path("mlruns"),
    tracking_uri: Uri = None,
    patience: Patience = 120.0,
) -> None:
    """Put a study's ended runs, with one model an arm, under DVC inside this repository.

    mlruns.dvc tracks an archive a study, mlruns-models.dvc the models. Where `dvc remote default` names a remote,
    models go there. The study may still be running; with --tracking-uri it is read from that server. Runs that are in
    the snapshot already stay as they are; those that --reports-only stored in part are completed where it is not given.
    """
    from ablate.cli.progress_count import ProgressCount
    from ablate.commands import archive
    from ablate.scheduler.loaded_study import study_name
    from ablate.scheduler.workspace import Workspace

    workspace = Workspace(mlruns, tracking_uri=tracking_uri, patience_s=patience)
    with ProgressCount("runs read") as progress:
        summary = archive.snapshot(study_name(study), workspace, progress, reports_only=reports_only)
    typer.echo(summary)


@app.command(epilog="Example:  git clone … && cd … && ablate restore")
def restore(mlruns: Store = Path("mlruns")) -> None:
    """Add the runs that mlruns.dvc tracks to the store, after checking every byte. Those in the store stay as they are.

    Needs no network and no account, except for models on a DVC remote of yours.
    """
    from ablate.cli.progress_count import ProgressCount
    from ablate.commands import archive
    from ablate.scheduler.workspace import Workspace

    with ProgressCount("runs restored") as progress:
        summary = archive.restore(Workspace(mlruns), progress)
    typer.echo(summary)


@app.command(epilog="Example:  ablate export quick quick.zip")
def export(
    study: StudyName,
    out: Annotated[Path, typer.Argument(metavar="OUT.zip", help="The file to write.", show_default=False)],
    mlruns: Store = Path("mlruns"),
    tracking_uri: Uri = None,
    patience: Patience = 120.0,
) -> None:
    """Write a study's ended runs and all their models to one file, for `ablate import` on another machine.

    From a server: ablate export quick quick.zip --tracking-uri http://127.0.0.1:5000
    """
    from ablate.cli.progress_count import ProgressCount
    from ablate.commands import archive
    from ablate.scheduler.loaded_study import study_name
    from ablate.scheduler.workspace import Workspace, check_file

    check_file("OUT.zip", out)
    workspace = Workspace(mlruns, tracking_uri=tracking_uri, patience_s=patience)
    with ProgressCount("runs read") as progress:
        summary = archive.export(study_name(study), workspace, out, progress)
    typer.echo(summary)


@app.command("import", epilog="Example:  ablate import quick.zip")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE.zip", help="What `ablate export` wrote.", show_default=False)],
    mlruns: Store = Path("mlruns"),
    tracking_uri: Uri = None,
    patience: Patience = 120.0,
) -> None:
    """Merge an exported study into the store. Runs that are there stay as they are. The file may come from a stranger.

    Into a server: ablate import quick.zip --tracking-uri http://127.0.0.1:5000. After an interruption, the same command
    continues.

    Refused are damaged files, paths that lead elsewhere, links, more than 100 000 files, more than 50 GB unpacked, and
    more than a hundred times the size of the file.
    """
    from ablate.cli.progress_count import ProgressCount
    from ablate.commands import archive
    from ablate.scheduler.workspace import Workspace

    workspace = Workspace(mlruns, tracking_uri=tracking_uri, patience_s=patience)
    with ProgressCount("runs imported") as progress:
        summary = archive.import_archive(file, workspace, progress)
    typer.echo(summary)


@app.command(epilog="Example:  ablate discard quick:failed")
def discard(
    what: Annotated[
        str,
        typer.Argument(metavar="STUDY[:ARM|:failed]", help="A study, an arm, or the failed runs.", show_default=False),
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    mlruns: Store = Path("mlruns"),
    tracking_uri: Uri = None,
) -> None:
    """Forget finished runs, after asking: `ablate run` does them again. `ablate gc` then frees the disk.

    MLflow keeps them as deleted, and its UI can bring them back until `ablate gc`.
    """
    from ablate.commands import archive
    from ablate.scheduler.workspace import Workspace

    workspace = Workspace(mlruns, tracking_uri=tracking_uri)
    chosen = archive.choose(what, workspace)
    if not yes:
        _ask(f"Discard {chosen.description}?")
    archive.discard(chosen, workspace)
    typer.echo(f"discarded {chosen.description}")


@app.command(epilog="Example:  ablate gc --dry-run")
def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be removed.")] = False,
    days: Annotated[
        float, typer.Option(min=0, help="Keep the state of an unfinished run for so many days after its last change.")
    ] = 14.0,
    mlruns: Store = Path("mlruns"),
    tracking_uri: Uri = None,
) -> None:
    """Free the disk: checkpoints of finished and abandoned runs, files of discarded runs. Skips running studies.

    Files of runs that were discarded on a server are removed there, by `mlflow gc`: the command for it is printed.
    """
    from ablate.commands import archive
    from ablate.scheduler.workspace import Workspace

    workspace = Workspace(mlruns, tracking_uri=tracking_uri)
    freed = archive.clean(workspace, typer.echo, days=days, dry_run=dry_run)
    typer.echo(f"{freed / 1e6:.1f} MB {'would be freed' if dry_run else 'freed'}", err=True)


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        from ablate.study import InputError, Problem

        raise InputError(Problem("--yes", "", "is needed where the input is no terminal"))
    typer.confirm(question, abort=True, err=True)
