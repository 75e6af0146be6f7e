from __future__ import annotations

from pathlib import Path

import pytest
from toy_results import Toy
from toy_scores import load

from ablate.analysis import results as tables
from ablate.analysis import tuning_history as history
from ablate.analysis.budget import Trial
from ablate.report import tables_figures


def trials(values: list[float | None], settings: list[object], name: str = "a") -> list[Trial]:
    return [Trial(i, value, {name: chosen}) for i, (value, chosen) in enumerate(zip(values, settings, strict=True))]


def test_the_best_so_far_never_gets_worse_and_skips_failures() -> None:
    assert history.best_so_far([None, 5.0, 7.0, None, 4.0], lower=True) == (None, 5.0, 5.0, 5.0, 4.0)
    assert history.best_so_far([5.0, 7.0, 6.0], lower=False) == (5.0, 7.0, 7.0)


def test_rank_correlation_of_orders_that_agree_and_oppose() -> None:
    assert history.rank_correlation("a", trials([1.0, 2, 4, 9], [0.1, 0.2, 0.3, 0.4])) == pytest.approx(1)
    assert history.rank_correlation("a", trials([9.0, 4, 2, 1], [0.1, 0.2, 0.3, 0.4])) == pytest.approx(-1)
    # two neighbours exchanged: ρ = 1 − 6 · 2 / (4 · 15)
    assert history.rank_correlation("a", trials([2.0, 1, 4, 9], [1, 2, 3, 4])) == pytest.approx(0.8)


@pytest.mark.parametrize(
    "trials_",
    [
        trials([1.0, 2, 3], [1, 2, 3]),
        trials([1.0, 2, 3, None], [1, 2, 3, 4]),
        trials([1.0, 2, 3, 4], [5, 5, 5, 5]),
        trials([1.0, 1, 1, 1], [1, 2, 3, 4]),
        trials([1.0, 2, 3, 4], ["adam", "sgd", "adam", "sgd"]),
        trials([1.0, 2, 3, 4], [1, 2, 3, 4], name="other"),
        [],
    ],
    ids=["three trials", "three finished", "one value", "one score", "words", "setting not there", "none"],
)
def test_what_says_nothing_has_no_correlation(trials_: list[Trial]) -> None:
    assert history.rank_correlation("a", trials_) is None


def test_a_study_tells_its_trials_in_order(tmp_path: Path) -> None:
    tuning = history.tuning_history(tables.load(Toy(tmp_path, seeds=(1,)).store(), "toy"))
    assert tuning is not None
    arm = tuning.arms[0]
    assert [(trial.number, trial.value) for trial in arm.trials] == [(0, 9.0), (1, 8.0)]
    assert arm.best == (9.0, 8.0)
    assert tuning.ranked == ()
    table = tables_figures.tuning(tuning).table
    assert [cell.text for cell in table.rows[0]] == ["Existing only", "2 of 2", "9.00", "9.00", "8.00", "2"]
    assert tables_figures.importances(tuning).table.rows[0][1].text == "fewer than 4 trials"
    assert "One setting was tuned" in tables_figures.importances_note(tuning)


def test_an_untuned_study_has_no_history() -> None:
    assert history.tuning_history(load({"existing": {1: 7.0}})) is None
