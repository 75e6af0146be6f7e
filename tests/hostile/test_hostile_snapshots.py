"""What a cloned repository can hold beside the code: snapshots and exports that would write where they like."""

from __future__ import annotations

import hashlib
import io
import json
import stat
import zipfile
from pathlib import Path

import pytest

from ablate.archive import dvc_storage, zip_archive
from ablate.archive.dvc_storage import ARCHIVES, MODELS
from ablate.study import InputError


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "clone"
    (root / ".dvc").mkdir(parents=True)
    (root / ".dvc" / "config").write_text(f"['remote \"mine\"']\n    url = {tmp_path / 'remote'}\n", encoding="utf-8")
    return root


def stored(folder: Path, content: bytes, suffix: str = "") -> str:
    """The content as an object of DVC's; its digest."""
    digest = hashlib.md5(content).hexdigest()
    place = folder / "files" / "md5" / digest[:2] / (digest[2:] + suffix)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return digest


def listing(folder: Path, *names: str) -> str:
    digest = stored(folder, b"evil")
    return stored(folder, json.dumps([{"md5": digest, "relpath": name} for name in names]).encode(), ".dir")


def everything(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if ".dvc" not in path.parts and "remote" not in path.parts}


@pytest.mark.parametrize("name", ["../sprung", "/tmp/sprung", "a/../../sprung"])
def test_a_snapshot_stays_in_its_folder(repository: Path, tmp_path: Path, name: str) -> None:
    digest = listing(repository / dvc_storage.STORAGE, "a.zip.xz", name)
    text = f"outs:\n- md5: {digest}.dir\n  size: 4\n  nfiles: 1\n  hash: md5\n  path: mlruns/snapshot\n"
    text += "  remote: storage\n"
    (repository / "mlruns.dvc").write_text(text, encoding="utf-8")
    before = everything(tmp_path)
    with pytest.raises(InputError, match="leads out of the snapshot"):
        dvc_storage.check_out(ARCHIVES, repository, tmp_path / "staged")
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    "change",
    [
        ("path: mlruns/snapshot-models", "path: ../../sprung"),
        ("path: mlruns/snapshot-models", "path: /tmp/sprung"),
        ("outs:", "wdir: ../..\nouts:"),
        ("outs:", "cmd: mkdir sprung\nouts:"),
        ("outs:", "deps:\n- path: /etc/passwd\nouts:"),
    ],
    ids=["above", "absolute", "folder", "command", "dependency"],
)
def test_models_of_a_snapshot_are_named_and_no_more(repository: Path, tmp_path: Path, change: tuple[str, str]) -> None:
    digest = listing(tmp_path / "remote", "weights")
    text = f"outs:\n- md5: {digest}.dir\n  size: 4\n  nfiles: 1\n  hash: md5\n  path: mlruns/snapshot-models\n"
    text += "  remote: mine\n"
    assert change[0] in text
    (repository / "mlruns-models.dvc").write_text(text.replace(*change), encoding="utf-8")
    with pytest.raises(InputError, match="is not as `ablate snapshot` writes it"):
        dvc_storage.check_out(MODELS, repository, tmp_path / "models")


def test_models_of_a_snapshot_stay_in_their_folder(repository: Path, tmp_path: Path) -> None:
    digest = listing(tmp_path / "remote", "a/weights", "../../sprung")
    text = f"outs:\n- md5: {digest}.dir\n  size: 8\n  nfiles: 2\n  hash: md5\n  path: mlruns/snapshot-models\n"
    text += "  remote: mine\n"
    (repository / "mlruns-models.dvc").write_text(text, encoding="utf-8")
    before = everything(tmp_path)
    with pytest.raises(InputError, match=r"leads out of the snapshot|failed"):
        dvc_storage.check_out(MODELS, repository, tmp_path / "models")
    assert everything(tmp_path) == before


def exported(path: Path, name: str, content: bytes = b"x", *, mode: int = stat.S_IFREG, files: object = None) -> Path:
    """A file as `ablate export` writes it, with one member of this name beside the manifest."""
    digest = hashlib.sha256(content).hexdigest()
    manifest = {"format": 2, "study": "toy", "schema": 1, "files": {name: digest} if files is None else files}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", json.dumps(manifest))
        entry = zipfile.ZipInfo(name)
        entry.external_attr = (mode | 0o644) << 16
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, content)
    return path


def bring_in(file: Path) -> None:
    with zip_archive.unpacked(file):
        pass


class TestExports:
    @pytest.mark.parametrize(
        ("name", "mode"),
        [
            ("../sprung", stat.S_IFREG),
            ("runs/../../sprung", stat.S_IFREG),
            ("/tmp/sprung", stat.S_IFREG),
            ("runs\\..\\sprung", stat.S_IFREG),
            ("runs/link", stat.S_IFLNK),
            ("runs/pipe", stat.S_IFIFO),
        ],
    )
    def test_what_leads_out_is_refused(self, tmp_path: Path, name: str, mode: int) -> None:
        file = exported(tmp_path / "x.zip", name, b"/etc/passwd", mode=mode)
        before = everything(tmp_path)
        with pytest.raises(InputError, match=r"leads out of the export, or is no plain file"):
            bring_in(file)
        assert everything(tmp_path) == before

    def test_zeros_without_end(self, tmp_path: Path) -> None:
        file = exported(tmp_path / "x.zip", "study.json", bytes(200_000_000))
        assert file.stat().st_size < 1_000_000
        with pytest.raises(InputError, match="more bytes than allowed"):
            bring_in(file)

    @pytest.mark.parametrize("files", [[], {"study.json": 1}, "x", {"a": "b"}], ids=str)
    def test_lists_that_are_none(self, tmp_path: Path, files: object) -> None:
        file = exported(tmp_path / "x.zip", "study.json", files=files)
        with pytest.raises(InputError):
            bring_in(file)

    @pytest.mark.parametrize("name", ["mlruns/mlflow.db", "study.json", f"runs/{'0' * 32}/run.json"])
    def test_files_that_are_none(self, tmp_path: Path, name: str) -> None:
        """A database is none that is read, whatever it holds."""
        file = exported(tmp_path / "x.zip", name, b"SQLite format 3\x00" + bytes(200))
        with pytest.raises(InputError):
            bring_in(file)

    def test_a_name_twice(self, tmp_path: Path) -> None:
        file = exported(tmp_path / "x.zip", "study.json")
        stream = io.BytesIO(file.read_bytes())
        with zipfile.ZipFile(stream, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("study.json", b"another")
        file.write_bytes(stream.getvalue())
        with pytest.raises(InputError, match="each once"):
            bring_in(file)
