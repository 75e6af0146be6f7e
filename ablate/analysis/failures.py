"""Warnings about failed runs and collapsed seeds: what a comparison of the survivors alone would hide."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from ablate.analysis import numbers
from ablate.analysis.answer import Comparison
from ablate.analysis.phrasing import listed, quoted
from ablate.analysis.results import Results
from ablate.analysis.statistics import ALPHA, ROUNDING, estimate

MIN_PAIRS = 5
# Robust standard deviations of the other seeds: 3 % of Gaussian studies of 5 seeds have one, 2 % of 7, 1 % of 10.
FAR = 10.0
MAD_TO_SD, IQR_TO_SD = 1.4826, 0.7413  # of a Gaussian


def failure_warnings(results: Results, comparisons: Sequence[Comparison]) -> tuple[str, ...]:
    """A sentence for every pair of arms with failed runs, and for every comparison with a seed far out."""
    texts = [text for c in comparisons for text in (_failed(results, c), _far_out(c)) if text]
    return tuple(dict.fromkeys(texts))


def _failed(results: Results, c: Comparison) -> str:
    """Failure rates with Boschloo's exact test, and the comparison with a failure as worse than any score."""
    ended = results.runs[results.runs.status.isin(("done", "failed"))]
    failed = [failed_seeds(results, arm, c.metric.name) for arm in (c.arm, c.against)]
    of_both = [ended[ended.arm.isin(results.study.members(arm))] for arm in (c.arm, c.against)]
    counts = [(len(seeds), of_arm.seed.nunique()) for seeds, of_arm in zip(failed, of_both, strict=True)]
    if not any(failed) or not all(total for _, total in counts):
        return ""
    p = stats.boschloo_exact([[failed for failed, _ in counts], [total - failed for failed, total in counts]]).pvalue
    rates = [f"{quoted(name)} in {f} of {n}" for name, (f, n) in zip((c.label, c.against_label), counts, strict=True)]
    without_number = any(not_finite(results, arm, c.metric.name) for arm in (c.arm, c.against))
    also = f", or runs whose {c.metric.in_text} is not finite" if without_number else ""
    return (
        f"Failed runs{also}: {' and '.join(rates)} (Boschloo's exact test, p = {numbers.p_value(float(p))}). The "
        "differences are between the seeds that are left, which need not be like the others. "
        f"{_worst_rank(results, c)}"
    )


def failed_seeds(results: Results, arm: str, metric: str) -> set[int]:
    """The seeds whose run failed, or finished with a score in the metric that is infinite or not a number.

    Where the name stands for several arms, such as one for each data set: those that failed in any of them.
    """
    runs = results.runs
    failed = runs[runs.arm.isin(results.study.members(arm)) & (runs.status == "failed")]
    return set(failed.seed.tolist()) | not_finite(results, arm, metric)


def not_finite(results: Results, arm: str, metric: str) -> set[int]:
    """The seeds whose recorded score in the metric is infinite or not a number."""
    of_arm = results.scores.arm.isin(results.study.members(arm))
    scores = results.scores[of_arm & (results.scores.metric == results.study.score_key(metric))]
    return set(scores[~np.isfinite(scores.score)].seed.tolist())


def _worst_rank(results: Results, c: Comparison) -> str:
    """The signed-rank test with every failure as a loss larger than any difference; a pair that failed twice is even.

    Source: J. M. Lachin, "Worst-rank score analysis", Controlled Clinical Trials 20 (1999).
    """
    lost, won = (failed_seeds(results, arm, c.metric.name) for arm in (c.arm, c.against))
    sign = -1.0 if c.metric.direction == "lower" else 1.0
    gains = [sign * gap for gap in c.effect.by_seed.values()]
    worst = max((abs(gain) for gain in gains), default=0.0) + 1.0
    gains += [-worst] * len(lost - won) + [worst] * len(won - lost) + [0.0] * len(lost & won)
    if len(gains) < MIN_PAIRS or not any(gains):
        return ""
    p = float(stats.wilcoxon(gains, zero_method="zsplit", method="auto").pvalue)
    median = float(np.median(gains))
    name = quoted(c.label)
    says = f"is in favour of {name}" if median > 0 else f"is against {name}" if median < 0 else f"is even for {name}"
    shown = "shows" if p <= ALPHA else "does not show"
    return (
        f"With a failure counted as worse than any score, the median of {len(gains)} seeds {says} in "
        f"{c.metric.in_text}; the signed-rank test {shown} a difference from 0 (p = {numbers.p_value(p)}, not "
        "corrected)."
    )


def _far_out(c: Comparison) -> str:
    """A seed far from the others, with an estimate that it hardly moves."""
    far = far_out(list(c.effect.by_seed.values()))
    if not far:
        return ""
    by_seed = list(c.effect.by_seed.items())
    seeds = [str(by_seed[index][0]) for index in far]
    rest = estimate([gap for index, (_, gap) in enumerate(by_seed) if index not in far])
    places = numbers.decimals_for([rest])
    shown, robust = (
        [numbers.with_unit(numbers.signed(value, places), c.metric.unit) for value in values]
        for values in ([by_seed[index][1] for index in far], [hodges_lehmann(list(c.effect.by_seed.values()))])
    )
    return (
        f"A seed far out: {quoted(c.label)} and {quoted(c.against_label)} in {c.metric.in_text} differ at seed"
        f"{'s' * (len(seeds) > 1)} {', '.join(seeds)} by {listed(shown)}, far from the other seeds. Where some "
        "runs collapse, the t interval and its verdict do not hold what they promise; the estimate of Hodges and "
        f"Lehmann, which one seed hardly moves, is {robust[0]}."
    )


def far_out(differences: Sequence[float]) -> list[int]:
    """The places of differences that lie more than 10 robust standard deviations from the median of all others."""
    values = np.asarray(differences, dtype=float)
    return (
        [i for i in range(len(values)) if _is_far(values[i], np.delete(values, i))] if len(values) >= MIN_PAIRS else []
    )


def _is_far(value: float, others: np.ndarray) -> bool:
    median = float(np.median(others))
    quarters = np.quantile(others, [0.25, 0.75])
    # both, since with few seeds the median deviation is small by chance or by ties
    spread = max(MAD_TO_SD * float(np.median(np.abs(others - median))), IQR_TO_SD * float(np.ptp(quarters)))
    return spread > ROUNDING * float(np.abs(others).max()) and abs(value - median) > FAR * spread


def hodges_lehmann(differences: Sequence[float]) -> float:
    """The median of the means of all pairs of differences, each with itself included."""
    values = np.asarray(differences, dtype=float)
    first, second = np.triu_indices(len(values))
    return float(np.median((values[first] + values[second]) / 2))
