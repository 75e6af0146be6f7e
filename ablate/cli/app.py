"""The command line: parse, call one function, print. Imports nothing heavy. Answers go to stdout, notes to stderr."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from ablate.cli import adopted, init, output, store
from ablate.cli.encoding import use_plain_signs
from ablate.cli.help import with_summaries
from ablate.cli.options import DataRoot, Device, Json, Rehash, Reports, Storage, Store, StudyFile, StudyName, Trust, Uri

if TYPE_CHECKING:
    from ablate.scheduler.loaded_study import LoadedStudy

EXAMPLES = """\b
Examples:
  ablate run quick                               a small study and its report
  ablate init --command "python train.py --lr 1" a study file for your script
  ablate plan study.toml --check                 is it right? what would run?
  ablate run study.toml                          tunes, trains and reports
  ablate status study.toml                       how far is it?
  ablate compare study hybrid existing           two arms, seed by seed
  ablate list                                    the studies of the store
  ablate ui                                      the same runs in MLflow"""

app = typer.Typer(
    name="ablate",
    help="Does the added part earn its parameters? Tuned, paired, tracked ablation studies.",
    epilog=EXAMPLES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # importing rich would double the time that --help takes
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(adopted.app)
app.add_typer(init.app)
app.add_typer(store.app)


def _print_version(asked: bool) -> None:
    if asked:
        from ablate import __version__

        typer.echo(f"ablate {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    pass


@app.command(epilog="Example:  ablate run studies/controls_factorial.toml --data-root ~/data --workers 2")
def run(
    study: StudyFile,
    only: Annotated[list[str] | None, typer.Option(metavar="ARM[:SEED]", help="Only these cells; repeatable.")] = None,
    rerun: Annotated[str | None, typer.Option(metavar="ARM|failed|stale", help="Do these finished runs again.")] = None,
    smoke: Annotated[bool, typer.Option("--smoke", help="One tiny pass through every arm; records nothing.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes at once. Default: cores / threads.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of a run by a command or a function.")] = 1,
    device: Device = "auto",
    scheduler: Annotated[
        str | None, typer.Option(metavar="tcp://HOST:PORT", envvar="ABLATE_SCHEDULER", help="Run on this Dask cluster.")
    ] = None,
    mlruns: Store = Path("mlruns"),
    tracking_uri: Uri = None,
    storage: Storage = None,
    data_root: DataRoot = None,
    reports: Reports = Path("reports"),
    stall_after: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="Replace a worker that gives no sign of life for so long.")
    ] = 1800.0,
    patience: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Wait so long for a store or a disk that fails.")
    ] = 120.0,
    rehash: Rehash = False,
    as_json: Json = False,
) -> None:
    """Tune every arm, train it with every seed, record all in MLflow and write the report.

    The same command again does nothing, or continues a study that was stopped. Ctrl-C stops the runs where they can
    go on later, a second Ctrl-C at once. SIGTERM ends everything within 10 s. Exit code 1 when a run failed or the
    study was stopped.
    """
    from ablate.cli.progress import ProgressView
    from ablate.commands import run as runs
    from ablate.scheduler.loaded_study import load
    from ablate.scheduler.workspace import Workspace
    from ablate.trainers.print_capture import stdout_to_stderr

    if smoke and (only or rerun is not None):
        _refuse("--smoke", "goes through every arm and records nothing: leave out --only and --rerun")
    workspace = Workspace(mlruns, reports, tracking_uri, data_root, device, workers, threads, storage=storage)
    workspace = replace(workspace, stall_after=stall_after, patience_s=patience, scheduler=scheduler)
    with stdout_to_stderr(), output.stop_message(), ProgressView() as view:
        view.step(f"preparing {study}: reading the study, its data and what is done")
        loaded = load(study, workspace, rehash=rehash)
        if smoke:
            outcome = runs.smoke(loaded, workspace, view)
        else:
            records = workspace.reader().records(loaded.study.name)
            outcome = runs.run(loaded, workspace, view, records, only=only, rerun=rerun, command=_command(loaded))
    output.print_outcome(outcome, None if smoke else loaded.study.name, workspace, as_json=as_json, file=study)


@app.command(epilog="Example:  ablate plan studies/quick.toml --check")
def plan(
    study: StudyFile,
    check: Annotated[bool, typer.Option("--check", help="Also import and build every arm's components.")] = False,
    difference: Annotated[
        float | None, typer.Option(help="A true improvement: how many seeds would it take to show it?")
    ] = None,
    mlruns: Store = Path("mlruns"),
    tracking_uri: Uri = None,
    data_root: DataRoot = None,
    rehash: Rehash = False,
    as_json: Json = False,
) -> None:
    """Print what would run, what is done, and what the study's seeds can show. Runs and creates nothing."""
    if difference is not None and not abs(difference) < float("inf"):
        _refuse("--difference", "must be a number")
    from ablate.commands import plan as plans
    from ablate.scheduler.workspace import Workspace
    from ablate.trainers.print_capture import stdout_to_stderr

    workspace = Workspace(mlruns, tracking_uri=tracking_uri, data_root=data_root)
    with stdout_to_stderr():
        shown, power = plans.plan(study, workspace, check=check, difference=difference, rehash=rehash)
    output.print_plan(shown, power, as_json=as_json)


@app.command(epilog="Example:  ablate status studies/quick.toml --json")
def status(
    study: StudyFile,
    mlruns: Store = Path("mlruns"),
    tracking_uri: Uri = None,
    data_root: DataRoot = None,
    rehash: Rehash = False,
    as_json: Json = False,
) -> None:
    """Show every comparison run: done, failed (and why), running, missing. Exit code 1 unless all are done.

    A run that was stopped is "interrupted", one that needs the result of its arm's tuning is "waiting". On a server a
    run is "running" if its `ablate run` uses this `mlruns` folder, and "interrupted" if it uses another. A finished run
    of other data or settings than the study asks for now is "outdated" and does not count; how many were made by other
    code is said at the end.
    """
    from ablate.commands import plan as plans
    from ablate.report import terminal_plan
    from ablate.scheduler.workspace import Workspace
    from ablate.trainers.print_capture import stdout_to_stderr

    workspace = Workspace(mlruns, tracking_uri=tracking_uri, data_root=data_root)
    with stdout_to_stderr():
        shown = plans.status(study, workspace, rehash=rehash)
    output.print_plan(shown, as_json=as_json)
    if any(cell.state != "done" for cell in terminal_plan.cells(shown)):
        raise typer.Exit(output.EXIT_FAILED)


@app.command("list", epilog="Example:  ablate list --mlruns ~/project/mlruns")
def list_(mlruns: Store = Path("mlruns"), tracking_uri: Uri = None, as_json: Json = False) -> None:
    """List the studies of a store: what they ask, how many runs are done or failed, and when they last changed."""
    import shutil

    from ablate.commands import studies
    from ablate.report import terminal_list
    from ablate.scheduler.workspace import Workspace

    found = studies.studies(Workspace(mlruns, tracking_uri=tracking_uri))
    if as_json:
        typer.echo(json.dumps(terminal_list.document(found)))
        return
    for line in terminal_list.lines(found, shutil.get_terminal_size().columns):
        typer.echo(line)


@app.command(epilog="Example:  ablate report quick --format md,html")
def report(
    study: StudyName,
    formats: Annotated[
        str, typer.Option("--format", metavar="md,html,tex,csv,json,png,svg,pdf", help="Formats, with commas between.")
    ] = "md",
    mlruns: Store = Path("mlruns"),
    tracking_uri: Uri = None,
    reports: Reports = Path("reports"),
    trust: Trust = None,
) -> None:
    """Write reports/STUDY/ again, from the store alone. The same store gives the same bytes."""
    from ablate.commands import report as reporting
    from ablate.scheduler.loaded_study import study_name
    from ablate.scheduler.workspace import Workspace, shown_path
    from ablate.study.trust import accept_packages

    accept_packages(trust or [])
    names = list(dict.fromkeys(name.strip() for name in formats.split(",")))
    workspace = Workspace(mlruns, reports, tracking_uri)
    for path in reporting.report(study_name(study), workspace, names):
        typer.echo(shown_path(path))


@app.command(epilog="Example:  ablate compare quick hybrid existing --metric azimuth_mae_deg")
def compare(
    study: StudyName,
    arm_a: Annotated[str, typer.Argument(metavar="ARM_A", show_default=False, help="An arm of the study.")],
    arm_b: Annotated[str, typer.Argument(metavar="ARM_B", show_default=False, help="The arm it is compared with.")],
    metric: Annotated[
        list[str] | None, typer.Option(metavar="METRIC", help="Repeatable. Default: the study's.", show_default=False)
    ] = None,
    mlruns: Store = Path("mlruns"),
    tracking_uri: Uri = None,
    as_json: Json = False,
) -> None:
    """Compare two arms seed by seed: differences, interval, effect size, p, people, and the declared verdict."""
    from ablate.commands.report import compare as compare_arms
    from ablate.report import terminal_compare
    from ablate.scheduler.loaded_study import study_name
    from ablate.scheduler.workspace import Workspace

    name = study_name(study)
    comparisons = compare_arms(name, Workspace(mlruns, tracking_uri=tracking_uri), arm_a, arm_b, metric or [])
    if as_json:
        typer.echo(terminal_compare.document(name, comparisons))
    else:
        terminal_compare.print_comparisons(name, comparisons)


@app.command(epilog="Example:  ablate evaluate elepose_fusion --data ~/data/balancing.npz")
def evaluate(
    study: StudyName,
    data: Annotated[Path, typer.Option("--data", help="A file the study has not seen: path, or name in --data-root.")],
    name: Annotated[str | None, typer.Option(help="Name of the recorded scores. Default: the file's.")] = None,
    factory: Annotated[
        str | None, typer.Option(metavar="MODULE:ATTRIBUTE", help="The factory that reads the file. Default: detected.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Also write the scores as CSV.")] = None,
    device: Device = "auto",
    mlruns: Store = Path("mlruns"),
    tracking_uri: Uri = None,
    data_root: DataRoot = None,
    trust: Trust = None,
    as_json: Json = False,
) -> None:
    """Score a study's stored models on other data, an external test, and record the scores for its report.

    All examples of the file are scored with every metric, changed for each arm as its control says. A second test of
    the same name replaces the scores of the first. Components that STUDY.toml names are imported, as `ablate run` does;
    of those that only the store names, those of installed subjects and of trusted packages.
    """
    from ablate.cli.progress_count import ProgressCount
    from ablate.commands import evaluate
    from ablate.report import terminal
    from ablate.scheduler.workspace import Workspace, check_file
    from ablate.study.trust import accept_packages
    from ablate.trainers.print_capture import stdout_to_stderr

    accept_packages(trust or [])
    if out:
        check_file("--out", out)
        out = out.absolute()  # a component may change the working folder
    workspace = Workspace(mlruns, Path("reports"), tracking_uri, data_root, device)
    with stdout_to_stderr(), ProgressCount("runs scored", print_last=True) as progress:
        test = evaluate.evaluate(study, workspace, data, name=name, factory=factory, progress=progress)
    if out:
        test.scores.to_csv(out, index=False, lineterminator="\n")
    for note in test.notes:
        typer.echo(f"note: {note}", err=True)
    if as_json:
        typer.echo(json.dumps(test.plain()))
    else:
        terminal.print_external(test.results, test.name)
        shows = workspace.suggest("report", test.study)
        typer.echo(f"recorded as external/{test.name}/…; {shows} shows it", err=True)


@app.command(epilog="Example:  ablate ui quick --port 5001")
def ui(
    study: Annotated[
        str | None, typer.Argument(metavar="STUDY", help="Study file or name. Default: worked on last.")
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 5000,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
    mlruns: Store = Path("mlruns"),
    tracking_uri: Uri = None,
) -> None:
    """Open the MLflow UI of the store, on 127.0.0.1, at the comparison of a study's arms. Ctrl-C ends it.

    The comparison is written into the store first where the study's runs have changed since. Of an MLflow server the
    address of its page is printed.
    """
    from ablate.commands import ui
    from ablate.scheduler.workspace import Workspace

    workspace = Workspace(mlruns, tracking_uri=tracking_uri)
    ui.serve_ui(workspace, port, lambda text: typer.echo(text, err=True), study=study, browser=browser)


def _refuse(option: str, rule: str) -> NoReturn:
    from ablate.study import InputError, Problem

    raise InputError(Problem(option, "", rule))


def _command(loaded: LoadedStudy) -> str:
    """The command that the person typed, without passwords; with the folder of the data where a variable named it."""
    from ablate.untrusted.addresses import command_line

    words, folder = ["ablate", *sys.argv[1:]], os.environ.get("ABLATE_DATA")
    reads_file = loaded.study.trainer == "built-in" and any(loaded.digests.values())
    if folder and reads_file and not any(word.partition("=")[0] == "--data-root" for word in words):
        words += ["--data-root", folder]
    return command_line(words)


@cache
def _commands() -> Any:
    """All commands, those of the installed subjects too. Where one cannot be imported, the others still work.

    Made once a process: a second `add_typer` of the same commands would keep them twice.
    """
    for entry in sorted(entry_points(group="ablate.commands"), key=lambda e: e.name):
        try:
            app.add_typer(entry.load())
        except Exception as error:
            typer.echo(f"commands of {entry.name} are not available: {error}", err=True)
    return with_summaries(app)


def main() -> NoReturn:
    """The console script: known errors are printed as one message, without a traceback."""
    use_plain_signs(sys.stdout, sys.stderr)
    commands = _commands()
    try:
        commands(standalone_mode=True)
    except Exception as error:
        sys.exit(output.print_error(error))
    sys.exit(0)
