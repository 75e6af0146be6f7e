"""Motion and detections that nest, count, repeat or unpack without end."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zlib
from pathlib import Path

import pytest
import traps

from ablate.depth_refinement.sources import bvh, calibration, openpose_files
from ablate.study import InputError

JOINT = "JOINT j{i}\n{{\nOFFSET 0 0 0\nCHANNELS 0\n"


def bvh_refusal(tmp_path: Path, text: str) -> str:
    (tmp_path / "x.bvh").write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        bvh.read_bvh(tmp_path / "x.bvh")
    return str(caught.value)


def skeleton(inside: str, motion: str = "") -> str:
    return f"HIERARCHY\nROOT r\n{{\nOFFSET 0 0 0\nCHANNELS 1 Xposition\n{inside}}}\n{motion}"


class TestBvh:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (skeleton("".join(JOINT.format(i=i) for i in range(20_000))), "at most 1000 joints"),
            (skeleton("".join(JOINT.format(i=i) + "}\n" for i in range(20_000))), "at most 1000 joints"),
            (skeleton("End Site\n{\n" * 20_000), "at most 200 characters"),
            ("HIERARCHY\nROOT r\n" + "{" * 200_000, "expected OFFSET, CHANNELS"),
            (skeleton("", "MOTION\nFrames: 999999999\nFrame Time: 0.1\n1\n"), "declares 999999999 frames and holds 1"),
            (skeleton("", "MOTION\nFrames: 1e308\nFrame Time: 0.1\n1\n"), "must be finite numbers below"),
            (f"HIERARCHY\nROOT r\n{{\nOFFSET 0 0 0\nCHANNELS {'9' * 5000} Xposition\n", "must give their number"),
            ("HIERARCHY\nROOT r\n{\nOFFSET 0 0 0\nCHANNELS ² Xposition Yposition\n", "must give their number"),
            (f"HIERARCHY\nROOT {'x' * 1_000_000}\n{{\n", "at most 200 characters"),
            (skeleton("", f"MOTION\nFrames: 1\nFrame Time: 0.1\n{'9' * 1_000_000}\n"), "must be finite numbers below"),
            ("", "the file is empty"),
            ("\x00" * 100_000, "expected 'HIERARCHY'"),
        ],
        ids=["deep", "wide", "ends", "braces", "frames", "float", "digits", "power", "name", "value", "empty", "zeros"],
    )
    def test_bombs(self, tmp_path: Path, text: str, message: str) -> None:
        refused = bvh_refusal(tmp_path, text)
        assert message in refused
        assert len(refused) < 5_000

    def test_few_bytes_that_take_gigabytes_to_place(self, tmp_path: Path) -> None:
        """A thousand joints without channels in 200,000 frames of one number: 0.5 MB that make 19 GB."""
        joints = "".join(JOINT.format(i=i) + "}\n" for i in range(990))
        frames = 200_000
        motion = f"MOTION\nFrames: {frames}\nFrame Time: 0.1\n" + "1\n" * frames
        assert "991 joints may have at most 20,181 frames" in bvh_refusal(tmp_path, skeleton(joints, motion))

    def test_a_file_too_long_is_not_read_to_its_end(self, tmp_path: Path) -> None:
        with (tmp_path / "x.bvh").open("wb") as file:
            file.truncate(10 * 2**30)  # sparse: no disk is filled
        with pytest.raises(InputError, match="at most 200,000,000 bytes"):
            bvh.read_bvh(tmp_path / "x.bvh")

    def test_names_do_not_write_to_the_terminal(self, tmp_path: Path) -> None:
        assert "\x1b" not in bvh_refusal(tmp_path, "HIERARCHY\nROOT \x1b[2Jr\n{\n}\n")


def tar_refusal(tmp_path: Path, content: bytes) -> str:
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(InputError) as caught:
        openpose_files.read(tmp_path / "x.tar")
    return str(caught.value)


def entry(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def zero_bytes(gigabytes: int, start: bytes) -> bytes:
    """A gzip stream of `start` and so many GB of zeros."""
    return traps.deflated_zeros(start, 1024 * gigabytes, zlib.MAX_WBITS + 16)


class TestOpenPose:
    @pytest.mark.parametrize(
        "kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME], ids=["pax", "global", "long"]
    )
    def test_a_name_of_gigabytes(self, tmp_path: Path, kind: bytes) -> None:
        """`tarfile` reads such a header whole, before anyone can look at it."""
        content = zero_bytes(20, entry("x", 2**34, kind))
        assert len(content) < 30_000_000
        assert "announces" in tar_refusal(tmp_path, content)

    def test_headers_that_announce_headers(self, tmp_path: Path) -> None:
        """`tarfile` calls itself for what follows an extended header."""
        header = entry("x", 512, tarfile.XHDTYPE) + b"11 path=abc\n".ljust(512, b"\x00")
        assert "must be a folder or a .tar archive" in tar_refusal(tmp_path, header * 20_000)

    @pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress], ids=["gz", "bz2", "xz"])
    def test_a_packed_archive_cut_off_or_damaged(self, tmp_path: Path, pack: object) -> None:
        document = json.dumps({"people": []}).encode()
        whole = b"".join(
            entry(f"clip/cam{camera}/{i}.json", len(document)) + document.ljust(512, b"\x00")
            for camera in range(2)
            for i in range(40)
        )
        packed = pack(whole)  # type: ignore[operator]
        for content in (packed[: len(packed) // 2], packed[:60] + bytes(30) + packed[90:]):
            tar_refusal(tmp_path, content)

    @pytest.mark.parametrize("name", ["../evil.json", "/etc/evil.json", "a/../../evil.json", "a\\..\\evil.json"])
    def test_names_that_lead_outside(self, tmp_path: Path, name: str) -> None:
        assert "leads outside of the archive" in tar_refusal(tmp_path, entry(name, 0))

    @pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
    def test_what_is_no_file(self, tmp_path: Path, kind: bytes) -> None:
        assert "must be a plain file or a folder" in tar_refusal(tmp_path, entry("a/b/c.json", 0, kind))

    def test_a_document_of_zeros(self, tmp_path: Path) -> None:
        content = zero_bytes(1, entry("a/b/c.json", 100_000_000))
        assert "must have at most 5,000,000 bytes" in tar_refusal(tmp_path, content)

    @pytest.mark.parametrize(
        "text",
        [
            "[" * 1_000_000,
            '{"people": ' * 100_000,
            '{"people": [' + '{"pose_keypoints_2d": [' + "9" * 100_000 + "]}]}",
            '{"people": [{"pose_keypoints_2d": [1e400, 1, 1]}]}',
            '{"people": [{"pose_keypoints_2d": [NaN, 1, 1]}]}',
            '{"people": [{"pose_keypoints_2d": [1e300, 1, 1]}]}',
            '{"people": [{"pose_keypoints_2d": [' + "0," * 1_000_000 + "0]}]}",
            '{"people": [' + "{}," * 1_000_000 + "{}]}",
            '{"people": [' + "[]," * 500 + "[]]}",
            '"' * 1_000_001,
            '"' + "\\" * 1_000_001,
            "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
            "",
        ],
        ids=lambda text: text[:30] or "empty",
    )
    def test_documents_without_end(self, text: str) -> None:
        with pytest.raises(InputError):
            openpose_files.people(text.encode("latin-1"), "f.json")

    def test_more_numbers_than_a_recording_has(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(openpose_files, "MAX_NUMBERS_KEPT", 200)
        for camera in "ab":
            (tmp_path / "clip" / camera).mkdir(parents=True)
            for i in range(3):
                document = {"people": [{"pose_keypoints_2d": [0.5] * 51}]}
                (tmp_path / "clip" / camera / f"{i}.json").write_text(json.dumps(document))
        with pytest.raises(InputError, match="at most 200 numbers in a recording"):
            openpose_files.read(tmp_path)

    def test_frames_numbered_with_signs_that_are_no_digits(self) -> None:
        assert sorted(["f10", "f²", "f2", "f１"], key=openpose_files.natural)[0] == "f１"


class TestCalibration:
    @pytest.mark.parametrize(
        "text",
        [
            "[c]\nsize." + "a." * 40_000 + "b = 1",
            "[c]\nmatrix = " + "[" * 100_000,
            "[c]\nsize = [" + "9" * 5_000 + ", 1]",
            "\n".join(f"[c{i}]" for i in range(20_000)),
            "[c]\nsize = 1979-05-27",
        ],
        ids=["dotted", "deep", "digits", "cameras", "date"],
    )
    def test_calibrations_without_end(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "rig.toml").write_text(text, encoding="utf-8")
        with pytest.raises(InputError):
            calibration.read_toml(tmp_path / "rig.toml")


def test_the_streams_of_zeros_are_what_they_say() -> None:
    """So that the tests above test something."""
    stream = gzip.GzipFile(fileobj=io.BytesIO(zero_bytes(1, b"start")))
    assert stream.read(5) == b"start"
    assert stream.read(2**20 * 5) == bytes(2**20 * 5)
