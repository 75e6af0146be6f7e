"""The tables beside the figures: densities, cost, tuning, factor. Computes nothing, draws nothing."""

from __future__ import annotations

from collections.abc import Sequence

from ablate.claims import numbers
from ablate.claims.densities import ArmDensity, DensityTable
from ablate.claims.factor import FactorCurve, FactorSeries
from ablate.claims.numbers import GAP
from ablate.claims.records import MetricInfo
from ablate.claims.statistics import Estimate
from ablate.claims.tradeoff import CostPoint
from ablate.claims.tuning_history import MIN_TRIALS, ArmHistory, TuningHistory
from ablate.pages.tables import Cell, TextTable, named


def density(table: DensityTable) -> TextTable:
    """A row an arm: which share of its predictions is near the truth, and which far from it."""
    header = ("Arm", *(f"{name} (%)" for name in table.names))
    beyond = any(arm.outside for arm in table.arms.values())
    rows = [
        _cells(
            arm.label,
            *(_share(share, arm, place, table) for place, share in enumerate(arm.shares)),
            *([str(arm.outside)] if beyond else []),
        )
        for arm in table.arms.values()
    ]
    return TextTable((*header, *(["Beyond the figure"] if beyond else [])), tuple(rows))


def cost(points: Sequence[CostPoint], metric: MetricInfo) -> TextTable:
    """A row an arm: what it costs and how well it does; references last."""
    places = numbers.decimals((p.scores[metric.name] for p in points if not p.reference), coarse=True)
    rows = [
        (
            Cell(point.label, faint=point.reference),
            # a reference fits or computes what it needs without trained parameters: 0 would read as a price
            Cell(GAP if point.reference and not point.parameters else numbers.count(point.parameters)),
            Cell(_latency(point.latency_ms)),
            Cell(numbers.score(point.scores[metric.name], places)),
        )
        for point in points
    ]
    return TextTable(("Arm", "Parameters", "Latency of one example", named(metric)), tuple(rows))


def tuning(found: TuningHistory) -> TextTable:
    """A row an arm: whether its trials still found better values when they ended."""
    trials = [trial.value for arm in found.arms for trial in arm.finished]
    places = numbers.decimals([Estimate(value, None, None, 1) for value in trials])
    unit = numbers.unit_text(found.metric.unit)
    score = f"{found.metric.short}, validation" + (f" ({unit})" if unit else "")
    header = ("Arm", "Trials", f"First: {score}", "Best of the first half", "Best", "Found in trial")
    return TextTable(header, tuple(_tuning_row(arm, places) for arm in found.arms))


def importances(found: TuningHistory) -> TextTable:
    """A row a setting, a column an arm: Spearman's rank correlation of the setting and the score."""
    rows = [_cells(setting, *(_correlation(arm, setting) for arm in found.arms)) for setting in found.settings]
    return TextTable(("Setting", *(arm.label for arm in found.arms)), tuple(rows))


def importances_note(found: TuningHistory) -> str:
    """What the correlations are, and why there is no picture of them where there is none."""
    what = (
        "Spearman's rank correlation between a setting and the score on validation, over an arm's finished trials: "
        "near 0 the score does not rise or fall steadily with the setting, near ±1 it does."
    )
    better = "smaller" if found.metric.direction == "lower" else "larger"
    what += f" A positive one means that {better} values did better."
    if len(found.settings) == 1:
        return f"{what} One setting was tuned, so there is nothing to rank it against."
    few = "" if found.ranked else f" No arm has {MIN_TRIALS} finished trials with different values: nothing is ranked."
    return f"{what} With few trials it is a hint, not a measurement.{few}"


def factor(curve: FactorCurve) -> TextTable:
    """A row a level: the scores of families and of arms outside the factor, then the differences at that level."""
    compared = [each for each in curve.series if each.effects and not each.reference]
    header = [curve.label, *(each.label for each in curve.series), *(line.label for line in curve.lines)]
    header += [f"Δ {each.label}" for each in compared]
    same = [Cell(numbers.score(line.score, curve.score_places), faint=line.reference) for line in curve.lines]
    rows = [
        (
            Cell(name),
            *(Cell(numbers.score(e.scores[level], curve.score_places), faint=e.reference) for e in curve.series),
            *same,
            *(_effect(each, level, curve.places) for each in compared),
        )
        for level, name in enumerate(curve.level_labels)
    ]
    return TextTable(tuple(header), tuple(rows))


def _share(share: Estimate, arm: ArmDensity, place: int, table: DensityTable) -> str:
    others = [each.shares[place] for each in table.arms.values() if each is not arm]
    return numbers.score(share, max(1, min(2, numbers.decimals([share, *others], coarse=True))))


def _latency(value: float | None) -> str:
    return GAP if value is None else f"{value:.2g} ms" if value < 0.1 else numbers.number(value, 2) + " ms"


def _tuning_row(arm: ArmHistory, places: int) -> tuple[Cell, ...]:
    best = arm.best[-1] if arm.best else None
    half = arm.best[(len(arm.best) - 1) // 2] if arm.best else None
    found = next((t.number + 1 for t in arm.trials if t.value is not None and t.value == best), None)
    return _cells(
        arm.label,
        f"{len(arm.finished)} of {arm.allotted}",
        numbers.number(arm.finished[0].value if arm.finished else None, places),
        numbers.number(half, places),
        numbers.number(best, places),
        GAP if found is None else str(found),
    )


def _correlation(arm: ArmHistory, setting: str) -> str:
    rho = arm.correlations[setting]
    having = [trial for trial in arm.finished if setting in trial.settings]
    if rho is not None:
        return f"{numbers.signed(rho, 2)} ({len(having)} trials)"
    return f"fewer than {MIN_TRIALS} trials" if len(having) < MIN_TRIALS else "no order"


def _effect(each: FactorSeries, level: int, places: int) -> Cell:
    gap = each.effects[level].difference
    return Cell(numbers.difference(gap, places), strong=gap.excludes_zero)


def _cells(*texts: str) -> tuple[Cell, ...]:
    return tuple(Cell(text) for text in texts)
