"""Every comparison over the people of the test data instead of over seeds, in numbers and words. Gives no verdict."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from ablate.analysis.costs import label, trained
from ablate.analysis.effects import baseline_of, effect_decimals
from ablate.analysis.phrasing import signed_size
from ablate.analysis.population import Population, populations
from ablate.analysis.records import MetricInfo
from ablate.analysis.results import Results


@dataclass(frozen=True)
class PopulationRow:
    """One comparison over people instead of seeds, without the variance of training. `sentence`: in words."""

    arm: str
    label: str
    against: str
    against_label: str
    metric: MetricInfo
    population: Population
    declared: bool  # a hypothesis asks for this comparison
    places: int

    @property
    def sentence(self) -> str:
        """`Hybrid against Existing in azimuth error: −0.25°, 95 % interval −0.6° to 0.1°, 4 test subjects; …`."""
        comparison, people = f"{self.label} against {self.against_label} in {self.metric.in_text}", self.population
        if not people.subjects:
            return f"{comparison}: {people.note}."
        better = sum((gap < 0) == (self.metric.direction == "lower") for gap in people.by_subject.values() if gap)
        value = signed_size(people.difference, self.metric, self.places, "test subject")
        few = "; descriptive only, so few people say little of others" if people.descriptive else ""
        return f"{comparison}: {value}, better in {better} of {people.subjects}{few}."


def population_rows(results: Results) -> tuple[PopulationRow, ...]:
    """Every declared hypothesis, then every trained arm against its baseline in every metric.

    A comparison that is not declared is left out where the test data names no people.
    """
    declared = [(h.arm, h.against, h.metric) for h in results.study.hypotheses]
    pairs = [(arm, base) for arm in trained(results) if (base := baseline_of(results, arm))]
    comparisons = dict.fromkeys([*declared, *((*pair, metric) for pair in pairs for metric in results.study.metrics)])
    metrics: dict[tuple[str, str], list[str]] = defaultdict(list)
    for arm, against, metric in comparisons:
        metrics[arm, against].append(metric)
    of_pair = {pair: populations(results, *pair, names) for pair, names in metrics.items()}
    rows = (
        PopulationRow(
            arm=arm,
            label=label(results, arm),
            against=against,
            against_label=label(results, against),
            metric=results.metrics[metric],
            population=of_pair[arm, against][metric],
            declared=(arm, against, metric) in declared,
            places=effect_decimals(results, metric),
        )
        for arm, against, metric in comparisons
    )
    return tuple(row for row in rows if row.declared or row.population.subjects)
