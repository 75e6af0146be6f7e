"""`ablate judge`: the verdict on one claim about a table of scores. Imports neither pandas nor mlflow nor torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ablate.analysis.numbers import decimals_for, interval, signed
from ablate.analysis.phrasing import counted, quoted
from ablate.analysis.statistics import paired
from ablate.analysis.verdicts import OWNERS_WORD, Claim, Verdict, adjusted_p, judge
from ablate.study import Direction, InputError, Problem
from ablate.study.score_table import DATASET, SUBJECT, notes, score_table
from ablate.untrusted.tables import read_table
from ablate.untrusted.wording import nearest, shown

EXIT: Mapping[str, int] = {"supported": 0, "refuted": 3, "inconclusive": 4, "no verdict": 4}


@dataclass(frozen=True)
class Judgement:
    """The verdict on: `arm` is better than `against` in `metric` by more than `margin`, paired by seed."""

    file: str
    arm: str
    against: str
    metric: str
    claim: Claim
    verdict: Verdict
    notes: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        return EXIT[self.verdict.outcome]

    def document(self) -> dict[str, Any]:
        """The answer as plain JSON."""
        effect, verdict = self.claim.effect, self.verdict
        return {
            "verdict": verdict.outcome,
            "reason": verdict.reason,
            "declared": OWNERS_WORD,
            "arm": self.arm,
            "against": self.against,
            "metric": self.metric,
            "direction": self.claim.direction,
            "margin": self.claim.margin,
            "improvement": asdict(verdict.improvement),
            "p_adjusted": adjusted_p(verdict.outcome, verdict.p_supported, verdict.p_refuted),
            "p_t": effect.p,
            "p_sign_flip": effect.p_sign_flip,
            "d_z": effect.d_z,
            "differences": {str(seed): gap for seed, gap in effect.by_seed.items()},
            "unpaired": list(effect.unpaired),
            "notes": list(self.notes),
            "file": self.file,
        }

    def lines(self) -> list[str]:
        """The answer for a person."""
        better, margin = self.verdict.improvement, self.claim.margin
        places = decimals_for([better])
        by = f" by more than {margin:g}" if margin else ""
        value = "none"
        if better.mean is not None:
            value = signed(better.mean, places)
            if better.low is not None and better.low != better.high:
                value += f", 95 % interval {interval(better, places)}"
        return [
            f"{self.verdict.outcome}: that {quoted(self.arm)} is better than {quoted(self.against)}{by} in "
            f"{self.metric} ({self.claim.direction} is better)",
            f"improvement  {value}, {counted(better.n, 'pair')}",
            f"reason       {self.verdict.reason}",
            f"declared     {OWNERS_WORD}: nothing here shows that the claim came before the results",
        ]


def judge_file(
    file: Path,
    *,
    arm: str,
    against: str,
    metric: str,
    direction: Direction,
    margin: float = 0.0,
    arm_column: str = "arm",
    seed_column: str = "seed",
    dataset: str = "",
) -> Judgement:
    """The verdict by the same rule as that of a report with this one hypothesis. Raises InputError."""
    table = read_table(file, [arm_column, seed_column, metric], [DATASET, SUBJECT])
    scores = score_table(table, [metric], arm=arm_column, seed=seed_column, dataset=dataset, one_dataset=True)
    problems = [
        Problem(option, "", "no such arm in the table", shown(name), nearest(name, scores.arms))
        for option, name in (("--arm", arm), ("--against", against))
        if name not in scores.arms
    ]
    if arm == against and not problems:
        problems.append(Problem("--against", "", "must be another arm than --arm", shown(against)))
    if problems:
        raise InputError(*problems)
    (name,) = scores.metrics
    effect = paired(scores.by_seed(arm, name), scores.by_seed(against, name))
    claim = Claim(effect, direction, margin, disjoint=scores.disjoint(arm, against, name))
    of_both = scores.only((arm, against))
    return Judgement(file.name, arm, against, metric, claim, judge([claim])[0], tuple(notes(of_both)))
