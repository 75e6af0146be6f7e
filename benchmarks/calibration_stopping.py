# Question:    Do the verdicts and intervals of a study that stops by itself hold what they promise, and what does
#              stopping save?
# Command:     python benchmarks/calibration_stopping.py
# Cost:        about 10 minutes on one CPU core
# Expectation: at most 5 % of studies without a difference make any false claim, for both spendings and 1 to 6
#              hypotheses; repeated intervals hold the truth at all looks together in at least 95 %. Both plus
#              Monte-Carlo error. Exit code 1 when a gate fails.
"""Simulate whole studies with planned looks and a known truth, and run the report's own functions on them.

    python benchmarks/calibration_stopping.py [--studies 4000] [--quick] [--seed 0] [--json]

Differences are Gaussian. In a study without a difference every hypothesis has its true improvement at the limit of its
claim, so that both `supported` and `refuted` are false. In one with a difference it lies above by what a study of all
seeds and one look finds with a power of 80 %.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import calibration_options
import numpy as np

from ablate.analysis.power_plan import detectable
from ablate.analysis.spending import Looks
from ablate.analysis.statistics import ALPHA, Effect, Estimate, estimate
from ablate.analysis.verdicts import Claim, Verdict, at_level, judge, judge_looks, repeated
from ablate.study import ClaimKind, Spending

MARGIN = 0.5
Z = 2.33  # Monte-Carlo error allowed: one in a hundred honest runs would exceed it
CLUSTERS = 10
SPENDINGS: tuple[Spending, ...] = ("obrien-fleming", "pocock")
MIXED: tuple[ClaimKind, ...] = ("better", "not_worse", "equivalent")


@dataclass(frozen=True)
class Design:
    """Numbers of seeds at the looks, and the kind of each hypothesis; with `clusters` also an effect of each cluster of
    test examples, as large as that of a seed, which all seeds share."""

    looks: tuple[int, ...]
    kinds: tuple[ClaimKind, ...]
    clusters: bool = False

    @property
    def words(self) -> str:
        count = len(self.kinds)
        several = f"{count} of three kinds" if len(set(self.kinds)) > 1 else f"{count}"
        return f"{several}, over clusters" if self.clusters else several


DESIGNS = (
    *(Design(looks, ("better",) * m) for looks in ((5, 8, 12), (5, 10, 15, 20)) for m in (1, 3, 6)),
    Design((5, 6, 7, 8, 9, 10), ("better",) * 3),
    Design((5, 10), ("better",) * 3),
    Design((5, 8, 12), MIXED * 2),
    Design((5, 8, 12), ("better",), clusters=True),
)


@dataclass(frozen=True)
class Row:
    """Shares of studies or hypotheses, and mean numbers of seeds."""

    looks: tuple[int, ...]
    spending: Spending
    hypotheses: str
    studies: int
    false_claims: float  # of studies without a difference: any `supported` or `refuted`
    coverage: float  # of hypotheses: the repeated interval holds the truth at every look
    plain: float  # the same for the plain 95 % interval
    seeds_without: float  # used by studies without a difference
    seeds_with: float  # and by those with one
    power: float  # hypotheses with a difference that are supported
    fixed_power: float  # the same where all seeds are run and looked at once
    failures: tuple[str, ...] = ()


def simulate(design: Design, spending: Spending, studies: int, seed: int = 0) -> Row:
    """Run `studies` studies without a difference, and as many with one."""
    looks = Looks(design.looks, spending)
    rng = np.random.default_rng([seed, len(design.kinds), int(design.clusters), *design.looks])
    above = detectable(1.0, design.looks[-1], len(design.kinds)) or 0.0
    false, covered, plain, used, used_with, found, fixed = [], [], [], [], [], [], []
    for _ in range(studies):
        claims = _study(design, rng, 0.0)
        verdicts = judge_looks(claims, looks)
        false.append(any(v.look is not None for v in verdicts))
        used.append(_stopped(verdicts, looks))
        for index, kind in enumerate(design.kinds):
            estimates = [of_look[index].deciding for of_look in claims]
            covered.append(all(_covers(repeated(e, looks, k), kind, 0.0) for k, e in enumerate(estimates)))
            plain.append(_covers(estimates[looks.seeds.index(used[-1])], kind, 0.0))
        claims = _study(design, rng, above)
        verdicts = judge_looks(claims, looks)
        used_with.append(_stopped(verdicts, looks))
        found += [v.outcome == "supported" for v in verdicts]
        fixed += [v.outcome == "supported" for v in judge(claims[-1])]
    shares = [float(np.mean(each)) for each in (false, covered, plain, used, used_with, found, fixed)]
    failures = tuple(gates(shares[0], shares[1], studies, len(design.kinds)))
    return Row(design.looks, spending, design.words, studies, *shares, failures)


def _study(design: Design, rng: np.random.Generator, above: float) -> list[list[Claim]]:
    """The claims of every look; the true improvement lies `above` what each kind of claim must exceed."""
    most = design.looks[-1]
    cluster = rng.standard_normal((len(design.kinds), CLUSTERS)) * math.sqrt(CLUSTERS / most) * design.clusters
    limits = np.array([_truth(kind, above) for kind in design.kinds])[:, None]
    gaps = limits + rng.standard_normal((len(design.kinds), most)) + cluster.mean(axis=1, keepdims=True)
    return [
        [_claim(kind, gaps[i, :n], cluster[i] if design.clusters else None) for i, kind in enumerate(design.kinds)]
        for n in design.looks
    ]


def _truth(kind: ClaimKind, above: float) -> float:
    """Equivalence is nearest to being true at an improvement of 0."""
    if kind == "equivalent":
        return MARGIN if above == 0 else 0.0
    return (MARGIN if kind == "better" else -MARGIN) + above


def _claim(kind: ClaimKind, gaps: np.ndarray, cluster: np.ndarray | None) -> Claim:
    """A claim from the differences of the seeds (n,), and from those of clusters (CLUSTERS,)."""
    gap, both = estimate(gaps.tolist()), None
    if cluster is not None and gap.mean is not None and gap.standard_error is not None:
        error = math.sqrt(gap.standard_error**2 + float(cluster.var(ddof=1)) / CLUSTERS)
        both = at_level(Estimate(gap.mean, None, None, min(gap.n, CLUSTERS), "", error), ALPHA / 2)
    # without the sign-flip p, on which no verdict depends and which takes longer than all the rest
    return Claim(Effect(gap, dict(enumerate(gaps.tolist())), None, None), "higher", MARGIN, "", kind, both, "clusters")


def _stopped(verdicts: Sequence[Verdict], looks: Looks) -> int:
    """The seeds of the look at which the last hypothesis was decided."""
    decided = [v.look for v in verdicts if v.look is not None]
    return max(decided) if len(decided) == len(verdicts) else looks.seeds[-1]


def _covers(estimate: Estimate, kind: ClaimKind, above: float) -> bool:
    return (
        estimate.low is not None
        and estimate.high is not None
        and (estimate.low <= _truth(kind, above) <= estimate.high)
    )


def gates(false_claims: float, coverage: float, studies: int, hypotheses: int) -> Iterator[str]:
    """What a row promised and did not keep, in words."""
    error = Z * math.sqrt(ALPHA * (1 - ALPHA) / studies)
    if false_claims > ALPHA + error:
        yield f"false claims in {false_claims:.2%} of studies, more than {ALPHA + error:.2%}"
    least = 1 - ALPHA - error / math.sqrt(hypotheses)
    if coverage < least:
        yield f"repeated intervals hold in {coverage:.2%}, less than {least:.2%}"


def table(rows: Sequence[Row]) -> Iterator[str]:
    """The table as markdown; a gated number that failed is marked with !."""
    yield (
        "| Looks at | Spending | Hypotheses | False claims | Repeated intervals hold | Plain ones, when it stops | "
        "Seeds without a difference | with one | Power | Power of one look at all seeds |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for row in rows:
        at = ", ".join(map(str, row.looks))
        shares = " | ".join(f"{100 * value:.1f} %" for value in (row.false_claims, row.coverage, row.plain))
        powers = " | ".join(f"{100 * value:.0f} %" for value in (row.power, row.fixed_power))
        seeds = f"{row.seeds_without:.1f} | {row.seeds_with:.1f}"
        failed = "".join(f" ! {failure}" for failure in row.failures)
        yield f"| {at} | {row.spending} | {row.hypotheses} | {shares} | {seeds} | {powers} |{failed}"


def main() -> None:
    options = calibration_options.parse(
        __doc__, studies=4000, of="row, and as many with a gain", few=200, quick=", the first designs", as_json=True
    )
    studies, designs = options.studies, DESIGNS[:2] if options.quick else DESIGNS
    started = time.perf_counter()
    rows = []
    for design in designs:
        for spending in SPENDINGS:
            rows.append(simulate(design, spending, studies, options.seed))
            print(f"{len(rows)} of {len(designs) * len(SPENDINGS)} rows", file=sys.stderr)
    failures = [f"{row.looks}, {row.spending}, {row.hypotheses}: {text}" for row in rows for text in row.failures]
    if options.json:
        print(json.dumps({"rows": [asdict(row) for row in rows], "failed": failures}))
    else:
        print("\n".join(table(rows)))
        print(f"\n{studies} studies a row, {time.perf_counter() - started:.0f} s")
    calibration_options.end(failures, quiet=options.json)


if __name__ == "__main__":
    main()
