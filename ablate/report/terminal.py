"""A study's verdicts and matrix on a terminal, and a test on other data. Computes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.style import Style
from rich.table import Table
from rich.text import Text

from ablate.analysis import numbers
from ablate.analysis.answer import FOR_SETTINGS
from ablate.analysis.costs import label
from ablate.analysis.external import external_tables
from ablate.analysis.phrasing import quoted
from ablate.analysis.records import SPLITS
from ablate.analysis.results import Results
from ablate.analysis.short_answer import Badge, ShortVerdict, short_verdicts
from ablate.analysis.study_analysis import Analysis, analyse
from ablate.analysis.verdicts import DECLARED
from ablate.report import tables_claims, tables_results
from ablate.report.tables import Cell, TextTable

# In the colours of the page (page.css) and of the card.
BADGES: Mapping[Badge, Style] = {
    "supported": Style(color="black", bgcolor="green", bold=True),
    "refuted": Style(color="white", bgcolor="red", bold=True),
    "too few seeds": Style(color="black", bgcolor="yellow", bold=True),
}
OTHER_BADGE = Style(reverse=True)


def new_console() -> Console:
    """Stdout. No part of a text is coloured for being a number."""
    return Console(highlight=False)


def print_results(results: Results, console: Console | None = None) -> None:
    """The question, a badge for each hypothesis or else the answer, the matrix, missing runs and the warnings."""
    analysis = analyse(results)
    console = console or new_console()
    console.print(f"[bold]{escape(analysis.question)}[/bold]")
    if analysis.declared:
        console.print(badges(short_verdicts(analysis)))
    else:
        for answer in analysis.answers:
            console.print(escape(answer))
    print_table(console, result_table(analysis), title=analysis.name, caption=caption(analysis))
    if analysis.gaps:
        console.print(f"Failed or missing runs, which count as no number: {len(analysis.gaps)}")
    for warning in analysis.warnings:
        console.print(f"[bold]Warning.[/bold] {escape(warning)}")


def badges(verdicts: Sequence[ShortVerdict]) -> Table:
    """A badge and a claim with its difference for each hypothesis; why there is no verdict, where there is none."""
    shown = Table.grid(padding=(0, 1))
    shown.add_column(no_wrap=True)
    shown.add_column(overflow="fold")
    width = max((len(v.badge) for v in verdicts), default=0)
    judged = []
    for v in verdicts:
        p = "" if v.comparison.p_adjusted is None else f", p {numbers.p_value(v.comparison.p_adjusted)}"
        badge = Text(f" {v.badge.upper():<{width}} ", style=BADGES.get(v.badge, OTHER_BADGE))
        shown.add_row(badge, Text.assemble((f"{v.claim}: ", "bold"), f"{v.difference}{p}, {v.over}"))
        if v.comparison.verdict == "no verdict":
            shown.add_row("", Text(v.comparison.reason, style="dim"))
        else:
            judged.append(v.comparison.reason)
    for note in (FOR_SETTINGS, DECLARED):
        if judged and all(reason.endswith(note) for reason in judged):
            shown.add_row("", Text(numbers.capital(note), style="dim"))
    return shown


def result_table(analysis: Analysis) -> TextTable:
    """The report's first table without its columns of words (other than the arm) and of runs."""
    table = tables_results.matrix(analysis).table
    columns = [
        i
        for i in range(len(table.header))
        if i == 0 or not (table.is_word(i) or table.header[i] == tables_results.SEEDS)
    ]
    return _select(table, columns)


def print_external(results: Results, name: str) -> None:
    """The report's table of one test on other data, with a caption that explains the numbers."""
    table = next(table for table in external_tables(results) if table.name == name)
    baseline, note = label(results, results.study.baseline), numbers.capital(table.note)
    scores = "Mean ± 95 % interval over seeds." if any(row.runs > 1 for row in table.rows) else "Of one seed."
    caption = f"{scores} Δ: paired difference to {quoted(baseline)}. Exploratory. {note}".strip()
    examples = f", {table.examples:,} examples" if table.examples else ""
    print_table(new_console(), tables_claims.external(table).table, title=f"{name}{examples}", caption=caption)


def print_table(console: Console, table: TextTable, *, title: str, caption: str = "") -> None:
    """Print the table without breaking a number. One that is too wide becomes two: scores, then differences (Δ).

    If that is still too wide, columns are left out from the right and named below.
    """
    numbers = range(table.words, len(table.header))
    differences = [i for i in numbers if table.header[i].startswith("Δ")]
    scores = [i for i in numbers if i not in differences]
    words = list(range(table.words))
    fits = _width(table) <= console.width or not (differences and scores)
    parts = [[*words, *numbers]] if fits else [[*words, *scores], [*words, *differences]]
    left_out: list[str] = []
    for index, columns in enumerate(parts):
        while _width(_select(table, columns)) > console.width and len(columns) > table.words + 1:
            left_out.insert(0, table.header[columns.pop()])
        last = index == len(parts) - 1
        part = _select(table, columns)
        console.print(rich_table(part, title="" if index else title, caption=caption if last else ""))
    if left_out:
        console.print(f"Too wide for this terminal: {escape(', '.join(left_out))}", style="dim")


def rich_table(table: TextTable, *, title: str, caption: str) -> Table:
    """The table for a terminal: words wrap, numbers do not."""
    shown = Table(
        title=escape(title) or None, caption=escape(caption) or None, title_justify="left", caption_justify="left"
    )
    for column, name in enumerate(table.header):
        if column < table.words:
            shown.add_column(escape(name), justify="left", overflow="fold")
        else:
            shown.add_column(escape(name), justify="right", width=_column_width(table, column))
    for row in table.rows:
        shown.add_row(*(_styled(cell) for cell in row))
    return shown


def caption(analysis: Analysis) -> str:
    """What the numbers of the matrix are."""
    baseline = analysis.labels[analysis.baseline]
    data = numbers.capital(SPLITS[analysis.split])
    if len(analysis.seeds) == 1:
        return f"{data} data, one seed. Δ: difference to {quoted(baseline)}."
    return f"{data} data, mean ± 95 % interval over seeds. Δ: paired difference to {quoted(baseline)} [95 % interval]."


def _select(table: TextTable, columns: Sequence[int]) -> TextTable:
    words = sum(i < table.words for i in columns)
    rows = tuple(tuple(row[i] for i in columns) for row in table.rows)
    return TextTable(tuple(table.header[i] for i in columns), rows, words)


def _width(table: TextTable) -> int:
    """Smallest width of the table in characters, with rich's frame: a space on either side of a cell and a line."""
    return sum(_column_width(table, column) + 3 for column in range(len(table.header))) + 1


def _column_width(table: TextTable, column: int) -> int:
    """Width of the widest number, or of the longest word in a column of words; a header may wrap at its spaces."""
    cells = [row[column].text for row in table.rows]
    parts = [word for text in cells for word in text.split()] if column < table.words else cells
    return max(map(cell_len, [*parts, *table.header[column].split()]), default=1)


def _styled(cell: Cell) -> str:
    text = escape(cell.text)
    return f"[bold]{text}[/bold]" if cell.strong else f"[dim]{text}[/dim]" if cell.faint else text
