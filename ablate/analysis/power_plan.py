"""What a study's seeds can show about its hypotheses, for `ablate plan`. Works on Records; reads no store."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

from scipy import special

from ablate.analysis import numbers
from ablate.analysis.phrasing import counted, quoted
from ablate.analysis.records import shared_training
from ablate.analysis.statistics import ALPHA, paired
from ablate.analysis.verdicts import MIN_SEEDS
from ablate.study import Hypothesis, Metric, Record, Study

POWER = 0.8
SD_CONFIDENCE = 0.8  # that the spread is not larger than its upper limit
MOST_SEEDS = 10_000
MIN_PAIRS = 3  # finished pairs that a pilot needs; fewer do not estimate the spread


@dataclass(frozen=True)
class HypothesisPower:
    """One hypothesis. Without a pilot `sd` is None and `detectable` and `difference` are in units of the sd."""

    hypothesis: Hypothesis
    unit: str
    pairs: int  # finished runs of both arms with the same seed
    sd: float | None  # of their differences
    sd_limit: float | None  # its upper limit, which the other numbers are computed from: see `upper_limit`
    # distance of the true improvement from the margin, for `not_worse` from minus the margin; None: no verdict with
    # these seeds, and for equivalence, whose power is not computed
    detectable: float | None
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
    cluster: str = ""  # whose interval a verdict uses where it is wider than that over seeds; "": the study names none

    def document(self) -> dict[str, object]:
        """Plain JSON; power 0.8 at a corrected level of 0.05."""
        rows = [
            {**p.hypothesis.model_dump(), "unit": p.unit, "pairs": p.pairs, "sd": p.sd, "detectable": p.detectable}
            | {"sd_limit": p.sd_limit, "sd_confidence": SD_CONFIDENCE}
            | {"difference": p.difference, "seeds_needed": p.seeds_needed}
            for p in self.prospects
        ]
        head = {"seeds": self.seeds, "hypotheses": self.hypotheses, "least_seeds": MIN_SEEDS, "power": POWER}
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
    """What the study's seeds can show, with the upper limit of the spread of the finished comparison runs where there
    are enough of them.

    `compared`: the finished comparison runs that count, by arm and seed. `difference`: a true improvement in the
    metric's unit; the number of seeds that would show it is computed.
    """
    overlap, seeds, family = shared_training(study, list(compared.values())), len(study.seeds), len(study.hypotheses)
    rows = []
    for h in study.hypotheses:
        pairs, sd = _pilot(study, compared, h)
        limit = None if sd is None else upper_limit(sd, pairs)
        reach = needed = None
        if sd != 0 and h.kind != "equivalent":
            reach = detectable(1.0 if limit is None else limit, seeds, family, overlap=overlap)
        if limit and difference is not None and h.kind != "equivalent":
            needed = seeds_needed(limit, difference - _limit(h), family, overlap=overlap)
        rows.append(HypothesisPower(h, metrics[h.metric].unit, pairs, sd, limit, reach, difference, needed))
    return PowerPlan(seeds, family, smallest_p(seeds, family), overlap, tuple(rows), study.cluster)


def _limit(h: Hypothesis) -> float:
    """What the improvement is tested against; equivalence is tested against both sides, and has no one limit."""
    return -h.margin if h.kind == "not_worse" else h.margin


def _pilot(study: Study, compared: Mapping[tuple[str, int], Record], h: Hypothesis) -> tuple[int, float | None]:
    """Number of finished pairs, and the standard deviation of their differences where there are at least MIN_PAIRS."""
    key = study.score_key(h.metric)
    ours, theirs = (_by_seed(study, compared, arm, key) for arm in (h.arm, h.against))
    gap = paired(ours, theirs).difference
    if gap.n < MIN_PAIRS or gap.standard_error is None:
        return gap.n, None
    return gap.n, gap.standard_error * math.sqrt(gap.n)


def upper_limit(sd: float, pairs: int) -> float:
    """The one-sided upper 80 % confidence limit of a standard deviation that was measured from so many differences.

    The spread of few pairs is as often too small as too large, and a study planned from it would then find what it is
    planned to find less often than it says. With this limit it keeps its power in 80 % of cases, exactly for Gaussian
    differences.

    Source: R. H. Browne, "On the use of a pilot sample for sample size determination", Stat. Med. 14 (1995).
    """
    degrees = pairs - 1
    return sd * math.sqrt(degrees / (2 * float(special.gammaincinv(degrees / 2, 1 - SD_CONFIDENCE))))


def _by_seed(study: Study, compared: Mapping[tuple[str, int], Record], arm: str, key: str) -> dict[int, float]:
    """The finished scores of an arm; of one on all data sets the mean over them, where all have finished."""
    members = study.members(arm)
    whole = [seed for seed in study.seeds if all((member, seed) in compared for member in members)]
    scores = {seed: [compared[member, seed].scores.get(key, math.nan) for member in members] for seed in whole}
    return {seed: sum(values) / len(values) for seed, values in scores.items()}


def smallest_p(seeds: int, hypotheses: int = 1) -> float:
    """The smallest adjusted p of the exact two-sided sign-flip test: 2/2ⁿ times Holm's factor, at most 1.

    The t-test of the verdict has no such floor: its p falls with the size of the difference alone.
    """
    return min(1.0, max(1, hypotheses) * 2.0 ** (1 - seeds))


def detectable(sd: float, seeds: int, hypotheses: int = 1, *, overlap: float | None = None) -> float | None:
    """How far the true improvement must lie from the margin to be judged with a power of 0.8 by `seeds` pairs.

    `sd` is the standard deviation of the paired differences, in any unit; the result has the same unit. None below 5
    seeds, where there is no verdict. A one-sided t-test at the level of Holm's first of two tests for each
    hypothesis, its power from the noncentral t distribution.
    """
    if seeds < MIN_SEEDS:
        return None
    degrees = seeds - 1
    critical = special.stdtrit(degrees, 1 - ALPHA / (2 * max(1, hypotheses)))
    return float(special.nctdtrinc(degrees, 1 - POWER, critical)) * sd * math.sqrt(1 / seeds + (overlap or 0.0))


def seeds_needed(sd: float, difference: float, hypotheses: int = 1, *, overlap: float | None = None) -> int | None:
    """The fewest seeds that detect a true improvement this far from the margin; None when no number of seeds does.

    `sd` and `difference` have the same unit. With overlapping splits the error of the mean does not fall to 0, however
    many seeds there are.
    """

    def reaches(seeds: int) -> bool:
        distance = detectable(sd, seeds, hypotheses, overlap=overlap)
        return distance is not None and distance <= abs(difference)

    numbers = range(MIN_SEEDS, MOST_SEEDS + 1)
    index = bisect_left(numbers, True, key=reaches)
    return numbers[index] if index < len(numbers) else None


def _head(plan: PowerPlan) -> list[str]:
    family = "1 hypothesis" if plan.hypotheses == 1 else f"{plan.hypotheses} hypotheses"
    few = f"; a verdict needs at least {MIN_SEEDS}" if plan.seeds < MIN_SEEDS else ""
    head = [
        f"{counted(plan.seeds, 'seed')}, {family}{few}",
        f"the exact sign-flip p cannot fall below {plan.smallest_p:.2g} after correction; "
        "the t-test of the verdicts has no such floor",
    ]
    if plan.overlap:
        head.append(f"seeds share training examples: {plan.overlap:.2g} of a pair's variance is added to the mean's")
    if plan.cluster:
        head.append(
            f"what follows is over seeds alone; where the interval over seeds and {plan.cluster} is wider, the verdict "
            "uses that, and more seeds need not shorten it"
        )
    return head


def _row(plan: PowerPlan, p: HypothesisPower) -> str:
    h = p.hypothesis
    margin = numbers.with_unit(f"{h.margin:g}", p.unit)
    kind = {"better": "", "not_worse": ", not worse", "equivalent": ", equivalent"}[h.kind]
    name = f"{quoted(h.arm)} against {quoted(h.against)} in {h.metric}{kind}, margin {margin}"
    return f"{name}: {'; '.join(part for part in (_spread(p), _reach(plan, p), _needed(p)) if part)}"


def _spread(p: HypothesisPower) -> str:
    if p.sd is None:
        return f"{p.pairs} finished pairs, a pilot of at least {MIN_PAIRS} is needed to know their sd"
    if p.sd == 0:
        return f"the differences of {p.pairs} pairs are all the same: without variation there is no test"
    sd, limit = (numbers.with_unit(f"{value:.3g}", p.unit) for value in (p.sd, p.sd_limit or 0.0))
    return f"differences of {p.pairs} pairs have sd {sd}, upper 80 % confidence limit {limit}"


def _reach(plan: PowerPlan, p: HypothesisPower) -> str:
    if p.sd == 0:
        return ""
    if p.hypothesis.kind == "equivalent" and plan.seeds >= MIN_SEEDS:
        return "the power to show equivalence is not computed"
    if p.detectable is None:
        return f"no verdict with {plan.seeds} seeds"
    size = f"{p.detectable:.2f} sd" if p.sd is None else numbers.with_unit(f"{p.detectable:.3g}", p.unit)
    spread = "" if p.sd is None else " for this limit"
    return f"80 % power{spread} when the true improvement is {size} above or below {_margin(p)}"


def _margin(p: HypothesisPower) -> str:
    return "minus the margin" if p.hypothesis.kind == "not_worse" else "the margin"


def _needed(p: HypothesisPower) -> str:
    if p.difference is None or not p.sd or p.hypothesis.kind == "equivalent":
        return ""
    size = numbers.with_unit(f"{p.difference:g}", p.unit)
    outcome = "supported" if p.difference > _limit(p.hypothesis) else "refuted"
    if p.seeds_needed is None:
        return f"an improvement of {size} is too near {_margin(p)} for any number of seeds"
    return f"an improvement of {size} would be {outcome} with {p.seeds_needed} seeds"
