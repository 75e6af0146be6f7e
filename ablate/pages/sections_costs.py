"""Parameters, budget, learning curves. Computes nothing."""

from __future__ import annotations

from ablate.claims.analysis import Analysis
from ablate.pages import tables_figures, tables_results
from ablate.pages.blocks import Block, Heading, Picture, paragraph
from ablate.pages.figures import Pictures


def parameters_section(analysis: Analysis) -> list[Block]:
    """Parameters, operations and latency of every trained arm."""
    return [
        Heading("Parameters"),
        tables_results.parameters(analysis),
        paragraph("FLOPs are theoretical: operations the counter does not know count as zero."),
    ]


def budget_section(analysis: Analysis) -> list[Block]:
    """Budget of every arm, allotted and used, and the settings that tuning chose."""
    blocks: list[Block] = [Heading("Budget and tuned settings"), tables_results.budget(analysis)]
    tuned = tables_results.tuned(analysis)
    if tuned:
        words = "Every arm was allotted the same trials, epochs and space. What each ran with:"
        return [*blocks, paragraph(words), tuned]
    return [*blocks, paragraph("No trial has finished yet." if analysis.tuned else "This study is untuned.")]


def curves_section(analysis: Analysis, pictures: Pictures) -> list[Block]:
    """Scores over the epochs of training."""
    if not pictures.curves:
        return []
    caption = "Scores over the epochs of training"
    return [
        Heading("Learning curves"),
        Picture(pictures.curves, caption, name="learning_curves", records=tables_figures.curves(analysis)),
        paragraph("Mean over seeds; the band reaches from the lowest to the highest seed."),
    ]
