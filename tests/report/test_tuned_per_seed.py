"""The report of a study with a tuning for every seed: what it says of them, and that many seeds make no long table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from toy_results import Toy

from ablate.analysis import results as tables
from ablate.analysis.study_analysis import Analysis, analyse
from ablate.analysis.warnings import warnings
from ablate.report import build, figures_tuning, style, tables_figures, tables_results
from ablate.report.blocks import Table
from ablate.study import RunResult
from ablate.study.runs import PRUNED
from ablate.tracking.memory import MemoryTracker

ARMS = {"existing": {"label": "Existing only"}, "hybrid": {"label": "Hybrid", "set": {"model.use_elepose": True}}}
HYPOTHESIS = {"arm": "hybrid", "against": "existing", "metric": "azimuth_mae_deg"}
MEDIAN = {"type": "median", "n_startup_trials": 1}


def toy(folder: Path, **more: Any) -> Toy:
    options: dict[str, Any] = {"seeds": range(1, 21), "hypotheses": [HYPOTHESIS], "per_seed": True, **more}
    return Toy(folder, ARMS, **options)


def ended(of: Toy, store: MemoryTracker, arm: str, trial: int, seed: int, result: dict[str, Any]) -> None:
    """In place of the trial that the store has."""
    old = [r.run_id for r in store.records("toy") if (r.arm, r.trial, r.seed) == (arm, trial, seed)]
    store.discard(old)
    spec = of.trial_spec(arm, trial, seed)
    store.finish(store.start(spec), spec, RunResult(spec.key, **{"status": "FINISHED", **result}))


def analysis(store: MemoryTracker) -> Analysis:
    return analyse(tables.load(store, "toy"))


def cells(table: Table | None) -> list[list[str]]:
    assert table is not None
    return [[cell.text for cell in row] for row in table.table.rows]


def test_the_page_says_what_is_repeated_and_what_stays_fixed(tmp_path: Path) -> None:
    results = tables.load(toy(tmp_path).store(), "toy")
    page = build.write(results, tmp_path / "reports", formats=["md", "json"]).file.read_text()
    assert "these tuned settings" not in page
    assert "tuned once" not in page
    assert "Verdicts are at this tuning budget and on this data" in page.partition("\n## ")[0]
    assert "Every seed of every arm has a tuning of its own" in page
    assert "Tuning is repeated with every seed. What stays the same is its validation set, space and budget." in page
    assert "| training.learning_rate | 0.00201 to 0.0022 | 0.00201 to 0.0022 |" in page
    assert page.count("\n") < 250
    document = json.loads((tmp_path / "reports" / "report.json").read_text())
    assert len(document["budget"][0]["by_seed"]) == 20


@pytest.mark.parametrize("tuned", [True, False])
def test_without_a_hypothesis_the_first_screen_says_it_too(tmp_path: Path, tuned: bool) -> None:
    store = toy(tmp_path, per_seed=False, hypotheses=(), tuned=tuned).store()
    page = build.write(tables.load(store, "toy"), tmp_path / "reports").file.read_text()
    told = "Each arm was tuned once for all its seeds, so that differences are for these tuned settings."
    assert (told in page.partition("\n## ")[0]) == tuned


def test_one_tuning_of_all_seeds_says_so_on_the_first_screen_and_with_every_verdict(tmp_path: Path) -> None:
    results = tables.load(toy(tmp_path, per_seed=False).store(), "toy")
    page = build.write(results, tmp_path / "reports").file.read_text()
    assert "or these tuned settings" in page.partition("\n## ")[0]
    found = analyse(results)
    assert found.comparisons
    assert all("for these tuned settings" in c.judgement.reason for c in found.comparisons if c.judgement)


def test_budgets_are_tabulated_and_compared_seed_by_seed(tmp_path: Path) -> None:
    of = toy(tmp_path)
    store = of.store()
    assert warnings(tables.load(store, "toy")) == ()
    found = analysis(store)
    assert [(row.allotted, row.used) for row in found.budget] == [(40, 40)] * 2
    rows = cells(tables_results.budget_by_seed(found))
    assert len(rows) == 20
    assert rows[0] == ["1", "2 trials", "2 trials"]
    for arm, seed in (("hybrid", 3), ("existing", 4)):  # as many in all, but not with each seed
        ended(of, store, arm, 1, seed, {"status": "FAILED", "error": "no"})
    (warning,) = [text for text in warnings(tables.load(store, "toy")) if "budgets" in text]
    assert warning == (
        "The tuning budgets were not alike (trials finished with seed 3: “Existing only” 2, “Hybrid” 1; "
        "trials finished with seed 4: “Existing only” 1, “Hybrid” 2)."
    )
    assert cells(tables_results.budget_by_seed(analysis(store)))[2] == ["3", "2 trials", "2 trials, 1 failed"]


def test_many_differences_are_counted_and_not_listed(tmp_path: Path) -> None:
    of = toy(tmp_path)
    store = of.store()
    for seed in range(1, 9):
        ended(of, store, "hybrid" if seed % 2 else "existing", 1, seed, {"status": "FAILED", "error": "no"})
    (warning,) = [text for text in warnings(tables.load(store, "toy")) if "budgets" in text]
    assert warning.endswith("“Hybrid” 1; and 3 more differences).")


def test_pruned_trials_are_no_failures_and_count_with_what_they_used(tmp_path: Path) -> None:
    of = toy(tmp_path, seeds=(1, 2, 3, 4, 5), pruner=MEDIAN)
    store = of.store()
    for seed in (1, 2):
        scores = {"val/azimuth_mae_deg": 5.0, "count/epochs": 2.0}
        ended(of, store, "hybrid", 0, seed, {"scores": scores, "provenance": {PRUNED: "after epoch 2"}})
    assert warnings(tables.load(store, "toy")) == ()
    found = analysis(store)
    assert [(row.finished_trials, row.pruned_trials, row.failed_trials) for row in found.budget] == [
        (10, 0, 0),
        (8, 2, 0),
    ]
    assert [row.used_epochs for row in found.budget] == [None, 4.0]
    budget = tables_results.budget(found)
    at = budget.table.header.index("pruned")
    assert [row[at] for row in cells(budget)] == ["0", "2"]
    assert cells(tables_results.budget_by_seed(found))[0] == ["1", "2 trials", "2 trials, 2 epochs, 1 pruned"]
    assert found.tuning is not None
    assert [row[1] for row in cells(tables_figures.tuning(found.tuning))] == ["10 of 10", "8 of 10"]
    assert sum(bool(row["pruned"]) for row in tables_figures.tuning(found.tuning).records or ()) == 2


@pytest.mark.parametrize("pruner", [None, MEDIAN])
def test_the_columns_of_other_studies_stay(tmp_path: Path, pruner: Any) -> None:
    found = analysis(toy(tmp_path, seeds=(1, 2, 3), pruner=pruner).store())
    records = tables_results.budget(found).records or ()
    assert all(("pruned_trials" in record) == (pruner is not None) for record in records)
    assert ("pruned" in tables_results.budget(found).table.header) == (pruner is not None)


def test_the_picture_has_the_trials_of_every_seed(tmp_path: Path) -> None:
    of = toy(tmp_path, pruner=MEDIAN)
    store = of.store()
    ended(of, store, "hybrid", 1, 1, {"provenance": {PRUNED: "after epoch 1"}, "scores": {"count/epochs": 1.0}})
    found = analysis(store)
    assert found.tuning is not None
    with style.look():
        figure = figures_tuning.history(found.tuning, style.Marks(list(found.labels)))
    assert figure is not None
    existing, hybrid = figure.axes
    steps = [[line for line in panel.lines if line.get_drawstyle() == "steps-post"] for panel in (existing, hybrid)]
    assert [len(lines) for lines in steps] == [20, 20]
    marks = [line for line in hybrid.lines if line.get_marker() == "|"]
    assert [len(line.get_xdata()) for line in marks] == [1]  # type: ignore[arg-type]
