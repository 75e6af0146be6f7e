"""Increments beside what a snapshot has, stores at work, damaged storage, a person's own remote for models."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import toy_runs as toy
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

from ablate.edges import archive, slimming
from ablate.edges import snapshot as snapshots
from ablate.edges import snapshot_parts as parts
from ablate.edges import snapshot_store as stores
from ablate.edges import snapshot_views as views
from ablate.edges.tracking import MlflowTracker
from ablate.study import InputError

NewStore = Callable[[Path], Path]
STUDY = {
    "name": "slim",
    "question": "Is it small?",
    "baseline": "hybrid",
    "seeds": [1, 2, 3],
    "metrics": ["error"],
    "catalogue": "toy:METRICS",
    "settings": {},
    "arms": {"hybrid": {}, "plain": {}},
    "report": {"conditions": {"height": {}}, "gallery": "toy:draw"},
}
METRICS = {"error": {"label": "Error", "unit": "", "direction": "lower", "reduction": "mean", "column": "error"}}
DOCUMENT = {**toy.DOCUMENT, "study": STUDY, "metrics": METRICS}
HEIGHTS = np.random.default_rng(0).random(2000).astype(np.float32)  # the examples are the same in every run


def tables(folder: Path, arm: str, seed: int) -> Path:
    toy.artifacts(folder, seed)
    errors = np.random.default_rng([seed, len(arm)]).random(2000).astype(np.float32)
    pd.DataFrame({"height": HEIGHTS, "error": errors}).to_parquet(folder / "scores.parquet")
    return folder


def add(tracker: MlflowTracker, scratch: Path, *cells: tuple[str, int], finished: bool = True) -> list[str]:
    """Run these cells of the study as `ablate run` would, and close it."""
    tracker.open("slim", DOCUMENT)
    ids = [toy.run(tracker, toy.spec("slim", a, s), tables(scratch / f"{a}-{s}", a, s)) for a, s in cells]
    tracker.close("slim", finished=finished)
    return ids


@pytest.fixture
def tracker(new_mlruns: NewStore, tmp_path: Path) -> MlflowTracker:
    tracker = MlflowTracker(None, new_mlruns(tmp_path / "home"))
    add(tracker, tmp_path, ("hybrid", 1), ("hybrid", 2))
    return tracker


def plain_copy(tracker: MlflowTracker, staged: Path) -> None:
    with views.still(tracker.root) as rows:
        stores.create(staged, rows, portable=True)
        stores.copy_study("slim", tracker.root, staged, rows=rows, statuses=parts.ENDED, portable=True)


def restored(staged: Path, mlruns: Path) -> MlflowTracker:
    for study, store in parts.studies(staged):
        if not views.database(mlruns).is_file():
            stores.create(mlruns, views.database(store))
        stores.copy_study(study, store, mlruns)
    _artifact_repos_cache.clear()
    return MlflowTracker(None, mlruns)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("packed", [False, True])
class TestIncrement:
    @pytest.fixture
    def staged(self, tracker: MlflowTracker, tmp_path: Path, packed: bool) -> Path:
        staged = tmp_path / "staged" / "mlruns"
        staged.mkdir(parents=True)
        if packed:
            parts.pack("slim", tracker.root, staged)
        else:
            plain_copy(tracker, staged)
        return staged

    def test_what_is_there_stays_and_the_new_runs_lie_beside(
        self, tracker: MlflowTracker, staged: Path, tmp_path: Path
    ) -> None:
        before = contents(staged)
        add(tracker, tmp_path, ("plain", 1), ("plain", 2))
        assert parts.pack_increment("slim", tracker.root, staged) == stores.Copied(2, 0)
        after = contents(staged)
        assert {name: after[name] for name in before} == before
        assert after.keys() - before.keys() == {"slim+1.tar.xz"}
        assert parts.held(staged) == ["slim"]
        # 2 runs with 2000 errors of 4 bytes each; their heights are those of an earlier run
        assert len(after["slim+1.tar.xz"]) < 2 * 2000 * 4 + 16_000

        add(tracker, tmp_path, ("plain", 3))
        parts.pack_increment("slim", tracker.root, staged)
        there = restored(staged, tmp_path / "away")
        assert there.records("slim") == tracker.records("slim")
        for record in there.records("slim"):
            table, original = (t.artifact(record.run_id, "scores.parquet") for t in (there, tracker))
            assert table is not None
            assert original is not None
            pd.testing.assert_frame_equal(pd.read_parquet(table), pd.read_parquet(original))
            assert len(there.history(record.run_id)) == 3

    def test_nothing_new_makes_nothing(self, tracker: MlflowTracker, staged: Path) -> None:
        before = contents(staged)
        tracker.open("slim", DOCUMENT)
        tracker.close("slim", finished=True)
        assert parts.pack_increment("slim", tracker.root, staged) == stores.Copied(0, 0)
        assert contents(staged) == before

    def test_runs_done_again_later_scores_and_amendments_come_too(
        self, tracker: MlflowTracker, staged: Path, tmp_path: Path
    ) -> None:
        first, second = tracker.records("slim")
        tracker.discard([first.run_id])
        tracker.add_scores([second.run_id], {"external/other/error": 3.5})
        again = toy.run(tracker, toy.spec("slim", "hybrid", 1), tables(tmp_path / "again", "hybrid", 1))
        amended = {**DOCUMENT, "amendments": [{"date": "2025-02-03", "what": "seed 1 again"}]}
        tracker.open("slim", amended)
        tracker.close("slim", finished=True)
        parts.pack_increment("slim", tracker.root, staged)
        there = restored(staged, tmp_path / "away")
        assert [r.run_id for r in there.records("slim")] == [second.run_id, again]
        assert there.records("slim")[0].scores["external/other/error"] == 3.5
        assert there.document("slim") == amended
        assert (there.artifact(second.run_id, "model") is None) == (staged / "slim.tar.xz").is_file()
        assert parts.pack_increment("slim", tracker.root, staged) == stores.Copied(0, 0)


class TestWhatItRefuses:
    def test_tables_that_lead_elsewhere_or_do_not_fit(self, tmp_path: Path) -> None:
        (tmp_path / "new").mkdir()
        (tmp_path / "earlier").mkdir()
        pd.DataFrame({"b": [1.0]}).to_parquet(tmp_path / "new" / "t.parquet")
        pd.DataFrame({"a": [1.0, 2.0]}).to_parquet(tmp_path / "earlier" / "t.parquet")
        for name, like in (("../t.parquet", "t.parquet"), ("t.parquet", "../../etc/passwd")):
            with pytest.raises(InputError, match="leads out"):
                slimming.unshare(tmp_path / "new", tmp_path / "earlier", {name: {"like": like, "order": ["a", "b"]}})
        for rule in ({"like": "t.parquet", "order": ["a", "b"]}, {"like": "gone.parquet", "order": ["a"]}):
            with pytest.raises(InputError, match="cannot be completed"):
                slimming.unshare(tmp_path / "new", tmp_path / "earlier", {"t.parquet": rule})

    def test_a_store_whose_artifacts_lie_elsewhere(self, tracker: MlflowTracker, tmp_path: Path) -> None:
        staged = tmp_path / "staged" / "mlruns"
        plain_copy(tracker, staged)
        views.check_foreign(staged, ["slim"], "it")
        (tmp_path / "secret" / "artifacts").mkdir(parents=True)
        for change in (
            f"UPDATE runs SET artifact_uri = '{tmp_path}/secret/artifacts'",
            "UPDATE runs SET artifact_uri = 'mlruns/artifacts/../../secret/artifacts'",
            "UPDATE runs SET run_uuid = '../../' || substr(run_uuid, 7)",
            "UPDATE logged_models SET artifact_location = 'file:///etc'",
            "UPDATE experiments SET name = '../slim' WHERE name = 'slim'",
        ):
            shutil.copy(views.database(staged), tmp_path / "kept.db")
            with closing(sqlite3.connect(views.database(staged))) as store, store:
                store.execute(change)
            with pytest.raises(InputError):
                views.check_foreign(staged, views.studies(staged), "it")
            shutil.copy(tmp_path / "kept.db", views.database(staged))

    def test_text_that_computes(self, tmp_path: Path) -> None:
        endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) INSERT INTO t SELECT i FROM n;"
        for text in (endless, "INSERT INTO t VALUES (zeroblob(1000000000));", "CREATE VIEW v AS SELECT 1;"):
            (tmp_path / "mlflow.sql").write_text(f"CREATE TABLE t (x);{text}")
            with pytest.raises(InputError, match="no database of a snapshot"):
                slimming.from_text(tmp_path)
            (tmp_path / "mlflow.db").unlink()

    def test_an_archive_that_explodes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "zeros").write_bytes(bytes(20 * 2**20))
        archive.pack(tmp_path / "in", tmp_path / "a.tar.xz")
        assert (tmp_path / "a.tar.xz").stat().st_size < 20_000
        monkeypatch.setattr(archive, "RATIO_FREE_BYTES", 2**20)
        with pytest.raises(InputError, match="too much"):
            archive.unpack(tmp_path / "a.tar.xz", tmp_path / "out")
        assert not (tmp_path / "out").exists()
        (tmp_path / "links").mkdir()
        with archive.tarfile.open(tmp_path / "b.tar.xz", "w:xz") as hostile:
            link = archive.tarfile.TarInfo("link")
            link.type, link.linkname = archive.tarfile.SYMTYPE, "target"
            hostile.addfile(link)
        with pytest.raises(InputError, match="no plain file"):
            archive.unpack(tmp_path / "b.tar.xz", tmp_path / "links")
        assert list((tmp_path / "links").iterdir()) == []


class TestAtWork:
    def test_only_ended_runs_whole_ones_and_the_study_closed(self, tracker: MlflowTracker, tmp_path: Path) -> None:
        tracker.open("slim", DOCUMENT)
        tracker.log_epoch(tracker.start(toy.spec("slim", "plain", 1)), {"epoch": 1.0, "train/loss": 1.0})
        tracker.kill(tracker.start(toy.spec("slim", "plain", 2)))
        staged = tmp_path / "staged" / "mlruns"
        plain_copy(tracker, staged)
        there = restored(staged, tmp_path / "away")
        assert [record.status for record in there.records("slim")] == ["FINISHED", "FINISHED"]
        with closing(sqlite3.connect(views.database(tmp_path / "away"))) as store:
            assert set(store.execute("SELECT status FROM runs")) == {("FINISHED",), ("FAILED",)}
        with closing(sqlite3.connect(views.database(tracker.root))) as store:  # the store itself is left as it was
            assert store.execute("SELECT count(*) FROM runs WHERE status = 'RUNNING'").fetchone() == (2,)

    def test_while_a_driver_records_runs(self, tracker: MlflowTracker, tmp_path: Path) -> None:
        stop, failures = threading.Event(), []

        def work() -> None:
            mine = MlflowTracker(None, tracker.root)
            mine.open("slim", DOCUMENT)
            for seed in range(10, 200):
                try:
                    toy.run(mine, toy.spec("slim", "plain", seed), tables(tmp_path / f"run-{seed}", "plain", seed))
                except Exception as error:
                    failures.append(error)
                if failures or stop.is_set():
                    return

        driver = threading.Thread(target=work)
        driver.start()
        counts = []
        for number in range(3):
            staged = tmp_path / f"staged-{number}" / "mlruns"
            plain_copy(tracker, staged)
            there = restored(staged, tmp_path / f"away-{number}")
            records = there.records("slim")
            counts.append(len(records))
            for record in records:
                assert record.status == "FINISHED"
                assert record.scores["test/error"] == 1.25
                assert len(there.history(record.run_id)) == 3
                assert there.artifact(record.run_id, "scores.parquet") is not None
                assert there.artifact(record.run_id, "model") is not None
        stop.set()
        driver.join()
        assert failures == []
        assert counts[-1] > counts[0]


@pytest.fixture
def repository(tracker: MlflowTracker, tmp_path: Path) -> Path:
    """A git and DVC repository with the study `slim` in its store."""
    root = tmp_path / "home"
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=root, check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=root, check=True)
    return root


def copied(repository: Path, to: Path) -> Path:
    """What a clone would have."""
    to.mkdir()
    for name in ("mlruns.dvc", "mlruns-models.dvc", ".dvc/config"):
        if (repository / name).is_file():
            (to / name).parent.mkdir(exist_ok=True)
            shutil.copy(repository / name, to / name)
    shutil.copytree(repository / ".dvc" / "storage", to / ".dvc" / "storage")
    return to


class TestStorage:
    def test_a_flipped_byte_is_found_and_named_and_nothing_is_merged(self, repository: Path, tmp_path: Path) -> None:
        snapshots.snapshot("slim", repository, repository / "mlruns", reports_only=True)
        root = copied(repository, tmp_path / "clone")
        (listing,) = root.glob(".dvc/storage/files/md5/*/*.dir")
        (entry,) = json.loads(listing.read_text())
        damaged = root / ".dvc/storage/files/md5" / entry["md5"][:2] / entry["md5"][2:]
        whole = damaged.read_bytes()
        for file, said in ((damaged, r"slim\.tar\.xz: is damaged"), (listing, "list of its files: is damaged")):
            content = bytearray(file.read_bytes())
            content[len(content) // 2] ^= 1
            file.chmod(0o644)
            file.write_bytes(content)
            with pytest.raises(InputError, match=said):
                snapshots.restore(root, root / "mlruns")
            assert not (root / "mlruns").exists()
            damaged.write_bytes(whole)
        damaged.unlink()
        shutil.copy(next(repository.glob(".dvc/storage/files/md5/*/*.dir")), listing)
        with pytest.raises(InputError, match="is missing"):
            snapshots.restore(root, root / "mlruns")
        damaged.write_bytes(whole)
        assert snapshots.restore(root, root / "mlruns") == "slim: 2 runs and 0 models restored"

    def test_models_go_to_the_remote_a_person_has_chosen(self, repository: Path, tmp_path: Path) -> None:
        remote = tmp_path / "remote"
        command = [sys.executable, "-m", "dvc", "remote", "add", "-q", "-d", "mine", str(remote)]
        subprocess.run(command, cwd=repository, check=True)
        said = snapshots.snapshot("slim", repository, repository / "mlruns")
        assert "1 models were added" in said
        assert "git add mlruns.dvc mlruns-models.dvc .dvc" in said
        first = MlflowTracker(None, repository / "mlruns").records("slim")[0]  # of each arm the first seed's is kept
        model = MlflowTracker(None, repository / "mlruns").artifact(first.run_id, "model")
        assert model is not None
        weights = (model / "weights.safetensors").read_bytes()
        stored = [file.read_bytes() for file in (repository / ".dvc" / "storage").rglob("*") if file.is_file()]
        assert weights not in stored
        assert weights in [file.read_bytes() for file in remote.rglob("*") if file.is_file()]

        root = copied(repository, tmp_path / "clone")
        remote.rename(tmp_path / "away")
        said = snapshots.restore(root, root / "mlruns")
        assert said.startswith("slim: 2 runs and 1 models restored\n1 models are absent: ")
        _artifact_repos_cache.clear()
        there = MlflowTracker(None, root / "mlruns")
        assert there.artifact(first.run_id, "scores.parquet") is not None
        assert there.artifact(first.run_id, "model") is None
        (tmp_path / "away").rename(remote)
        assert snapshots.restore(root, root / "mlruns") == "slim: 0 runs and 0 models restored"
        model = there.artifact(first.run_id, "model")
        assert model is not None
        assert (model / "weights.safetensors").read_bytes() == weights
