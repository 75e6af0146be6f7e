"""Two arms side by side on a terminal, or as JSON. Computes nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ablate.analysis import numbers
from ablate.analysis.compare import ArmComparison, Pair
from ablate.analysis.phrasing import counted, margin_text
from ablate.analysis.statistics import Estimate
from ablate.report import terminal, tidy
from ablate.report.tables import Cell, TextTable

SCORE_DIGITS = 4  # significant ones of a seed's score: enough to check a difference by hand


def print_comparisons(study: str, found: Sequence[ArmComparison], console: Console | None = None) -> None:
    """For each metric every seed's scores and difference, then what they say together."""
    console = console or Console()
    first = found[0]
    console.print(f"[bold]{escape(f'{first.label} against {first.against_label}')}[/bold] ({escape(study)}, test data)")
    for each in found:
        console.print()
        terminal.print_table(console, seeds(each), title=f"{each.metric.label}, {each.metric.direction} is better")
        lines = Table.grid(padding=(0, 2))
        for name, text in summary(each):
            lines.add_row(name, escape(text))
        console.print(lines)


def document(study: str, found: Sequence[ArmComparison]) -> str:
    """The same as JSON; what is no number is null."""
    return json.dumps({"study": study, "comparisons": tidy.plain(found)}, ensure_ascii=False, allow_nan=False)


def seeds(each: ArmComparison) -> TextTable:
    """A row a seed: both scores and their difference; then the means over the pairs."""
    places = max(each.places, _score_places(each.pairs))
    header = ("Seed", each.label, each.against_label, f"Difference{numbers.in_brackets(each.metric.unit)}")
    rows = [_row(str(p.seed), p.arm, p.against, p.difference, places) for p in each.pairs]
    whole = [p for p in each.pairs if p.difference is not None]
    if len(whole) > 1:
        ours, theirs = (sum(v or 0.0 for v in side) / len(whole) for side in _sides(whole))
        rows.append(_row("Mean", ours, theirs, each.effect.difference.mean, places, strong=True))
    return TextTable(header, tuple(rows))


def summary(each: ArmComparison) -> list[tuple[str, str]]:
    """Missing pairs, difference, tests, people and declared hypothesis: a name and its words, a line each."""
    return [
        *(("Left out", f"seed {p.seed}: {p.reason}") for p in each.pairs if p.difference is None),
        ("Difference", f"{_estimate(each.effect.difference, each)}, {counted(each.effect.difference.n, 'pair')}"),
        *_tests(each),
        ("People", _people(each)),
        ("Verdict", _verdict(each)),
    ]


def _tests(each: ArmComparison) -> list[tuple[str, str]]:
    effect = each.effect
    if effect.p is None:
        return [("p", f"none: {effect.difference.note or 'too few pairs'}")]
    flip = "" if effect.p_sign_flip is None else f", sign-flip {numbers.p_value(effect.p_sign_flip)} (exact)"
    lines = [("d_z", f"{numbers.signed(effect.d_z, 2)} (mean difference over its standard deviation)")]
    lines.append(("p", f"t {numbers.p_value(effect.p)}{flip}; two-sided, not corrected"))
    if effect.overlap:
        lines.append(("Overlap", f"{effect.overlap:.2g} test examples a training example: the interval allows for it"))
    return lines


def _people(each: ArmComparison) -> str:
    people = each.population
    if people.difference.mean is None:
        return people.note or "no people are named in the test data"
    note = people.note or f"interval over {people.subjects} people, not over seeds"
    return f"{_estimate(people.difference, each)}; {note}"


def _verdict(each: ArmComparison) -> str:
    if not each.declared:
        return "exploratory: no hypothesis of the study asks for this comparison"
    margin = f", margin {margin_text(each.margin, each.metric)}" if each.margin else ""
    return f"{each.verdict} (declared hypothesis{margin})" + (f": {each.reason}" if each.reason else "")


def _estimate(found: Estimate, each: ArmComparison) -> str:
    if found.mean is None:
        return numbers.GAP
    mean = numbers.with_unit(numbers.signed(found.mean, each.places), each.metric.unit)
    if found.low is None or found.low == found.high:
        return mean
    return f"{mean}, 95 % interval {numbers.interval(found, each.places)}"


def _row(
    name: str, ours: float | None, theirs: float | None, gap: float | None, places: int, *, strong: bool = False
) -> tuple[Cell, ...]:
    texts = (name, numbers.number(ours, places), numbers.number(theirs, places), numbers.signed(gap, places))
    return tuple(Cell(text, strong=strong) for text in texts)


def _score_places(pairs: Sequence[Pair]) -> int:
    values = [abs(v) for p in pairs for v in (p.arm, p.against) if v]
    largest = Estimate(max(values), None, None, 1) if values else Estimate(1.0, None, None, 1)
    return numbers.decimals_for([largest]) + SCORE_DIGITS - 3


def _sides(pairs: Sequence[Pair]) -> tuple[list[float | None], list[float | None]]:
    return [p.arm for p in pairs], [p.against for p in pairs]
