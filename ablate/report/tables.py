"""Tables of text, built column by column, with the columns and cells that several tables share. Renders nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ablate.analysis import numbers
from ablate.analysis.external import ExternalRow
from ablate.analysis.numbers import GAP
from ablate.analysis.records import MetricInfo
from ablate.analysis.statistics import Effect
from ablate.analysis.study_analysis import MatrixRow


@dataclass(frozen=True)
class Cell:
    """Text. `strong`: in bold, such as a difference whose interval excludes zero. `faint`: in a reference's row."""

    text: str
    strong: bool = False
    faint: bool = False


@dataclass(frozen=True)
class TextTable:
    """Columns and rows of text. The first `words` columns and the last `notes` are words, aligned to the left; the
    others are numbers."""

    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    words: int = 1
    notes: int = 0

    def is_word(self, column: int) -> bool:
        """Whether the column, counted from 0, has words."""
        return column < self.words or column >= len(self.header) - self.notes


ArmRow = MatrixRow | ExternalRow
Column = tuple[str, Sequence[str | Cell]]  # its header, and one cell for each row


def text_table(columns: Sequence[Column], words: int = 1, notes: int = 0) -> TextTable:
    """The table of these columns, all of one length; the first `words` of them are words, and the last `notes`."""
    cells = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in column] for _, column in columns]
    return TextTable(tuple(header for header, _ in columns), tuple(zip(*cells, strict=True)), words, notes)


def named(metric: MetricInfo) -> str:
    """`Azimuth error (°)`."""
    return metric.short + numbers.in_brackets(metric.unit)


def arm_column(rows: Sequence[ArmRow]) -> Column:
    """The labels of the arms, the baseline's in bold."""
    return "Arm", [Cell(row.label, strong=row.baseline, faint=row.reference) for row in rows]


def score_columns(rows: Sequence[ArmRow], metrics: Sequence[MetricInfo]) -> list[Column]:
    """A column of scores for each metric, with decimals that fit the trained arms."""
    columns: list[Column] = []
    for metric in metrics:
        trained = (row.scores[metric.name] for row in rows if not row.reference)
        decimals = numbers.decimals_for(trained, coarse=True)
        columns.append((named(metric), [numbers.score(row.scores[metric.name], decimals) for row in rows]))
    return columns


def effect_columns(rows: Sequence[ArmRow], metrics: Sequence[MetricInfo], decimals: Mapping[str, int]) -> list[Column]:
    """A column of differences to the baseline for each metric; `decimals` by metric name."""
    return [
        (f"Δ {named(m)}", [effect_cell(row.effects.get(m.name), decimals[m.name]) for row in rows]) for m in metrics
    ]


def effect_cell(effect: Effect | None, decimals: int) -> Cell:
    """`−0.41 [−0.72, −0.10]`, strong where the interval excludes zero; a gap without an effect."""
    if effect is None:
        return Cell(GAP)
    return Cell(numbers.difference(effect.difference, decimals), strong=effect.difference.excludes_zero)


def known(*columns: tuple[Column, Iterable[object]]) -> list[Column]:
    """The columns of which any row has a value: what no run has recorded is left out, not shown as a column of gaps."""
    return [column for column, values in columns if any(value is not None for value in values)]


def parameters_cell(parameters: float | None, *, reference: bool) -> str:
    """The count; a gap for a reference without trained parameters, where 0 would look like a measured cost."""
    return GAP if reference and not parameters else numbers.count(parameters)
