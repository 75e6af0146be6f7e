"""An Analysis as tables of text: what the report and the terminal both show. Computes nothing, renders nothing."""

from __future__ import annotations

from dataclasses import dataclass

from ablate.claims import numbers
from ablate.claims.analysis import Analysis, MatrixRow
from ablate.claims.conditions import ConditionTable
from ablate.claims.costs import BudgetRow
from ablate.claims.numbers import GAP
from ablate.claims.records import MetricInfo
from ablate.claims.statistics import Effect

SEEDS = "Seeds"


@dataclass(frozen=True)
class Cell:
    """Text, and whether it stands out: a difference whose interval excludes zero, the row of a yardstick."""

    text: str
    strong: bool = False
    faint: bool = False


@dataclass(frozen=True)
class TextTable:
    """Columns and rows of text. The first `words` columns are words and stand left; the rest are numbers."""

    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    words: int = 1


def matrix(analysis: Analysis) -> TextTable:
    """Arm, what it can read each quantity from, parameters, each metric, each difference to the baseline."""
    trained = [row for row in analysis.matrix if not row.reference]
    places = {m.name: numbers.decimals((r.scores[m.name] for r in trained), coarse=True) for m in analysis.metrics}
    seeds = any(row.runs < row.expected_runs for row in analysis.matrix)
    header = ["Arm", *(f"{numbers.capital(key)} information" for key in analysis.information), "Parameters"]
    header += [named(m) for m in analysis.metrics] + [f"Δ {named(m)}" for m in analysis.metrics]
    rows = []
    for row in analysis.matrix:
        cells = [Cell(row.label, strong=row.baseline, faint=row.reference)]
        cells += [Cell(row.information.get(key, GAP)) for key in analysis.information]
        # a yardstick fits or computes what it needs without trained parameters: 0 would read as a price
        cells += [Cell(GAP if row.reference and not row.parameters else numbers.count(row.parameters))]
        cells += [Cell(numbers.score(row.scores[m.name], places[m.name])) for m in analysis.metrics]
        cells += [_difference(row, m, analysis.places[m.name]) for m in analysis.metrics]
        rows.append((*cells, Cell(f"{row.runs} of {row.expected_runs}")) if seeds else tuple(cells))
    return TextTable((*header, *([SEEDS] if seeds else [])), tuple(rows), words=1 + len(analysis.information))


def parameters(analysis: Analysis) -> TextTable:
    """Total and named parts of every trained arm's parameters, and what it adds to the baseline."""
    parts = list(analysis.parameters[0].parts) if analysis.parameters else []
    header = ["Model", "Parameters", *(f"of these {part.replace('_', ' ')}" for part in parts)]
    header += [f"Adds to {analysis.labels[analysis.baseline]}", "Exactly"]
    measured = any(row.latency_ms is not None for row in analysis.parameters)
    header += ["FLOPs of one example", *(["Latency of one example"] if measured else [])]
    rows = [
        _cells(
            row.label + (" (baseline)" if row.arm == analysis.baseline else ""),
            numbers.count(row.total),
            *(numbers.count(row.parts[part]) for part in parts),
            numbers.signed_count(row.added),
            GAP if row.total is None else f"{row.total:,.0f}",
            numbers.count(row.flops),
            *([numbers.number(row.latency_ms, 2) + " ms"] if measured else []),
        )
        for row in analysis.parameters
    ]
    return TextTable(tuple(header), tuple(rows))


def budget(analysis: Analysis) -> TextTable:
    """Trials, epochs, examples and time of every trained arm: used of what was allotted."""
    tuning = ("Trials", "failed", "Tuning epochs", "Examples seen tuning", "Tuning time") if analysis.tuned else ()
    header = ("Arm", *tuning, "Runs", "Epochs a run", "Examples seen a run", "Training time a run")
    return TextTable(header, tuple(_budget_row(row, tuned=analysis.tuned) for row in analysis.budget))


def tuned(analysis: Analysis) -> TextTable | None:
    """The tuned values, a column an arm; None when nothing was tuned."""
    settings = list(dict.fromkeys(key for row in analysis.budget for key in row.tuned))
    if not settings:
        return None
    header = ("Setting", *(row.label for row in analysis.budget))
    rows = [_cells(key, *(_value(row.tuned.get(key)) for row in analysis.budget)) for key in settings]
    return TextTable(header, tuple(rows))


def condition(table: ConditionTable, analysis: Analysis) -> TextTable:
    """A row a bin: examples, every trained arm's score, and the differences of the arms the answer is about."""
    arms = list(table.scores)
    compared = [arm for arm in analysis.focus if arm in table.effects]
    places = numbers.decimals((e for arm in arms for e in table.scores[arm]), coarse=True)
    gaps = numbers.decimals(e.difference for arm in compared for e in table.effects[arm])
    noted, people = any(table.notes), table.people
    header = [table.label, *(["Note"] if noted else []), "Examples", *(["People"] if people else [])]
    header += [*(analysis.labels[arm] for arm in arms), *(f"Δ {analysis.labels[arm]}" for arm in compared)]
    rows = []
    for i, name in enumerate(table.bins.labels):
        where = [
            name,
            *([table.notes[i]] if noted else []),
            str(table.examples[i]),
            *([str(people[i])] if people else []),
        ]
        scores = (numbers.score(table.scores[arm][i], places) for arm in arms)
        rows.append((*_cells(*where, *scores), *(_effect_cell(table.effects[arm][i], gaps) for arm in compared)))
    return TextTable(tuple(header), tuple(rows), words=2 if noted else 1)


def gaps(analysis: Analysis) -> TextTable:
    """The runs that gave no number, and why."""
    rows = [_cells(gap.label, str(gap.seed), gap.status, gap.error or GAP) for gap in analysis.gaps]
    return TextTable(("Arm", "Seed", "State", "Reason"), tuple(rows), words=4)


def named(metric: MetricInfo) -> str:
    """`Azimuth error (°)`."""
    unit = numbers.unit_text(metric.unit)
    return f"{metric.short} ({unit})" if unit else metric.short


def _budget_row(row: BudgetRow, *, tuned: bool) -> tuple[Cell, ...]:
    trials = (
        _used(row.used, row.allotted),
        str(row.failed_trials),
        _used(row.used_epochs, row.allotted_epochs),
        numbers.count(row.used_examples),
        numbers.seconds(row.tuning_seconds),
    )
    return _cells(
        row.label,
        *(trials if tuned else ()),
        f"{row.runs} of {row.expected_runs}",
        numbers.count(row.epochs),
        numbers.count(row.examples),
        numbers.seconds(row.training_seconds),
    )


def _used(used: float | None, allotted: int | None) -> str:
    """`6 of 8`; what is not known is a gap."""
    if allotted is None:
        return GAP
    return f"{numbers.count(used)} of {numbers.count(allotted)}"


def _difference(row: MatrixRow, metric: MetricInfo, places: int) -> Cell:
    return _effect_cell(row.effects[metric.name], places) if row.effects else Cell(GAP)


def _effect_cell(effect: Effect, places: int) -> Cell:
    return Cell(numbers.difference(effect.difference, places), strong=effect.difference.excludes_zero)


def _cells(*texts: str) -> tuple[Cell, ...]:
    return tuple(Cell(text) for text in texts)


def _value(value: object) -> str:
    return GAP if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
