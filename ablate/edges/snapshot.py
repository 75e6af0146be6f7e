"""Put a study's ended runs under DVC, inside the git repository, and bring them back in any clone without a network.

`mlruns.dvc` at the repository's root names the snapshot; its objects lie in `.dvc/storage`, which git carries. Where
a person has configured a DVC remote, models go there and `mlruns-models.dvc` names them. A snapshot is built and read
in temporary folders: the store that people work in is never replaced.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from ablate.design.document import checked
from ablate.design.plan import plan_of_document
from ablate.edges import archive
from ablate.edges import snapshot_dvc as dvc
from ablate.edges import snapshot_parts as parts
from ablate.edges import snapshot_store as stores
from ablate.edges import snapshot_views as views
from ablate.edges.ledger import artifact_from_sqlite, records_from_sqlite
from ablate.study import InputError, Problem, Record


def snapshot(study: str, root: Path, mlruns: Path, *, reports_only: bool = False) -> str:
    """Put a study's ended runs, with one model per arm, into the snapshot of the repository `root`; others in it stay.

    The store may be at work. `reports_only` packs a tenth of it: no models, of the per-example columns those that the
    report shows, pictures of the gallery's seed; of a study in the snapshot already, only what came since, beside it.
    What is packed has to be restored before MLflow can read it. Returns what a person should know and do next.
    Raises InputError when `root` is no DVC and git repository, or no run of the study has ended.
    """
    check_repository(root)
    _check_study(study, mlruns)
    with dvc.alone(root):
        dvc.declare_storage(root)
        return _snapshot(study, root, mlruns, reports_only)


def _snapshot(study: str, root: Path, mlruns: Path, reports_only: bool) -> str:
    earlier, remote = (root / dvc.TRACKED).is_file(), None if reports_only else dvc.own_remote(root)
    with dvc.workspace(root) as staged:
        if earlier:
            _check_out(root, staged)
        staged.mkdir(exist_ok=True)
        if reports_only:
            copied = _pack(study, mlruns, staged)
        else:
            if (root / dvc.MODELS).is_file():
                _bring_models(root, staged)
            copied = _add(study, mlruns, staged)
        if remote:
            _send_models(root, staged, remote)
        dvc.publish(staged, root, clean=earlier)
        held = parts.held(staged)
    return _said(study, copied, held, root, remote)


def restore(root: Path, mlruns: Path) -> str:
    """Merge the snapshot of the repository `root` into the store in `mlruns`; what is there stays.

    Needs no network and no account, but for models on a person's own remote; says which of those are absent.
    Returns what came. Raises InputError, and merges nothing, when the snapshot is not whole.
    """
    if not (root / dvc.TRACKED).is_file():
        raise InputError(
            Problem(str(root), dvc.TRACKED, "no snapshot here", nearest="`ablate snapshot <study>` makes one")
        )
    lines = []
    with dvc.workspace(root) as staged:
        _check_out(root, staged)
        absent = _missing_models(root, staged, mlruns)
        for study, store in parts.studies(staged):
            stores.provide(mlruns, views.database(store))
            parts.same_schema(views.database(store), views.database(mlruns))
            copied = stores.copy_study(study, store, mlruns)
            lines.append(f"{study}: {copied.runs} runs and {copied.models} models restored")
    return "\n".join([*sorted(lines), *absent])


def _said(study: str, copied: stores.Copied, held: list[str], root: Path, remote: str | None) -> str:
    size = sum(file.stat().st_size for file in (root / dvc.STORAGE).rglob("*") if file.is_file())
    tracked = f"{dvc.TRACKED} {dvc.MODELS}" if (root / dvc.MODELS).is_file() else dvc.TRACKED
    where = f"Models are on the DVC remote {remote}.\n" if remote else ""
    return (
        f"{study}: {copied.runs} runs and {copied.models} models were added to the snapshot, which now holds "
        f"{', '.join(held)} in {size / 1e6:.1f} MB.\n{where}"
        f"To share it: git add {tracked} .dvc && git commit"
    )


def _check_out(root: Path, staged: Path) -> None:
    dvc.check_out(root, staged)
    if not views.database(staged).is_file() and not list(staged.glob(f"*{archive.SUFFIX}")):
        raise InputError(Problem(str(root / dvc.TRACKED), "", "is no snapshot of a tracking store"))
    if views.database(staged).is_file():
        views.check_foreign(staged, views.studies(staged), dvc.TRACKED)


def _missing_models(root: Path, staged: Path, mlruns: Path) -> list[str]:
    """Fetch models that lie on a remote and not here; what to tell a person when that cannot be."""
    if not (root / dvc.MODELS).is_file() or not views.absent_models(staged, mlruns):
        return []
    try:
        _bring_models(root, staged)
    except InputError as error:
        absent = len(views.absent_models(staged, mlruns))
        return [f"{absent} models are absent: {error.problems[0]}; `ablate restore` brings them once they can be had"]
    return []


def _bring_models(root: Path, staged: Path) -> None:
    """Put the models that `mlruns-models.dvc` names where the plain store in `staged` expects them."""
    with tempfile.TemporaryDirectory(prefix="ablate-models-") as scratch:
        models = Path(scratch, "models")
        dvc.pull_models(models, root)
        for folder in models.iterdir():
            shutil.copytree(folder, staged / "artifacts" / folder.name / "models", dirs_exist_ok=True)


def _send_models(root: Path, staged: Path, remote: str) -> None:
    """Take the models of all studies out of `staged` and put them on the remote."""
    with tempfile.TemporaryDirectory(prefix="ablate-models-") as scratch:
        models = Path(scratch, "models")
        for folder in sorted(staged.glob("artifacts/*/models")):
            shutil.move(folder, models / folder.parent.name)
        if models.is_dir():
            dvc.push_models(models, root, remote)


def _pack(study: str, mlruns: Path, staged: Path) -> stores.Copied:
    """Put what the study's report reads into the snapshot; beside what is there, which stays as it is."""
    packs = parts.pack_increment if study in parts.held(staged) else parts.pack
    return packs(study, mlruns, staged)


def _add(study: str, mlruns: Path, staged: Path) -> stores.Copied:
    """Copy the study into the plain store in `staged`, which MLflow itself can read; runs there stay as they are."""
    for _, store in parts.studies(staged, only=study):  # runs that another clone recorded must not be lost
        parts.same_schema(views.database(store), views.database(mlruns))
        stores.copy_study(study, store, mlruns)
        if parts.change(study, mlruns, views.database(mlruns), store).discarded:
            parts.forget(study, staged)  # what is done again may be what a model was kept of
    parts.forget_packed(study, staged)
    if not views.database(staged).is_file():
        stores.create(staged, views.database(mlruns), portable=True)
    models = _model_runs(study, mlruns, staged)
    with views.still(mlruns) as rows:
        copied = stores.copy_study(
            study, mlruns, staged, rows=rows, statuses=parts.ENDED, models_of=models, portable=True
        )
    stores.compact(staged)
    return copied


def check_repository(root: Path) -> None:
    """Raises InputError where no snapshot can be kept."""
    needed = {".git": "git init", ".dvc/config": "python -m dvc init"}
    problems = [
        Problem(str(root), name, "a snapshot lives in a git repository with DVC", nearest=f"run `{command}` there")
        for name, command in needed.items()
        if not (root / name).exists()
    ]
    if problems:
        raise InputError(*problems)


def _check_study(study: str, mlruns: Path) -> None:
    db = views.database(mlruns)
    if not db.is_file():
        raise InputError(Problem(str(db), "", "no local tracking store", nearest="--tracking-uri names a server's"))
    known = views.studies(mlruns)
    if study not in known:
        raise InputError(Problem(str(db), study, "unknown study", nearest=f"it holds {', '.join(known) or 'none'}"))
    records = records_from_sqlite(db, study)
    if not any(record.status == "FINISHED" for record in records):
        raise InputError(Problem(str(db), study, "no run of this study is finished", nearest="`ablate run` it first"))


def _model_runs(study: str, mlruns: Path, staged: Path) -> list[str]:
    """The runs whose model is kept: of each arm the one with the lowest seed, unless it has one in the snapshot.

    An outdated run's only where the arm has no run that counts.
    """
    db, kept = views.database(mlruns), {}
    known, records = views.model_owners(staged), records_from_sqlite(db, study)
    counted = _counted(study, mlruns, records)
    for record in sorted(records, key=lambda r: (r.run_id not in counted, r.run_id not in known, r.seed)):
        finished = record.phase == "compare" and record.status == "FINISHED"
        if finished and record.arm not in kept and artifact_from_sqlite(db, record.run_id, "model"):
            kept[record.arm] = record.run_id
    return list(kept.values())


def _counted(study: str, mlruns: Path, records: Sequence[Record]) -> Collection[str]:
    """Ids of the runs that count by the study's document; none by one that is damaged."""
    with suppress(InputError):
        document = parts.document(study, mlruns)
        return plan_of_document(document, *checked(document, study), records).counted
    return ()
