"""The tables beside the figures: densities, cost, tuning, factor, learning curves. Computes nothing, draws nothing."""

from __future__ import annotations

from collections.abc import Sequence

from ablate.analysis import numbers
from ablate.analysis.costs import CostPoint
from ablate.analysis.densities import ArmDensity, DensityTable
from ablate.analysis.factor import FactorCurve
from ablate.analysis.numbers import GAP
from ablate.analysis.records import MetricInfo
from ablate.analysis.statistics import Estimate
from ablate.analysis.study_analysis import Analysis
from ablate.analysis.tuning_history import MIN_TRIALS, ArmHistory, TuningHistory
from ablate.report.blocks import Record, Table
from ablate.report.csv_records import flat
from ablate.report.tables import Cell, Column, effect_cell, known, named, parameters_cell, text_table


def density(table: DensityTable) -> Table:
    """One row for each arm: which share of its predictions is near the truth, and which is far from it.

    The records have one row for each arm and share, in per cent of the examples.
    """
    rows = list(table.arms.values())
    columns: list[Column] = [
        ("Arm", [row.label for row in rows]),
        *((f"{name} (%)", [_share(row, index, rows) for row in rows]) for index, name in enumerate(table.names)),
    ]
    if any(row.outside for row in rows):
        columns.append(("Beyond the figure", [str(row.outside) for row in rows]))
    records = [
        {"column": table.column, "arm": row.arm, "label": row.label, "share": name, "unit": "%", **flat(share)}
        for row in rows
        for name, share in zip(table.names, row.shares, strict=True)
    ]
    return Table(f"density_{table.column}", text_table(columns), records=records)


def cost(points: Sequence[CostPoint], metric: MetricInfo) -> Table:
    """One row for each arm: its costs and score; references last. The records have a row for each arm and metric."""
    scores = [point.scores[metric.name] for point in points]
    decimals = numbers.decimals_for((p.scores[metric.name] for p in points if not p.reference), coarse=True)
    columns: list[Column] = [
        ("Arm", [Cell(point.label, faint=point.reference) for point in points]),
        *known(
            (
                ("Parameters", [parameters_cell(point.parameters, reference=point.reference) for point in points]),
                [point.parameters for point in points],
            ),
            (
                ("Latency of one example", [numbers.milliseconds(point.latency_ms) for point in points]),
                [point.latency_ms for point in points],
            ),
        ),
        (named(metric), [numbers.score(score, decimals) for score in scores]),
    ]
    records = [
        {**flat(point), "metric": name, **flat(score)} for point in points for name, score in point.scores.items()
    ]
    return Table("cost", text_table(columns), f"{named(metric)} and cost: the table", folded=True, records=records)


def tuning(history: TuningHistory) -> Table:
    """One row for each arm: whether the last trials still improved. The records have a row for each trial.

    Where each seed has a tuning of its own, the scores are means over the tunings.
    """
    rows = history.arms
    trials = [trial.value for row in rows for trial in row.finished]
    decimals = numbers.decimals_for([Estimate(value, None, None, 1) for value in trials])
    score = f"{history.metric.short}, validation{numbers.in_brackets(history.metric.unit)}"
    best = [[[value for _, value in tuning] for tuning in row.tunings] for row in rows]
    first = [[_first([trial.value for trial, _ in tuning]) for tuning in row.tunings] for row in rows]
    pruned = any(trial.pruned for row in rows for trial in row.trials)
    half = [[values[(len(values) - 1) // 2] for values in tunings] for tunings in best]
    columns: list[Column] = [
        ("Arm", [row.label for row in rows]),
        ("Trials", [f"{len(row.finished)} of {row.allotted}" for row in rows]),
        (f"First: {score}", [numbers.number(_mean(values), decimals) for values in first]),
        ("Best of the first half", [numbers.number(_mean(values), decimals) for values in half]),
        ("Best", [numbers.number(_mean([values[-1] for values in tunings]), decimals) for tunings in best]),
        ("Found in trial", [_found_in(row) for row in rows]),
    ]
    records = [
        {
            "arm": row.arm,
            "label": row.label,
            **({} if trial.seed is None else {"seed": trial.seed}),
            "trial": trial.number,
            "value": trial.value,
            **({"pruned": trial.pruned} if pruned else {}),
            **trial.settings,
        }
        for row in rows
        for trial in row.trials
    ]
    return Table("tuning", text_table(columns), records=records)


def importances(history: TuningHistory) -> Table:
    """Spearman's rank correlation of each setting (row) with the score on validation, for each arm (column)."""
    columns = [
        ("Setting", history.settings),
        *((arm.label, [_correlation(arm, setting) for setting in history.settings]) for arm in history.arms),
    ]
    records = [
        {"arm": arm.arm, "label": arm.label, "setting": setting, "spearman": rho}
        for arm in history.arms
        for setting, rho in arm.correlations.items()
    ]
    return Table("importances", text_table(columns), records=records)


def importances_note(history: TuningHistory) -> str:
    """Explains the correlations, and says why there is no picture where there is none."""
    explanation = (
        "Spearman's rank correlation between a setting and the score on validation, over an arm's finished trials: "
        "near 0 the score does not rise or fall steadily with the setting, near ±1 it does."
    )
    better = "smaller" if history.metric.direction == "lower" else "larger"
    explanation += f" A positive one means that {better} values did better."
    if len(history.settings) == 1:
        return f"{explanation} One setting was tuned, so there is nothing to rank it against."
    explanation += " With few trials it is a hint, not a measurement."
    if history.ranked:
        return explanation
    return f"{explanation} No arm has {MIN_TRIALS} finished trials with different values: nothing is ranked."


def factor(curve: FactorCurve) -> Table:
    """One row for each level: the scores of families and of arms outside the factor, then the differences there.

    The records have one row for each family and level, then one for each arm outside the factor.
    """
    levels, series = range(len(curve.levels)), curve.series
    compared = [each for each in series if each.effects and not each.reference]
    columns: list[Column] = [
        (curve.label, curve.level_labels),
        *((each.label, [_score_cell(e, curve, faint=each.reference) for e in each.scores]) for each in series),
        *((line.label, [_score_cell(line.score, curve, faint=line.reference)] * len(levels)) for line in curve.lines),
        *((f"Δ {each.label}", [effect_cell(e, curve.places) for e in each.effects]) for each in compared),
    ]
    families = [
        {
            "setting": curve.setting,
            "level": curve.levels[index],
            "arm": each.arms[index],
            "family": each.family,
            "label": each.label,
            **flat(curve.metric, each.scores[index], each.effects[index] if each.effects else None),
        }
        for each in series
        for index in levels
    ]
    lines = [{"arm": line.arm, "label": line.label, **flat(curve.metric, line.score)} for line in curve.lines]
    caption = f"{named(curve.metric)} at every level"
    return Table(f"factor_{curve.metric.name}", text_table(columns), caption, records=[*families, *lines])


def curves(analysis: Analysis) -> tuple[Record, ...]:
    """One record for each score, arm and epoch: mean, lowest and highest seed."""
    return tuple(
        {
            "score": panel.key,
            "unit": panel.unit,
            "arm": arm,
            "label": analysis.labels[arm],
            **{str(key): value for key, value in entry.items()},
        }
        for panel in analysis.curves
        for arm, frame in panel.arms.items()
        for entry in frame.to_dict("records")
    )


def _score_cell(score: Estimate, curve: FactorCurve, *, faint: bool) -> Cell:
    return Cell(numbers.score(score, curve.score_places), faint=faint)


def _share(arm: ArmDensity, index: int, arms: Sequence[ArmDensity]) -> str:
    decimals = numbers.decimals_for((each.shares[index] for each in arms), coarse=True)
    return numbers.score(arm.shares[index], max(1, min(2, decimals)))


def _found_in(arm: ArmHistory) -> str:
    """Number of the first trial, counted from 1, with the best value; of several tunings the lowest and the highest."""
    found = sorted(
        next(trial.number + 1 for trial, _ in tuning if trial.value == tuning[-1][1])
        for tuning in arm.tunings
        if tuning[-1][1] is not None
    )
    return GAP if not found else str(found[0]) if found[0] == found[-1] else f"{found[0]} to {found[-1]}"


def _first(values: Sequence[float | None]) -> float | None:
    return next((value for value in values if value is not None), None)


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean of the values that are there; None without any."""
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None


def _correlation(arm: ArmHistory, setting: str) -> str:
    rho = arm.correlations[setting]
    having = [trial for trial in arm.finished if setting in trial.settings]
    if rho is not None:
        return f"{numbers.signed(rho, 2)} ({len(having)} trials)"
    return f"fewer than {MIN_TRIALS} trials" if len(having) < MIN_TRIALS else "no order"
