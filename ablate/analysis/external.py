"""Scores on external data that runs logged beside their test scores. Pure: Results in, dataclasses out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ablate.analysis import numbers
from ablate.analysis.costs import label, references_last
from ablate.analysis.effects import baseline_of, difference, score
from ablate.analysis.phrasing import listed, quoted
from ablate.analysis.records import MetricInfo
from ablate.analysis.results import Results
from ablate.analysis.statistics import Effect, Estimate

PREFIX, EXAMPLES = "external/", "examples"  # keys: external/<name>/<metric>, external/<name>/examples


@dataclass(frozen=True)
class ExternalRow:
    """One arm on the external data."""

    arm: str
    label: str
    baseline: bool
    reference: bool
    scores: Mapping[str, Estimate]  # by metric, over the seeds that logged it
    effects: Mapping[str, Effect]  # to the baseline; empty for the baseline, and where the baseline logged nothing
    runs: int


@dataclass(frozen=True)
class ExternalTable:
    """All arms on one external data set; `note` names limits of the comparison, such as one seed or other examples."""

    name: str
    metrics: tuple[MetricInfo, ...]
    examples: int | None
    rows: tuple[ExternalRow, ...]  # references last
    places: Mapping[str, int]  # decimals of the differences, by metric
    note: str


def external_tables(results: Results) -> tuple[ExternalTable, ...]:
    """A table for every external data set that any run logged scores of, sorted by name."""
    keys = sorted({str(key) for key in results.scores.metric if str(key).startswith(PREFIX)})
    names = dict.fromkeys(key.removeprefix(PREFIX).rpartition("/")[0] for key in keys)
    return tuple(
        _table(results, name, [k for k in keys if k.rpartition("/")[0] == f"{PREFIX}{name}"]) for name in names
    )


def _table(results: Results, name: str, keys: Sequence[str]) -> ExternalTable:
    logged = [key.rpartition("/")[2] for key in keys]
    study_metrics = [metric for metric in results.study.metrics if metric in logged]
    metrics = study_metrics or [metric for metric in results.metrics if metric in logged]
    arms = references_last(results)
    rows = tuple(row for row in (_row(results, name, arm, metrics) for arm in arms) if row.runs)
    counts = {
        int(value)
        for row in rows
        for value in _by_seed(results, name, row.arm, EXAMPLES).values()
        if math.isfinite(value)
    }
    return ExternalTable(
        name=name,
        metrics=tuple(results.metrics[metric] for metric in metrics),
        examples=min(counts) if counts else None,
        rows=rows,
        places={
            m: numbers.decimals_for(r.effects[m].difference for r in rows if r.effects and not r.reference)
            for m in metrics
        },
        note=_note(rows, counts, [quoted(label(results, arm)) for arm in arms if arm not in {row.arm for row in rows}]),
    )


def _row(results: Results, name: str, arm: str, metrics: Sequence[str]) -> ExternalRow:
    scores = {metric: _by_seed(results, name, arm, metric) for metric in metrics}
    against = baseline_of(results, arm)
    theirs = {metric: _by_seed(results, name, against, metric) for metric in metrics} if against else {}
    effects = {metric: difference(results, scores[metric], theirs[metric]) for metric in theirs}
    return ExternalRow(
        arm=arm,
        label=label(results, arm),
        baseline=results.study.baseline_of(arm) == arm,
        reference=results.study.arms[arm].reference,
        scores={metric: score(results, by_seed) for metric, by_seed in scores.items()},
        effects=effects if any(e.difference.n for e in effects.values()) else {},
        runs=max((sum(map(math.isfinite, by_seed.values())) for by_seed in scores.values()), default=0),
    )


def _by_seed(results: Results, name: str, arm: str, metric: str) -> dict[int, float]:
    return results.by_seed(arm, f"{PREFIX}{name}/{metric}")


def _note(rows: Sequence[ExternalRow], counts: set[int], missing: Sequence[str]) -> str:
    runs = sorted({row.runs for row in rows})
    limits = [f"not scored: {listed(missing)}"] if missing else []
    if runs and runs[0] == 1:
        limits.append("one run of some arms: a number without an interval, which claims nothing" if len(runs) > 1 else
                    "one run an arm: numbers without intervals, which claim nothing")  # fmt: skip
    elif len(runs) > 1:
        limits.append(f"from {runs[0]} to {runs[-1]} runs an arm: differences are over the seeds that both arms have")
    if len(counts) > 1:
        limits.append(f"runs were scored on {min(counts)} to {max(counts)} examples: not all on the same")
    return "; ".join(limits)
