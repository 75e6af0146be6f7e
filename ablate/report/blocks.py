"""The blocks of a page: headings, paragraphs, tables, pictures. Independent of any study and any output format."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ablate.report.tables import TextTable

Plain = str | float | int | bool | None
Record = Mapping[str, Plain]


@dataclass(frozen=True)
class Strong:
    """Words in bold."""

    text: str


@dataclass(frozen=True)
class Badge:
    """The outcome of a hypothesis: one of `short_answer.Badge`."""

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


Span = str | Strong | Badge | Code | Link  # all hold plain text: each format escapes it


@dataclass(frozen=True)
class Heading:
    """`level` 1 is the page's title."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """`serious`: it is a warning."""

    spans: tuple[Span, ...]
    serious: bool = False


@dataclass(frozen=True)
class Bullets:
    """A list; every item is a line of spans. `plain`: without a sign before each, where a badge is one already."""

    items: tuple[tuple[Span, ...], ...]
    plain: bool = False


@dataclass(frozen=True)
class Table:
    """A table as text for people, and as records for programs.

    `name` is a slug and names the files of the table, `tables/<name>.tex` and `.csv`. `records` are the same facts
    with full precision, one fact for each row; without them the CSV has the text. `folded`: hidden under its caption
    until the reader opens it.
    """

    name: str
    table: TextTable
    caption: str = ""
    folded: bool = False
    records: Sequence[Record] = ()


@dataclass(frozen=True)
class Picture:
    """`file` is a name in `figures/`. `records` are the numbers drawn, where no table of the page has them."""

    file: str
    caption: str
    name: str = ""  # slug of the records' CSV
    records: Sequence[Record] = ()


@dataclass(frozen=True)
class Listing:
    """Lines set as code."""

    text: str


Block = Heading | Paragraph | Bullets | Table | Picture | Listing


def slug(text: str) -> str:
    """`Runs without a result` → `runs-without-a-result`: a heading's anchor, a table's file name."""
    return re.sub(r"[^\w]+", "-", text.lower(), flags=re.ASCII).strip("-") or "table"


def paragraph(*spans: Span, serious: bool = False) -> Paragraph:
    """A Paragraph whose spans are given as arguments."""
    return Paragraph(spans, serious)


def bullets(lines: Iterable[str]) -> list[Block]:
    """A list of plain lines; no block without a line."""
    items = tuple((line,) for line in lines)
    return [Bullets(items)] if items else []


def unique(blocks: Iterable[Block]) -> list[Block]:
    """The same blocks, with a number added to a table's or picture's name that an earlier block already has."""
    used_names: set[str] = set()
    renamed: list[Block] = []
    for block in blocks:
        if isinstance(block, Table | Picture) and block.name:
            name, count = slug(block.name), 1
            while name in used_names:
                count += 1
                name = f"{slug(block.name)}-{count}"
            used_names.add(name)
            block = replace(block, name=name)
        renamed.append(block)
    return renamed
