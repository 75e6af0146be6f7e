from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_results import ARMS, Toy

from ablate.claims import results as tables
from ablate.claims.analysis import Analysis, analyse
from ablate.claims.conditions import make_bins
from ablate.claims.statistics import paired
from ablate.edges.memory import MemoryTracker
from ablate.study import Condition, RunResult, RunSpec


def said(
    tmp_path: Path, scores: Mapping[str, Mapping[int, float]], *, hypotheses: list[dict[str, Any]] | None = None
) -> Analysis:
    """The analysis of a study in one metric whose runs scored exactly this: arm → seed → degrees."""
    toy = Toy(tmp_path, {arm: ARMS[arm] for arm in scores}, seeds=(1, 2, 3), tuned=False, hypotheses=hypotheses or [])
    document = toy.document()
    document["study"]["metrics"] = ["azimuth_mae_deg"]
    store = MemoryTracker()
    store.open("toy", json.loads(json.dumps(document)))
    for arm, by_seed in scores.items():
        for seed, score in by_seed.items():
            spec = RunSpec("toy", arm, seed, "compare", {"arm": arm}, "d")
            found = {"test/azimuth_mae_deg": score, "cost/parameters": 2e6 if arm == "existing" else 6.8e6}
            store.finish(store.start(spec), spec, RunResult(spec.key, "FINISHED", found))
    return analyse(tables.load(store, "toy"))


EXISTING = {1: 7.0, 2: 7.2, 3: 7.1}
BETTER = {1: 6.5, 2: 6.8, 3: 6.65}  # differences -0.5, -0.4, -0.45: mean -0.45, half width 0.1242


def test_the_answer_when_an_arm_is_better(tmp_path: Path) -> None:
    found = said(tmp_path, {"existing": EXISTING, "hybrid": BETTER})
    assert found.answers == (
        "Hybrid has a lower azimuth error than Existing only by 0.45° (95 % interval 0.33° to 0.57°, 3 seeds), "
        "at +4.8M parameters.",
    )


def test_the_answer_when_an_arm_is_worse(tmp_path: Path) -> None:
    worse = {seed: score + 1.0 + 0.05 * seed for seed, score in EXISTING.items()}
    found = said(tmp_path, {"existing": EXISTING, "elepose": worse})
    assert found.answers[0].startswith("ElePose only is worse than Existing only in azimuth error by 1.10° (95 %")


def test_the_answer_when_nothing_can_be_shown(tmp_path: Path) -> None:
    found = said(tmp_path, {"existing": EXISTING, "hybrid": {1: 7.2, 2: 6.9, 3: 7.1}})
    assert found.answers[0].startswith(
        "No difference between Hybrid and Existing only could be shown in azimuth error (−0.03°, 95 % interval "
    )


def test_the_answer_with_one_seed_or_none(tmp_path: Path) -> None:
    one = said(tmp_path, {"existing": EXISTING, "hybrid": {1: 6.5}})
    assert one.answers[0].startswith(
        "One seed alone shows nothing about Hybrid and Existing only (azimuth error −0.500°"
    )
    none = said(tmp_path, {"existing": EXISTING, "hybrid": {}})
    assert none.answers == ("There is no answer yet: Hybrid and Existing only have no finished seed in common.",)
    assert [gap.status for gap in none.gaps] == ["missing"] * 3
    alone = said(tmp_path, {"existing": EXISTING})
    assert "nothing to compare" in alone.answers[0]


def test_a_hypothesis_chooses_the_pair_and_its_margin_is_judged(tmp_path: Path) -> None:
    asked = {"arm": "hybrid", "against": "existing", "metric": "azimuth_mae_deg", "margin": 0.3}
    scores = {"existing": EXISTING, "elepose": BETTER, "hybrid": BETTER}
    found = said(tmp_path, scores, hypotheses=[asked])
    assert [c.arm for c in found.comparisons] == ["hybrid"]
    assert found.focus == ("existing", "hybrid")
    assert found.comparisons[0].verdict == "better, more than the margin of 0.3°"
    short = said(tmp_path, scores, hypotheses=[asked | {"margin": 0.4}])
    assert short.comparisons[0].verdict == "better, not shown to reach the margin of 0.4°"
    same = {"existing": EXISTING, "hybrid": {1: 7.01, 2: 7.19, 3: 7.1}}
    near = said(tmp_path, same, hypotheses=[asked])
    assert near.comparisons[0].verdict == "no difference shown, any is below the margin of 0.3°"


def test_several_comparisons_are_corrected_for_their_number(tmp_path: Path) -> None:
    edge = {1: 6.6, 2: 6.92, 3: 6.58}  # differences -0.4, -0.28, -0.52: p = 0.029, twice that is too much
    one = said(tmp_path, {"existing": EXISTING, "hybrid": edge}).comparisons[0]
    two = said(tmp_path, {"existing": EXISTING, "hybrid": edge, "elepose": {1: 7.2, 2: 6.9, 3: 7.1}}).comparisons
    hybrid = next(c for c in two if c.arm == "hybrid")
    assert one.effect.p is not None
    assert hybrid.p_adjusted == pytest.approx(2 * one.effect.p)
    assert hybrid.outcome == "open"
    assert one.outcome == "better"
    assert hybrid.verdict == "no difference shown after correction"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[tables.Results, Analysis]:
    references = {"torso-frame": {"label": "Torso frame", "reference": True}}
    toy = Toy(tmp_path_factory.mktemp("toy"), references | ARMS, skip=[("elepose", 3)])
    found = tables.load(toy.store(), "toy")
    return found, analyse(found)


def test_the_matrix_has_yardsticks_last_and_the_differences(whole: tuple[tables.Results, Analysis]) -> None:
    results, analysis = whole
    assert [row.label for row in analysis.matrix] == ["Existing only", "ElePose only", "Hybrid", "Torso frame"]
    assert analysis.information == ("azimuth", "elevation")
    hybrid = analysis.matrix[2]
    key = "test/azimuth_mae_deg"
    assert hybrid.effects["azimuth_mae_deg"] == paired(results.by_seed("hybrid", key), results.by_seed("existing", key))
    assert analysis.matrix[0].effects == {}
    assert [row.runs for row in analysis.matrix] == [3, 2, 3, 3]


def test_arms_behind_a_yardstick_are_named(whole: tuple[tables.Results, Analysis]) -> None:
    # torso frame 11.4° and 5.9° against ElePose's 15.2° and 6.3°; the others are better in both
    assert whole[1].behind == (
        "Torso frame does as well as or better than ElePose only in azimuth error.",
        "Torso frame does as well as or better than ElePose only in elevation error.",
    )


def test_the_parameter_table(whole: tuple[tables.Results, Analysis]) -> None:
    rows = {row.arm: row for row in whole[1].parameters}
    assert list(rows) == ["existing", "elepose", "hybrid"]
    assert rows["existing"].added is None
    assert rows["hybrid"].added == 6_983_431 - 2_214_663
    assert list(rows["hybrid"].parts) == ["angle_path"]


def test_the_budget_table(whole: tuple[tables.Results, Analysis]) -> None:
    row = whole[1].budget[1]
    assert (row.allotted, row.finished_trials, row.runs, row.expected_runs) == (2, 2, 2, 3)
    assert (row.epochs, row.examples, row.training_seconds) == (6, 2400, 101.5)


def test_a_condition_is_the_mean_of_its_bin_by_hand(whole: tuple[tables.Results, Analysis]) -> None:
    results, analysis = whole
    table = next(t for t in analysis.conditions if (t.column, t.metric.name) == ("azimuth_deg", "azimuth_mae_deg"))
    means = []
    for seed in (1, 2, 3):
        frame = results.examples("hybrid", seed)
        assert frame is not None
        front = frame[(frame.azimuth_deg >= 337.5) | (frame.azimuth_deg < 22.5)]
        means.append(front.azimuth_mae_deg.astype(float).mean())
    assert table.examples[0] == len(front)
    assert table.scores["hybrid"][0].mean == pytest.approx(np.mean(means))
    assert sum(table.examples) == analysis.test_examples == 400
    assert set(table.effects) == {"elepose", "hybrid"}


def test_curves_have_the_spread_over_seeds(whole: tuple[tables.Results, Analysis]) -> None:
    results, analysis = whole
    assert [panel.key for panel in analysis.curves] == [
        "train/loss",
        "val/azimuth_mae_deg",
        "val/elevation_mae_deg",
    ]
    table = analysis.curves[0].arms["existing"]
    first = results.curves.query("arm == 'existing' and epoch == 1 and metric == 'train/loss'").score
    assert (table.low[0], table["mean"][0], table.high[0]) == (first.min(), pytest.approx(first.mean()), first.max())


def test_periodic_bins_are_centred_on_zero() -> None:
    bins = make_bins(np.array([0.0]), Condition(period=360.0, bins=4))
    values = np.array([0.0, 44.0, 46.0, 90.0, 180.0, 300.0, 316.0, 359.9, np.nan])
    assert bins.place(values).tolist() == [0, 0, 1, 1, 2, 3, 0, 0, -1]
    assert bins.centres == (0.0, 90.0, 180.0, 270.0)


def test_straight_bins_have_round_edges_and_hold_every_value() -> None:
    values = np.linspace(-34.2, 57.9, 500)
    bins = make_bins(values, Condition(bins=5))
    assert bins.labels == ("−40 to −20", "−20 to 0", "0 to 20", "20 to 40", "40 to 60")
    assert bins.place(np.array([-40.0, -20.0, 59.9, 60.0, 61.0, -40.1])).tolist() == [0, 1, 4, 4, -1, -1]
    assert (bins.place(values) >= 0).all()


def test_few_values_are_a_bin_each() -> None:
    bins = make_bins(np.array([0.5, 1.0, 4.0, 1.0]), Condition())
    assert bins.labels == ("0.5", "1", "4")
    assert bins.place(np.array([1.0, 4.0, 2.0, 0.5])).tolist() == [1, 2, -1, 0]


def test_arms_that_share_a_label_are_told_apart(tmp_path: Path) -> None:
    toy = Toy(tmp_path, {"existing": {}, "hybrid": {"label": "Same"}, "elepose": {"label": "Same"}}, tuned=False)
    store = MemoryTracker()
    store.open("toy", toy.document())
    labels = analyse(tables.load(store, "toy")).labels
    assert list(labels.values()) == ["existing", "Same (hybrid)", "Same (elepose)"]
