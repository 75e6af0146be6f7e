"""Tables of text, made column by column, and the cells that several of them share. Renders nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ablate.analysis import numbers
from ablate.analysis.numbers import GAP
from ablate.analysis.records import MetricInfo
from ablate.analysis.statistics import Effect


@dataclass(frozen=True)
class Cell:
    """Text; `strong`: a difference whose interval excludes zero; `faint`: the row of a reference."""

    text: str
    strong: bool = False
    faint: bool = False


@dataclass(frozen=True)
class TextTable:
    """Columns and rows of text. The first `words` columns are words, on the left of a column; the rest are numbers."""

    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    words: int = 1


Column = tuple[str, Sequence[str | Cell]]  # its header, and a cell a row


def text_table(columns: Sequence[Column], words: int = 1) -> TextTable:
    """The table of these columns, all of one length; the first `words` of them are words."""
    cells = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in column] for _, column in columns]
    return TextTable(tuple(header for header, _ in columns), tuple(zip(*cells, strict=True)), words)


def named(metric: MetricInfo) -> str:
    """`Azimuth error (°)`."""
    return metric.short + numbers.in_brackets(metric.unit)


def effect_cell(effect: Effect | None, places: int) -> Cell:
    """`−0.41 [−0.72, −0.10]`, strong where the interval excludes zero; a gap without an effect."""
    if effect is None:
        return Cell(GAP)
    return Cell(numbers.difference(effect.difference, places), strong=effect.difference.excludes_zero)


def parameters_cell(parameters: float | None, *, reference: bool) -> str:
    """The count; a gap for a reference without trained parameters, whose 0 would look like a cost."""
    return GAP if reference and not parameters else numbers.count(parameters)
