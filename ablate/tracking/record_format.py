"""The tags, metrics and artifacts in which a store keeps Records and documents. Imports no mlflow."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from ablate.study import SCHEMA, InputError, Problem, Record, RunSpec, printable
from ablate.untrusted.wording import shown

ROLE = "ablate.role"  # tag: "study" on the parent run, "run" on those of seeds and trials, "arm" on summaries of arms
YARDSTICK = "ablate.yardstick"  # tag of an arm's summary: "yes" for a reference, which is not trained
PARENT, COLOUR = "mlflow.parentRunId", "mlflow.runColor"  # tags by which the MLflow UI nests and draws runs
FAILURES = "ablate.failures"  # tag: how many tries of the run's cell have failed, if any
STATUS = "ablate.status"  # tag: how the run ended, written with its scores or later; RUNNING before
DOCUMENT = "study.json"  # artifact of the parent run
MAX_DOCUMENT_BYTES = 20_000_000  # a study of ten thousand arms has 5 MB; a larger file is cut off, so invalid JSON
MODEL = "model"  # name of the LoggedModel of a run
MODEL_DATA = "data/model"  # folder with weights and settings, inside the LoggedModel's folder


def score(value: float) -> float:
    """Undo MLflow's encoding of ±∞, which its database stores as ± the largest float."""
    return value if abs(value) < sys.float_info.max else value * 2


def status_of(status: str, tags: Mapping[str, str]) -> str:
    """How a run ended. MLflow's own `status` does not tell: a script that logs to the run sets it too.

    A run has ended when both say so: its tag is written with its scores, before MLflow's status, or after that where a
    script may have set it. Runs of earlier versions, and those that came from another store, have no tag; no script
    logged to them. Raises ValueError for a tag that says nothing known.
    """
    own = tags.get(STATUS, status)
    if STATUS in tags and own not in ("RUNNING", "FINISHED", "FAILED", "KILLED"):
        raise ValueError(f"no status: {shown(own)}")
    return "RUNNING" if status == "RUNNING" else own


def check_version(version: object, item: str) -> None:
    """Raises InputError where `item` was written by a newer version of the package, with a higher schema."""
    if int(str(version)) > SCHEMA:
        rule = f"was written by a newer version of ablate: records of schema {version}, this one reads up to {SCHEMA}"
        raise InputError(Problem("tracking store", item, rule, nearest="`pip install --upgrade ablate`"))


def record_of(run_id: str, status: str, tags: Mapping[str, str], metrics: Mapping[str, float], dataset: str) -> Record:
    """The Record of a run, from its tags, its latest metrics and the digest of its data.

    Raises KeyError, ValueError or TypeError for damaged tags, and InputError for those of a newer version.
    """
    check_version(tags.get("ablate.schema", 0), f"run {run_id}")  # the first version wrote none
    trial = tags.get("ablate.trial", "")
    overrides, provenance = (json.loads(tags.get(f"ablate.{name}", "{}")) for name in ("overrides", "provenance"))
    if not isinstance(overrides, dict) or not isinstance(provenance, dict):
        raise ValueError("overrides and provenance must be tables")
    return Record(
        run_id=run_id,
        arm=tags["ablate.arm"],
        seed=int(tags["ablate.seed"]),
        phase=cast(Any, tags["ablate.phase"]),
        key=tags["ablate.key"],
        status=cast(Any, status_of(status, tags)),
        scores={name: score(value) for name, value in sorted(metrics.items())},
        overrides=overrides,
        trial=int(trial) if trial else None,
        error=printable(tags.get("ablate.error", "")),
        provenance={printable(name): printable(str(value)) for name, value in provenance.items()},
        dataset=dataset,
        failures=int(tags.get(FAILURES, 0)),
    )


def identity(run: RunSpec | Record, study: str) -> dict[str, str]:
    """The tags that identify a run, and those of its model."""
    tags = {
        ROLE: "run",
        "ablate.study": study,
        "ablate.arm": run.arm,
        "ablate.seed": str(run.seed),
        "ablate.phase": run.phase,
        "ablate.key": run.key,
        "ablate.schema": str(SCHEMA),
        "ablate.overrides": json.dumps(dict(run.overrides), sort_keys=True),
    }
    return tags if run.trial is None else {**tags, "ablate.trial": str(run.trial)}


def record_tags(record: Record, study: str) -> dict[str, str]:
    """The tags from which `record_of` makes this record."""
    provenance = json.dumps(dict(record.provenance), sort_keys=True)
    results = {"ablate.provenance": provenance, "ablate.error": record.error, FAILURES: str(record.failures or "")}
    return {**identity(record, study), **{name: value for name, value in results.items() if value}}


def curves(points: Iterable[tuple[str, float, int, int]]) -> list[dict[str, float]]:
    """Per-epoch entries from (metric, value, step, timestamp) points.

    Steps count epochs from 1; values without a curve are at step 0. Of two values at one step the earlier belongs to
    the curve: the later one is the final score, which may be computed at another precision.
    """
    epochs: dict[int, dict[str, float]] = defaultdict(dict)
    for name, value, step, _ in sorted(points, key=lambda point: (point[2], point[3])):
        if step >= 1:
            epochs[step].setdefault(name, score(value))
    return [{"epoch": float(step), **dict(sorted(values.items()))} for step, values in sorted(epochs.items())]


def read_document(path: Path) -> dict[str, Any]:
    """A study's document. Raises InputError where it is no JSON table, or a newer version wrote it."""
    try:
        with path.open("rb") as stream:
            document = json.loads(stream.read(MAX_DOCUMENT_BYTES))
        if not isinstance(document, dict):
            raise ValueError(f"a {type(document).__name__}, no table")
        check_version(document.get("schema", 0), "the study's document")
    except (OSError, ValueError, RecursionError) as error:  # ValueError: no JSON, or a version that is no number
        raise InputError(Problem(str(path), "", "must be a readable JSON table", str(error)[:80])) from None
    return document
