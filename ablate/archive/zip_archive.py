"""The folder of a study in one .zip file, or for a snapshot in one .zip.xz. What comes in is not trusted.

Inside: `manifest.json`, with a SHA-256 of every other file, and the bundles as `bundle` describes them.
"""

from __future__ import annotations

import errno
import hashlib
import json
import lzma
import os
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ablate.archive import bundle
from ablate.study import SCHEMA, InputError, Problem

MANIFEST = "manifest.json"
FORMAT, OLD_FORMAT = 2, 1
MOST_FILES = 100_000
MOST_BYTES = 50 * 2**30  # unpacked
MOST_RATIO = {".zip": 100, ".xz": 1000}  # of unpacked to packed bytes, above the first RATIO_FREE_BYTES
RATIO_FREE_BYTES = 64 * 2**20
MOST_MANIFEST_BYTES = 32 * 2**20
COMPRESSED = (".safetensors", ".npz", ".png")  # deflating them gains nothing
UNREADABLE = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, lzma.LZMAError, zlib.error, struct.error, EOFError, OSError),
    *(NotImplementedError, RuntimeError, ValueError),  # an unknown compression, encrypted, names in no encoding
)
OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)  # of the temporary folder, not of the file
EPOCH = (1980, 1, 1, 0, 0, 0)  # no times: the same bundles give the same bytes


def pack(study: str, folder: Path, file: Path) -> None:
    """Write the folder of a study into `file`: deflated, or where its name ends in .xz compressed as a whole.

    It is there whole or not at all. Raises InputError where it cannot be written.
    """
    partial = file.with_name(f"{file.name}.partial")
    try:
        with _writing(partial, whole=file.suffix == ".xz") as stream:
            _write(study, folder, stream, zipfile.ZIP_STORED if file.suffix == ".xz" else zipfile.ZIP_DEFLATED)
        os.replace(partial, file)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise InputError(Problem(str(file), "", "cannot be written", str(error))) from None


def _writing(file: Path, *, whole: bool) -> IO[bytes]:
    return lzma.open(file, "wb", preset=9) if whole else file.open("wb")


def _write(study: str, folder: Path, stream: IO[bytes], compression: int) -> None:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    names = {path.relative_to(folder).as_posix(): path for path in sorted(paths, key=lambda path: (path.name, path))}
    digests = {name: _digest(path) for name, path in names.items()}
    manifest = {"format": FORMAT, "study": study, "schema": SCHEMA, "files": digests}
    with zipfile.ZipFile(stream, "w", compression) as archive:
        archive.writestr(zipfile.ZipInfo(MANIFEST, EPOCH), json.dumps(manifest, indent=1) + "\n", compression)
        for name, path in names.items():
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            entry.compress_type = zipfile.ZIP_STORED if path.suffix in COMPRESSED else compression
            with path.open("rb") as content, archive.open(entry, "w", force_zip64=True) as target:
                shutil.copyfileobj(content, target)


@contextmanager
def unpacked(file: Path) -> Iterator[tuple[str, Path]]:
    """Name of the study and its bundles in a temporary folder, every byte and every run checked. Raises InputError."""
    with tempfile.TemporaryDirectory(prefix="ablate-import-") as scratch:
        yield unpack(file, Path(scratch, "study")), Path(scratch, "study")


def unpack(file: Path, folder: Path) -> str:
    """Unpack into the folder, which is made; the name of the study. Raises InputError for what `pack` did not write."""
    folder.mkdir(parents=True)
    try:
        if file.suffix == ".xz":
            with tempfile.TemporaryFile() as plain:
                _decompress(file, plain)
                study = _unpack(file, plain, folder)
        else:
            with file.open("rb") as packed:
                study = _unpack(file, packed, folder)
    except UNREADABLE as error:
        if getattr(error, "errno", None) in OF_THE_DISK:
            raise
        raise _refused(file, "", "cannot be read as an exported study", error) from None
    bundle.check(folder, study)
    return study


def _decompress(file: Path, plain: IO[bytes]) -> None:
    left = _most(file.stat().st_size, file)
    with lzma.open(file) as packed:
        while block := packed.read(2**20):
            left -= len(block)
            if left < 0:
                raise _refused(file, "", "unpacks to more than is believable")
            plain.write(block)


def _most(packed: int, file: Path) -> int:
    return min(MOST_BYTES, RATIO_FREE_BYTES + MOST_RATIO.get(file.suffix, MOST_RATIO[".zip"]) * packed)


def _unpack(file: Path, stream: IO[bytes], folder: Path) -> str:
    with zipfile.ZipFile(stream) as archive:
        manifest = _manifest(file, archive)
        _check_entries(file, archive, manifest["files"])
        for entry in archive.infolist():
            if entry.filename != MANIFEST:
                _extract(file, archive, entry, folder, manifest["files"][entry.filename])
        return str(manifest["study"])


def _manifest(file: Path, archive: zipfile.ZipFile) -> dict[str, Any]:
    entries = [entry for entry in archive.infolist() if entry.filename == MANIFEST]
    if len(entries) != 1 or entries[0].file_size > MOST_MANIFEST_BYTES:
        raise _refused(file, MANIFEST, "is missing: this is no file that `ablate export` wrote")
    try:
        manifest = json.loads(archive.read(entries[0]))
        known = (manifest["format"], manifest["schema"])
        whole = isinstance(manifest["study"], str) and all(isinstance(d, str) for d in manifest["files"].values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _refused(file, MANIFEST, "cannot be read", error) from None
    if not whole:
        raise _refused(file, MANIFEST, "cannot be read")
    if known[0] == OLD_FORMAT:
        raise InputError(Problem(str(file), MANIFEST, "was exported by ablate 0.1", "format 1", OLD_ONES))
    if known != (FORMAT, SCHEMA) and not (known[0] == FORMAT and known[1] in range(SCHEMA)):
        rule = f"is of format {known[0]}, schema {known[1]}; this version of ablate reads {FORMAT} and {SCHEMA}"
        raise InputError(Problem(str(file), MANIFEST, rule, nearest="a newer version of ablate reads it"))
    return dict(manifest)


OLD_ONES = "`ablate import` it with that version into a store, then `ablate export` the study with this one"


def _check_entries(file: Path, archive: zipfile.ZipFile, digests: Mapping[str, str]) -> None:
    """Before anything is written: plain files inside the folder, each once, of a bearable size."""
    entries = [entry for entry in archive.infolist() if entry.filename != MANIFEST]
    for entry in entries:
        path = PurePosixPath(entry.filename)
        kind = stat.S_IFMT(entry.external_attr >> 16)
        inside = not path.is_absolute() and ".." not in path.parts and "\\" not in entry.filename
        if not inside or entry.is_dir() or kind not in (0, stat.S_IFREG):
            raise _refused(file, entry.filename, "leads out of the export, or is no plain file")
    if len(entries) > MOST_FILES:
        raise _refused(file, "", f"holds more than {MOST_FILES} files", len(entries))
    if sorted(entry.filename for entry in entries) != sorted(digests):
        raise _refused(file, MANIFEST, "does not name the files that are there, each once")
    size, packed = sum(entry.file_size for entry in entries), sum(entry.compress_size for entry in entries)
    if size > _most(packed, file):
        raise _refused(
            file, "", "unpacks to more than is believable", f"{size / 1e9:.1f} GB from {packed / 1e6:.1f} MB"
        )


def _extract(file: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path, digest: str) -> None:
    """Never more bytes than the entry says it has: zipfile stops there."""
    place = folder / entry.filename
    place.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as content, place.open("xb") as target:
        shutil.copyfileobj(content, target)
    if _digest(place) != digest:
        raise _refused(file, entry.filename, "is damaged: its bytes are not those exported")


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _refused(file: Path, place: str, rule: str, value: object = "") -> InputError:
    return InputError(Problem(str(file), place, rule, str(value)[:200]))
