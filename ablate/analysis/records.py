"""Status, data and training time of Records, and the labels and keys of metrics. Reads no store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ablate.analysis.numbers import in_text
from ablate.study import Direction, Record, Reduction, Split, Study

Status = Literal["done", "failed", "missing"]
SPLITS: Mapping[Split, str] = {"test": "test", "val": "validation"}  # as the report calls them
FOLD_SHARE = 0.5  # of the correction by Nadeau and Bengio, where every seed is a fold
TRAINING_SECONDS = ("time/train_s", "time/total_s")  # the first that a run has


@dataclass(frozen=True)
class MetricInfo:
    """A Metric without its function, as the study's stored document has it.

    `column` is the column of the example tables that holds the metric's values; "" for a pooled metric, which has none.
    """

    name: str
    label: str
    unit: str = ""
    direction: Direction = "lower"
    reduction: Reduction = "mean"
    column: str = ""
    pooled: bool = False
    split: Split = "test"  # whose scores are compared

    @property
    def short(self) -> str:
        """The label without `, mean`, the usual reduction: `Azimuth error, mean` → `Azimuth error`."""
        return self.label.removesuffix(f", {self.reduction}") if self.reduction == "mean" else self.label

    @property
    def in_text(self) -> str:
        """The label inside a sentence: `Azimuth error` → `azimuth error`, but `MPJPE` stays."""
        return in_text(self.short)

    @property
    def test(self) -> str:
        """The key of this metric's score on the test split, for readers of report.json; "" where there is none."""
        return f"test/{self.name}" if self.split == "test" else ""


def status(record: Record | None) -> Status:
    """RUNNING and KILLED runs count as missing: they are still running or will be run again."""
    statuses: dict[str, Status] = {"FINISHED": "done", "FAILED": "failed"}
    return "missing" if record is None else statuses.get(record.status, "missing")


def datasets(records: Iterable[Record]) -> frozenset[str]:
    """Digests of the data that finished comparison runs have used."""
    return frozenset(r.dataset for r in records if r.dataset and r.phase == "compare" and status(r) == "done")


def shared_training(study: Study, done: Sequence[Record]) -> float | None:
    """Test examples divided by training examples, the mean over the finished runs that record both counts: the share of
    one run's variance that overlapping training sets add to that of the mean. Half of it for folds.

    None where all seeds share one split: it matters where every seed redraws the split or takes another fold. The test
    sets of folds do not overlap, and there the whole correction covers in 96–99 % of simulations, the half in 94–98 %
    (benchmarks/README.md).
    """
    if not {"split", "fold"} & set(study.vary):
        return None
    counts = [(r.scores.get("count/test_examples"), r.scores.get("count/train_examples")) for r in done]
    ratios = [test / train for test, train in counts if test and train]
    share = FOLD_SHARE if "fold" in study.vary else 1.0
    return share * float(np.mean(ratios)) if ratios else None


def correction_words(*, folds: bool) -> str:
    """What intervals over seeds allow for where training sets overlap; `folds`: every seed is a fold."""
    return "half of the correction by Nadeau and Bengio" if folds else "the correction by Nadeau and Bengio"


def training_seconds(scores: Mapping[str, float]) -> float | None:
    """Training time that a run reports: `time/train_s`, else `time/total_s`."""
    return next((scores[key] for key in TRAINING_SECONDS if key in scores), None)
