"""Put a study's ended runs under DVC, inside the git repository, and restore them in any clone without a network.

`mlruns.dvc` at the repository's root tracks a folder with one archive per study, `STUDY.zip.xz`; `mlruns-models.dvc`
tracks one with the models. Their objects are in `.dvc/storage`, which git tracks; if `core.remote` names a DVC remote,
models go there. A snapshot is built and read in temporary folders: the local store is never replaced.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ablate.archive import bundle, dvc_storage, zip_archive
from ablate.archive.bundle import Added
from ablate.archive.dvc_storage import ARCHIVES, MODELS, REMOTE
from ablate.archive.reports_only import reduce_bundles
from ablate.planning.plan import counted_by
from ablate.study import InputError, Problem, StoredRun

SUFFIX = ".zip.xz"
LOGS = ("*.log",)  # reports do not read them

Collect = Callable[..., Added]  # `collect` with study and tracker bound: (folder, **options)


def snapshot(study: str, root: Path, collect: Collect, *, reports_only: bool = False) -> str:
    """Add a study's ended runs, with one model per arm, to the snapshot of the repository `root`.

    `reports_only` adds only what the report reads: no models, the per-example columns that it shows, the pictures of
    the gallery's seed. Runs that are in the snapshot already stay as they are; without `reports_only`, those that were
    reduced before are replaced by complete ones. Returns a message with the result and the next command. Raises
    InputError when `root` is no DVC and git repository.
    """
    dvc_storage.check_repository(root)
    with dvc_storage.alone(root), tempfile.TemporaryDirectory(prefix="ablate-snapshot-") as scratch:
        archives, models, folder = (Path(scratch, name) for name in ("archives", "models", "study"))
        _check_out_or_create(ARCHIVES, root, archives)
        if (archives / f"{study}{SUFFIX}").is_file():
            _unpack(archives / f"{study}{SUFFIX}", folder)
        if reports_only:
            added = _add_reduced(study, folder, collect)
        else:
            _check_out_or_create(MODELS, root, models)
            added = _add_complete(study, folder, models / study, collect)
        dvc_storage.declare_storage(root)
        if not reports_only:
            _publish_models(models, root)
        zip_archive.pack(study, folder, archives / f"{study}{SUFFIX}")
        dvc_storage.publish(ARCHIVES, archives, root)
        dvc_storage.clean(root)
        studies = sorted(file.name.removesuffix(SUFFIX) for file in archives.glob(f"*{SUFFIX}"))
    return _message(study, added, studies, root)


def _add_reduced(study: str, folder: Path, collect: Collect) -> Added:
    added = collect(folder, models=lambda runs: (), without=LOGS)
    reduce_bundles(folder, study, added)
    bundle.write_reduced_runs(folder, (bundle.reduced_runs(folder) | added.keys()) & bundle.run_folders(folder).keys())
    return added


def _add_complete(study: str, folder: Path, models: Path, collect: Collect) -> Added:
    """Add complete runs; their models are moved to `models`/RUN. Models that are there stay, with unchanged bytes."""
    reduced = bundle.reduced_runs(folder)
    with_model = {path.name for path in models.glob("*")}

    def missing_models(runs: Sequence[StoredRun]) -> Collection[str]:
        """For each arm without a model: its run with a model and the lowest seed, outdated runs last."""
        counted = counted_by(bundle.document(folder), study, [run.record for run in runs])
        run_folders = {origin: path for origin, path in bundle.run_folders(folder).items() if origin in with_model}
        by_arm = {bundle.read(path, study).record.arm: origin for origin, path in run_folders.items()}
        for run in sorted(runs, key=lambda run: (run.record.run_id not in counted, run.record.seed)):
            if run.model and run.record.phase == "compare" and run.record.status == "FINISHED":
                by_arm.setdefault(run.record.arm, run.origin)
        return set(by_arm.values()) - with_model

    added = collect(folder, models=missing_models, without=LOGS, rewrite=reduced)
    bundle.write_reduced_runs(folder, reduced & bundle.run_folders(folder).keys() - added.keys())
    for origin, run_folder in bundle.run_folders(folder).items():
        if origin in added:
            bundle.rewrite_tables(run_folder)
        if (run_folder / bundle.MODEL).is_dir():
            models.mkdir(parents=True, exist_ok=True)
            shutil.move(run_folder / bundle.MODEL, models / origin)
        run = bundle.read(run_folder, study)
        if run.model != (models / origin).is_dir():
            bundle.write_run(run_folder, replace(run, model=not run.model))
    for discarded in with_model - bundle.run_folders(folder).keys():
        shutil.rmtree(models / discarded)
    return added


def _publish_models(models: Path, root: Path) -> None:
    if any(path.is_file() for path in models.rglob("*")):
        dvc_storage.publish(MODELS, models, root, dvc_storage.own_remote(root))
    else:
        (root / MODELS.file).unlink(missing_ok=True)


def _message(study: str, added: Added, studies: Sequence[str], root: Path) -> str:
    tracked = [each.file for each in (ARCHIVES, MODELS) if (root / each.file).is_file()]
    remote = dvc_storage.own_remote(root)
    models = f"Models are on the DVC remote {remote}.\n" if remote != REMOTE and len(tracked) > 1 else ""
    return (
        f"{study}: {bundle.summary(added)} were added to the snapshot, which now holds "
        f"{', '.join(studies)} in {dvc_storage.size(root) / 1e6:.1f} MB.\n{models}"
        f"To share it: git add {' '.join(tracked)} .dvc && git commit"
    )


def _check_out_or_create(tracked: dvc_storage.Tracked, root: Path, target: Path) -> None:
    if (root / tracked.file).is_file():
        dvc_storage.check_out(tracked, root, target)
    else:
        target.mkdir(parents=True)


def _unpack(file: Path, folder: Path) -> str:
    study = zip_archive.unpack(file, folder)
    if file.name != f"{study}{SUFFIX}":
        raise InputError(Problem(file.name, "study", "does not match the name of the file", study[:80]))
    return study


@contextmanager
def opened(root: Path) -> Iterator[dict[str, Path]]:
    """The studies in the snapshot of the repository `root`: name → folder of bundles, checked, without models.

    Needs no network and no account. Raises InputError when there is no snapshot, or it is incomplete or damaged.
    """
    if not (root / ARCHIVES.file).is_file():
        hint = "restore works in the folder that mlruns.dvc is in"
        raise InputError(Problem(str(root), ARCHIVES.file, "no snapshot here", nearest=hint))
    with tempfile.TemporaryDirectory(prefix="ablate-restore-") as scratch:
        archives = Path(scratch, "archives")
        dvc_storage.check_out(ARCHIVES, root, archives)
        files = sorted(archives.glob(f"*{SUFFIX}"))
        if not files or len(files) < len(list(archives.rglob("*"))):
            raise InputError(Problem(str(root / ARCHIVES.file), "", "is no snapshot of studies"))
        yield {_unpack(file, Path(scratch, file.name)): Path(scratch, file.name) for file in files}


def put_models(root: Path, studies: Mapping[str, Path], wanted: Mapping[str, Collection[str]]) -> str:
    """Move the models of the wanted runs into their bundles. Returns a message when some are not available, else ""."""
    absent = sum(map(len, wanted.values()))
    if not absent:
        return ""
    try:
        with tempfile.TemporaryDirectory(prefix="ablate-models-") as scratch:
            models = Path(scratch, "models")
            _check_out_or_create(MODELS, root, models)
            for study, origins in wanted.items():
                for origin in origins:
                    absent -= _move_model(models / study / origin, studies[study] / bundle.RUNS / origin / bundle.MODEL)
    except InputError as error:
        reason = f": {error.problems[0]}"
    else:
        reason = ": the snapshot does not hold them"
    return f"{absent} models are absent{reason}; the same command adds them once they are available" if absent else ""


def _move_model(source: Path, target: Path) -> bool:
    if not bundle.complete_model(source):
        return False
    target.mkdir()
    for name in (bundle.WEIGHTS, bundle.DESCRIPTION):
        shutil.move(source / name, target / name)
    return True
