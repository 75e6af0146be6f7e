"""What `ablate plan` says of the power of claims of other kinds than `better`."""

from __future__ import annotations

import pytest
from test_power import METRICS, records, study

from ablate.analysis import power_plan as power

GAPS = {1: -0.4, 2: -0.6, 3: -0.5}


def planned(kind: str, difference: float = 0.0) -> tuple[power.HypothesisPower, str]:
    claim = {"arm": "new", "against": "old", "metric": "error", "margin": 0.5, "kind": kind}
    plan = power.power_plan(study(hypotheses=[claim]), METRICS, records(GAPS), difference)
    return plan.prospects[0], plan.lines()[-1]


def test_not_worse_is_tested_against_minus_the_margin() -> None:
    row, text = planned("not_worse")
    assert row.sd_limit is not None
    assert row.seeds_needed == power.seeds_needed(row.sd_limit, 0.5)  # no difference lies 0.5° from a margin of 0.5°
    assert text.startswith("“new” against “old” in error, not worse, margin 0.5°: ")
    assert "above or below minus the margin; an improvement of 0° would be supported with" in text
    assert planned("not_worse", -0.5)[0].seeds_needed is None
    assert "would be refuted with" in planned("not_worse", -1.0)[1]


def test_the_power_of_equivalence_is_not_told() -> None:
    row, text = planned("equivalent")
    assert (row.detectable, row.seeds_needed) == (None, None)
    assert text.endswith("limit 0.212°; the power to show equivalence is not computed")


@pytest.mark.parametrize("kind", ["better", "not_worse", "equivalent"])
def test_too_few_seeds_have_no_verdict_of_any_kind(kind: str) -> None:
    claim = {"arm": "new", "against": "old", "metric": "error", "margin": 0.5, "kind": kind}
    plan = power.power_plan(study(hypotheses=[claim], seeds=[1, 2, 3]), METRICS, records(GAPS))
    assert plan.lines()[-1].endswith("no verdict with 3 seeds")
