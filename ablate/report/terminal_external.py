"""The table that `ablate evaluate` prints: scores on external data."""

from __future__ import annotations

from rich.console import Console

from ablate.analysis import numbers
from ablate.analysis.costs import label
from ablate.analysis.external import external_tables
from ablate.analysis.results import Results
from ablate.report import tables_claims
from ablate.report.terminal import print_table


def print_scores(results: Results, name: str, console: Console | None = None) -> None:
    """Print the report's table of one external test, with a caption that explains the numbers."""
    table = next(table for table in external_tables(results) if table.name == name)
    baseline = label(results, results.study.baseline)
    note = numbers.capital(table.note)
    caption = f"Mean ± 95 % interval over seeds. Δ: paired difference to {baseline}. Exploratory. {note}".strip()
    examples = f", {table.examples:,} examples" if table.examples else ""
    print_table(console or Console(), tables_claims.external(table).table, title=f"{name}{examples}", caption=caption)
