"""Arms on several data sets, on scores that are checked by hand: nothing is started."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from ablate.analysis import results as tables
from ablate.analysis import two_way
from ablate.analysis.across import dataset_tables
from ablate.analysis.compare import arm_comparisons
from ablate.analysis.power_plan import power_plan
from ablate.analysis.results import Results
from ablate.analysis.study_analysis import analyse
from ablate.planning.plan import compare_spec
from ablate.report.figures import Pictures
from ablate.report.markdown import render
from ablate.report.outline import outline
from ablate.report.tidy import document as report_json
from ablate.study import Arm, RunResult, Study
from ablate.study.catalogue import catalogue_of
from ablate.study.datasets import expand_datasets
from ablate.study.design import expand_design
from ablate.tracking.memory import MemoryTracker

SEEDS = (1, 2, 3, 4, 5, 6)
Gain = Callable[[str, int], float]


def results(gain: Gain, data: str = "abc", claim: bool = False, skip: tuple[tuple[str, int], ...] = ()) -> Results:
    """Every run finished but those in `skip`; `gain` of a data set and a seed is what the other arm's loss is less."""
    claims = [{"arm": "other", "against": "plain", "metric": "loss"}] if claim else []
    raw = {
        "name": "several", "question": "Does it help everywhere?", "baseline": "plain", "seeds": list(SEEDS),
        "settings": {"run": {"command": ["x", "{out}"], "data": "", "on": False}}, "hypotheses": claims,
        "metric": {"loss": {"direction": "lower"}},
        "arms": {"plain": {"label": "Plain"}, "other": {"label": "Other", "set": {"run.on": True}}},
        "datasets": {d: {"label": d.upper(), "set": {"run.data": d}} for d in data},
    }  # fmt: skip
    study = expand_datasets(Study.model_validate(raw))
    return stored_results(
        study, lambda arm, seed: 10.0 + seed - (gain(str(arm.level), seed) if arm.family == "other" else 0), skip
    )


def stored_results(study: Study, loss: Callable[[Arm, int], float], skip: tuple[tuple[str, int], ...] = ()) -> Results:
    stored = {"study": study.model_dump(mode="json"), "metrics": {"loss": {"label": "loss"}}}
    store = MemoryTracker()
    store.open("several", json.loads(json.dumps({**stored, "data_digests": dict.fromkeys(study.arms, "d")})))
    for name, arm in study.arms.items():
        for seed in [s for s in SEEDS if (name, s) not in skip]:
            spec = compare_spec(study, name, seed, {}, "d")
            scores = {"test/loss": loss(arm, seed)}
            store.finish(store.start(spec), spec, RunResult(spec.key, "FINISHED", scores, (), {}))
    return tables.load(store, "several")


def jitter(seed: int) -> float:
    return (-1) ** seed * 0.01 * seed


def everywhere(data: str, seed: int) -> float:
    """1 on the first data set, 2 on the second and so on."""
    return 1.0 + "abcdefgh".index(data) + jitter(seed)


def markdown(found: Results) -> str:
    return render(outline(analyse(found), found, Pictures()))


def test_the_pooled_difference_is_the_mean_over_data_sets_with_equal_weights() -> None:
    (table,) = dataset_tables(results(everywhere))
    plain, other = table.rows
    assert (plain.baseline, plain.effects, plain.pooled) == (True, (), None)
    mean = sum(map(jitter, SEEDS)) / len(SEEDS)
    assert [e.difference.mean for e in other.effects] == pytest.approx([-1 - mean, -2 - mean, -3 - mean])
    assert other.pooled is not None
    assert other.pooled.difference.mean == pytest.approx(-2 - mean)
    assert other.pooled.difference.n == len(SEEDS)


def test_the_interval_over_data_sets_is_that_of_their_mean_differences_where_they_differ_more_than_seeds() -> None:
    """With hardly any variation over seeds the two-way interval is the t interval of the data sets' means."""
    (table,) = dataset_tables(results(lambda d, s: everywhere(d, s) - jitter(s) * 0.999, "abcdef"))
    both = table.rows[1].over_both
    assert both is not None
    assert both.interval is not None
    assert both.interval.low is not None
    assert both.interval.high is not None
    assert (both.clusters, both.decides) == (6, True)
    # means −1 to −6: sd 1.8708, standard error 0.76376, t(5) = 2.5706
    assert both.interval.high - both.interval.low == pytest.approx(2 * 2.5706 * 0.76376, rel=1e-3)


def test_fewer_than_four_data_sets_are_shown_and_decide_nothing() -> None:
    three = results(everywhere, claim=True)
    (table,) = dataset_tables(three)
    assert table.rows[1].over_both is not None
    assert not table.rows[1].over_both.decides
    (claim,) = analyse(three).comparisons
    assert claim.verdict == "supported"  # over seeds, on these data sets
    assert "6 seeds" in claim.reason or "data set" not in claim.reason
    text = markdown(three)
    assert "with fewer than 4 data sets it is shown and carries no verdict" in text
    assert "over 6 seeds and 3 data sets, too few to speak of others" in text


def test_from_four_data_sets_on_the_verdict_is_over_seeds_and_data_sets() -> None:
    """Better on three and worse on one: sure of these four over seeds, and open for others."""

    def mixed(data: str, seed: int) -> float:
        return {"a": 2.0, "b": 2.5, "c": 1.5, "d": -2.0}[data] + jitter(seed)

    four = results(mixed, "abcd", claim=True)
    (claim,) = analyse(four).comparisons
    assert claim.effect.difference.excludes_zero
    assert claim.verdict == "inconclusive"
    assert "over 6 seeds and 4 data sets" in claim.reason
    text = markdown(four)
    assert "carries no verdict" not in text
    assert "too few to speak of others" not in text
    assert "better on A, B and C and worse on D" in text
    (alike,) = analyse(results(lambda d, s: everywhere(d, s) * 0.1 + 1, "abcd", claim=True)).comparisons
    assert alike.verdict == "supported"


def test_a_seed_that_is_missing_on_one_data_set_is_left_out_of_the_pool() -> None:
    (table,) = dataset_tables(results(everywhere, skip=(("other@b", 3),)))
    row = table.rows[1]
    assert row.pooled is not None
    assert (row.pooled.difference.n, row.pooled.unpaired) == (5, (3,))
    assert [e.difference.n for e in row.effects] == [6, 5, 6]


def test_what_is_said_of_a_data_set_whose_interval_includes_0() -> None:
    found = results(lambda d, s: (2.0 if d == "a" else 0.0) + jitter(s) * (1 + "ab".index(d)), "ab")
    (answer,) = analyse(found).answers
    assert "“Other” minus “Plain” over these data sets is" in answer
    assert "it is better on A; the interval includes 0 on B" in answer
    assert "every data set" not in answer
    assert "better on every data set" in analyse(results(everywhere)).answers[0]


def test_the_matrix_has_an_arm_a_row_and_a_data_set_a_column() -> None:
    text = markdown(results(everywhere))
    assert "## Across data sets" in text
    assert "| Arm | A | B | C |" in text
    assert "| Arm | Δ A | Δ B | Δ C | Δ over these data sets | Over seeds and data sets |" in text
    assert "on the same data set, paired by seed" in text


def test_the_json_has_data_sets_only_where_there_are_some() -> None:
    document = json.loads(report_json(analyse(results(everywhere))))
    assert document["across"][0]["datasets"] == ["a", "b", "c"]
    without = replace(analyse(results(everywhere)), across=())
    assert {"across", "design"} & set(json.loads(report_json(without))) == set()


def test_the_power_of_a_pooled_hypothesis_goes_by_the_pooled_differences() -> None:
    found = results(everywhere, claim=True)
    records = {(r.arm, r.seed): r for r in found.reader.records("several")}
    (prospect,) = power_plan(found.study, catalogue_of(found.study, file=""), records).prospects
    spread = [jitter(seed) for seed in SEEDS]
    mean = sum(spread) / len(spread)
    assert prospect.pairs == len(SEEDS)
    assert prospect.sd == pytest.approx((sum((v - mean) ** 2 for v in spread) / 5) ** 0.5)


def test_the_effects_of_a_design_are_those_on_the_mean_over_data_sets() -> None:
    raw = {
        "name": "several", "question": "Which part helps?", "seeds": list(SEEDS),
        "settings": {"run": {"command": ["x", "{out}"], "data": "", "p": False, "q": False}},
        "metric": {"loss": {"direction": "lower"}},
        "add_one_in": {"parts": {part: {"set": {f"run.{part}": True}} for part in "pq"}},
        "datasets": {d: {"set": {"run.data": d}} for d in "ab"},
    }  # fmt: skip
    study = expand_datasets(expand_design(Study.model_validate(raw)))
    found = stored_results(
        study, lambda arm, seed: 10.0 - (2 + 2 * (arm.level == "b") + jitter(seed)) * ("p" in (arm.parts or ()))
    )
    (effects,) = analyse(found).design
    mean = sum(map(jitter, SEEDS)) / len(SEEDS)
    assert effects.parts[0].effect.difference.mean == pytest.approx(-3 - mean)  # 2 on a, 4 on b
    text = markdown(found)
    assert "A score is the mean over all data sets" in text
    assert "| With p |" in text  # a row of the matrix of arms and data sets
    assert "A score is the mean over all data sets" not in markdown(results(everywhere))


def test_the_variances_of_a_crossed_table_are_those_computed_by_hand() -> None:
    found = two_way.crossed(np.array([[1.0, 2.0], [3.0, 6.0]]))
    assert found is not None
    assert (found.seeds, found.clusters, found.cells) == (2.25, 1.0, 0.25)  # mean squares 9, 4 and 1, over four cells
    assert found.both == 3.0
    assert sum(found.shares) == pytest.approx(1)
    assert two_way.crossed(np.ones((1, 4))) is None
    assert two_way.crossed(np.ones((4, 1))) is None


@pytest.mark.parametrize(("seeds", "sets"), [(5, 4), (7, 8)])
@pytest.mark.parametrize("spread", [(1.0, 0.0, 0.3), (0.0, 1.0, 0.3), (1.0, 1.0, 1.0)])
def test_the_interval_over_seeds_and_data_sets_holds_what_it_promises(
    seeds: int, sets: int, spread: tuple[float, float, float]
) -> None:
    rng, inside, rounds = np.random.default_rng(0), 0, 2000
    for _ in range(rounds):
        of_seed, of_set, of_both = (
            rng.normal(0, sd, shape) for sd, shape in zip(spread, ((seeds, 1), (1, sets), (seeds, sets)), strict=True)
        )
        table = of_seed + of_set + of_both
        found = two_way.crossed(table)
        assert found is not None
        interval = two_way.interval(float(table.mean()), found, seeds, [1] * sets)
        inside += not interval.excludes_zero
    assert 0.93 <= inside / rounds <= 0.995


def test_a_study_without_a_seed_on_every_data_set_has_a_page() -> None:
    text = markdown(results(everywhere, skip=tuple(("other@b", seed) for seed in SEEDS)))
    assert "## Across data sets" in text


def test_a_comparison_over_data_sets_names_the_runs_that_are_missing() -> None:
    (found,) = arm_comparisons(results(everywhere, skip=(("other@b", 3),)), "other", "plain", ["loss"])
    (left_out,) = [pair for pair in found.pairs if pair.difference is None]
    assert left_out.seed == 3
    assert left_out.reason.count("has not been run") == 1
    assert "B" in left_out.reason
