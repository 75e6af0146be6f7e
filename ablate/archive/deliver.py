"""Add the bundles of a study to any store. Runs that the store has stay as they are; each other run is added once.

When the store or this process stops while a run is being added, the next delivery discards that run and adds it again.
No `ablate run` of the study may be going on meanwhile: the caller holds the study's lock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ablate.archive import bundle
from ablate.archive.bundle import ENDED, Added
from ablate.archive.collect import OnProgress, newer_scores
from ablate.study import Record, StoredRun, Tracker
from ablate.study.amend import supersedes


def deliver(study: str, folder: Path, tracker: Tracker, on_progress: OnProgress, added: Added | None = None) -> Added:
    """Add to the store the runs in `folder` that it lacks; the folder has passed `bundle.check`.

    Runs that the store has, discarded ones too, stay as they are, but for scores measured later and a missing model,
    which are added. The study's document replaces the store's where it has more amendments. To continue an interrupted
    call, pass the `added` that it was given. Raises InputError for a run that the store refuses, and StoreUnavailable:
    then call again.
    """
    added = {} if added is None else added
    run_folders, stored = bundle.run_folders(folder), tracker.stored(study)
    known = _known(stored)
    new = [origin for origin in run_folders if origin not in known]
    if not new and all(run.discarded for run in known.values()):
        return added  # the whole study was discarded in this store
    tracker.discard([run.record.run_id for run in stored if _is_half_added(run) and not run.discarded])
    document, known_document = bundle.document(folder), tracker.document(study)
    if known_document is not None and not supersedes(document, known_document, closed_later=False):
        document = known_document
    tracker.open(study, document)
    runs = sorted(
        (bundle.read(run_folders[origin], study) for origin in new), key=lambda run: (run.started, run.origin)
    )
    for done, run in enumerate(runs, 1):
        run_folder = run_folders[run.origin]
        files, model = run_folder / bundle.ARTIFACTS, bundle.model(run_folder)
        tracker.add(run, bundle.curves(run_folder), files if files.is_dir() else None, model)
        added[run.origin] = model is not None
        on_progress(done, len(new))
    for origin, run_folder in run_folders.items():
        if origin in known:
            _complete(run_folder, known[origin], tracker)
    tracker.close(study, finished=_finished(document, tracker.records(study)))
    return added


def absent_models(study: str, folder: Path, tracker: Tracker) -> set[str]:
    """The runs in `folder` that have a model somewhere, but none in the store."""
    known = _known(tracker.stored(study))
    not_needed = {origin for origin, run in known.items() if run.model or run.discarded}
    run_folders = bundle.run_folders(folder).items()
    return {origin for origin, path in run_folders if origin not in not_needed and bundle.read(path, study).model}


def _known(stored: Sequence[StoredRun]) -> dict[str, StoredRun]:
    """The runs that the store has or had, by their id there and by their origin; half-added ones left out."""
    known: dict[str, StoredRun] = {}
    for run in sorted(stored, key=lambda run: not run.discarded):  # discarded first: of two copies the active one wins
        if not _is_half_added(run):
            known[run.record.run_id] = known[run.origin] = run
    return known


def _is_half_added(run: StoredRun) -> bool:
    return run.origin != run.record.run_id and run.record.status not in ENDED


def _complete(run_folder: Path, stored: StoredRun, tracker: Tracker) -> None:
    """Add to a run of the store the scores and the model that it lacks."""
    if stored.discarded or stored.record.status != "FINISHED":
        return
    delivered, model = bundle.read(run_folder, stored.study), bundle.model(run_folder)
    scores = newer_scores(delivered, stored)
    if scores:
        tracker.add_scores([stored.record.run_id], scores)
    if model and not stored.model:
        tracker.add_model(stored.record.run_id, model)


def _finished(document: Mapping[str, Any], records: Sequence[Record]) -> bool:
    """Whether every comparison run of the study has finished and no run failed. The document may be a stranger's."""
    study = document.get("study")
    arms, seeds = (study.get(key) if isinstance(study, dict) else None for key in ("arms", "seeds"))
    if not isinstance(arms, dict) or not isinstance(seeds, list) or any(r.status == "FAILED" for r in records):
        return False
    finished = {(r.arm, str(r.seed)) for r in records if r.phase == "compare" and r.status == "FINISHED"}
    return all((arm, seed) in finished for arm in arms for seed in set(map(str, seeds)))
