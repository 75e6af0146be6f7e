from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from ablate.analysis import power_plan as power
from ablate.analysis.statistics import paired
from ablate.analysis.verdicts import Claim, judge
from ablate.study import Metric, Record, Study

METRICS = {"error": Metric("error", "Error", "°", "lower", lambda output, targets: output)}
SEEDS = (1, 2, 3, 4, 5, 6, 7)


def study(**changes: object) -> Study:
    hypotheses = [{"arm": "new", "against": "old", "metric": "error", "margin": 0.5}]
    base = {"name": "toy", "question": "?", "baseline": "old", "seeds": list(SEEDS), "metrics": ["error"]}
    base |= {"catalogue": "m:METRICS", "settings": {}, "arms": {"old": {}, "new": {}}, "hypotheses": hypotheses}
    return Study.model_validate(base | changes)


def records(gaps: dict[int, float], **scores: float) -> dict[tuple[str, int], Record]:
    """Finished runs of both arms by arm and seed: `old` scores 7 at every seed."""
    return {
        (arm, seed): Record(
            f"{arm}{seed}", arm, seed, "compare", "k", "FINISHED", {"test/error": 7.0 + gap * new, **scores}
        )
        for seed, gap in gaps.items()
        for new, arm in enumerate(("old", "new"))
    }


@pytest.mark.parametrize(("seeds", "hypotheses", "p"), [(5, 1, 0.0625), (6, 1, 0.03125), (7, 3, 3 / 64), (2, 4, 1.0)])
def test_smallest_p_by_hand(seeds: int, hypotheses: int, p: float) -> None:
    assert power.smallest_p(seeds, hypotheses) == p


@pytest.mark.parametrize("hypotheses", [1, 6])
@pytest.mark.parametrize("seeds", [5, 7, 20])
def test_the_detectable_difference_has_the_power_by_scipys_distribution(seeds: int, hypotheses: int) -> None:
    distance = power.detectable(2.0, seeds, hypotheses)
    assert distance is not None
    critical = stats.t.isf(0.05 / 2 / hypotheses, seeds - 1)
    assert stats.nct.sf(critical, seeds - 1, distance / (2.0 / math.sqrt(seeds))) == pytest.approx(0.8, abs=1e-4)


def test_judge_finds_the_detectable_difference_four_times_in_five() -> None:
    distance = power.detectable(1.0, 7, 1)
    assert distance is not None
    draws = np.random.default_rng(0).normal(distance + 0.5, 1, (1500, 7)).tolist()
    zeros = dict.fromkeys(range(7), 0.0)
    claims = [Claim(paired(dict(enumerate(d)), zeros), "higher", 0.5) for d in draws]
    supported = [judge([claim])[0].outcome == "supported" for claim in claims]
    assert np.mean(supported) == pytest.approx(0.8, abs=0.03)


def test_seeds_needed_is_the_first_that_reaches_it() -> None:
    for hypotheses in (1, 3):
        needed = power.seeds_needed(1.0, 0.8, hypotheses)
        assert needed is not None
        assert power.detectable(1.0, needed, hypotheses) <= 0.8 < power.detectable(1.0, needed - 1, hypotheses)  # type: ignore[operator]
    assert power.seeds_needed(1.0, 50.0) == 5
    assert power.seeds_needed(1.0, -0.8) == power.seeds_needed(1.0, 0.8)


def test_out_of_reach() -> None:
    assert power.detectable(1.0, 4) is None
    assert power.seeds_needed(1.0, 0.0) is None
    # overlap 1/4: the error of the mean never falls below 0.5 sd
    assert power.seeds_needed(1.0, 1.0, overlap=0.25) is None
    assert power.seeds_needed(1.0, 1.0) is not None


def test_finished_runs_are_the_pilot() -> None:
    gaps = {1: -0.4, 2: -0.6, 3: -0.5, 4: math.nan}
    plan = power.power_plan(study(), METRICS, records(gaps), 0.6)
    (row,) = plan.prospects
    assert (row.pairs, row.sd) == (3, pytest.approx(0.1))
    limit = 0.1 * math.sqrt(2 / stats.chi2.ppf(0.2, 2))
    assert row.sd_limit == pytest.approx(limit)
    assert row.detectable == pytest.approx(power.detectable(limit, 7, 1))
    assert row.seeds_needed == power.seeds_needed(limit, 0.1)
    assert plan.smallest_p == 2 / 2**7
    text = plan.lines()
    assert text[0] == "7 seeds, 1 hypothesis"
    start = "“new” against “old” in error, margin 0.5°: differences of 3 pairs have sd 0.1°, upper 80 % confidence "
    start += "limit 0.212°"
    assert text[2].startswith(f"{start}; 80 % power for this limit when")
    assert text[2].endswith(f"an improvement of 0.6° would be supported with {row.seeds_needed} seeds")


def test_without_a_pilot_it_speaks_in_units_of_the_spread() -> None:
    plan = power.power_plan(study(), METRICS, records({1: -0.4, 2: -0.6}), 0.6)
    (row,) = plan.prospects
    assert (row.pairs, row.sd, row.seeds_needed) == (2, None, None)
    assert "2 finished pairs, a pilot of at least 3 is needed" in plan.lines()[2]
    assert f"{power.detectable(1, 7, 1):.2f} sd" in plan.lines()[2]


def test_below_the_margin_seeds_refute_and_at_the_margin_none_do() -> None:
    pilot = records({1: -0.4, 2: -0.6, 3: -0.5})
    assert "would be refuted with" in power.power_plan(study(), METRICS, pilot, 0.4).lines()[2]
    assert "too near the margin" in power.power_plan(study(), METRICS, pilot, 0.5).lines()[2]


def test_odd_studies_are_told_in_words() -> None:
    same = power.power_plan(study(), METRICS, records(dict.fromkeys(SEEDS, -0.5)), 0.3)
    assert same.lines()[2].endswith("the differences of 7 pairs are all the same: without variation there is no test")
    few = power.power_plan(study(seeds=[1, 2, 3]), METRICS, {})
    assert few.lines()[0] == "3 seeds, 1 hypothesis; a verdict needs at least 5"
    assert few.lines()[2].endswith("no verdict with 3 seeds")
    assert power.power_plan(study(hypotheses=[]), METRICS, {}).lines() == [
        "no hypothesis is declared: the report will give intervals and no verdict"
    ]


def test_a_seed_that_one_arm_lacks_is_no_pair() -> None:
    pilot = records({1: -0.4, 2: -0.6, 3: -0.5})
    del pilot["new", 3]
    assert power.power_plan(study(), METRICS, pilot).prospects[0].sd is None


def test_redrawn_splits_are_allowed_for() -> None:
    counts = {"count/test_examples": 100.0, "count/train_examples": 400.0}
    pilot = records({1: -0.4, 2: -0.6, 3: -0.5}, **counts)
    plain = power.power_plan(study(), METRICS, pilot)
    split = power.power_plan(study(vary=["init", "order", "split"]), METRICS, pilot)
    assert (plain.overlap, split.overlap) == (None, 0.25)
    limit = power.upper_limit(0.1, 3)
    assert split.prospects[0].detectable == pytest.approx(power.detectable(limit, 7, 1, overlap=0.25))


@pytest.mark.parametrize("pairs", [3, 5, 30])
def test_a_study_planned_from_a_pilot_keeps_its_power_four_times_in_five(pairs: int) -> None:
    pilots = np.random.default_rng(pairs).normal(0, 2.0, (4000, pairs)).std(axis=1, ddof=1)
    assert np.mean([power.upper_limit(sd, pairs) >= 2.0 for sd in pilots.tolist()]) == pytest.approx(0.8, abs=0.02)
    assert power.upper_limit(1.0, 400) == pytest.approx(1.03, abs=0.01)
