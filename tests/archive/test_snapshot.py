"""A study is restored in a clone at another path by git alone, models from the remote of the user; nothing is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import toy_runs as toy
from toy_study import no_progress

from ablate.archive import bundle, dvc_storage
from ablate.archive import snapshot as snapshots
from ablate.archive.collect import collect
from ablate.archive.deliver import absent_models, deliver
from ablate.archive.dvc_storage import ARCHIVES, MODELS
from ablate.study import InputError, Tracker
from ablate.tracking.memory import MemoryTracker

STUDY = {
    "name": "slim",
    "question": "Is it small?",
    "baseline": "hybrid",
    "seeds": [2, 1],
    "metrics": ["error"],
    "catalogue": "toy:METRICS",
    "settings": {},
    "arms": {"hybrid": {}, "plain": {}, "bound": {"reference": True}},
    "report": {"conditions": {"height": {}}, "gallery": "toy:draw"},
}
METRICS = {
    "error": {"label": "Error", "unit": "", "direction": "lower", "reduction": "mean", "column": "first"},
    "other": {"label": "Other", "unit": "", "direction": "lower", "reduction": "mean", "column": "other"},
}


def document(study: str) -> dict[str, Any]:
    return {**toy.DOCUMENT, "study": {**STUDY, "name": study}, "metrics": METRICS}


def add(tracker: Tracker, study: str, scratch: Path, *cells: tuple[str, int]) -> list[str]:
    """Run these cells as `ablate run` would. Their ids."""
    tracker.open(study, document(study))
    ids = []
    for arm, seed in cells:
        folder = toy.artifacts(scratch / f"{study}-{arm}-{seed}", seed)
        pd.DataFrame({"first": [0.5, seed], "other": [1.0, 2.0]}).to_parquet(folder / "scores.parquet")
        conditions = pd.DataFrame({"height": [1.5, 1.8], "weight": [60.0, 80.0], "subject": [1.0, 2.0]})
        conditions.to_parquet(folder / "conditions.parquet")
        ids.append(toy.run(tracker, toy.spec(study, arm, seed), folder, scores={"test/error": float(seed)}))
    tracker.close(study, finished=True)
    return ids


def take(root: Path, study: str, tracker: Tracker, *, reports_only: bool = False) -> str:
    bound = partial(collect, study, tracker, on_progress=no_progress)
    return snapshots.snapshot(study, root, bound, reports_only=reports_only)


def restore(root: Path, tracker: Tracker) -> str:
    """Do what `ablate restore` does; its message in one line."""
    with snapshots.opened(root) as studies:
        wanted = {study: absent_models(study, folder, tracker) for study, folder in studies.items()}
        message = snapshots.put_models(root, studies, wanted)
        added = [
            f"{study}: {bundle.summary(deliver(study, folder, tracker, no_progress))}"
            for study, folder in studies.items()
        ]
    return "; ".join([*added, *([message] if message else [])])


def git(folder: Path, *arguments: str) -> str:
    who = {f"GIT_{role}_{what}": "toy@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **who, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    done = subprocess.run(["git", *arguments], cwd=folder, env=environment, check=True, capture_output=True, text=True)
    return done.stdout


def run_dvc(folder: Path, *arguments: str) -> None:
    environment = {**os.environ, "DVC_SITE_CACHE_DIR": str(folder.parent / "site"), "DVC_NO_ANALYTICS": "1"}
    subprocess.run([sys.executable, "-m", "dvc", *arguments, "-q"], cwd=folder, check=True, env=environment)


def new_repository(root: Path) -> Path:
    root.mkdir(parents=True)
    git(root, "init", "-q", "-b", "main")
    (root / ".dvc").mkdir()  # what `dvc init` writes, without its seconds
    (root / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    (root / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
    (root / ".gitignore").write_text("/mlruns/\n")
    return root


def stored(root: Path) -> dict[str, Path]:
    """The objects in git, by digest."""
    files = [file for file in (root / ".dvc" / "storage").rglob("*") if file.is_file()]
    return {file.parent.name + file.name: file for file in files}


def listed(root: Path, tracked: dvc_storage.Tracked) -> dict[str, str]:
    """The files of a tracked folder, with their digests."""
    digest = (root / tracked.file).read_text().split("md5: ")[1].split("\n")[0]
    return {entry["relpath"]: entry["md5"] for entry in json.loads(stored(root)[digest].read_text())}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> MemoryTracker:
    """The store where the studies were made. No test changes it."""
    tracker, scratch = MemoryTracker(), tmp_path_factory.mktemp("home")
    add(tracker, "whole", scratch, ("hybrid", 2), ("hybrid", 1), ("plain", 1))
    add(tracker, "slim", scratch, ("hybrid", 1), ("hybrid", 2), ("bound", 2))
    tracker.finish(tracker.start(trial := toy.trial("slim", 0, "hybrid")), trial, toy.finished(trial))
    return tracker


@pytest.fixture(scope="module")
def repository(home: MemoryTracker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With one complete study and one for reports only, committed."""
    root = new_repository(tmp_path_factory.mktemp("there") / "repository")
    said = take(root, "whole", home)
    assert said.startswith("whole: 3 runs and 2 models were added to the snapshot, which now holds whole in ")
    assert said.endswith("To share it: git add mlruns.dvc mlruns-models.dvc .dvc && git commit")
    said = take(root, "slim", home, reports_only=True)
    assert said.startswith("slim: 4 runs and 0 models were added to the snapshot, which now holds slim, whole in ")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "snapshot")
    return root


@pytest.fixture
def clone(repository: Path, tmp_path: Path) -> Path:
    git(tmp_path, "clone", "-q", str(repository), "a clone")
    return tmp_path / "a clone"


def test_the_repository_holds_an_archive_a_study_and_the_models(repository: Path) -> None:
    assert git(repository, "status", "--porcelain") == ""
    assert set(listed(repository, ARCHIVES)) == {"whole.zip.xz", "slim.zip.xz"}
    assert {Path(name).parts[0] for name in listed(repository, MODELS)} == {"whole"}
    assert len(listed(repository, MODELS)) == 4  # weights and settings of two
    named = {*listed(repository, ARCHIVES).values(), *listed(repository, MODELS).values()}
    assert {digest for digest in stored(repository) if not digest.endswith(".dir")} == named
    assert sum(digest.endswith(".dir") for digest in stored(repository)) == 2
    assert sum(file.stat().st_size for file in stored(repository).values()) < 100_000


def test_a_clone_at_another_path_has_every_run(clone: Path, home: MemoryTracker) -> None:
    there = MemoryTracker()
    assert restore(clone, there) == "slim: 4 runs and 0 models; whole: 3 runs and 2 models"
    assert restore(clone, there) == "slim: 0 runs and 0 models; whole: 0 runs and 0 models"
    for copy, record in zip(there.records("whole"), home.records("whole"), strict=True):
        assert (copy.name, copy.scores) == (record.name, record.scores)
        assert toy.curves(there, copy.run_id, "whole") == toy.curves(home, record.run_id, "whole")
        tables = [
            tracker.artifact(run, "scores.parquet") for tracker, run in ((there, copy.run_id), (home, record.run_id))
        ]
        assert tables[0]
        assert tables[1]
        pd.testing.assert_frame_equal(*map(pd.read_parquet, tables))
        assert there.artifact(copy.run_id, "run.log") is None
        assert (there.artifact(copy.run_id, "model") is None) == (copy.name == "hybrid-seed2")  # one an arm


def test_reports_only_keeps_what_reports_read(clone: Path) -> None:
    there = MemoryTracker()
    restore(clone, there)
    runs = {(record.phase, record.name): record.run_id for record in there.records("slim")}
    for seed in (1, 2):
        run_id = runs["compare", f"hybrid-seed{seed}"]
        table, conditions = (there.artifact(run_id, name) for name in ("scores.parquet", "conditions.parquet"))
        assert table
        assert pd.read_parquet(table).to_dict("list") == {"first": [0.5, seed]}
        assert conditions
        assert list(pd.read_parquet(conditions)) == ["height", "subject"]
        assert (there.artifact(run_id, "examples.npz") is not None) == (seed == 2)  # the study's first seed
        assert there.artifact(run_id, "model") is None
        assert toy.curves(there, run_id, "slim") == toy.history()
    bound, trial = runs["compare", "bound-seed2"], runs["tune", "hybrid-trial0-seed101"]
    assert [there.artifact(bound, name) for name in ("scores.parquet", "examples.npz")] == [None, None]
    assert toy.curves(there, trial, "slim") == []


def test_dvc_alone_brings_archives_beside_the_store(clone: Path) -> None:
    (clone / "mlruns").mkdir()
    (clone / "mlruns" / "mlflow.db").write_text("the store")
    run_dvc(clone, "pull")
    assert sorted(path.name for path in (clone / "mlruns" / "snapshot").iterdir()) == ["slim.zip.xz", "whole.zip.xz"]
    assert (clone / "mlruns" / "mlflow.db").read_text() == "the store"
    assert git(clone, "status", "--porcelain") == ""


def test_a_clone_adds_its_runs_without_losing_others(clone: Path, tmp_path: Path) -> None:
    mine = MemoryTracker()  # never restored
    add(mine, "whole", tmp_path, ("hybrid", 7), ("plain", 7))
    kept = listed(clone, MODELS)
    said = take(clone, "whole", mine)
    assert said.startswith("whole: 2 runs and 0 models")  # either arm has one
    assert "slim, whole in" in said
    assert listed(clone, MODELS) == kept
    assert take(clone, "whole", mine).startswith("whole: 0 runs and 0 models")
    there = MemoryTracker()
    assert restore(clone, there) == "slim: 4 runs and 0 models; whole: 5 runs and 2 models"
    add(there, "whole", tmp_path / "more", ("plain", 8))
    take(clone, "whole", there, reports_only=True)
    discarded = [run for run in there.stored("whole") if run.record.name in ("plain-seed8", "hybrid-seed1")]
    there.discard([run.record.run_id for run in discarded])
    take(clone, "whole", there)
    (remaining,) = {path.split("/")[1] for path in listed(clone, MODELS)}
    assert remaining not in {run.origin for run in discarded}
    assert restore(clone, MemoryTracker()).endswith("whole: 4 runs and 1 models")


def test_reduced_runs_are_replaced_by_complete_ones_later(clone: Path, home: MemoryTracker) -> None:
    assert take(clone, "slim", home, reports_only=True).startswith("slim: 0 runs and 0 models")
    assert take(clone, "slim", home).startswith("slim: 4 runs and 2 models")
    assert take(clone, "slim", home).startswith("slim: 0 runs and 0 models")
    there = MemoryTracker()
    restore(clone, there)
    table = there.artifact(there.records("slim")[0].run_id, "scores.parquet")
    assert table
    assert list(pd.read_parquet(table)) == ["first", "other"]


def test_two_at_once_keep_both(home: MemoryTracker, tmp_path: Path) -> None:
    """The first two snapshots of a repository, which also add its storage to the configuration."""
    root = new_repository(tmp_path / "root")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda study: take(root, study, home), ("whole", "slim")))
    assert (root / ".dvc" / "config").read_text().count("url = storage") == 1
    assert restore(root, MemoryTracker()) == "slim: 4 runs and 2 models; whole: 3 runs and 2 models"


@pytest.mark.parametrize("step", ["publish", "clean"])
def test_killed_in_between_the_snapshot_before_is_intact(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    mine = MemoryTracker()
    add(mine, "whole", tmp_path, ("hybrid", 7))
    with monkeypatch.context() as patched:
        patched.setattr(dvc_storage, step, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            take(clone, "whole", mine, reports_only=True)
    runs = 3 if step == "publish" else 4
    assert restore(clone, MemoryTracker()).endswith(f"whole: {runs} runs and 2 models")
    take(clone, "whole", mine, reports_only=True)
    named = {*listed(clone, ARCHIVES).values(), *listed(clone, MODELS).values()}
    assert {digest for digest in stored(clone) if not digest.endswith(".dir")} == named


def test_a_flipped_byte_is_reported_and_nothing_is_restored(clone: Path) -> None:
    digests = listed(clone, ARCHIVES)
    listing = stored(clone)[(clone / "mlruns.dvc").read_text().split("md5: ")[1].split("\n")[0]]
    archive = stored(clone)[digests["slim.zip.xz"]]
    for file, said in ((archive, r"slim\.zip\.xz: is damaged"), (listing, "list of its files: is damaged")):
        whole = file.read_bytes()
        file.chmod(0o644)
        file.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
        with pytest.raises(InputError, match=said):
            dvc_storage.check_out(ARCHIVES, clone, clone / "out")
        assert not (clone / "out").exists()
        file.write_bytes(whole)
    archive.unlink()
    with pytest.raises(InputError, match=r"slim\.zip\.xz: is missing"), snapshots.opened(clone):
        pass


def test_models_go_to_the_remote_a_person_has_chosen(home: MemoryTracker, tmp_path: Path) -> None:
    root, remote = new_repository(tmp_path / "root"), tmp_path / "remote"
    config = root / ".dvc" / "config"
    config.write_text(f"{config.read_text()}    remote = mine\n['remote \"mine\"']\n    url = {remote}\n")
    said = take(root, "whole", home)
    assert "whole: 3 runs and 2 models" in said
    assert "Models are on the DVC remote mine." in said
    model = home.artifact(
        next(run.record.run_id for run in home.stored("whole") if run.record.name == "plain-seed1"), "model"
    )
    assert model
    weights = (model / "weights.safetensors").read_bytes()
    assert weights not in [file.read_bytes() for file in stored(root).values()]
    assert weights in [file.read_bytes() for file in remote.rglob("*") if file.is_file()]

    git(root, "add", "-A")
    git(root, "commit", "-qm", "snapshot")
    git(tmp_path, "clone", "-q", str(root), "clone")
    remote.rename(tmp_path / "away")
    there = MemoryTracker()
    said = restore(tmp_path / "clone", there)
    assert said.startswith("whole: 3 runs and 0 models; 2 models are absent: ")
    assert said.endswith("the same command adds them once they are available")
    (tmp_path / "away").rename(remote)
    assert restore(tmp_path / "clone", there) == "whole: 0 runs and 0 models"
    assert sum(run.model for run in there.stored("whole")) == 2


class TestRefusals:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        return new_repository(tmp_path / "root")

    def test_no_repository(self, home: MemoryTracker, tmp_path: Path) -> None:
        with pytest.raises(InputError) as caught:
            take(tmp_path, "whole", home)
        assert "git init" in str(caught.value)
        assert "dvc init" in str(caught.value)
        assert list(tmp_path.iterdir()) == []

    def test_another_snapshot_that_is_still_running(
        self, root: Path, home: MemoryTracker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dvc_storage, "LOCK_TIMEOUT_S", 0.01)
        with dvc_storage.alone(root), pytest.raises(InputError, match="another `ablate snapshot`"):
            take(root, "whole", home)
        assert not (root / "mlruns.dvc").exists()

    def test_nothing_to_restore(self, root: Path) -> None:
        with pytest.raises(InputError, match=r"mlruns\.dvc: no snapshot"), snapshots.opened(root):
            pass

    @pytest.mark.parametrize(
        "of", [lambda root, home: take(root, "whole", home), lambda root, home: restore(root, home)]
    )
    def test_one_of_the_version_before_says_how_to_convert_it(
        self, root: Path, home: MemoryTracker, of: Callable[[Path, Tracker], str]
    ) -> None:
        text = f"outs:\n- md5: {'0' * 32}.dir\n  size: 4\n  nfiles: 1\n  hash: md5\n  path: mlruns\n  remote: storage\n"
        (root / "mlruns.dvc").write_text(text)
        before = sorted(root.rglob("*"))
        with pytest.raises(InputError) as caught:
            of(root, home)
        assert "is a snapshot of ablate 0.1" in str(caught.value)
        assert "`ablate restore` it with that version, remove mlruns.dvc, then `ablate snapshot` every study" in str(
            caught.value
        )
        assert sorted(root.rglob("*")) == before
