"""Pack the folder of a study into one .zip file, or for a snapshot one .zip.xz, and unpack it with full checks.

The archive holds `manifest.json`, with a SHA-256 of every other file, and the bundles that `bundle` describes. Files to
unpack may come from strangers.
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
from ablate.untrusted.wording import nearest_file

MANIFEST = "manifest.json"
FORMAT, OLD_FORMAT = 2, 1
MOST_FILES = 100_000
MOST_BYTES = 50 * 2**30  # unpacked
MOST_RATIO = {".zip": 100, ".xz": 1000}  # of unpacked to packed bytes, RATIO_FREE_BYTES not counted
RATIO_FREE_BYTES = 64 * 2**20
MOST_MANIFEST_BYTES = 32 * 2**20
STORED = (".safetensors", ".npz", ".png")  # not deflated: it makes them hardly smaller
UNREADABLE = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, lzma.LZMAError, zlib.error, struct.error, EOFError, OSError),
    *(NotImplementedError, RuntimeError, ValueError),  # an unknown compression, encrypted, names in an unknown encoding
)
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)  # faults of the temporary folder, not of the file
EPOCH = (1980, 1, 1, 0, 0, 0)  # one time for all entries, so that the same bundles give the same bytes


def pack(study: str, folder: Path, file: Path) -> None:
    """Write the folder of a study into `file`: each entry deflated, or the whole compressed where the name ends in .xz.

    The file appears complete or not at all. Raises InputError where it cannot be written.
    """
    partial = file.with_name(f"{file.name}.partial")
    try:
        if file.suffix == ".xz":
            with lzma.open(partial, "wb", preset=9) as stream:
                _write(study, folder, stream, zipfile.ZIP_STORED)
        else:
            _write(study, folder, partial, zipfile.ZIP_DEFLATED)
        os.replace(partial, file)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise InputError(Problem(str(file), "", "cannot be written", str(error))) from None


def _write(study: str, folder: Path, file: Path | IO[bytes], compression: int) -> None:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    names = {path.relative_to(folder).as_posix(): path for path in sorted(paths, key=lambda path: (path.name, path))}
    digests = {name: _digest(path) for name, path in names.items()}
    manifest = {"format": FORMAT, "study": study, "schema": SCHEMA, "files": digests}
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr(zipfile.ZipInfo(MANIFEST, EPOCH), json.dumps(manifest, indent=1) + "\n", compression)
        for name, path in names.items():
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            entry.compress_type = zipfile.ZIP_STORED if path.suffix in STORED else compression
            with path.open("rb") as content, archive.open(entry, "w", force_zip64=True) as target:
                shutil.copyfileobj(content, target)


@contextmanager
def unpacked(file: Path) -> Iterator[tuple[str, Path]]:
    """The study's name and the temporary folder with its bundles, see `unpack`."""
    with tempfile.TemporaryDirectory(prefix="ablate-import-") as scratch:
        yield unpack(file, Path(scratch, "study")), Path(scratch, "study")


def unpack(file: Path, folder: Path) -> str:
    """Unpack into the new folder `folder`, checking every byte and every run. Returns the study's name.

    Raises InputError for a file that `pack` did not write. Faults of the disk are raised as OSError.
    """
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
        if getattr(error, "errno", None) in DISK_ERRORS:
            raise
        if isinstance(error, FileNotFoundError):
            raise InputError(Problem(str(file), "", "no such file", nearest=nearest_file(file))) from None
        raise _refused(file, "", "cannot be read as an exported study", error) from None
    bundle.check(folder, study)
    return study


def _decompress(file: Path, plain: IO[bytes]) -> None:
    remaining = _most_unpacked(file.stat().st_size, file)
    with lzma.open(file) as packed:
        while block := packed.read(2**20):
            remaining -= len(block)
            if remaining < 0:
                raise _refused(file, "", "unpacks to more bytes than allowed")
            plain.write(block)


def _most_unpacked(packed: int, file: Path) -> int:
    """How many bytes a file with so many packed bytes may unpack to."""
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
        version, schema = manifest["format"], manifest["schema"]
        valid = isinstance(manifest["study"], str) and all(isinstance(d, str) for d in manifest["files"].values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _refused(file, MANIFEST, "cannot be read", error) from None
    if not valid:
        raise _refused(file, MANIFEST, "cannot be read")
    if version == OLD_FORMAT:
        raise InputError(Problem(str(file), MANIFEST, "was exported by ablate 0.1", "format 1", OLD_FORMAT_HINT))
    if version != FORMAT or schema not in range(SCHEMA + 1):
        rule = f"is of format {version}, schema {schema}; this version of ablate reads {FORMAT} and {SCHEMA}"
        raise InputError(Problem(str(file), MANIFEST, rule, nearest="a newer version of ablate reads it"))
    return dict(manifest)


OLD_FORMAT_HINT = "`ablate import` it with that version into a store, then `ablate export` the study with this one"


def _check_entries(file: Path, archive: zipfile.ZipFile, digests: Mapping[str, str]) -> None:
    """Before anything is written: only plain files inside the folder, each once, not too many, not too large."""
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
    if size > _most_unpacked(packed, file):
        sizes = f"{size / 1e9:.1f} GB from {packed / 1e6:.1f} MB"
        raise _refused(file, "", "unpacks to more bytes than allowed", sizes)


def _extract(file: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path, digest: str) -> None:
    """Extract one file and check its digest. zipfile reads no more bytes than the entry's header announces."""
    target = folder / entry.filename
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as packed, target.open("xb") as unpacked_file:
        shutil.copyfileobj(packed, unpacked_file)
    if _digest(target) != digest:
        raise _refused(file, entry.filename, "is damaged: its bytes are not those exported")


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _refused(file: Path, member: str, rule: str, value: object = "") -> InputError:
    return InputError(Problem(str(file), member, rule, str(value)[:200]))
