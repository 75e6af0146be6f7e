"""The cache of data digests, and when a data file is read again."""

from __future__ import annotations

import hashlib
import os
import time
from multiprocessing.pool import ThreadPool
from pathlib import Path

import pytest

from ablate.study import data_digests


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(data_digests, "SMALL_BYTES", 0)
    return tmp_path / "cache" / "ablate" / "digests"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read."""
    files: list[Path] = []
    file_digest = data_digests.file_digest

    def recording(path: Path) -> str:
        files.append(path)
        return file_digest(path)

    monkeypatch.setattr(data_digests, "file_digest", recording)
    return files


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data file that was last changed a minute ago."""
    file = tmp_path / "data.npz"
    file.write_bytes(b"abc")
    later(monkeypatch)
    return file


def later(monkeypatch: pytest.MonkeyPatch, seconds: float = 60.0) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + seconds)


ABC, ABD = (hashlib.sha256(content).hexdigest() for content in (b"abc", b"abd"))


def test_a_file_is_read_once(old: Path, read: list[Path], cache: Path) -> None:
    assert [data_digests.cached_digest(old) for _ in range(3)] == [ABC] * 3
    assert read == [old]
    assert len(list(cache.iterdir())) == 1
    assert data_digests.cached_digest(old, rehash=True) == ABC
    assert len(read) == 2


def test_another_content_is_read_even_with_the_same_size_and_time(
    old: Path, read: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert data_digests.cached_digest(old) == ABC
    before = old.stat()
    old.write_bytes(b"abd")
    os.utime(old, ns=(before.st_atime_ns, before.st_mtime_ns))  # ctime cannot be set
    assert data_digests.cached_digest(old) == ABD
    later(monkeypatch)
    other = old.with_name("other.npz")
    other.write_bytes(b"abc")
    other.replace(old)
    assert data_digests.cached_digest(old) == ABC
    assert len(read) == 3


def test_a_file_that_just_changed_is_not_cached(
    tmp_path: Path, read: list[Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "new.npz"
    file.write_bytes(b"abc")
    later(monkeypatch, 1.0)
    assert [data_digests.cached_digest(file) for _ in range(2)] == [ABC] * 2
    assert (len(read), cache.exists()) == (2, False)


def test_a_small_file_is_not_cached(old: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_digests, "SMALL_BYTES", 4)
    assert data_digests.cached_digest(old) == ABC
    assert not cache.exists()


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 9000, b'{"sha256": 1}', b"null"])
def test_a_damaged_cache_file_is_ignored(old: Path, cache: Path, damage: bytes) -> None:
    data_digests.cached_digest(old)
    (entry,) = cache.iterdir()
    undamaged = entry.read_bytes()
    entry.write_bytes(damage)
    assert data_digests.cached_digest(old) == ABC
    assert entry.read_bytes() == undamaged
    entry.write_bytes(undamaged.replace(ABC.encode(), b"../../etc/passwd"))
    assert data_digests.cached_digest(old) == ABC


def test_without_a_cache_folder_the_file_is_read_each_time(
    old: Path, read: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))  # no folder can be made there
    assert [data_digests.cached_digest(old) for _ in range(2)] == [ABC] * 2
    assert len(read) == 2


def test_calls_at_the_same_time_agree(old: Path, cache: Path) -> None:
    with ThreadPool(8) as pool:
        assert set(pool.map(lambda _: data_digests.cached_digest(old), range(40))) == {ABC}
    assert len(list(cache.iterdir())) == 1
