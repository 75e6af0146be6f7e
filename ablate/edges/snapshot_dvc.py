"""What snapshots need of DVC: a temporary workspace over the repository's storage, whole bytes, a remote for models.

The only module that calls DVC. It knows tracked folders, and nothing of studies.
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
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock, Timeout

from ablate.edges.addresses import redacted
from ablate.runs.durable import write_whole
from ablate.study import InputError, Problem

TRACKED, MODELS = "mlruns.dvc", "mlruns-models.dvc"
STORAGE = Path(".dvc", "storage")  # laid out as a DVC remote; .dvc/.gitignore does not name it
REMOTE = "storage"
OTHERS_S = 60.0  # waited for another snapshot; one that packs a large study takes longer, and is then told of
LISTING = re.compile(r"^- md5: ([0-9a-f]{32})\.dir$", re.MULTILINE)
DIGEST = re.compile(r"[0-9a-f]{32}")
MODELS_LINE = re.compile(
    r"outs:|- md5: [0-9a-f]{32}\.dir|  (?:size|nfiles): \d+|  hash: md5|  path: mlruns-models|  remote: \S+"
)


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Wait until no other process makes a snapshot in this repository. Raises InputError when that takes too long."""
    path = root / ".dvc" / "tmp" / "ablate-snapshot.lock"  # .dvc/.gitignore names the folder
    path.parent.mkdir(exist_ok=True)
    try:
        lock = FileLock(path).acquire(timeout=OTHERS_S)
    except Timeout:
        rule = "another `ablate snapshot` has been at work here for long"
        raise InputError(Problem(str(path), "", rule, f"{OTHERS_S:g} s", "try again when it has ended")) from None
    with lock:
        yield


def declare_storage(root: Path) -> None:
    """Name the storage in `.dvc/config`, so that a plain `dvc pull` finds it too."""
    config = root / ".dvc" / "config"
    text = config.read_text(encoding="utf-8")
    if "analytics" not in text:
        call("config", "core.analytics", "false", cwd=root)
        text = config.read_text(encoding="utf-8")
    if f'remote "{REMOTE}"' not in text:
        text += f"['remote \"{REMOTE}\"']\n    url = {STORAGE.name}\n"  # the address is relative to .dvc
        write_whole(config, [text.encode()])


def own_remote(root: Path) -> str | None:
    """The remote that a person has chosen for large files: `core.remote`, unless it is the storage in git."""
    name = _config(root).get("core", {}).get("remote")
    return str(name) if name and name != REMOTE else None


@contextmanager
def workspace(root: Path) -> Iterator[Path]:
    """A temporary DVC repository whose cache is the storage in `root`; gives its (absent) folder `mlruns`."""
    with _repository((root / STORAGE).resolve(), {}) as folder:
        yield folder / "mlruns"


def check_out(root: Path, staged: Path) -> None:
    """Put what `mlruns.dvc` names into `staged`, once every byte is found to be what was stored.

    Raises InputError that names each missing or damaged object; then `staged` is not made.
    """
    entries = _entries(root)
    objects = {entry: _object(root, digest) for entry, digest in entries.items()}
    wrong = [_fault(file, entries[name], name) for name, file in objects.items()]
    problems = [problem for problem in wrong if problem]
    if problems:
        raise InputError(*problems)
    for name, file in objects.items():
        place = staged / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)  # no mode: objects are read-only


def publish(staged: Path, root: Path, *, clean: bool) -> None:
    """Store `staged` and make `mlruns.dvc` name it; `clean` then drops what it no longer names."""
    call("add", "--quiet", staged.name, cwd=staged.parent)
    _write_tracked(staged.parent / TRACKED, root / TRACKED, REMOTE)
    if clean:  # last: until here the old one was whole
        _clean(root)


def _clean(root: Path) -> None:
    """Remove objects that the snapshot does not name. Not by DVC: what a killed command began must end with it."""
    kept = {_listing(root), *(_object(root, digest) for digest in _entries(root).values())}
    for file in (root / STORAGE / "files" / "md5").glob("*/*"):
        if file not in kept and file.is_file():
            file.unlink()


def push_models(models: Path, root: Path, remote: str) -> None:
    """Store the folder `models` on the remote, and make `mlruns-models.dvc` name it."""
    with _repository(root / ".dvc" / "cache", {remote: _config(root)["remote"][remote]}) as folder:
        shutil.move(models, folder / "mlruns-models")
        call("add", "--quiet", "mlruns-models", cwd=folder)
        call("push", "--quiet", "--remote", remote, MODELS, cwd=folder)
        _write_tracked(folder / MODELS, root / MODELS, remote)


def pull_models(models: Path, root: Path) -> None:
    """Bring what `mlruns-models.dvc` names into the (absent) folder `models`. Raises InputError when it cannot be."""
    text = (root / MODELS).read_text(encoding="utf-8")
    known = _config(root)["remote"]
    remote = next((name for name in known if f"  remote: {name}\n" in text), None)
    if remote is None:
        raise InputError(Problem(str(root / ".dvc" / "config"), "remote", f"the remote of {MODELS} is not configured"))
    wrong = [line for line in text.splitlines() if not MODELS_LINE.fullmatch(line)]
    found = LISTING.search(text)
    if wrong or found is None:  # DVC would write wherever such a file says
        raise InputError(Problem(str(root / MODELS), "", "names no models of a snapshot", *wrong[:1]))
    cache = root / ".dvc" / "cache"
    with _repository(cache, {remote: known[remote]}) as folder:
        (folder / MODELS).write_text(text, encoding="utf-8")
        call("fetch", "--quiet", "--remote", remote, MODELS, cwd=folder)
        _listed(cache / "files" / "md5" / found[1][:2] / f"{found[1][2:]}.dir", root / MODELS)
        call("checkout", "--quiet", MODELS, cwd=folder)
        shutil.move(folder / "mlruns-models", models)


@contextmanager
def _repository(cache: Path, remotes: dict[str, dict[str, Any]]) -> Iterator[Path]:
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
    from dvc.config import Config

    return Config(str(root / ".dvc"))


def _entries(root: Path) -> dict[str, str]:
    """File → digest of the snapshot."""
    listing = _listing(root)
    problem = _fault(listing, f"{listing.parent.name}{listing.stem}", "the list of its files")
    if problem:
        raise InputError(problem)
    return _listed(listing, root / TRACKED)


def _listing(root: Path) -> Path:
    """The object that lists the snapshot's files."""
    tracked = root / TRACKED
    found = LISTING.search(tracked.read_text(encoding="utf-8"))
    if found is None:
        raise InputError(Problem(str(tracked), "", "names no snapshot of a tracking store"))
    return _object(root, f"{found[1]}.dir")


def _listed(listing: Path, tracked: Path) -> dict[str, str]:
    """File → digest of a stored folder. Raises InputError for a list that is none, or that leads out of the folder."""
    try:
        entries = {str(e["relpath"]): str(e["md5"]) for e in json.loads(listing.read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(Problem(str(tracked), "", "the list of its files cannot be read", str(error)[:200])) from None
    for name, digest in entries.items():
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or not DIGEST.fullmatch(digest):
            raise InputError(Problem(str(tracked), name[:200], "leads out of the snapshot"))
    return entries


def _object(root: Path, digest: str) -> Path:
    return root / STORAGE / "files" / "md5" / digest[:2] / digest[2:]


def _fault(file: Path, digest: str, name: str) -> Problem | None:
    """What is wrong with a stored object, if anything."""
    hint = "`git checkout -- .dvc` brings back what git has"
    try:
        with file.open("rb") as content:
            whole = hashlib.file_digest(content, "md5").hexdigest() == digest
    except OSError as error:
        return Problem(str(file), name, "is missing from the snapshot's storage", error.strerror or "", hint)
    return None if whole else Problem(str(file), name, "is damaged: its bytes are not those stored", nearest=hint)


def _write_tracked(made: Path, place: Path, remote: str) -> None:
    text = made.read_text(encoding="utf-8").rstrip("\n")
    partial = place.with_name(f"{place.name}.partial")
    partial.write_text(f"{text}\n  remote: {remote}\n", encoding="utf-8")
    os.replace(partial, place)


def call(*arguments: str, cwd: Path) -> None:
    """Run DVC without telemetry. Its own site cache stays in a folder that is thrown away."""
    with tempfile.TemporaryDirectory(prefix="ablate-dvc-") as site:
        environment = {**os.environ, "DVC_NO_ANALYTICS": "1", "DO_NOT_TRACK": "1", "DVC_SITE_CACHE_DIR": site}
        command = [sys.executable, "-m", "dvc", *arguments]
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = redacted(" ".join((done.stderr or done.stdout).split())[-400:])
        raise InputError(Problem(str(cwd), f"dvc {arguments[0]}", "failed", reason))
