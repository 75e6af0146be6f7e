"""Late and withdrawn hypotheses, and looks at the results, as the amendments of a document tell them."""

from __future__ import annotations

from typing import Any

import pytest
from toy_scores import around, load

from ablate.analysis.study_analysis import analyse, compare
from ablate.study import Study
from ablate.study.amend import ADDED, WITHDRAWN, History, amend, history_of

CLAIM = "hybrid against existing in azimuth_mae_deg, margin 0"
OTHER = "hybrid against existing in azimuth_mae_deg, margin 0.5"


def results(*amendments: str) -> Any:
    found = load({"existing": around(7.0), "hybrid": around(6.9, 1)}, hypotheses=[asked()])
    found.document["amendments"] = [{"date": "2026-01-01", "what": what} for what in amendments]
    return found


def asked() -> dict[str, Any]:
    return {"arm": "hybrid", "against": "existing", "metric": "azimuth_mae_deg"}


def test_a_late_hypothesis_gets_no_verdict() -> None:
    assert compare(results())[0].verdict == "supported"
    late = results(ADDED + CLAIM)
    assert compare(late)[0].verdict == "no verdict"
    assert compare(late)[0].reason == "declared after runs had finished: no verdict, though it counts in the correction"
    assert analyse(late).history.late == (CLAIM,)


def test_a_withdrawn_hypothesis_stays_in_the_family() -> None:
    (alone,), (after,) = compare(results()), compare(results(WITHDRAWN + OTHER))
    assert (after.family, alone.family) == (2, 1)
    assert after.p_adjusted == pytest.approx(2 * (alone.p_adjusted or 0))


def test_a_withdrawn_hypothesis_that_came_back_is_late_and_counts_once() -> None:
    (again,) = compare(results(WITHDRAWN + CLAIM, ADDED + CLAIM))
    assert (again.verdict, again.family) == ("no verdict", 1)


@pytest.mark.parametrize(
    ("amendments", "looks"),
    [
        (["seeds 4, 5 added, after all others had finished"], (3,)),
        (["seed 4 added, after all others had finished", "seed 5 added, after all others had finished"], (3, 4)),
        (["seed 4 added, before all others had finished", "seed 5 added, after all others had finished"], (4,)),
        (["seeds 4, 5 added"], (3,)),
        (["seeds 4, 5, 6 added, after all others had finished", "seed 6 removed"], (3,)),
        (["arm seeds 4 added"], ()),
    ],
)
def test_looks(amendments: list[str], looks: tuple[int, ...]) -> None:
    found = results(*amendments)
    assert history_of(found.document, found.study) == History(looks)


def test_a_look_is_corrected_for_and_said() -> None:
    (alone,), (looked,) = compare(results()), compare(results("seeds 4, 5 added, after all others had finished"))
    assert looked.p_adjusted == pytest.approx(2 * (alone.p_adjusted or 0))
    assert looked.reason.endswith("5 seeds, corrected for 1 earlier look)")


def test_an_amendment_says_whether_the_others_had_finished() -> None:
    old = results().study
    new = Study.model_validate(old.model_dump() | {"seeds": [*old.seeds, 6]})
    document = {"study": old.model_dump(mode="json")}
    for complete, word in ((True, "after"), (False, "before")):
        sentences = amend(document, new, has_runs=True, complete=complete)
        assert sentences == [f"seed 6 added, {word} all others had finished"]
