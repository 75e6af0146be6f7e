from __future__ import annotations

from pathlib import Path

import pytest
from toy_results import Toy
from toy_scores import around, load

from ablate.analysis import results as tables
from ablate.analysis.warnings import at_edge, remarks, same_test_data, warnings
from ablate.planning.trials import trial_specs
from ablate.study import CategoricalSpace, FloatSpace, IntSpace, RunResult, SpaceEntry
from ablate.tracking.memory import MemoryTracker

ARMS = {"existing": {"label": "Existing only"}, "hybrid": {"label": "Hybrid"}}
SCORES = {"existing": around(7.0), "hybrid": around(6.5, 1)}


def test_an_untuned_study_and_few_seeds_are_told() -> None:
    untuned, few = warnings(load({arm: {1: 7.0, 2: 7.1} for arm in SCORES}))
    assert untuned.startswith("Untuned: no arm's nuisance settings")
    assert few == "2 seeds: fewer than 5 give no verdict, and only a large difference can show."
    assert len(warnings(load(SCORES))) == 1


def test_a_tuned_study_with_equal_budgets_and_enough_seeds_warns_of_nothing(tmp_path: Path) -> None:
    results = tables.load(Toy(tmp_path, ARMS, seeds=(1, 2, 3, 4, 5)).store(), "toy")
    assert warnings(results) == ()


def test_unequal_use_of_the_tuning_budget_is_told(tmp_path: Path) -> None:
    toy = Toy(tmp_path, ARMS, seeds=(1, 2, 3, 4, 5))
    store = toy.store()
    store.discard([record.run_id for record in store.records("toy") if (record.arm, record.trial) == ("hybrid", 1)])
    failed = toy.trial_spec("hybrid", 1)
    store.finish(store.start(failed), failed, RunResult(failed.key, "FAILED", error="no"))
    (warning,) = warnings(tables.load(store, "toy"))
    assert warning == "The tuning budgets were not alike (trials finished: “Existing only” 2, “Hybrid” 1)."


@pytest.mark.parametrize(
    ("entry", "value", "end"),
    [
        (FloatSpace(type="float", low=1e-4, high=3e-3, log=True), 0.00286, "upper"),  # 98.6 % of the logarithms
        (FloatSpace(type="float", low=1e-4, high=3e-3, log=True), 0.002625, ""),  # 96.1 %
        (FloatSpace(type="float", low=1e-4, high=3e-3, log=True), 0.000105, "lower"),  # 1.4 %
        (FloatSpace(type="float", low=1e-4, high=3e-3), 0.000157, "lower"),  # 2.0 % of a linear range
        (FloatSpace(type="float", low=1e-4, high=3e-3), 0.00017, ""),
        (IntSpace(type="int", low=1, high=4), 4, "upper"),
        (IntSpace(type="int", low=1, high=4), 3, ""),
        (IntSpace(type="int", low=2, high=2), 2, ""),  # nothing was chosen
        (CategoricalSpace(type="categorical", choices=[1, 2, 3]), 3, ""),
        (None, 3, ""),
    ],
)
def test_an_edge_is_two_percent_of_the_range_and_knows_logarithms(
    entry: SpaceEntry | None, value: float, end: str
) -> None:
    assert [edge for edge, _ in at_edge(entry, value)] == ([end] if end else [])


def test_tuned_values_at_the_edge_are_told() -> None:
    space = {"training.learning_rate": {"type": "float", "low": 1e-4, "high": 3e-3, "log": True}}
    tuning = {"trials": 1, "seeds": [101], "metric": "val/azimuth_mae_deg", "space": space}
    store = MemoryTracker()
    study = load(SCORES, store=store, tuning=tuning).study
    for arm, rate in (("existing", 0.001), ("hybrid", 0.00295)):
        (spec,) = trial_specs(study, arm, 0, {"training.learning_rate": rate}, "d")
        store.finish(store.start(spec), spec, RunResult(spec.key, "FINISHED", {"val/azimuth_mae_deg": 7.0}))
    (warning,) = warnings(tables.load(store, "toy"))
    assert warning == (
        "Tuned values at the edge of their space, where a better one may lie beyond: "
        "training.learning_rate = 0.00295 of “Hybrid” at the upper end 0.003."
    )


def test_runs_of_the_same_components_made_by_different_code_are_told() -> None:
    results = load(SCORES, provenance={"source_digest": "a1"})
    assert not any("code" in text for text in warnings(results))
    results.provenance["hybrid", 2]["source_digest"] = "b2"  # type: ignore[index]
    warning = next(text for text in warnings(results) if "code" in text)
    assert warning.startswith(
        "Runs of the same components were made by different code (a1: “Existing only” seeds 1, 2, 3, 4, 5, “Hybrid” "
        "seeds 1, 3, 4, 5; b2: “Hybrid” seed 2)"
    )


def test_digests_of_code_taken_in_different_ways_are_not_compared() -> None:
    results = load(SCORES, provenance={"source_digest": "a1"})
    for seed in range(1, 6):
        results.provenance["hybrid", seed]["source_digest"] = "2:b2"  # type: ignore[index]
    warning = next(text for text in warnings(results) if "code" in text)
    assert warning.startswith("Whether runs of the same components were made by the same code cannot be told")
    results.provenance["hybrid", 2]["source_digest"] = "2:c3"  # type: ignore[index]
    assert any("were made by different code" in text for text in warnings(results))


def test_other_components_may_have_other_code() -> None:
    arms = {"hybrid": {"set": {"model": {"factory": "other:model"}}}}
    results = load(SCORES, arms=arms, provenance={"source_digest": "a1"})
    for seed in range(1, 6):
        results.provenance["hybrid", seed]["source_digest"] = "b2"  # type: ignore[index]
    assert not any("code" in text for text in warnings(results))


def test_the_studies_that_used_the_same_test_data_are_counted() -> None:
    store = MemoryTracker()
    alone = load(SCORES, store=store, data_digest="d1")
    assert remarks(alone) == ("No other study in this store has used this test data.",)
    load(SCORES, store=store, data_digest="d1", name="earlier")
    load(SCORES, store=store, data_digest="d2", name="elsewhere")
    load({"existing": {}}, store=store, data_digest="d1", name="not-run", seeds=[1])
    assert same_test_data(alone) == ["earlier"]
    (remark,) = remarks(alone)
    assert remark.startswith("2 studies in this store have used this test data: this one and earlier.")
