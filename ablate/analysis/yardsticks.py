"""Which arms are not shown to be better than a reference, in words. Pure: Results in, sentences out."""

from __future__ import annotations

from collections.abc import Sequence

from ablate.analysis.costs import label, trained
from ablate.analysis.effects import effect, effect_decimals, margin_of
from ablate.analysis.phrasing import found, listed, margin_text, quoted, shown
from ablate.analysis.results import Results
from ablate.analysis.statistics import Effect


def yardstick_sentences(results: Results) -> tuple[str, ...]:
    """A sentence or two for every metric and reference that an arm is not shown to be better than.

    A comparison of networks means little while a constant or a formula is no worse. A reference that knows part of the
    truth says what is possible, not what an arm should reach: it is left out. An arm at a level of the factor is
    compared with the references at its own level and with those outside the factor.
    """
    arms = results.study.arms
    references = [name for name, arm in arms.items() if arm.reference and not arm.knows_truth]
    return tuple(
        text
        for metric in results.study.metrics
        for reference in references
        for text in _sentences(
            results,
            reference,
            [arm for arm in trained(results) if arms[reference].level in (None, arms[arm].level)],
            metric,
        )
    )


def _sentences(results: Results, reference: str, arms: Sequence[str], metric: str) -> list[str]:
    info, decimals = results.metrics[metric], effect_decimals(results, metric)
    behind: list[str] = []
    open_: list[str] = []
    unknown: list[str] = []
    for arm in arms:
        gap, margin = effect(results, arm, reference, metric), margin_of(results.study, arm, reference, metric)
        outcome = shown(gap, info, margin)
        name = quoted(label(results, arm))
        if outcome == "no interval":
            if _no_better_by_mean(gap, lower=info.direction == "lower"):
                unknown.append(f"{name} ({found(gap.difference, info, decimals)})")
        elif outcome != "better":
            text = f"{name} ({found(gap.difference, info, decimals)})"
            if margin:
                text = text[:-1] + f", margin {margin_text(margin, info)})"
            (behind if outcome == "worse" else open_).append(text)
    reference_name, in_metric = quoted(label(results, reference)), info.in_text
    sentences = []
    if behind:
        sentences.append(f"Worse than {reference_name} in {in_metric}: {listed(behind)}.")
    if open_:
        sentences.append(f"Not shown to be better than {reference_name} in {in_metric}: {listed(open_)}.")
    if unknown:
        sentences.append(
            f"No better than {reference_name} in mean {in_metric}, without an interval: {listed(unknown)}."
        )
    return sentences


def _no_better_by_mean(gap: Effect, *, lower: bool) -> bool:
    mean = gap.difference.mean
    return mean is not None and (mean >= 0 if lower else mean <= 0)
