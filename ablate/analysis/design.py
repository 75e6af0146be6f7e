"""What each part of a design does: main effects, interactions, Shapley values. Pure: Results in, dataclasses out.

Every contrast is computed seed by seed from the scores of the design's arms, then estimated over seeds. A seed counts
where every arm of the contrast has a score.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from ablate.analysis import numbers
from ablate.analysis.effects import difference
from ablate.analysis.phrasing import Shown, end_text, listed, quoted, sentence, shown, signed_size
from ablate.analysis.records import MetricInfo
from ablate.analysis.results import Results
from ablate.analysis.statistics import ALPHA, Effect, holm
from ablate.study import Design, DesignKind
from ablate.study.design import part_label, subsets
from ablate.study.fractions import Words, alias_pairs, defining_words, pair_groups, resolution

Weights = Mapping[tuple[str, ...], float]  # of the scores of the arms with these parts


@dataclass(frozen=True)
class PartEffect:
    """What a part does to the metric: with it minus without it.

    In a factorial `effect` is the main effect, averaged over the arms with and without the other parts, and `shapley`
    the part's share of the whole gain in the metric's unit; `share` is of the gain, None where the interval of the
    whole gain includes 0. A fraction of a factorial has no Shapley values: they need every arm; `aliases` are the
    interactions of two parts, by label, of which the main effect there has a share that it cannot be told from. In the
    other designs `effect` is the difference of two arms and the rest is None.
    """

    part: str
    label: str
    effect: Effect
    p_adjusted: float | None = None
    shapley: Effect | None = None
    share: float | None = None
    aliases: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Interaction:
    """By how much the effect of some parts depends on another: for two, the first's effect with the second minus that
    without it, averaged over the arms with and without the remaining parts.

    `aliases`: other interactions of two parts, by label; `effect` is then the sum of all."""

    parts: tuple[str, ...]
    labels: tuple[str, ...]
    effect: Effect
    p_adjusted: float | None
    with_other: tuple[Effect, ...]  # for two parts: of each with the other one; else empty
    without_other: tuple[Effect, ...]
    aliases: tuple[tuple[str, ...], ...] = ()

    @property
    def name(self) -> str:
        """`A × B`, and with aliases `A × B + C × D`."""
        return " + ".join(" × ".join(labels) for labels in (self.labels, *self.aliases))


@dataclass(frozen=True)
class DesignEffects:
    """One metric over the arms of the design."""

    kind: DesignKind
    metric: MetricInfo
    parts: tuple[PartEffect, ...]
    interactions: tuple[Interaction, ...]  # of two parts first; empty unless the design is a factorial
    whole: Effect | None  # all parts minus none; only of a factorial that has both arms
    places: int  # decimals of the differences
    arms: int = 0
    resolution: int | None = None  # of a fraction of a factorial: see `study.fractions.resolution`

    @property
    def answers(self) -> tuple[str, ...]:
        """What the intervals show, in words: the parts, then the interactions of two parts."""
        return (_parts_answer(self), *_interaction_answers(self))


def design_effects(results: Results) -> tuple[DesignEffects, ...]:
    """The effects in every metric of the study; empty without a design, and where arms of it are missing."""
    if results.study.design is None:
        return ()
    kind, design = results.study.design
    arms = {tuple(a.parts): a.family or name for name, a in results.study.arms.items() if a.parts is not None}
    try:
        expected = set(subsets(kind, list(design.parts), design.arms))
    except KeyError:  # a document of a stranger
        return ()
    if set(arms) != expected:
        return ()
    effects = _of_factorial if kind == "factorial" else _of_pairs
    return tuple(effects(results, kind, design, arms, metric) for metric in results.study.metrics)


def interaction(of: Sequence[str], arms: Collection[tuple[str, ...]]) -> Weights:
    """Weights of the interaction of the parts `of`: the sum over their subsets U of (−1)^(|of|−|U|) times the mean over
    the arms with exactly U of them; of one part the main effect, the mean with it minus the mean without it.

    `arms`: the parts of every arm, of a factorial or of a fraction of one.
    """
    scale = 2 ** len(of) / len(arms)
    return {s: scale * (-1) ** (len(of) - len(set(of) & set(s))) for s in arms}


def shapley(part: str, parts: Sequence[str]) -> Weights:
    """Weights of the part's Shapley value: what it adds, averaged over all orders in which the parts can come.

    Source: L. S. Shapley, "A value for n-person games", 1953, equation 12.
    """
    k, weights = len(parts), {}
    for s in subsets("factorial", parts):
        others = len(s) - (part in s)
        size = math.factorial(others) * math.factorial(k - others - 1) / math.factorial(k)
        weights[s] = size if part in s else -size
    return weights


Arms = Mapping[tuple[str, ...], str]  # parts → name of the arm


def _of_pairs(results: Results, kind: DesignKind, design: Design, arms: Arms, metric: str) -> DesignEffects:
    """Leave-one-out or add-one-in: every part is the difference of two arms."""
    parts = list(design.parts)
    whole = tuple(parts) if kind == "leave_one_out" else ()
    contrast = _contrasts(results, arms, metric)
    effects = {p: contrast({with_it: 1, without: -1}) for p in parts for with_it, without in [_pair(p, whole, parts)]}
    adjusted = holm([effect.p for effect in effects.values()])
    each_part = tuple(
        PartEffect(part, part_label(design, part), effect, p)
        for (part, effect), p in zip(effects.items(), adjusted, strict=True)
    )
    return DesignEffects(kind, results.metrics[metric], each_part, (), None, _places(each_part), len(arms))


def _of_factorial(results: Results, kind: DesignKind, design: Design, arms: Arms, metric: str) -> DesignEffects:
    """A factorial, or a fraction of one: there every group of effects that share a number is computed once."""
    parts, contrast = list(design.parts), _contrasts(results, arms, metric)
    labels = {part: part_label(design, part) for part in parts}
    words = defining_words(len(parts), design.arms) if design.arms else []
    groups = _interactions(parts, words)  # with the aliases of each
    names = [*((part,) for part in parts), *groups]
    effects = {name: contrast(interaction(name, arms)) for name in names}
    adjusted = dict(zip(names, holm([effects[name].p for name in names]), strict=True))
    both = {tuple(parts), ()} <= set(arms)
    gain = contrast({tuple(parts): 1.0, (): -1.0}) if both else None
    mains = tuple(
        _main(
            part,
            labels[part],
            effects[(part,)],
            adjusted[(part,)],
            None if words else contrast(shapley(part, parts)),
            gain,
            _labelled(alias_pairs([index], words), list(labels.values())),
        )
        for index, part in enumerate(parts)
    )
    together = tuple(
        Interaction(
            name,
            tuple(labels[p] for p in name),
            effects[name],
            adjusted[name],
            tuple(contrast(w) for w in _simple(name, arms, present=True)) if not aliases else (),
            tuple(contrast(w) for w in _simple(name, arms, present=False)) if not aliases else (),
            tuple(tuple(labels[p] for p in alias) for alias in aliases),
        )
        for name, aliases in groups.items()
    )
    level = resolution(words) if words else None
    return DesignEffects(kind, results.metrics[metric], mains, together, gain, _places(mains), len(arms), level)


def _interactions(parts: Sequence[str], words: Words) -> dict[tuple[str, ...], list[tuple[str, ...]]]:
    """The interactions of a factorial, those of two parts first; of a fraction those of two parts alone, each with the
    others that share its number."""
    if not words:
        return {group: [] for size in range(2, len(parts) + 1) for group in combinations(parts, size)}
    named = [[tuple(parts[i] for i in pair) for pair in group] for group in pair_groups(len(parts), words)]
    return {group[0]: group[1:] for group in named}


def _labelled(pairs: Sequence[Sequence[int]], labels: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(labels[index] for index in pair) for pair in pairs)


def _pair(part: str, whole: tuple[str, ...], parts: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The parts of the arm with the part and of that without it."""
    return (whole, tuple(p for p in parts if p != part)) if whole else ((part,), ())


def _main(
    part: str,
    label: str,
    effect: Effect,
    p: float | None,
    value: Effect | None,
    gain: Effect | None,
    aliases: tuple[tuple[str, ...], ...],
) -> PartEffect:
    mean, whole = (each.difference.mean if each else None for each in (value, gain))
    share = mean / whole if mean is not None and whole and gain and gain.difference.excludes_zero else None
    return PartEffect(part, label, effect, p, value, share, aliases)


def _simple(group: tuple[str, ...], arms: Collection[tuple[str, ...]], *, present: bool) -> list[Weights]:
    """For two parts: weights of the effect of each among the arms with (or without) the other."""
    if len(group) != 2:
        return []
    weights: list[Weights] = []
    for part, other in (group, group[::-1]):
        among = [s for s in arms if (other in s) == present]
        scale = 2 / len(among)
        weights.append({s: scale if part in s else -scale for s in among})
    return weights


def _contrasts(results: Results, arms: Arms, metric: str) -> Callable[[Weights], Effect]:
    """A function that gives the weighted sum of the arms' scores, seed by seed, as the difference of its positive and
    its negative part."""
    scores = {chosen: results.by_seed(arm, results.study.score_key(metric)) for chosen, arm in arms.items()}

    def contrast(weights: Weights) -> Effect:
        def side(sign: int) -> dict[int, float]:
            terms = [(scores[s], abs(w)) for s, w in weights.items() if w * sign > 0]
            return {seed: math.fsum(w * by_seed[seed] for by_seed, w in terms) for seed in results.study.seeds}

        return difference(results, side(1), side(-1))

    return contrast


def _places(parts: Sequence[PartEffect]) -> int:
    return numbers.decimals_for(each.effect.difference for each in parts)


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
    corrected = _clauses(effects, [_convincing(p.effect, p.p_adjusted, metric) for p in effects.parts])
    if corrected:
        return _exploratory(effects) + sentence(f"{corrected}{over}{_shared(effects)}")
    alone = _clauses(effects, [shown(p.effect, metric) for p in effects.parts])
    if alone:
        nothing = f"with this correction no part is shown to change {metric.in_text}{over}"
        return _exploratory(effects) + sentence(f"{nothing}; each by its interval alone, {alone}{_shared(effects)}")
    nothing = f"no part is shown to change {metric.in_text}{over}"
    return _exploratory(effects) + sentence(f"{nothing}; {_all_intervals(effects)}")


def _shared(effects: DesignEffects) -> str:
    """That a main effect of this fraction may be an interaction's; nothing where none shares its number with one."""
    if not any(p.aliases for p in effects.parts):
        return ""
    return "; in this fraction such a number may also come from interactions of two parts, which the table names"


def _all_intervals(effects: DesignEffects) -> str:
    """From where to where the intervals of all parts reach."""
    gaps = [p.effect.difference for p in effects.parts]
    ends = [end for gap in gaps for end in (gap.low, gap.high) if end is not None]
    if not ends:
        return "no part has an interval"
    low, high = (end_text(value, effects.metric, effects.places) for value in (min(ends), max(ends)))
    return f"the 95 % intervals of the parts lie between {low} and {high}"


def _exploratory(effects: DesignEffects) -> str:
    """How the sentences about a design begin: over what p is corrected."""
    over = "main effects and interactions" if effects.kind == "factorial" else "parts"
    return f"Exploratory, p by Holm over all {over}: "


def _clauses(effects: DesignEffects, outcomes: Sequence[Shown]) -> str:
    """`loss improves with “a” (…) and “b” (…); loss worsens with “c” (…)`; empty where nothing is shown."""
    metric, clauses = effects.metric, []
    for kind, verb in (("better", "improves"), ("worse", "worsens")):
        found = [p for p, outcome in zip(effects.parts, outcomes, strict=True) if outcome == kind]
        sizes = [f"{quoted(p.label)} ({signed_size(p.effect.difference, metric, effects.places)})" for p in found]
        if sizes:
            clauses.append(f"{metric.in_text} {verb} with {listed(sizes)}")
    return "; ".join(clauses)


def _interaction_answers(effects: DesignEffects) -> list[str]:
    """A sentence for every two parts whose interaction is shown, about the one of which more can be said."""
    metric = effects.metric
    sentences = []
    for each in effects.interactions:
        if len(each.parts) != 2 or _convincing(each.effect, each.p_adjusted, metric) not in ("better", "worse"):
            continue
        if each.aliases:
            sentences.append(_shared_answer(each, metric, effects.places))
            continue
        found = [_depends(each, index, metric) for index in (0, 1)]
        index = int(found[1][0] > found[0][0])  # of the part of which more can be said; else the first
        verdict = found[index][1]
        having, lacking = each.with_other[index], each.without_other[index]
        numbers_text = (
            f"with it {signed_size(having.difference, metric, effects.places)}; "
            f"without it {signed_size(lacking.difference, metric, effects.places)}; "
            f"the difference of the two {signed_size(each.effect.difference, metric, effects.places)}"
        )
        sentences.append(sentence(f"in {metric.in_text}, {verdict} ({numbers_text})"))
    return sentences


def _depends(each: Interaction, index: int, metric: MetricInfo) -> tuple[int, str]:
    """How one of two parts depends on the other, and how much that says: most where it helps one way and harms the
    other."""
    part, other = (quoted(each.labels[i]) for i in (index, 1 - index))
    with_other, without = shown(each.with_other[index], metric), shown(each.without_other[index], metric)
    if (with_other, without) == ("better", "worse"):
        return 2, f"{part} helps only with {other}, and harms without it"
    if (with_other, without) == ("worse", "better"):
        return 2, f"{part} helps only without {other}, and harms with it"
    if with_other == "better" and without != "better":
        return 1, f"{part} helps with {other}; without it no help is shown"
    if without == "better" and with_other != "better":
        return 1, f"{part} helps without {other}; with it no help is shown"
    return 0, f"what {part} does depends on {other}"


def _shared_answer(each: Interaction, metric: MetricInfo, places: int) -> str:
    pairs = " + ".join(" × ".join(map(quoted, labels)) for labels in (each.labels, *each.aliases))
    measured = signed_size(each.effect.difference, metric, places)
    return sentence(
        f"in {metric.in_text}, the sum of the interactions {pairs} is shown ({measured}); which of them it is, this "
        "fraction cannot tell"
    )
