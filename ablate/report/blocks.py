"""The parts of a page before any format: headings, paragraphs, tables, pictures. Knows no study and no format."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ablate.report.tables import TextTable

Plain = str | float | int | bool | None
Record = Mapping[str, Plain]


@dataclass(frozen=True)
class Strong:
    """Words in bold."""

    text: str


@dataclass(frozen=True)
class Code:
    """Words set as code."""

    text: str


@dataclass(frozen=True)
class Link:
    """`href` is `#` and a heading's slug, or a file beside the page."""

    text: str
    href: str


Span = str | Strong | Code | Link  # all of them plain text: the formats escape what they show


@dataclass(frozen=True)
class Heading:
    """`level` 1 is the page's title."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """`serious`: a warning."""

    spans: tuple[Span, ...]
    serious: bool = False


@dataclass(frozen=True)
class Bullets:
    """A list; every item is a line of spans."""

    items: tuple[tuple[Span, ...], ...]


@dataclass(frozen=True)
class Table:
    """A table as a person reads it, and as a program does.

    `name` is a slug and names the files of the table, `tables/<name>.tex` and `.csv`. `records` are the same facts
    with full precision, a fact a row; without them the CSV has the text. `folded`: shown on demand, under its caption.
    """

    name: str
    table: TextTable
    caption: str = ""
    folded: bool = False
    records: tuple[Record, ...] = ()


@dataclass(frozen=True)
class Picture:
    """`file` is its name in `figures/`. `records` are the numbers drawn, where no table of the page has them."""

    file: str
    caption: str
    name: str = ""  # slug of the records' CSV
    records: tuple[Record, ...] = ()


@dataclass(frozen=True)
class Listing:
    """Lines set as code."""

    text: str


Block = Heading | Paragraph | Bullets | Table | Picture | Listing


def slug(text: str) -> str:
    """`Runs without a result` → `runs-without-a-result`: a heading's anchor, a table's file name."""
    return re.sub(r"[^\w]+", "-", text.lower(), flags=re.ASCII).strip("-") or "table"


def paragraph(*spans: Span, serious: bool = False) -> Paragraph:
    """A Paragraph of its spans as arguments."""
    return Paragraph(spans, serious)


def plain(spans: Iterable[Span]) -> str:
    """The words alone."""
    return "".join(span if isinstance(span, str) else span.text for span in spans)


def unique(blocks: Iterable[Block]) -> list[Block]:
    """The same blocks, with a number behind the name of a table or picture that another already has."""
    taken: set[str] = set()
    found: list[Block] = []
    for block in blocks:
        if isinstance(block, Table | Picture) and block.name:
            name, count = slug(block.name), 1
            while name in taken:
                count += 1
                name = f"{slug(block.name)}-{count}"
            taken.add(name)
            block = replace(block, name=name)
        found.append(block)
    return found
