"""Archives of arrays that hold objects, unpack to more than any disk holds, or announce what is not there."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import traps
from numpy.lib import format as npy

from ablate.depth_refinement import prediction
from ablate.depth_refinement import recording as real
from ablate.depth_refinement.sources import mocap, recording
from ablate.study import InputError
from ablate.untrusted import npz_reader

Cli = Callable[..., Any]
READERS = {
    "mocap": (mocap.read, "joints"),
    "recording": (recording.read, "kp2d"),
    "poses": (prediction.read_poses, "pose_2d"),
    "examples": (lambda file: npz_reader.read_npz(file, most_bytes=10**9), "inputs"),
}


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest) -> tuple[Callable[[Path], object], str]:
    """A reader, and an array that it wants."""
    return READERS[request.param]


def header(descr: Any, shape: Any) -> bytes:
    stream = io.BytesIO()
    npy.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def archive(path: Path, name: str, content: bytes, method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr(f"{name}.npy", content)
    return path


def zeros(path: Path, name: str, start: bytes, megabytes: int, *, announced: int | None = None) -> Path:
    """An archive with a deflated member of `start` and so many MB of zeros. `announced`: the size it claims."""
    size = len(start) + megabytes * 2**20 if announced is None else announced
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{name}.npy", traps.deflated_zeros(start, megabytes, -zlib.MAX_WBITS))
        info = file.getinfo(f"{name}.npy")
        info.file_size, info.compress_type = size, zipfile.ZIP_DEFLATED  # in the directory, which readers believe
    return path


def refusal(read: Callable[[Path], object], path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read(path)
    return str(caught.value)


def test_objects_are_not_unpickled(reader: Any, tmp_path: Path, marker: Path) -> None:
    assert traps.is_armed(marker)
    read, name = reader
    np.savez(tmp_path / "x.npz", allow_pickle=True, **{name: np.array([traps.Trap(str(marker))], dtype=object)})
    assert "holds Python objects, which are never unpickled" in refusal(read, tmp_path / "x.npz")


@pytest.mark.parametrize("make", [lambda data: data, lambda data: b"PK\x03\x04" + data], ids=["plain", "marked"])
def test_a_pickle_by_another_name(reader: Any, tmp_path: Path, marker: Path, make: Callable[[bytes], bytes]) -> None:
    (tmp_path / "x.npz").write_bytes(make(traps.pickled(marker)))
    assert "is not an .npz archive" in refusal(reader[0], tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("descr", "shape"),
    [
        ("<f4", (10**12, 17, 3)),
        ("<U0", (10**15,)),
        ("|V0", (10**15,)),
        ("<U1000000", (10**6,)),
        ("<f8", (-1,)),
        ("<f8", (2**62, 2**62)),
        ("|O", (1,)),
        ([("a", "<f8", (10**6,))], (10**6,)),
        ("<M8[s]", (3,)),
    ],
    ids=str,
)
def test_announced_and_not_there(reader: Any, tmp_path: Path, descr: Any, shape: Any) -> None:
    read, name = reader
    message = refusal(read, archive(tmp_path / "x.npz", name, header(descr, shape)))
    assert f"{name}: cannot be read as a plain array" in message


@pytest.mark.parametrize("announced", [None, 2**62], ids=["honest", "boasting"])
def test_zeros_without_end(reader: Any, tmp_path: Path, announced: int | None) -> None:
    """20 GB in 20 MB."""
    read, name = reader
    file = zeros(tmp_path / "x.npz", name, header("<f4", (10**8, 17, 3)), 20_000, announced=announced)
    assert file.stat().st_size < 30_000_000
    assert "arrays must have at most" in refusal(read, file)


def test_zeros_behind_a_modest_announcement(reader: Any, tmp_path: Path) -> None:
    """What a member says of its size is where reading it ends."""
    read, name = reader
    file = zeros(tmp_path / "x.npz", name, header("<f4", (10, 17, 3)), 5_000, announced=128 + 2040)
    assert "cannot be read as a plain array" in refusal(read, file)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=["bz2", "xz"])
def test_other_packings_are_refused(reader: Any, tmp_path: Path, method: int) -> None:
    """One read of theirs may unpack gigabytes; numpy writes neither."""
    read, name = reader
    content = header("<f4", (10, 17, 3)) + bytes(2040)
    assert "must be compressed as numpy does" in refusal(read, archive(tmp_path / "x.npz", name, content, method))


def test_many_small_arrays_are_bounded_in_all(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", **{f"a{i}": np.zeros(10_000) for i in range(20)})
    assert "arrays must have at most" in refusal(
        lambda file: npz_reader.read_npz(file, most_bytes=10**6), tmp_path / "x.npz"
    )
    with zipfile.ZipFile(tmp_path / "many.npz", "w") as file:
        for i in range(1_500):
            file.writestr(f"a{i}.npy", b"")
    assert "at most 1000 arrays" in refusal(
        lambda file: npz_reader.read_npz(file, most_bytes=10**6), tmp_path / "many.npz"
    )


def test_names_that_lead_outside_are_names(tmp_path: Path) -> None:
    """Nothing is unpacked onto the disk, so a name can lead nowhere."""
    np.savez(tmp_path / "x.npz", **{"../../evil": np.zeros(1), "/etc/evil": np.zeros(1)})
    before = sorted(tmp_path.rglob("*"))
    assert set(npz_reader.read_npz(tmp_path / "x.npz", most_bytes=10**6)) == {"../../evil", "/etc/evil"}
    assert sorted(tmp_path.rglob("*")) == before


def test_what_a_file_says_does_not_reach_the_terminal_raw(tmp_path: Path, cli: Cli) -> None:
    np.savez(tmp_path / "x.npz", **{"a\x1b]0;owned\x07": np.zeros(1)})
    answer = cli("data", "inspect", str(tmp_path / "x.npz"))
    assert answer.code == 2
    assert "\x1b" not in answer.err
    assert "\\x1b]0;owned\\x07" in answer.err


def test_asking_what_a_file_is_reads_nothing_of_it(tmp_path: Path, marker: Path) -> None:
    bad = {name: np.array([traps.Trap(str(marker))], dtype=object) for name in ("kp2d", "conf", "joints3d")}
    np.savez(tmp_path / "x.npz", allow_pickle=True, **bad)
    assert recording.is_recording(tmp_path / "x.npz")
    with pytest.raises(InputError, match="never unpickled"):
        real.recording(file=tmp_path / "x.npz", device="cpu")
