"""One study in one .zip file, to move between stores without DVC or git. Knows files, not what a study means.

Inside: `manifest.json` with a SHA-256 of every other file, and a store with relative addresses, `mlruns/mlflow.db`
and `mlruns/artifacts/STUDY/…`, with the study's ended runs and all their models. What comes in is not trusted.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from ablate.edges import snapshot_parts as parts
from ablate.edges import snapshot_store as stores
from ablate.edges import snapshot_views as views
from ablate.study import SCHEMA, InputError, Problem

MANIFEST, STORE = "manifest.json", "mlruns"
FORMAT = 1
MOST_FILES = 100_000
MOST_BYTES = 50 * 2**30  # unpacked
MOST_RATIO = 100  # of unpacked to packed bytes, above the first RATIO_FREE_BYTES; stores have at most 20
RATIO_FREE_BYTES = 64 * 2**20
MOST_MANIFEST_BYTES = 32 * 2**20
COMPRESSED = (".safetensors", ".npz", ".png")  # deflating them gains nothing
UNREADABLE = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, OSError),
    *(NotImplementedError, RuntimeError),  # an unknown compression, encrypted
)
EPOCH = (1980, 1, 1, 0, 0, 0)  # no times: the same store gives the same bytes


def export(study: str, mlruns: Path, out: Path) -> stores.Copied:
    """Write the ended runs of a study in the store `mlruns`, which may be at work, to the file `out`.

    Raises InputError when the study is unknown or has no ended run, or `out` cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="ablate-export-") as scratch, views.still(mlruns) as rows:
        store = Path(scratch, STORE)
        stores.create(store, rows, portable=True)
        copied = stores.copy_study(study, mlruns, store, rows=rows, statuses=parts.ENDED, portable=True)
        stores.compact(store)
        files = sorted(path for path in store.rglob("*") if path.is_file())
        digests = {path.relative_to(scratch).as_posix(): _digest(path) for path in files}
        manifest = {"format": FORMAT, "study": study, "schema": SCHEMA, "files": digests}
        partial = out.with_name(f"{out.name}.partial")
        try:
            with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(zipfile.ZipInfo(MANIFEST, EPOCH), json.dumps(manifest, indent=1) + "\n")
                for name in digests:
                    _add(archive, Path(scratch, name), name)
            os.replace(partial, out)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise InputError(Problem(str(out), "", "cannot be written", str(error))) from None
    return copied


def bring_in(file: Path, mlruns: Path) -> tuple[str, stores.Copied]:
    """Merge an exported study into the store `mlruns`, made when it is not there; what is there stays.

    Raises InputError, and merges nothing, for a file that is no whole export, or is made to do harm.
    """
    with unpacked(file) as (study, store):
        stores.provide(mlruns, views.database(store))
        parts.same_schema(views.database(store), views.database(mlruns))
        return study, stores.copy_study(study, store, mlruns)


def _add(archive: zipfile.ZipFile, file: Path, name: str) -> None:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    entry.compress_type = zipfile.ZIP_STORED if file.suffix in COMPRESSED else zipfile.ZIP_DEFLATED
    with file.open("rb") as content, archive.open(entry, "w", force_zip64=True) as target:
        shutil.copyfileobj(content, target)


@contextmanager
def unpacked(file: Path) -> Iterator[tuple[str, Path]]:
    """Name of the study and its store in a temporary folder, every byte and the database checked. Raises InputError."""
    with tempfile.TemporaryDirectory(prefix="ablate-import-") as scratch:
        try:
            study = _unpack(file, Path(scratch))
        except UNREADABLE as error:
            raise _refused(file, "", "cannot be read as an exported study", error) from None
        views.check_foreign(Path(scratch, STORE), [study], file.name)
        yield study, Path(scratch, STORE)


def _unpack(file: Path, folder: Path) -> str:
    with zipfile.ZipFile(file) as archive:
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
    if known != (FORMAT, SCHEMA) and not (known[0] == FORMAT and known[1] in range(SCHEMA)):
        rule = f"is of format {known[0]}, schema {known[1]}; this version of ablate reads {FORMAT} and {SCHEMA}"
        raise InputError(Problem(str(file), MANIFEST, rule, nearest="a newer version of ablate reads it"))
    return dict(manifest)


def _check_entries(file: Path, archive: zipfile.ZipFile, digests: dict[str, str]) -> None:
    """Before anything is written: plain files inside the store, each once, of a bearable size."""
    entries = [entry for entry in archive.infolist() if entry.filename != MANIFEST]
    for entry in entries:
        path = PurePosixPath(entry.filename)
        kind = stat.S_IFMT(entry.external_attr >> 16)
        inside = path.parts[:1] == (STORE,) and ".." not in path.parts and "\\" not in entry.filename
        if not inside or entry.is_dir() or kind not in (0, stat.S_IFREG):
            raise _refused(file, entry.filename, "leads out of the export, or is no plain file")
    if len(entries) > MOST_FILES:
        raise _refused(file, "", f"holds more than {MOST_FILES} files", len(entries))
    if sorted(entry.filename for entry in entries) != sorted(digests):
        raise _refused(file, MANIFEST, "does not name the files that are there, each once")
    size, packed = sum(entry.file_size for entry in entries), sum(entry.compress_size for entry in entries)
    if size > MOST_BYTES or size > RATIO_FREE_BYTES + MOST_RATIO * packed:
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
