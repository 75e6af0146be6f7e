"""`ablate init`: parse and print. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(rich_markup_mode=None)


@app.command(epilog='Example:  ablate init --command "python train.py --lr 0.01 --use-x --epochs 10"')
def init(
    command: Annotated[
        str | None,
        typer.Option(metavar='"WORDS"', help="A training command as you type it, in quotes.", show_default=False),
    ] = None,
    function: Annotated[
        str | None, typer.Option(metavar="MODULE:NAME", help="A function train(settings, run).", show_default=False)
    ] = None,
    pose: Annotated[bool, typer.Option("--pose", help="The built-in subject: camera angles from a pose.")] = False,
    out: Annotated[
        Path, typer.Option("--out", metavar="STUDY.toml", help="The file to write; never overwritten.")
    ] = Path("study.toml"),
) -> None:
    """Write a commented study file for what you train, to be edited. Asks nothing and runs nothing.

    The flags of a command become settings; a script's own flags (argparse, click, typer) are read from its source.
    """
    from ablate.commands import init as starting
    from ablate.study import InputError, Problem
    from ablate.untrusted.addresses import command_line

    given = [value for value in (command, function, pose or None) if value is not None]
    if len(given) != 1:
        raise InputError(Problem("init", "", "needs one of --command, --function and --pose"))
    if command is not None:
        name = starting.for_command(command, out)
    elif function is not None:
        name = starting.for_function(function, out)
    else:
        name = starting.for_pose(out)
    typer.echo(out)
    check = command_line(["ablate", "plan", str(out), "--check"])
    typer.echo(f"the study {name}; next: read its comments, then `{check}`", err=True)
