"""A study in one file: the same bytes for the same runs, and a damaged or malicious file is refused."""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import random
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from toy_study import bundles, contents, filled

from ablate.archive import bundle, zip_archive
from ablate.study import InputError

Change = Callable[[dict[str, bytes]], object]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scratch = tmp_path_factory.mktemp("source")
    return bundles(filled(scratch / "runs"), scratch / "bundles")


@pytest.fixture(scope="module")
def exported(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("exported") / "toy.zip"
    zip_archive.pack("toy", folder, file)
    return file


@pytest.mark.parametrize("name", ["toy.zip", "toy.zip.xz"])
def test_unpacking_gives_what_was_packed_and_packing_the_same_bytes(folder: Path, tmp_path: Path, name: str) -> None:
    for number in "12":
        (tmp_path / number).mkdir()
        zip_archive.pack("toy", folder, tmp_path / number / name)
    assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()
    with zip_archive.unpacked(tmp_path / "1" / name) as (study, out):
        assert study == "toy"
        assert contents(out) == contents(folder)


def test_anyone_can_open_it(exported: Path) -> None:
    with zipfile.ZipFile(exported) as archive:
        runs = [json.loads(archive.read(name)) for name in archive.namelist() if name.endswith("/run.json")]
        digests = json.loads(archive.read("manifest.json"))["files"]
        assert {name: hashlib.sha256(archive.read(name)).hexdigest() for name in digests} == digests
    assert sorted(run["record"]["seed"] for run in runs) == [1, 2, 3, 101]


def test_a_file_that_cannot_be_written_is_reported(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        zip_archive.pack("toy", folder, tmp_path / "no" / "where.zip")


def rewritten(file: Path, to: Path, change: Change, *, digests: bool = True) -> Path:
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


def manifest_with(**changes: object) -> Change:
    def change(content: dict[str, bytes]) -> None:
        content["manifest.json"] = json.dumps({**json.loads(content["manifest.json"]), **changes}).encode()

    return change


def first(content: dict[str, bytes], name: str) -> str:
    return next(each for each in sorted(content) if each.endswith(name))


def run_with(**changes: object) -> Change:
    """The first run, with these values replaced."""

    def change(content: dict[str, bytes]) -> None:
        name = first(content, "run.json")
        content[name] = json.dumps({**json.loads(content[name]), **changes}).encode()

    return change


class TestRefused:
    """Members that lead out of the folder, links, bombs and names that come twice: see tests/hostile."""

    def refused(self, file: Path, tmp_path: Path) -> str:
        before = set(tmp_path.rglob("*"))
        with pytest.raises(InputError) as caught, zip_archive.unpacked(file):
            pass
        assert set(tmp_path.rglob("*")) == before
        return str(caught.value)

    @pytest.mark.parametrize(
        "name", ["other/x", "mlruns/mlflow.db", "runs/x/run.json", f"runs/{'0' * 32}/more", f"runs/{'0' * 32}"]
    )
    def test_files_that_no_bundle_has(self, exported: Path, tmp_path: Path, name: str) -> None:
        file = rewritten(exported, tmp_path / "a.zip", lambda content: content.update({name: b"{}"}))
        assert "is no file of a study's bundles" in self.refused(file, tmp_path)

    def test_an_xz_bomb(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(zip_archive, "RATIO_FREE_BYTES", 2**20)
        (tmp_path / "a.zip.xz").write_bytes(lzma.compress(bytes(20 * 2**20), preset=0))
        assert "more bytes than allowed" in self.refused(tmp_path / "a.zip.xz", tmp_path)
        (tmp_path / "b.zip.xz").write_bytes(b"no xz")
        assert "cannot be read as an exported study" in self.refused(tmp_path / "b.zip.xz", tmp_path)

    def test_more_files_than_a_study_has(self, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(zip_archive, "MOST_FILES", 3)
        assert "more than 3 files" in self.refused(exported, tmp_path)

    def test_one_that_lies_about_its_size(self, exported: Path, tmp_path: Path) -> None:
        file = rewritten(exported, tmp_path / "a.zip", lambda c: c.update({"runs/zeros": bytes(200_000)}))
        data = file.read_bytes()
        honest = (200_000).to_bytes(4, "little")
        assert data.count(honest) == 2  # the local header and the directory
        file.write_bytes(data.replace(honest, (7).to_bytes(4, "little")))
        assert "cannot be read" in self.refused(file, tmp_path)

    def test_files_that_the_manifest_does_not_name(self, exported: Path, tmp_path: Path) -> None:
        added = rewritten(exported, tmp_path / "a.zip", lambda c: c.update({"runs/more": b""}), digests=False)
        assert "each once" in self.refused(added, tmp_path)

    def test_changed_bytes(self, exported: Path, tmp_path: Path) -> None:
        def flip(content: dict[str, bytes]) -> None:
            name = first(content, "scores.parquet")
            content[name] = content[name][:-9] + b"x" + content[name][-8:]

        damaged = rewritten(exported, tmp_path / "a.zip", flip, digests=False)
        assert "scores.parquet: is damaged" in self.refused(damaged, tmp_path)
        whole = exported.read_bytes()
        for number, data in enumerate((whole[: len(whole) // 2], b"", b"PK\x03\x04 no archive", bytes(100))):
            (tmp_path / f"{number}.zip").write_bytes(data)
            said = self.refused(tmp_path / f"{number}.zip", tmp_path)
            # half of it may end in a run's own archive of arrays, which is a whole zip without a manifest
            assert "cannot be read as an exported study" in said or "manifest.json: is missing" in said

    def test_any_changed_byte_is_an_input_error_or_changes_nothing(
        self, exported: Path, folder: Path, tmp_path: Path
    ) -> None:
        whole, rng = exported.read_bytes(), random.Random(0)
        for position in rng.sample(range(len(whole)), 60):
            flipped = bytearray(whole)
            flipped[position] ^= 1 << rng.randrange(8)
            (tmp_path / "a.zip").write_bytes(flipped)
            with suppress(InputError), zip_archive.unpacked(tmp_path / "a.zip") as (study, out):
                assert study == "toy"  # a time or a flag that nobody reads
                assert contents(out) == contents(folder)

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (manifest_with(schema=2), "newer version"),
            (manifest_with(format=9), "newer version"),
            (manifest_with(study="../toy"), "is not that of the study"),
            (manifest_with(study="other"), "is not that of the study"),
            (manifest_with(study=None), "cannot be read"),
            (manifest_with(files=[]), "cannot be read"),
            (manifest_with(files={"study.json": 1}), "cannot be read"),
            (lambda content: content.update({"manifest.json": b"[" * 100_000}), "cannot be read"),
            (lambda content: content.pop("manifest.json"), "no file that `ablate export` wrote"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_other_versions_and_manifests(self, exported: Path, tmp_path: Path, change: Change, said: str) -> None:
        file = rewritten(exported, tmp_path / "a.zip", change, digests=False)
        assert said in self.refused(file, tmp_path)

    def test_one_of_the_version_before_says_how_to_convert_it(self, exported: Path, tmp_path: Path) -> None:
        file = rewritten(exported, tmp_path / "a.zip", manifest_with(format=1), digests=False)
        said = self.refused(file, tmp_path)
        assert "was exported by ablate 0.1" in said
        assert "`ablate import` it with that version into a store, then `ablate export` the study with this one" in said

    def test_encrypted(self, exported: Path, tmp_path: Path) -> None:
        data = bytearray(exported.read_bytes())
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entry = archive.getinfo("study.json")
        data[entry.header_offset + 6] |= 1
        central = data.index(b"PK\x01\x02", data.rindex(b"study.json") - 46)
        data[central + 8] |= 1
        (tmp_path / "a.zip").write_bytes(data)
        assert "encrypted" in self.refused(tmp_path / "a.zip", tmp_path)

    @pytest.mark.parametrize(
        "change",
        [
            run_with(study="other"),
            run_with(origin="0" * 32),
            run_with(discarded=True),
            run_with(started=-1),
            run_with(ended=2**60),
            run_with(later={"a": 2**60}),
            run_with(params={"a": 1}),
            run_with(record={}),
            run_with(record=[]),
            lambda content: content.update({first(content, "run.json"): b"[" * 100_000}),
            lambda content: content.update({first(content, "run.json"): b"{" + bytes(10)}),
            lambda content: content.update({first(content, "curves.parquet"): b"PAR1"}),
            lambda content: content.update(
                {first(content, "curves.parquet"): content[first(content, "scores.parquet")]}
            ),
        ],
    )
    def test_damaged_runs(self, exported: Path, tmp_path: Path, change: Change) -> None:
        assert "is damaged" in self.refused(rewritten(exported, tmp_path / "a.zip", change), tmp_path)

    def test_curves_that_announce_more_than_memory_holds(
        self, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bundle, "MOST_VALUES", 3)
        assert "announces 3 rows of 3 columns" in self.refused(exported, tmp_path)

    def test_running_runs_and_a_missing_document(self, exported: Path, tmp_path: Path) -> None:
        def running(content: dict[str, bytes]) -> None:
            name = first(content, "run.json")
            said = json.loads(content[name])
            content[name] = json.dumps({**said, "record": {**said["record"], "status": "RUNNING"}}).encode()

        assert "no ended run" in self.refused(rewritten(exported, tmp_path / "a.zip", running), tmp_path)
        file = rewritten(exported, tmp_path / "b.zip", lambda content: content.pop("study.json"))
        assert "must be a readable JSON table" in self.refused(file, tmp_path)
