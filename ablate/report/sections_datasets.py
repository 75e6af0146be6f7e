"""The arms on every data set: a table of scores and one of differences for every metric. Computes nothing."""

from __future__ import annotations

from ablate.analysis import numbers
from ablate.analysis.across import DatasetRow, DatasetTable
from ablate.analysis.numbers import GAP
from ablate.analysis.phrasing import quoted
from ablate.analysis.study_analysis import Analysis
from ablate.report.blocks import Block, Heading, Record, Table, paragraph
from ablate.report.csv_records import flat
from ablate.report.sections_answer import score_words
from ablate.report.tables import Cell, Column, effect_cell, named, text_table

DELTA = "Δ is the difference to {baseline} on the same data set, paired by seed"
POOLED = "Over these data sets: the mean of the differences, every data set with the same weight"
INTERVAL = ", with its 95 % interval over seeds, bold where it excludes 0"
POOLED_INTERVAL = (
    ", with the interval over seeds; it holds for these data sets. Over seeds and data sets: the same mean, clustered "
    "by both, for other data sets like these"
)
FEW = "; with fewer than 4 data sets it is shown and carries no verdict"


def across(analysis: Analysis) -> list[Block]:
    """Every metric on every data set; nothing without data sets."""
    if not analysis.across:
        return []
    blocks: list[Block] = [Heading("Across data sets")]
    for table in analysis.across:
        blocks += [_scores(table), *([_differences(table)] if any(row.effects for row in table.rows) else ())]
    return [*blocks, paragraph(_words(analysis))]


def _words(analysis: Analysis) -> str:
    delta, pooled = DELTA.format(baseline=quoted(analysis.labels[analysis.baseline])), POOLED
    if len(analysis.seeds) > 1:
        delta += INTERVAL
        pooled += POOLED_INTERVAL + (FEW if len(analysis.across[0].datasets) < 4 else "")
    return f"{score_words(analysis)}. {delta}. {pooled}."


def _scores(table: DatasetTable) -> Table:
    columns: list[Column] = [
        ("Arm", [Cell(row.label, strong=row.baseline, faint=row.reference) for row in table.rows]),
        *(
            (name, [Cell(numbers.score(row.scores[i], table.score_places), faint=row.reference) for row in table.rows])
            for i, name in enumerate(table.labels)
        ),
    ]
    records: list[Record] = [
        {
            "arm": row.family,
            "label": row.label,
            "dataset": name,
            **flat(table.metric, row.scores[index], row.effects[index] if row.effects else None),
        }
        for row in table.rows
        for index, name in enumerate(table.datasets)
    ]
    caption = f"{named(table.metric)} on every data set"
    return Table(f"datasets_{table.metric.name}", text_table(columns), caption, records=records)


def _differences(table: DatasetTable) -> Table:
    rows = [row for row in table.rows if row.effects]
    columns: list[Column] = [
        ("Arm", [Cell(row.label, faint=row.reference) for row in rows]),
        *(
            (f"Δ {name}", [effect_cell(row.effects[i], table.places) for row in rows])
            for i, name in enumerate(table.labels)
        ),
        ("Δ over these data sets", [effect_cell(row.pooled, table.places) for row in rows]),
        ("Over seeds and data sets", [_over_both(row, table.places) for row in rows]),
    ]
    records: list[Record] = [
        {
            "arm": row.family,
            "label": row.label,
            **(flat(table.metric, row.pooled) if row.pooled else {}),
            **{f"{end}_over_datasets": getattr(row.over_both.interval, end, None) if row.over_both else None
               for end in ("low", "high")},
        }
        for row in rows
    ]  # fmt: skip
    caption = f"{named(table.metric)}: differences on every data set"
    return Table(f"datasets_differences_{table.metric.name}", text_table(columns), caption, records=records)


def _over_both(row: DatasetRow, places: int) -> Cell:
    both = row.over_both
    if both is None or both.interval is None:
        return Cell(GAP)
    return Cell(numbers.interval(both.interval, places), strong=both.decides and both.interval.excludes_zero)
