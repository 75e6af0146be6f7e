"""The lines of the first screen: badges, differences, what a gain costs, how many more seeds would decide."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_results import Toy
from toy_scores import AZIMUTH, around, asked, load

from ablate.analysis import power_plan
from ablate.analysis import results as tables
from ablate.analysis.short_answer import costs, next_steps, scope, short_verdicts
from ablate.analysis.study_analysis import Analysis, analyse

ASKED = {"arm": "hybrid", "against": "existing", "metric": AZIMUTH}


def of_gaps(*gaps: float, margin: float = 0.0) -> Analysis:
    scores = {
        "existing": {seed: 7.0 + seed / 10 for seed, _ in enumerate(gaps, 1)},
        "hybrid": {seed: 7.0 + seed / 10 + gap for seed, gap in enumerate(gaps, 1)},
    }
    return analyse(load(scores, hypotheses=[asked(margin)]))


@pytest.mark.parametrize(
    ("gaps", "badge"),
    [
        ((-0.5, -0.6, -0.4, -0.55, -0.45), "supported"),
        ((0.5, 0.6, 0.4, 0.55, 0.45), "refuted"),
        ((-0.5, 0.6, -0.4, 0.55, -0.45), "inconclusive"),
        ((-0.5, -0.6, -0.4, -0.55), "too few seeds"),
        ((-0.5, -0.5, -0.5, -0.5, -0.5), "no verdict"),  # without variation
    ],
)
def test_a_badge_is_the_verdict_or_says_that_seeds_are_few(gaps: tuple[float, ...], badge: str) -> None:
    [line] = short_verdicts(of_gaps(*gaps))
    assert line.badge == badge
    assert line.claim == "“Hybrid” is better than “Existing only” in azimuth error"
    assert line.over == f"{len(gaps)} seeds"


def test_the_difference_has_the_interval_that_decides() -> None:
    [line] = short_verdicts(of_gaps(-0.5, -0.6, -0.4, -0.55, -0.45, margin=0.25))
    assert line.difference == "−0.500° [−0.598, −0.402]"  # t with 4 degrees of freedom, 2.776 × 0.0791 / √5
    assert "by more than 0.25°" in line.claim


def test_more_seeds_are_those_of_the_power_plan_with_one_look_more() -> None:
    gaps = (-0.5, 0.2, -0.6, 0.05, -0.45, -0.2)
    analysis = of_gaps(*gaps)
    [line] = short_verdicts(analysis)
    assert line.badge == "inconclusive"
    mean = sum(gaps) / 6
    spread = (sum((gap - mean) ** 2 for gap in gaps) / 5) ** 0.5
    needed = power_plan.seeds_needed(power_plan.upper_limit(spread, 6), -mean, 2)  # of one hypothesis, twice looked at
    assert needed is not None
    [step] = next_steps(analysis)
    assert step.startswith(f"{needed - 6} more seeds would decide it with a power of 80 %")
    assert "(an estimate from 6 seeds)" in step


def test_the_time_is_that_of_every_arm_and_is_left_out_where_it_is_not_known(tmp_path: Path) -> None:
    toy = analyse(tables.load(Toy(tmp_path, hypotheses=[ASKED], gallery=None).store(), "toy"))
    seconds = sum(row.training_seconds or 0.0 for row in toy.budget)
    more = int(next_steps(toy)[0].split()[0])
    assert f"about {round(more * seconds / 60)} minutes of training" in next_steps(toy)[0]
    assert "of training" not in next_steps(of_gaps(-0.5, -0.6, -0.4, -0.55))[0]


def test_nothing_is_said_of_seeds_where_the_spread_is_unknown() -> None:
    assert next_steps(of_gaps(-0.5, -0.5, -0.5, -0.5, -0.5)) == ()
    assert next_steps(of_gaps(-0.5)) == ("4 more seeds, 5 in all, are the fewest that can decide it.",)


def test_a_gain_stands_beside_what_it_costs(tmp_path: Path) -> None:
    toy = analyse(tables.load(Toy(tmp_path, hypotheses=[ASKED], gallery=None).store(), "toy"))
    [row] = costs(toy)
    assert row.parameters == (6_983_431, 2_214_663)
    assert row.effects[AZIMUTH] == toy.comparisons[0].effect.difference
    assert scope(toy) == "for these tuned settings and this data"


def test_results_from_elsewhere_have_no_missing_run_to_do() -> None:
    adopted = load({"existing": around(7.0), "hybrid": {1: 6.5}}, settings={"run": {"adopted": "table.csv"}})
    assert "not finished" not in next_steps(analyse(adopted))[0]
