"""Blocks as GitHub Markdown. Escapes all text."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

from ablate.analysis import numbers
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
)
from ablate.report.tables import Cell, TextTable

# Characters that are markup anywhere, _ where it is not inside a word, ] where it would close a link.
MARKUP = re.compile(r"[\\|*`<&$~]|(?<!\w)_|_(?!\w)|\](?=[(\[:])")
WIDTH = 510  # pixels: the width at which a figure is shown


def render(blocks: Iterable[Block]) -> str:
    """The page, ending in one newline."""
    return "\n\n".join(_block(block) for block in blocks) + "\n"


def text(value: object) -> str:
    """Plain text inside Markdown: one line, with the markup of Markdown and of its tables escaped."""
    return _escaped(" ".join(str(value).split()))


def table(shown: TextTable) -> str:
    """A GitHub table."""
    rule = ["---" if shown.is_word(column) else "---:" for column in range(len(shown.header))]
    lines = [[text(name) for name in shown.header], rule, *([_cell(cell) for cell in row] for row in shown.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def spans(content: Iterable[Span]) -> str:
    """One line of text."""
    return "".join(_span(span) for span in content).strip()


def _block(block: Block) -> str:
    match block:
        case Heading(title, level):
            return f"{'#' * level} {text(title)}"
        case Paragraph(content):
            return _at_line_start(spans(content))
        case Bullets(items):
            return "\n".join(f"- {_at_line_start(spans(item))}" for item in items)
        case Table():
            return _table(block)
        case Picture(file, caption):
            return f'<img src="figures/{file}" width="{WIDTH}" alt="{_attribute(caption)}">'
        case Listing(lines):
            return "\n".join(f"    {line}" for line in lines.splitlines())


def _table(block: Table) -> str:
    drawn = table(block.table)
    if block.folded:
        return f"<details><summary>{_attribute(block.caption)}</summary>\n\n{drawn}\n\n</details>"
    return f"{drawn}\n\n{_at_line_start(text(block.caption))}" if block.caption else drawn


def _span(span: Span) -> str:
    match span:
        case Strong(words):
            return f"**{text(words)}**"
        case Badge(words):
            return f"**{text(numbers.capital(words))}:**"
        case Code(words):
            return _code(" ".join(words.split()))
        case Link(words, href):
            return f"[{text(words)}]({href})"
        case str():
            return _escaped(re.sub(r"\s+", " ", span))


def _code(words: str) -> str:
    """A code span, between more backticks than any run of backticks inside it."""
    longest = max(map(len, re.findall("`+", words)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {words} {fence}" if longest else f"`{words}`"


def _cell(cell: Cell) -> str:
    escaped = text(cell.text)
    return f"**{escaped}**" if cell.strong else f"*{escaped}*" if cell.faint else escaped


def _escaped(words: str) -> str:
    return MARKUP.sub(lambda match: "\\" + match[0], words)


def _at_line_start(line: str) -> str:
    """Escapes the beginning of a line that would be a heading, a quotation or a list."""
    return re.sub(r"^(#{1,6}|>|[-+=]|\d+(?=[.)]))", lambda match: _numbered(match[0]), line)


def _numbered(start: str) -> str:
    return f"{start}\\" if start.isdigit() else f"\\{start}"


def _attribute(words: str) -> str:
    return html.escape(" ".join(words.split()), quote=False).replace('"', "&quot;")
