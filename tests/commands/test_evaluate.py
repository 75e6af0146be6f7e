"""`ablate evaluate`: stored models on other data, scored, shown and recorded; real detections among it."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file
from toy_project import Project

from ablate.commands import evaluate, report
from ablate.scheduler.workspace import Workspace
from ablate.study import InputError, Record, trust
from ablate.tracking.mlflow.sqlite_reader import LocalStore

Cli = Callable[..., Any]
METRICS = {"absolute_error", "median_error", "close"}


@pytest.fixture
def village(tmp_path: Path) -> Path:
    np.savez(tmp_path / "village.npz", houses=np.random.default_rng(0).normal(size=(40, 3)))
    return tmp_path / "village.npz"


@pytest.fixture
def store(finished: Project, project: Project, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished study's store, to write to; its models stay where they are. Its code is trusted."""
    monkeypatch.setattr(trust, "_trusted_packages", {"linear_toy"})
    monkeypatch.chdir(finished.folder)
    shutil.copytree(finished.folder / "mlruns", project.folder / "mlruns", ignore=shutil.ignore_patterns("artifacts"))
    return project.folder / "mlruns"


def compared(store: Path) -> list[Record]:
    return [r for r in LocalStore(store / "mlflow.db").records("linear") if r.phase == "compare"]


class TestScores:
    def test_every_model_is_scored_and_the_scores_recorded(self, store: Path, village: Path, cli: Cli) -> None:
        answer = cli("evaluate", "linear.toml", "--data", str(village), "--json", "--mlruns", str(store))
        assert answer.code == 0, answer.err
        document = json.loads(answer.out)
        assert (document["study"], document["name"], document["examples"]) == ("linear", "village", 40)
        assert document["notes"] == []
        scores = pd.DataFrame(document["scores"])
        assert set(scores.metric) == METRICS
        assert len(scores) == 3 * 2 * 3
        error = scores[scores.metric == "absolute_error"].groupby("arm").score.mean()
        assert error["garden"] < error["plain"] < error["mean"]
        for record in compared(store):
            mine = scores[(scores.arm == record.arm) & (scores.seed == record.seed)]
            logged = dict(zip("external/village/" + mine.metric, mine.score, strict=True))
            recorded = {k: v for k, v in record.scores.items() if k.startswith("external/")}
            assert recorded == pytest.approx({**logged, "external/village/examples": 40})

    def test_a_score_worked_by_hand(self, store: Path, village: Path, finished: Project) -> None:
        """The yardstick answers with the mean price of the houses it was trained on."""
        done = evaluate.evaluate("linear", Workspace(store), village)
        price = load_file(done.results.artifact("mean", 1, "model") / "weights.safetensors")["price"]  # type: ignore[operator]
        from linear_toy.components import houses

        true = houses(device="cpu", file=village, noise=0.2, seed=0).examples("all").targets["price"].numpy()
        mine = done.scores.query("arm == 'mean' and seed == 1").set_index("metric").score
        assert mine["absolute_error"] == pytest.approx(np.abs(true - price).mean(), rel=1e-5)
        assert mine["median_error"] == pytest.approx(np.median(np.abs(true - price)), rel=1e-5)

    def test_the_same_name_again_replaces(self, store: Path, village: Path) -> None:
        first = evaluate.evaluate("linear.toml", Workspace(store), village, name="here")
        np.savez(village, houses=10 + np.random.default_rng(1).normal(size=(30, 3)))
        second = evaluate.evaluate("linear", Workspace(store), village, name="here")
        assert not first.scores.equals(second.scores)
        record = compared(store)[0]
        mine = second.scores[(second.scores.arm == record.arm) & (second.scores.seed == record.seed)]
        assert record.scores["external/here/examples"] == 30
        for metric, value in zip(mine.metric, mine.score, strict=True):
            assert record.scores[f"external/here/{metric}"] == pytest.approx(value)

    def test_progress_and_a_table_with_labels(self, store: Path, village: Path, cli: Cli, tmp_path: Path) -> None:
        answer = cli(
            "evaluate", "linear", "--data", "village.npz", "--data-root", str(tmp_path), "--mlruns", str(store),
            "--out", str(tmp_path / "scores.csv"), "--name", "v.1",
        )  # fmt: skip
        assert answer.code == 0, answer.err
        assert "runs scored: 6 of 6" in answer.err
        assert "external/v.1/" in answer.err
        for word in ("v.1, 40 examples", "Garden too", "Mean price", "±", "Δ"):
            assert word in answer.out
        assert len(pd.read_csv(tmp_path / "scores.csv")) == 18

    def test_a_factory_can_be_named(self, store: Path, village: Path) -> None:
        usual = evaluate.evaluate("linear", Workspace(store), village)
        named = evaluate.evaluate("linear", Workspace(store), village, factory="linear_toy.components:houses")
        pd.testing.assert_frame_equal(usual.scores, named.scores)

    def test_a_model_that_cannot_be_read_costs_its_run_only(
        self, store: Path, village: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from ablate.trainers.builtin import checkpoints

        real = checkpoints.load_model
        broken = report.results("linear", Workspace(store)).artifact("garden", 2, "model")

        def load(folder: Path) -> Any:
            return real(store if folder == broken else folder)

        monkeypatch.setattr(checkpoints, "load_model", load)
        done = evaluate.evaluate("linear", Workspace(store), village)
        assert len(done.scores) == 5 * 3
        (note,) = done.notes
        assert note.startswith("garden seed 2 could not be scored: ")

    def test_what_cannot_be_used_is_refused_and_nothing_recorded(
        self, store: Path, village: Path, tmp_path: Path
    ) -> None:
        def refused(data: Path, **options: Any) -> str:
            with pytest.raises(InputError) as error:
                evaluate.evaluate("linear", Workspace(store), data, **options)
            return str(error.value)

        assert "no such data file" in refused(tmp_path / "vilage.npz")
        assert refused(tmp_path / "vilage.npz").startswith("--data: no such data file under ")
        assert "--name: must be letters" in refused(village, name="a/b")
        assert "no module named 'nowhere'" in refused(village, factory="nowhere:at_all")
        (tmp_path / "text.npz").write_text("no archive")
        assert "cannot be read as data of this study" in refused(tmp_path / "text.npz")
        np.savez(tmp_path / "none.npz", houses=np.zeros((0, 3)))
        assert "none.npz: holds no example" in refused(tmp_path / "none.npz")
        np.savez(tmp_path / "undefined.npz", houses=np.full((4, 3), np.nan))
        assert "has no value, as where inputs are not finite" in refused(tmp_path / "undefined.npz")
        assert not any(key.startswith("external/") for record in compared(store) for key in record.scores)

    def test_runs_without_a_model_cannot_be_scored(
        self, store: Path, village: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with closing(sqlite3.connect(store / "mlflow.db")) as connection:
            connection.execute("DELETE FROM inputs WHERE source_type = 'RUN_OUTPUT'")
            connection.commit()
        with pytest.raises(InputError, match="no finished run kept its model") as error:
            evaluate.evaluate("linear", Workspace(store), village)
        # the file of the study in the working folder: what is pasted there trains an arm again
        again = f"`ablate run linear.toml --rerun plain --mlruns {store}` trains an arm again"
        assert str(error.value).endswith(again)
        monkeypatch.chdir(store)
        with pytest.raises(InputError) as error:
            evaluate.evaluate("linear", Workspace(store), village)
        assert str(error.value).endswith("its study file has to be run again, with --rerun and an arm")

    def test_a_network_that_could_not_be_loaded_is_refused_by_name(self, store: Path, village: Path) -> None:
        lost = next(record for record in compared(store) if (record.arm, record.seed) == ("garden", 2))
        facts = json.dumps({**lost.provenance, "model": "the saved network cannot be loaded again: why"})
        with closing(sqlite3.connect(store / "mlflow.db")) as connection, connection:
            of_the_model = "source_type = 'RUN_OUTPUT' AND source_id = ?"
            connection.execute(f"DELETE FROM inputs WHERE {of_the_model}", (lost.run_id,))
            query = "UPDATE tags SET value = ? WHERE key = 'ablate.provenance' AND run_uuid = ?"
            connection.execute(query, (facts, lost.run_id))
        done = evaluate.evaluate("linear", Workspace(store), village)
        told = "garden seed 2 could not be scored: the saved network cannot be loaded again: why"
        assert done.notes == (told,)
        with closing(sqlite3.connect(store / "mlflow.db")) as connection, connection:
            connection.execute("DELETE FROM inputs WHERE source_type = 'RUN_OUTPUT'")
        with pytest.raises(InputError, match=told):
            evaluate.evaluate("linear", Workspace(store), village)


@pytest.mark.parametrize(
    ("file", "name"), [("balancing.npz", "balancing"), ("my walk (2).npz", "my_walk__2_"), ("…", "data"), (".x", "x")]
)
def test_a_file_names_its_scores(file: str, name: str) -> None:
    assert evaluate.test_name(None, Path(file)) == name


class TestRealDetections:
    STUDY = """
name = "frames"
question = "How far does the torso's frame carry on real detections?"
baseline = "frame"
seeds = [1]
metrics = ["azimuth_mae_deg", "elevation_mae_deg"]
catalogue = "ablate.depth_refinement.metrics:METRICS"
[settings.data]
factory = "ablate.depth_refinement.data:synthetic"
subjects = 20
poses_per_subject = 2
depth_noise_m = 0.02
[settings.model]
factory = "ablate.depth_refinement.references:torso_frame"
[settings.loss]
factory = "ablate.depth_refinement.losses:pose_loss"
[settings.training]
epochs = 1
[arms.frame]
label = "Torso frame"
[arms.no-shoulders]
control.drop_joints = ["l_shoulder", "r_shoulder"]
[arms.shuffled]
control.shuffle_input = ["pose_3d"]
[arms.known-pose]
reference = true
set.model = { factory = "ablate.depth_refinement.known_pose:known_pose" }
"""

    def test_a_recording_is_known_by_its_file_and_controls_apply(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data_root: Path, cli: Cli, threads: None,
        initialised_store: Path,
    ) -> None:  # fmt: skip
        monkeypatch.chdir(tmp_path)
        (tmp_path / "frames.toml").write_text(self.STUDY, encoding="utf-8")
        (tmp_path / "mlruns").mkdir()
        shutil.copy(initialised_store, tmp_path / "mlruns" / "mlflow.db")
        ran = cli("run", "frames.toml", "--workers", "1", "--json")
        assert ran.code == 0, ran.err
        answer = cli("evaluate", "frames", "--data", "multicam/balancing.npz", "--data-root", str(data_root), "--json")
        assert answer.code == 0, answer.err
        document = json.loads(answer.out)
        assert document["examples"] == 398
        (note,) = document["notes"]
        assert note.startswith("shuffled could not be scored: ")
        assert "at least two subjects" in note
        scores = pd.DataFrame(document["scores"]).pivot(index="arm", columns="metric", values="score")
        assert list(scores.index) == ["frame", "known-pose", "no-shoulders"]
        assert scores.azimuth_mae_deg["known-pose"] < 2 < scores.azimuth_mae_deg["frame"]
        assert scores.azimuth_mae_deg["frame"] < scores.azimuth_mae_deg["no-shoulders"]

    def test_only_readers_of_the_same_subject_are_asked(self, data_root: Path) -> None:
        file = data_root / "multicam" / "balancing.npz"
        assert (
            evaluate.reader("ablate.depth_refinement.data:mocap", file) == "ablate.depth_refinement.recording:recording"
        )
        assert evaluate.reader("linear_toy.components:houses", file) is None
        assert evaluate.reader("ablate.depth_refinement.data:mocap", data_root / "cmu_dev.npz") is None
