"""A study moves between stores in one file; a file made to do harm, or damaged, changes nothing."""

from __future__ import annotations

import hashlib
import io
import json
import sqlite3
import stat
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import toy_runs as toy
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

from ablate.edges import snapshot_store as stores
from ablate.edges import transfer
from ablate.edges.tracking import MlflowTracker
from ablate.study import InputError

NewStore = Callable[[Path], Path]


@pytest.fixture(scope="module")
def source(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> MlflowTracker:
    folder = tmp_path_factory.mktemp("source")
    (folder / "mlruns").mkdir()
    (folder / "mlruns" / "mlflow.db").write_bytes(empty_store.read_bytes())
    tracker = MlflowTracker(None, folder / "mlruns")
    tracker.open("toy", toy.DOCUMENT)
    for seed in (1, 2):
        toy.run(tracker, toy.spec("toy", "plain", seed), toy.artifacts(folder / str(seed), seed))
    toy.run(tracker, toy.trial("toy", 0))
    tracker.start(toy.spec("toy", "plain", 3))  # at work
    return tracker


@pytest.fixture(scope="module")
def exported(source: MlflowTracker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("exported") / "toy.zip"
    copied = transfer.export("toy", source.root, file)
    assert (copied.runs, copied.models) == (3, 2)
    return file


def test_it_arrives_whole_joins_what_is_there_and_comes_once(
    exported: Path, source: MlflowTracker, new_mlruns: NewStore, tmp_path: Path
) -> None:
    mlruns = new_mlruns(tmp_path / "away")
    mine = MlflowTracker(None, mlruns)
    mine.open("mine", toy.DOCUMENT)
    own = toy.run(mine, toy.spec("mine"))
    study, copied = transfer.bring_in(exported, mlruns)
    assert (study, copied.runs, copied.models) == ("toy", 3, 2)
    assert transfer.bring_in(exported, mlruns)[1].runs == 0
    _artifact_repos_cache.clear()
    there = MlflowTracker(None, mlruns)
    assert there.records("toy") == [record for record in source.records("toy") if record.status == "FINISHED"]
    assert there.document("toy") == source.document("toy")
    assert [record.run_id for record in there.records("mine")] == [own]
    for record in there.records("toy")[:2]:
        for name in ("scores.parquet", "model/weights.safetensors"):
            root, _, rest = name.partition("/")
            here, original = (tracker.artifact(record.run_id, root) for tracker in (there, source))
            assert here is not None
            assert original is not None
            assert here.is_relative_to(mlruns)
            assert (here / rest).read_bytes() == (original / rest).read_bytes()


def test_a_store_is_there_whole_or_not_at_all(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when it is killed in the midst of making one."""

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(stores, "_copy", die)
        with pytest.raises(KeyboardInterrupt):
            transfer.bring_in(exported, tmp_path)
    assert not (tmp_path / "mlflow.db").exists()
    (tmp_path / "mlflow.db").touch()  # as earlier versions left it
    assert transfer.bring_in(exported, tmp_path)[1].runs == 3
    assert not list(tmp_path.glob("*.partial*"))


def test_two_at_once_into_a_store_that_neither_finds_bring_it_once(exported: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        came = list(pool.map(lambda _: transfer.bring_in(exported, tmp_path)[1].runs, range(2)))
    assert sorted(came) == [0, 3]


def test_an_amended_document_comes_also_from_a_machine_whose_clock_is_behind(
    exported: Path, new_mlruns: NewStore, tmp_path: Path
) -> None:
    there, here = new_mlruns(tmp_path / "there"), new_mlruns(tmp_path / "here")
    for mlruns in (there, here):
        transfer.bring_in(exported, mlruns)
    tracker = MlflowTracker(None, there)
    amended = {**toy.DOCUMENT, "amendments": [{"date": "2025-01-02", "what": "seed 3 added"}]}
    tracker.open("toy", amended)
    tracker.close("toy", finished=True)
    with closing(sqlite3.connect(there / "mlflow.db")) as store, store:
        store.execute("UPDATE runs SET end_time = 1000 WHERE name = 'toy'")
    transfer.export("toy", there, tmp_path / "later.zip")
    for file in (tmp_path / "later.zip", exported):
        transfer.bring_in(file, here)
        assert MlflowTracker(None, here).document("toy") == amended


def test_a_store_is_made_where_there_is_none_and_the_bytes_are_the_same(
    exported: Path, source: MlflowTracker, tmp_path: Path
) -> None:
    transfer.bring_in(exported, tmp_path / "new" / "mlruns")
    assert len(MlflowTracker(None, tmp_path / "new" / "mlruns").records("toy")) == 3
    digests = []
    for number in (1, 2):
        transfer.export("toy", tmp_path / "new" / "mlruns", tmp_path / f"{number}.zip")
        digests.append(hashlib.sha256((tmp_path / f"{number}.zip").read_bytes()).digest())
    assert digests[0] == digests[1]


def rewritten(file: Path, to: Path, change: Callable[[dict[str, bytes]], None], *, digests: bool = True) -> Path:
    """The export with other contents, its manifest brought in line unless the test is about it."""
    with zipfile.ZipFile(file) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    change(content)
    if digests:
        manifest = json.loads(content["manifest.json"])
        manifest["files"] = {n: hashlib.sha256(b).hexdigest() for n, b in content.items() if n != "manifest.json"}
        content["manifest.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return to


def manifest_with(**changes: object) -> Callable[[dict[str, bytes]], None]:
    def change(content: dict[str, bytes]) -> None:
        content["manifest.json"] = json.dumps({**json.loads(content["manifest.json"]), **changes}).encode()

    return change


class TestRefused:
    def refused(self, file: Path, tmp_path: Path) -> str:
        with pytest.raises(InputError) as caught:
            transfer.bring_in(file, tmp_path / "target" / "mlruns")
        assert not (tmp_path / "target").exists()
        return str(caught.value)

    @pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "mlruns/../../outside", "mlruns\\..\\x", "other/x"])
    def test_paths_that_lead_elsewhere(self, exported: Path, tmp_path: Path, name: str) -> None:
        file = rewritten(exported, tmp_path / "a.zip", lambda content: content.update({name: b"owned"}))
        assert "leads out of the export" in self.refused(file, tmp_path)
        assert list(tmp_path.iterdir()) == [file]

    def test_links(self, exported: Path, tmp_path: Path) -> None:
        file = rewritten(exported, tmp_path / "a.zip", lambda content: None)
        link = zipfile.ZipInfo("mlruns/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr(link, "/etc/passwd")
        assert "no plain file" in self.refused(file, tmp_path)

    def test_one_that_explodes(self, exported: Path, tmp_path: Path) -> None:
        file = rewritten(exported, tmp_path / "a.zip", lambda c: c.update({"mlruns/zeros": bytes(128 * 2**20)}))
        assert file.stat().st_size < 2**20
        assert "more than is believable" in self.refused(file, tmp_path)

    def test_one_that_lies_about_its_size(self, exported: Path, tmp_path: Path) -> None:
        file = rewritten(exported, tmp_path / "a.zip", lambda c: c.update({"mlruns/zeros": bytes(200_000)}))
        data = file.read_bytes()
        honest = (200_000).to_bytes(4, "little")
        assert data.count(honest) == 2  # the local header and the directory
        file.write_bytes(data.replace(honest, (7).to_bytes(4, "little")))
        assert "cannot be read" in self.refused(file, tmp_path)

    def test_the_same_name_twice_and_files_that_the_manifest_does_not_name(
        self, exported: Path, tmp_path: Path
    ) -> None:
        file = rewritten(exported, tmp_path / "a.zip", lambda content: None)
        with zipfile.ZipFile(file, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("mlruns/mlflow.db", b"another")
        assert "each once" in self.refused(file, tmp_path)
        added = rewritten(exported, tmp_path / "b.zip", lambda c: c.update({"mlruns/more": b""}), digests=False)
        assert "each once" in self.refused(added, tmp_path)

    def test_changed_bytes(self, exported: Path, tmp_path: Path) -> None:
        def flip(content: dict[str, bytes]) -> None:
            name = next(name for name in content if name.endswith("scores.parquet"))
            content[name] = content[name][:-9] + b"x" + content[name][-8:]

        assert "scores.parquet: is damaged" in self.refused(
            rewritten(exported, tmp_path / "a.zip", flip, digests=False), tmp_path
        )
        whole = exported.read_bytes()
        for number, data in enumerate((whole[: len(whole) // 2], b"", b"PK\x03\x04 no archive", bytes(100))):
            (tmp_path / f"{number}.zip").write_bytes(data)
            said = self.refused(tmp_path / f"{number}.zip", tmp_path)
            # half of it ends in a run's own archive of arrays, which is a whole zip without a manifest
            assert "cannot be read as an exported study" in said or "manifest.json: is missing" in said
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 255
        (tmp_path / "f.zip").write_bytes(flipped)
        self.refused(tmp_path / "f.zip", tmp_path)

    def test_other_versions_and_manifests(self, exported: Path, tmp_path: Path) -> None:
        for number, (change, said) in enumerate(
            (
                (manifest_with(schema=2), "newer version"),
                (manifest_with(format=9), "newer version"),
                (manifest_with(study="../toy"), "is not in it"),
                (manifest_with(study="other"), "is not in it"),
                (manifest_with(study=None), "cannot be read"),
                (lambda content: content.update({"manifest.json": b"[" * 100_000}), "cannot be read"),
                (lambda content: content.pop("manifest.json"), "no file that `ablate export` wrote"),
            )
        ):
            file = rewritten(exported, tmp_path / f"{number}.zip", change, digests=False)
            assert said in self.refused(file, tmp_path)

    def test_what_is_no_database(self, exported: Path, tmp_path: Path) -> None:
        file = rewritten(exported, tmp_path / "a.zip", lambda c: c.update({"mlruns/mlflow.db": b"SQLite format 3\0"}))
        assert "must be an MLflow database" in self.refused(file, tmp_path)
        file = rewritten(exported, tmp_path / "b.zip", lambda content: content.pop("mlruns/mlflow.db"))
        assert "holds no store" in self.refused(file, tmp_path)

    def test_encrypted(self, exported: Path, tmp_path: Path) -> None:
        data = bytearray(exported.read_bytes())
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entry = archive.getinfo("mlruns/mlflow.db")
        data[entry.header_offset + 6] |= 1
        central = data.index(b"PK\x01\x02", data.rindex(b"mlruns/mlflow.db") - 46)
        data[central + 8] |= 1
        (tmp_path / "a.zip").write_bytes(data)
        assert "encrypted" in self.refused(tmp_path / "a.zip", tmp_path)


def test_a_place_that_cannot_be_written_is_told(source: MlflowTracker, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        transfer.export("toy", source.root, tmp_path / "no" / "where.zip")
