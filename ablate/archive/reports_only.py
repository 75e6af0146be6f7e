"""Reduce bundles to what a study's report reads."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from ablate.archive import bundle
from ablate.planning.plan import counted_by
from ablate.study import InputError, Problem, StoredRun, Study

PICTURES = "examples.npz"
SUBJECT = "subject"  # reports also show differences per person


def reduce_bundles(folder: Path, name: str, origins: Collection[str]) -> None:
    """Remove from these runs in the folder of the study `name` what its report does not read.

    That is: per-example columns that are not shown, per-example tables of references without a hypothesis, curves of
    tuning trials, and pictures of all runs but the one per arm that the gallery draws.

    Raises InputError where the study's document or a table is damaged.
    """
    document = bundle.document(folder)
    try:
        study = Study.model_validate_json(json.dumps(document["study"]))
        columns = set(_columns(study, document["metrics"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(Problem(bundle.DOCUMENT, "", "is damaged", str(error)[:200])) from None
    named = {arm for hypothesis in study.hypotheses for arm in (hypothesis.arm, hypothesis.against)}
    claimed = {arm for name in named for arm in study.members(name)}
    references = {arm for arm, settings in study.arms.items() if settings.reference}
    without_tables = references - claimed  # the report reads their scores alone, which are in run.json
    seed_order = {seed: index for index, seed in enumerate(study.seeds)}
    runs = [(bundle.read(path, name), path) for path in bundle.run_folders(folder).values()]
    counted = counted_by(document, name, [run.record for run, _ in sorted(runs, key=lambda each: each[0].started)])
    runs.sort(key=lambda each: (each[0].origin in origins, seed_order.get(each[0].record.seed, len(seed_order))))
    arms_with_pictures: set[str] = set()
    for run, run_folder in runs:
        if run.origin in origins:
            _reduce(run, run_folder, columns, without_tables)
        pictures = run_folder / bundle.ARTIFACTS / PICTURES
        if pictures.is_file():
            counts = not counted or run.origin in counted
            in_gallery = study.report.gallery is not None and run.record.arm not in references | arms_with_pictures
            if run.origin in origins and not (in_gallery and counts):
                pictures.unlink()
            arms_with_pictures |= {run.record.arm} if counts else set()


def _reduce(run: StoredRun, run_folder: Path, columns: Collection[str], without_tables: Collection[str]) -> None:
    if run.record.phase == "tune":
        (run_folder / bundle.CURVES).unlink(missing_ok=True)
    if run.record.arm not in without_tables:
        bundle.rewrite_tables(run_folder, columns)
        return
    for name in bundle.TABLES:
        (run_folder / bundle.ARTIFACTS / name).unlink(missing_ok=True)


def _columns(study: Study, metrics: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Names of the per-example columns that a report reads: conditions, densities and metrics."""
    yield SUBJECT
    names = [*study.metrics, *(hypothesis.metric for hypothesis in study.hypotheses)]
    for condition_name, condition in study.report.conditions.items():
        yield study.report.column_of(condition_name)
        names += condition.metrics
    for column, density in study.report.densities.items():
        yield column
        names.append(density.error)
    for name in names:
        yield metrics.get(name, {}).get("column") or name  # a function may give examples of a pooled metric
