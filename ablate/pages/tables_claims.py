"""Claims as tables of text: hypotheses, controls, people, other data. Computes nothing, renders nothing."""

from __future__ import annotations

from collections.abc import Sequence

from ablate.claims import numbers
from ablate.claims.answer import Comparison
from ablate.claims.controls import ControlFinding
from ablate.claims.external import ExternalTable
from ablate.claims.numbers import GAP
from ablate.claims.people import PopulationRow
from ablate.claims.statistics import Effect
from ablate.pages.tables import Cell, TextTable, named


def comparisons(found: Sequence[Comparison]) -> TextTable:
    """A row a comparison: verdict where it was declared, difference, both p, the adjusted one."""
    declared = any(not c.exploratory for c in found)
    header = ["Arm", "Against", "Metric", *(["Verdict"] if declared else [])]
    header += [
        *(["Margin"] if declared else []),
        "Difference [95 % interval]",
        "Pairs",
        "d_z",
        "p (t)",
        "p (sign-flip)",
    ]
    header += ["p (Holm)"] if declared else []
    rows = [_comparison(c, declared=declared) for c in found]
    return TextTable(tuple(header), tuple(rows), words=4 if declared else 3)


def reasons(found: Sequence[Comparison]) -> list[str]:
    """Why a verdict is what it is, or what is unusual about a difference; a sentence a comparison that has one."""
    of_pair = [(f"{c.label} against {c.against_label}, {named(c.metric)}", c.reason) for c in found]
    return [f"{what}: {why.rstrip('.')}." for what, why in of_pair if why]


def populations(rows: Sequence[PopulationRow]) -> TextTable:
    """A row a comparison: the difference over people instead of over seeds."""
    header = ("Arm", "Against", "Metric", "Reading", "People", "Difference [95 % interval over people]")
    cells = [
        _cells(
            row.label,
            row.against_label,
            named(row.metric),
            "descriptive" if row.population.descriptive else "hypothesis" if row.declared else "exploratory",
            str(row.population.subjects),
            numbers.difference(row.population.difference, row.places),
        )
        for row in rows
    ]
    return TextTable(header, tuple(cells), words=4)


def controls(findings: Sequence[ControlFinding]) -> TextTable:
    """Every control next to what it controls for: gain, what remains of it, and what the control alone gives."""
    header = ("Control", "Made by", "Controls for", "Metric", "Δ controlled arm", "Δ control", "Controlled − control")
    rows = [
        (
            *(Cell(text) for text in (finding.label, finding.what, finding.of_label, named(row.metric))),
            _effect(row.gain, row.places),
            _effect(row.control, row.places),
            _effect(row.remaining, row.places),
        )
        for finding in findings
        for row in finding.rows
    ]
    return TextTable(header, tuple(rows), words=4)


def external(table: ExternalTable) -> TextTable:
    """A row an arm: its scores on other data, and the differences to the baseline there."""
    trained = [row for row in table.rows if not row.reference]
    names = [m.name for m in table.metrics]
    places = {n: numbers.decimals((r.scores[n] for r in trained if n in r.scores), coarse=True) for n in names}
    header = ["Arm", "Runs", *(named(m) for m in table.metrics), *(f"Δ {named(m)}" for m in table.metrics)]
    rows = []
    for row in table.rows:
        cells = [Cell(row.label, strong=row.baseline, faint=row.reference), Cell(str(row.runs))]
        cells += [Cell(numbers.score(row.scores[n], places[n]) if n in row.scores else GAP) for n in names]
        rows.append((*cells, *(_effect(row.effects.get(n), table.places.get(n, 2)) for n in names)))
    return TextTable(tuple(header), tuple(rows))


def _comparison(c: Comparison, *, declared: bool) -> tuple[Cell, ...]:
    gap = c.effect.difference
    margin = GAP if c.margin is None else numbers.with_unit(f"{c.margin:g}", c.metric.unit)
    cells = [Cell(c.label), Cell(c.against_label), Cell(named(c.metric))]
    if declared:
        cells += [Cell(c.verdict, strong=c.verdict in ("supported", "refuted")), Cell(margin)]
    cells += [Cell(numbers.difference(gap, c.places)), Cell(str(gap.n)), Cell(numbers.signed(c.effect.d_z, 2))]
    cells += [Cell(numbers.p_value(c.effect.p)), Cell(numbers.p_value(c.effect.p_sign_flip))]
    return (*cells, *([Cell(numbers.p_value(c.p_adjusted))] if declared else []))


def _effect(effect: Effect | None, places: int) -> Cell:
    if effect is None:
        return Cell(GAP)
    return Cell(numbers.difference(effect.difference, places), strong=effect.difference.excludes_zero)


def _cells(*texts: str) -> tuple[Cell, ...]:
    return tuple(Cell(text) for text in texts)
