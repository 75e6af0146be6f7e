"""The first screen: question, verdicts, costs, next step, matrix; then warnings. Computes nothing."""

from __future__ import annotations

import math
import re

from ablate.analysis import numbers
from ablate.analysis.answer import FOR_SETTINGS
from ablate.analysis.clusters import of_what
from ablate.analysis.numbers import GAP
from ablate.analysis.phrasing import counted, listed, quoted
from ablate.analysis.records import SPLITS, correction_words
from ablate.analysis.short_answer import answered_pairs, costs, next_steps, scope, short_verdicts
from ablate.analysis.study_analysis import Analysis
from ablate.report import tables_claims, tables_results
from ablate.report.blocks import Badge, Block, Bullets, Heading, Link, Paragraph, Strong, bullets, paragraph
from ablate.report.figures import Pictures

GAPS_TITLE, GAPS_ANCHOR = "Runs without a result", "#runs-without-a-result"
WARNINGS_TITLE, WARNINGS_ANCHOR = "Warnings", "#warnings"
TOPIC = 20  # a warning that has a colon within this many characters is set in bold up to the colon
LONGEST_TOPIC = 70  # characters of a warning on the first screen
EARNS = "Does it earn its parameters?"
COSTS = "What it costs"  # where no arm of the answer has more parameters than the other


def answer(analysis: Analysis) -> list[Block]:
    """Title, question, a line for each hypothesis, what a gain costs, what to do next, and what to beware of.

    Without a hypothesis the answer is a sentence, and a line for every other pair of arms, level or part.
    """
    return [Heading(analysis.name, 1), paragraph(analysis.question), *verdicts(analysis), *_earns(analysis),
            *_next(analysis), *_beware(analysis)]  # fmt: skip


def verdicts(analysis: Analysis) -> list[Block]:
    """A line for each hypothesis: badge, claim, difference; then the answers of other kinds; see `answer`."""
    lines = short_verdicts(analysis)
    answers = list(analysis.answers[answered_pairs(analysis) :])
    if not lines:
        first, *others = answers
        return [paragraph(Strong(first)), *bullets(others)]
    items = tuple((Badge(v.badge), f" {v.claim}: ", Strong(v.difference), f", {v.over}") for v in lines)
    return [Bullets(items, plain=True), paragraph(_verdict_words(analysis)), *bullets(answers)]


def _verdict_words(analysis: Analysis) -> str:
    """What the differences of the verdicts are, and what the verdicts hold for."""
    lines = short_verdicts(analysis)
    wider = [v.comparison.over_clusters for v in lines if v.comparison.deciding is not v.comparison.effect.difference]
    of = of_what(both for both in wider if both is not None)
    repeated = "repeated " if analysis.looks else ""
    intervals = f"its {repeated}95 % interval"
    if of:
        intervals = f"the wider of the {repeated}95 % intervals over seeds and over seeds and {of}"
    better = {"lower": "below 0 is better", "higher": "above 0 is better"}
    directions = list(dict.fromkeys(better[v.comparison.metric.direction] for v in lines))
    sign = f" ({directions[0]})" if len(directions) == 1 else ""
    return (
        f"Each difference{sign} is paired by seed and has {intervals}. Verdicts are {scope(analysis)}, corrected for "
        "the number of hypotheses."
    )


def _earns(analysis: Analysis) -> list[Block]:
    """The differences of the answer beside the costs that they add."""
    rows = costs(analysis)
    if not rows:
        return []
    more = any(row.parameters and row.parameters[0] > row.parameters[1] for row in rows)
    return [paragraph(Strong(EARNS if more else COSTS)), tables_claims.costs_of_gains(rows, analysis)]


def _next(analysis: Analysis) -> list[Block]:
    steps = next_steps(analysis)
    return [paragraph(Strong("Next:"), f" {' '.join(steps)}")] if steps else []


def _beware(analysis: Analysis) -> list[Block]:
    """A line with the topics of the warnings, which stand below the matrix in full."""
    topics = [_topic(text) for text in analysis.warnings]
    if analysis.behind:
        topics.append("yardsticks that an arm is not better than")
    if analysis.gaps:
        topics.append(
            f"{counted(len(analysis.gaps), 'run')} of {len(analysis.seeds) * len(analysis.matrix)} without a result"
        )
    if not topics:
        return []
    return [paragraph(Strong("Beware:"), f" {'; '.join(topics)}. ", Link("In full", WARNINGS_ANCHOR), serious=True)]


def _topic(warning: str) -> str:
    """The beginning of a warning: up to its first colon, bracket, comma or stop."""
    topic = re.split(r"[:(,;]| \(|\. ", warning.rstrip("."), maxsplit=1)[0].strip()
    return numbers.in_text(topic if len(topic) <= LONGEST_TOPIC else f"{topic[:LONGEST_TOPIC].rpartition(' ')[0]} …")


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
    return [Heading(WARNINGS_TITLE), *paragraphs] if paragraphs else []


def matrix(analysis: Analysis, pictures: Pictures) -> list[Block]:
    """Every arm in every metric, as a table and as pictures."""
    return [
        tables_results.matrix(analysis),
        paragraph(_matrix_words(analysis)),
        *promises(analysis),
        *pictures.show("matrix", "Mean and interval of every arm in every metric"),
        *pictures.show("differences", "Difference of every arm to the baseline, every seed a dot"),
        *_without_glyphs(pictures),
    ]


def _without_glyphs(pictures: Pictures) -> list[Block]:
    if not pictures.undrawn:
        return []
    labels = listed([quoted(label) for label in pictures.undrawn])
    return [paragraph(f"No font that is installed here has every sign of {labels}: in figures they are boxes.")]


def promises(analysis: Analysis) -> list[Block]:
    """What ablate enforces and what rests on the owner's word; none of adopted results."""
    if analysis.promises is None:
        return []
    found, shown = analysis.promises, []
    shown.append(paragraph(Strong("What is enforced."), f" By ablate: {'; '.join(found.enforced)}."))
    if found.owners_word:
        shown.append(paragraph(Strong("What rests on the owner's word:"), f" {'; '.join(found.owners_word)}."))
    return [*shown]


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
        intervals += "; bold where the interval excludes 0, as 1 in 20 does by chance where there is no difference"
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
