"""What each part of a design does: main effects, interactions, Shapley values. Pure: Results in, dataclasses out.

Every contrast is computed seed by seed from the scores of the design's arms, then estimated over seeds. A seed counts
where every arm of the contrast has a score.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from ablate.analysis import numbers
from ablate.analysis.effects import difference
from ablate.analysis.phrasing import Shown, listed, sentence, shown, signed_size
from ablate.analysis.records import MetricInfo
from ablate.analysis.results import Results
from ablate.analysis.statistics import ALPHA, Effect, holm
from ablate.study import DesignKind
from ablate.study.design import part_label, subsets

EXPLORATORY = "Exploratory, p by Holm over all main effects and interactions: "
Weights = Mapping[tuple[str, ...], float]  # of the scores of the arms with these parts


@dataclass(frozen=True)
class PartEffect:
    """What a part does to the metric: with it minus without it.

    In a factorial `effect` is the main effect, averaged over the arms with and without the other parts, and `shapley`
    the part's share of the whole gain in the metric's unit; `share` is of the gain, None where the interval of the
    whole gain includes 0. In the other designs `effect` is the difference of two arms and the rest is None.
    """

    part: str
    label: str
    effect: Effect
    p_adjusted: float | None = None
    shapley: Effect | None = None
    share: float | None = None


@dataclass(frozen=True)
class Interaction:
    """By how much the effect of some parts depends on another: for two, the first's effect with the second minus that
    without it, averaged over the arms with and without the remaining parts."""

    parts: tuple[str, ...]
    labels: tuple[str, ...]
    effect: Effect
    p_adjusted: float | None
    with_other: tuple[Effect, ...]  # for two parts: of each with the other one; else empty
    without_other: tuple[Effect, ...]


@dataclass(frozen=True)
class DesignEffects:
    """One metric over the arms of the design."""

    kind: DesignKind
    metric: MetricInfo
    parts: tuple[PartEffect, ...]
    interactions: tuple[Interaction, ...]  # of two parts first; empty unless the design is a factorial
    whole: Effect | None  # all parts minus none; only of a factorial
    places: int  # decimals of the differences

    @property
    def answers(self) -> tuple[str, ...]:
        """What the intervals show, in words: the parts, then the interactions of two parts."""
        return (_parts_answer(self), *_interaction_answers(self))


def design_effects(results: Results) -> tuple[DesignEffects, ...]:
    """The effects in every metric of the study; empty without a design, and where arms of it are missing."""
    if results.study.design is None:
        return ()
    kind, design = results.study.design
    arms = {tuple(arm.parts): name for name, arm in results.study.arms.items() if arm.parts is not None}
    if set(arms) != set(subsets(kind, list(design.parts))):
        return ()
    return tuple(_effects(results, kind, arms, metric) for metric in results.study.metrics)


def main_effect(part: str, parts: Sequence[str]) -> Weights:
    """Weights of the mean over arms with the part minus the mean over arms without it."""
    return interaction((part,), parts)


def interaction(of: Sequence[str], parts: Sequence[str]) -> Weights:
    """Weights of the interaction of the parts `of`: the sum over their subsets U of (−1)^(|of|−|U|) times the mean over
    the arms with exactly U of them."""
    scale = 1 / 2 ** (len(parts) - len(of))
    return {s: scale * (-1) ** (len(of) - len(set(of) & set(s))) for s in _every(parts)}


def shapley(part: str, parts: Sequence[str]) -> Weights:
    """Weights of the part's Shapley value: what it adds, averaged over all orders in which the parts can come.

    Source: L. S. Shapley, "A value for n-person games", 1953, equation 12.
    """
    k, weights = len(parts), {}
    for s in _every(parts):
        others = len(s) - (part in s)
        size = math.factorial(others) * math.factorial(k - others - 1) / math.factorial(k)
        weights[s] = size if part in s else -size
    return weights


def _every(parts: Sequence[str]) -> list[tuple[str, ...]]:
    return subsets("factorial", parts)


def _effects(results: Results, kind: DesignKind, arms: Mapping[tuple[str, ...], str], metric: str) -> DesignEffects:
    design = results.study.factorial or results.study.leave_one_out or results.study.add_one_in
    assert design is not None
    parts, key = list(design.parts), results.study.score_key(metric)
    scores = {chosen: results.by_seed(arm, key) for chosen, arm in arms.items()}
    labels = {part: part_label(design, part) for part in parts}

    def contrast(weights: Weights) -> Effect:
        return _contrast(results, scores, weights)

    if kind != "factorial":
        whole = tuple(parts) if kind == "leave_one_out" else ()
        pairs = {p: _pair(p, whole, parts) for p in parts}
        found = [
            PartEffect(p, labels[p], contrast({with_it: 1, without: -1})) for p, (with_it, without) in pairs.items()
        ]
        adjusted = holm([each.effect.p for each in found])
        each_part = tuple(PartEffect(f.part, f.label, f.effect, p) for f, p in zip(found, adjusted, strict=True))
        return DesignEffects(kind, results.metrics[metric], each_part, (), None, _places(each_part))
    groups = [g for size in range(1, len(parts) + 1) for g in combinations(parts, size)]
    effects = {group: contrast(interaction(group, parts)) for group in groups}
    adjusted_p = dict(zip(groups, holm([effects[group].p for group in groups]), strict=True))
    gain = contrast({tuple(parts): 1.0, (): -1.0})
    mains = tuple(
        _main(p, labels[p], effects[(p,)], adjusted_p[(p,)], contrast(shapley(p, parts)), gain) for p in parts
    )
    together = tuple(
        Interaction(
            group,
            tuple(labels[p] for p in group),
            effects[group],
            adjusted_p[group],
            tuple(contrast(w) for w in _simple(group, parts, present=True)),
            tuple(contrast(w) for w in _simple(group, parts, present=False)),
        )
        for group in groups
        if len(group) > 1
    )
    return DesignEffects(kind, results.metrics[metric], mains, together, gain, _places(mains))


def _pair(part: str, whole: tuple[str, ...], parts: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The parts of the arm with the part and of that without it."""
    return (whole, tuple(p for p in parts if p != part)) if whole else ((part,), ())


def _main(part: str, label: str, effect: Effect, p: float | None, value: Effect, gain: Effect) -> PartEffect:
    mean, whole = value.difference.mean, gain.difference.mean
    share = mean / whole if mean is not None and whole and gain.difference.excludes_zero else None
    return PartEffect(part, label, effect, p, value, share)


def _simple(group: tuple[str, ...], parts: Sequence[str], *, present: bool) -> list[Weights]:
    """For two parts: weights of the effect of each among the arms with (or without) the other."""
    if len(group) != 2:
        return []
    weights: list[Weights] = []
    for part, other in (group, group[::-1]):
        scale = 1 / 2 ** (len(parts) - 2)
        arms = [s for s in _every(parts) if (other in s) == present]
        weights.append({s: scale if part in s else -scale for s in arms})
    return weights


def _contrast(results: Results, scores: Mapping[tuple[str, ...], Mapping[int, float]], weights: Weights) -> Effect:
    """The weighted sum of scores, seed by seed, as the difference of its positive and its negative part."""

    def side(sign: int) -> dict[int, float]:
        terms = [(scores[s], abs(w)) for s, w in weights.items() if w * sign > 0]
        return {seed: math.fsum(w * by_seed[seed] for by_seed, w in terms) for seed in results.study.seeds}

    return difference(results, side(1), side(-1))


def _places(parts: Sequence[PartEffect]) -> int:
    return numbers.decimals_for(each.effect.difference for each in parts)


def _quoted(label: str) -> str:
    return f"“{label}”"


def _convincing(effect: Effect, p: float | None, metric: MetricInfo) -> Shown:
    """What the interval shows; "not shown" too where the adjusted p is not below 0.05."""
    outcome = shown(effect, metric)
    return outcome if outcome not in ("better", "worse") or (p is not None and p < ALPHA) else "not shown"


def _parts_answer(effects: DesignEffects) -> str:
    metric, over = effects.metric, {
        "factorial": ", averaged over the arms with and without the other parts",
        "leave_one_out": ", taken from the full design",
        "add_one_in": ", added to the bare design",
    }[effects.kind]  # fmt: skip
    clauses = []
    for kind, verb in (("better", "improves"), ("worse", "worsens")):
        found = [p for p in effects.parts if _convincing(p.effect, p.p_adjusted, metric) == kind]
        sizes = [f"{_quoted(p.label)} ({signed_size(p.effect.difference, metric, effects.places)})" for p in found]
        if sizes:
            clauses.append(f"{metric.in_text} {verb} with {listed(sizes)}")
    if not clauses:
        return EXPLORATORY + sentence(f"no part is shown to change {metric.in_text}{over}")
    return EXPLORATORY + sentence(f"{'; '.join(clauses)}{over}")


def _interaction_answers(effects: DesignEffects) -> list[str]:
    """A sentence for every two parts whose interaction is shown; "only" where the other way is shown to be worse."""
    metric = effects.metric
    sentences = []
    for each in effects.interactions:
        if len(each.parts) != 2 or _convincing(each.effect, each.p_adjusted, metric) not in ("better", "worse"):
            continue
        first, second = map(_quoted, each.labels)
        having, lacking = each.with_other[0], each.without_other[0]
        outcomes = shown(having, metric), shown(lacking, metric)
        numbers_text = (
            f"with it {signed_size(having.difference, metric, effects.places)}; "
            f"without it {signed_size(lacking.difference, metric, effects.places)}; "
            f"the difference of the two {signed_size(each.effect.difference, metric, effects.places)}"
        )
        if outcomes == ("better", "worse"):
            verdict = f"{first} helps only with {second}, and harms without it"
        elif outcomes == ("worse", "better"):
            verdict = f"{first} helps only without {second}, and harms with it"
        elif outcomes[0] == "better" and outcomes[1] != "better":
            verdict = f"{first} helps with {second}; without it no help is shown"
        elif outcomes[1] == "better" and outcomes[0] != "better":
            verdict = f"{first} helps without {second}; with it no help is shown"
        else:
            verdict = f"what {first} does depends on {second}"
        sentences.append(sentence(f"in {metric.in_text}, {verdict} ({numbers_text})"))
    return sentences
