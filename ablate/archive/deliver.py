"""Bring the bundles of a study into any store: what is there stays, each run comes whole, and once.

A run that was begun and did not come to its end, because the store or this process went away, is done again by the
next delivery. It must be called while no driver of the study is at work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ablate.archive import bundle
from ablate.archive.bundle import ENDED, Came
from ablate.archive.collect import Tell, asked, newer_scores
from ablate.study import Record, StoredRun, Tracker
from ablate.study.amend import supersedes


def deliver(study: str, folder: Path, tracker: Tracker, tell: Tell, came: Came | None = None) -> Came:
    """Add to the store what it lacks of the study in `folder`: see `check` for what that must be.

    Runs that it knows stay as they are, discarded ones too, but for scores measured since and a model that was absent.
    A study's document takes the place of one that was amended less. `came` is what an interrupted call has brought;
    gives that and what this one brings. Raises InputError for what the store does not take, and StoreUnavailable: then
    the next call goes on.
    """
    came = {} if came is None else came
    places, stored = bundle.places(folder), tracker.stored(study)
    known = _known(stored)
    new = [origin for origin in places if origin not in known]
    if not new and all(run.discarded for run in known.values()):
        return came  # all of it was discarded there
    tracker.discard([run.record.run_id for run in stored if _is_half_made(run) and not run.discarded])
    document = _settled(study, bundle.document(folder), tracker)
    tracker.open(study, document)
    ordered = sorted((bundle.read(places[origin], study) for origin in new), key=lambda run: (run.started, run.origin))
    for done, run in enumerate(ordered, 1):
        _add(run, places[run.origin], tracker)
        came[run.origin] = bundle.model(places[run.origin]) is not None
        tell(done, len(new))
    for origin, place in places.items():
        if origin in known:
            _complete(place, known[origin], tracker)
    tracker.close(study, finished=_finished(document, tracker.records(study)))
    return came


def absent_models(study: str, folder: Path, tracker: Tracker) -> set[str]:
    """The runs in `folder` of which a model is kept elsewhere and not in the store."""
    known = _known(tracker.stored(study))
    there = {origin for origin, run in known.items() if run.model or run.discarded}
    places = bundle.places(folder).items()
    return {origin for origin, place in places if origin not in there and bundle.read(place, study).model}


def _known(stored: Sequence[StoredRun]) -> dict[str, StoredRun]:
    """The runs that the store has or had, by their ids there and where they were made. Half-made ones do not count."""
    found: dict[str, StoredRun] = {}
    for run in sorted(stored, key=lambda run: not run.discarded):  # of one that is there twice the one that is kept
        if not _is_half_made(run):
            found[run.record.run_id] = found[run.origin] = run
    return found


def _is_half_made(run: StoredRun) -> bool:
    return run.origin != run.record.run_id and run.record.status not in ENDED


def _settled(study: str, theirs: Mapping[str, Any], tracker: Tracker) -> Mapping[str, Any]:
    """The document that the study has from now on."""
    ours = asked(lambda: tracker.document(study), study, tracker)
    return theirs if ours is None or supersedes(theirs, ours, closed_later=False) else ours


def _add(run: StoredRun, place: Path, tracker: Tracker) -> None:
    files = place / bundle.ARTIFACTS
    tracker.add(run, bundle.curves(place), files if files.is_dir() else None, bundle.model(place))


def _complete(place: Path, ours: StoredRun, tracker: Tracker) -> None:
    """Add what came to a known run since, or what was absent then."""
    if ours.discarded or ours.record.status != "FINISHED":
        return
    theirs, model = bundle.read(place, ours.study), bundle.model(place)
    scores = newer_scores(theirs, ours)
    if scores:
        tracker.add_scores([ours.record.run_id], scores)
    if model and not ours.model:
        tracker.add_model(ours.record.run_id, model)


def _finished(document: Mapping[str, Any], records: Sequence[Record]) -> bool:
    """Whether every run that the study asks for is there and no run failed. The document may be a stranger's."""
    study = document.get("study")
    arms, seeds = (study.get(part) if isinstance(study, dict) else None for part in ("arms", "seeds"))
    if not isinstance(arms, dict) or not isinstance(seeds, list) or any(r.status == "FAILED" for r in records):
        return False
    done = {(r.arm, str(r.seed)) for r in records if r.phase == "compare" and r.status == "FINISHED"}
    return all((arm, seed) in done for arm in arms for seed in set(map(str, seeds)))
