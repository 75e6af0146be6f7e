"""Hypotheses, controls, people, other data. Computes nothing."""

from __future__ import annotations

from collections.abc import Sequence

from ablate.analysis.answer import Comparison
from ablate.analysis.phrasing import counted, listed, sentence
from ablate.analysis.records import SPLITS
from ablate.analysis.spending import NAMES
from ablate.analysis.statistics import ALPHA
from ablate.analysis.study_analysis import Analysis
from ablate.analysis.verdicts import MIN_SEEDS, holds_together
from ablate.report import tables_claims
from ablate.report.blocks import Block, Heading, bullets, paragraph

P_WORDS = (
    "d_z is the mean difference divided by its standard deviation over seeds; p (t) and p (sign-flip) are two-sided "
    "and not corrected, the second an exact check of how much the first owes to the normal distribution."
)
VARIANCE_WORDS = (
    "Shares of the variance of the difference over seeds and clusters. What a seed changes includes its own tuning "
    "where every seed is tuned by itself."
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
    words = _verdict_words(analysis) if analysis.declared else EXPLORATORY_WORDS
    variance = tables_claims.variance_shares(comparisons)
    heading = Heading("Hypotheses" if analysis.declared else "Exploratory comparisons")
    return [
        heading,
        tables_claims.comparisons(comparisons, repeated=bool(analysis.looks)),
        paragraph(words + P_WORDS),
        paragraph(_cluster_words(comparisons)),
        *(paragraph(text) for text in [*_history_words(analysis), *_where_they_differ(comparisons)]),
        *bullets(tables_claims.reasons(comparisons)),
        *_looks(analysis),
        *([Heading("Where the variance comes from", 3), variance, paragraph(VARIANCE_WORDS)] if variance else ()),
    ]


def _looks(analysis: Analysis) -> list[Block]:
    """What looks were planned, how small a p must be at each, and which has decided what; often nothing."""
    rows, taken = analysis.looks, [row.seeds for row in analysis.looks if row.taken]
    if not rows or analysis.spending is None:
        return []
    stopped = bool(taken) and taken[-1] == len(analysis.seeds) < rows[-1].seeds
    words = (
        f"Planned before the first run: looks at {listed([str(row.seeds) for row in rows])} seeds, at most "
        f"{rows[-1].seeds}, with {NAMES[analysis.spending]} spending (Lan and DeMets 1983). At a look the study stops "
        "when every hypothesis is decided. The last two columns say how small the p of a one-sided t-test must be to "
        "decide a hypothesis: while no other is decided, and when all others are (Holm). "
    )
    end = f"It stopped at the look at {taken[-1]} seeds. " if stopped else ""
    if stopped and analysis.beyond:
        end += f"{counted(analysis.beyond, 'finished run')} of later seeds are in no table and in no claim. "
    repeated = (
        "Repeated intervals hold at all looks together, wherever the study stops. All other intervals and p values of "
        "this page are not corrected for looks, and a study that stops early overstates differences on average."
    )
    return [Heading("Planned looks", 3), tables_claims.looks(rows), paragraph(words + end + repeated)]


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


def _history_words(analysis: Analysis) -> list[str]:
    """What amendments did to the hypotheses and to the number of seeds; often nothing."""
    history, words = analysis.history, []
    if history.withdrawn:
        withdrawn = listed(history.withdrawn)
        words.append(f"Withdrawn after runs had finished, and still counted in the correction: {withdrawn}.")
    if history.late:
        words.append(f"Declared after runs had finished, so without a verdict: {listed(history.late)}.")
    if history.looks:
        at = listed([str(n) for n in history.looks])
        words.append(
            f"Seeds were added after the results at {at} seeds could be seen. The study could have stopped there, so "
            f"every p is multiplied by {len(history.looks) + 1} before Holm's correction (Bonferroni over looks)."
        )
    return words


def _cluster_words(comparisons: Sequence[Comparison]) -> str:
    """What the intervals are over, and what follows for verdicts."""
    known = [each for c in comparisons if (each := c.over_clusters) is not None]
    if not known:
        return (
            "These intervals are over seeds alone: the study names no `cluster` of test examples, so that they say "
            "nothing of other people, clips or examples."
        )
    words = (
        f"The interval over seeds and clusters is about other seeds and other values of {known[0].column} at once "
        "(two-way clustered, Cameron, Gelbach and Miller 2011; t with the smaller count less one degrees of freedom). "
        "A verdict and its p use the wider of the two. With very unequal clusters it is too narrow: it held in about "
        "91 % instead of 95 % of simulations with four people who differ much."
    )
    notes = dict.fromkeys(each.note for each in known if each.note)
    return " ".join([words, *(sentence(note) for note in notes)])


def _where_they_differ(comparisons: Sequence[Comparison]) -> list[str]:
    """A footnote where Holm's verdict and the simultaneous interval say different things, which is not a mistake."""
    names = [
        f"{c.label} against {c.against_label} in {c.metric.in_text}"
        for c in comparisons
        if c.judgement is not None
        and c.judgement.outcome in ("supported", "refuted")
        and not holds_together(c.claim, c.judgement)
    ]
    if not names:
        return []
    return [
        f"By Holm's correction there is a verdict on {listed(names)}, although the simultaneous interval does not show "
        "it: Holm's is the sharper of the two, and both keep 5 % for the family."
    ]


def _verdict_words(analysis: Analysis) -> str:
    count = len(analysis.comparisons)
    these = "this hypothesis" if count == 1 else f"these {count} hypotheses"
    if analysis.looks:
        return (
            f"Supported: at a planned look a one-sided t-test against the margin had p ≤ {ALPHA:g} after correction "
            f"for the looks and, by Holm, for both sides of {these}; refuted: the same test from the other side. What "
            "a look has decided stays; what the last look has not decided is inconclusive. What is not in this table "
            "is exploratory. Simultaneous intervals hold for all rows and looks together in 95 % of studies, repeated "
            "ones for all looks of their row. "
        )
    return (
        f"Supported: a one-sided t-test against the margin has p ≤ {ALPHA:g} after Holm's correction, over both sides "
        f"of {these}; refuted: the same test from the other side; otherwise inconclusive. There is no verdict below "
        f"{MIN_SEEDS} seeds. What is not in this table is exploratory. Simultaneous intervals hold for all "
        "rows together in 95 % of studies (Bonferroni); the other intervals are not corrected. "
    )
