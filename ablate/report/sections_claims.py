"""Hypotheses, controls, people, other data. Computes nothing."""

from __future__ import annotations

from collections.abc import Sequence

from ablate.analysis import numbers
from ablate.analysis.answer import Comparison
from ablate.analysis.clusters import DATA_SET, of_what
from ablate.analysis.phrasing import counted, listed, quoted, sentence
from ablate.analysis.records import SPLITS
from ablate.analysis.short_answer import answered_pairs
from ablate.analysis.spending import NAMES
from ablate.analysis.statistics import ALPHA
from ablate.analysis.study_analysis import Analysis
from ablate.analysis.verdicts import MIN_SEEDS, holds_together
from ablate.report import tables_claims
from ablate.report.blocks import Block, Heading, bullets, paragraph
from ablate.report.sections_results import seeds_alone

P_WORDS = (
    "d_z is the mean difference divided by its standard deviation over seeds. p against 0 asks whether there is any "
    "difference: two-sided, over seeds alone and not corrected, by t and by sign-flip, a check of how much the first "
    "owes to the normal distribution."
)
FLOOR_WORDS = " Smallest possible: with so few pairs no differences have a smaller sign-flip p."
MARGIN_WORDS = (
    "p against the margin is that of the verdict: one-sided, from the interval that decides, corrected. A difference "
    "can be shown against 0 and not against the margin. "
)
VARIANCE_WORDS = (
    "Shares of the variance of the difference over seeds and {}. What a seed changes includes its own tuning where "
    "every seed is tuned by itself."
)
DATA_SET_WORDS = (
    "The interval over seeds and data sets takes the data sets as a random sample of others (two crossed random "
    "factors; t with the smaller count less one degrees of freedom); the rest of the variance is what differs from "
    "data set to data set and seed to seed at once."
)
WIDER = " A verdict and its p use the wider of the two."
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
        *(paragraph(text) for text in analysis.answers[: answered_pairs(analysis)]),
        tables_claims.comparisons(comparisons, repeated=bool(analysis.looks)),
        paragraph(words + _p_words(comparisons)),
        paragraph(_cluster_words(analysis)),
        *(paragraph(text) for text in [*_history_words(analysis), *_where_they_differ(comparisons)]),
        *bullets(tables_claims.reasons(comparisons)),
        *_looks(analysis),
        *(
            [Heading("Where the variance comes from", 3), variance, paragraph(_variance_words(comparisons))]
            if variance
            else ()
        ),
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
        "decide a hypothesis: while no other is decided, and when all others are that can be (Holm). "
    )
    end = f"It stopped at the look at {taken[-1]} seeds. " if stopped else ""
    if stopped and analysis.beyond:
        end += f"{counted(analysis.beyond, 'finished run')} of later seeds are in no table and in no claim. "
    repeated = (
        "Repeated and simultaneous intervals and adjusted p values hold at all looks together, wherever the study "
        "stops. All others of this page are not corrected for looks, and a study that stops early overstates "
        "differences on average."
    )
    return [Heading("Planned looks", 3), tables_claims.looks(rows), paragraph(words + end + repeated)]


def controls(analysis: Analysis) -> list[Block]:
    """Every control beside the arm that it controls for, and the outcome in words."""
    findings = analysis.controls
    if not findings:
        return []
    intervals = ", with 95 % intervals over seeds, bold where they exclude 0" if len(analysis.seeds) > 1 else ""
    words = (
        "Δ is the difference to the baseline. What remains of a gain beside its control, in the last column, is what "
        f"the control does not explain. Paired by seed{intervals}; exploratory, unless a hypothesis above names it."
        + seeds_alone(analysis)
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
    elsewhere = (
        "; the intervals over seeds elsewhere say what other seeds would show, for these people"
        if not any(c.over_clusters and c.over_clusters.interval for c in analysis.comparisons)
        else ""
    )
    words = (
        "Here the spread is that of people: a difference is averaged over seeds for each person of the "
        f"{SPLITS[analysis.split]} data, every person counts the same, and the interval is over persons. It is about "
        f"other people of this kind, for these trained networks{elsewhere}. It carries no verdict."
    )
    table = tables_claims.populations(analysis.populations)
    sentences = [row.sentence for row in analysis.populations if row.sentence and row.declared]
    return [Heading("Across people"), table, paragraph(words), *bullets(sentences)]


def external(analysis: Analysis) -> list[Block]:
    """Scores on external data, a table for each data set."""
    blocks: list[Block] = []
    for table in analysis.external:
        examples = f"{table.examples:,} examples. " if table.examples else ""
        several = any(row.runs > 1 for row in table.rows)
        scores = "means over seeds ± 95 % interval" if several else "scores of one seed, without an interval"
        words = (
            f"{examples}The same trained networks on data that no part of the study has seen; {scores}, Δ paired with "
            f"the baseline, exploratory. {sentence(table.note) if table.note else ''}"
        )
        blocks += [Heading(f"On other data: {table.name}"), tables_claims.external(table), paragraph(words)]
    return blocks


def _p_words(comparisons: Sequence[Comparison]) -> str:
    """What the columns of p test, and against what."""
    margins = MARGIN_WORDS if any(c.margin for c in comparisons) else ""
    return margins + P_WORDS + (FLOOR_WORDS if any(numbers.at_floor(c.effect) for c in comparisons) else "")


def _history_words(analysis: Analysis) -> list[str]:
    """What amendments did to the hypotheses and to the number of seeds; often nothing."""
    history, words = analysis.history, []
    if history.withdrawn:
        withdrawn = listed([quoted(claim) for claim in history.withdrawn])
        words.append(f"Withdrawn after runs had finished, and still counted in the correction: {withdrawn}.")
    if history.late:
        late = listed([quoted(claim) for claim in history.late])
        words.append(f"Declared after runs had finished, so without a verdict: {late}.")
    if history.looks:
        at = listed([str(n) for n in history.looks])
        words.append(
            f"Seeds were added after the results at {at} seeds could be seen. The study could have stopped there, so "
            f"every p is multiplied by {len(history.looks) + 1} before Holm's correction (Bonferroni over looks)."
        )
    return words


def _cluster_words(analysis: Analysis) -> str:
    """What the intervals are over, and what follows for verdicts."""
    known = [each for c in analysis.comparisons if (each := c.over_clusters) is not None]
    if not known and not analysis.test_examples:
        return "These intervals are over seeds alone: they say nothing of other data than that which gave the scores."
    if not known:
        return (
            f"These intervals are over seeds alone: the study names no `cluster` of {SPLITS[analysis.split]} examples, "
            f"so that they say nothing of other {SPLITS[analysis.split]} examples."
        )
    with_interval = [each for each in known if each.column != DATA_SET and each.interval is not None]
    of_examples = with_interval[0].column if with_interval else ""
    words = (
        f"The interval over seeds and clusters is about other seeds and other values of {of_examples} at once "
        "(two-way clustered, Cameron, Gelbach and Miller 2011; t with the smaller count less one degrees of freedom, "
        "and fewer where clusters are of very unequal sizes)."
    )
    if any(each.decides for each in with_interval):
        words += WIDER
    on_sets = [each for each in known if each.column == DATA_SET]
    of_sets = DATA_SET_WORDS + (WIDER if any(each.decides for each in on_sets) else "")
    notes = dict.fromkeys(each.note for each in known if each.note)
    told = [*([words] if of_examples else ()), *([of_sets] if on_sets else ())]
    return " ".join([*told, *(sentence(note) for note in notes)])


def _variance_words(comparisons: Sequence[Comparison]) -> str:
    return VARIANCE_WORDS.format(of_what(both for c in comparisons if (both := c.over_clusters) and both.shares))


def _where_they_differ(comparisons: Sequence[Comparison]) -> list[str]:
    """A footnote where Holm's verdict and the simultaneous interval say different things, which is not a mistake."""
    names = [
        f"{quoted(c.label)} against {quoted(c.against_label)} in {c.metric.in_text}"
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
    comparisons, withdrawn = analysis.comparisons, len(analysis.history.withdrawn)
    count = len(comparisons)
    these = "this hypothesis" if count == 1 else f"these {count} hypotheses"
    gone = f" and of the {withdrawn} withdrawn" if withdrawn else ""
    limit = "the margin" if any(c.margin for c in comparisons) else "0"
    if analysis.looks:
        return (
            f"Supported: at a planned look a one-sided t-test against {limit} had p ≤ {ALPHA:g} after correction "
            f"for the looks and, by Holm, for both sides of {these}{gone}; refuted: the same test from the other side. "
            f"{_kind_words(comparisons)}What a look has decided stays; what the last look has not decided is "
            "inconclusive. What is not in this table is exploratory. Simultaneous intervals hold for all rows and "
            "looks together in 95 % of studies, repeated ones for all looks of their row. "
        )
    return (
        f"Supported: a one-sided t-test against {limit} has p ≤ {ALPHA:g} after Holm's correction, over both sides "
        f"of {these}{gone}; refuted: the same test from the other side; otherwise inconclusive. "
        f"{_kind_words(comparisons)}There is no verdict below {MIN_SEEDS} seeds. What is not in this table is "
        "exploratory. Simultaneous intervals hold for all rows together in 95 % of studies (Bonferroni); the other "
        "intervals are not corrected. "
    )


def _kind_words(comparisons: Sequence[Comparison]) -> str:
    """How claims of another kind than `better` are tested."""
    kinds = {c.kind for c in comparisons}
    texts = {
        "not_worse": "“Not worse” is tested against minus the margin. ",
        "equivalent": "“Equivalent” takes two one-sided tests, one against the margin and one against minus the "
        "margin, and the larger p. ",
    }
    return "".join(text for kind, text in texts.items() if kind in kinds)
