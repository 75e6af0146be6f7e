"""Read the runs of a study that count out of a Tracker into tidy tables. Claims nothing."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ablate.analysis.budget import ArmTuning, tunings
from ablate.analysis.example_tables import Kept, read_columns
from ablate.analysis.records import (
    TRAINING_SECONDS,
    MetricInfo,
    Status,
    datasets,
    shared_training,
    status,
    training_seconds,
)
from ablate.planning.outdated import Outdated, outdated
from ablate.planning.plan import plan_of_document
from ablate.study import InputError, Problem, Record, Study, Tracker
from ablate.study.document import checked, clean

RUN_COLUMNS = ["arm", "seed", "status", "run_id", "key", "error"]
SCORE_COLUMNS = ["arm", "seed", "metric", "score"]
CURVE_COLUMNS = ["arm", "seed", "epoch", "metric", "score"]
MEASURED = ("time/", "cost/latency", "cost/throughput", "cost/memory")  # differ from run to run: never in results.csv
DETERMINISTIC = ("test/", "external/", "cost/", "count/")


@dataclass(frozen=True, eq=False)
class Results:
    """Everything a report needs of one study.

    `runs` has a row for every run the study asks for, in study order: arm, seed, status, run_id, key, error. A run
    that failed or is missing has no score anywhere. `scores` and `timings` are tidy: arm, seed, metric, score.
    """

    document: Mapping[str, Any]
    study: Study
    metrics: Mapping[str, MetricInfo]
    runs: pd.DataFrame
    scores: pd.DataFrame
    timings: pd.DataFrame
    tuning: Mapping[str, ArmTuning]
    provenance: Mapping[tuple[str, int], Mapping[str, str]]
    tracker: Tracker
    # Test examples per training example, where every seed redraws the split: what intervals allow for.
    overlap: float | None = None
    datasets: frozenset[str] = frozenset()  # digests of the data of the finished comparison runs
    outdated: tuple[Outdated, ...] = ()  # finished runs that do not count

    @cached_property
    def curves(self) -> pd.DataFrame:
        """The history of every finished run, tidy: arm, seed, epoch (from 1), metric, score."""
        done = self.done()
        told = dict(self.tracker.histories(self.study.name, done.run_id.to_list()))
        rows = [
            (arm, seed, int(entry["epoch"]), key, value)
            for arm, seed, run_id in zip(done.arm, done.seed, done.run_id, strict=True)
            for entry in told.get(run_id, ())
            for key, value in sorted(entry.items())
            if key != "epoch" and not key.startswith(MEASURED)
        ]
        return pd.DataFrame(rows, columns=CURVE_COLUMNS)

    def done(self) -> pd.DataFrame:
        return self._done

    @cached_property
    def _done(self) -> pd.DataFrame:
        return self.runs[self.runs.status == "done"]

    @cached_property
    def _run_ids(self) -> dict[tuple[str, int], str]:
        done = self._done
        return {(arm, seed): run_id for arm, seed, run_id in zip(done.arm, done.seed, done.run_id, strict=True)}

    def artifact(self, arm: str, seed: int, path: str) -> Path | None:
        """Local path of a finished run's artifact, or None."""
        place = (arm, seed, path)
        if place not in self._paths:
            run_id = self._run_ids.get((arm, seed))
            self._paths[place] = None if run_id is None else self.tracker.artifact(run_id, path)
        return self._paths[place]

    @cached_property
    def _paths(self) -> dict[tuple[str, int, str], Path | None]:
        """Where artifacts were found: asking the store takes longer than reading them."""
        return {}

    def examples(self, arm: str, seed: int) -> pd.DataFrame | None:
        """A row a test example: every target that is one number and every metric that is not pooled, under its own
        name. None when the run kept none.

        What a snapshot has dropped is not there. Stores written before conditions had a file of their own have
        everything in the first.
        """
        columns = self.columns(arm, seed)
        return None if columns is None else pd.DataFrame(dict(columns))

    def columns(self, arm: str, seed: int) -> Mapping[str, np.ndarray] | None:
        """`examples`, column by column: what a study of ten thousand runs has the time for. Nobody's to change."""
        scores = self.artifact(arm, seed, "scores.parquet")
        return None if scores is None else self._kept.get((arm, seed), partial(self._columns, arm, seed, scores))

    @cached_property
    def _kept(self) -> Kept:
        return Kept()

    @cached_property
    def memo(self) -> dict[Hashable, Any]:
        """For what several tables work out of the same run."""
        return {}

    def _columns(self, arm: str, seed: int, scores: Path) -> dict[str, np.ndarray]:
        conditions = self.artifact(arm, seed, "conditions.parquet")
        found = ({} if conditions is None else read_columns(conditions)) | read_columns(scores)
        if len({len(column) for column in found.values()}) > 1:
            raise InputError(Problem(str(scores), "", f"must have as many rows as {conditions}"))
        same = {name: info.column for name, info in self.metrics.items() if info.column in found and name not in found}
        return found | {name: found[column] for name, column in same.items()}

    def by_seed(self, arm: str, key: str) -> dict[int, float]:
        """Score of every seed the study asks for; NaN where the run or the score is missing."""
        found = dict(self._by_run.get((arm, key), {}))
        return {seed: found.get(seed, math.nan) for seed in self.study.seeds}

    def training_seconds(self, arm: str) -> dict[int, float]:
        """Measured training time of every finished run of the arm that reports one, by seed."""
        said: dict[int, dict[str, float]] = {}
        for name in TRAINING_SECONDS:
            for seed, value in self._by_run.get((arm, name), {}).items():
                said.setdefault(seed, {})[name] = value
        times = {seed: training_seconds(said[seed]) for seed in sorted(said)}
        return {seed: value for seed, value in times.items() if value is not None}

    def frame(self) -> pd.DataFrame:
        """Wide: a row for every arm and seed with arm, seed, status, a column a score, run_id. Gaps are NaN."""
        both = pd.concat([self.scores, self.timings])
        wide = both.pivot(index=["arm", "seed"], columns="metric", values="score")
        order = list(dict.fromkeys(both.metric))
        return (
            self.runs[["arm", "seed", "status"]]
            .merge(wide[order].reset_index(), on=["arm", "seed"], how="left")
            .assign(run_id=self.runs.run_id.to_list())
        )

    @cached_property
    def _by_run(self) -> dict[tuple[str, str], dict[int, float]]:
        table: dict[tuple[str, str], dict[int, float]] = {}
        for part in (self.scores, self.timings):
            for arm, seed, metric, score in zip(*(part[name].tolist() for name in SCORE_COLUMNS), strict=True):
                table.setdefault((arm, metric), {})[seed] = score
        return table


def load(tracker: Tracker, study_name: str) -> Results:
    """The results of a study as the store has them now.

    Raises: InputError when the store has no such study.
    """
    document = tracker.document(study_name)
    if document is None:
        raise InputError(Problem("tracking store", "", "no study of this name has been run", study_name))
    study, facts = checked(document, study_name)
    document = clean(document)
    metrics = {name: MetricInfo(name, **{"column": name, **info}) for name, info in facts.items()}
    records = tracker.records(study_name)
    planned = plan_of_document(document, study, facts, records)
    cells = [cell for cell in planned.cells if cell.phase == "compare"]
    finished = planned.compared
    return Results(
        document=document,
        study=study,
        metrics=metrics,
        runs=pd.DataFrame([_run_row((c.arm, c.seed), c.record) for c in cells], columns=RUN_COLUMNS),
        scores=_tidy(finished, lambda key: key.startswith(DETERMINISTIC) and not key.startswith(MEASURED)),
        timings=_tidy(finished, lambda key: key.startswith(MEASURED)),
        tuning=tunings(study, metrics, planned.trials),
        provenance={place: dict(record.provenance) for place, record in finished.items()},
        tracker=tracker,
        overlap=shared_training(study, list(finished.values())),
        datasets=datasets(finished.values()),
        outdated=tuple(outdated(planned, records)),
    )


def write_csv(results: Results, folder: Path) -> tuple[Path, Path]:
    """`results.csv` (deterministic scores and counts) and `timings.csv` (measured) in `folder`.

    Columns arm, seed, status, metric, score; floats as the shortest text that reads back exactly. A run that is
    failed or missing is one row without metric and score.
    """
    paths = folder / "results.csv", folder / "timings.csv"
    for path, table in zip(paths, (results.scores, results.timings), strict=True):
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["arm", "seed", "status", "metric", "score"])
            writer.writerows(_csv_rows(results.runs, table))
    return paths


def _csv_rows(runs: pd.DataFrame, table: pd.DataFrame) -> Iterable[tuple[str, ...]]:
    grouped: dict[tuple[object, object], list[tuple[str, float]]] = {}
    for arm, seed, metric, score in table.itertuples(index=False, name=None):
        grouped.setdefault((arm, seed), []).append((metric, score))
    for run in runs.itertuples():
        place = str(run.arm), str(run.seed), str(run.status)
        if run.status != "done":
            yield (*place, "", "")
        for metric, score in grouped.get((run.arm, run.seed), []):
            yield (*place, metric, repr(float(score)))


def _run_row(place: tuple[str, int], record: Record | None) -> tuple[str, int, Status, str, str, str]:
    if record is None:
        return (*place, "missing", "", "", "")
    return (*place, status(record), record.run_id, record.key, record.error)


def _tidy(finished: Mapping[tuple[str, int], Record], wanted: Callable[[str], bool]) -> pd.DataFrame:
    rows = [
        (arm, seed, key, float(record.scores[key]))
        for (arm, seed), record in finished.items()
        for key in sorted(record.scores, key=_score_order)
        if wanted(key)
    ]
    return pd.DataFrame(rows, columns=SCORE_COLUMNS)


def _score_order(key: str) -> tuple[bool, str]:
    return (not key.startswith("test/"), key)
