"""Two arms side by side on a terminal, or as JSON. Computes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ablate.analysis import numbers
from ablate.analysis.clusters import of_what
from ablate.analysis.compare import ArmComparison, OtherHypothesis, Pair
from ablate.analysis.phrasing import counted, margin_text, quoted
from ablate.analysis.population import Population
from ablate.analysis.records import SPLITS, correction_words
from ablate.analysis.statistics import EXACT_PAIRS, Effect, Estimate
from ablate.report import terminal, tidy
from ablate.report.tables import Cell, TextTable
from ablate.report.tables_claims import KINDS

SCORE_DIGITS = 4  # significant digits of a seed's score: enough to check a difference by hand


def print_comparisons(study: str, comparisons: Sequence[ArmComparison], console: Console | None = None) -> None:
    """For each metric: every seed's scores and difference, then the summary."""
    console = console or terminal.new_console()
    first = comparisons[0]
    data = f"{SPLITS[first.metric.split]} data"
    title = f"{quoted(first.label)} against {quoted(first.against_label)}"
    console.print(f"[bold]{escape(title)}[/bold] ({escape(study)}, {data})")
    for each in comparisons:
        console.print()
        terminal.print_table(console, seeds(each), title=f"{each.metric.label}, {each.metric.direction} is better")
        lines = Table.grid(padding=(0, 2))
        for name, text in summary(each):
            lines.add_row(name, escape(text))
        console.print(lines)


def document(study: str, comparisons: Sequence[ArmComparison]) -> str:
    """The same as JSON; a value that is not a finite number is null."""
    return json.dumps({"study": study, "comparisons": tidy.plain(comparisons)}, ensure_ascii=False, allow_nan=False)


def seeds(each: ArmComparison) -> TextTable:
    """One row for each seed: both scores and their difference; then the means over the pairs."""
    decimals = max(each.places, _score_decimals(each.pairs))
    header = ("Seed", each.label, each.against_label, f"Difference{numbers.in_brackets(each.metric.unit)}")
    rows = [_row(str(p.seed), p.arm, p.against, p.difference, decimals) for p in each.pairs]
    complete = [p for p in each.pairs if p.difference is not None]
    if len(complete) > 1:
        ours, theirs = (sum(p.arm or 0.0 for p in complete), sum(p.against or 0.0 for p in complete))
        ours, theirs = ours / len(complete), theirs / len(complete)
        means = [numbers.number(score, each.score_places) for score in (ours, theirs)]  # rounded as in the report
        gap = numbers.signed(each.effect.difference.mean, each.places)
        rows.append(tuple(Cell(text, strong=True) for text in ("Mean", *means, gap)))
    return TextTable(header, tuple(rows))


def summary(each: ArmComparison) -> list[tuple[str, str]]:
    """Lines of a name and its text: missing pairs, difference, tests, people, declared hypothesis, other studies."""
    return [
        *(("Left out", f"seed {p.seed}: {p.reason}") for p in each.pairs if p.difference is None),
        ("Difference", f"{_difference(each)}, {counted(each.effect.difference.n, 'pair')}"),
        *_over_clusters(each),
        *_tests(each),
        *([("People", _people(each, each.population))] if each.population else ()),
        *_verdict(each, each),
        *(line for other in each.others for line in _verdict(each, other)),
    ]


def _over_clusters(each: ArmComparison) -> list[tuple[str, str]]:
    both = each.over_clusters
    if both is None:
        return []
    name = numbers.capital(of_what([both]))
    if both.interval is None or not both.interval.standard_error:
        return [(name, f"none: {both.note or (both.interval and both.interval.note)}")]
    text = f"{_interval(both.interval, each)}, over {both.words}"
    return [(name, f"{text}; {both.note}" if both.note else text)]


def _tests(each: ArmComparison) -> list[tuple[str, str]]:
    effect = each.effect
    if effect.p is None:
        return [("p", f"none: {effect.difference.note}")]
    flip = "" if effect.p_sign_flip is None else f", sign-flip {numbers.p_value(effect.p_sign_flip)} ({_flip(effect)})"
    lines = [("d_z", f"{numbers.signed(effect.d_z, 2)} (mean difference over its standard deviation)")]
    lines.append(("p", f"t {numbers.p_value(effect.p)}{flip}; two-sided against 0, over seeds, not corrected"))
    if effect.overlap:
        added = f"{effect.overlap:.2g} of one pair's variance is added to that of the mean"
        lines.append(("Overlap", f"seeds share training examples: {added} ({correction_words(folds=each.folds)})"))
    return lines


def _flip(effect: Effect) -> str:
    """How the sign-flip p was computed, and whether it could be smaller."""
    pairs = effect.difference.n
    if numbers.at_floor(effect):
        return f"exact; no {pairs} pairs can have a smaller one"
    return "exact" if pairs <= EXACT_PAIRS else "by its normal approximation"


def _people(each: ArmComparison, people: Population) -> str:
    if people.difference.mean is None:
        return people.note
    note = people.note or f"interval over {people.subjects} people, not over seeds; every person counts the same"
    interval = f"95 % interval {numbers.interval(people.difference, each.places)}"
    return f"{_estimate(people.difference, each, interval)}; {note}"


def _verdict(each: ArmComparison, claim: ArmComparison | OtherHypothesis) -> Iterator[tuple[str, str]]:
    """The verdict on one hypothesis about the comparison, and what other studies found of it."""
    if not each.declared:
        yield "Verdict", "exploratory: no hypothesis of the study asks for this comparison"
        return
    kind = "" if claim.kind == "better" else f": {KINDS[claim.kind]}"
    margin = f", margin {margin_text(claim.margin, each.metric)}" if claim.margin else ""
    reason = f": {claim.reason}" if claim.reason else ""
    yield "Verdict", f"{claim.verdict} (declared hypothesis{kind}{margin}){reason}"
    if claim.elsewhere:
        yield "Elsewhere", claim.elsewhere.sentence


def _difference(each: ArmComparison) -> str:
    gap = each.effect.difference
    return _estimate(gap, each, _interval(gap, each))


def _interval(estimate: Estimate, each: ArmComparison) -> str:
    """`95 % interval [−0.41, −0.10]`; `repeated …` where it holds at all planned looks together."""
    return f"{'repeated ' if each.repeated else ''}95 % interval {numbers.interval(estimate, each.places)}"


def _estimate(estimate: Estimate, each: ArmComparison, interval: str) -> str:
    if estimate.mean is None:
        return numbers.GAP
    mean = numbers.with_unit(numbers.signed(estimate.mean, each.places), each.metric.unit)
    if estimate.low is None or estimate.low == estimate.high:
        return mean
    return f"{mean}, {interval}"


def _row(name: str, ours: float | None, theirs: float | None, gap: float | None, decimals: int) -> tuple[Cell, ...]:
    texts = (name, numbers.number(ours, decimals), numbers.number(theirs, decimals), numbers.signed(gap, decimals))
    return tuple(map(Cell, texts))


def _score_decimals(pairs: Sequence[Pair]) -> int:
    scores = [Estimate(score, None, None, 1) for p in pairs for score in (p.arm, p.against)]
    return numbers.decimals_for(scores) + SCORE_DIGITS - 3
