"""A finished study travels by git alone to another path and joins what is there, readable by MLflow itself."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
import toy_runs as toy
from mlflow import MlflowClient
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

from ablate.edges import archive, slimming, snapshot_dvc
from ablate.edges import snapshot as dvc
from ablate.edges import snapshot_store as stores
from ablate.edges import snapshot_views as views
from ablate.edges.tracking import MlflowTracker
from ablate.study import InputError

# MLflow's own classes draw this warning when mlflow.pyfunc is imported.
loads_models = pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")
NewStore = Callable[[Path], Path]


def git(folder: Path, *arguments: str) -> str:
    who = {f"GIT_{role}_{what}": "toy@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **who, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    done = subprocess.run(["git", *arguments], cwd=folder, env=environment, check=True, capture_output=True, text=True)
    return done.stdout


def fill(mlruns: Path, study: str, scratch: Path) -> MlflowTracker:
    """A finished study: two arms with two seeds each, one tuning run, one failed, one killed and one discarded run."""
    tracker = MlflowTracker(None, mlruns)
    tracker.open(study, {**toy.DOCUMENT, "created": study})
    for arm, seed in (("hybrid", 2), ("hybrid", 1), ("plain", 1), ("plain", 2)):
        folder = toy.artifacts(scratch / f"{study}-{arm}-{seed}", seed)
        toy.run(tracker, toy.spec(study, arm, seed), folder, scores={"test/error": float(seed)})
    toy.run(tracker, toy.trial(study, 0, **{"training.learning_rate": 0.1}))
    broken = toy.spec(study, "plain", 3)
    tracker.finish(tracker.start(broken), broken, toy.failed(broken))
    tracker.kill(tracker.start(toy.spec(study, "plain", 4)))
    tracker.discard([toy.run(tracker, toy.spec(study, "plain", 5), toy.artifacts(scratch / f"{study}-gone"))])
    tracker.close(study, finished=False)
    return tracker


def new_store(empty: Path, folder: Path) -> Path:
    mlruns = folder / "mlruns"
    mlruns.mkdir(parents=True)
    shutil.copy(empty, mlruns / "mlflow.db")
    return mlruns


@pytest.fixture(scope="module")
def repository(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git and DVC repository whose studies "toy" and "other" were snapshot one after the other and committed."""
    root = tmp_path_factory.mktemp("home") / "repository"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=root, check=True)
    (root / ".gitignore").write_text("/mlruns/\n")
    mlruns = new_store(empty_store, root)
    fill(mlruns, "toy", root.parent)
    assert dvc.snapshot("toy", root, mlruns).startswith("toy: 6 runs and 2 models")
    other = MlflowTracker(None, mlruns)
    other.open("other", {**toy.DOCUMENT, "created": "other"})
    toy.run(other, toy.spec("other"))
    other.close("other", finished=True)
    said = dvc.snapshot("other", root, mlruns)
    assert said.startswith("other: 1 runs and 0 models")
    assert "other, toy in" in said
    git(root, "add", "-A")
    git(root, "commit", "-qm", "snapshot")
    return root


@pytest.fixture(scope="module")
def restored(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh clone at another path with the snapshot restored; no test writes to it."""
    folder = tmp_path_factory.mktemp("away")
    git(folder, "clone", "-q", str(repository), "a restored clone")
    root = folder / "a restored clone"
    said = dvc.restore(root, root / "mlruns")
    assert said == "other: 1 runs and 0 models restored\ntoy: 6 runs and 2 models restored"
    return root


@pytest.fixture
def clone(repository: Path, tmp_path: Path) -> Path:
    git(tmp_path, "clone", "-q", str(repository), "a clone")
    return tmp_path / "a clone"


@pytest.fixture
def client() -> Iterator[Callable[[Path], MlflowClient]]:
    def plain(mlruns: Path) -> MlflowClient:
        mlflow.set_tracking_uri(f"sqlite:///{mlruns / 'mlflow.db'}")
        return MlflowClient()

    yield plain
    mlflow.set_tracking_uri(None)


def test_two_at_once_keep_both(empty_store: Path, tmp_path: Path) -> None:
    """The first of a repository, which also declare its storage."""
    mlruns = new_store(empty_store, tmp_path)
    for study in ("toy", "other"):
        fill(mlruns, study, tmp_path)
    git(tmp_path, "init", "-q")
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=tmp_path, check=True)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda study: dvc.snapshot(study, tmp_path, mlruns), ("toy", "other")))
    assert (tmp_path / ".dvc" / "config").read_text().count("url = storage") == 1
    said = dvc.restore(tmp_path, tmp_path / "restored" / "mlruns")
    assert said == "other: 6 runs and 2 models restored\ntoy: 6 runs and 2 models restored"


class TestThroughGit:
    def test_the_repository_holds_one_small_snapshot(self, repository: Path) -> None:
        assert git(repository, "status", "--porcelain") == ""
        tracked = (repository / "mlruns.dvc").read_text()
        assert "path: mlruns\n" in tracked
        files = [file for file in (repository / ".dvc" / "storage").rglob("*") if file.is_file()]
        listing = next(file for file in files if file.suffix == ".dir")
        referenced = {entry["md5"] for entry in json.loads(listing.read_text())}
        assert {file.parent.name + file.name for file in files} == referenced | {listing.parent.name + listing.name}
        assert sum(file.stat().st_size for file in files) < 1e6

    @loads_models
    def test_a_fresh_clone_has_it_all_at_its_own_path(
        self, restored: Path, repository: Path, client: Callable[[Path], MlflowClient]
    ) -> None:
        plain = client(restored / "mlruns")
        experiment = plain.get_experiment_by_name("toy")
        runs = {run.info.run_name: run for run in plain.search_runs([experiment.experiment_id])}
        cells = ["hybrid-seed1", "hybrid-seed2", "plain-seed1", "plain-seed2", "plain-seed3"]
        assert sorted(runs) == [*cells, "plain-trial0-seed101", "toy"]
        run = runs["hybrid-seed1"]
        assert run.data.metrics["test/error"] == 1.0
        assert run.data.params["training.learning_rate"] == "0.001"
        assert [p.value for p in plain.get_metric_history(run.info.run_id, "train/loss")] == [1.0, 0.5, 1 / 3]
        assert [i.dataset.name for i in run.inputs.dataset_inputs] == ["toy.npz (train)", "toy.npz (test)"]
        assert {f.path for f in plain.list_artifacts(run.info.run_id)} == {
            "scores.parquet", "examples.npz", "uncommitted.diff", "provenance.json"
        }  # fmt: skip
        table = mlflow.artifacts.download_artifacts(f"{run.info.artifact_uri}/scores.parquet")
        assert pd.read_parquet(table)["error"].tolist() == [0.5, 3.0]
        assert Path(table).is_relative_to(restored)
        model = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/model")
        answer = model.predict(np.ones((2, 17, 6), np.float32))
        np.testing.assert_array_equal(answer, toy.linear(1)(torch.ones(2, 17, 6)).detach().numpy())
        models = plain.search_logged_models([experiment.experiment_id])
        assert sorted(m.source_run_id for m in models) == sorted(runs[n].info.run_id for n in (cells[0], cells[2]))
        assert {m.artifact_location.startswith(restored.as_uri()) for m in models} == {True}
        assert not _mentions(restored / "mlruns", str(repository))

    def test_the_tracker_reads_the_same_records_and_document(self, restored: Path, repository: Path) -> None:
        there, here = (MlflowTracker(None, root / "mlruns") for root in (repository, restored))
        wanted = [record for record in there.records("toy") if record.status != "KILLED"]
        assert here.records("toy") == wanted
        assert here.document("toy") == there.document("toy")
        assert here.history(wanted[0].run_id) == toy.history()

    def test_restoring_twice_changes_nothing(self, restored: Path) -> None:
        before = _rows(restored / "mlruns")
        assert dvc.restore(restored, restored / "mlruns").startswith("other: 0 runs and 0 models")
        assert _rows(restored / "mlruns") == before

    def test_dvc_and_mlflow_alone_can_read_the_snapshot(
        self, clone: Path, client: Callable[[Path], MlflowClient], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        environment = {**os.environ, "DVC_SITE_CACHE_DIR": str(clone.parent / "site")}
        subprocess.run([sys.executable, "-m", "dvc", "pull", "-q"], cwd=clone, check=True, env=environment)
        monkeypatch.chdir(clone)
        plain = client(clone / "mlruns")
        experiment = plain.get_experiment_by_name("other")
        (parent,) = plain.search_runs([experiment.experiment_id], "tags.`ablate.role` = 'study'")
        assert mlflow.artifacts.load_dict(f"runs:/{parent.info.run_id}/study.json")["created"] == "other"

    def test_a_clone_adds_its_runs_to_the_snapshot_without_losing_others(self, clone: Path, empty_store: Path) -> None:
        mlruns = new_store(empty_store, clone)  # never restored
        tracker = MlflowTracker(None, mlruns)
        tracker.open("toy", {**toy.DOCUMENT, "created": "later"})
        toy.run(tracker, toy.spec("toy", "hybrid", 7))
        tracker.close("toy", finished=True)
        assert dvc.snapshot("toy", clone, mlruns).startswith("toy: 1 runs and 0 models")
        shutil.rmtree(mlruns)
        assert dvc.restore(clone, mlruns).splitlines()[1] == "toy: 7 runs and 2 models restored"
        seeds = [r.seed for r in MlflowTracker(None, mlruns).records("toy") if r.arm == "hybrid"]
        assert seeds == [2, 1, 7]

    def test_a_damaged_storage_is_refused_and_nothing_is_created(self, clone: Path) -> None:
        shutil.rmtree(clone / ".dvc" / "storage")
        with pytest.raises(InputError, match="storage"):
            dvc.restore(clone, clone / "mlruns")
        assert not (clone / "mlruns").exists()


STUDY = {
    "name": "slim",
    "question": "Is it small?",
    "baseline": "hybrid",
    "seeds": [2, 1],
    "metrics": ["error"],
    "catalogue": "toy:METRICS",
    "settings": {},
    "arms": {"hybrid": {}},
    "report": {"conditions": {"height": {}}, "gallery": "toy:draw"},
}
METRICS = {
    "error": {"label": "Error", "unit": "", "direction": "lower", "reduction": "mean", "column": "first"},
    "other": {"label": "Other", "unit": "", "direction": "lower", "reduction": "mean", "column": "other"},
}


class TestReportsOnly:
    @pytest.fixture
    def slim(self, clone: Path, empty_store: Path, tmp_path: Path) -> Path:
        """The clone, with the study "slim" added to the snapshot for its reports only."""
        mlruns = new_store(empty_store, clone)
        tracker = MlflowTracker(None, mlruns)
        tracker.open("slim", {**toy.DOCUMENT, "study": STUDY, "metrics": METRICS})
        for seed in (1, 2):
            folder = toy.artifacts(tmp_path / f"slim-{seed}", seed)
            values = pd.DataFrame({"first": [0.5, seed], "other": [1.0, 2.0]})
            values.to_parquet(folder / "scores.parquet")
            pd.DataFrame({"height": [1.5, 1.8], "weight": [60.0, 80.0], "subject": [1.0, 2.0]}).to_parquet(
                folder / "conditions.parquet"
            )
            toy.run(tracker, toy.spec("slim", "hybrid", seed), folder)
        tracker.close("slim", finished=True)
        said = dvc.snapshot("slim", clone, mlruns, reports_only=True)
        assert said.startswith("slim: 2 runs and 0 models")
        assert "other, slim, toy in" in said
        return clone

    def test_what_the_report_reads_comes_back_and_the_rest_does_not(self, slim: Path) -> None:
        before = MlflowTracker(None, slim / "mlruns").records("slim")
        _artifact_repos_cache.clear()
        said = dvc.restore(slim, slim / "elsewhere")
        assert said.splitlines()[1:] == ["slim: 2 runs and 0 models restored", "toy: 6 runs and 2 models restored"]
        tracker = MlflowTracker(None, slim / "elsewhere")
        assert tracker.records("slim") == before
        for record in before:
            table = tracker.artifact(record.run_id, "scores.parquet")
            assert table is not None
            assert pd.read_parquet(table).to_dict("list") == {"first": [0.5, record.seed]}
            conditions = tracker.artifact(record.run_id, "conditions.parquet")
            assert conditions is not None
            assert list(pd.read_parquet(conditions)) == ["height", "subject"]
            pictures = tracker.artifact(record.run_id, "examples.npz")
            assert (pictures is not None) == (record.seed == 2)  # the study's first seed
            assert tracker.artifact(record.run_id, "model") is None
            assert len(tracker.history(record.run_id)) == 3
        assert len(tracker.records("toy")) == 6  # the plain part of the snapshot

    def test_text_that_reaches_for_other_files_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "mlflow.sql").write_text(f"ATTACH '{tmp_path / 'other.db'}' AS other; CREATE TABLE other.t (x);")
        with pytest.raises(InputError, match="no database of a snapshot"):
            slimming.from_text(tmp_path)
        assert not (tmp_path / "other.db").exists()

    def test_the_store_itself_keeps_everything(self, slim: Path) -> None:
        tracker = MlflowTracker(None, slim / "mlruns")
        table = tracker.artifact(tracker.records("slim")[0].run_id, "scores.parquet")
        assert table is not None
        assert list(pd.read_parquet(table)) == ["first", "other"]

    def test_again_and_whole(self, slim: Path) -> None:
        assert "other, slim, toy in" in dvc.snapshot("slim", slim, slim / "mlruns", reports_only=True)
        said = dvc.snapshot("slim", slim, slim / "mlruns")
        assert said.startswith("slim: 2 runs and 1 models")
        assert "other, slim, toy in" in said


class TestArchive:
    def test_round_trip_with_the_same_bytes(self, tmp_path: Path) -> None:
        (tmp_path / "in" / "deep").mkdir(parents=True)
        (tmp_path / "in" / "deep" / "file").write_bytes(b"content")
        for name in ("a.tar.xz", "b.tar.xz"):
            archive.pack(tmp_path / "in", tmp_path / name)
            os.utime(tmp_path / "in" / "deep" / "file", (0, 0))
        assert (tmp_path / "a.tar.xz").read_bytes() == (tmp_path / "b.tar.xz").read_bytes()
        archive.unpack(tmp_path / "a.tar.xz", tmp_path / "out")
        assert (tmp_path / "out" / "deep" / "file").read_bytes() == b"content"

    def test_a_damaged_one_and_one_that_reaches_out_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "file").write_bytes(bytes(range(256)) * 100)
        archive.pack(tmp_path / "in", tmp_path / "a.tar.xz")
        whole = (tmp_path / "a.tar.xz").read_bytes()
        (tmp_path / "a.tar.xz").write_bytes(whole[: len(whole) // 2])
        with tarfile.open(tmp_path / "b.tar.xz", "w:xz") as hostile:
            hostile.addfile(tarfile.TarInfo("../outside"))
        for name in ("a.tar.xz", "b.tar.xz"):
            with pytest.raises(InputError, match="cannot be unpacked"):
                archive.unpack(tmp_path / name, tmp_path / "out")
        assert not (tmp_path / "outside").exists()


def _mentions(folder: Path, text: str) -> list[Path]:
    return [f for f in folder.rglob("*") if f.is_file() and text.encode() in f.read_bytes()]


def _rows(mlruns: Path) -> dict[str, list[tuple[object, ...]]]:
    with closing(sqlite3.connect(mlruns / "mlflow.db")) as store:
        return {table: store.execute(f"SELECT * FROM {table}").fetchall() for table in ["experiments", *stores.COPIED]}


@pytest.fixture(scope="module")
def source(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A filled store that no test writes to."""
    folder = tmp_path_factory.mktemp("source")
    mlruns = new_store(empty_store, folder)
    fill(mlruns, "toy", folder)
    return mlruns


class TestMerging:
    """The rows alone, without DVC."""

    @pytest.fixture
    def growing(self, source: Path, new_mlruns: NewStore, tmp_path: Path) -> Path:
        """A store of the same study that a test may change."""
        mlruns = new_mlruns(tmp_path / "growing")
        stores.copy_study("toy", source, mlruns)
        _artifact_repos_cache.clear()  # MLflow remembers by run id, in this process, where a run's artifacts lay
        return mlruns

    @pytest.fixture
    def target(self, new_mlruns: NewStore, tmp_path: Path) -> Path:
        return new_mlruns(tmp_path / "target")

    def test_another_study_with_the_same_experiment_id_stays(self, source: Path, target: Path) -> None:
        mine = MlflowTracker(None, target)
        mine.open("mine", toy.DOCUMENT)
        own = toy.run(mine, toy.spec("mine"))
        stores.copy_study("toy", source, target)
        assert [record.run_id for record in mine.records("mine")] == [own]
        assert mine.records("toy") == MlflowTracker(None, source).records("toy")
        ids = [mine.client.get_experiment_by_name(name).experiment_id for name in ("mine", "toy")]
        assert ids == ["1", "2"]
        assert {run.info.experiment_id for run in mine.client.search_runs(["2"])} == {"2"}
        assert len(mine.client.search_logged_models(["2"])) == 4

    def test_the_same_study_keeps_its_own_runs_parent_and_place(self, source: Path, target: Path) -> None:
        theirs = MlflowTracker(None, source)
        mine = MlflowTracker(None, target)
        mine.open("toy", {**toy.DOCUMENT, "created": "mine"})
        newer = toy.run(mine, toy.spec("toy", "hybrid", 9))
        mine.close("toy", finished=True)
        stores.copy_study("toy", source, target)
        fresh = MlflowTracker(None, target)
        assert [r.run_id for r in fresh.records("toy")] == [*(r.run_id for r in theirs.records("toy")), newer]
        experiment = mine.client.get_experiment_by_name("toy").experiment_id
        parents = mine.client.search_runs([experiment], "tags.`ablate.role` = 'study'")
        assert len(parents) == 1
        children = mine.client.search_runs([experiment], f"tags.mlflow.parentRunId = '{parents[0].info.run_id}'")
        assert len(children) == len(fresh.records("toy"))
        assert fresh.document("toy") == {**toy.DOCUMENT, "created": "mine"}  # closed after theirs
        datasets = {i.dataset.name for run in children for i in run.inputs.dataset_inputs}
        assert datasets == {"toy.npz (train)", "toy.npz (test)", "toy.npz (validation)"}
        assert all(len(run.inputs.dataset_inputs) == 2 for run in children)

    @pytest.mark.parametrize("known", [True, False])
    def test_a_document_closed_later_comes_with_the_snapshot(self, growing: Path, target: Path, known: bool) -> None:
        mine = MlflowTracker(None, target)
        if known:
            stores.copy_study("toy", growing, target)
        else:
            mine.open("toy", {**toy.DOCUMENT, "created": "mine"})
            mine.close("toy", finished=True)
        theirs = MlflowTracker(None, growing)
        amended = {**toy.DOCUMENT, "amendments": [{"date": "2025-02-03", "what": "seed 6"}]}
        theirs.open("toy", amended)
        toy.run(theirs, toy.spec("toy", "plain", 6))
        theirs.close("toy", finished=True)
        stores.copy_study("toy", growing, target)
        assert mine.document("toy") == amended
        assert mine.records("toy") == theirs.records("toy")

    def test_a_run_discarded_here_stays_discarded(self, source: Path, target: Path) -> None:
        stores.copy_study("toy", source, target)
        tracker = MlflowTracker(None, target)
        first, *rest = tracker.records("toy")
        tracker.discard([first.run_id])
        assert stores.copy_study("toy", source, target) == stores.Copied(0, 0)
        assert tracker.records("toy") == rest

    def test_a_study_deleted_here_comes_back(self, source: Path, target: Path) -> None:
        stores.copy_study("toy", source, target)
        tracker = MlflowTracker(None, target)
        records = tracker.records("toy")
        tracker.client.delete_experiment(tracker.client.get_experiment_by_name("toy").experiment_id)
        assert tracker.records("toy") == []
        stores.copy_study("toy", source, target)
        assert MlflowTracker(None, target).records("toy") == records

    def test_dropping_leaves_no_row_and_no_file(self, growing: Path) -> None:
        tracker = MlflowTracker(None, growing)
        tracker.open("other", toy.DOCUMENT)
        toy.run(tracker, toy.spec("other"))
        stores.drop_study("toy", growing)
        assert len(tracker.records("other")) == 1
        assert tracker.document("other") == toy.DOCUMENT
        stores.drop_study("other", growing)
        assert {table: rows for table, rows in _rows(growing).items() if rows and table != "experiments"} == {}
        assert list((growing / "artifacts").iterdir()) == []

    def test_an_empty_copy_of_a_schema_is_a_store(self, source: Path, tmp_path: Path) -> None:
        stores.create(tmp_path / "new" / "mlruns", views.database(source))
        tracker = MlflowTracker(None, tmp_path / "new" / "mlruns")
        tracker.open("fresh", toy.DOCUMENT)
        assert tracker.document("fresh") == toy.DOCUMENT
        assert not _mentions(tmp_path / "new", str(source))


class TestRefusals:
    def refusal(self, study: str, root: Path, mlruns: Path) -> str:
        with pytest.raises(InputError) as caught:
            dvc.snapshot(study, root, mlruns)
        assert not (root / "mlruns.dvc").exists()
        return str(caught.value)

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        (tmp_path / ".git").mkdir()
        (tmp_path / ".dvc").mkdir()
        (tmp_path / ".dvc" / "config").write_text("")
        return tmp_path

    def test_no_repository(self, tmp_path: Path, mlruns: Path) -> None:
        said = self.refusal("toy", tmp_path, mlruns)
        assert "git init" in said
        assert "dvc init" in said

    def test_no_store_or_no_such_study(self, root: Path, mlruns: Path, tmp_path: Path) -> None:
        assert "no local tracking store" in self.refusal("toy", root, tmp_path / "elsewhere")
        tracker = MlflowTracker(None, mlruns)
        tracker.open("toy", toy.DOCUMENT)
        assert "toy" in self.refusal("tyo", root, mlruns)
        assert "no run" in self.refusal("toy", root, mlruns)

    def test_another_at_work_for_long(self, root: Path, mlruns: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fill(mlruns, "toy", root)
        monkeypatch.setattr(snapshot_dvc, "OTHERS_S", 0.01)
        with snapshot_dvc.alone(root):
            assert "another `ablate snapshot`" in self.refusal("toy", root, mlruns)
        assert (root / ".dvc" / "config").read_text() == ""

    def test_nothing_to_restore(self, root: Path) -> None:
        with pytest.raises(InputError, match=r"mlruns\.dvc: no snapshot"):
            dvc.restore(root, root / "mlruns")
        assert not (root / "mlruns").exists()
