"""What `[stopping]` may say, and that it cannot change under finished runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from design_toy import problems_of, study

from ablate.study import InputError
from ablate.study.amend import amend
from ablate.study.stopping_rules import nearest_looks

TWELVE = ("seeds = [1, 2, 3]", "seeds = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]")
HYPOTHESIS = '[[hypotheses]]\narm = "extra"\nagainst = "plain"\nmetric = "error_deg"\nmargin = 0.5\n'


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def planned(text: str) -> tuple[str, str]:
    return ("[report]\n", f"[stopping]\n{text}\n\n[report]\n")


def test_its_default_is_obrien_fleming(tmp_path: Path) -> None:
    stopping = study(tmp_path, TWELVE, planned("looks = [5, 8, 12]")).stopping
    assert stopping is not None
    assert (stopping.looks, stopping.spending) == ([5, 8, 12], "obrien-fleming")
    assert study(tmp_path).stopping is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("looks = [5, 8, 14]", "must not lie beyond the 12 seeds of the study (got 14); such as [5, 8, 12]"),
        ("looks = [5, 8]", "must end with all seeds of the study, which are 12 (got [5, 8]); such as [5, 8, 12]"),
        ("looks = [8, 5, 12]", "must be increasing numbers of seeds (got [8, 5, 12]); such as [5, 8, 12]"),
        ("looks = [5, 5, 12]", "must be increasing numbers of seeds (got [5, 5, 12]); such as [5, 12]"),
        ("looks = [3, 12]", "must begin with at least 5 seeds: with fewer there is no verdict (got [3, 12]); such as"),
        ("looks = [12]", "must be 2 to 10 looks (got [12]); such as [6, 12]"),
        ("looks = []", "must not be empty"),
        ("looks = [5.5, 12]", "must be a whole number (got 5.5)"),
        ('looks = [5, 12]\nspending = "obrien"', "must be one of 'obrien-fleming' or 'pocock' (got \"obrien\")"),
        ("looks = [5, 12]\nalpha = 0.1", "unknown key; valid: looks, spending"),
    ],
)
def test_what_is_refused(text: str, told: str) -> None:
    (problem,) = problems_of(TWELVE, planned(text))
    assert "stopping" in problem
    assert told in problem


def test_stopping_needs_hypotheses_enough_seeds_and_no_folds() -> None:
    (none,) = problems_of(TWELVE, planned("looks = [5, 12]"), (HYPOTHESIS, ""))
    assert "stopping: needs hypotheses: a study stops when they are decided" in none
    (few,) = problems_of(planned("looks = [3]"))
    assert "stopping: needs more than 5 seeds: the first verdict is at 5 (got 3); such as 15 seeds" in few
    fold = ('catalogue = "design_toy:METRICS"', 'catalogue = "design_toy:METRICS"\nvary = ["init", "order", "fold"]')
    (folds,) = problems_of(TWELVE, planned("looks = [5, 12]"), fold)
    assert 'stopping: cannot stand beside vary = "fold"' in folds


def test_the_nearest_looks_are_allowed() -> None:
    assert nearest_looks(list(range(1, 30)), 30) == [*range(5, 14), 30]


def test_looks_and_seeds_cannot_change_under_finished_runs(tmp_path: Path) -> None:
    plain = study(tmp_path, TWELVE)
    before = study(tmp_path, TWELVE, planned("looks = [5, 8, 12]"))
    later = study(tmp_path, TWELVE, planned("looks = [6, 8, 12]"))
    more = before.model_copy(update={"seeds": [*before.seeds[::-1]]})
    for old, new in ((before, later), (plain, before), (before, plain), (before, more)):
        document = {"study": old.model_dump(mode="json")}
        assert amend(document, new, has_runs=False) == []
        with pytest.raises(InputError, match="cannot change under finished runs"):
            amend(document, new, has_runs=True)


def test_what_is_left_out_or_added_under_finished_runs_is_one_message(tmp_path: Path) -> None:
    plain = study(tmp_path, TWELVE)
    looked = study(tmp_path, TWELVE, planned("looks = [5, 8, 12]"))
    untuned = looked.model_copy(update={"tuning": None})
    for old, new, place, told in (
        (looked, plain, "stopping", "absent, was there"),
        (plain, looked, "stopping", "there, was absent"),
        (looked, untuned, "tuning", "absent, was there"),
        (untuned, looked, "tuning", "there, was absent"),
    ):
        with pytest.raises(InputError) as refused:
            amend({"study": old.model_dump(mode="json")}, new, has_runs=True)
        assert [(p.place, p.value) for p in refused.value.problems] == [(place, told)]
