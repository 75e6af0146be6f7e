"""The planned looks of a study as a table: how small a p must be at each, and what each has decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ablate.analysis.answer import Comparison
from ablate.analysis.phrasing import quoted
from ablate.analysis.results import Results
from ablate.analysis.spending import looks_of
from ablate.analysis.statistics import ALPHA
from ablate.study.amend import history_of


@dataclass(frozen=True)
class LookRow:
    """One planned look. The levels are the largest one-sided p values of the t-test that decide a hypothesis while no
    other is decided, and when all others are that can be: neither withdrawn nor late ones, which stay in the family
    (Holm); `spent`: the share of 5 % that is used up by then."""

    seeds: int
    share: float  # of the seeds at the last look
    spent: float
    first_level: float
    last_level: float
    taken: bool
    decided: tuple[str, ...]  # the hypotheses that this look has decided, in words


def look_rows(results: Results, comparisons: Sequence[Comparison]) -> tuple[LookRow, ...]:
    """A row for each planned look; none without `[stopping]`."""
    looks = looks_of(results.study)
    if looks is None:
        return ()
    late = len(history_of(results.document, results.study).late)
    family, others = max((c.family for c in comparisons), default=1), max(0, len(comparisons) - late - 1)
    first, last = looks.levels(ALPHA / (2 * family)), looks.levels(ALPHA / (2 * family - others))
    columns = (looks.seeds, looks.spent(ALPHA), first, last)
    return tuple(
        LookRow(
            seeds,
            seeds / looks.seeds[-1],
            spent / ALPHA,
            first,
            last,
            seeds in results.looks,
            tuple(_words(c) for c in comparisons if c.judgement is not None and c.judgement.look == seeds),
        )
        for seeds, spent, first, last in zip(*columns, strict=True)
    )


def _words(c: Comparison) -> str:
    return f"{quoted(c.label)} against {quoted(c.against_label)} in {c.metric.in_text}: {c.verdict}"
