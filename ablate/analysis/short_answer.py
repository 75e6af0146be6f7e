"""The short answer of a study: a line for each hypothesis, what a gain costs, and what to do next. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy import special

from ablate.analysis import numbers
from ablate.analysis.answer import Comparison, scope_words, split_words
from ablate.analysis.budget import BudgetRow
from ablate.analysis.costs import ParameterRow
from ablate.analysis.phrasing import counted, duration, listed, margin_text, quoted
from ablate.analysis.power_plan import MIN_PAIRS, POWER, seeds_needed, upper_limit
from ablate.analysis.statistics import ALPHA, Estimate
from ablate.analysis.study_analysis import Analysis
from ablate.analysis.verdicts import DISJOINT, LATE, MIN_SEEDS

# `too few seeds`: fewer than a verdict needs; `no verdict`: there can be none, or not yet.
Badge = Literal["supported", "refuted", "inconclusive", "too few seeds", "no verdict", "exploratory"]
MOST_SEEDS = 100  # more than this are named as "more than", for nobody will train them
MOST_COSTS = 8  # with more pairs than this the table of parameters says it


@dataclass(frozen=True)
class ShortVerdict:
    """One hypothesis: `claim` in words, `difference` with the interval that decides, `over` what that is over."""

    badge: Badge
    claim: str
    difference: str
    over: str
    comparison: Comparison


@dataclass(frozen=True)
class CostOfGain:
    """What one arm differs from another by: effects by metric, None where unknown, and the costs that it adds.

    `parameters`, `flops` (of one example) and `latency_ms` (of one example) are pairs of the arm's and the other's;
    None where either is unknown.
    """

    label: str
    against_label: str
    effects: Mapping[str, Estimate | None]
    parameters: tuple[float, float] | None
    flops: tuple[float, float] | None
    latency_ms: tuple[float, float] | None


def short_verdicts(analysis: Analysis) -> tuple[ShortVerdict, ...]:
    """A line for each declared hypothesis, in the order of the study file; none for a study without any."""
    return tuple(
        ShortVerdict(badge(c), claim(c), difference(c), over(c), c) for c in analysis.comparisons if not c.exploratory
    )


def answered_pairs(analysis: Analysis) -> int:
    """How many of the first sentences of `analysis.answers` are about declared hypotheses: one for each pair."""
    return len({(c.arm, c.against) for c in analysis.comparisons if not c.exploratory})


def scope(analysis: Analysis) -> str:
    """What the verdicts hold for: `for these tuned settings and this data`, and on which split, if not on test data."""
    per_seed = any(row.by_seed for row in analysis.budget)
    words = scope_words(analysis.trainer, tuned=analysis.tuned, per_seed=per_seed)
    return ", ".join(filter(None, (words, split_words(analysis.split, tuned=analysis.tuned))))


def badge(c: Comparison) -> Badge:
    """The verdict; where there is none, whether it is for want of seeds."""
    if c.judgement is None:
        return "exploratory"
    if c.judgement.outcome != "no verdict":
        return c.judgement.outcome
    few = c.effect.difference.n < MIN_SEEDS and not c.judgement.reason.startswith((LATE, DISJOINT))
    return "too few seeds" if few else "no verdict"


def claim(c: Comparison) -> str:
    """`“Hybrid” is better than “Existing” by more than 0.5° in azimuth error`."""
    arm, against, margin = quoted(c.label), quoted(c.against_label), margin_text(c.margin or 0.0, c.metric)
    words = {
        "better": f"{arm} is better than {against}" + (f" by more than {margin}" if c.margin else ""),
        "not_worse": f"{arm} is at most {margin} worse than {against}",
        "equivalent": f"{arm} differs from {against} by less than {margin}",
    }
    return f"{words[c.kind]} in {c.metric.in_text}"


def difference(c: Comparison) -> str:
    """`−0.294° [−1.417, +0.829]`, with the interval that decides; the gap without a pair."""
    gap = c.deciding
    mean = numbers.signed(gap.mean, c.places)
    if mean == numbers.GAP:
        return mean
    return f"{numbers.with_unit(mean, c.metric.unit)} {numbers.interval(gap, c.places)}".rstrip()


def over(c: Comparison) -> str:
    """`7 seeds`, or `7 seeds and 4 clusters (subject)` where the interval over both decides."""
    both = c.over_clusters
    if both is not None and both.decides and c.deciding is not c.effect.difference:
        return both.words
    return counted(c.effect.difference.n, "seed")


def costs(analysis: Analysis) -> tuple[CostOfGain, ...]:
    """For each pair of arms that is compared, the differences and the added costs.

    Empty where neither parameters nor FLOPs are known, where levels of a factor, parts of a design or data sets answer
    instead, and with many pairs.
    """
    if not analysis.declared and (analysis.factor or analysis.design or analysis.across):
        return ()
    pairs = list(dict.fromkeys((c.arm, c.against) for c in analysis.comparisons))
    rows = [row for pair in pairs if (row := _cost(analysis, *pair)) and (row.parameters or row.flops)]
    return tuple(rows) if len(rows) <= MOST_COSTS else ()


def next_steps(analysis: Analysis) -> tuple[str, ...]:
    """What to do next, in one to three sentences: only what follows from the runs and the plan, as an estimate."""
    if analysis.trainer != "adopted" and any(gap.status == "missing" for gap in analysis.gaps):
        ahead = next((f", up to its look at {row.seeds} seeds" for row in analysis.looks if not row.taken), "")
        return (f"The study is not finished: run it again{ahead}, and what is missing is done.",)
    verdicts = short_verdicts(analysis)
    if not verdicts:
        return (
            "Nothing was declared, so nothing is decided: to decide what these differences suggest, declare it as a "
            "hypothesis of another study, with other seeds, before its runs.",
        )
    waiting = [v for v in verdicts if v.badge not in ("supported", "refuted")]
    if not waiting:
        return ("Every hypothesis is decided.",)
    if analysis.looks:
        return ("The last planned look is taken: what it left open stays open in this study.",)
    return tuple(
        dict.fromkeys(text for text in (*_with_more_seeds(analysis, waiting), *_over_clusters(waiting)) if text)
    )


def _cost(analysis: Analysis, arm: str, against: str) -> CostOfGain | None:
    rows = {row.arm: row for row in analysis.parameters}
    if arm not in rows or against not in rows:
        return None
    of_pair = {c.metric.name: c for c in analysis.comparisons if (c.arm, c.against) == (arm, against)}
    matrix = next((row.effects for row in analysis.matrix if row.arm == arm), {})
    to_baseline = matrix if analysis.baselines.get(arm) == against else {}
    effects: dict[str, Estimate | None] = {}
    for metric in analysis.metrics:
        found, effect = of_pair.get(metric.name), to_baseline.get(metric.name)
        effects[metric.name] = found.deciding if found else effect.difference if effect else None
    ours, theirs = rows[arm], rows[against]
    return CostOfGain(
        ours.label,
        theirs.label,
        effects,
        _both(ours, theirs, "total"),
        _both(ours, theirs, "flops"),
        _both(ours, theirs, "latency_ms"),
    )


def _both(ours: ParameterRow, theirs: ParameterRow, field: str) -> tuple[float, float] | None:
    pair = getattr(ours, field), getattr(theirs, field)
    return None if None in pair else pair


def _with_more_seeds(analysis: Analysis, waiting: Sequence[ShortVerdict]) -> list[str]:
    """How many more seeds would decide which hypotheses; of the others nothing."""
    by_count: dict[int, list[ShortVerdict]] = {}
    for verdict in waiting:
        needed = _seeds_needed(analysis, verdict.comparison)
        if needed is not None:
            by_count.setdefault(needed, []).append(verdict)
    texts = []
    for needed, verdicts in sorted(by_count.items()):
        which = _which([v.comparison for v in verdicts], waiting)
        done = min(v.comparison.effect.difference.n for v in verdicts)
        if needed > MOST_SEEDS:
            texts.append(f"More than {MOST_SEEDS} seeds would be needed to decide {which}, as far as these runs tell.")
            continue
        if done < MIN_PAIRS:
            least = f"{counted(needed - done, 'more seed')}{_time(analysis, needed - done)}"
            texts.append(f"{least}, {needed} in all, are the fewest that can decide {which}.")
            continue
        texts.append(
            f"{counted(needed - done, 'more seed')}{_time(analysis, needed - done)} would decide {which} with a "
            f"power of {100 * POWER:.0f} %, if the true difference is the measured one (an estimate from {done} seeds)."
        )
    return texts


def _which(some: Sequence[Comparison], waiting: Sequence[ShortVerdict]) -> str:
    """The hypotheses by name; `it` or `them` where they are all that wait."""
    if len(some) == len(waiting):
        return "it" if len(some) == 1 else "them"
    return listed([f"{quoted(c.label)} against {quoted(c.against_label)} in {c.metric.in_text}" for c in some])


def _seeds_needed(analysis: Analysis, c: Comparison) -> int | None:
    """How many seeds in all would decide the hypothesis by its interval over seeds, with one look more.

    None where that cannot be told: it gets no verdict, or the interval over clusters decides, which more seeds need
    not shorten. With fewer than MIN_PAIRS pairs the spread is unknown, and MIN_SEEDS is the least.
    """
    gap, margin = c.effect.difference, c.margin or 0.0
    if badge(c) not in ("inconclusive", "too few seeds"):
        return None
    if c.over_clusters is not None and c.over_clusters.decides:
        return None
    if gap.n < MIN_PAIRS:
        return MIN_SEEDS
    if gap.mean is None or not gap.standard_error:
        return None
    spread = gap.standard_error / math.sqrt(1 / gap.n + (analysis.overlap or 0.0))
    better = -gap.mean if c.metric.direction == "lower" else gap.mean
    distances = {
        "better": abs(better - margin),
        "not_worse": abs(better + margin),
        "equivalent": abs(margin - abs(better)),
    }
    looks = len(analysis.history.looks) + (2 if gap.n >= MIN_SEEDS else 1)  # seeds that are added are one look more
    family = c.family * looks
    needed = seeds_needed(upper_limit(spread, gap.n), distances[c.kind], family, overlap=analysis.overlap)
    return MOST_SEEDS + 1 if needed is None else max(needed, gap.n + 1)


def _time(analysis: Analysis, seeds: int) -> str:
    """` of every arm, about 4 minutes of training,`: what so many seeds of every arm take; "" where not known."""
    each = [_seconds_of_a_seed(row) for row in analysis.budget]
    known = [seconds for seconds in each if seconds is not None]
    if not known or len(known) < len(each):
        return ""
    return f" of every arm, about {duration(seeds * sum(known))} of training,"


def _seconds_of_a_seed(row: BudgetRow) -> float | None:
    if row.training_seconds is None:
        return None
    tunings = len(row.by_seed)
    return row.training_seconds + ((row.tuning_seconds or 0.0) / tunings if tunings else 0.0)


def _over_clusters(waiting: Sequence[ShortVerdict]) -> list[str]:
    """What seeds can do for the hypotheses whose interval over seeds and clusters decides.

    Nothing where the spread of the clusters alone leaves them open; else they reduce their own share of the variance.
    """
    deciding = [v.comparison for v in waiting if v.badge == "inconclusive" and _seed_share(v.comparison) is not None]
    hopeless = [c for c in deciding if _clusters_too_few(c)]
    others = [c for c in deciding if c not in hopeless]
    texts = []
    if hopeless:
        both = hopeless[0].over_clusters
        assert both is not None
        texts.append(
            f"No number of seeds would decide {_which(hopeless, waiting)}, if the true difference is the measured one: "
            f"{both.words.partition(' and ')[2]} differ too much for that."
        )
    if others:
        shares = sorted({f"{100 * (_seed_share(c) or 0.0):.0f}" for c in others}, key=int)
        texts.append(
            f"More seeds would reduce {' to '.join(dict.fromkeys((shares[0], shares[-1])))} % of the variance that "
            f"leaves {_which(others, waiting)} open, and other test data the rest; how many would decide is not "
            "estimated."
        )
    return texts


def _seed_share(c: Comparison) -> float | None:
    """The seeds' share of the variance, where the interval over seeds and clusters is the wider; None elsewhere."""
    both = c.over_clusters
    wider = both is not None and both.decides and c.deciding is not c.effect.difference
    return both.shares[0] if both is not None and both.shares and wider else None


def _clusters_too_few(c: Comparison) -> bool:
    """Whether the part of the variance that is of clusters alone, which seeds do not reduce, leaves it undecided."""
    both, gap = c.over_clusters, c.deciding
    if both is None or not both.decides or not both.shares or gap.mean is None or not gap.standard_error:
        return False
    left = gap.standard_error * math.sqrt(both.shares[1])
    better = -gap.mean if c.metric.direction == "lower" else gap.mean
    margin = c.margin or 0.0
    limits = {"better": (margin,), "not_worse": (-margin,), "equivalent": (margin, -margin)}[c.kind]
    distance = min(abs(better - limit) for limit in limits)
    critical = -float(special.stdtrit(gap.degrees_of_freedom, ALPHA / (2 * c.family)))
    return distance < critical * left
