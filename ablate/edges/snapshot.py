"""Put a finished study under DVC, inside the git repository, and bring it back in any clone without a network.

`mlruns.dvc` at the repository's root names the snapshot; its objects lie in `.dvc/storage`, which git carries.
It is built and read in a temporary DVC workspace: the store that people work in is never replaced.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ablate.edges import archive, slimming
from ablate.edges import snapshot_store as stores
from ablate.edges.ledger import artifact_from_sqlite, default_uri, document_from_sqlite, records_from_sqlite
from ablate.study import InputError, Problem

TRACKED = "mlruns.dvc"
STORAGE = Path(".dvc", "storage")  # laid out as a DVC remote; .dvc/.gitignore does not name it
REMOTE = "storage"
FINISHED = ("FINISHED", "FAILED")


def snapshot(study: str, root: Path, mlruns: Path, *, reports_only: bool = False) -> str:
    """Put a finished study, with one model per arm, into the snapshot of the repository `root`; others in it stay.

    `reports_only` packs a tenth of it: no models, of the per-example columns those that the report shows, pictures of
    the gallery's seed. It has to be restored before MLflow can read it. Returns what a person should know and do next.
    Raises InputError when `root` is no DVC and git repository, or the study is unknown or still open.
    """
    _check_repository(root)
    _check_study(study, mlruns)
    _declare_remote(root)
    earlier = (root / TRACKED).is_file()
    with _workspace(root) as staged:
        if earlier:
            _check_out(root, staged)
            for _, store in _stores(staged, only=study):  # runs that another clone recorded must not be lost
                _same_schema(store, mlruns)
                stores.copy_study(study, store, mlruns)
            _forget(study, staged)
        staged.mkdir(exist_ok=True)
        copied = (_pack if reports_only else _add)(study, mlruns, staged)
        _dvc("add", "--quiet", staged.name, cwd=staged.parent)
        _publish(staged.parent / TRACKED, root)
        if earlier:
            _dvc("gc", "--quiet", "--workspace", "--force", cwd=staged.parent)  # last: until here the old one was whole
        held = _held(staged)
    size = sum(file.stat().st_size for file in (root / STORAGE).rglob("*") if file.is_file())
    return (
        f"{study}: {copied.runs} runs and {copied.models} models are in the snapshot, which now holds "
        f"{', '.join(held)} in {size / 1e6:.1f} MB.\n"
        f"To share it: git add {TRACKED} .dvc && git commit"
    )


def restore(root: Path, mlruns: Path) -> str:
    """Merge the snapshot of the repository `root` into the store in `mlruns`; what is there stays.

    Needs no network and no account. Returns what came. Raises InputError when there is no whole snapshot.
    """
    if not (root / TRACKED).is_file():
        raise InputError(Problem(str(root), TRACKED, "no snapshot here", nearest="`ablate snapshot <study>` makes one"))
    lines = []
    with _workspace(root) as staged:
        _check_out(root, staged)
        for study, store in _stores(staged):
            if not stores.database(mlruns).is_file():
                stores.create(mlruns, stores.database(store))
            _same_schema(store, mlruns)
            copied = stores.copy_study(study, store, mlruns)
            lines.append(f"{study}: {copied.runs} runs and {copied.models} models restored")
    return "\n".join(sorted(lines))


def _add(study: str, mlruns: Path, staged: Path) -> stores.Copied:
    """Copy the study into the plain store in `staged`, which MLflow itself can read."""
    if not stores.database(staged).is_file():
        stores.create(staged, stores.database(mlruns), portable=True)
    models = _model_runs(study, mlruns)
    copied = stores.copy_study(study, mlruns, staged, statuses=FINISHED, models_of=models, portable=True)
    stores.compact(staged)
    return copied


def _pack(study: str, mlruns: Path, staged: Path) -> stores.Copied:
    """Write what the study's report reads into `staged`, as an archive of a store that holds nothing else."""
    with tempfile.TemporaryDirectory(prefix="ablate-snapshot-") as scratch:
        store = Path(scratch, "mlruns")
        stores.create(store, stores.database(mlruns), portable=True)
        copied = stores.copy_study(study, mlruns, store, statuses=FINISHED, models_of=(), portable=True)
        slimming.slim(store, _document(study, mlruns))
        slimming.to_text(store)
        archive.pack(store, staged / f"{study}{archive.SUFFIX}")
    return copied


def _held(staged: Path) -> list[str]:
    """Names of the studies in a snapshot."""
    plain = stores.studies(staged) if stores.database(staged).is_file() else []
    return sorted([*plain, *(file.name.removesuffix(archive.SUFFIX) for file in staged.glob(f"*{archive.SUFFIX}"))])


def _stores(staged: Path, only: str | None = None) -> Iterator[tuple[str, Path]]:
    """The studies of a snapshot, each with a store that holds it, unpacked for as long as the iteration stays there."""
    if stores.database(staged).is_file():
        yield from ((study, staged) for study in stores.studies(staged) if only in (None, study))
    for file in sorted(staged.glob(f"{only or '*'}{archive.SUFFIX}")):
        with tempfile.TemporaryDirectory(prefix="ablate-snapshot-") as scratch:
            store = Path(scratch, "mlruns")
            archive.unpack(file, store)
            slimming.from_text(store)
            yield file.name.removesuffix(archive.SUFFIX), store


def _document(study: str, mlruns: Path) -> Mapping[str, Any]:
    document = document_from_sqlite(stores.database(mlruns), study)
    if document is None:
        raise InputError(
            Problem(str(mlruns), study, "the study's document is missing", nearest="`ablate run` writes it")
        )
    return document


def _forget(study: str, staged: Path) -> None:
    """Take a study out of a snapshot."""
    (staged / f"{study}{archive.SUFFIX}").unlink(missing_ok=True)
    if stores.database(staged).is_file() and study in stores.studies(staged):
        stores.drop_study(study, staged)
        stores.compact(staged)
        if not stores.studies(staged):
            stores.database(staged).unlink()


def _check_repository(root: Path) -> None:
    needed = {".git": "git init", ".dvc/config": "python -m dvc init"}
    problems = [
        Problem(str(root), name, "a snapshot lives in a git repository with DVC", nearest=f"run `{command}` there")
        for name, command in needed.items()
        if not (root / name).exists()
    ]
    if problems:
        raise InputError(*problems)


def _check_study(study: str, mlruns: Path) -> None:
    db = stores.database(mlruns)
    if not db.is_file():
        raise InputError(Problem(str(db), "", "no local tracking store; a server's studies cannot be snapshot"))
    known = stores.studies(mlruns)
    if study not in known:
        raise InputError(Problem(str(db), study, "unknown study", nearest=f"it holds {', '.join(known) or 'none'}"))
    records = records_from_sqlite(db, study)
    if stores.is_open(study, mlruns):
        raise InputError(Problem(str(db), study, "the study is still open", nearest="`ablate run` it to its end first"))
    if not any(record.status == "FINISHED" for record in records):
        raise InputError(Problem(str(db), study, "no run of this study is finished", nearest="`ablate run` it first"))


def _model_runs(study: str, mlruns: Path) -> list[str]:
    """The runs whose model is kept: of each arm the one with the lowest seed."""
    db, kept = stores.database(mlruns), {}
    for record in sorted(records_from_sqlite(db, study), key=lambda record: record.seed):
        finished = record.phase == "compare" and record.status == "FINISHED"
        if finished and record.arm not in kept and artifact_from_sqlite(db, record.run_id, "model"):
            kept[record.arm] = record.run_id
    return list(kept.values())


def _declare_remote(root: Path) -> None:
    """Name the storage in `.dvc/config`, so that a plain `dvc pull` finds it too."""
    config = root / ".dvc" / "config"
    text = config.read_text(encoding="utf-8")
    if "analytics" not in text:
        _dvc("config", "core.analytics", "false", cwd=root)
    if f'remote "{REMOTE}"' not in text:
        with config.open("a", encoding="utf-8") as file:  # the address is relative to .dvc
            file.write(f"['remote \"{REMOTE}\"']\n    url = {STORAGE.name}\n")


@contextmanager
def _workspace(root: Path) -> Iterator[Path]:
    """A temporary DVC repository whose cache is the storage in `root`; gives its (absent) folder `mlruns`."""
    with tempfile.TemporaryDirectory(prefix="ablate-snapshot-") as scratch:
        folder = Path(scratch)
        (folder / ".dvc").mkdir()
        cache = (root / STORAGE).resolve()
        core = "[core]\n    no_scm = true\n    analytics = false\n    check_update = false\n"
        (folder / ".dvc" / "config").write_text(f"{core}[cache]\n    dir = {cache}\n", encoding="utf-8")
        yield folder / "mlruns"


def _check_out(root: Path, staged: Path) -> None:
    text = (root / TRACKED).read_text(encoding="utf-8")
    own = [line for line in text.splitlines(keepends=True) if line.strip() != f"remote: {REMOTE}"]
    (staged.parent / TRACKED).write_text("".join(own), encoding="utf-8")
    _dvc("checkout", "--quiet", TRACKED, cwd=staged.parent)
    if not stores.database(staged).is_file() and not list(staged.glob(f"*{archive.SUFFIX}")):
        raise InputError(Problem(str(root / TRACKED), "", "is no snapshot of a tracking store"))


def _publish(tracked: Path, root: Path) -> None:
    text = tracked.read_text(encoding="utf-8").rstrip("\n")
    partial = root / f"{TRACKED}.partial"
    partial.write_text(f"{text}\n  remote: {REMOTE}\n", encoding="utf-8")
    os.replace(partial, root / TRACKED)


def _same_schema(staged: Path, mlruns: Path) -> None:
    """A snapshot may be older than the installed MLflow, or the store: then both are migrated."""
    if stores.schema_version(staged) != stores.schema_version(mlruns):
        from ablate.edges.tracking_store import connect

        for folder in (mlruns, staged):
            connect(default_uri(folder), folder)
            (folder / ".initialise.lock").unlink(missing_ok=True)


def _dvc(*arguments: str, cwd: Path) -> None:
    """Run DVC without telemetry. Its own site cache stays in a folder that is thrown away."""
    with tempfile.TemporaryDirectory(prefix="ablate-dvc-") as site:
        environment = {**os.environ, "DVC_NO_ANALYTICS": "1", "DO_NOT_TRACK": "1", "DVC_SITE_CACHE_DIR": site}
        command = [sys.executable, "-m", "dvc", *arguments]
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = " ".join((done.stderr or done.stdout).split())[-400:]
        raise InputError(Problem(str(cwd), f"dvc {arguments[0]}", "failed", reason, "is .dvc/storage whole?"))
