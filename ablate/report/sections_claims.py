"""Hypotheses, controls, people, other data. Computes nothing."""

from __future__ import annotations

from ablate.analysis.phrasing import sentence
from ablate.analysis.records import SPLITS
from ablate.analysis.statistics import ALPHA
from ablate.analysis.study_analysis import Analysis
from ablate.analysis.verdicts import MIN_SEEDS
from ablate.report import tables_claims
from ablate.report.blocks import Block, Heading, bullets, paragraph

P_WORDS = (
    "d_z is the mean difference divided by its standard deviation over seeds; p (t) and p (sign-flip) are two-sided "
    "and not corrected, the second an exact check of how much the first owes to the normal distribution."
)
EXPLORATORY_WORDS = (
    "The study declares no hypothesis. Every arm is compared with its baseline in every metric: exploratory, with "
    "intervals that are not corrected for their number, and without verdicts. "
)


def hypotheses(analysis: Analysis) -> list[Block]:
    """The declared hypotheses with their verdicts; in a study without one, the exploratory comparisons."""
    comparisons = analysis.comparisons
    if not comparisons:
        return []
    words = _verdict_words(len(comparisons)) if analysis.declared else EXPLORATORY_WORDS
    heading = Heading("Hypotheses" if analysis.declared else "Exploratory comparisons")
    return [
        heading,
        tables_claims.comparisons(comparisons),
        paragraph(words + P_WORDS),
        *bullets(tables_claims.reasons(comparisons)),
    ]


def controls(analysis: Analysis) -> list[Block]:
    """Every control beside the arm that it controls for, and the outcome in words."""
    findings = analysis.controls
    if not findings:
        return []
    words = (
        "Δ is the difference to the baseline. What remains of a gain beside its control, in the last column, is what "
        "the control does not explain. Paired by seed, with 95 % intervals, bold where they exclude zero; exploratory, "
        "unless a hypothesis above names it."
    )
    sentences = dict.fromkeys(row.sentence for finding in findings for row in finding.rows if row.sentence)
    return [
        Heading("Controls"),
        *(paragraph(text) for text in analysis.explanations),
        tables_claims.controls(findings),
        paragraph(words),
        *bullets(sentences),
    ]


def population(analysis: Analysis) -> list[Block]:
    """Differences over people instead of over seeds."""
    if not analysis.populations:
        return []
    words = (
        "Here the spread is that of people: a difference is averaged over seeds for each person of the "
        f"{SPLITS[analysis.split]} data, and the interval is over persons. It says what other people of this kind "
        "would show, for these trained networks; the intervals elsewhere say what other seeds would show, for these "
        "people. It carries no verdict."
    )
    table = tables_claims.populations(analysis.populations)
    sentences = [row.sentence for row in analysis.populations if row.sentence and row.declared]
    return [Heading("Across people"), table, paragraph(words), *bullets(sentences)]


def external(analysis: Analysis) -> list[Block]:
    """Scores on external data, a table for each data set."""
    blocks: list[Block] = []
    for table in analysis.external:
        examples = f"{table.examples:,} examples. " if table.examples else ""
        words = (
            f"{examples}The same trained networks on data that no part of the study has seen; means over seeds ± 95 % "
            f"interval, Δ paired with the baseline, exploratory. {sentence(table.note) if table.note else ''}"
        )
        blocks += [Heading(f"On other data: {table.name}"), tables_claims.external(table), paragraph(words)]
    return blocks


def _verdict_words(count: int) -> str:
    these = "this hypothesis" if count == 1 else f"these {count} hypotheses"
    return (
        f"Supported: a one-sided t-test against the margin has p ≤ {ALPHA:g} after Holm's correction, over both sides "
        f"of {these}; refuted: the same test from the other side; otherwise inconclusive. There is no verdict below "
        f"{MIN_SEEDS} seeds. What is not in this table is exploratory. The intervals are not corrected. "
    )
