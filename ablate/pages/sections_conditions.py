"""Scores along conditions, and examples. Computes nothing."""

from __future__ import annotations

from ablate.claims import numbers
from ablate.claims.analysis import Analysis
from ablate.pages import lines, tables_results
from ablate.pages.blocks import Block, Heading, Picture, paragraph
from ablate.pages.figures import Pictures


def conditions_section(analysis: Analysis, pictures: Pictures) -> list[Block]:
    """A picture for every condition, with a folded table for every metric."""
    columns = dict.fromkeys(table.column for table in analysis.conditions)
    blocks: list[Block] = []
    for column in columns:
        found = [table for table in analysis.conditions if table.column == column]
        label = found[0].label
        blocks.append(Heading(f"By {numbers.in_text(label)}"))
        if column in pictures.conditions:
            blocks.append(Picture(pictures.conditions[column], f"Scores by {column}"))
        blocks += [tables_results.condition(table, analysis) for table in found]
    return [*blocks, paragraph(_words(analysis))] if blocks else []


def examples_section(pictures: Pictures) -> list[Block]:
    """The subject's gallery, or why there is none."""
    if pictures.gallery:
        return [
            Heading("Examples"),
            Picture(pictures.gallery, "Test examples with true and predicted values"),
            paragraph(
                "Of each arm's first finished seed. Median and worst are by the study's first metric; examples without "
                "these words are chosen by their place in the test split, not by how well an arm does."
            ),
        ]
    return [Heading("Examples"), paragraph(pictures.note)] if pictures.note else []


def _words(analysis: Analysis) -> str:
    drawn = [analysis.labels[arm] for arm in lines.drawn(analysis)]
    trained = [row for row in analysis.matrix if not row.reference]
    shown = f"The pictures show {', '.join(drawn)}; the tables have every arm. " if len(drawn) < len(trained) else ""
    return (
        f"{shown}Bands and ± are 95 % intervals over seeds; a band that reaches past the frame is cut. Δ is the paired "
        f"difference to {analysis.labels[analysis.baseline]}. These tables look for where a difference comes from; "
        "their intervals are not corrected for their number."
    )
