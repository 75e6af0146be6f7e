"""Figures that have a section of their own: factor, true against predicted, cost, tuning. Computes nothing."""

from __future__ import annotations

from ablate.claims import numbers
from ablate.claims.analysis import Analysis
from ablate.pages import tables_figures
from ablate.pages.blocks import Block, Heading, Picture, paragraph
from ablate.pages.figures import Pictures
from ablate.pages.tables import named


def factor_section(analysis: Analysis, pictures: Pictures) -> list[Block]:
    """Every metric along the study's factor; its answer in words is at the top of the page."""
    if not analysis.factor:
        return []
    label = analysis.factor[0].label
    blocks: list[Block] = [Heading(f"Along {numbers.in_text(label)}")]
    for curve in analysis.factor:
        name = curve.metric.name
        if name in pictures.factor:
            blocks.append(Picture(pictures.factor[name], f"{named(curve.metric)} along {label}"))
        blocks.append(tables_figures.factor(curve))
    words = "Scores are means over seeds ± 95 % interval; Δ is the paired difference to the baseline at the same level."
    return [*blocks, paragraph(words)]


def density_section(analysis: Analysis, pictures: Pictures) -> list[Block]:
    """True against predicted values."""
    blocks: list[Block] = []
    for table in analysis.densities:
        blocks.append(Heading(f"True and predicted {numbers.in_text(table.label)}"))
        if table.column in pictures.densities:
            blocks.append(Picture(pictures.densities[table.column], f"Predicted against true {table.label}"))
        blocks.append(tables_figures.density(table))
    words = "Shares of the test examples, means over seeds ± 95 % interval; the picture has all seeds together."
    return [*blocks, paragraph(words)] if blocks else []


def cost_section(analysis: Analysis, pictures: Pictures) -> list[Block]:
    """The primary metric against what an arm costs."""
    if not pictures.cost:
        return []
    primary = analysis.metrics[0]
    return [
        Picture(pictures.cost, f"{named(primary)} against parameters and latency"),
        tables_figures.cost(analysis.tradeoff, primary),
    ]


def tuning_section(analysis: Analysis, pictures: Pictures) -> list[Block]:
    """How tuning went, and which settings mattered."""
    history = analysis.tuning
    if history is None:
        return []
    blocks: list[Block] = [Heading("How tuning went", 3)]
    if pictures.tuning:
        blocks.append(Picture(pictures.tuning, "Every trial's score on validation, and the best so far"))
    blocks.append(tables_figures.tuning(history))
    if pictures.importances:
        blocks.append(Picture(pictures.importances, "How settings and score went together"))
    return [*blocks, tables_figures.importances(history), paragraph(tables_figures.importances_note(history))]
