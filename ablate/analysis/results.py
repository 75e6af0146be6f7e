"""Read the runs of a study that count from a Tracker into tidy tables."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ablate.analysis.example_tables import TableCache, read_columns
from ablate.analysis.records import TRAINING_SECONDS, MetricInfo, Status, datasets, shared_training, status
from ablate.planning.outdated import Outdated, outdated
from ablate.planning.plan import Cell, Plan, plan_of_document
from ablate.planning.trials import TrialOutcome
from ablate.study import InputError, Problem, Record, RunReader, Study
from ablate.study.document import checked, clean

RUN_COLUMNS = ["arm", "seed", "status", "run_id", "key", "error"]
SCORE_COLUMNS = ["arm", "seed", "metric", "score"]
CURVE_COLUMNS = ["arm", "seed", "epoch", "metric", "score"]
MEASURED = ("time/", "cost/latency", "cost/throughput", "cost/memory")  # vary from run to run: not in results.csv
DETERMINISTIC = ("external/", "cost/", "count/")  # beside the scores of the split that is compared


@dataclass(frozen=True, eq=False)
class Results:
    """All data of one study that a report needs.

    `runs` has a row for every run the study asks for, in study order: arm, seed, status, run_id, key, error. A run
    that failed or is missing has no score in any table. `scores` and `timings` are tidy: arm, seed, metric, score.
    """

    document: Mapping[str, Any]
    study: Study
    metrics: Mapping[str, MetricInfo]
    runs: pd.DataFrame
    scores: pd.DataFrame
    timings: pd.DataFrame
    trials: Mapping[str, Sequence[TrialOutcome]]  # of every tuned arm
    provenance: Mapping[tuple[str, int], Mapping[str, str]]
    reader: RunReader
    # Test examples per training example where every seed redraws the split: intervals are widened for the overlap.
    overlap: float | None = None
    datasets: frozenset[str] = frozenset()  # digests of the data of the finished comparison runs
    outdated: tuple[Outdated, ...] = ()  # finished runs that do not count
    digests: Mapping[str, str] = field(default_factory=dict)  # of the data, by arm; see `RunSpec.data_digest`
    # Where a study is looked at while it runs: comparison runs that are not to be waited for, done or failed, …
    ended: frozenset[tuple[str, int]] = frozenset()
    beyond: int = 0  # … and finished ones of seeds that it does not ask for now, see `stopping.now`

    @cached_property
    def curves(self) -> pd.DataFrame:
        """The history of every finished run, tidy: arm, seed, epoch (from 1), metric, score."""
        histories = dict(self.reader.histories(self.study.name, list(self.run_ids.values())))
        rows = [
            (arm, seed, int(entry["epoch"]), key, value)
            for (arm, seed), run_id in self.run_ids.items()
            for entry in histories.get(run_id, ())
            for key, value in sorted(entry.items())
            if key != "epoch" and not key.startswith(MEASURED)
        ]
        return pd.DataFrame(rows, columns=CURVE_COLUMNS)

    def done(self) -> pd.DataFrame:
        return self.runs[self.runs.status == "done"]

    @property
    def looks(self) -> tuple[int, ...]:
        """The planned looks that have been taken: those whose runs have all ended."""
        planned, seeds = self.study.stopping, self.study.seeds
        waiting = [i for i, seed in enumerate(seeds) for arm in self.study.arms if (arm, seed) not in self.ended]
        known = min(waiting, default=len(seeds))
        return () if planned is None else tuple(look for look in planned.looks if look <= known)

    def first(self, seeds: int) -> Results:
        """The results of the first seeds of the study alone."""
        study = self.study.first(seeds)
        kept = set(study.seeds)
        runs, scores, timings = (table[table.seed.isin(kept)] for table in (self.runs, self.scores, self.timings))
        return replace(
            self,
            study=study,
            runs=runs.reset_index(drop=True),
            scores=scores.reset_index(drop=True),
            timings=timings.reset_index(drop=True),
            trials={arm: [t for t in of_arm if t.seed in {None, *kept}] for arm, of_arm in self.trials.items()},
            provenance={run: facts for run, facts in self.provenance.items() if run[1] in kept},
            outdated=tuple(o for o in self.outdated if o.record.phase == "tune" or o.record.seed in kept),
            ended=frozenset(run for run in self.ended if run[1] in kept),
            beyond=self.beyond + int((self.runs.status == "done").sum() - (runs.status == "done").sum()),
        )

    @cached_property
    def run_ids(self) -> dict[tuple[str, int], str]:
        """Run id of every finished run by (arm, seed), in study order."""
        done = self.done()
        return {(arm, seed): run_id for arm, seed, run_id in zip(done.arm, done.seed, done.run_id, strict=True)}

    def artifact(self, arm: str, seed: int, path: str) -> Path | None:
        """Local path of a finished run's artifact, or None. Asking the store takes longer than reading the file."""
        key = ("artifact", arm, seed, path)
        if key not in self.memo:
            run_id = self.run_ids.get((arm, seed))
            self.memo[key] = None if run_id is None else self.reader.artifact(run_id, path)
        found: Path | None = self.memo[key]
        return found

    def columns(self, arm: str, seed: int) -> Mapping[str, np.ndarray] | None:
        """The test examples of a run: a column for every target that is one number and every metric that is not
        pooled, under its own name. None when the run kept no examples. Do not change the arrays.

        Arrays instead of a DataFrame: fast enough for ten thousand runs. Columns that a snapshot has dropped are
        missing. In older stores `scores.parquet` holds the columns of `conditions.parquet` as well.
        """
        scores = self.artifact(arm, seed, "scores.parquet")
        return None if scores is None else self._cache.get((arm, seed), partial(self._columns, arm, seed, scores))

    @cached_property
    def _cache(self) -> TableCache:
        return TableCache()

    @cached_property
    def memo(self) -> dict[Hashable, Any]:
        """A cache for values that several tables compute from the same run."""
        return {}

    def _columns(self, arm: str, seed: int, scores: Path) -> dict[str, np.ndarray]:
        conditions = self.artifact(arm, seed, "conditions.parquet")
        columns = ({} if conditions is None else read_columns(conditions)) | read_columns(scores)
        if len({len(column) for column in columns.values()}) > 1:
            raise InputError(Problem(str(scores), "", f"must have as many rows as {conditions}"))
        # a metric that has the values of another metric's column gets them under its own name
        aliases = {name: info.column for name, info in self.metrics.items() if name not in columns}
        return columns | {name: columns[column] for name, column in aliases.items() if column in columns}

    def by_seed(self, arm: str, key: str) -> dict[int, float]:
        """Score of every seed the study asks for; NaN where the run or the score is missing.

        Of an arm on all data sets together: the mean of its scores there.
        """
        if self.study.over_datasets(arm):
            each = [self.by_seed(member, key) for member in self.study.members(arm)]
            return {seed: sum(scores[seed] for scores in each) / len(each) for seed in self.study.seeds}
        scores = dict(self._by_run.get((arm, key), {}))
        return {seed: scores.get(seed, math.nan) for seed in self.study.seeds}

    def training_seconds(self, arm: str) -> dict[int, float]:
        """Measured training time of every finished run of the arm that reports one, by seed."""
        first, second = (self._by_run.get((arm, name), {}) for name in TRAINING_SECONDS)
        return dict(sorted((second | first).items()))

    def frame(self) -> pd.DataFrame:
        """A wide table: a row for every arm and seed, with arm, seed, status, one column for each score, and run_id.

        A missing score is NaN.
        """
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


def load(
    reader: RunReader, study_name: str, *, records: Sequence[Record] | None = None, store: str = "tracking store"
) -> Results:
    """The results of a study. Raises InputError when `store`, as it is called, lacks it.

    `records`: those of the study, where they have just been read; default: read from the store now.
    """
    document = reader.document(study_name)
    if document is None:
        raise InputError(Problem(store, "study", "not in the store", study_name))
    return of_records(reader, document, study_name, reader.records(study_name) if records is None else records)


def of_records(reader: RunReader, document: Mapping[str, Any], study_name: str, records: Sequence[Record]) -> Results:
    """The results of the study in this document by these of its records. Raises InputError for a damaged document."""
    study, facts = checked(document, study_name)
    document = clean(document)
    metrics = {name: MetricInfo(name, **{"column": name, **info}, split=study.split) for name, info in facts.items()}
    plan = plan_of_document(document, study, facts, records)
    cells = [cell for cell in plan.cells if cell.phase == "compare"]
    finished, compared = plan.compared, f"{study.split}/"
    return Results(
        document=document,
        study=study,
        metrics=metrics,
        runs=pd.DataFrame([_run_row(cell) for cell in cells], columns=RUN_COLUMNS),
        scores=_tidy(finished, (compared, *DETERMINISTIC), first=compared, but=MEASURED),
        timings=_tidy(finished, MEASURED),
        trials=plan.trials,
        provenance={arm_and_seed: dict(record.provenance) for arm_and_seed, record in finished.items()},
        reader=reader,
        overlap=shared_training(study, list(finished.values())),
        datasets=datasets(finished.values()),
        outdated=tuple(outdated(plan, records)),
        digests=plan.digests,
        ended=_ended(plan),
    )


def write_csv(results: Results, folder: Path) -> None:
    """`results.csv` (deterministic scores and counts) and `timings.csv` (measured) in `folder`.

    Columns arm, seed, status, metric, score; floats as the shortest text that reads back exactly. A run that is
    failed or missing is one row without metric and score.
    """
    for name, table in (("results.csv", results.scores), ("timings.csv", results.timings)):
        rows = results.runs[["arm", "seed", "status"]].merge(
            table.assign(score=table.score.map(repr)), on=["arm", "seed"], how="left"
        )
        rows[(rows.status != "done") | rows.metric.notna()].to_csv(folder / name, index=False, lineterminator="\n")


def _ended(plan: Plan) -> frozenset[tuple[str, int]]:
    cells = (cell for cell in plan.cells if cell.phase == "compare")
    return frozenset((cell.arm, cell.seed) for cell in cells if cell.state in ("done", "failed"))


def _run_row(cell: Cell) -> tuple[str, int, Status, str, str, str]:
    record = cell.record
    stored = ("", "", "") if record is None else (record.run_id, record.key, record.error)
    return (cell.arm, cell.seed, status(record), *stored)


def _tidy(
    finished: Mapping[tuple[str, int], Record], wanted: tuple[str, ...], *, first: str = "", but: tuple[str, ...] = ()
) -> pd.DataFrame:
    """The scores whose key begins like one of `wanted` and none of `but`; those that begin with `first` come first."""
    rows = [
        (arm, seed, key, float(record.scores[key]))
        for (arm, seed), record in finished.items()
        for key in sorted(record.scores, key=lambda key: (not key.startswith(first), key))
        if key.startswith(wanted) and not key.startswith(but)
    ]
    return pd.DataFrame(rows, columns=SCORE_COLUMNS).astype({"seed": int, "score": float})
