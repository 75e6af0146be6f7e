"""A study's answer and matrix on a terminal. Computes nothing."""

from __future__ import annotations

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ablate.claims import numbers
from ablate.claims.analysis import Analysis, analyse
from ablate.claims.results import Results
from ablate.claims.statistics import estimate
from ablate.pages import tables
from ablate.pages.tables import Cell, TextTable


def print_results(results: Results, console: Console | None = None) -> None:
    """The question, the answer, the matrix, and how many runs are missing."""
    analysis = analyse(results)
    console = console or Console()
    console.print(f"[bold]{escape(analysis.question)}[/bold]")
    for answer in analysis.answers:
        console.print(escape(answer))
    console.print(result_table(analysis))
    if not analysis.tuned:
        console.print("Untuned: no arm's nuisance settings were tuned.")
    if analysis.gaps:
        console.print(f"Failed or missing runs, which count as no number: {len(analysis.gaps)}")


def result_table(analysis: Analysis) -> Table:
    """The report's first table, without the columns that a terminal is too narrow for."""
    baseline = analysis.labels[analysis.baseline]
    table = tables.matrix(analysis)
    kept = [i for i in range(len(table.header)) if (i == 0 or i >= table.words) and table.header[i] != tables.SEEDS]
    narrow = TextTable(tuple(table.header[i] for i in kept), tuple(tuple(row[i] for i in kept) for row in table.rows))
    caption = f"Test data, mean ± 95 % interval over seeds. Δ: paired difference to {baseline} [95 % interval]."
    return _rich(narrow, title=analysis.name, caption=caption)


def print_scores(scores: pd.DataFrame, *, title: str, console: Console | None = None) -> None:
    """Mean ± 95 % interval over seeds of a tidy frame (arm, seed, metric, score): a row an arm, a column a metric."""
    metrics = list(dict.fromkeys(scores.metric))
    estimates = {
        (arm, metric): estimate(rows.score.tolist()) for (arm, metric), rows in scores.groupby(["arm", "metric"])
    }
    places = {m: numbers.decimals(e for (_, metric), e in estimates.items() if metric == m) for m in metrics}
    rows = []
    for arm in dict.fromkeys(scores.arm):
        of_arm = [estimates.get((arm, metric)) for metric in metrics]
        texts = [numbers.score(e, places[m]) if e else numbers.GAP for m, e in zip(metrics, of_arm, strict=True)]
        rows.append((Cell(str(arm)), *map(Cell, texts)))
    (console or Console()).print(_rich(TextTable(("Arm", *metrics), tuple(rows)), title=title, caption=""))


def _rich(table: TextTable, *, title: str, caption: str) -> Table:
    shown = Table(title=escape(title), caption=escape(caption) or None, title_justify="left", caption_justify="left")
    for place, name in enumerate(table.header):
        shown.add_column(escape(name), justify="left" if place < table.words else "right")
    for row in table.rows:
        shown.add_row(*(_styled(cell) for cell in row))
    return shown


def _styled(cell: Cell) -> str:
    text = escape(cell.text)
    return f"[bold]{text}[/bold]" if cell.strong else f"[dim]{text}[/dim]" if cell.faint else text
