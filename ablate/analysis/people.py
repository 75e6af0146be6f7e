"""Every comparison over the people of the test data instead of over seeds, in numbers and words. Gives no verdict."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ablate.analysis.costs import label, trained
from ablate.analysis.effects import baseline_of, effect_decimals
from ablate.analysis.phrasing import signed_size
from ablate.analysis.population import Population, populations
from ablate.analysis.records import MetricInfo
from ablate.analysis.results import Results


@dataclass(frozen=True)
class PopulationRow:
    """One comparison over people instead of seeds, without the variance of training. `sentence`: the same in words."""

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
    """Every declared hypothesis, then every trained arm against its baseline in every metric.

    A comparison that is not declared is left out where the test data names no people.
    """
    declared = [(h.arm, h.against, h.metric) for h in results.study.hypotheses]
    pairs = [(arm, base) for arm in trained(results) if (base := baseline_of(results, arm))]
    comparisons = dict.fromkeys([*declared, *((*pair, metric) for pair in pairs for metric in results.study.metrics)])
    metrics: dict[tuple[str, str], list[str]] = {}
    for arm, against, metric in comparisons:
        metrics.setdefault((arm, against), []).append(metric)
    of_pair = {pair: populations(results, *pair, names) for pair, names in metrics.items()}
    rows = [_population_row(results, *key, of_pair[key[:2]][key[2]], declared=key in declared) for key in comparisons]
    return tuple(row for row in rows if row.declared or row.population.subjects)


def _population_row(
    results: Results, arm: str, against: str, metric: str, population: Population, *, declared: bool
) -> PopulationRow:
    row = PopulationRow(
        arm=arm,
        label=label(results, arm),
        against=against,
        against_label=label(results, against),
        metric=results.metrics[metric],
        population=population,
        declared=declared,
        places=effect_decimals(results, metric),
        sentence="",
    )
    return replace(row, sentence=_population_sentence(row))


def _population_sentence(row: PopulationRow) -> str:
    """`Hybrid against Existing in azimuth error: −0.25°, 95 % interval −0.6° to 0.1°, 4 test subjects; …`."""
    comparison = f"{row.label} against {row.against_label} in {row.metric.in_text}"
    population = row.population
    if not population.subjects:
        return f"{comparison}: {population.note}."
    better = sum((gap < 0) == (row.metric.direction == "lower") for gap in population.by_subject.values() if gap)
    value = signed_size(population.difference, row.metric, row.places, "test subject")
    few = "; descriptive only, so few people say little of others" if population.descriptive else ""
    return f"{comparison}: {value}, better in {better} of {population.subjects}{few}."
