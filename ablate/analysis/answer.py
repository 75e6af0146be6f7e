"""Put comparisons into words: the one-sentence answer, from verdicts where there are any, else from intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ablate.analysis import numbers
from ablate.analysis.clusters import OverClusters
from ablate.analysis.phrasing import (
    Shown,
    better_by,
    details,
    ends_text,
    listed,
    margin_text,
    measure,
    quoted,
    sentence,
    shown,
)
from ablate.analysis.records import SPLITS, MetricInfo
from ablate.analysis.same_question import SameQuestion
from ablate.analysis.statistics import Effect, Estimate
from ablate.analysis.verdicts import Claim, Outcome, Verdict
from ablate.study import ClaimKind, Split
from ablate.study.runs import TrainerKind

FOR_SETTINGS = "for these tuned settings"  # one tuning of an arm: its luck is in no interval
SCOPE = f"{FOR_SETTINGS} and this data"
TUNED_SPLIT = "the split that tuning used"
SCOPE_PROCEDURE = "at this tuning budget and on this data"  # each seed has a tuning of its own
SCOPE_UNTUNED = "for these untuned settings and this data"
SCOPE_ADOPTED = "by these adopted results"


def scope_words(trainer: TrainerKind, *, tuned: bool, per_seed: bool) -> str:
    """What verdicts hold for. `per_seed`: each seed has a tuning of its own."""
    if trainer == "adopted":
        return SCOPE_ADOPTED
    if not tuned:
        return SCOPE_UNTUNED
    return SCOPE_PROCEDURE if per_seed else SCOPE


def split_words(split: Split, *, tuned: bool) -> str:
    """Whose scores are compared, such as `on the split that tuning used`; "" where they are those on the test split."""
    if split == "test":
        return ""
    return f"on {TUNED_SPLIT if tuned else SPLITS[split]}"


@dataclass(frozen=True)
class Comparison:
    """One arm against another in one metric: a declared hypothesis with its verdict, or exploratory without one.

    `p_adjusted` is Holm-adjusted over both one-sided tests of all declared hypotheses, for the side that the verdict is
    about. None where the comparison is exploratory or has no verdict.
    """

    arm: str
    label: str
    against: str
    against_label: str
    metric: MetricInfo
    effect: Effect
    p_adjusted: float | None
    places: int  # decimals, the same for all differences in this metric
    family: int = 1  # how many hypotheses p was adjusted for
    margin: float | None = None  # of the hypothesis; None: exploratory
    judgement: Verdict | None = None  # of the hypothesis; None: exploratory
    kind: ClaimKind = "better"
    over_clusters: OverClusters | None = None  # None where the study names no cluster of test examples
    elsewhere: SameQuestion | None = None  # None where no other study of the store asks the same
    score: float | None = None  # mean of the arm over the seeds that both arms have …
    score_against: float | None = None  # … and of the other arm
    score_places: int = 0  # decimals of both, the same for all scores in this metric

    @property
    def deciding(self) -> Estimate:
        """The difference with the interval that a verdict rests on."""
        return self.claim.deciding

    @property
    def claim(self) -> Claim:
        """The hypothesis as it is judged; an exploratory comparison as one without a margin."""
        both = self.over_clusters
        interval, words = (both.interval, both.words) if both is not None and both.decides else (None, "")
        return Claim(
            self.effect, self.metric.direction, self.margin or 0.0, self.metric.unit, self.kind, interval, words
        )

    @property
    def exploratory(self) -> bool:
        """No hypothesis declares it: it has an interval and no verdict."""
        return self.judgement is None

    @property
    def verdict(self) -> str:
        """`supported`, `refuted`, `inconclusive` or `no verdict`; `exploratory` where nothing was declared."""
        return "exploratory" if self.judgement is None else self.judgement.outcome

    @property
    def reason(self) -> str:
        """Why the verdict is what it is, or what is unusual about the difference; may be empty."""
        return self.effect.note if self.judgement is None else self.judgement.reason

    @property
    def shown(self) -> Shown:
        """What the interval alone shows."""
        return shown(replace(self.effect, difference=self.deciding), self.metric, self.margin)


def answers(
    comparisons: Sequence[Comparison], parameters: Mapping[str, float | None], *, scope: str = SCOPE, where: str = ""
) -> tuple[str, ...]:
    """A sentence for every pair of arms, in order; `parameters` maps arm → total count.

    The first sentence begins with `scope`, what the verdicts hold for, or says that the comparison is exploratory; then
    follows `where`, for scores of another split than the test split: words with a comma and a space at their end.
    """
    pairs = dict.fromkeys((c.arm, c.against) for c in comparisons)
    if not pairs:
        return ("There is nothing to compare: the study has no arm beside its baseline.",)
    sentences = []
    for index, pair in enumerate(pairs):
        of_pair = [c for c in comparisons if (c.arm, c.against) == pair]
        exploratory = all(c.exploratory for c in of_pair)
        text = _exploratory_answer(of_pair) if exploratory else _declared_answer(of_pair)
        text += _cost(of_pair[0], *map(parameters.get, pair))
        told = f"exploratory, {where}no hypothesis was declared: {text}"
        opening = sentence(told if exploratory else f"{scope}, {where}{text}")
        sentences.append(sentence(text) if index else opening)
    return tuple(sentences)


# What the kinds claim, with the margin and the other arm: once named, it is left out of what follows.
PREDICATES: Mapping[ClaimKind, Callable[[str, str], str]] = {
    "better": lambda margin, other: f"{other and f'on {other} '}{margin and f'by more than {margin} '}",
    "not_worse": lambda margin, other: f"at most {margin} worse {other and f'than {other} '}",
    "equivalent": lambda margin, other: f"{other and f'from {other} '}by less than {margin} ",
}
VERBS: Mapping[ClaimKind, str] = {"better": "improves", "not_worse": "is", "equivalent": "differs"}


def _declared_answer(of_pair: Sequence[Comparison]) -> str:
    """`it is refuted that “Hybrid” improves on “Existing” by more than 0.5° in azimuth error (…)`."""
    lead: Mapping[Outcome, str] = {
        "supported": "it is supported that",
        "refuted": "it is refuted that",
        "inconclusive": "it stays open whether",
        "no verdict": "there is no verdict on whether",
    }
    pair = of_pair[0]
    clauses: list[str] = []
    for outcome, words in lead.items():
        matching = [c for c in of_pair if c.verdict == outcome]
        if matching:
            join = "and" if outcome == "supported" else "or"
            by_kind = [[c for c in matching if c.kind == kind] for kind in PREDICATES]
            for of_kind in filter(None, by_kind):
                one, other = (quoted(pair.label), quoted(pair.against_label)) if not clauses else ("it", "")
                claims = [_claim(c, "" if index else other) for index, c in enumerate(of_kind)]
                clauses.append(f"{words} {one} {VERBS[of_kind[0].kind]} {listed(claims, join)}")
    return "; ".join(clauses)


def _claim(c: Comparison, other: str) -> str:
    """`on “Existing” by more than 0.5° in azimuth error (4.63° against 4.85°, 0.22° better, …, 7 seeds)`."""
    margin = margin_text(c.margin, c.metric) if c.margin else ""
    return f"{PREDICATES[c.kind](margin, other)}in {c.metric.in_text} ({_measured(c)})"


def _measured(c: Comparison) -> str:
    gap = c.effect.difference
    if gap.mean is None or c.judgement is None:
        return "not measured: no seed has both runs"
    reason = f"; {c.judgement.reason}" if c.judgement.outcome == "no verdict" else ""
    return (
        f"{_scores(c)}{better_by(gap, c.metric, c.places)}, {details(gap, c.metric, c.places)}{_over_both(c)}{reason}"
    )


def _scores(c: Comparison) -> str:
    """`4.63° against 4.85°, `: both means, which the difference alone does not tell."""
    if c.score is None or c.score_against is None:
        return ""
    ours, theirs = (measure(value, c.metric, c.score_places) for value in (c.score, c.score_against))
    return f"{ours} against {theirs}, "


def _over_both(c: Comparison) -> str:
    """`; over 7 seeds and 10 clusters (subject): 0.10° to 0.49°`."""
    both = c.over_clusters
    if both is None or both.interval is None or both.interval.low is None or both.interval.low == both.interval.high:
        return ""
    return f"; over {both.words}: {ends_text(both.interval, c.metric, c.places)}"


def _exploratory_answer(of_pair: Sequence[Comparison]) -> str:
    pair = of_pair[0]
    if all(c.effect.difference.n == 0 for c in of_pair):
        both = f"{quoted(pair.label)} and {quoted(pair.against_label)}"
        return f"there is no answer yet, for {both} have no finished seed in common"
    clauses: list[str] = []
    clause_of = {
        "better": _better,
        "worse": _worse,
        "not shown": _not_shown,
        "no interval": _without_interval,
    }
    for outcome, clause_words in clause_of.items():
        matching = [c for c in of_pair if c.shown == outcome and c.effect.difference.n]
        if matching:
            clauses.append(clause_words(matching, named=not clauses))
    return "; ".join(clauses)


def _better(comparisons: Sequence[Comparison], *, named: bool) -> str:
    """`“Hybrid” has a lower azimuth error than “Existing” by 0.41° (95 % interval 0.10° to 0.72°, 7 seeds)`."""
    differences = []
    for c in comparisons:
        than = f" than {quoted(c.against_label)}" if named and c is comparisons[0] else ""
        lower_or_higher = "lower" if (c.effect.difference.mean or 0.0) < 0 else "higher"
        differences.append(f"a {lower_or_higher} {c.metric.in_text}{than} by {_size(c)}")
    return f"{quoted(comparisons[0].label) if named else 'it'} has {' and '.join(differences)}"


def _worse(comparisons: Sequence[Comparison], *, named: bool) -> str:
    """`“ElePose” is worse than “Existing” in azimuth error by 8.2° (95 % interval 5.9° to 10.6°, 7 seeds)`."""
    differences = " and ".join(f"in {c.metric.in_text} by {_size(c)}" for c in comparisons)
    if not named:
        return f"it is worse {differences}"
    return f"{quoted(comparisons[0].label)} is worse than {quoted(comparisons[0].against_label)} {differences}"


def _not_shown(comparisons: Sequence[Comparison], *, named: bool) -> str:
    """`the interval of the difference includes 0 in elevation error (0.10° better, 95 % interval from …, 7 seeds)`."""
    between = f" between {_both(comparisons[0])}" if named else ""
    differences = " and ".join(f"in {c.metric.in_text} ({_found(c)})" for c in comparisons)
    return f"the interval of the difference{between} includes 0 {differences}"


def _without_interval(comparisons: Sequence[Comparison], *, named: bool) -> str:
    """One pair of runs has no interval and equal differences have no spread, so only the difference is written."""
    between = f" about {_both(comparisons[0])}" if named else ""
    values = " and ".join(f"{c.metric.in_text} {_found(c)}" for c in comparisons)
    return f"nothing can be shown{between} ({values})"


def _both(c: Comparison) -> str:
    return f"{quoted(c.label)} and {quoted(c.against_label)}"


def _size(c: Comparison) -> str:
    """`0.41° (4.63° against 5.04°, 95 % interval 0.10° to 0.72°, 7 seeds)`."""
    value = measure(abs(c.effect.difference.mean or 0.0), c.metric, c.places)
    return f"{value} ({_scores(c)}{_details(c)})"


def _found(c: Comparison) -> str:
    return f"{_scores(c)}{better_by(c.effect.difference, c.metric, c.places)}, {_details(c)}"


def _details(c: Comparison) -> str:
    """The interval that decides, and what it is over."""
    gap = c.deciding
    if gap is c.effect.difference or c.over_clusters is None:
        return details(gap, c.metric, c.places)
    return f"95 % interval {ends_text(gap, c.metric, c.places)}, over {c.over_clusters.words}"


def _cost(c: Comparison, ours: float | None, theirs: float | None) -> str:
    """What the arm costs in parameters; empty where either count is unknown."""
    if ours is None or theirs is None:
        return ""
    if ours == theirs:
        return f", at the same number of parameters as {quoted(c.against_label)}"
    return f", at {numbers.signed_count(ours - theirs)} parameters"
