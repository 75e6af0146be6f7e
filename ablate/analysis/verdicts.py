"""Judge the declared hypotheses of a study: supported, refuted, inconclusive, or no verdict.

A comparison that was not declared gets an interval and no verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scipy import special

from ablate.analysis import numbers
from ablate.analysis.phrasing import counted
from ablate.analysis.statistics import ALPHA, Effect, Estimate, holm
from ablate.study import Direction

Outcome = Literal["supported", "refuted", "inconclusive", "no verdict"]
MIN_SEEDS = 5
OWNERS_WORD = "owner's word"  # who says that a claim about adopted results was made before them
DECLARED = f"declared: {OWNERS_WORD}"


@dataclass(frozen=True)
class Claim:
    """A hypothesis and its measured effect: the arm improves a metric by more than `margin` (≥ 0, in `unit`).

    `disjoint`: the seeds of which the arms have scores of different people, none in common. Their difference is then
    one between people as well, so that there is no verdict.
    """

    effect: Effect
    direction: Direction
    margin: float = 0.0
    unit: str = ""
    disjoint: tuple[int, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """The outcome of a claim. Both p values are Holm-adjusted, and None where there is no verdict.

    `p_supported` is for an improvement above the margin, `p_refuted` for one below it; `improvement` is the difference
    with the sign that makes positive better; `reason` explains the outcome in words.
    """

    outcome: Outcome
    p_supported: float | None
    p_refuted: float | None
    improvement: Estimate
    reason: str


def judge(claims: Sequence[Claim]) -> list[Verdict]:
    """A verdict for every declared hypothesis. Pass all claims of a study at once: they are adjusted together.

    Each claim has two one-sided t-tests of the mean improvement against the margin: that it is above, and that it is
    below. The adjustment is over the 2·m tests of m claims, so that the chance of any false `supported` or
    `refuted` is at most 5 %. A claim that cannot be tested still counts in m, because it was declared.
    """
    improvements = [improvement(claim) for claim in claims]
    p_values = [
        None if _missing(better, claim) else _one_sided(better, claim.margin)
        for better, claim in zip(improvements, claims, strict=True)
    ]
    adjusted = holm([p for pair in p_values for p in (pair or (1.0, 1.0))])
    return [
        _verdict(claim, better, pair and (adjusted[2 * index] or 0.0, adjusted[2 * index + 1] or 0.0))
        for index, (claim, better, pair) in enumerate(zip(claims, improvements, p_values, strict=True))
    ]


def improvement(claim: Claim) -> Estimate:
    """The claim's difference with its interval, with the sign that makes positive better."""
    gap = claim.effect.difference
    if claim.direction == "higher" or gap.mean is None:
        return gap
    low, high = (None if end is None else -end for end in (gap.high, gap.low))
    return Estimate(-gap.mean, low, high, gap.n, gap.note, gap.standard_error)


def adjusted_p(outcome: Outcome, above: float | None, below: float | None) -> float | None:
    """The adjusted p of the test that the outcome is about; the smaller one of an inconclusive outcome."""
    if above is None or below is None:
        return None
    return above if outcome == "supported" else below if outcome == "refuted" else min(above, below)


def _one_sided(better: Estimate, margin: float) -> tuple[float, float]:
    """p of the t-test that the improvement is above the margin, and of the test that it is below."""
    t = ((better.mean or 0.0) - margin) / (better.standard_error or 1.0)
    return float(special.stdtr(better.n - 1, -t)), float(special.stdtr(better.n - 1, t))


def _missing(better: Estimate, claim: Claim) -> str:
    """Why there can be no verdict, in words; empty when there can be one."""
    n = better.n
    if claim.disjoint:
        return f"the arms have no subject in common with {_seeds(claim.disjoint)}: their scores are of different people"
    if n == 0:
        return "no seed has a score of both arms"
    if n < MIN_SEEDS:
        return f"{counted(n, 'paired seed')}: a verdict needs at least {MIN_SEEDS}"
    return "" if better.standard_error else "the same difference at every seed: without variation there is no test"


def _verdict(claim: Claim, better: Estimate, p: tuple[float, float] | None) -> Verdict:
    unpaired = _unpaired_seeds(claim.effect)
    if p is None:
        return Verdict("no verdict", None, None, better, _missing(better, claim) + unpaired)
    above, below = p
    outcome: Outcome = "supported" if above <= ALPHA else "refuted" if below <= ALPHA else "inconclusive"
    details = f"adjusted p {numbers.p_value(adjusted_p(outcome, above, below))}, {better.n} seeds"
    return Verdict(outcome, above, below, better, f"{_words(outcome, claim)} ({details}){unpaired}")


def _words(outcome: Outcome, claim: Claim) -> str:
    margin = f"the margin of {numbers.with_unit(f'{claim.margin:g}', claim.unit)}"
    if claim.margin:
        return {
            "supported": f"shown to be better by more than {margin}",
            "refuted": f"shown not to be better by as much as {margin}",
        }.get(outcome, f"the improvement was shown neither to exceed {margin} nor to fall short of it")
    return {"supported": "shown to be better", "refuted": "shown to be worse"}.get(
        outcome, "not shown to be better, nor to be worse"
    )


def _unpaired_seeds(effect: Effect) -> str:
    """The seeds that only one arm has. They are always named, because runs do not fail at random."""
    if not effect.unpaired:
        return ""
    return f"; without {_seeds(effect.unpaired)}"


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
