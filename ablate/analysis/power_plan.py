"""What a study's seeds can show about its hypotheses, for `ablate plan`. Works on Records; reads no store."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ablate.analysis import numbers, power
from ablate.analysis.records import shared_training
from ablate.analysis.statistics import paired
from ablate.analysis.verdicts import MIN_SEEDS
from ablate.study import Hypothesis, Metric, Record, Study

MIN_PAIRS = 3  # finished pairs that a pilot needs; fewer do not estimate the spread


@dataclass(frozen=True)
class HypothesisPower:
    """One hypothesis. Without a pilot `sd` is None and `detectable` and `difference` are in units of the sd."""

    hypothesis: Hypothesis
    unit: str
    pairs: int  # finished runs of both arms with the same seed
    sd: float | None  # of their differences
    detectable: float | None  # distance of the true improvement from the margin; None: no verdict with these seeds
    difference: float | None  # the true improvement that `--difference` gives
    seeds_needed: int | None  # for that improvement; None: none was given, no pilot, or no number of seeds is enough


@dataclass(frozen=True)
class PowerPlan:
    """What the seeds of a study can show. `smallest_p`: the smallest corrected p that the sign-flip test can give."""

    seeds: int
    hypotheses: int
    smallest_p: float
    overlap: float | None
    prospects: tuple[HypothesisPower, ...]

    def document(self) -> dict[str, object]:
        """Plain JSON; power 0.8 at a corrected level of 0.05."""
        rows = [
            {**p.hypothesis.model_dump(), "unit": p.unit, "pairs": p.pairs, "sd": p.sd, "detectable": p.detectable}
            | {"difference": p.difference, "seeds_needed": p.seeds_needed}
            for p in self.prospects
        ]
        head = {"seeds": self.seeds, "hypotheses": self.hypotheses, "least_seeds": MIN_SEEDS, "power": power.POWER}
        return head | {"smallest_sign_flip_p": self.smallest_p, "overlap": self.overlap, "prospects": rows}

    def lines(self) -> list[str]:
        """The same in words: a line for the study, then one for each hypothesis."""
        if not self.hypotheses:
            return ["no hypothesis is declared: the report will give intervals and no verdict"]
        return [*_head(self), *(_row(self, prospect) for prospect in self.prospects)]


def power_plan(
    study: Study,
    metrics: Mapping[str, Metric],
    compared: Mapping[tuple[str, int], Record],
    difference: float | None = None,
) -> PowerPlan:
    """What the study's seeds can show, with the spread of the finished comparison runs where there are enough.

    `compared`: the finished comparison runs that count, by arm and seed. `difference`: a true improvement in the
    metric's unit; the number of seeds that would show it is computed.
    """
    overlap = shared_training(study, list(compared.values()))
    family = len(study.hypotheses)
    rows = tuple(
        _prospect(h, metrics[h.metric].unit, _pilot(study, compared, h), len(study.seeds), family, overlap, difference)
        for h in study.hypotheses
    )
    return PowerPlan(len(study.seeds), family, power.smallest_p(len(study.seeds), family), overlap, rows)


def _pilot(study: Study, compared: Mapping[tuple[str, int], Record], h: Hypothesis) -> tuple[int, float | None]:
    """Number of finished pairs, and the standard deviation of their differences where there are at least MIN_PAIRS."""
    key = f"test/{h.metric}"
    ours, theirs = (
        {seed: compared[arm, seed].scores.get(key, math.nan) for seed in study.seeds if (arm, seed) in compared}
        for arm in (h.arm, h.against)
    )
    gap = paired(ours, theirs).difference
    if gap.n < MIN_PAIRS or gap.standard_error is None:
        return gap.n, None
    return gap.n, gap.standard_error * math.sqrt(gap.n)


def _prospect(
    h: Hypothesis,
    unit: str,
    pilot: tuple[int, float | None],
    seeds: int,
    family: int,
    overlap: float | None,
    difference: float | None,
) -> HypothesisPower:
    pairs, sd = pilot
    detectable = None if sd == 0 else power.detectable(1.0 if sd is None else sd, seeds, family, overlap=overlap)
    seeds_needed = None
    if sd and difference is not None:
        seeds_needed = power.seeds_needed(sd, difference - h.margin, family, overlap=overlap)
    return HypothesisPower(h, unit, pairs, sd, detectable, difference, seeds_needed)


def _head(plan: PowerPlan) -> list[str]:
    seeds = f"{plan.seeds} {'seed' if plan.seeds == 1 else 'seeds'}"
    family = "1 hypothesis" if plan.hypotheses == 1 else f"{plan.hypotheses} hypotheses"
    few = f"; a verdict needs at least {MIN_SEEDS}" if plan.seeds < MIN_SEEDS else ""
    head = [
        f"{seeds}, {family}{few}",
        f"the exact sign-flip p cannot fall below {plan.smallest_p:.2g} after correction; "
        "the t-test of the verdicts has no such floor",
    ]
    if plan.overlap:
        head.append(f"every seed redraws the split: allowed for {plan.overlap:.2g} test examples a training example")
    return head


def _row(plan: PowerPlan, p: HypothesisPower) -> str:
    h = p.hypothesis
    name = f"{h.arm} against {h.against}, {h.metric}, margin {numbers.with_unit(f'{h.margin:g}', p.unit)}"
    return f"{name}: {'; '.join(part for part in (_spread(p), _reach(plan, p), _needed(p)) if part)}"


def _spread(p: HypothesisPower) -> str:
    if p.sd is None:
        return f"{p.pairs} finished pairs, a pilot of at least {MIN_PAIRS} is needed to know their sd"
    if p.sd == 0:
        return f"the differences of {p.pairs} pairs are all the same: without variation there is no test"
    return f"differences of {p.pairs} pairs have sd {numbers.with_unit(f'{p.sd:.3g}', p.unit)}"


def _reach(plan: PowerPlan, p: HypothesisPower) -> str:
    if p.sd == 0:
        return ""
    if p.detectable is None:
        return f"no verdict with {plan.seeds} seeds"
    size = f"{p.detectable:.2f} sd" if p.sd is None else numbers.with_unit(f"{p.detectable:.3g}", p.unit)
    return f"80 % power when the true improvement is {size} above or below the margin"


def _needed(p: HypothesisPower) -> str:
    if p.difference is None or not p.sd:
        return ""
    size = numbers.with_unit(f"{p.difference:g}", p.unit)
    outcome = "supported" if p.difference > p.hypothesis.margin else "refuted"
    if p.seeds_needed is None:
        return f"an improvement of {size} is too near the margin for any number of seeds"
    return f"an improvement of {size} would be {outcome} with {p.seeds_needed} seeds"
