"""Put comparisons into words: verdicts and the one-sentence answer, from the numbers alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from ablate.claims import numbers
from ablate.claims.records import MetricInfo
from ablate.claims.statistics import Effect

Outcome = Literal["better", "worse", "open", "one pair", "no pair"]
ALPHA = 0.05


@dataclass(frozen=True)
class Comparison:
    """One arm against another in one metric. `p_adjusted` is Holm's, over all comparisons of the study's answer."""

    arm: str
    label: str
    against: str
    against_label: str
    metric: MetricInfo
    effect: Effect
    p_adjusted: float | None
    places: int  # decimals, the same for all differences in this metric
    family: int = 1  # how many comparisons p was adjusted for
    margin: float | None = None  # of the hypothesis that names this comparison; None when none does

    @property
    def outcome(self) -> Outcome:
        """`better` or `worse` when the adjusted p is below 0.05, else `open`: no difference could be shown."""
        n, mean = self.effect.difference.n, self.effect.difference.mean
        if n < 2 or mean is None:
            return "one pair" if n == 1 else "no pair"
        if self.p_adjusted is None or self.p_adjusted >= ALPHA:
            return "open"
        return "better" if (mean < 0) == (self.metric.direction == "lower") else "worse"

    @property
    def verdict(self) -> str:
        """The outcome in a few words, with what it says of the hypothesis' margin."""
        corrected = " after correction" if self.effect.difference.excludes_zero else ""
        words = {
            "better": "better",
            "worse": "worse",
            "open": f"no difference shown{corrected}",
            "one pair": "one seed: no verdict",
            "no pair": "no pair of runs",
        }
        return words[self.outcome] + (f", {self.margin_words}" if self.margin_words else "")

    @property
    def margin_words(self) -> str:
        """What the interval says about the margin; empty when there is none or it says nothing."""
        gap = self.effect.difference
        if not self.margin or gap.low is None or gap.high is None or self.outcome == "worse":
            return ""
        bound = f"the margin of {numbers.with_unit(f'{self.margin:g}', self.metric.unit)}"
        if self.outcome == "open":
            return f"any is below {bound}" if max(-gap.low, gap.high) < self.margin else ""
        near, far = sorted((abs(gap.low), abs(gap.high)))
        if gap.excludes_zero and near >= self.margin:
            return f"more than {bound}"
        return f"less than {bound}" if far < self.margin else f"not shown to reach {bound}"


def answers(comparisons: Sequence[Comparison], parameters: Mapping[str, float | None]) -> tuple[str, ...]:
    """A sentence for every pair of arms, in order; `parameters` maps arm → total count."""
    pairs = dict.fromkeys((c.arm, c.against) for c in comparisons)
    if not pairs:
        return ("There is nothing to compare: the study has no arm beside its baseline.",)
    return tuple(
        _sentence([c for c in comparisons if (c.arm, c.against) == pair], _added(parameters, *pair)) for pair in pairs
    )


def _sentence(of_pair: Sequence[Comparison], added: float | None) -> str:
    first = of_pair[0]
    by_outcome = {outcome: [c for c in of_pair if c.outcome == outcome] for outcome in get_args(Outcome)}
    if len(by_outcome["no pair"]) == len(of_pair):
        return f"There is no answer yet: {first.label} and {first.against_label} have no finished seed in common."
    clauses: list[str] = []
    for outcome, say in (("better", _better), ("worse", _worse), ("open", _open), ("one pair", _single)):
        if by_outcome[outcome]:
            clauses.append(say(by_outcome[outcome], named=not clauses))
    text = "; ".join(clauses)
    return text[0].upper() + text[1:] + _cost(first, added) + "."


def _better(found: Sequence[Comparison], *, named: bool) -> str:
    """`Hybrid has a lower azimuth error than Existing by 0.41° (95 % interval 0.10° to 0.72°, 7 seeds)`."""
    parts = []
    for c in found:
        word = "lower" if (c.effect.difference.mean or 0.0) < 0 else "higher"
        than = f" than {c.against_label}" if named and c is found[0] else ""
        parts.append(f"a {word} {c.metric.in_text}{than} by {_size(c)}")
    return f"{found[0].label if named else 'it'} has {' and '.join(parts)}"


def _worse(found: Sequence[Comparison], *, named: bool) -> str:
    """`ElePose is worse than Existing in azimuth error by 8.2° (95 % interval 5.9° to 10.6°, 7 seeds)`."""
    parts = " and ".join(f"in {c.metric.in_text} by {_size(c)}" for c in found)
    return f"{found[0].label} is worse than {found[0].against_label} {parts}" if named else f"it is worse {parts}"


def _open(found: Sequence[Comparison], *, named: bool) -> str:
    """`no difference could be shown in elevation error (−0.10°, 95 % interval −0.30° to 0.10°, 7 seeds)`."""
    between = f" between {found[0].label} and {found[0].against_label}" if named else ""
    parts = " or ".join(f"in {c.metric.in_text} ({_signed_size(c)})" for c in found)
    corrected = any(c.effect.difference.excludes_zero for c in found)
    after = f", after correction for {found[0].family} comparisons" if corrected else ""
    return f"no difference{between} could be shown {parts}{after}"


def _single(found: Sequence[Comparison], *, named: bool) -> str:
    """One pair of runs has no interval: its difference is told, nothing is claimed."""
    between = f" about {found[0].label} and {found[0].against_label}" if named else ""
    values = " and ".join(f"{c.metric.in_text} {_signed_size(c)}" for c in found)
    return f"one seed alone shows nothing{between} ({values})"


def _size(c: Comparison) -> str:
    """Without sign, for a sentence that says lower or higher: `0.41° (95 % interval 0.10° to 0.72°, 7 seeds)`."""
    gap, places = c.effect.difference, c.places
    low, high = sorted((abs(gap.low or 0.0), abs(gap.high or 0.0)))
    details = [
        f"95 % interval {_measure(low, places, c)} to {_measure(high, places, c)}",
        _seeds(gap.n),
        c.margin_words,
    ]
    return f"{_measure(abs(gap.mean or 0.0), places, c)} ({', '.join(part for part in details if part)})"


def _signed_size(c: Comparison) -> str:
    """`−0.10°, 95 % interval −0.30° to 0.10°, 7 seeds`."""
    gap, places = c.effect.difference, c.places
    details = [numbers.with_unit(numbers.signed(gap.mean, places), c.metric.unit)]
    if gap.low is not None and gap.high is not None:
        details.append(f"95 % interval {_measure(gap.low, places, c)} to {_measure(gap.high, places, c)}")
    return ", ".join(part for part in [*details, _seeds(gap.n), c.margin_words] if part)


def _measure(value: float, places: int, c: Comparison) -> str:
    return numbers.with_unit(numbers.number(value, places), c.metric.unit)


def _seeds(n: int) -> str:
    return f"{n} seed" if n == 1 else f"{n} seeds"


def _cost(c: Comparison, added: float | None) -> str:
    if added is None:
        return ""
    if added == 0:
        return f", at the same number of parameters as {c.against_label}"
    return f", at {numbers.signed_count(added)} parameters"


def _added(parameters: Mapping[str, float | None], arm: str, against: str) -> float | None:
    ours, theirs = parameters.get(arm), parameters.get(against)
    return None if ours is None or theirs is None else ours - theirs
