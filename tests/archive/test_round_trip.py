"""A study goes from store to store as bundles: every run complete and once, also after an interruption anywhere."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import toy_runs as toy
from toy_study import DOCUMENT, bundles, contents, ended, fill, filled, no_progress

from ablate.archive import bundle
from ablate.archive.collect import collect
from ablate.archive.deliver import absent_models, deliver
from ablate.study import InputError, StoreUnavailable, Tracker
from ablate.tracking.memory import MemoryTracker
from ablate.tracking.mlflow.tracker import MlflowTracker

Open = Callable[[], Tracker]  # the same store, as another process opens it


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> MemoryTracker:
    """No test changes it."""
    return filled(tmp_path_factory.mktemp("source"))


@pytest.fixture
def folder(source: MemoryTracker, tmp_path: Path) -> Path:
    return bundles(source, tmp_path / "bundles")


@pytest.fixture
def sqlite(initialised_store: Path, tmp_path: Path) -> Open:
    (tmp_path / "mlruns").mkdir()
    shutil.copy(initialised_store, tmp_path / "mlruns" / "mlflow.db")
    return lambda: MlflowTracker(None, tmp_path / "mlruns")


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest) -> Open:
    if request.param == "sqlite":
        opened: Open = request.getfixturevalue("sqlite")
        return opened
    memory = MemoryTracker()
    return lambda: memory


def test_a_bundle_is_plain_files(source: MemoryTracker, folder: Path) -> None:
    first = ended(source)[0]
    run_folder = folder / "runs" / first.origin
    run = json.loads((run_folder / "run.json").read_text())
    assert (run["study"], run["record"]["arm"], run["record"]["status"]) == ("toy", "plain", first.record.status)
    finished = next(run for run in ended(source) if run.model)
    files = contents(folder / "runs" / finished.origin)
    assert sorted(files) == [
        "artifacts/examples.npz", "artifacts/run.log", "artifacts/scores.parquet", "artifacts/uncommitted.diff",
        "curves.parquet", "model/model.json", "model/weights.safetensors", "run.json",
    ]  # fmt: skip
    assert bundle.curves(folder / "runs" / finished.origin) == toy.history()
    assert bundle.read(folder / "runs" / finished.origin, "toy").record.scores["test/endless"] == float("inf")


def test_there_and_back_it_is_the_same(source: MemoryTracker, folder: Path, store: Open, tmp_path: Path) -> None:
    added = deliver("toy", folder, store(), no_progress)
    assert (len(added), sum(added.values())) == (4, 2)
    assert deliver("toy", folder, store(), no_progress) == {}
    there = store()
    for copy, run in zip(ended(there), ended(source), strict=True):
        assert copy.record.run_id != run.record.run_id
        assert repr(replace(copy.record, run_id="")) == repr(replace(run.record, run_id=""))
        assert toy.curves(there, copy.record.run_id) == toy.curves(source, run.record.run_id)
    assert [record.seed for record in there.records("toy")] == [1, 2, 101, 3]  # as they began
    assert there.document("toy") == DOCUMENT
    assert contents(bundles(there, tmp_path / "back")) == contents(folder)
    assert deliver("toy", tmp_path / "back", source, no_progress) == {}


def test_mlflow_sees_what_a_run_of_its_own_has(folder: Path, sqlite: Open) -> None:
    deliver("toy", folder, sqlite(), no_progress)
    tracker = sqlite()
    assert isinstance(tracker, MlflowTracker)
    copy = next(run for run in tracker.stored("toy") if run.model)
    run = tracker.client.get_run(copy.record.run_id)
    assert (run.info.start_time, run.info.end_time) == (copy.started, copy.ended)
    assert run.data.params["seed"] == str(copy.record.seed)
    assert run.data.tags["ablate.origin"] == copy.origin
    _, parent = tracker._find("toy") or ("", "")
    assert run.data.tags["mlflow.parentRunId"] == parent
    assert tracker.client.get_run(parent).info.status == "FAILED"  # a run of the study has failed
    model = tracker.client.get_logged_model(run.outputs.model_outputs[0].model_id)
    assert str(model.status) == "READY"
    assert {metric.key for metric in model.metrics or []} >= set(toy.SCORES)
    assert [p.value for p in tracker.client.get_metric_history(copy.record.run_id, "train/loss")] == [1.0, 0.5, 1 / 3]


def test_known_runs_stay_and_get_later_scores(source: MemoryTracker, folder: Path, store: Open, tmp_path: Path) -> None:
    tracker = store()
    deliver("toy", folder, tracker, no_progress)
    first, second = (run for run in ended(tracker) if run.model)
    tracker.discard([second.record.run_id])
    assert deliver("toy", folder, tracker, no_progress) == {}
    assert second.origin not in {run.origin for run in ended(tracker)}
    theirs = MemoryTracker()
    deliver("toy", folder, theirs, no_progress)
    same = next(run for run in ended(theirs) if run.origin == first.origin)
    theirs.add_scores([same.record.run_id], {"external/error": 4.5})
    amended = {**DOCUMENT, "amendments": [{"date": "2025-02-03", "what": "seed 9"}]}
    theirs.open("toy", amended)
    toy.run(theirs, toy.spec("toy", "plain", 9))
    later = bundles(theirs, tmp_path / "later")
    assert len(deliver("toy", later, tracker, no_progress)) == 1
    known = {run.origin: run.record for run in ended(tracker)}
    scores = dict(sorted({**same.record.scores, "external/error": 4.5}.items()))
    assert repr(known[first.origin].scores) == repr(scores)  # one is undefined
    assert tracker.document("toy") == amended
    deliver("toy", folder, tracker, no_progress)  # the earlier one again
    assert tracker.document("toy") == amended
    assert {run.origin: run.record for run in ended(tracker)}[first.origin].scores["external/error"] == 4.5


def test_bundles_follow_their_store(folder: Path, tmp_path: Path) -> None:
    """A second collection removes discarded runs and adds later scores and documents."""
    tracker = MemoryTracker()
    deliver("toy", folder, tracker, no_progress)
    first, second = (run for run in ended(tracker) if run.model)
    tracker.discard([first.record.run_id])
    tracker.add_scores([second.record.run_id], {"external/error": 4.5})
    assert collect("toy", tracker, folder, no_progress) == {}
    assert first.origin not in bundle.run_folders(folder)
    assert bundle.read(folder / "runs" / second.origin, "toy").record.scores["external/error"] == 4.5
    with pytest.raises(InputError, match="not in the store"):
        collect("other", tracker, tmp_path / "other", no_progress)


def test_a_study_that_was_discarded_and_opened_anew_has_its_new_document(folder: Path) -> None:
    """The old one has an amendment, the new one has none."""
    tracker = MemoryTracker()
    deliver("toy", folder, tracker, no_progress)
    bundle.write_document(folder, {**DOCUMENT, "amendments": [{"date": "2026-01-01", "changes": ["seed 3 added"]}]})
    collect("toy", tracker, folder, no_progress)
    assert len(bundle.document(folder)["amendments"]) == 1  # of the same study the amended one is the newer
    tracker.discard([run.record.run_id for run in tracker.stored("toy")])
    anew = {**DOCUMENT, "amendments": [], "study": {**DOCUMENT["study"], "seeds": [1]}}
    tracker.open("toy", anew)
    toy.run(tracker, toy.spec("toy", "plain", 7))
    collect("toy", tracker, folder, no_progress)
    assert bundle.document(folder) == anew
    assert len(bundle.run_folders(folder)) == 1


def test_a_model_that_was_absent_joins_its_run(folder: Path, store: Open, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "poor")
    for run_folder in bundle.run_folders(tmp_path / "poor").values():
        shutil.rmtree(run_folder / "model", ignore_errors=True)
    with_models = {origin for origin, run_folder in bundle.run_folders(folder).items() if bundle.model(run_folder)}
    assert absent_models("toy", tmp_path / "poor", store()) == with_models
    deliver("toy", tmp_path / "poor", store(), no_progress)
    assert absent_models("toy", tmp_path / "poor", store()) == with_models
    deliver("toy", folder, store(), no_progress)
    assert absent_models("toy", folder, store()) == set()
    for run in ended(store()):
        if run.origin in with_models:
            model = store().artifact(run.record.run_id, "model")
            assert model
            weights = folder / "runs" / run.origin / "model" / "weights.safetensors"
            assert (model / "weights.safetensors").read_bytes() == weights.read_bytes()


# Stopped


class Stopping:
    """A wrapper whose methods raise at their n-th call, before or after the call is made."""

    def __init__(self, inner: Any, calls: int, after: bool, error: type[BaseException]) -> None:
        self.inner, self.remaining, self.after, self.error = inner, calls, after, error

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.inner, name)
        return self._counted(attribute) if callable(attribute) else attribute

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            self.remaining -= 1
            if self.remaining == 0 and not self.after:
                raise self.error
            answer = call(*arguments, **options)
            if self.remaining == 0:
                raise self.error
            return answer

        return counted


@pytest.mark.parametrize("seed", range(6))
def test_a_delivery_that_was_stopped_anywhere_goes_on(folder: Path, sqlite: Open, seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    error = rng.choice([KeyboardInterrupt, StoreUnavailable])
    tracker = sqlite()
    assert isinstance(tracker, MlflowTracker)
    tracker.__dict__["client"] = Stopping(tracker.client, rng.randint(1, 60), rng.random() < 0.5, error)
    with suppress(error):
        deliver("toy", folder, tracker, no_progress)
    if error is StoreUnavailable:  # an outage is waited for by the same process
        deliver("toy", folder, tracker, no_progress)
    deliver("toy", folder, sqlite(), no_progress)
    there = sqlite()
    assert contents(bundles(there, tmp_path / "back")) == contents(folder)
    assert sorted(record.status for record in there.records("toy")) == ["FAILED", "FINISHED", "FINISHED", "FINISHED"]
    assert isinstance(there, MlflowTracker)
    experiment, parent = there._find("toy") or ("", "")
    assert there.client.get_run(parent).info.status == "FAILED"  # closed, and a run has failed
    models = there.client.search_logged_models([experiment])
    assert {model.source_run_id for model in models} <= {record.run_id for record in there.records("toy")}


@pytest.mark.parametrize("seed", range(6))
def test_a_collection_that_was_stopped_anywhere_goes_on(source: MemoryTracker, seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    stopping: Any = Stopping(source, rng.randint(1, 12), rng.random() < 0.5, StoreUnavailable)
    added: dict[str, bool] = {}
    with suppress(StoreUnavailable):
        collect("toy", stopping, tmp_path / "bundles", no_progress, added=added)
    collect("toy", source, tmp_path / "bundles", no_progress, added=added)
    assert contents(tmp_path / "bundles") == contents(bundles(source, tmp_path / "at once"))
    assert (len(added), sum(added.values())) == (4, 2)


def test_a_half_written_bundle_is_written_again(source: MemoryTracker, folder: Path) -> None:
    origin, run_folder = next(iter(bundle.run_folders(folder).items()))
    whole = contents(folder)
    (run_folder / "run.json").unlink()
    (run_folder / "artifacts" / "left.partial").write_text("half")
    assert origin not in bundle.run_folders(folder)
    assert list(collect("toy", source, folder, no_progress)) == [origin]
    assert contents(folder) == whole


def test_while_a_driver_records_runs(sqlite: Open, tmp_path: Path) -> None:
    """Only ended runs are collected, and completely; the store itself does not change."""
    tracker = sqlite()
    fill(tracker, tmp_path)
    before = [record for record in tracker.records("toy") if record.status in ("RUNNING", "KILLED")]
    assert len(before) == 2
    started = toy.spec("toy", "plain", 7)
    run_id = tracker.start(started)
    collected = bundles(sqlite(), tmp_path / "first")
    assert len(bundle.run_folders(collected)) == 4
    tracker.finish(run_id, started, toy.finished(started, toy.artifacts(tmp_path / "7", 7)))
    assert list(collect("toy", sqlite(), collected, no_progress)) == [run_id]
    assert bundle.model(collected / "runs" / run_id) is not None
    assert [record for record in tracker.records("toy") if record.status in ("RUNNING", "KILLED")] == before


def test_a_run_that_a_store_refuses_is_reported_and_added_once_it_is_valid(folder: Path, sqlite: Open) -> None:
    origin, run_folder = next((o, p) for o, p in bundle.run_folders(folder).items() if bundle.model(p))
    run, described = bundle.read(run_folder, "toy"), (run_folder / "model" / "model.json").read_text()
    bundle.write_run(run_folder, replace(run, params={**run.params, "a\n;b": "1"}))
    with pytest.raises(InputError, match="is refused"):
        deliver("toy", folder, sqlite(), no_progress)
    bundle.write_run(run_folder, run)
    (run_folder / "model" / "model.json").write_text("[]")
    with pytest.raises(InputError, match=f"run {origin}: is refused"):
        deliver("toy", folder, sqlite(), no_progress)
    (run_folder / "model" / "model.json").write_text(described)
    deliver("toy", folder, sqlite(), no_progress)
    assert len(ended(sqlite())) == 4
    assert deliver("toy", folder, sqlite(), no_progress) == {}
