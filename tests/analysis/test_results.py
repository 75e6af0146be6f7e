from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from toy_results import Toy

from ablate.analysis import example_tables
from ablate.analysis import results as tables
from ablate.analysis.budget import budget_rows
from ablate.analysis.results import Results
from ablate.planning import plan
from ablate.study import InputError, RunResult
from ablate.tracking.memory import MemoryTracker


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return Toy(tmp_path_factory.mktemp("toy"), skip=[("elepose", 3)], fail=[("hybrid", 2)])


@pytest.fixture(scope="module")
def store(toy: Toy) -> MemoryTracker:
    store = toy.store()
    store.kill(store.start(toy.spec("elepose", 3)))
    return store


@pytest.fixture(scope="module")
def results(store: MemoryTracker) -> Results:
    return tables.load(store, "toy")


def test_every_expected_run_has_a_row_in_study_order(results: Results) -> None:
    expected = [(arm, seed) for arm in ("existing", "elepose", "hybrid") for seed in (1, 2, 3)]
    assert list(zip(results.runs.arm, results.runs.seed, strict=True)) == expected
    status = results.runs.set_index(["arm", "seed"]).status
    assert status["elepose", 3] == "missing"
    assert status["hybrid", 2] == "failed"
    assert (status == "done").sum() == 7
    assert results.runs.error.iloc[7] == "loss is not finite | epoch 3"


def test_scores_are_test_and_costs_and_times_stand_apart(results: Results) -> None:
    assert {m.split("/")[0] for m in results.scores.metric} == {"test", "cost", "count"}
    assert set(results.timings.metric) == {"time/train_s", "time/total_s", "cost/latency_ms_p50"}
    assert not results.scores.metric.str.startswith("cost/latency").any()
    assert results.training_seconds("existing") == {1: 101.0, 2: 102.0, 3: 103.0}


def test_failed_and_missing_runs_have_no_number_anywhere(results: Results) -> None:
    for table in (results.scores, results.timings, results.curves):
        cells = set(zip(table.arm, table.seed, strict=True))
        assert not cells & {("elepose", 3), ("hybrid", 2)}
    assert np.isnan(results.by_seed("hybrid", "test/azimuth_mae_deg")[2])
    assert results.columns("hybrid", 2) is None


def test_frame_is_wide_and_keeps_the_gaps(results: Results) -> None:
    frame = results.frame()
    assert list(frame.columns[:3]) == ["arm", "seed", "status"]
    assert frame.columns[-1] == "run_id"
    assert len(frame) == 9
    assert frame["test/azimuth_mae_deg"].isna().sum() == 2
    first = results.by_seed("existing", "test/azimuth_mae_deg")[1]
    assert frame["test/azimuth_mae_deg"][0] == first


def test_curves_are_the_history(results: Results, store: MemoryTracker) -> None:
    rows = results.curves.query("arm == 'existing' and seed == 1 and metric == 'train/loss'")
    assert list(rows.epoch) == [1, 2, 3, 4, 5, 6]
    ((_, history),) = store.histories(results.study.name, [str(results.runs.run_id[0])])
    assert list(rows.score) == [entry["train/loss"] for entry in history]


def results_of_run(folder: Path, metrics: dict[str, dict[str, object]], **tables_: pd.DataFrame) -> Results:
    """Results of one finished run that kept these tables."""
    toy = Toy(folder, arms={"existing": {}}, seeds=[1], tuned=False)
    store = MemoryTracker()
    store.open("toy", {**toy.document(), "metrics": {**toy.document()["metrics"], **metrics}})
    spec = toy.spec("existing", 1)
    for name, table in tables_.items():
        table.to_parquet(folder / f"{name}.parquet", index=False)
    store.finish(store.start(spec), spec, RunResult(spec.key, "FINISHED", {}, artifacts=folder))
    return tables.load(store, "toy")


INFO = {"label": "L", "unit": "°", "direction": "lower", "reduction": "mean"}


def test_examples_join_scores_and_conditions_under_every_metrics_name(tmp_path: Path) -> None:
    metrics = {
        "azimuth_median_deg": {**INFO, "reduction": "median", "column": "azimuth_mae_deg", "pooled": False},
        "elevation_r2": {**INFO, "column": "", "pooled": True},
        "input_mpjpe_mm": {**INFO, "column": "input_mpjpe_mm", "pooled": False},
        "elevation_deg": {**INFO, "column": "elevation_deg", "pooled": False},
    }
    scores = pd.DataFrame({"azimuth_mae_deg": [1.0, 2.0], "elevation_deg": [5.0, 6.0]})
    conditions = pd.DataFrame({"subject": [7, 8], "input_mpjpe_mm": [60.0, 70.0], "elevation_deg": [0.0, 0.0]})
    results = results_of_run(tmp_path, metrics, scores=scores, conditions=conditions)
    frame = results.columns("existing", 1)
    assert frame is not None
    assert frame["azimuth_median_deg"].tolist() == frame["azimuth_mae_deg"].tolist() == [1.0, 2.0]
    assert frame["input_mpjpe_mm"].tolist() == [60.0, 70.0]
    assert frame["subject"].tolist() == [7, 8]
    assert frame["elevation_deg"].tolist() == [5.0, 6.0]  # a metric goes before a condition of its name
    assert "elevation_r2" not in frame
    assert results.metrics["elevation_r2"].pooled


def test_examples_of_a_snapshot_that_kept_conditions_alone(tmp_path: Path) -> None:
    nothing, conditions = pd.DataFrame(index=range(2)), pd.DataFrame({"subject": [7, 8]})
    frame = results_of_run(tmp_path, {}, scores=nothing, conditions=conditions).columns("existing", 1)
    assert frame is not None
    assert frame["subject"].tolist() == [7, 8]


def test_examples_of_an_older_store_are_all_in_one_file(tmp_path: Path) -> None:
    everything = pd.DataFrame({"azimuth_deg": [10.0], "azimuth_mae_deg": [1.0], "azimuth_median_deg": [1.5]})
    metrics = {"azimuth_median_deg": {**INFO, "reduction": "median"}}
    results = results_of_run(tmp_path, metrics, scores=everything)
    pd.testing.assert_frame_equal(pd.DataFrame(results.columns("existing", 1)), everything)
    assert results.metrics["azimuth_median_deg"].column == "azimuth_median_deg"


def test_csv_bytes(results: Results, tmp_path: Path) -> None:
    tables.write_csv(results, tmp_path)
    scores, timings = tmp_path / "results.csv", tmp_path / "timings.csv"
    lines = scores.read_text().splitlines()
    assert lines[0] == "arm,seed,status,metric,score"
    assert "elepose,3,missing,," in lines
    assert "hybrid,2,failed,," in lines
    value = results.by_seed("existing", "test/azimuth_mae_deg")[1]
    assert f"existing,1,done,test/azimuth_mae_deg,{value!r}" in lines
    assert "existing,1,done,time/train_s,101.0" in timings.read_text().splitlines()
    assert b"\r" not in scores.read_bytes()
    back = pd.read_csv(scores)
    assert back.dropna(subset="metric").score.tolist() == results.scores.score.tolist()


def test_csv_does_not_depend_on_the_order_of_runs_or_on_retries(toy: Toy, tmp_path: Path) -> None:
    straight, retried = Toy(tmp_path / "a"), Toy(tmp_path / "b")
    store = MemoryTracker()
    store.open("toy", retried.document())
    failed = retried.spec("hybrid", 1)
    store.finish(store.start(failed), failed, RunResult(failed.key, "FAILED", error="out of memory"))
    for arm, trial in [(arm, trial) for arm in retried.arms for trial in (0, 1)]:
        retried._trial(store, arm, trial, None)
    for arm, seed in reversed([(arm, seed) for arm in retried.arms for seed in retried.seeds]):
        retried._run(store, arm, seed)
    for name, tracker in (("one", straight.store()), ("two", store)):
        (tmp_path / name).mkdir()
        tables.write_csv(tables.load(tracker, "toy"), tmp_path / name)
    assert (tmp_path / "one" / "results.csv").read_bytes() == (tmp_path / "two" / "results.csv").read_bytes()


def test_a_record_of_other_data_or_settings_is_outdated_and_in_no_table(toy: Toy, tmp_path: Path) -> None:
    store = replace(toy, folder=tmp_path).store()
    before = tables.load(store, "toy")
    rate = {"training.learning_rate": 0.001}
    others = {
        "data content": plan.compare_spec(toy.parsed(), "existing", 1, {"training.learning_rate": 0.002}, "e"),
        "tuned settings (training.learning_rate was 0.001, is 0.002)": plan.compare_spec(
            toy.parsed(), "existing", 2, rate, "d"
        ),
        "settings": replace(toy.spec("elepose", 3), replicate=1),
    }
    for other in others.values():
        store.finish(store.start(other), other, RunResult(other.key, "FINISHED", {"test/azimuth_mae_deg": 1.5}))
    results = tables.load(store, "toy")
    assert results.scores.equals(before.scores)
    assert results.runs.equals(before.runs)
    assert [(old.record.arm, old.changed) for old in results.outdated] == [
        (spec.arm, changed) for changed, spec in others.items()
    ]
    assert not before.outdated


def test_before_any_comparison_the_best_trial_is_the_tuned_one(tmp_path: Path) -> None:
    tuning = {**Toy(tmp_path).study()["tuning"], "trials": 3}
    toy = Toy(tmp_path, arms={"existing": {}}, more={"tuning": tuning})
    store = MemoryTracker()
    store.open("toy", toy.document())
    for trial in range(2):
        toy._trial(store, "existing", trial, None)  # scores 9.0 and 8.0
    spec = toy.trial_spec("existing", 2)
    store.finish(store.start(spec), spec, RunResult(spec.key, "FAILED", error="no"))
    (budget,) = budget_rows(tables.load(store, "toy"))
    assert budget.tuned == {"training.learning_rate": 0.002}
    assert (budget.finished_trials, budget.failed_trials) == (2, 1)


def test_an_unknown_study_is_an_input_error() -> None:
    with pytest.raises(InputError, match="nosuch"):
        tables.load(MemoryTracker(), "nosuch")


def test_tables_of_another_length_are_refused(tmp_path: Path) -> None:
    scores, conditions = pd.DataFrame({"azimuth_mae_deg": [1.0]}), pd.DataFrame({"subject": [7, 8]})
    results = results_of_run(tmp_path, {}, scores=scores, conditions=conditions)
    with pytest.raises(InputError, match="as many rows"):
        results.columns("existing", 1)


def test_examples_are_read_once_as_far_as_there_is_room(tmp_path: Path) -> None:
    path, reads = tmp_path / "table.parquet", list[int]()
    pd.DataFrame({"error": np.zeros(10)}).to_parquet(path)  # 80 bytes

    def read(key: int) -> np.ndarray:
        def columns() -> dict[str, np.ndarray]:
            reads.append(key)
            return example_tables.read_columns(path)

        return cache.get(key, columns)["error"]

    cache = example_tables.TableCache(max_bytes=170)
    for key in (1, 2, 1, 3, 1, 2):  # 3 replaces 2, the least recently used
        assert read(key).tolist() == [0.0] * 10
    assert reads == [1, 2, 3, 2]
    small = example_tables.TableCache(max_bytes=10)
    assert [small.get(1, lambda: example_tables.read_columns(path))["error"].size for _ in range(2)] == [10, 10]


def test_columns_keep_their_kinds(tmp_path: Path) -> None:
    table = pd.DataFrame({"f": np.float32([1, np.nan]), "i": np.int64([1, 2]), "b": [True, False], "d": [0.1, 0.2]})
    table.to_parquet(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(pd.DataFrame(example_tables.read_columns(tmp_path / "t.parquet")), table)
