"""The first screen: question, answer, warnings, matrix. Computes nothing."""

from __future__ import annotations

import math

from ablate.analysis.answer import FOR_SETTINGS
from ablate.analysis.numbers import GAP
from ablate.analysis.phrasing import quoted
from ablate.analysis.records import SPLITS, correction_words
from ablate.analysis.study_analysis import Analysis
from ablate.report import tables_results
from ablate.report.blocks import Block, Heading, Link, Paragraph, Strong, bullets, paragraph
from ablate.report.figures import Pictures

GAPS_TITLE, GAPS_ANCHOR = "Runs without a result", "#runs-without-a-result"
TOPIC = 20  # a warning that has a colon within this many characters is set in bold up to the colon


def answer(analysis: Analysis) -> list[Block]:
    """Title, question, the answer in one sentence, and a line for every other pair of arms."""
    first, *others = analysis.answers
    question, answer = paragraph(analysis.question), paragraph(Strong(first))
    return [Heading(analysis.name, 1), question, answer, *bullets(others)]


def warnings(analysis: Analysis) -> list[Block]:
    """Warnings, references that arms are not shown to be better than, missing runs."""
    paragraphs = [_warning(text) for text in analysis.warnings]
    if analysis.behind:
        paragraphs.append(paragraph(Strong("Yardsticks:"), " " + " ".join(analysis.behind), serious=True))
    if analysis.gaps:
        expected = len(analysis.seeds) * len(analysis.matrix)
        words = f" {len(analysis.gaps)} of {expected} runs failed or are missing; they count as no number. "
        link = Link("Which and why", GAPS_ANCHOR)
        paragraphs.append(paragraph(Strong("Incomplete:"), words, link, ".", serious=True))
    return list(paragraphs)


def matrix(analysis: Analysis, pictures: Pictures) -> list[Block]:
    """Every arm in every metric, as a table and as pictures."""
    return [
        tables_results.matrix(analysis),
        paragraph(_matrix_words(analysis)),
        *promises(analysis),
        *pictures.show("matrix", "Mean and interval of every arm in every metric"),
        *pictures.show("differences", "Difference of every arm to the baseline, every seed a dot"),
    ]


def promises(analysis: Analysis) -> list[Block]:
    """What ablate enforces and what rests on the owner's word; none of the built-in loop, see `analysis.promises`."""
    if analysis.promises is None:
        return []
    enforced, owners_word = (
        "; ".join(clauses) for clauses in (analysis.promises.enforced, analysis.promises.owners_word)
    )
    return [
        paragraph(Strong("What is enforced."), f" By ablate: {enforced}."),
        paragraph(Strong("What rests on the owner's word:"), f" {owners_word}."),
    ]


def _warning(text: str) -> Paragraph:
    """A warning such as `Untuned: no arm's …` with the words before the colon in bold."""
    topic, colon, rest = text.partition(":")
    if colon and len(topic) <= TOPIC:
        return paragraph(Strong(f"{topic}:"), rest, serious=True)
    return paragraph(Strong("Warning:"), f" {text}", serious=True)


def _matrix_words(analysis: Analysis) -> str:
    examples = f", on {analysis.test_examples:,} {SPLITS[analysis.split]} examples" if analysis.test_examples else ""
    yardsticks = "Rows in italics are yardsticks, not arms. " if any(row.reference for row in analysis.matrix) else ""
    level = " at the same level" if analysis.factor else " on the same data set" if analysis.across else ""
    intervals = ", with its 95 % interval over seeds" if len(analysis.seeds) > 1 else ""
    if any(e.difference.excludes_zero for row in analysis.matrix for e in row.effects.values()):
        intervals += "; bold where the interval excludes 0"
    baseline = quoted(analysis.labels[analysis.baseline])
    return (
        f"{score_words(analysis)}{examples}. Δ is the difference to {baseline}{level}, paired by seed{intervals}. "
        f"{overlap_words(analysis)}{_tuned_once(analysis)}{yardsticks}{GAP} means no number."
    )


def overlap_words(analysis: Analysis) -> str:
    """What intervals allow for where seeds share training examples, and how much wider they are for it."""
    if not analysis.overlap or len(analysis.seeds) == 1:
        return ""
    every, by = "is a fold" if analysis.folds else "redraws the split", correction_words(folds=analysis.folds)
    allowed = f"Every seed {every}, so that training sets overlap; the intervals allow for it ({by})"
    estimates = [
        e for row in analysis.matrix for e in (*row.scores.values(), *(d.difference for d in row.effects.values()))
    ]
    wider = [100 * (math.sqrt(1 + n * analysis.overlap) - 1) for n in sorted({e.n for e in estimates if e.n > 1})]
    if not wider:
        return f"{allowed}. "
    sizes = dict.fromkeys(f"{each:.0f}" for each in (wider[0], wider[-1]))
    return f"{allowed}, which makes them {' to '.join(sizes)} % wider. "


def _tuned_once(analysis: Analysis) -> str:
    """What differences do not hold for, where one tuning of an arm serves all its seeds."""
    if any(row.by_seed for row in analysis.budget) or not any(row.chosen for row in analysis.budget):
        return ""
    return f"Each arm was tuned once for all its seeds, so that differences are {FOR_SETTINGS}. "


def score_words(analysis: Analysis) -> str:
    """What the scores of a table are; where runs are missing, not a mean over all seeds."""
    if len(analysis.seeds) == 1:
        return "Scores are of one seed, without an interval"
    some = "the finished ones of " if analysis.gaps else ""
    return f"Scores are means over {some}{len(analysis.seeds)} seeds ± 95 % t interval"
