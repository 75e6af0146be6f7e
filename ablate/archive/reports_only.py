"""Leave in bundles only what a study's report reads. Claims nothing."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from ablate.archive import bundle
from ablate.planning.plan import counted_by
from ablate.study import InputError, Problem, StoredRun, Study

PICTURES = "examples.npz"
PEOPLE = "subject"  # differences are also shown per person


def slim(folder: Path, name: str, origins: Collection[str]) -> None:
    """Of these runs in the folder of a study drop per-example columns and arms that the report does not show, pictures
    that no gallery draws, curves of trials.

    Raises InputError where the study's document or a table is damaged.
    """
    document = bundle.document(folder)
    try:
        study = Study.model_validate_json(json.dumps(document["study"]))
        columns = set(_columns(study, document["metrics"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(Problem(bundle.DOCUMENT, "", "is damaged", str(error)[:200])) from None
    claimed = {arm for hypothesis in study.hypotheses for arm in (hypothesis.arm, hypothesis.against)}
    references = {arm for arm, said in study.arms.items() if said.reference}
    unread = references - claimed  # their scores stand in the matrix
    order = {seed: place for place, seed in enumerate(study.seeds)}
    runs = [(bundle.read(place, name), place) for place in bundle.places(folder).values()]
    counted = counted_by(document, name, [run.record for run, _ in sorted(runs, key=lambda each: each[0].started)])
    runs.sort(key=lambda each: (each[0].origin in origins, order.get(each[0].record.seed, len(order))))
    drawn: set[str] = set()
    for run, place in runs:
        if run.origin in origins:
            _slim(run, place, columns, unread)
        if (place / bundle.ARTIFACTS / PICTURES).is_file():
            counts = not counted or run.origin in counted
            shown = study.report.gallery is not None and run.record.arm not in references | drawn and counts
            if run.origin in origins and not shown:
                (place / bundle.ARTIFACTS / PICTURES).unlink()
            drawn |= {run.record.arm} if counts else set()


def _slim(run: StoredRun, place: Path, columns: Collection[str], unread: Collection[str]) -> None:
    if run.record.phase == "tune":
        (place / bundle.CURVES).unlink(missing_ok=True)
    if run.record.arm not in unread:
        bundle.rewrite_tables(place, columns)
        return
    for name in bundle.TABLES:
        (place / bundle.ARTIFACTS / name).unlink(missing_ok=True)


def _columns(study: Study, metrics: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Names of the per-example columns that a report reads; targets and metrics."""
    yield PEOPLE
    names = [*study.metrics, *(hypothesis.metric for hypothesis in study.hypotheses)]
    for condition_name, condition in study.report.conditions.items():
        yield study.report.column_of(condition_name)
        names += condition.metrics
    for column, density in study.report.densities.items():
        yield column
        names.append(density.error)
    for name in names:
        yield metrics.get(name, {}).get("column", name)
