"""Make bundles of a study's ended runs, out of any store. It only reads the store, which may be at work."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ablate.archive import bundle
from ablate.archive.bundle import ENDED, Came, History
from ablate.study import InputError, Problem, StoredRun, Tracker
from ablate.study.amend import supersedes
from ablate.study.rules import NAME
from ablate.tracking.record_format import MODEL

AT_ONCE = 500  # runs whose curves are in memory
RESUME = ("checkpoint*", "*.partial")  # what a run needs to go on, and no longer when it has ended

T = TypeVar("T")
Tell = Callable[[int, int], None]  # runs done, runs in all
Choose = Callable[[Sequence[StoredRun]], Collection[str]]  # the ids of those whose model is taken


def every(runs: Sequence[StoredRun]) -> Collection[str]:
    """All models."""
    return [run.origin for run in runs]


def collect(
    study: str,
    tracker: Tracker,
    folder: Path,
    tell: Tell,
    *,
    models: Choose = every,
    without: Collection[str] = (),
    again: Collection[str] = (),
    came: Came | None = None,
) -> Came:
    """Add to `folder` what it lacks of a study, and take out the runs that were discarded since.

    Files that match a pattern of `without` stay behind; of runs in `again` the bundle is made anew. `came` is what an
    interrupted call has given: then this one goes on. Raises InputError when the study is not there.
    """
    came = {} if came is None else came
    found = asked(lambda: tracker.document(study), study, tracker)
    if found is None or not NAME.fullmatch(study):
        raise InputError(Problem("tracking store", "study", "not in the store", study))
    folder.mkdir(parents=True, exist_ok=True)
    _settle_document(folder, found)
    runs = tracker.stored(study)
    ended = {run.origin: run for run in reversed(runs) if run.record.status in ENDED and not run.discarded}
    _drop(folder, {run.origin for run in runs if run.discarded} - ended.keys())
    for origin, place in bundle.places(folder).items():
        if origin in ended:
            _rescore(place, study, ended[origin])
    wanted = models([run for run in runs if ended.get(run.origin) is run])
    known = bundle.places(folder).keys() - (set(again) - came.keys())
    new = [run for run in runs if ended.get(run.origin) is run and run.origin not in known]
    for done, (run, history) in enumerate(_histories(study, tracker, new), 1):
        model = _model(study, tracker, run) if run.origin in wanted else None
        bundle.write(folder, run, history, partial(_put_files, tracker.files(run.record.run_id), without), model)
        came[run.origin] = model is not None
        tell(done, len(new))
    return came


def _settle_document(folder: Path, document: Mapping[str, Any]) -> None:
    """The store's own, unless the one in the folder has been amended since."""
    if (folder / bundle.DOCUMENT).is_file() and supersedes(bundle.document(folder), document, closed_later=False):
        return
    bundle.write_document(folder, document)


def _drop(folder: Path, origins: Collection[str]) -> None:
    for origin, place in bundle.places(folder).items():
        if origin in origins:
            shutil.rmtree(place)


def newer_scores(theirs: StoredRun, ours: StoredRun) -> dict[str, float]:
    """The scores of a run that were measured after it had ended, and after those of the same run elsewhere."""
    known = ours.record.scores
    return {
        name: theirs.record.scores[name]
        for name, when in theirs.later.items()
        if name in theirs.record.scores
        and when > ours.later.get(name, ours.ended)
        and repr(theirs.record.scores[name]) != repr(known.get(name))
    }


def _rescore(place: Path, study: str, run: StoredRun) -> None:
    """Add to a bundle the scores that came since."""
    known = bundle.read(place, study)
    came = newer_scores(run, known)
    if came:
        scores = dict(sorted({**known.record.scores, **came}.items()))
        later = {**known.later, **{name: run.later[name] for name in came}}
        bundle.write_run(place, replace(known, record=replace(known.record, scores=scores), later=later))


def _histories(study: str, tracker: Tracker, runs: Sequence[StoredRun]) -> Iterator[tuple[StoredRun, History]]:
    """Each with its curves. A few at a time, and those at once: while a store is being read, nobody writes to it."""
    for start in range(0, len(runs), AT_ONCE):
        some = runs[start : start + AT_ONCE]
        told = dict(tracker.histories(study, [run.record.run_id for run in some]))
        yield from ((run, told.get(run.record.run_id, ())) for run in some)


def asked(ask: Callable[[], T | None], study: str, tracker: Tracker) -> T | None:
    """What a store answers. A file that is not there may be one of a server that has just gone away."""
    found = ask()
    if found is None:
        tracker.records(study)  # raises StoreUnavailable
        found = ask()
    return found


def _model(study: str, tracker: Tracker, run: StoredRun) -> Path | None:
    found = asked(lambda: tracker.artifact(run.record.run_id, MODEL), study, tracker) if run.model else None
    whole = found and all((found / name).is_file() for name in (bundle.WEIGHTS, bundle.DESCRIPTION))
    return found if whole else None


def _put_files(source: Path | None, without: Collection[str], target: Path) -> None:
    """Copy a run's files; links, the model and what it needed to go on stay behind."""
    patterns = (*RESUME, *without)
    for path in sorted(source.rglob("*")) if source else ():
        inside = path.relative_to(source) if source else path
        skipped = inside.parts[0] == MODEL or any(fnmatch(part, p) for part in inside.parts for p in patterns)
        if path.is_file() and not path.is_symlink() and not skipped:
            (target / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / inside)
