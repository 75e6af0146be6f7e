"""Store two folders with DVC, their objects in git or on a remote of the user, and check them out again.

The only module that calls DVC; it must not know about studies. DVC runs in a temporary repository and only adds, pushes
and fetches: its checkout follows paths that lead out of the folder (measured), so this module copies the files itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from ablate.study import InputError, Problem
from ablate.study.shipped import DISTRIBUTION
from ablate.trainers.atomic_write import write_whole
from ablate.untrusted.addresses import redacted

STORAGE = Path(".dvc", "storage")  # has the layout of a DVC remote; git tracks it
REMOTE = "storage"
LOCK_TIMEOUT_S = 60.0  # for another snapshot to end; one that packs a large study may take longer
DIGEST = re.compile(r"[0-9a-f]{32}")


class Tracked(NamedTuple):
    """A folder that DVC tracks: its .dvc file in the repository, and the path where `dvc pull` puts it."""

    file: str
    path: str


ARCHIVES = Tracked("mlruns.dvc", "mlruns/snapshot")
MODELS = Tracked("mlruns-models.dvc", "mlruns/snapshot-models")
OLD_PATHS = ("mlruns", "mlruns-models")  # of ablate 0.1, whose snapshots were stores


def check_installed() -> None:
    """Raises InputError where DVC, an extra of this package, is not installed."""
    if find_spec("dvc") is None:
        raise InputError(Problem("dvc", "", "is not installed", nearest=f"pip install '{DISTRIBUTION}[dvc]' adds it"))


def check_repository(root: Path) -> None:
    """Raises InputError where DVC is not installed, `root` is no DVC and git repository, or has a snapshot that this
    version cannot read."""
    check_installed()
    needed = {".git": "git init", ".dvc/config": "python -m dvc init"}
    problems = [
        Problem(str(root), name, "a snapshot lives in a git repository with DVC", nearest=f"run `{command}` there")
        for name, command in needed.items()
        if not (root / name).exists()
    ]
    if problems:
        raise InputError(*problems)
    for tracked in (ARCHIVES, MODELS):
        if (root / tracked.file).is_file():
            _digest_and_remote(tracked, root)


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Wait until no other process makes a snapshot in this repository. Raises InputError when that takes too long."""
    path = root / ".dvc" / "tmp" / "ablate-snapshot.lock"  # git ignores the folder
    path.parent.mkdir(exist_ok=True)
    try:
        lock = FileLock(path).acquire(timeout=LOCK_TIMEOUT_S)
    except Timeout:
        rule = "another `ablate snapshot` is still running here"
        raise InputError(
            Problem(str(path), "", rule, f"waited {LOCK_TIMEOUT_S:g} s", "try again when it has ended")
        ) from None
    with lock:
        yield


def declare_storage(root: Path) -> None:
    """Add the storage as a remote to `.dvc/config`, so that a plain `dvc pull` finds it."""
    config = root / ".dvc" / "config"
    text = config.read_text(encoding="utf-8")
    if "analytics" not in text:
        call("config", "core.analytics", "false", cwd=root)
        text = config.read_text(encoding="utf-8")
    if f'remote "{REMOTE}"' not in text:
        text += f"['remote \"{REMOTE}\"']\n    url = {STORAGE.name}\n"  # the address is relative to .dvc
        write_whole(config, [text.encode()])


def own_remote(root: Path) -> str:
    """The remote for models: `core.remote` of the repository's DVC configuration, else the storage in git."""
    return str(_config(root).get("core", {}).get("remote") or REMOTE)


def size(root: Path) -> int:
    """Bytes of the storage in git."""
    return sum(file.stat().st_size for file in (root / STORAGE).rglob("*") if file.is_file())


def check_out(tracked: Tracked, root: Path, target: Path) -> None:
    """Copy the files of a tracked folder into the new folder `target`, after every file has passed its digest.

    Raises InputError for every missing or damaged object, or when the remote cannot be read; then `target` does not
    exist.
    """
    digest, remote = _digest_and_remote(tracked, root)
    cache = _cache(root, remote)
    if remote != REMOTE:
        _fetch(tracked, root, cache, remote)
    entries = _entries(tracked, root, cache, digest)
    checks = [_object_problem(_object(cache, digest), digest, name) for name, digest in entries.items()]
    problems = [problem for problem in checks if problem]
    if problems:
        raise InputError(*problems)
    target.mkdir(parents=True)
    for name, digest in entries.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_object(cache, digest), target / name)  # copyfile, not copy: the objects are read-only


def publish(tracked: Tracked, folder: Path, root: Path, remote: str = REMOTE) -> None:
    """Store the files of `folder`, push them if `remote` is not the storage in git, then write the .dvc file.

    The .dvc file is written last: until then the snapshot before is complete.
    """
    with _repository(_cache(root, remote), _remotes(root, remote)) as scratch:
        shutil.copytree(folder, scratch / "folder")
        call("add", "--quiet", "folder", cwd=scratch)
        if remote != REMOTE:
            call("push", "--quiet", "--remote", remote, "folder.dvc", cwd=scratch)
        dvc_file = (scratch / "folder.dvc").read_text(encoding="utf-8")
    text = dvc_file.replace("path: folder", f"path: {tracked.path}").rstrip("\n")
    write_whole(root / tracked.file, [f"{text}\n  remote: {remote}\n".encode()])


def clean(root: Path) -> None:
    """Remove objects from the storage in git that neither .dvc file refers to.

    Not by `dvc gc`, which may go on as a process of its own after this command was killed.
    """
    needed = set()
    for tracked in (tracked for tracked in (ARCHIVES, MODELS) if (root / tracked.file).is_file()):
        digest, remote = _digest_and_remote(tracked, root)
        if remote == REMOTE:
            entries = _entries(tracked, root, root / STORAGE, digest)
            needed |= {_object(root / STORAGE, each) for each in (f"{digest}.dir", *entries.values())}
    for file in (root / STORAGE / "files" / "md5").glob("*/*"):
        if file not in needed and file.is_file():
            file.unlink()


def _digest_and_remote(tracked: Tracked, root: Path) -> tuple[str, str]:
    """What a .dvc file contains. Raises InputError for any other text: DVC would obey paths in it."""
    text = (root / tracked.file).read_text(encoding="utf-8", errors="replace")
    pattern = (
        r"outs:\n- md5: ([0-9a-f]{32})\.dir\n  size: \d+\n  nfiles: \d+\n  hash: md5\n  path: (\S+)\n  remote: (\S+)\n"
    )
    match = re.fullmatch(pattern, text)
    if match and match[2] in OLD_PATHS:
        hint = f"`ablate restore` it with that version, remove {tracked.file}, then `ablate snapshot` every study"
        raise InputError(Problem(str(root / tracked.file), "", "is a snapshot of ablate 0.1", nearest=hint))
    if not match or match[2] != tracked.path:
        raise InputError(
            Problem(str(root / tracked.file), "", "is not as `ablate snapshot` writes it", _first_odd_line(text))
        )
    return match[1], match[3]


def _first_odd_line(text: str) -> str:
    expected = r"outs:|- md5: [0-9a-f]{32}\.dir|  (size|nfiles): \d+|  hash: md5|  remote: \S+"
    return next((line[:200] for line in text.splitlines() if not re.fullmatch(expected, line)), "")


def _cache(root: Path, remote: str) -> Path:
    return root.resolve() / (STORAGE if remote == REMOTE else Path(".dvc", "cache"))


def _fetch(tracked: Tracked, root: Path, cache: Path, remote: str) -> None:
    with _repository(cache, _remotes(root, remote)) as scratch:
        shutil.copyfile(root / tracked.file, scratch / tracked.file)
        call("fetch", "--quiet", "--remote", remote, tracked.file, cwd=scratch)


def _remotes(root: Path, remote: str) -> dict[str, Any]:
    if remote == REMOTE:
        return {}
    configured = _config(root)["remote"]
    if remote not in configured:
        file = str(root / ".dvc" / "config")
        raise InputError(Problem(file, "remote", "the remote of the models is not configured", remote[:80]))
    return {remote: configured[remote]}


@contextmanager
def _repository(cache: Path, remotes: dict[str, Any]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ablate-snapshot-") as scratch:
        folder = Path(scratch)
        (folder / ".dvc").mkdir()
        core = "[core]\n    no_scm = true\n    analytics = false\n    check_update = false\n"
        (folder / ".dvc" / "config").write_text(
            f"{core}[cache]\n    dir = {cache}\n    type = copy\n", encoding="utf-8"
        )
        if remotes:
            from dvc.config import Config

            with Config(str(folder / ".dvc")).edit("repo") as config:
                config["remote"] = remotes
        yield folder


def _config(root: Path) -> Any:
    check_installed()
    from dvc.config import Config

    return Config(str(root / ".dvc"))


def _entries(tracked: Tracked, root: Path, cache: Path, digest: str) -> dict[str, str]:
    """File → digest of a tracked folder. Raises InputError for a damaged list, or one with paths out of the folder."""
    listing = _object(cache, f"{digest}.dir")
    problem = _object_problem(listing, digest, "the list of its files")
    if problem:
        raise InputError(problem)
    try:
        entries = {str(e["relpath"]): str(e["md5"]) for e in json.loads(listing.read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        rule = "the list of its files cannot be read"
        raise InputError(Problem(str(root / tracked.file), "", rule, str(error)[:200])) from None
    for name, each in entries.items():
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or not DIGEST.fullmatch(each):
            raise InputError(Problem(str(root / tracked.file), name[:200], "leads out of the snapshot"))
    return entries


def _object(cache: Path, digest: str) -> Path:
    return cache / "files" / "md5" / digest[:2] / digest[2:]


def _object_problem(file: Path, digest: str, name: str) -> Problem | None:
    """The problem with the stored object of the file `name`; None where its bytes match the digest."""
    hint = "`git checkout -- .dvc` brings back what git has"
    try:
        with file.open("rb") as content:
            intact = hashlib.file_digest(content, "md5").hexdigest() == digest
    except OSError as error:
        return Problem(str(file), name, "is missing from the snapshot's storage", error.strerror or "", hint)
    return None if intact else Problem(str(file), name, "is damaged: its bytes are not those stored", nearest=hint)


def call(*arguments: str, cwd: Path) -> None:
    """Run DVC without telemetry, its site cache in a temporary folder. Raises InputError when the command fails."""
    with tempfile.TemporaryDirectory(prefix="ablate-dvc-") as site:
        environment = {**os.environ, "DVC_NO_ANALYTICS": "1", "DO_NOT_TRACK": "1", "DVC_SITE_CACHE_DIR": site}
        command = [sys.executable, "-m", "dvc", *arguments]
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = redacted(" ".join((done.stderr or done.stdout).split())[-400:])
        raise InputError(Problem(str(cwd), f"dvc {arguments[0]}", "failed", reason))
