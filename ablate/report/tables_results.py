"""The tables of arms and runs: matrix, parameters, budget, conditions, gaps. Computes nothing, renders nothing."""

from __future__ import annotations

from ablate.analysis import numbers
from ablate.analysis.conditions import ConditionTable
from ablate.analysis.numbers import GAP
from ablate.analysis.study_analysis import Analysis
from ablate.report.blocks import Record, Table
from ablate.report.json_records import effect_fields, flat, flat_each, metric_fields
from ablate.report.tables import Cell, Column, effect_cell, named, parameters_cell, text_table

SEEDS = "Seeds"


def matrix(analysis: Analysis) -> Table:
    """Arm, its information on each quantity, parameters, each metric, each difference to the baseline.

    In the records a row is an arm and metric.
    """
    rows, metrics = analysis.matrix, analysis.metrics
    trained = [row for row in rows if not row.reference]
    places = {m.name: numbers.decimals_for((row.scores[m.name] for row in trained), coarse=True) for m in metrics}
    columns: list[Column] = [
        ("Arm", [Cell(row.label, strong=row.baseline, faint=row.reference) for row in rows]),
        *(
            (f"{numbers.capital(key)} information", [row.information.get(key, GAP) for row in rows])
            for key in analysis.information
        ),
        ("Parameters", [parameters_cell(row.parameters, reference=row.reference) for row in rows]),
        *((named(m), [numbers.score(row.scores[m.name], places[m.name]) for row in rows]) for m in metrics),
        *(
            (f"Δ {named(m)}", [effect_cell(row.effects.get(m.name), analysis.places[m.name]) for row in rows])
            for m in metrics
        ),
    ]
    if any(row.runs < row.expected_runs for row in rows):
        columns.append((SEEDS, [f"{row.runs} of {row.expected_runs}" for row in rows]))
    records: tuple[Record, ...] = tuple(
        {
            **{key: value for key, value in flat(row).items() if key != "baseline"},
            **metric_fields(metric),
            **flat(row.scores[metric.name]),
            "against": analysis.baselines.get(row.arm),
            **effect_fields(row.effects.get(metric.name)),
        }
        for row in rows
        for metric in metrics
    )
    return Table("matrix", text_table(columns, words=1 + len(analysis.information)), records=records)


def parameters(analysis: Analysis) -> Table:
    """Total and named parts of every trained arm's parameters, and what it adds to the baseline."""
    rows = analysis.parameters
    parts = list(rows[0].parts) if rows else []
    columns: list[Column] = [
        ("Model", [row.label + (" (baseline)" if row.arm == analysis.baseline else "") for row in rows]),
        ("Parameters", [numbers.count(row.total) for row in rows]),
        *((f"of these {part.replace('_', ' ')}", [numbers.count(row.parts[part]) for row in rows]) for part in parts),
        (f"Adds to {analysis.labels[analysis.baseline]}", [numbers.signed_count(row.added) for row in rows]),
        ("Exactly", [GAP if row.total is None else f"{row.total:,.0f}" for row in rows]),
        ("FLOPs of one example", [numbers.count(row.flops) for row in rows]),
    ]
    if any(row.latency_ms is not None for row in rows):
        columns.append(("Latency of one example", [numbers.number(row.latency_ms, 2) + " ms" for row in rows]))
    records: tuple[Record, ...] = tuple(
        {**flat(row), **{f"parameters_{part}": row.parts[part] for part in parts}} for row in rows
    )
    return Table("parameters", text_table(columns), records=records)


def budget(analysis: Analysis) -> Table:
    """Trials, epochs, examples and time of every trained arm: used of what was allotted."""
    rows = analysis.budget
    tuning: list[Column] = [
        ("Trials", [_used(row.used, row.allotted) for row in rows]),
        ("failed", [str(row.failed_trials) for row in rows]),
        ("Tuning epochs", [_used(row.used_epochs, row.allotted_epochs) for row in rows]),
        ("Examples seen tuning", [numbers.count(row.used_examples) for row in rows]),
        ("Tuning time", [numbers.seconds(row.tuning_seconds) for row in rows]),
    ]
    columns: list[Column] = [
        ("Arm", [row.label for row in rows]),
        *(tuning if analysis.tuned else ()),
        ("Runs", [f"{row.runs} of {row.expected_runs}" for row in rows]),
        ("Epochs a run", [numbers.count(row.epochs) for row in rows]),
        ("Examples seen a run", [numbers.count(row.examples) for row in rows]),
        ("Training time a run", [numbers.seconds(row.training_seconds) for row in rows]),
    ]
    return Table("budget", text_table(columns), records=flat_each(rows))


def tuned(analysis: Analysis) -> Table | None:
    """The tuned values, a column an arm; None when nothing was tuned. In the records a row is an arm and setting."""
    rows = analysis.budget
    settings = list(dict.fromkeys(key for row in rows for key in row.tuned))
    if not settings:
        return None
    columns = [("Setting", settings), *((row.label, [_value(row.tuned.get(key)) for key in settings]) for row in rows)]
    records: tuple[Record, ...] = tuple(
        {"arm": row.arm, "label": row.label, "setting": setting, "value": value}
        for row in rows
        for setting, value in row.tuned.items()
    )
    return Table("tuned", text_table(columns), records=records)


def condition(table: ConditionTable, analysis: Analysis) -> Table:
    """A row a bin: examples, every trained arm's score, and the differences of the arms the answer is about.

    In the records a row is an arm and bin.
    """
    labels, noted = analysis.labels, any(table.notes)
    compared = {arm: table.effects[arm] for arm in analysis.focus if arm in table.effects}
    places = numbers.decimals_for((e for found in table.scores.values() for e in found), coarse=True)
    gaps = numbers.decimals_for(e.difference for found in compared.values() for e in found)
    columns: list[Column] = [
        (table.label, table.bins.labels),
        *([("Note", table.notes)] if noted else []),
        ("Examples", [str(count) for count in table.examples]),
        *([("People", [str(count) for count in table.people])] if table.people else []),
        *((labels[arm], [numbers.score(e, places) for e in found]) for arm, found in table.scores.items()),
        *((f"Δ {labels[arm]}", [effect_cell(e, gaps) for e in found]) for arm, found in compared.items()),
    ]
    records: tuple[Record, ...] = tuple(
        {
            "condition": table.column,
            "bin": name,
            "centre": table.bins.centres[place],
            "examples": table.examples[place],
            "people": table.people[place] if table.people else None,
            "bin_note": table.notes[place],
            "arm": arm,
            **metric_fields(table.metric),
            **flat(found[place]),
            **effect_fields(table.effects[arm][place] if arm in table.effects else None),
        }
        for arm, found in table.scores.items()
        for place, name in enumerate(table.bins.labels)
    )
    name, caption = f"by_{table.column}-{table.metric.name}", f"{named(table.metric)}: the table"
    return Table(name, text_table(columns, words=2 if noted else 1), caption, folded=True, records=records)


def gaps(analysis: Analysis) -> Table:
    """The runs without a score, and why."""
    rows = analysis.gaps
    columns: list[Column] = [
        ("Arm", [row.label for row in rows]),
        ("Seed", [str(row.seed) for row in rows]),
        ("State", [row.status for row in rows]),
        ("Reason", [row.error or GAP for row in rows]),
    ]
    return Table("gaps", text_table(columns, words=4))


def _used(used: float | None, allotted: int | None) -> str:
    """`6 of 8`; what is not known is a gap."""
    return GAP if allotted is None else f"{numbers.count(used)} of {numbers.count(allotted)}"


def _value(value: object) -> str:
    return GAP if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
