"""Put a study's ended runs under DVC, inside the git repository, and bring them back in any clone without a network.

`mlruns.dvc` at the repository's root names a folder with an archive a study, `STUDY.zip.xz`; `mlruns-models.dvc` names
one with the models. Their objects lie in `.dvc/storage`, which git carries; where a person has configured a DVC remote,
models go there. A snapshot is built and read in temporary folders: the store that people work in is never replaced.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ablate.archive import bundle, dvc_storage, reports_only, zip_archive
from ablate.archive.bundle import Came
from ablate.archive.dvc_storage import ARCHIVES, MODELS, REMOTE
from ablate.planning.plan import counted_by
from ablate.study import InputError, Problem, StoredRun

SUFFIX = ".zip.xz"
LOGS = ("*.log",)  # the report shows none

Collect = Callable[..., Came]  # `collect` of a study and a store: (folder, **choices)


def snapshot(study: str, root: Path, collected: Collect, *, slim: bool = False) -> str:
    """Put a study's ended runs, with one model an arm, into the snapshot of the repository `root`; others in it stay.

    `collected` is `collect` for this study and its store. `slim` adds what the report reads and no more: no models, of
    the per-example columns those that are shown, pictures of the gallery's seed. Runs that the snapshot has stay as
    they are, but for those of which parts were left out when they are to be had whole. Returns what a person should
    know and do next. Raises InputError when `root` is no DVC and git repository.
    """
    dvc_storage.check_repository(root)
    with dvc_storage.alone(root), tempfile.TemporaryDirectory(prefix="ablate-snapshot-") as scratch:
        archives, models, folder = (Path(scratch, name) for name in ("archives", "models", "study"))
        _check_out(ARCHIVES, root, archives)
        if (archives / f"{study}{SUFFIX}").is_file():
            _unpack(archives / f"{study}{SUFFIX}", folder)
        if slim:
            came = _add_slim(study, folder, collected)
        else:
            _check_out(MODELS, root, models)
            came = _add_whole(study, folder, models / study, collected)
        dvc_storage.declare_storage(root)
        if not slim:
            _publish_models(models, root)
        zip_archive.pack(study, folder, archives / f"{study}{SUFFIX}")
        dvc_storage.publish(ARCHIVES, archives, root)
        dvc_storage.clean(root)
        held = sorted(file.name.removesuffix(SUFFIX) for file in archives.glob(f"*{SUFFIX}"))
    return _said(study, came, held, root)


def _add_slim(study: str, folder: Path, collected: Collect) -> Came:
    came = collected(folder, models=lambda runs: (), without=LOGS)
    reports_only.slim(folder, study, came)
    bundle.write_slim_ones(folder, (bundle.slim_ones(folder) | came.keys()) & bundle.places(folder).keys())
    return came


def _add_whole(study: str, folder: Path, models: Path, collected: Collect) -> Came:
    """Models go into the folder `models`, which may hold some; there they stay the same objects from then on."""
    slim = bundle.slim_ones(folder)
    known = {path.name for path in models.glob("*")}

    def lacking(runs: Sequence[StoredRun]) -> Collection[str]:
        """Of each arm without a model here the run with the lowest seed that has one, an outdated one last."""
        counted = counted_by(bundle.document(folder), study, [run.record for run in runs])
        places = bundle.places(folder)
        kept = {bundle.read(place, study).record.arm: origin for origin, place in places.items() if origin in known}
        for run in sorted(runs, key=lambda run: (run.record.run_id not in counted, run.record.seed)):
            if run.model and run.record.phase == "compare" and run.record.status == "FINISHED":
                kept.setdefault(run.record.arm, run.origin)
        return set(kept.values()) - known

    came = collected(folder, models=lacking, without=LOGS, again=slim)
    bundle.write_slim_ones(folder, slim & bundle.places(folder).keys() - came.keys())
    for origin, place in bundle.places(folder).items():
        if origin in came:
            bundle.rewrite_tables(place)
        if (place / bundle.MODEL).is_dir():
            models.mkdir(parents=True, exist_ok=True)
            shutil.move(place / bundle.MODEL, models / origin)
        run = bundle.read(place, study)
        if run.model != (models / origin).is_dir():
            bundle.write_run(place, replace(run, model=not run.model))
    for gone in known - bundle.places(folder).keys():
        shutil.rmtree(models / gone)
    return came


def _publish_models(models: Path, root: Path) -> None:
    if any(path.is_file() for path in models.rglob("*")):
        dvc_storage.publish(MODELS, models, root, dvc_storage.own_remote(root))
    else:
        (root / MODELS.file).unlink(missing_ok=True)


def _said(study: str, came: Came, held: Sequence[str], root: Path) -> str:
    tracked = [each.file for each in (ARCHIVES, MODELS) if (root / each.file).is_file()]
    remote = dvc_storage.own_remote(root)
    where = f"Models are on the DVC remote {remote}.\n" if remote != REMOTE and len(tracked) > 1 else ""
    return (
        f"{study}: {bundle.counted(came)} were added to the snapshot, which now holds "
        f"{', '.join(held)} in {dvc_storage.size(root) / 1e6:.1f} MB.\n{where}"
        f"To share it: git add {' '.join(tracked)} .dvc && git commit"
    )


def _check_out(tracked: dvc_storage.Tracked, root: Path, target: Path) -> None:
    if (root / tracked.file).is_file():
        dvc_storage.check_out(tracked, root, target)
    else:
        target.mkdir(parents=True)


def _unpack(file: Path, folder: Path) -> str:
    study = zip_archive.unpack(file, folder)
    if file.name != f"{study}{SUFFIX}":
        raise InputError(Problem(file.name, "study", "is that of another file", study[:80]))
    return study


@contextmanager
def opened(root: Path) -> Iterator[dict[str, Path]]:
    """The studies in the snapshot of the repository `root`, each a folder of bundles without models, all checked.

    Needs no network and no account. Raises InputError when the snapshot is not whole, or there is none.
    """
    if not (root / ARCHIVES.file).is_file():
        hint = "`ablate snapshot <study>` makes one"
        raise InputError(Problem(str(root), ARCHIVES.file, "no snapshot here", nearest=hint))
    with tempfile.TemporaryDirectory(prefix="ablate-restore-") as scratch:
        archives = Path(scratch, "archives")
        dvc_storage.check_out(ARCHIVES, root, archives)
        files = sorted(archives.glob(f"*{SUFFIX}"))
        if not files or len(files) < len(list(archives.rglob("*"))):
            raise InputError(Problem(str(root / ARCHIVES.file), "", "is no snapshot of studies"))
        yield {_unpack(file, Path(scratch, file.name)): Path(scratch, file.name) for file in files}


def put_models(root: Path, studies: Mapping[str, Path], wanted: Mapping[str, Collection[str]]) -> str:
    """Put the models of the wanted runs into the bundles; what to tell a person when some cannot be had."""
    count = sum(map(len, wanted.values()))
    if not count:
        return ""
    try:
        with tempfile.TemporaryDirectory(prefix="ablate-models-") as scratch:
            models = Path(scratch, "models")
            _check_out(MODELS, root, models)
            for study, origins in wanted.items():
                for origin in (each for each in origins if (models / study / each).is_dir()):
                    count -= _put_model(models / study / origin, studies[study] / bundle.RUNS / origin / bundle.MODEL)
    except InputError as error:
        reason = f": {error.problems[0]}"
    else:
        reason = ": the snapshot does not hold them"
    return f"{count} models are absent{reason}; `ablate restore` brings them once they can be had" if count else ""


def _put_model(source: Path, target: Path) -> bool:
    names = (bundle.WEIGHTS, bundle.DESCRIPTION)
    if not all((source / name).is_file() for name in names):
        return False
    target.mkdir()
    for name in names:
        shutil.move(source / name, target / name)
    return True
