"""Blocks as LaTeX for pdflatex, every table a file to \\input: a short paper in two columns, and all of the report."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.resources import files
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from ablate.report.blocks import (
    Badge,
    Block,
    Bullets,
    Code,
    Heading,
    Link,
    Listing,
    Paragraph,
    Picture,
    Span,
    Strong,
    Table,
    slug,
)
from ablate.report.latex_text import escape
from ablate.report.tables import Cell, TextTable

SECTIONS = {2: "section", 3: "subsection"}
# Estimated widths in characters: a line of portrait A4 holds about 100 in \small. A table wider than LINE gets narrower
# columns, with intervals below their means. If it is then still wider than LANDSCAPE, shrinking would make it
# unreadable, and the page is turned.
LINE, LANDSCAPE = 105, 145
WRAP, WRAP_FEW, WRAP_NARROW = 26, 64, 18  # width of a column of words: usual, in a table of few columns, in a wide one
HEADER = 10  # smallest width of a header
PIECE = 16  # characters between two possible breaks of a long word
COLUMN = 55  # characters of a column of two
# Of the paper: its tables with their captions, its pictures, and how much of both fits on four pages.
PAPER_TABLES = {
    "earns": "Differences beside the costs that they add.",
    "matrix": "Scores of every arm, and differences to the baseline.",
    "comparisons": "Hypotheses and their verdicts.",
    "controls": "Controls: what remains of a gain beside each.",
}
PAPER_PICTURES = ("differences", "factor_", "design_", "cost", "learning_curves")
PAPER_ROWS, MOST_PICTURES = 60, 6
LONG = 45  # a table with more rows does not fit on a page


class _Shape(NamedTuple):
    words: int
    stacked: bool


# Scales a table to at most the width of the line, then to at most the height that a page has beside a caption.
FIT = "{\\setbox0=\\hbox{\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%"
FITTED = "}}\\ifdim\\dimexpr\\ht0+\\dp0\\relax>0.85\\vsize\\resizebox*{!}{0.85\\vsize}{\\box0}\\else\\box0\\fi}"


def render(blocks: Iterable[Block]) -> str:
    """The document; its tables are `tables/<name>.tex`, its pictures `figures/<file>`."""
    return _document("preamble.tex", (_block(block) for block in blocks))


def paper(blocks: Iterable[Block]) -> str:
    """The first screen, and the tables and figures of what is claimed, in two columns on at most four pages."""
    return _document("paper.tex", (_paper_block(block) for block in _for_paper(blocks)))


def _document(preamble: str, body: Iterable[str]) -> str:
    start = files("ablate.report").joinpath("templates", preamble).read_text(encoding="utf-8")
    text = "\n\n".join(body)
    return f"{start}\n\\begin{{document}}\n\n{text}\n\n\\end{{document}}\n"


def _for_paper(blocks: Iterable[Block]) -> list[Block]:
    """The blocks that a paper has room for: text of the first screen, few tables and figures of the sections named."""
    kept: list[Block] = []
    title, rows, pictures = "", 0, 0
    page = list(blocks)
    for block, following in zip_longest(page, page[1:]):
        if isinstance(block, Heading) and block.level > 1:
            title = block.text
        elif isinstance(block, Table):
            length = len(block.table.rows) + 2
            if block.name in PAPER_TABLES and rows + length <= PAPER_ROWS:
                kept.append(block)
                rows += length
        elif isinstance(block, Picture):
            if block.file.partition(".")[0].startswith(PAPER_PICTURES) and pictures < MOST_PICTURES:
                kept.append(block)
                pictures += 1
        elif isinstance(block, Paragraph) and not title:
            spans = tuple(span for span in block.spans if not isinstance(span, Link))  # to a section that is left out
            if not isinstance(following, Table) or len(spans) > 1:  # else the heading of a table, which has a caption
                kept.append(replace(block, spans=spans))
        elif not title:
            kept.append(block)
    return kept


def _paper_block(block: Block) -> str:
    if not isinstance(block, Table):
        return _block(block)
    star = "*" if width(block.table) > COLUMN else ""
    caption = PAPER_TABLES[block.name]
    source = f"\\input{{tables/{block.name}}}"
    return f"\\begin{{table{star}}}[tbp]\\centering\\small\n\\caption{{{caption}}}\n{source}\n\\end{{table{star}}}"


def write_tables(blocks: Iterable[Block], folder: Path) -> None:
    """`<name>.tex` for every table."""
    folder.mkdir(exist_ok=True)
    for block in blocks:
        if isinstance(block, Table):
            (folder / f"{block.name}.tex").write_text(tabular(block.table), encoding="utf-8", newline="\n")


def tabular(table: TextTable) -> str:
    """A booktabs table, shrunk where it is wider than the line; of many rows, a longtable."""
    shape = _shape(table)
    sides = "".join("l" if table.is_word(column) else "r" for column in range(len(table.header)))
    columns = range(len(table.header))
    head = _row([_lines(_header_lines(table, i, shape), "b", sides[i]) for i in columns])
    rows = [
        _row([_cell(row[i], _cell_lines(table, i, row[i].text, shape), sides[i]) for i in columns])
        for row in table.rows
    ]
    if shape.stacked:  # rows of several lines are set further apart
        rows = [f"{row}[2pt]" for row in rows]
    if len(rows) > LONG:
        start = [f"\\begin{{longtable}}{{@{{}}{sides}@{{}}}}", "\\toprule", head, "\\midrule", "\\endhead"]
        return "\n".join(["% needs booktabs and longtable", *start, *rows, "\\bottomrule", "\\end{longtable}", ""])
    start = [f"\\begin{{tabular}}{{@{{}}{sides}@{{}}}}", "\\toprule", head, "\\midrule"]
    return "\n".join(
        ["% needs booktabs and graphicx", FIT, *start, *rows, "\\bottomrule", "\\end{tabular}", FITTED, ""]
    )


def width(table: TextTable) -> int:
    """Width in characters of the table that `tabular` makes, with two characters between columns."""
    return _width(table, _shape(table))


def _spans(content: Iterable[Span]) -> str:
    return "".join(_span(span) for span in content).strip()


def _block(block: Block) -> str:
    match block:
        case Heading(title, level):
            return _heading(title, level)
        case Paragraph(content):
            return _spans(content)
        case Bullets(items, plain=True):
            return "\n\n".join(_spans(item) for item in items)
        case Bullets(items):
            lines = [f"\\item {{}}{_spans(item)}" for item in items]
            return "\n".join(["\\begin{itemize}", *lines, "\\end{itemize}"])
        case Table():
            return _table(block)
        case Picture(file, caption):
            return f"\\drawing{{figures/{file.removesuffix('.png')}.pdf}}{{{escape(caption)}}}"
        case Listing(text):
            lines = [escape(line) for line in text.splitlines()]
            return "\\begin{quote}\\ttfamily\\raggedright\n" + "\\\\\n".join(lines) + "\n\\end{quote}"


def _heading(title: str, level: int) -> str:
    target = (
        f"\\phantomsection\\hypertarget{{{'top' if level == 1 else slug(title)}}}{{}}"  # a section may have its name
    )
    if level == 1:
        return f"{target}{{\\LARGE\\bfseries {escape(title)}\\par}}"
    return f"{target}\\{SECTIONS.get(level, 'subsubsection')}*{{{escape(title)}}}"


def _table(block: Table) -> str:
    caption = f"\\caption*{{{escape(block.caption)}}}\n" if block.caption else ""
    source = f"\\input{{tables/{block.name}}}"
    if len(block.table.rows) > LONG:
        return f"{{\\small\n{escape(block.caption)}\n\n{source}}}"
    floating = f"\\begin{{table}}[H]\\centering\\small\n{caption}{source}\n\\end{{table}}"
    if width(block.table) > LANDSCAPE:
        return f"\\begin{{landscape}}\n{floating}\n\\end{{landscape}}"
    return floating


def _span(span: Span) -> str:
    match span:
        case Strong(words):
            return f"\\textbf{{{escape(words)}}}"
        case Badge(words):
            return f"\\badge{{{escape(words)}}}"
        case Code(words):
            return f"\\texttt{{{_breakable(words)}}}"
        case Link(words, href):
            command = f"\\hyperlink{{{href[1:]}}}" if href.startswith("#") else "\\texttt"
            return f"{command}{{{escape(words)}}}"
        case str():
            return escape(span)


def _breakable(words: str) -> str:
    """Allows line breaks inside a long word, such as a digest."""
    pieces = [words[i : i + PIECE] for i in range(0, len(words), PIECE)]
    return "\\allowbreak{}".join(map(escape, pieces)) if " " not in words else escape(words)


def _row(cells: Sequence[str]) -> str:
    """One row. LaTeX would read a first cell that begins with [ or * as an argument of the line break before it."""
    line = " & ".join(cells)
    return ("{}" if line[:1] in ("[", "*") else "") + line + " \\\\"


def _cell(cell: Cell, lines: Sequence[str], side: str) -> str:
    text = _lines(lines, "t", side)
    return f"\\textbf{{{text}}}" if cell.strong else f"\\textit{{{text}}}" if cell.faint else text


def _lines(lines: Sequence[str], at: str, side: str) -> str:
    escaped = [escape(line) for line in lines]
    if len(escaped) <= 1:
        return "".join(escaped)
    inner = "\\\\".join(("{}" if line[:1] in ("[", "*") else "") + line for line in escaped)
    return f"\\begin{{tabular}}[{at}]{{@{{}}{side}@{{}}}}{inner}\\end{{tabular}}"


def _shape(table: TextTable) -> _Shape:
    wide = _Shape(words=WRAP if len(table.header) > 3 else WRAP_FEW, stacked=False)
    return wide if _width(table, wide) <= LINE else _Shape(words=WRAP_NARROW, stacked=True)


def _width(table: TextTable, shape: _Shape) -> int:
    columns = range(len(table.header))
    return sum(max(map(len, [*_header_lines(table, i, shape), *_body(table, i, shape)])) + 2 for i in columns)


def _cell_lines(table: TextTable, column: int, text: str, shape: _Shape) -> list[str]:
    """Words are wrapped. Numbers are not, but an interval may move below its mean."""
    if table.is_word(column):
        return textwrap.wrap(text, shape.words) or [""]
    return text.replace(" [", "\n[").split("\n") if shape.stacked else [text]


def _body(table: TextTable, column: int, shape: _Shape) -> list[str]:
    return [line for row in table.rows for line in _cell_lines(table, column, row[column].text, shape)]


def _header_lines(table: TextTable, column: int, shape: _Shape) -> list[str]:
    """A header is wrapped to the width of its column, but to no less than its longest word."""
    text = table.header[column]
    widest = max([*map(len, _body(table, column, shape)), *map(len, text.split()), HEADER])
    return textwrap.wrap(text, widest, break_long_words=False) or [""]
