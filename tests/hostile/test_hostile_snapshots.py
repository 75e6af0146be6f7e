"""What a cloned repository can hold beside the code: snapshots and exports that would write where they like."""

from __future__ import annotations

import hashlib
import io
import json
import stat
import zipfile
from pathlib import Path

import pytest

from ablate.edges import snapshot_dvc, transfer
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
    digest = listing(repository / snapshot_dvc.STORAGE, "mlflow.db", name)
    text = f"outs:\n- md5: {digest}.dir\n  size: 4\n  nfiles: 1\n  hash: md5\n  path: mlruns\n"
    (repository / "mlruns.dvc").write_text(text, encoding="utf-8")
    before = everything(tmp_path)
    with pytest.raises(InputError, match="leads out of the snapshot"):
        snapshot_dvc.check_out(repository, tmp_path / "staged" / "mlruns")
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    "change",
    [
        ("path: mlruns-models", "path: ../../sprung"),
        ("path: mlruns-models", "path: /tmp/sprung"),
        ("outs:", "wdir: ../..\nouts:"),
        ("outs:", "cmd: mkdir sprung\nouts:"),
        ("outs:", "deps:\n- path: /etc/passwd\nouts:"),
    ],
    ids=["above", "absolute", "folder", "command", "dependency"],
)
def test_models_of_a_snapshot_are_named_and_no_more(repository: Path, tmp_path: Path, change: tuple[str, str]) -> None:
    digest = listing(tmp_path / "remote", "weights")
    text = f"outs:\n- md5: {digest}.dir\n  size: 4\n  nfiles: 1\n  hash: md5\n  path: mlruns-models\n  remote: mine\n"
    assert change[0] in text
    (repository / "mlruns-models.dvc").write_text(text.replace(*change), encoding="utf-8")
    with pytest.raises(InputError, match="names no models of a snapshot"):
        snapshot_dvc.pull_models(tmp_path / "models", repository)


def test_models_of_a_snapshot_stay_in_their_folder(repository: Path, tmp_path: Path) -> None:
    digest = listing(tmp_path / "remote", "a/weights", "../../sprung")
    text = f"outs:\n- md5: {digest}.dir\n  size: 8\n  nfiles: 2\n  hash: md5\n  path: mlruns-models\n  remote: mine\n"
    (repository / "mlruns-models.dvc").write_text(text, encoding="utf-8")
    before = everything(tmp_path)
    with pytest.raises(InputError, match=r"leads out of the snapshot|failed"):
        snapshot_dvc.pull_models(tmp_path / "models", repository)
    assert everything(tmp_path) == before


def exported(path: Path, name: str, content: bytes = b"x", *, mode: int = stat.S_IFREG, files: object = None) -> Path:
    """A file as `ablate export` writes it, with one member of this name beside the manifest."""
    digest = hashlib.sha256(content).hexdigest()
    manifest = {"format": 1, "study": "toy", "schema": 1, "files": {name: digest} if files is None else files}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", json.dumps(manifest))
        entry = zipfile.ZipInfo(name)
        entry.external_attr = (mode | 0o644) << 16
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, content)
    return path


class TestExports:
    @pytest.mark.parametrize(
        ("name", "mode"),
        [
            ("../sprung", stat.S_IFREG),
            ("mlruns/../../sprung", stat.S_IFREG),
            ("/tmp/sprung", stat.S_IFREG),
            ("mlruns\\..\\sprung", stat.S_IFREG),
            ("mlruns/link", stat.S_IFLNK),
            ("mlruns/pipe", stat.S_IFIFO),
        ],
    )
    def test_what_leads_out_is_refused(self, tmp_path: Path, name: str, mode: int) -> None:
        file = exported(tmp_path / "x.zip", name, b"/etc/passwd", mode=mode)
        before = everything(tmp_path)
        with pytest.raises(InputError, match=r"leads out of the export, or is no plain file"):
            transfer.bring_in(file, tmp_path / "mlruns")
        assert everything(tmp_path) == before

    def test_zeros_without_end(self, tmp_path: Path) -> None:
        file = exported(tmp_path / "x.zip", "mlruns/mlflow.db", bytes(200_000_000))
        assert file.stat().st_size < 1_000_000
        with pytest.raises(InputError, match="more than is believable"):
            transfer.bring_in(file, tmp_path / "mlruns")

    @pytest.mark.parametrize("files", [[], {"mlruns/mlflow.db": 1}, "x", {"a": "b"}], ids=str)
    def test_lists_that_are_none(self, tmp_path: Path, files: object) -> None:
        file = exported(tmp_path / "x.zip", "mlruns/mlflow.db", files=files)
        with pytest.raises(InputError):
            transfer.bring_in(file, tmp_path / "mlruns")

    def test_a_database_that_is_none(self, tmp_path: Path) -> None:
        file = exported(tmp_path / "x.zip", "mlruns/mlflow.db", b"SQLite format 3\x00" + bytes(200))
        with pytest.raises(InputError):
            transfer.bring_in(file, tmp_path / "mlruns")

    def test_a_name_twice(self, tmp_path: Path) -> None:
        file = exported(tmp_path / "x.zip", "mlruns/mlflow.db")
        stream = io.BytesIO(file.read_bytes())
        with zipfile.ZipFile(stream, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("mlruns/mlflow.db", b"another")
        file.write_bytes(stream.getvalue())
        with pytest.raises(InputError, match="each once"):
            transfer.bring_in(file, tmp_path / "mlruns")
