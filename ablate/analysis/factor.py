"""How scores and differences change along a study's factor. Pure: Results in, dataclasses out; draws nothing."""

from __future__ import annotations

from dataclasses import dataclass

from ablate.analysis import numbers
from ablate.analysis.costs import family_label, label
from ablate.analysis.effects import baseline_of, difference, effect, effect_decimals, margin_of, score, score_decimals
from ablate.analysis.phrasing import (
    Shown,
    better_by,
    details,
    ends_text,
    found,
    includes,
    listed,
    quoted,
    sentence,
    shown,
)
from ablate.analysis.records import MetricInfo
from ablate.analysis.results import Results
from ablate.analysis.statistics import Effect, Estimate
from ablate.study import Factor, Scalar
from ablate.study.factor import level_text

EXPLORATORY = "Exploratory, every interval by itself. "


@dataclass(frozen=True)
class FactorSeries:
    """One family of arms: a value at each level, in the order of the factor's levels."""

    family: str
    label: str
    baseline: bool
    reference: bool
    arms: tuple[str, ...]
    scores: tuple[Estimate, ...]
    effects: tuple[Effect, ...]  # to the baseline at the same level; empty for the baseline
    margins: tuple[float | None, ...]  # of the hypotheses about these effects
    change: Effect | None  # the difference at the last level minus that at the first, paired by seed


@dataclass(frozen=True)
class FactorLine:
    """An arm outside the factor: one value for all levels."""

    arm: str
    label: str
    baseline: bool
    reference: bool
    score: Estimate


@dataclass(frozen=True)
class FactorCurve:
    """One metric along the factor. `positions` are the levels as numbers, None where they are not all numbers."""

    metric: MetricInfo
    setting: str
    label: str
    levels: tuple[Scalar, ...]
    level_labels: tuple[str, ...]
    positions: tuple[float, ...] | None
    series: tuple[FactorSeries, ...]  # the baseline's first, where it has levels of the factor
    lines: tuple[FactorLine, ...]  # references last
    places: int  # decimals of the differences
    score_places: int

    @property
    def answer(self) -> str:
        """Every family against the baseline, in words."""
        others = [each for each in self.series if each.effects and not (each.baseline or each.reference)]
        if not others:
            return sentence(f"along {numbers.in_text(self.label)} there is nothing to compare in {self.metric.in_text}")
        every: tuple[FactorSeries | FactorLine, ...] = (*self.series, *self.lines)
        baseline = next(each.label for each in every if each.baseline)
        return EXPLORATORY + " ".join(_family_answer(self, each, baseline) for each in others)


def factor_curves(results: Results) -> tuple[FactorCurve, ...]:
    """A curve for every metric of the study; empty without a factor."""
    factor = results.study.factor
    return () if factor is None else tuple(_curve(results, factor, metric) for metric in results.study.metrics)


def _curve(results: Results, factor: Factor, metric: str) -> FactorCurve:
    families = dict.fromkeys(arm.family for arm in results.study.arms.values() if arm.family)
    ordered = sorted(families, key=lambda family: family != results.study.baseline)
    series = tuple(_series(results, factor, family, metric) for family in ordered)
    numeric = all(isinstance(level, int | float) and not isinstance(level, bool) for level in factor.levels)
    return FactorCurve(
        metric=results.metrics[metric],
        setting=factor.setting,
        label=factor.label or factor.setting,
        levels=tuple(factor.levels),
        level_labels=tuple(level_text(level) for level in factor.levels),
        positions=tuple(float(level) for level in factor.levels) if numeric else None,
        series=series,
        lines=_lines(results, metric),
        places=effect_decimals(results, metric),  # as in the matrix, which has the same numbers
        score_places=score_decimals(results, metric),
    )


def _series(results: Results, factor: Factor, family: str, metric: str) -> FactorSeries:
    by_level = {arm.level: name for name, arm in results.study.arms.items() if arm.family == family}
    arms = tuple(by_level[level] for level in factor.levels if level in by_level)
    pairs = [(arm, baseline_of(results, arm)) for arm in arms]
    effects = tuple(effect(results, arm, base, metric) for arm, base in pairs if base)
    complete = len(effects) == len(arms) > 1
    key = results.study.score_key(metric)
    return FactorSeries(
        family=family,
        label=family_label(results, family),
        baseline=family == results.study.baseline,
        reference=any(results.study.arms[arm].reference for arm in arms),
        arms=arms,
        scores=tuple(score(results, results.by_seed(arm, key)) for arm in arms),
        effects=effects if len(effects) == len(arms) else (),
        margins=tuple(margin_of(results.study, arm, base, metric) for arm, base in pairs if base),
        change=difference(results, effects[-1].by_seed, effects[0].by_seed) if complete else None,
    )


def _lines(results: Results, metric: str) -> tuple[FactorLine, ...]:
    key, study = results.study.score_key(metric), results.study
    lines = [
        FactorLine(name, label(results, name), name == study.baseline, arm.reference,
                   score(results, results.by_seed(name, key)))
        for name, arm in study.arms.items()
        if not arm.family
    ]  # fmt: skip
    return tuple(sorted(lines, key=lambda line: line.reference))


def _family_answer(curve: FactorCurve, series: FactorSeries, baseline: str) -> str:
    """What the interval shows at each level, and how the difference changes from the first level to the last."""
    effects = list(zip(curve.level_labels, series.effects, series.margins, strict=True))
    outcomes = [shown(each, curve.metric, margin) for _, each, margin in effects]
    wordings: dict[Shown, str] = {
        "better": "is better than {}",
        "worse": "is worse than {}",
        "equal": "differs by less than the margin from {}",
        "no interval": "has no interval against {}",
        "not shown": "is neither shown to be better nor worse than {}",
    }
    clauses: list[str] = []
    for kind, wording in wordings.items():
        levels = [
            f"{name} ({_at_level(curve, each, margin, kind)})"
            for (name, each, margin), outcome in zip(effects, outcomes, strict=True)
            if outcome == kind
        ]
        if levels:
            clauses.append(f"{wording.format('it' if clauses else quoted(baseline))} at {listed(levels)}")
    statement = f"in {curve.metric.in_text}, {quoted(series.label)} {'; '.join(clauses)}"
    return sentence(f"along {numbers.in_text(curve.label)}, {statement}{_moves(curve, series)}")


def _at_level(curve: FactorCurve, effect: Effect, margin: float | None, outcome: Shown) -> str:
    """`0.49° better`; with what the interval includes where it shows nothing."""
    told = better_by(effect.difference, curve.metric, curve.places)
    if outcome == "no interval":
        return found(effect.difference, curve.metric, curve.places) if effect.difference.n else "no seed has both runs"
    if outcome != "not shown":
        return told
    held = includes(effect.difference, curve.metric, margin)
    return f"{told}, the interval {ends_text(effect.difference, curve.metric, curve.places)} includes {held}"


def _moves(curve: FactorCurve, series: FactorSeries) -> str:
    """`; from 0.25 to 4 the difference goes from 0.30° better to 0.10° better, a change of 0.20°, 95 % interval …`."""
    if series.change is None or series.change.difference.mean is None:
        return ""
    first, last = (better_by(e.difference, curve.metric, curve.places) for e in (series.effects[0], series.effects[-1]))
    gap = series.change.difference
    towards = better_by(gap, curve.metric, curve.places)
    unshown = "" if gap.excludes_zero else ", which includes no change" if gap.standard_error else ""
    return (
        f". From {curve.level_labels[0]} to {curve.level_labels[-1]} the difference goes from {first} to {last}: "
        f"{towards}, {details(gap, curve.metric, curve.places)}{unshown}"
    )
