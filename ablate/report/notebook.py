"""A study as a notebook shows it: question, verdicts, matrix, as Markdown and as HTML. Computes nothing."""

from __future__ import annotations

import warnings
from html import escape
from io import BytesIO

from matplotlib.figure import Figure

from ablate.analysis.short_answer import short_verdicts
from ablate.analysis.study_analysis import Analysis
from ablate.report import markdown, style
from ablate.report.blocks import Block, Heading, Table, paragraph
from ablate.report.tables import Cell, Column, TextTable, text_table
from ablate.report.terminal import caption, result_table

DPI = 160  # of a figure in a notebook


def as_markdown(analysis: Analysis) -> str:
    """Name, question, verdicts and matrix as GitHub Markdown. All text of the study is escaped."""
    blocks: list[Block] = [Heading(analysis.name, 3), paragraph(analysis.question)]
    blocks += [Table(name, table) for name, table in _tables(analysis).items()]
    return markdown.render([*blocks, paragraph(caption(analysis))])


def as_html(analysis: Analysis) -> str:
    """The same as HTML, without style of its own: a notebook has one. All text of the study is escaped."""
    head = f"<h3>{escape(analysis.name)}</h3>\n<p>{escape(analysis.question)}</p>"
    return "\n".join([head, *map(_html, _tables(analysis).values()), f"<p>{escape(caption(analysis))}</p>"])


class NotebookFigure(Figure):
    """A figure that a notebook shows as PNG, whether pyplot is imported or not."""

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        with style.look(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # labels are the study's
            warnings.filterwarnings("ignore", message="constrained_layout not applied")
            self.savefig(buffer, format="png", dpi=DPI)
        return buffer.getvalue()


def for_notebook(drawing: Figure) -> Figure:
    """The same figure, laid out, as one that a notebook shows. To be called within `style.look()`."""
    drawing.__class__ = NotebookFigure
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        warnings.filterwarnings("ignore", message="constrained_layout not applied")
        drawing.draw_without_rendering()  # ticks are made here and not when it is saved, so that they have the look
    return drawing


def _tables(analysis: Analysis) -> dict[str, TextTable]:
    """The verdicts, where hypotheses are declared, and the matrix."""
    verdicts = {"verdicts": _verdicts(analysis)} if analysis.declared else {}
    return {**verdicts, "matrix": result_table(analysis)}


def _verdicts(analysis: Analysis) -> TextTable:
    """One row for each hypothesis: its verdict, and the difference with the interval that the verdict rests on."""
    rows = short_verdicts(analysis)
    columns: list[Column] = [
        ("Hypothesis", [row.claim for row in rows]),
        ("Verdict", [Cell(row.badge, strong=row.badge in ("supported", "refuted")) for row in rows]),
        ("Difference [95 % interval]", [row.difference for row in rows]),
        ("Over", [row.over for row in rows]),
    ]
    return text_table(columns, words=2)


def _html(table: TextTable) -> str:
    sides = ["left" if column < table.words else "right" for column in range(len(table.header))]
    head = "".join(f'<th style="text-align: {s}">{escape(n)}</th>' for n, s in zip(table.header, sides, strict=True))
    rows = "".join(
        "<tr>" + "".join(_html_cell(cell, side) for cell, side in zip(row, sides, strict=True)) + "</tr>\n"
        for row in table.rows
    )
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>"


def _html_cell(cell: Cell, side: str) -> str:
    tag = "strong" if cell.strong else "em" if cell.faint else ""
    text = f"<{tag}>{escape(cell.text)}</{tag}>" if tag else escape(cell.text)
    return f'<td style="text-align: {side}">{text}</td>'
