"""Leave in a copied store only what a study's report reads. Knows the files of a run, claims nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ablate.edges.ledger import records_from_sqlite
from ablate.study import Study

PEOPLE = "subject"  # differences are also shown per person


def slim(mlruns: Path, document: Mapping[str, Any]) -> None:
    """Drop per-example columns that the report does not show, and the pictures of all but one seed an arm.

    `document` is the study's (see Tracker). Changes files of the store in `mlruns`: only ever a copy.
    """
    study = Study.model_validate_json(json.dumps(document["study"]))
    kept = set(_columns(study, document["metrics"]))
    runs = [r for r in records_from_sqlite(mlruns / "mlflow.db", study.name) if r.seed in study.seeds]
    pictured: set[str] = set()
    for record in sorted(runs, key=lambda record: study.seeds.index(record.seed)):
        folder = mlruns / "artifacts" / study.name / record.run_id / "artifacts"
        for table in sorted(folder.glob("*.parquet")):
            frame = pd.read_parquet(table)
            wanted = [name for name in frame.columns if name in kept]
            split = dict.fromkeys(wanted, "BYTE_STREAM_SPLIT")
            # the archive around it compresses, and sees what the runs have in common
            frame[wanted].to_parquet(table, compression=None, index=False, use_dictionary=False, column_encoding=split)
        if (folder / "examples.npz").is_file():
            if record.arm in pictured:
                (folder / "examples.npz").unlink()
            pictured.add(record.arm)


def _columns(study: Study, metrics: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
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
