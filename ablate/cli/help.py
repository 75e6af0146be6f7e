"""What `--help` shows of a group: the whole first sentence of every command, and examples. Imports nothing heavy."""

from __future__ import annotations

from typing import Any

import typer
from typer.main import get_command

WIDEST = 10_000  # characters of a sentence: none is cut


def with_summaries(app: typer.Typer) -> Any:
    """The command of the app, whose groups list every command by its whole first sentence."""
    command = get_command(app)
    _add_summaries(command)
    return command


def _add_summaries(group: Any) -> None:
    for command in getattr(group, "commands", {}).values():
        command.short_help = command.get_short_help_str(WIDEST)
        _add_summaries(command)
