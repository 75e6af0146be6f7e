"""Every comparison over test people instead of seeds, in numbers and words. Reads Results; makes no verdicts."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ablate.analysis.costs import label, trained
from ablate.analysis.effects import baseline_of, effect_places
from ablate.analysis.phrasing import signed_size
from ablate.analysis.population import Population, populations
from ablate.analysis.records import MetricInfo
from ablate.analysis.results import Results


@dataclass(frozen=True)
class PopulationRow:
    """One comparison over people instead of seeds, apart from training variance. `sentence`: the same in words."""

    arm: str
    label: str
    against: str
    against_label: str
    metric: MetricInfo
    population: Population
    declared: bool  # a hypothesis asks for this comparison
    places: int
    sentence: str


def population_rows(results: Results) -> tuple[PopulationRow, ...]:
    """Every declared hypothesis, then every trained arm against its baseline in every metric; none without people."""
    declared = [(h.arm, h.against, h.metric) for h in results.study.hypotheses]
    pairs = [(arm, base) for arm in trained(results) if (base := baseline_of(results, arm))]
    every = dict.fromkeys([*declared, *((*pair, metric) for pair in pairs for metric in results.study.metrics)])
    metrics: dict[tuple[str, str], list[str]] = {}
    for arm, against, metric in every:
        metrics.setdefault((arm, against), []).append(metric)
    found = {pair: populations(results, *pair, names) for pair, names in metrics.items()}
    rows = [_population_row(results, *e, found[e[0], e[1]][e[2]], declared=e in declared) for e in every]
    return tuple(row for row in rows if row.declared or row.population.subjects)


def _population_row(
    results: Results, arm: str, against: str, metric: str, found: Population, *, declared: bool
) -> PopulationRow:
    row = PopulationRow(
        arm=arm,
        label=label(results, arm),
        against=against,
        against_label=label(results, against),
        metric=results.metrics[metric],
        population=found,
        declared=declared,
        places=effect_places(results, metric),
        sentence="",
    )
    return replace(row, sentence=_population_words(row))


def _population_words(row: PopulationRow) -> str:
    """`Hybrid against Existing in azimuth error: −0.25°, 95 % interval −0.6° to 0.1°, 4 test subjects; …`."""
    who = f"{row.label} against {row.against_label} in {row.metric.in_text}"
    found = row.population
    if not found.subjects:
        return f"{who}: {found.note}."
    better = sum((gap < 0) == (row.metric.direction == "lower") for gap in found.by_subject.values() if gap)
    value = signed_size(found.difference, row.metric, row.places, "test subject")
    few = "; descriptive only, so few people say little of others" if found.descriptive else ""
    return f"{who}: {value}, better in {better} of {found.subjects}{few}."
