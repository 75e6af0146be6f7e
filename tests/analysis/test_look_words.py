"""What a report says of planned looks where hypotheses were withdrawn or late, or are of another kind."""

from __future__ import annotations

from typing import Any

import pytest
from test_stopping import gained
from toy_scores import AZIMUTH, asked, load

from ablate.analysis.compare import arm_comparisons
from ablate.analysis.spending import looks_of
from ablate.analysis.study_analysis import Analysis, analyse
from ablate.report import tables_claims
from ablate.report.sections_answer import verdicts
from ablate.report.sections_claims import hypotheses
from ablate.report.terminal_compare import summary
from ablate.study.amend import ADDED, WITHDRAWN

OTHER = f"hybrid against existing in {AZIMUTH}, margin 0.5"


EXISTING, HYBRID = "existing", "hybrid"
LOOKS = {"looks": [5, 12], "spending": "pocock"}


def looked(*claims: dict[str, Any], amended: str = "") -> Analysis:
    scores = {"existing": gained(0, 0), "hybrid": gained(1.0)}
    found = load(scores, hypotheses=list(claims), stopping=LOOKS)
    if amended:
        found.document["amendments"] = [{"date": "2026-01-01", "what": amended}]
    return analyse(found)


@pytest.mark.parametrize(
    ("claims", "amended", "levels"),
    [
        ((0.0, 0.2), "", (0.05 / 4, 0.05 / 3)),
        ((0.0, 0.2), WITHDRAWN + OTHER, (0.05 / 6, 0.05 / 5)),  # two of six tests are of a claim that nothing decides
        ((0.0, 0.5), ADDED + OTHER, (0.05 / 4, 0.05 / 4)),
    ],
)
def test_the_levels_are_those_that_decide(claims: tuple[float, ...], amended: str, levels: tuple[float, float]) -> None:
    rows = looked(*(asked(margin) for margin in claims), amended=amended).looks
    planned = looks_of(load({"existing": gained(0), "hybrid": gained(1)}, hypotheses=[asked()], stopping=LOOKS).study)
    assert planned is not None
    assert [row.first_level for row in rows] == pytest.approx(planned.levels(levels[0]))
    assert [row.last_level for row in rows] == pytest.approx(planned.levels(levels[1]))


def test_withdrawn_hypotheses_and_kinds_of_claims_are_told() -> None:
    claims = [asked(0.2) | {"kind": "not_worse"}, asked(0.3) | {"kind": "equivalent"}]
    text = str(hypotheses(looked(*claims, amended=WITHDRAWN + OTHER)))
    assert "for both sides of these 2 hypotheses and of the 1 withdrawn; refuted" in text
    assert "“Not worse” is tested against minus the margin. “Equivalent” takes two one-sided tests" in text
    assert "withdrawn; refuted" not in str(hypotheses(looked(asked())))


def test_the_first_screen_says_that_its_intervals_are_repeated_ones() -> None:
    assert "has its repeated 95 % interval. " in str(verdicts(looked(asked())))
    scores = {"existing": gained(0), "hybrid": gained(1)}
    assert "has its 95 % interval. " in str(verdicts(analyse(load(scores, hypotheses=[asked()]))))


def test_a_declared_comparison_of_two_arms_says_that_its_interval_is_a_repeated_one() -> None:
    found = load({"existing": gained(0, 0), "hybrid": gained(1)}, hypotheses=[asked()], stopping=LOOKS)
    declared, back = (arm_comparisons(found, *arms, [AZIMUTH])[0] for arms in ((HYBRID, EXISTING), (EXISTING, HYBRID)))
    assert ", repeated 95 % interval [" in dict(summary(declared))["Difference"]
    assert "repeated" not in dict(summary(back))["Difference"]


def test_all_that_is_spent_at_the_last_look_is_100_percent() -> None:
    spent = [row[3].text for row in tables_claims.looks(looked(asked()).looks).table.rows]
    assert spent[-1] == "100 %"
    assert spent[0].endswith(" %")
    assert float(spent[0][:-2]) < 90
