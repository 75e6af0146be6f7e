"""Complete the result of a run whose script has logged its scores to the store itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ablate.scheduler.running_cell import RunningCell
from ablate.study import RunResult, Tracker
from ablate.study.runs import compared_split
from ablate.trainers.errors import RunFailed
from ablate.trainers.given_scores import MetricNames, named_scores

HINT = "scores count that the script logs to the run in MLFLOW_RUN_ID at the address in MLFLOW_TRACKING_URI"


def with_logged_scores(result: RunResult, cell: RunningCell, tracker: Tracker, metrics: MetricNames) -> RunResult:
    """A FINISHED result with the scores and the curves that the store has of its run; FAILED where a score is missing
    or no finite number. Raises what `tracker` raises."""
    given = tracker.logged_scores(cell.run_id)
    try:
        scores = named_scores(given, metrics, cell.spec.phase, compared_split(cell.spec.settings))
    except RunFailed as error:
        return replace(result, status="FAILED", error=f"{error}; {HINT}")
    return replace(result, scores={**scores, **result.scores}, history=result.history or _curve(cell, tracker, metrics))


def _curve(cell: RunningCell, tracker: Tracker, metrics: MetricNames) -> list[dict[str, float]]:
    """The validation scores that were logged with a step, under the names of the metrics; a step is an epoch."""
    names = {"epoch": "epoch", **{val: f"val/{metric}" for metric, (val, _) in metrics.items()}}
    asked = [name for name, ours in names.items() if ours not in ("epoch", name)]  # a curve with our name is there
    return [_renamed(entry, names) for entry in tracker.logged_curves(cell.run_id, asked)]


def _renamed(entry: Mapping[str, float], names: Mapping[str, str]) -> dict[str, float]:
    return {names[name]: value for name, value in entry.items()}
