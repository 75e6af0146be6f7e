"""Planned looks of studies whose arms a design or data sets make: when they stop, and what their pages say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from test_across import jitter, markdown, stored_results

from ablate.analysis import stopping
from ablate.analysis.results import Results
from ablate.study import Arm, Study
from ablate.study.datasets import expand_datasets
from ablate.study.design import expand_design

PARTS: dict[str, Any] = {"parts": {part: {"set": {f"run.{part}": True}} for part in "pq"}}
ARMS: dict[str, Any] = {
    "baseline": "plain",
    "arms": {"plain": {}, "p": {"set": {"run.p": True}}, "q": {"set": {"run.q": True}}},
}
DATA: dict[str, Any] = {"datasets": {d: {"set": {"run.data": d}} for d in "ab"}}
Pair = tuple[str, str]


def looked(claims: Sequence[Pair], skip: tuple[tuple[str, int], ...] = (), **made_by: Any) -> Results:
    """Six seeds, looks at five and six; the part p lowers the loss by 2, the part q changes nothing to speak of."""
    raw = {
        "name": "several", "question": "Which part helps?", "seeds": list(range(1, 7)),
        "settings": {"run": {"command": ["x", "{out}"], "data": "", "p": False, "q": False}},
        "metric": {"loss": {"direction": "lower"}}, "stopping": {"looks": [5, 6]},
        "hypotheses": [{"arm": arm, "against": against, "metric": "loss"} for arm, against in claims],
    }  # fmt: skip
    study = expand_datasets(expand_design(Study.model_validate(raw | made_by)))

    def loss(arm: Arm, seed: int) -> float:
        own = jitter(seed) * (1 + len(arm.set))
        return 10.0 + seed - 2.0 * bool(arm.set.get("run.p")) + own

    return stored_results(study, loss, skip)


DECIDED: dict[str, Any] = {
    "add_one_in": (("with-p", "bare"), {"add_one_in": PARTS}),
    "leave_one_out": (("full", "without-p"), {"leave_one_out": PARTS}),
    "factorial": (("p+q", "q"), {"factorial": PARTS}),
    "datasets": (("p", "plain"), {**ARMS, **DATA}),
    "one data set": (("p@b", "plain@b"), {**ARMS, **DATA}),
    "a design on data sets": (("with-p", "bare"), {"add_one_in": PARTS, **DATA}),
}


@pytest.mark.parametrize("case", DECIDED)
def test_it_stops_at_the_look_that_decides(case: str) -> None:
    claim, made_by = DECIDED[case]
    found = looked([claim], **made_by)
    now, state = stopping.now(found), stopping.progress(found)
    assert state is not None
    assert (state.taken, state.ended, state.decided) == ((5,), True, 1)
    page = markdown(now)
    assert "It stopped at the look at 5 seeds." in page
    assert f"{len(found.study.arms)} finished runs of later seeds are in no table and in no claim." in page
    assert ("## What each part does" in page) == (now.study.design is not None)
    assert ("## Across data sets" in page) == ("datasets" in made_by)
    assert "use the wider of the two" not in page  # two data sets give no verdict on others


@pytest.mark.parametrize(
    ("claim", "made_by"), [(("with-q", "bare"), {"add_one_in": PARTS}), (("q", "plain"), {**ARMS, **DATA})]
)
def test_what_no_look_decides_goes_to_the_last(claim: Pair, made_by: dict[str, Any]) -> None:
    found = looked([claim], **made_by)
    state = stopping.progress(found)
    assert state is not None
    assert (state.taken, state.seeds, state.decided) == ((5, 6), 6, 0)
    assert "at the last look, at 6 seeds)" in markdown(stopping.now(found))


def test_a_look_is_taken_when_every_arm_of_every_data_set_has_its_seeds() -> None:
    state = stopping.progress(looked([("p", "plain")], skip=(("q@b", 3),), **ARMS, **DATA))
    assert state is not None
    assert (state.taken, state.seeds) == ((), 5)
