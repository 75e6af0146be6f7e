"""Print what commands answer: results to stdout; notes, errors and how to go on to stderr. Imports nothing heavy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from ablate.analysis.power_plan import PowerPlan
    from ablate.commands.run import Outcome
    from ablate.report.terminal_plan import ShownPlan
    from ablate.scheduler.workspace import Workspace

EXIT_FAILED, EXIT_USAGE, EXIT_AT_ONCE = 1, 2, 130
REASON_CHARACTERS = 1000  # of why runs failed: the store and `--json` have all of it


@contextmanager
def stop_message() -> Iterator[None]:
    """Print how to continue a study that was stopped, and exit."""
    from ablate.scheduler.retry import RetryTimeout

    try:
        yield
    except (RetryTimeout, KeyboardInterrupt) as error:
        typer.echo(f"stopped: {str(error) or 'Ctrl-C'}", err=True)
        typer.echo("finished runs and checkpoints are kept: the same command goes on from them", err=True)
        raise typer.Exit(EXIT_AT_ONCE if getattr(error, "at_once", False) else EXIT_FAILED) from None


def print_outcome(
    outcome: Outcome, study: str | None, workspace: Workspace, *, as_json: bool, file: Path | None = None
) -> None:
    """Print the outcome, and exit with 1 where a run failed.

    `study`: None for a smoke pass, which has no store. `file`: the study's, of one that can be run.
    """
    from ablate.scheduler.workspace import shown_path

    for line in _failures(outcome.errors):
        typer.echo(line, err=True)
    if outcome.errors and study:
        again = f"; {workspace.suggest('run', file, '--rerun', 'failed')} does them again" if file else ""
        typer.echo(f"logs in {shown_path(workspace.mlruns / 'logs' / study)}{again}", err=True)
    if as_json:
        document: dict[str, object] = {"done": outcome.done, "failed": outcome.failed, "missing": outcome.missing}
        document |= {} if outcome.looks is None else {"stopping": outcome.looks.document()}
        document |= {"errors": dict(outcome.errors), "report": shown_path(outcome.report) if outcome.report else None}
        typer.echo(json.dumps(document))
    elif outcome.results:
        from ablate.report import terminal

        terminal.print_results(outcome.results)
        typer.echo(f"Report     {shown_path(outcome.report)}")
        typer.echo(f"MLflow UI  {_mlflow_ui(workspace)}")
    else:
        typer.echo(f"{outcome.done} done, {outcome.failed} failed, {outcome.missing} missing")
    if outcome.failed or (study is None and outcome.missing):
        raise typer.Exit(EXIT_FAILED)


def _failures(errors: Mapping[str, str]) -> Iterator[str]:
    """Which runs failed, those of one reason together, and why."""
    from ablate.study import printable
    from ablate.untrusted.wording import cut, listing

    runs: dict[str, list[str]] = {}
    for name, reason in errors.items():
        runs.setdefault(reason, []).append(name)
    for reason, names in runs.items():
        yield f"failed: {listing(names)}: {cut(printable(reason), REASON_CHARACTERS)}"


def _mlflow_ui(workspace: Workspace) -> str:
    """The address of the MLflow UI, or the command that starts it."""
    from ablate.untrusted.addresses import redacted

    uri = workspace.tracking_uri
    return redacted(uri) if uri and uri.startswith("http") else workspace.suggest("ui").strip("`")


def print_plan(shown: ShownPlan, power: PowerPlan | None = None, *, as_json: bool) -> None:
    """Print a plan; `power`: also what the seeds can show."""
    from ablate.report import terminal_plan

    if as_json:
        power_document = {} if power is None else {"power": power.document()}
        typer.echo(json.dumps(terminal_plan.document(shown) | power_document))
        return
    for line in terminal_plan.lines(shown, shutil.get_terminal_size().columns):
        typer.echo(line)
    for line in terminal_plan.notes(shown):
        typer.echo(line, err=True)
    if shown.checked:
        typer.echo(shown.checked, err=True)
    for line in () if power is None else power.lines():
        typer.echo(f"{'power':<11} {line}")


def print_error(error: Exception) -> int:
    """Print an error that ended a command, a known one as a line for each problem; returns the exit code.

    An unexpected one is shown with its traceback, without the passwords of addresses.
    """
    import traceback

    from ablate.scheduler.retry import RetryTimeout
    from ablate.study import InputError, StoreUnavailable  # imports pydantic, which --help does not need
    from ablate.untrusted.addresses import redacted

    if isinstance(error, InputError):
        for problem in error.problems:
            typer.echo(f"error: {problem}", err=True)
        return EXIT_USAGE
    if isinstance(error, RetryTimeout):
        typer.echo(f"error: {error}", err=True)
    elif isinstance(error, StoreUnavailable):
        typer.echo(f"error: the store does not answer: {error}", err=True)
    else:
        typer.echo(redacted("".join(traceback.format_exception(error))), err=True, nl=False)
    return EXIT_FAILED
