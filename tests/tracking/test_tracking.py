"""One contract for every Tracker, then what only MLflow does: a plain MLflow client must be able to read it all."""

from __future__ import annotations

import math
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
import toy_runs as toy
from mlflow import MlflowClient

from ablate.study import InputError, RunDiscarded, RunResult, Tracker
from ablate.tracking.memory import MemoryTracker
from ablate.tracking.mlflow import mlflow_pyfunc
from ablate.tracking.mlflow import store as tracking_store
from ablate.tracking.mlflow.tracker import MlflowTracker, settings_params
from ablate.trainers.builtin.checkpoints import load_model, save_model

# MLflow's own classes draw this warning when mlflow.pyfunc is imported.
loads_models = pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")


@pytest.fixture(params=["memory", "sqlite"])
def tracker(request: pytest.FixtureRequest) -> Tracker:
    return MemoryTracker() if request.param == "memory" else MlflowTracker(None, request.getfixturevalue("mlruns"))


@pytest.fixture
def study() -> str:
    return "toy"


@pytest.fixture
def opened(tracker: Tracker, study: str) -> Tracker:
    tracker.open(study, toy.DOCUMENT)
    return tracker


class TestTrackerContract:
    def test_knows_nothing_of_a_study_that_was_never_opened(self, tracker: Tracker, study: str) -> None:
        assert tracker.document(study) is None
        assert tracker.records(study) == []
        with pytest.raises(LookupError, match=study):
            tracker.start(toy.spec(study))

    def test_lists_the_studies_that_were_opened(self, tracker: Tracker, study: str) -> None:
        assert tracker.studies() == []
        for name in (study, "another", study):
            tracker.open(name, toy.DOCUMENT)
        assert tracker.studies() == ["another", study]

    def test_keeps_the_latest_document(self, tracker: Tracker, study: str) -> None:
        tracker.open(study, toy.DOCUMENT)
        tracker.close(study, finished=False)
        assert tracker.document(study) == toy.DOCUMENT
        amended = {**toy.DOCUMENT, "amendments": [{"date": "2025-02-03", "what": "seed 4 → °"}]}
        tracker.open(study, amended)
        assert tracker.document(study) == amended
        tracker.close(study, finished=True)
        assert tracker.records(study) == []

    def test_records_a_comparison_run(self, opened: Tracker, study: str, tmp_path: Path) -> None:
        spec = toy.spec(study, "hybrid", 3)
        run_id = opened.start(spec)
        (record,) = opened.records(study)
        assert (record.run_id, record.status, record.scores) == (run_id, "RUNNING", {})
        for entry in toy.history():
            opened.log_epochs(run_id, [entry])
        (record,) = opened.records(study)
        assert record.scores == {"train/loss": 1 / 3, "val/error": 1.25}
        opened.finish(run_id, spec, toy.finished(spec, toy.artifacts(tmp_path / "out")))
        (record,) = opened.records(study)
        assert (record.arm, record.seed, record.phase, record.key) == ("hybrid", 3, "compare", spec.key)
        assert (record.status, record.trial, record.overrides, record.error) == ("FINISHED", None, {}, "")
        assert record.provenance == toy.PROVENANCE
        assert record.scores == {"train/loss": 1 / 3, **toy.SCORES, **toy.TIMINGS}

    def test_tells_when_runs_began_and_ended(self, opened: Tracker, study: str) -> None:
        assert opened.times(study) == {}
        before = time.time_ns() // 10**6
        first, second = toy.spec(study, "hybrid", 3), toy.spec(study, "hybrid", 4)
        ended, running = opened.start(first), opened.start(second)
        opened.finish(ended, first, toy.finished(first))
        after = time.time_ns() // 10**6 + 2  # two runs never begin at the same moment
        times = opened.times(study)
        assert times.keys() == {ended, running}  # and not the study's own run
        assert before <= times[ended][0] <= times[ended][1] <= after
        assert before <= times[running][0] <= after
        assert times[running][1] == 0
        assert opened.times("another") == {}

    def test_a_curve_is_what_was_logged_and_a_final_score_does_not_bend_it(self, opened: Tracker, study: str) -> None:
        spec = toy.spec(study)
        run_id = opened.start(spec)
        opened.log_epochs(run_id, [toy.history()[0]])
        assert toy.curves(opened, run_id, study) == toy.history(1)
        opened.finish(run_id, spec, toy.finished(spec))  # brings the epochs that were not logged live
        assert toy.curves(opened, run_id, study) == toy.history()
        assert opened.records(study)[0].scores["val/error"] == toy.SCORES["val/error"] != toy.history()[-1]["val/error"]

    def test_keeps_numbers_that_are_not_finite(self, opened: Tracker, study: str) -> None:
        spec = toy.spec(study)
        run_id = toy.run(opened, spec, scores={"test/a": math.nan, "test/b": math.inf, "test/c": -math.inf})
        scores = opened.records(study)[0].scores
        assert math.isnan(scores["test/a"])
        assert (scores["test/b"], scores["test/c"]) == (math.inf, -math.inf)
        assert opened.artifact(run_id, "model") is None

    def test_records_a_tuning_run_without_artifacts(self, opened: Tracker, study: str, tmp_path: Path) -> None:
        overrides = {"training.learning_rate": 1e-4, "model.width": 32, "model.bias": True, "model.kind": "a"}
        run_id = toy.run(opened, toy.trial(study, 0, **overrides), toy.artifacts(tmp_path / "out"))
        (record,) = opened.records(study)
        assert (record.phase, record.trial, record.overrides) == ("tune", 0, overrides)
        assert [type(v) for v in record.overrides.values()] == [type(overrides[k]) for k in record.overrides]
        assert [opened.artifact(run_id, name) for name in ("scores.parquet", "model")] == [None, None]

    def test_a_failed_run_is_a_gap_with_a_reason(self, opened: Tracker, study: str) -> None:
        spec = toy.spec(study)
        run_id = opened.start(spec)
        opened.log_epochs(run_id, [toy.history()[0]])
        opened.finish(run_id, spec, toy.failed(spec, "ValueError: the °"))
        (record,) = opened.records(study)
        assert (record.status, record.error) == ("FAILED", "ValueError: the °")
        assert toy.curves(opened, run_id, study) == toy.history(1)

    def test_a_failed_try_that_is_not_the_last_is_to_be_done_again(self, opened: Tracker, study: str) -> None:
        spec = toy.spec(study)
        opened.finish(opened.start(spec), spec, toy.failed(spec), 1)
        (record,) = opened.records(study)
        assert (record.status, record.failures, record.error) == ("KILLED", 1, "ValueError: no")
        opened.kill(opened.start(spec, 1))
        (record,) = opened.records(study)
        assert (record.status, record.failures, record.error) == ("KILLED", 1, "")
        again = opened.start(spec, 1)
        opened.finish(again, spec, toy.failed(spec))
        (record,) = opened.records(study)
        assert (record.run_id, record.status) == (again, "FAILED")

    def test_starting_again_replaces_unfinished_runs_of_the_same_place(self, opened: Tracker, study: str) -> None:
        spec = toy.spec(study)
        killed = opened.start(spec)
        opened.kill(killed)
        assert [record.status for record in opened.records(study)] == ["KILLED"]
        others = [opened.start(toy.spec(study, "hybrid")), *(opened.start(toy.trial(study, i)) for i in (0, 1))]
        failed = opened.start(spec)
        opened.finish(failed, spec, toy.failed(spec))
        again = toy.run(opened, spec)
        assert [record.run_id for record in opened.records(study)] == [*others, again]
        once_more = opened.start(spec)
        assert [record.run_id for record in opened.records(study)] == [*others, again, once_more]

    def test_discarded_runs_are_forgotten(self, opened: Tracker, study: str, tmp_path: Path) -> None:
        runs = [toy.run(opened, toy.spec(study, seed=s), toy.artifacts(tmp_path / str(s), s)) for s in (1, 2, 3)]
        opened.discard([runs[0], runs[2]])
        assert [record.run_id for record in opened.records(study)] == [runs[1]]

    def test_a_run_that_was_discarded_takes_nothing_more(self, opened: Tracker, study: str) -> None:
        spec = toy.spec(study)
        run_id = opened.start(spec)
        opened.discard([run_id, run_id])
        for write in (
            lambda: opened.log_epochs(run_id, toy.history()),
            lambda: opened.finish(run_id, spec, RunResult(spec.key, "FINISHED", {"val/error": 1.0}, toy.history())),
            lambda: opened.kill(run_id),
        ):
            with pytest.raises(RunDiscarded):
                write()
        assert opened.records(study) == []

    def test_gives_back_what_was_logged_to_a_running_run(self, opened: Tracker, study: str) -> None:
        run_id = opened.start(toy.spec(study))
        assert (opened.logged_scores(run_id), opened.logged_curves(run_id, ["val/error"])) == ({}, [])
        opened.log_epochs(run_id, toy.history())
        opened.add_scores([run_id], {"up": math.inf, "none": math.nan})
        scores = opened.logged_scores(run_id)
        assert math.isnan(scores.pop("none"))
        assert scores == {"train/loss": 1 / 3, "val/error": 1.25, "up": math.inf}
        curve = [{"epoch": entry["epoch"], "val/error": entry["val/error"]} for entry in toy.history()]
        assert opened.logged_curves(run_id, ["val/error", "never"]) == curve

    def test_adds_scores_to_finished_runs(self, opened: Tracker, study: str) -> None:
        runs = [toy.run(opened, toy.spec(study, seed=seed)) for seed in (1, 2)]
        opened.add_scores(runs, {"cost/latency_ms_p50": 9.0})
        opened.add_scores(runs[:1], {"cost/latency_ms_p50": 1.5})
        assert [record.scores["cost/latency_ms_p50"] for record in opened.records(study)] == [1.5, 9.0]
        assert toy.curves(opened, runs[0], study) == toy.history()
        assert [record.status for record in opened.records(study)] == ["FINISHED", "FINISHED"]

    def test_hands_out_artifacts_as_local_paths(self, opened: Tracker, study: str, tmp_path: Path) -> None:
        folder = toy.artifacts(tmp_path / "out", seed=7)
        pd.DataFrame({"subject": [3, 4]}).to_parquet(folder / "conditions.parquet")
        run_id = toy.run(opened, toy.spec(study), folder)
        names = ("scores.parquet", "conditions.parquet", "examples.npz", "model")
        table, conditions, examples, model = (opened.artifact(run_id, name) for name in names)
        assert table is not None
        assert conditions is not None
        assert examples is not None
        assert model is not None
        assert pd.read_parquet(table)["error"].tolist() == [0.5, 9.0]
        assert pd.read_parquet(conditions)["subject"].tolist() == [3, 4]
        assert np.load(examples, allow_pickle=False)["inputs"].shape == (1, 17, 6)
        assert torch.equal(load_model(model).weight, toy.linear(7).weight)
        assert opened.artifact(run_id, "nothing.parquet") is None

    def test_studies_do_not_mix(self, opened: Tracker, study: str) -> None:
        opened.open(f"{study}-b", {**toy.DOCUMENT, "created": "2025-12-31"})
        first, second = toy.run(opened, toy.spec(study)), toy.run(opened, toy.spec(f"{study}-b"))
        assert [record.run_id for record in opened.records(study)] == [first]
        assert [record.run_id for record in opened.records(f"{study}-b")] == [second]
        assert opened.document(study) == toy.DOCUMENT


@pytest.fixture(scope="module")
def store(initialised_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study, one comparison and one tuning run."""
    mlruns = tmp_path_factory.mktemp("plain") / "mlruns"
    mlruns.mkdir()
    shutil.copy(initialised_store, mlruns / "mlflow.db")
    tracker = MlflowTracker(None, mlruns)
    tracker.open("toy", toy.DOCUMENT)
    toy.run(tracker, toy.spec("toy", "hybrid", 5), toy.artifacts(mlruns.parent / "out", seed=5))
    toy.run(tracker, toy.trial("toy", 0, **{"training.learning_rate": 0.1}))
    tracker.close("toy", finished=True)
    return mlruns


@pytest.fixture
def plain(store: Path) -> Iterator[MlflowClient]:
    """MLflow as anyone would use it."""
    mlflow.set_tracking_uri(f"sqlite:///{store / 'mlflow.db'}")
    yield MlflowClient()
    mlflow.set_tracking_uri(None)


@pytest.fixture
def run_id(store: Path) -> str:
    return MlflowTracker(None, store).records("toy")[0].run_id


class TestWhatAPlainClientSees:
    def test_runs_nest_below_the_study(self, plain: MlflowClient, run_id: str) -> None:
        experiment = plain.get_experiment_by_name("toy")
        (parent,) = plain.search_runs([experiment.experiment_id], "tags.`ablate.role` = 'study'")
        assert (parent.info.run_name, parent.info.status) == ("toy", "FINISHED")
        assert parent.data.tags["ablate.hypotheses"] == "f00d"
        assert mlflow.artifacts.load_dict(f"runs:/{parent.info.run_id}/study.json") == toy.DOCUMENT
        children = plain.search_runs([experiment.experiment_id], f"tags.mlflow.parentRunId = '{parent.info.run_id}'")
        assert sorted(run.info.run_name for run in children) == ["hybrid-seed5", "plain-trial0-seed101"]

    def test_finds_runs_by_tag_with_settings_curves_and_data(self, plain: MlflowClient, run_id: str) -> None:
        experiment = plain.get_experiment_by_name("toy")
        where = "tags.`ablate.arm` = 'hybrid' and tags.`ablate.seed` = '5' and metrics.`test/error` < 2"
        (run,) = plain.search_runs([experiment.experiment_id], where)
        assert run.info.run_id == run_id
        assert run.data.params["training.learning_rate"] == "0.001"
        assert run.data.params["data.splits"] == "[1, 2]"
        assert (run.data.params["arm"], run.data.params["seed"]) == ("hybrid", "5")
        assert run.data.tags["mlflow.source.git.commit"] == "abc123"
        curve = plain.get_metric_history(run_id, "train/loss")
        assert [(point.step, point.value) for point in curve] == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
        inputs = {i.dataset.name: (i.dataset.digest, i.tags[0].value) for i in run.inputs.dataset_inputs}
        assert inputs == {"toy.npz (train)": ("d" * 36, "train"), "toy.npz (test)": ("d" * 36, "test")}
        files = {file.path for file in plain.list_artifacts(run_id)}
        assert files == {"scores.parquet", "examples.npz", "run.log", "uncommitted.diff", "provenance.json"}
        (tuning,) = plain.search_runs([experiment.experiment_id], "tags.`ablate.phase` = 'tune'")
        assert {i.dataset.name for i in tuning.inputs.dataset_inputs} == {"toy.npz (train)", "toy.npz (validation)"}

    @loads_models
    @pytest.mark.parametrize("rows", [1, 5])
    def test_loads_the_model_and_predicts(self, plain: MlflowClient, run_id: str, rows: int) -> None:
        (output,) = plain.get_run(run_id).outputs.model_outputs
        inputs = np.random.default_rng(rows).normal(size=(rows, 17, 6)).astype(np.float32)
        with torch.inference_mode():
            expected = toy.linear(5)(torch.from_numpy(inputs)).numpy()
        for address in (f"models:/{output.model_id}", f"runs:/{run_id}/hybrid-seed5"):
            np.testing.assert_array_equal(mlflow.pyfunc.load_model(address).predict(inputs), expected)

    def test_the_model_is_listed_with_its_scores_and_holds_no_pickle(
        self, plain: MlflowClient, run_id: str, store: Path
    ) -> None:
        experiment = plain.get_experiment_by_name("toy")
        (model,) = plain.search_logged_models([experiment.experiment_id])
        assert (model.name, model.source_run_id, model.status) == ("hybrid-seed5", run_id, "READY")
        assert model.tags["ablate.arm"] == "hybrid"
        assert {metric.key: metric.value for metric in model.metrics} == {**toy.SCORES, **toy.TIMINGS}
        folder = store / "artifacts" / "toy" / "models" / model.model_id / "artifacts"
        files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        data = {"data/model/weights.safetensors", "data/model/model.json"}
        loading_adds = {"registered_model_meta"}  # MLflow, when it loads a model from a local store
        assert files - loading_adds == data | {"MLmodel", "requirements.txt", "python_env.yaml"}
        assert str(store) not in (folder / "MLmodel").read_text()

    def test_a_network_that_answers_with_a_dict(self, tmp_path: Path) -> None:
        model = toy.TwoHeads(6)
        save_model(model, {"factory": "toy_runs:TwoHeads", "width": 6}, [17, 6], tmp_path)
        inputs = np.ones((3, 17, 6))  # float64: what a person types
        answer = mlflow_pyfunc._load_pyfunc(str(tmp_path)).predict(inputs)
        expected = model(torch.ones(3, 17, 6))
        np.testing.assert_array_equal(answer["angles"], expected["angles"].detach().numpy())
        np.testing.assert_array_equal(answer["pose"][1], expected["pose"][1].detach().numpy())

    @loads_models
    def test_refuses_an_input_of_another_shape(self, plain: MlflowClient, run_id: str) -> None:
        model = mlflow.pyfunc.load_model(f"runs:/{run_id}/hybrid-seed5")
        with pytest.raises(mlflow.MlflowException, match="schema"):
            model.predict(np.zeros((2, 16, 6), np.float32))


class TestMlflowLimits:
    def test_more_settings_than_a_batch_holds_and_longer_than_a_value_holds(self, mlruns: Path) -> None:
        tracker = MlflowTracker(None, mlruns)
        tracker.open("toy", toy.DOCUMENT)
        many = {f"s{i}": i for i in range(230)} | {"nested": {"deep": {"x": 1}}, "empty": {}, "long": "x" * 7000}
        run_id = tracker.start(toy.spec("toy", settings={"model": many}))
        params = tracker.client.get_run(run_id).data.params
        assert len(params) == 235
        assert (params["model.nested.deep.x"], params["model.empty"]) == ("1", "{}")
        assert len(params["model.long"]) < 6000
        odd = settings_params(toy.spec("toy", settings={"model": {"a(b)": None}}))
        assert odd["model.a_b_"] == "null"

    def test_a_long_error_keeps_both_ends_and_a_long_provenance_its_artifact(self, mlruns: Path) -> None:
        tracker = MlflowTracker(None, mlruns)
        tracker.open("toy", toy.DOCUMENT)
        spec = toy.spec("toy")
        error, provenance = "begin" + "x" * 9000 + "end", {"commit": "c", "diff": "y" * 9000}
        run_id = tracker.start(spec)
        tracker.finish(run_id, spec, toy.finished(spec, status="FAILED", error=error, provenance=provenance))
        (record,) = tracker.records("toy")
        assert record.error.startswith("begin")
        assert record.error.endswith("end")
        assert record.provenance == {"commit": "c"}
        whole = tracker.artifact(run_id, "provenance.json")
        assert whole is not None
        assert "y" * 9000 in whole.read_text()

    def test_a_folder_with_odd_characters(self, new_mlruns: Callable[[Path], Path], tmp_path: Path) -> None:
        mlruns = new_mlruns(tmp_path / "a b ü#1")
        tracker = MlflowTracker(None, mlruns)
        tracker.open("toy", toy.DOCUMENT)
        run_id = toy.run(tracker, toy.spec("toy"), toy.artifacts(tmp_path / "out"))
        assert tracker.document("toy") == toy.DOCUMENT
        assert tracker.artifact(run_id, "model") is not None

    def test_stdout_stays_clean(self, mlruns: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        tracker = MlflowTracker(None, mlruns)
        tracker.open("toy", toy.DOCUMENT)
        toy.run(tracker, toy.spec("toy"), toy.artifacts(tmp_path / "out"))
        tracker.close("toy", finished=True)
        assert capsys.readouterr() == ("", "")

    def test_a_study_deleted_in_the_ui_is_empty_until_it_is_opened_again(self, mlruns: Path) -> None:
        tracker = MlflowTracker(None, mlruns)
        tracker.open("toy", toy.DOCUMENT)
        toy.run(tracker, toy.spec("toy"))
        tracker.client.delete_experiment(tracker.client.get_experiment_by_name("toy").experiment_id)
        later = MlflowTracker(None, mlruns)
        assert (later.document("toy"), later.records("toy")) == (None, [])
        later.open("toy", toy.DOCUMENT)
        assert later.document("toy") == toy.DOCUMENT


class TestStoresThatCannotBeUsed:
    def refusal(self, uri: str | None, root: Path) -> str:
        with pytest.raises(InputError) as caught:
            MlflowTracker(uri, root)
        return str(caught.value)

    def test_a_server_that_never_answers(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tracking_store, "CONNECT_TIMEOUT_S", 0.3)
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            address = f"http://127.0.0.1:{silent.getsockname()[1]}"
            assert address in self.refusal(address, tmp_path)

    def test_a_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        assert str(tmp_path / "file") in self.refusal(None, tmp_path / "file" / "mlruns")

    def test_a_database_that_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "mlflow.db").write_text("these are not the tables you are looking for")
        assert "cannot be opened" in self.refusal(None, tmp_path)
        assert (tmp_path / "mlflow.db").read_text().startswith("these")

    def test_a_link_to_a_disk_that_is_away_stays(self, tmp_path: Path) -> None:
        link = tmp_path / "mlflow.db"
        link.symlink_to(tmp_path / "away" / "mlflow.db")
        assert "a link to a file that does not exist" in self.refusal(None, tmp_path)
        assert link.is_symlink()

    def test_a_pipe_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "mlflow.db")
        assert "no plain file" in self.refusal(None, tmp_path)

    @pytest.mark.parametrize("uri", ["postgresql://me:secret@127.0.0.1:1/x", "http://me:secret@127.0.0.1:1"])
    def test_a_password_is_not_shown(self, uri: str, tmp_path: Path) -> None:
        said = self.refusal(uri, tmp_path)
        assert "127.0.0.1:1" in said
        assert "secret" not in said

    @pytest.mark.parametrize("uri", ["./mlruns", "file:///tmp/x", "ftp://host/x", """ postgres"""])
    def test_an_unknown_kind_of_address(self, uri: str, tmp_path: Path) -> None:
        assert "sqlite:///" in self.refusal(uri, tmp_path / "new")
        assert not (tmp_path / "new").exists()
