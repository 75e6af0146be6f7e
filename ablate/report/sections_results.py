"""The sections of numbers after the first screen: costs, tuning, curves, factor, densities, conditions, examples.

Computes nothing.
"""

from __future__ import annotations

from itertools import groupby

from ablate.analysis import numbers
from ablate.analysis.clusters import of_what
from ablate.analysis.costs import COSTS
from ablate.analysis.phrasing import listed, quoted
from ablate.analysis.records import SPLITS
from ablate.analysis.study_analysis import Analysis
from ablate.report import figures_lines, tables_figures, tables_results
from ablate.report.blocks import Block, Heading, Picture, paragraph
from ablate.report.figures import Pictures
from ablate.report.sections_answer import score_words
from ablate.report.tables import named

PRUNED_WORDS = (
    "Trials that did badly were ended early, by the same rule for every arm. They have no value and are not chosen; "
    "epochs and time are what was used, so that arms may differ in them."
)
SEEDS_ALONE = (
    " These intervals are over seeds alone, also where a verdict is over seeds and {}: what is better here is better "
    "on these {}."
)


def parameters(analysis: Analysis) -> list[Block]:
    """Parameters, operations and latency of every trained arm; nothing where no run knows any of them."""
    table = tables_results.parameters(analysis)
    if table is None:
        return []
    flops = any(row.flops is not None for row in analysis.parameters)
    words = paragraph("FLOPs are theoretical: operations the counter does not know count as zero.")
    return [Heading("Parameters"), table, *([words] if flops else ())]


def budget(analysis: Analysis) -> list[Block]:
    """Budget of every arm, allotted and used, and the settings that tuning chose."""
    tuned = tables_results.tuned(analysis)
    if tuned:
        words = f"Every arm was allotted the same {_alike(analysis)} and space. What each ran with:"
        if any(row.tuned_by_seed for row in analysis.budget):
            words = (
                f"Every seed of every arm has a tuning of its own, with the same {_alike(analysis)} and space; the "
                "numbers are sums over seeds. What was chosen, from the lowest to the highest over seeds:"
            )
    else:
        words = "No trial has finished yet." if analysis.tuned else "This study is untuned."
    by_seed = tables_results.budget_by_seed(analysis)
    shown = [table for table in (tuned, by_seed) if table]
    pruned = [paragraph(PRUNED_WORDS)] if any(row.pruned_trials for row in analysis.budget) else []
    return [Heading("Budget and tuned settings"), tables_results.budget(analysis), *pruned, paragraph(words), *shown]


def _alike(analysis: Analysis) -> str:
    """The parts of the tuning budget, beside the space, that all tuned arms have alike."""
    rows = [row for row in analysis.budget if row.allotted is not None]
    if any(row.tuning_epochs for row in rows):
        return "trials, epochs"
    return "trials, budget" if len({row.tuning_budget for row in rows} - {None}) == 1 else "trials"


def curves(analysis: Analysis, pictures: Pictures) -> list[Block]:
    """Scores over the epochs of training, or over whatever a command or a function counts."""
    name, several = "learning_curves", len(analysis.seeds) > 1
    caption = (
        f"Scores over the {'epochs of training' if analysis.trainer == 'built-in' else 'epochs or steps of a run'}"
    )
    if name not in pictures.names:
        return []
    return [
        Heading("Learning curves"),
        Picture(f"{name}.png", caption, name, tables_figures.curves(analysis)),
        *([paragraph("Mean over seeds; the band reaches from the lowest to the highest seed.")] if several else ()),
    ]


def factor(analysis: Analysis, pictures: Pictures) -> list[Block]:
    """Every metric along the study's factor; its answer in words is at the top of the page."""
    if not analysis.factor:
        return []
    label = analysis.factor[0].label
    blocks: list[Block] = [Heading(f"Along {numbers.in_text(label)}")]
    for curve in analysis.factor:
        blocks += pictures.show(f"factor_{curve.metric.name}", f"{named(curve.metric)} along {numbers.in_text(label)}")
    blocks += [tables_figures.factor(curve) for curve in analysis.factor]
    words = f"{score_words(analysis)}; Δ is the paired difference to the baseline at the same level."
    return [*blocks, paragraph(words + seeds_alone(analysis))]


def seeds_alone(analysis: Analysis) -> str:
    """What sections say whose intervals are over seeds, where verdicts rest on wider ones; else nothing."""
    of = of_what(both for c in analysis.comparisons if (both := c.over_clusters) is not None and both.decides)
    return SEEDS_ALONE.format(of, of.replace("clusters", "examples").replace(" or ", " and ")) if of else ""


def density(analysis: Analysis, pictures: Pictures) -> list[Block]:
    """True against predicted values."""
    blocks: list[Block] = []
    for table in analysis.densities:
        picture = pictures.show(f"density_{table.column}", f"Predicted against true {numbers.in_text(table.label)}")
        heading = Heading(f"True and predicted {numbers.in_text(table.label)}")
        blocks += [heading, *picture, tables_figures.density(table)]
    examples = f"{SPLITS[analysis.split]} examples"
    words = f"Shares of the {examples}, means over seeds ± 95 % interval; the picture has all seeds together."
    if len(analysis.seeds) == 1:
        words = f"Shares of the {examples}, of one seed."
    return [*blocks, paragraph(words)] if blocks else []


def cost(analysis: Analysis, pictures: Pictures) -> list[Block]:
    """The primary metric against what an arm costs."""
    primary = analysis.metrics[0]
    known = [key for key in COSTS if any(point.costs[key] for point in analysis.tradeoff)]
    picture = pictures.show("cost", f"{named(primary)} against {' and '.join(known)}")
    return [*picture, tables_figures.cost(analysis.tradeoff, primary)] if picture else []


def tuning(analysis: Analysis, pictures: Pictures) -> list[Block]:
    """How tuning went, and which settings mattered."""
    history = analysis.tuning
    if history is None:
        return []
    return [
        Heading("How tuning went", 3),
        *pictures.show("tuning", "Every trial's score on validation, and the best so far"),
        tables_figures.tuning(history),
        *pictures.show("importances", "How settings and score went together"),
        tables_figures.importances(history),
        paragraph(tables_figures.importances_note(history)),
    ]


def conditions(analysis: Analysis, pictures: Pictures) -> list[Block]:
    """A picture for every condition, with a folded table for every metric."""
    blocks: list[Block] = []
    for column, group in groupby(analysis.conditions, key=lambda table: table.column):
        tables = list(group)
        blocks += [Heading(f"By {numbers.in_text(tables[0].label)}")]
        blocks += pictures.show(f"by_{column}", f"Scores by {numbers.in_text(tables[0].label)}")
        blocks += [tables_results.condition(table, analysis) for table in tables]
    return [*blocks, paragraph(_condition_words(analysis))] if blocks else []


def examples(analysis: Analysis, pictures: Pictures) -> list[Block]:
    """The subject's gallery, or why there is none."""
    words = (
        "Of each arm's first finished seed. Median and worst are by the study's first metric; examples without "
        f"these words are chosen by their place in the {SPLITS[analysis.split]} split, not by how well an arm does."
    )
    picture = pictures.show(
        "gallery", f"{numbers.capital(SPLITS[analysis.split])} examples with true and predicted values"
    )
    if not picture and not pictures.note:
        return []
    return [Heading("Examples"), *picture, paragraph(words if picture else pictures.note)]


def _condition_words(analysis: Analysis) -> str:
    drawn = [quoted(analysis.labels[arm]) for arm in figures_lines.drawn(analysis)]
    trained = [row for row in analysis.matrix if not row.reference]
    shown = f"The pictures show {listed(drawn)}; the tables have every arm. " if len(drawn) < len(trained) else ""
    baseline = quoted(analysis.labels[analysis.baseline])
    if len(analysis.seeds) == 1:
        return f"{shown}{score_words(analysis)}; Δ is the difference to {baseline} with the same seed."
    return (
        f"{shown}Bands and ± are 95 % intervals over seeds; a band that reaches past the frame is cut. Δ is the paired "
        f"difference to {baseline}. These tables look for where a difference comes from; their intervals are not "
        "corrected for their number."
    )
