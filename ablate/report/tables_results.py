"""The tables of arms and runs: matrix, parameters, budget, conditions, gaps. Computes nothing, renders nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ablate.analysis import numbers
from ablate.analysis.budget import BudgetRow, SeedBudget
from ablate.analysis.conditions import ConditionTable
from ablate.analysis.numbers import GAP
from ablate.analysis.phrasing import counted
from ablate.analysis.study_analysis import Analysis
from ablate.report.blocks import Table
from ablate.report.csv_records import flat
from ablate.report.tables import (
    Column,
    arm_column,
    effect_cell,
    effect_columns,
    known,
    named,
    parameters_cell,
    score_columns,
    text_table,
)
from ablate.study import Scalar

SEEDS = "Seeds"


def matrix(analysis: Analysis) -> Table:
    """One row for each arm: its scores, differences to the baseline, parameters and information.

    The records have one row for each arm and metric.
    """
    rows, metrics = analysis.matrix, analysis.metrics
    columns: list[Column] = [
        arm_column(rows),
        *score_columns(rows, metrics),
        *effect_columns(rows, metrics, analysis.places),
        *known(
            (
                ("Parameters", [parameters_cell(row.parameters, reference=row.reference) for row in rows]),
                [row.parameters for row in rows],
            )
        ),
    ]
    if any(row.runs < row.expected_runs for row in rows):
        columns.append((SEEDS, [f"{row.runs} of {row.expected_runs}" for row in rows]))
    columns += [
        (f"{numbers.capital(key)} information", [row.information.get(key, GAP) for row in rows])
        for key in analysis.information
    ]
    records = [
        {
            **{key: value for key, value in flat(row).items() if key != "baseline"},
            **flat(metric, row.scores[metric.name]),
            "against": analysis.baselines.get(row.arm),
            **flat(row.effects.get(metric.name)),
        }
        for row in rows
        for metric in metrics
    ]
    table = text_table(columns, notes=len(analysis.information))
    sweep = "Every arm at every level: the table" if analysis.factor else ""
    return Table("matrix", table, sweep, folded=bool(sweep), records=records)


def parameters(analysis: Analysis) -> Table | None:
    """Parameters of every trained arm: total, named parts, and the number more than the baseline's.

    With the operations and the latency of one example, as far as runs have recorded them; None where none has any.
    """
    rows = analysis.parameters
    totals = [row.total for row in rows]
    parts = list(rows[0].parts) if rows else []
    columns: list[Column] = [
        ("Model", [row.label + (" (baseline)" if row.arm == analysis.baseline else "") for row in rows]),
        *known((("Parameters", [numbers.count(row.total) for row in rows]), totals)),
        *((f"of these {part.replace('_', ' ')}", [numbers.count(row.parts[part]) for row in rows]) for part in parts),
        *known(
            (
                (f"Adds to {analysis.labels[analysis.baseline]}", [numbers.signed_count(row.added) for row in rows]),
                totals,
            ),
            (("Exactly", [GAP if row.total is None else f"{row.total:,.0f}" for row in rows]), totals),
            (("FLOPs of one example", [numbers.count(row.flops) for row in rows]), [row.flops for row in rows]),
            (
                ("Latency of one example", [numbers.milliseconds(row.latency_ms) for row in rows]),
                [row.latency_ms for row in rows],
            ),
        ),
    ]
    if len(columns) == 1:
        return None
    records = [{**flat(row), **{f"parameters_{part}": row.parts[part] for part in parts}} for row in rows]
    return Table("parameters", text_table(columns), records=records)


def budget(analysis: Analysis) -> Table:
    """Trials, epochs, examples and time of every trained arm, used and allotted."""
    rows = analysis.budget
    tuning: list[Column] = [
        ("Trials", [_used(row.used, row.allotted) for row in rows]),
        ("failed", [str(row.failed_trials) for row in rows]),
        *known(
            (
                ("pruned", [GAP if row.pruned_trials is None else str(row.pruned_trials) for row in rows]),
                [row.pruned_trials is not None or None for row in rows],
            ),
        ),
        *known(
            (
                ("Budget of a tuning run", [_value(row.tuning_budget) for row in rows]),
                [row.tuning_budget for row in rows],
            ),
            (
                ("Tuning epochs", [_used(row.used_epochs, row.allotted_epochs) for row in rows]),
                [row.used_epochs or row.allotted_epochs for row in rows],
            ),
            (
                ("Examples seen tuning", [numbers.count(row.used_examples) for row in rows]),
                [row.used_examples for row in rows],
            ),
        ),
        ("Tuning time", [numbers.seconds(row.tuning_seconds) for row in rows]),
    ]
    columns: list[Column] = [
        ("Arm", [row.label for row in rows]),
        *(tuning if analysis.tuned else ()),
        ("Runs", [f"{row.runs} of {row.expected_runs}" for row in rows]),
        *known(
            (("Budget of a run", [_value(row.run_budget) for row in rows]), [row.run_budget for row in rows]),
            (("Epochs a run", [numbers.count(row.epochs) for row in rows]), [row.epochs for row in rows]),
            (("Examples seen a run", [numbers.count(row.examples) for row in rows]), [row.examples for row in rows]),
        ),
        ("Training time a run", [numbers.seconds(row.training_seconds) for row in rows]),
    ]
    without = set() if any(row.run_budget is not None for row in rows) else {"tuning_budget", "run_budget"}
    without |= set() if any(row.pruned_trials is not None for row in rows) else {"pruned_trials"}
    records = [{name: value for name, value in flat(row).items() if name not in without} for row in rows]
    return Table("budget", text_table(columns), records=records)


def budget_by_seed(analysis: Analysis) -> Table | None:
    """What the tuning of every seed has used, a row for each seed; None where there is one tuning of all seeds."""
    rows = [row for row in analysis.budget if row.by_seed]
    if not rows:
        return None
    seeds = [each.seed for each in rows[0].by_seed]
    columns: list[Column] = [
        ("Seed", [str(seed) for seed in seeds]),
        *((row.label, [_seed_budget(each) for each in row.by_seed]) for row in rows),
    ]
    records = [{"arm": row.arm, "label": row.label, **flat(each)} for row in rows for each in row.by_seed]
    return Table(
        "budget_by_seed",
        text_table(columns),
        "What tuning used with every seed: the table",
        folded=True,
        records=records,
    )


def _seed_budget(used: SeedBudget) -> str:
    """`4 trials, 12 epochs`, with what was pruned or failed."""
    parts = [f"{numbers.count(used.epochs)} epochs"] if used.epochs is not None else []
    parts += [f"{count} {what}" for count, what in ((used.pruned, "pruned"), (used.failed, "failed")) if count]
    return ", ".join([counted(used.used, "trial"), *parts])


def tuned(analysis: Analysis) -> Table | None:
    """The tuned values, a column for each arm; None when nothing was tuned.

    Where each seed has a tuning of its own, the lowest and the highest value over the seeds. The records have one row
    for each arm and setting, and seed then.
    """
    rows = analysis.budget
    settings = list(dict.fromkeys(key for row in rows for tuned in row.chosen for key in tuned))
    if not settings:
        return None
    columns = [("Setting", settings), *((row.label, [_values(row.chosen, key) for key in settings]) for row in rows)]
    by_seed: list[tuple[BudgetRow, int | None, Mapping[str, Scalar]]] = [
        *((row, None, row.tuned) for row in rows),
        *((row, seed, tuned) for row in rows for seed, tuned in row.tuned_by_seed.items()),
    ]
    records = [
        {
            "arm": row.arm,
            "label": row.label,
            **({} if seed is None else {"seed": seed}),
            "setting": setting,
            "value": value,
        }
        for row, seed, tuned in by_seed
        for setting, value in tuned.items()
    ]
    return Table("tuned", text_table(columns), records=records)


def condition(table: ConditionTable, analysis: Analysis) -> Table:
    """One row for each bin: examples, the scores of trained arms, and differences of the arms the answer is about.

    The records have one row for each arm and bin.
    """
    labels, noted = analysis.labels, any(table.notes)
    compared = {arm: table.effects[arm] for arm in analysis.focus if arm in table.effects}
    score_decimals = numbers.decimals_for((e for bins in table.scores.values() for e in bins), coarse=True)
    effect_decimals = numbers.decimals_for(e.difference for bins in compared.values() for e in bins)
    columns: list[Column] = [
        (table.label, table.bins.labels),
        *([("Note", table.notes)] if noted else []),
        ("Examples", [str(count) for count in table.examples]),
        *([("People", [str(count) for count in table.people])] if table.people else []),
        *((labels[arm], [numbers.score(e, score_decimals) for e in bins]) for arm, bins in table.scores.items()),
        *((f"Δ {labels[arm]}", [effect_cell(e, effect_decimals) for e in bins]) for arm, bins in compared.items()),
    ]
    records = [
        {
            "condition": table.column,
            "bin": name,
            "centre": table.bins.centres[index],
            "examples": table.examples[index],
            "people": table.people[index] if table.people else None,
            "bin_note": table.notes[index],
            "arm": arm,
            **flat(table.metric, scores[index], table.effects[arm][index] if arm in table.effects else None),
        }
        for arm, scores in table.scores.items()
        for index, name in enumerate(table.bins.labels)
    ]
    name, caption = f"by_{table.column}-{table.metric.name}", f"{named(table.metric)}: the table"
    return Table(name, text_table(columns, words=2 if noted else 1), caption, folded=True, records=records)


def gaps(analysis: Analysis) -> Table:
    """The runs without a score, and the reason."""
    rows = analysis.gaps
    columns: list[Column] = [
        ("Arm", [row.label for row in rows]),
        ("Seed", [str(row.seed) for row in rows]),
        ("State", [row.status for row in rows]),
        ("Reason", [row.error or GAP for row in rows]),
    ]
    return Table("gaps", text_table(columns, words=4))


def _used(used: float | None, allotted: int | None) -> str:
    """`6 of 8`, or `6` where nothing was allotted; an unknown number is a gap."""
    return numbers.count(used or None) if allotted is None else f"{numbers.count(used)} of {numbers.count(allotted)}"


def _values(chosen: Sequence[Mapping[str, Scalar]], setting: str) -> str:
    """The value that every tuning chose; numbers from the lowest to the highest; else each value with its count."""
    values = [tuned[setting] for tuned in chosen if setting in tuned]
    distinct = list(dict.fromkeys(values))
    if len(distinct) < 2:
        return _value(distinct[0] if distinct else None)
    numeric = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numeric) == len(values):
        return f"{_value(min(numeric))} to {_value(max(numeric))}"
    return ", ".join(f"{value} ({values.count(value)}×)" for value in distinct)


def _value(value: object) -> str:
    return GAP if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
