"""Write the ended runs of a study as bundles, from any store. Only reads the store; runs may be going on in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

from ablate.archive import bundle
from ablate.archive.bundle import ENDED, Added, History
from ablate.study import InputError, Problem, StoredRun, Tracker
from ablate.study.amend import supersedes
from ablate.study.rules import NAME
from ablate.tracking.record_format import MODEL

RUNS_AT_ONCE = 500  # whose curves are in memory together
RESUME_FILES = ("checkpoint*", "*.partial")  # needed to resume a run, not after it has ended

OnProgress = Callable[[int, int], None]  # called with the number of runs done and of all runs
ChooseModels = Callable[[Sequence[StoredRun]], Collection[str]]  # runs → ids of those whose model is copied


def all_models(runs: Sequence[StoredRun]) -> Collection[str]:
    """Choose the model of every run."""
    return [run.origin for run in runs]


def collect(
    study: str,
    tracker: Tracker,
    folder: Path,
    on_progress: OnProgress,
    *,
    models: ChooseModels = all_models,
    without: Collection[str] = (),
    rewrite: Collection[str] = (),
    added: Added | None = None,
) -> Added:
    """Add the ended runs of a study that `folder` lacks, and remove those that were discarded since.

    Files that match a pattern of `without` are not copied. Bundles of the runs in `rewrite` are written again. To
    continue an interrupted call, pass the `added` that it was given. Raises InputError when the store does not have
    the study.
    """
    added = {} if added is None else added
    document = tracker.document(study)
    if document is None or not NAME.fullmatch(study):
        raise InputError(Problem("tracking store", "study", "not in the store", study))
    folder.mkdir(parents=True, exist_ok=True)
    stored = tracker.stored(study)
    by_origin = {run.origin: run for run in reversed(stored) if run.record.status in ENDED and not run.discarded}
    ended = [run for run in stored if by_origin.get(run.origin) is run]
    discarded = {run.origin for run in stored if run.discarded} - by_origin.keys()
    for origin, run_folder in bundle.run_folders(folder).items():
        if origin in by_origin:
            _add_later_scores(run_folder, study, by_origin[origin])
        elif origin in discarded:
            shutil.rmtree(run_folder)
    # Without a run that both have, the study in the folder was discarded as a whole and opened anew.
    known = bundle.document(folder) if bundle.run_folders(folder) and (folder / bundle.DOCUMENT).is_file() else None
    if known is None or not supersedes(known, document, closed_later=False):
        bundle.write_document(folder, document)
    with_model = models(ended)
    present = bundle.run_folders(folder).keys() - (set(rewrite) - added.keys())
    missing = [run for run in ended if run.origin not in present]
    for done, (run, history) in enumerate(_histories(study, tracker, missing), 1):
        model = _model(tracker, run) if run.origin in with_model else None
        bundle.write(folder, run, history, partial(_copy_files, tracker.files(run.record.run_id), without), model)
        added[run.origin] = model is not None
        on_progress(done, len(missing))
    return added


def newer_scores(source: StoredRun, target: StoredRun) -> dict[str, float]:
    """The scores that were measured in `source` after the run ended, and later than those in `target`, a copy of it."""
    scores = source.record.scores
    return {
        name: scores[name]
        for name, time_ms in source.later.items()
        if name in scores
        and time_ms > target.later.get(name, target.ended)
        and repr(scores[name]) != repr(target.record.scores.get(name))
    }


def _add_later_scores(run_folder: Path, study: str, run: StoredRun) -> None:
    """Add to a bundle the scores that the store has got since it was written."""
    copy = bundle.read(run_folder, study)
    newer = newer_scores(run, copy)
    if newer:
        scores = dict(sorted({**copy.record.scores, **newer}.items()))
        later = {**copy.later, **{name: run.later[name] for name in newer}}
        bundle.write_run(run_folder, replace(copy, record=replace(copy.record, scores=scores), later=later))


def _histories(study: str, tracker: Tracker, runs: Sequence[StoredRun]) -> Iterator[tuple[StoredRun, History]]:
    """Each run with its curves. Each batch is read completely before it is used: an open read blocks writers."""
    for start in range(0, len(runs), RUNS_AT_ONCE):
        batch = runs[start : start + RUNS_AT_ONCE]
        histories = dict(tracker.histories(study, [run.record.run_id for run in batch]))
        yield from ((run, histories.get(run.record.run_id, ())) for run in batch)


def _model(tracker: Tracker, run: StoredRun) -> Path | None:
    folder = tracker.artifact(run.record.run_id, MODEL) if run.model else None
    return bundle.complete_model(folder) if folder else None


def _copy_files(source: Path | None, without: Collection[str], target: Path) -> None:
    """Copy a run's files, without links, its model, RESUME_FILES and what matches a pattern of `without`."""
    patterns = (*RESUME_FILES, *without)
    for path in sorted(source.rglob("*")) if source else ():
        inside = path.relative_to(source) if source else path
        skipped = inside.parts[0] == MODEL or any(fnmatch(part, p) for part in inside.parts for p in patterns)
        if path.is_file() and not path.is_symlink() and not skipped:
            (target / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / inside)
