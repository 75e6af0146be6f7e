"""Judge the declared hypotheses of a study: supported, refuted, inconclusive, or no verdict.

A comparison that was not declared gets an interval and no verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from scipy import special

from ablate.analysis import numbers
from ablate.analysis.phrasing import counted
from ablate.analysis.spending import Looks
from ablate.analysis.statistics import ALPHA, Effect, Estimate, holm
from ablate.study import MIN_SEEDS as MIN_SEEDS
from ablate.study import ClaimKind, Direction

Outcome = Literal["supported", "refuted", "inconclusive", "no verdict"]
OWNERS_WORD = "owner's word"  # who says that a claim about adopted results was made before them
DECLARED = f"declared: {OWNERS_WORD}"
LATE = "declared after runs had finished"  # how the reasons begin of a claim that seeds cannot decide: this …
DISJOINT = "the arms have no subject in common"  # … and this


@dataclass(frozen=True)
class Claim:
    """A hypothesis and its measured effect; what the kinds claim of `margin` (≥ 0, in `unit`): see `Hypothesis`.

    `over_clusters`: the interval over seeds and clusters of test examples, where it may decide; `decided_over` names
    both in words. `disjoint`: the seeds of which the arms have scores of different people, none in common. Their
    difference is then one between people as well, so that there is no verdict.
    """

    effect: Effect
    direction: Direction
    margin: float = 0.0
    unit: str = ""
    kind: ClaimKind = "better"
    over_clusters: Estimate | None = None
    decided_over: str = ""
    late: bool = False  # declared after runs had finished: it counts in the family and gets no verdict
    disjoint: tuple[int, ...] = ()

    @property
    def deciding(self) -> Estimate:
        """The difference with the wider interval of the two: over seeds alone, or over seeds and clusters."""
        seeds, both = self.effect.difference, self.over_clusters
        return both if both is not None and (both.half_width or 0.0) > (seeds.half_width or 0.0) else seeds


@dataclass(frozen=True)
class Verdict:
    """The outcome of a claim. Both p values are Holm-adjusted, and None where there is no verdict.

    `p_supported` is for the claim, `p_refuted` against it; `improvement` is the difference with the interval that the
    verdict rests on, and with the sign that makes positive better; `simultaneous` the same difference with an interval
    of 95 % for all claims of the family together (Bonferroni); `reason` explains the outcome in words.
    """

    outcome: Outcome
    p_supported: float | None
    p_refuted: float | None
    improvement: Estimate
    reason: str
    simultaneous: Estimate | None = None
    look: int | None = None  # the seeds of the look that decided, in a study with looks that were planned


def judge(claims: Sequence[Claim], *, withdrawn: int = 0, looks: Sequence[int] = ()) -> list[Verdict]:
    """A verdict for every declared hypothesis. Pass all claims of a study at once: they are adjusted together.

    Each claim has two one-sided t-tests, one for it and one against it. The adjustment is over the 2·m tests of m
    claims, so that the chance of any false `supported` or `refuted` is at most 5 %. A claim that cannot be tested
    still counts in m, because it was declared, and so do the `withdrawn` ones. `looks`: the numbers of seeds at which
    the study could have stopped before it went on; every p is multiplied by their number plus one (Bonferroni).
    """
    improvements = [improvement(claim) for claim in claims]
    p_values = [
        _for_looks(_p_values(better, claim), len(looks) + 1) if not _missing(claim) else None
        for better, claim in zip(improvements, claims, strict=True)
    ]
    adjusted = _holm_pairs([pair or (1.0, 1.0) for pair in p_values], withdrawn)
    family = len(claims) + withdrawn
    return [
        _verdict(claim, better, pair and corrected, family, looks)
        for claim, better, pair, corrected in zip(claims, improvements, p_values, adjusted, strict=True)
    ]


def improvement(claim: Claim) -> Estimate:
    """The claim's difference with the interval that decides, with the sign that makes positive better."""
    gap = claim.deciding
    if claim.direction == "higher" or gap.mean is None:
        return gap
    low, high = (None if end is None else -end for end in (gap.high, gap.low))
    return replace(gap, mean=-gap.mean, low=low, high=high)


def one_sided(effect: Effect, claim: Claim) -> float:
    """p for the claim from an effect over seeds, this one's or another study's, without any correction."""
    return _p_values(improvement(replace(claim, effect=effect, over_clusters=None)), claim)[0]


def adjusted_p(outcome: Outcome, above: float | None, below: float | None) -> float | None:
    """The adjusted p of the test that the outcome is about; the smaller one of an inconclusive outcome."""
    if above is None or below is None:
        return None
    return above if outcome == "supported" else below if outcome == "refuted" else min(above, below)


def _p_values(better: Estimate, claim: Claim, corrected: Callable[[float], float] = lambda p: p) -> tuple[float, float]:
    """p of the t-test for the claim and of the test against it; every one-sided p is `corrected` first.

    Equivalence is claimed by two one-sided tests (D. J. Schuirmann, J. Pharmacokin. Biopharm. 15, 1987), of which the
    larger p counts; against it speaks an improvement beyond either margin, with twice the smaller p.
    """
    above, below = map(corrected, _one_sided(better, claim.margin))
    if claim.kind == "better":
        return above, below
    above_minus, below_minus = map(corrected, _one_sided(better, -claim.margin))
    if claim.kind == "not_worse":
        return above_minus, below_minus
    return max(above_minus, below), min(1.0, 2 * min(above, below_minus))


def _for_looks(p: tuple[float, float], looks: int) -> tuple[float, float]:
    return min(1.0, looks * p[0]), min(1.0, looks * p[1])


def _one_sided(better: Estimate, limit: float) -> tuple[float, float]:
    """p of the t-test that the improvement is above the limit, and of the test that it is below."""
    t = ((better.mean or 0.0) - limit) / (better.standard_error or 1.0)
    return float(special.stdtr(better.degrees_of_freedom, -t)), float(special.stdtr(better.degrees_of_freedom, t))


def _missing(claim: Claim) -> str:
    """Why there can be no verdict, in words; empty when there can be one."""
    seeds = claim.effect.difference
    if claim.late:
        return f"{LATE}: no verdict, though it counts in the correction"
    if claim.disjoint:
        return f"{DISJOINT} with {_seeds(claim.disjoint)}: their scores are of different people"
    if seeds.n == 0:
        return "no seed has a score of both arms"
    if seeds.n < MIN_SEEDS:
        return f"{counted(seeds.n, 'paired seed')}: a verdict needs at least {MIN_SEEDS}"
    return "" if seeds.standard_error else "the same difference at every seed: without variation there is no test"


def _verdict(
    claim: Claim, better: Estimate, p: tuple[float, float] | None, family: int, looks: Sequence[int]
) -> Verdict:
    unpaired = _unpaired_seeds(claim.effect)
    together = simultaneous(claim.deciding, family * (len(looks) + 1))
    if p is None:
        return Verdict("no verdict", None, None, better, _missing(claim) + unpaired, together)
    above, below = p
    outcome: Outcome = "supported" if above <= ALPHA else "refuted" if below <= ALPHA else "inconclusive"
    seeds = counted(claim.effect.difference.n, "seed")
    over = seeds if claim.deciding is claim.effect.difference else f"over {claim.decided_over}"
    looked = f", corrected for {len(looks)} earlier {'look' if len(looks) == 1 else 'looks'}" if looks else ""
    details = f"adjusted p {numbers.p_value(adjusted_p(outcome, above, below))}, {over}{looked}"
    reason = f"{_words(outcome, claim)} ({details}){unpaired}"
    return Verdict(outcome, above, below, better, reason, together)


def simultaneous(gap: Estimate, family: int) -> Estimate:
    """The difference with an interval of 1 − 5 %/`family`: all those of a family hold together in 95 % of studies."""
    return at_level(gap, ALPHA / (2 * max(1, family)))


def at_level(gap: Estimate, level: float) -> Estimate:
    """The difference with the t interval whose ends a one-sided test at this level does not reject."""
    if not gap.standard_error or gap.mean is None:
        return gap
    half = -float(special.stdtrit(gap.degrees_of_freedom, level)) * gap.standard_error
    return replace(gap, low=gap.mean - half, high=gap.mean + half)


def holds_together(claim: Claim, verdict: Verdict) -> bool:
    """Whether the simultaneous interval alone shows what the verdict says."""
    found = verdict.simultaneous
    if found is None or found.low is None or found.high is None:
        return False
    low, high = (found.low, found.high) if claim.direction == "higher" else (-found.high, -found.low)
    margin, supported = claim.margin, verdict.outcome == "supported"
    if claim.kind == "equivalent":
        return -margin < low and high < margin if supported else low > margin or high < -margin
    limit = margin if claim.kind == "better" else -margin
    return low > limit if supported else high < limit


def _words(outcome: Outcome, claim: Claim) -> str:
    margin = f"the margin of {numbers.with_unit(f'{claim.margin:g}', claim.unit)}"
    words: Mapping[str, str]
    if claim.kind == "not_worse":
        words = {
            "supported": f"shown not to be worse by as much as {margin}",
            "refuted": f"shown to be worse by more than {margin}",
            "inconclusive": f"shown neither to be worse by more than {margin} nor not to be",
        }
    elif claim.kind == "equivalent":
        words = {
            "supported": f"shown to differ by less than {margin}, in either direction",
            "refuted": f"shown to differ by more than {margin}",
            "inconclusive": f"shown neither to differ by less than {margin} nor by more",
        }
    elif claim.margin:
        words = {
            "supported": f"shown to be better by more than {margin}",
            "refuted": f"shown not to be better by as much as {margin}",
            "inconclusive": f"the improvement was shown neither to exceed {margin} nor to fall short of it",
        }
    else:
        words = {
            "supported": "shown to be better",
            "refuted": "shown to be worse",
            "inconclusive": "not shown to be better, nor to be worse",
        }
    return words[outcome]


def _unpaired_seeds(effect: Effect) -> str:
    """The seeds that only one arm has. They are always named, because runs do not fail at random."""
    if not effect.unpaired:
        return ""
    return f"; without {_seeds(effect.unpaired)}"


def judge_looks(claims: Sequence[Sequence[Claim]], looks: Looks, *, withdrawn: int = 0) -> list[Verdict]:
    """A verdict for every declared hypothesis of a study whose looks were planned.

    `claims`: those of every look that was taken, in order, at least one. At each look every one-sided p becomes a
    repeated one, the smallest so far counts, and these are adjusted by Holm as in `judge`. What a look has decided
    stays. Before the last look, what is not decided has no verdict. The intervals of verdicts hold at all looks
    together (repeated confidence intervals; C. Jennison, B. W. Turnbull, J. R. Stat. Soc. B 51, 1989).
    """
    smallest = [(1.0, 1.0)] * len(claims[0])
    decided: dict[int, tuple[Outcome, int]] = {}
    adjusted = smallest
    for look, of_look in enumerate(claims):
        for index, claim in enumerate(of_look):
            if not _missing(claim):
                now = _p_values(improvement(claim), claim, partial(looks.repeated_p, look))
                smallest[index] = (min(smallest[index][0], now[0]), min(smallest[index][1], now[1]))
        adjusted = _holm_pairs(smallest, withdrawn)
        for index, (above, below) in enumerate(adjusted):
            if min(above, below) <= ALPHA:
                decided.setdefault(index, ("supported" if above <= below else "refuted", looks.seeds[look]))
    family = len(claims[0]) + withdrawn
    return [
        _verdict_of_looks(claim, pair, decided.get(index), looks, len(claims) - 1, family)
        for index, (claim, pair) in enumerate(zip(claims[-1], adjusted, strict=True))
    ]


def _verdict_of_looks(
    claim: Claim,
    p: tuple[float, float],
    decided: tuple[Outcome, int] | None,
    looks: Looks,
    look: int,
    family: int,
) -> Verdict:
    """The verdict after `look`, counted from 0; `decided`: the outcome and the seeds of the look that decided."""
    together = at_level(claim.deciding, looks.levels(ALPHA / (2 * family))[look])
    better, unpaired, last = repeated(improvement(claim), looks, look), _unpaired_seeds(claim.effect), looks.seeds[-1]
    if decided is None and (missing := _missing(claim)):
        return Verdict("no verdict", None, None, better, missing + unpaired, together)
    if decided is None and looks.seeds[look] < last:
        reason = f"not decided at {looks.seeds[look]} seeds; the next look is at {looks.seeds[look + 1]}"
        return Verdict("no verdict", None, None, better, reason + unpaired, together)
    outcome, seeds = decided or ("inconclusive", last)
    over = "" if claim.deciding is claim.effect.difference else f", over {claim.decided_over}"
    where = f"at the look at {seeds} seeds" if decided else f"at the last look, at {last} seeds"
    details = f"adjusted p {numbers.p_value(adjusted_p(outcome, *p))}{over}, {where}"
    reason = f"{_words(outcome, claim)} ({details}){unpaired}"
    return Verdict(outcome, *p, better, reason, together, seeds if decided else None)


def repeated(gap: Estimate, looks: Looks, look: int) -> Estimate:
    """The difference with its repeated 95 % interval at this look, counted from 0."""
    return at_level(gap, looks.levels(ALPHA / 2)[look])


def _holm_pairs(pairs: Sequence[tuple[float, float]], withdrawn: int) -> list[tuple[float, float]]:
    """Holm over both tests of every claim, with two of p = 1 for each withdrawn one."""
    adjusted = holm([p for pair in [*pairs, *[(1.0, 1.0)] * withdrawn] for p in pair])
    return [(adjusted[2 * index] or 0.0, adjusted[2 * index + 1] or 0.0) for index in range(len(pairs))]


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
