"""The question of a hypothesis in other studies of the store: what they found, and the p over all. Reads Results."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from ablate.analysis import numbers
from ablate.analysis.effects import difference
from ablate.analysis.phrasing import counted, listed, signed_size
from ablate.analysis.records import MetricInfo
from ablate.analysis.results import Results, load
from ablate.analysis.statistics import Effect
from ablate.analysis.verdicts import Claim, one_sided
from ablate.study import DATASET_CHARS, InputError, Study
from ablate.study.resolve import resolve
from ablate.study.runs import key_settings


@dataclass(frozen=True)
class Elsewhere:
    """One comparison in another study: the same data, the same metric, arms with the same settings but tuned ones.

    `effect` is over the seeds that neither this study nor one told before has: runs of the same seed and data are no
    evidence of their own. `shared`: how many seeds were left out for that.
    """

    study: str
    effect: Effect
    shared: int


@dataclass(frozen=True)
class SameQuestion:
    """Other studies that asked the same as a hypothesis.

    `p` is one-sided, for the hypothesis, over all of them and this one; None where no other study has two seeds of its
    own, and where one of them has planned looks, after which its p is that of no fixed number of seeds.
    `sentence`: both in words.
    """

    others: tuple[Elsewhere, ...]
    p: float | None
    sentence: str


def same_question(results: Results, arm: str, against: str, metric: str, claim: Claim) -> SameQuestion | None:
    """What other studies of the store say to the same question; None where there is none.

    Stouffer's z, each study weighted by the root of its number of pairs: for independent studies, which runs of other
    seeds are. It is over seeds alone, since people or clips of the same data are no new ones.

    Source: T. Liptak, "On the combination of independent tests", Magyar Tud. Akad. Mat. Kutato Int. Közl. 3 (1958);
    D. V. Zaykin, "Optimally weighted Z-test", J. Evol. Biol. 24 (2011).
    """
    seen = set(claim.effect.by_seed)
    others, stopped = [], results.study.stopping is not None
    for other, ours, theirs in _matching(results, arm, against, metric):
        key, stopped = other.study.score_key(metric), stopped or other.study.stopping is not None
        scores = [
            {seed: value for seed, value in other.by_seed(name, key).items() if seed not in seen}
            for name in (ours, theirs)
        ]
        shared = len(set(other.study.seeds) & seen)
        effect = difference(other, *scores)
        others.append(Elsewhere(other.study.name, effect, shared))
        seen |= set(effect.by_seed)
    if not others:
        return None
    effects = [claim.effect, *(each.effect for each in others)]
    tested = [effect for effect in effects if effect.difference.standard_error]
    p = stouffer([(one_sided(effect, claim), effect.difference.n) for effect in tested]) if len(tested) > 1 else None
    known = p if effects[0] in tested else None
    both = None if stopped else known
    words = ""
    if stopped and known is not None:
        words = " No p over all is told, for one of them stops by what its runs show."
    return SameQuestion(tuple(others), both, _sentence(results.metrics[metric], others, both, len(tested)) + words)


def stouffer(tests: list[tuple[float, int]]) -> float:
    """The one-sided p of several independent tests, each given as its one-sided p and its number of pairs."""
    weights = [math.sqrt(n) for _, n in tests]
    z = sum(w * -special.ndtri(p) for w, (p, _) in zip(weights, tests, strict=True)) / np.linalg.norm(weights)
    return float(special.ndtr(-z))


def _matching(results: Results, arm: str, against: str, metric: str) -> Iterator[tuple[Results, str, str]]:
    """Other studies' results, with their names of both arms."""
    wanted = [_identity(results, name) for name in (arm, against)]
    if None in wanted:
        return
    for name in results.reader.studies():
        if name == results.study.name or (other := _other(results, name)) is None:
            continue
        if not _same_metric(results, other, metric) or set(other.study.vary) != set(results.study.vary):
            continue
        tuned = _tuned_paths(results.study) | _tuned_paths(other.study)
        here = [_without(each, tuned) for each in wanted]
        there = {each: _without(_identity(other, each), tuned) for each in other.study.arms}
        found = [next((each for each, value in there.items() if value == each_here), None) for each_here in here]
        if found[0] is not None and found[1] is not None and here[0] != here[1]:
            yield other, found[0], found[1]


def _other(results: Results, name: str) -> Results | None:
    """Another study's results, read once; None where its document cannot be read, or it has other data."""
    key = ("study", name)
    if key not in results.memo:
        try:
            digests = (results.reader.document(name) or {}).get("data_digests")
            known = [str(each)[:DATASET_CHARS] for each in digests.values()] if isinstance(digests, dict) else []
            ours = {digest[:DATASET_CHARS] for digest in results.digests.values()}
            results.memo[key] = load(results.reader, name) if not known or ours & set(known) else None
        except InputError:
            results.memo[key] = None  # it is no part of this study: its own report says what is wrong with it
    found: Results | None = results.memo[key]
    return found


def _identity(results: Results, arm: str) -> Mapping[str, Any] | None:
    """What a run of the arm depends on, beside its seed; None for several arms, and where its data is not known."""
    if arm not in results.study.arms:
        return None
    settings, data = key_settings(resolve(results.study, arm)), results.digests.get(arm, "")[:DATASET_CHARS]
    if not data and "data" not in settings:
        return None
    return {"settings": settings, "data": data, "replicate": results.study.arms[arm].replicate}


def _without(identity: Mapping[str, Any] | None, paths: set[str]) -> Mapping[str, Any] | None:
    """The same without the settings with these dotted paths."""
    if identity is None:
        return None
    settings: dict[str, Any] = copy.deepcopy(dict(identity["settings"]))
    for *tables, name in (path.split(".") for path in paths):
        table: Any = settings
        for each in tables:
            table = table.get(each, {}) if isinstance(table, dict) else {}
        if isinstance(table, dict):
            table.pop(name, None)
    return {**identity, "settings": settings}


def _tuned_paths(study: Study) -> set[str]:
    return set(study.tuning.space) if study.tuning else set()


def _same_metric(results: Results, other: Results, metric: str) -> bool:
    ours, theirs = results.metrics[metric], other.metrics.get(metric)
    return theirs is not None and all(
        getattr(ours, name) == getattr(theirs, name) for name in ("unit", "direction", "reduction", "pooled", "split")
    )


def _sentence(metric: MetricInfo, others: list[Elsewhere], p: float | None, studies: int) -> str:
    told = [_told(each, metric, first=each is others[0]) for each in others]
    over_all = (
        f" The p over {'both' if studies == 2 else f'all {studies}'} is {numbers.p_value(p)} (one-sided, for the "
        "hypothesis; Stouffer's z weighted by the root of the pairs, over seeds alone and not corrected)."
        if p is not None
        else ""
    )
    return f"The same question in another study of the store: {listed(told)}.{over_all}"


def _told(each: Elsewhere, metric: MetricInfo, *, first: bool) -> str:
    gap = each.effect.difference
    here = "this study" if first else "this study or one named before it"
    without = f", leaving out {counted(each.shared, 'seed')} that {here} has too"
    found = signed_size(gap, metric, numbers.decimals_for([gap])) if gap.n else "no pair of runs"
    return f"{each.study} ({found}{without if each.shared else ''})"
