"""What the calibration of a report's intervals and verdicts covers and what it does not, as sentences.

The figures are those of benchmarks/README.md, measured by benchmarks/calibration.py and calibration_tuning.py; a test
compares them.
"""

from __future__ import annotations

from ablate.analysis.study_analysis import Analysis

SEEDS = (5, 20)  # from the fewest to the most that were simulated
FALSE_CLAIMS = "3 to 5 %"  # of studies with symmetric differences: Gaussian, and t with 3 degrees of freedom
COVERAGE = "95 to 96 %"  # of their intervals
MILD_CLAIMS, MILD_COVERAGE = "8 to 10 %", "93 to 94 %"  # gamma of shape 4
STRONG_CLAIMS, STRONG_COVERAGE = "18 to 26 %", "88 to 92 %"  # exponential
REDRAWN = "94 to 95 %"  # of intervals where every seed redraws the split
TUNED_APART = "8 to 20 %"  # of studies with one tuning for all seeds, seven seeds and one hypothesis
TUNED_PER_SEED = "4 to 5 %"  # of studies with a tuning for every seed


def sentences(analysis: Analysis, *, per_seed: bool) -> list[str]:
    """What was simulated, then what was not.

    `per_seed`: every seed has a tuning of its own.
    """
    if len(analysis.seeds) < 2:
        return ["Calibration: with one seed there is neither an interval nor a verdict to calibrate."]
    return [_simulated(analysis), _skewed(analysis), *_seeds(analysis), *_split(analysis), *_tuning(analysis, per_seed)]


def _simulated(analysis: Analysis) -> str:
    low, high = SEEDS
    held = f"95 % intervals held the true difference in {COVERAGE} of cases"
    claims = f"{FALSE_CLAIMS} of studies with six hypotheses made a false claim, and " if analysis.declared else ""
    return (
        f"Calibration: in simulations with {low} to {high} seeds and symmetric differences between seeds (Gaussian, "
        f"and with heavy tails), {claims}{held}."
    )


def _skewed(analysis: Analysis) -> str:
    if analysis.declared:
        return (
            f"Calibration does not cover skewed differences: with a mild skew (gamma, shape 4) {MILD_CLAIMS} of "
            f"simulated studies made a false claim, with a strong one (exponential) {STRONG_CLAIMS}."
        )
    return (
        "Calibration does not cover skewed differences: with a mild skew (gamma, shape 4) 95 % intervals held the true "
        f"difference in {MILD_COVERAGE} of simulated cases, with a strong one (exponential) in {STRONG_COVERAGE}."
    )


def _seeds(analysis: Analysis) -> list[str]:
    low, high = SEEDS
    if low <= len(analysis.seeds) <= high:
        return []
    return [f"Nor does it cover {len(analysis.seeds)} seeds, which were not simulated."]


def _split(analysis: Analysis) -> list[str]:
    if not analysis.overlap:
        return []
    return [
        f"With a split redrawn by every seed, simulated intervals held the true difference in {REDRAWN} of cases; the "
        "correction is exact only where test and training examples matter alike."
    ]


def _tuning(analysis: Analysis, per_seed: bool) -> list[str]:
    if not analysis.tuned:
        return []
    if per_seed:
        return [
            f"With a tuning for every seed, {TUNED_PER_SEED} of simulated studies made a false claim. One setting was "
            "tuned there; several settings, trials that fail and an optimum outside the space were not simulated."
        ]
    return [
        "Calibration does not cover the luck of the one tuning of each arm, which is in no interval: in simulations "
        f"with seven seeds and one hypothesis, {TUNED_APART} of studies of arms without a difference made a false "
        "claim."
    ]
