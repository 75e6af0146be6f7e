"""What `ablate evaluate` prints: progress while models are scored, then a table as after `ablate run`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console

from ablate.analysis import numbers
from ablate.analysis.costs import label
from ablate.analysis.external import external_tables
from ablate.analysis.results import Results
from ablate.report import tables_claims
from ablate.report.terminal import print_table

PLAIN_EVERY_SECONDS = 5.0  # between two lines where there is no terminal


@contextmanager
def counted(console: Console | None = None) -> Iterator[Callable[[int, int, str], None]]:
    """A function to call with the runs done, all runs and the present one; shows them on stderr."""
    console = console or Console(stderr=True)
    with console.status("reading the study and its data") if console.is_terminal else nullcontext() as status:
        printed = time.monotonic()

        def show(done: int, total: int, run: str) -> None:
            nonlocal printed
            text = f"{done} of {total} runs scored" + (f", now {run}" if run else "")
            if status is not None:
                status.update(text)
            elif done == total or time.monotonic() - printed > PLAIN_EVERY_SECONDS:
                printed = time.monotonic()
                console.print(text, markup=False, highlight=False, soft_wrap=True)

        yield show


def print_scores(results: Results, name: str, console: Console | None = None) -> None:
    """The report's table of one external test, with what its numbers are."""
    table = next(found for found in external_tables(results) if found.name == name)
    baseline = label(results, results.study.baseline)
    note = numbers.capital(table.note)
    caption = f"Mean ± 95 % interval over seeds. Δ: paired difference to {baseline}. Exploratory. {note}".strip()
    examples = f", {table.examples:,} examples" if table.examples else ""
    print_table(console or Console(), tables_claims.external(table).table, title=f"{name}{examples}", caption=caption)
