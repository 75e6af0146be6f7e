"""The arms on every data set of a study, and the differences over all of them. Pure: Results in, dataclasses out."""

from __future__ import annotations

from dataclasses import dataclass

from ablate.analysis import numbers
from ablate.analysis.clusters import OverClusters, over_clusters
from ablate.analysis.costs import label, level_label
from ablate.analysis.effects import effect, score
from ablate.analysis.phrasing import counted, listed, quoted, sentence, shown, signed_size
from ablate.analysis.records import MetricInfo
from ablate.analysis.results import Results
from ablate.analysis.statistics import Effect, Estimate

EXPLORATORY = "Exploratory, every interval by itself: "


@dataclass(frozen=True)
class DatasetRow:
    """One arm of the file: a score on each data set, and its differences to the baseline there.

    `pooled` is the mean of the differences over data sets, each with the same weight, with the interval over seeds:
    about these data sets. `over_both` has the interval over seeds and data sets, about others like them.
    """

    family: str
    label: str
    baseline: bool
    reference: bool
    scores: tuple[Estimate, ...]
    effects: tuple[Effect, ...]  # empty for the baseline, as are the next two
    pooled: Effect | None
    over_both: OverClusters | None


@dataclass(frozen=True)
class DatasetTable:
    """One metric: arms × data sets."""

    metric: MetricInfo
    datasets: tuple[str, ...]
    labels: tuple[str, ...]  # of the data sets
    rows: tuple[DatasetRow, ...]  # the baseline first, references last
    places: int  # decimals of the differences
    score_places: int

    @property
    def answer(self) -> str:
        """Every arm against the baseline, over all data sets and on each, in words."""
        others = [row for row in self.rows if row.pooled and not row.reference]
        if not others:
            return sentence(f"on {counted(len(self.datasets), 'data set')} there is nothing to compare")
        return EXPLORATORY + " ".join(_row_answer(self, row) for row in others)


def dataset_tables(results: Results) -> tuple[DatasetTable, ...]:
    """A table for every metric of the study; empty without data sets."""
    if not results.study.datasets:
        return ()
    return tuple(_table(results, metric) for metric in results.study.metrics)


def _table(results: Results, metric: str) -> DatasetTable:
    study = results.study
    families = study.over_all_datasets
    references = {name for name in families if study.arms[study.members(name)[0]].reference}
    ordered = sorted(families, key=lambda name: (name in references, name != study.baseline))
    rows = tuple(_row(results, name, metric, reference=name in references) for name in ordered)
    differences = [e for row in rows if not row.reference for e in row.effects]
    return DatasetTable(
        metric=results.metrics[metric],
        datasets=tuple(study.datasets),
        labels=tuple(level_label(results, name) for name in study.datasets),
        rows=rows,
        places=numbers.decimals_for(e.difference for e in differences),
        score_places=numbers.decimals_for((e for row in rows if not row.reference for e in row.scores), coarse=True),
    )


def _row(results: Results, family: str, metric: str, *, reference: bool) -> DatasetRow:
    study, key = results.study, results.study.score_key(metric)
    members, base = study.members(family), study.members(study.baseline)
    compared = family != study.baseline
    pooled = effect(results, family, study.baseline, metric) if compared else None
    return DatasetRow(
        family=family,
        label=label(results, family),
        baseline=not compared,
        reference=reference,
        scores=tuple(score(results, results.by_seed(arm, key)) for arm in members),
        effects=tuple(effect(results, *pair, metric) for pair in zip(members, base, strict=True) if compared),
        pooled=pooled,
        over_both=over_clusters(results, family, study.baseline, metric, pooled) if pooled else None,
    )


def _row_answer(table: DatasetTable, row: DatasetRow) -> str:
    """`In azimuth error, “Hybrid” minus “Existing” is −0.20° (…) over 5 seeds on these 3 data sets: …`."""
    assert row.pooled is not None
    baseline = next(each.label for each in table.rows if each.baseline)
    outcomes = [shown(each, table.metric) for each in row.effects]
    sets = {
        kind: "every data set" if len(on) == len(outcomes) > 1 else listed(on)
        for kind in ("better", "worse", "not shown")
        if (on := [name for name, found in zip(table.labels, outcomes, strict=True) if found == kind])
    }
    clauses = [f"{kind} on {sets[kind]}" for kind in ("better", "worse") if kind in sets]
    measured = signed_size(row.pooled.difference, table.metric, table.places)
    each = f"; it is {listed(clauses)}" if clauses else ""
    if "not shown" in sets:
        each += f"; the interval includes 0 on {sets['not shown']}"
    text = f"in {table.metric.in_text}, {quoted(row.label)} minus {quoted(baseline)} over these data sets is {measured}"
    return sentence(f"{text}{_others(table, row)}{each}")


def _others(table: DatasetTable, row: DatasetRow) -> str:
    both = row.over_both
    if both is None or both.interval is None or both.interval.low is None:
        return ""
    ends = numbers.difference(both.interval, table.places).partition(" ")[2]
    few = ", too few to speak of others" if not both.decides else ""
    return f", {ends} over {both.words}{few}"
