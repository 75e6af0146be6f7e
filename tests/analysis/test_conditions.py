from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from toy_results import Toy
from toy_scores import AZIMUTH, around, load

from ablate.analysis import results as tables
from ablate.analysis.conditions import ConditionTable, condition_tables, make_bins
from ablate.study import Condition

BASES = {"existing": 7.0, "hybrid": 6.0}


def frame(level: float, seed_free: np.ndarray, **columns: Any) -> pd.DataFrame:
    """Examples whose error is `level` plus a fixed pattern."""
    return pd.DataFrame({AZIMUTH: level + seed_free, **columns})


def tabled(folder: Path, conditions: dict[str, dict[str, Any]], **columns: Any) -> list[ConditionTable]:
    pattern = np.tile([0.0, 1.0], len(next(iter(columns.values()))) // 2)
    frames = {arm: frame(level, pattern, **columns) for arm, level in BASES.items()}
    scores = {arm: around(level, shift) for shift, (arm, level) in enumerate(BASES.items())}
    return condition_tables(load(scores, frames=frames, folder=folder, report={"conditions": conditions}))


def test_a_condition_is_the_mean_of_its_bin_by_hand(tmp_path: Path) -> None:
    results = tables.load(Toy(tmp_path).store(), "toy")
    table = next(
        t for t in condition_tables(results) if (t.column, t.metric.name) == ("azimuth_deg", "azimuth_mae_deg")
    )
    means = []
    for seed in (1, 2, 3):
        frame = pd.DataFrame(results.columns("hybrid", seed))
        front = frame[(frame.azimuth_deg >= 337.5) | (frame.azimuth_deg < 22.5)]
        means.append(front.azimuth_mae_deg.astype(float).mean())
    assert table.examples[0] == len(front)
    assert table.scores["hybrid"][0].mean == pytest.approx(np.mean(means))
    assert sum(table.examples) == 400
    assert set(table.effects) == {"elepose", "hybrid"}


def test_periodic_bins_are_centred_on_zero() -> None:
    bins = make_bins(np.array([0.0]), Condition(period=360.0, bins=4))
    values = np.array([0.0, 44.0, 46.0, 90.0, 180.0, 300.0, 316.0, 359.9, np.nan])
    assert bins.index_of(values).tolist() == [0, 0, 1, 1, 2, 3, 0, 0, -1]
    assert bins.centres == (0.0, 90.0, 180.0, 270.0)


@pytest.mark.parametrize(
    ("low", "high", "bins", "labels"),
    [
        (8, 17, 5, ("8 to 9", "10 to 11", "12 to 13", "14 to 15", "16 to 17")),
        (0, 17, 6, ("0 to 4", "5 to 9", "10 to 14", "15 to 17")),
        (3, 12, 9, ("3", "4 to 5", "6 to 7", "8 to 9", "10 to 11", "12")),
    ],
)
def test_bins_of_whole_numbers_are_named_by_those_they_hold(
    low: int, high: int, bins: int, labels: tuple[str, ...]
) -> None:
    counts = np.arange(low, high + 1).astype(float)
    made = make_bins(counts, Condition(bins=bins))
    assert made.labels == labels
    for count, index in zip(counts, made.index_of(counts), strict=True):
        first, _, last = labels[index].partition(" to ")
        assert int(first) <= count <= int(last or first)
    assert make_bins(counts + 0.5, Condition(bins=5)).labels != made.labels  # not whole: the edges are shared


def test_straight_bins_have_round_edges_and_hold_every_value() -> None:
    values = np.linspace(-34.2, 57.9, 500)
    bins = make_bins(values, Condition(bins=5))
    assert bins.labels == ("−40 to −20", "−20 to 0", "0 to 20", "20 to 40", "40 to 60")
    assert bins.index_of(np.array([-40.0, -20.0, 59.9, 60.0, 61.0, -40.1])).tolist() == [0, 1, 4, 4, -1, -1]
    assert (bins.index_of(values) >= 0).all()


def test_few_values_are_a_bin_each() -> None:
    bins = make_bins(np.array([0.5, 1.0, 4.0, 1.0]), Condition())
    assert bins.labels == ("0.5", "1", "4")
    assert bins.index_of(np.array([1.0, 4.0, 2.0, 0.5])).tolist() == [1, 2, -1, 0]


def test_values_share_a_named_group() -> None:
    bins = make_bins(np.array([7.0, 9.0, 12.0]), Condition(groups={"walk": [7, 12], "dance": [9]}))
    assert bins.labels == ("walk", "dance")
    assert bins.index_of(np.array([12.0, 9.0, 7.0, 8.0, np.nan])).tolist() == [0, 1, 0, -1, -1]
    assert bins.categorical


def test_a_group_without_examples_says_so(tmp_path: Path) -> None:
    groups = {"walk": [1, 2], "dance": [3], "climb": [4]}
    (table,) = tabled(tmp_path, {"kind": {"groups": groups}}, kind=np.repeat([1.0, 2.0, 3.0], [30, 40, 8]))
    assert table.examples == (70, 8, 0)
    assert table.notes[1].startswith("too few examples: 8")
    assert table.notes[2] == "no example"


def test_a_bin_with_few_examples_says_so_and_has_no_effect(tmp_path: Path) -> None:
    (table,) = tabled(tmp_path, {"kind": {}}, kind=np.repeat([1.0, 2.0], [40, 8]))
    assert table.examples == (40, 8)
    assert table.people is None
    assert table.notes == ("", "too few examples: 8, at least 30 are needed")
    assert table.scores["hybrid"][1].mean == 6.5
    known, unknown = table.effects["hybrid"]
    assert known.difference.mean == -1.0
    assert (unknown.difference.mean, unknown.difference.n, unknown.p) == (None, 0, None)
    assert unknown.note == table.notes[1]


def test_a_bin_of_one_person_says_so_and_has_no_effect(tmp_path: Path) -> None:
    people = np.repeat([1.0, 2.0], [60, 40])
    (table,) = tabled(tmp_path, {"kind": {}}, kind=np.repeat([1.0, 2.0], [50, 50]), subject=people)
    assert table.people == (1, 2)
    assert table.notes == ("one person", "")
    assert [effect.difference.n for effect in table.effects["hybrid"]] == [0, 5]


def test_a_person_or_a_clip_is_a_slice_under_its_own_name(tmp_path: Path) -> None:
    people = np.repeat([3.0, 18.0], [40, 60])
    clips = np.repeat(np.array([7, 11, 12], dtype=np.int64), [40, 30, 30])
    by_person, by_clip = tabled(tmp_path, {"subject": {"bins": 2}, "clip": {"bins": 2}}, subject=people, clip=clips)
    assert by_person.bins.labels == ("3", "18")
    assert by_person.notes == ("one person", "one person")
    assert [effect.difference.mean for effect in by_person.effects["hybrid"]] == [-1.0, -1.0]
    assert (by_clip.bins.labels, by_clip.bins.centres) == (("7", "11", "12"), (0.0, 1.0, 2.0))
    assert by_clip.bins.categorical
    assert [effect.difference.n for effect in by_clip.effects["hybrid"]] == [0, 0, 0]


def test_of_many_names_the_most_frequent_are_kept() -> None:
    column = np.concatenate([np.repeat(np.arange(60), 2), np.repeat(np.arange(30, 70), 5)])
    bins = make_bins(column.astype(float), Condition(), categorical=True)
    assert bins.values == tuple(float(value) for value in range(30, 70))
    assert bins.index_of(np.array([29.0, 30.0, 69.0])).tolist() == [-1, 0, 39]


def test_a_metric_that_is_undefined_in_a_bin_has_no_number_there(tmp_path: Path) -> None:
    column = np.repeat([1.0, 2.0], [40, 40])
    frames = {arm: frame(level, np.where(column == 1, 0.0, np.nan), kind=column) for arm, level in BASES.items()}
    scores = {arm: around(level) for arm, level in BASES.items()}
    (table,) = condition_tables(load(scores, frames=frames, folder=tmp_path, report={"conditions": {"kind": {}}}))
    assert table.examples == (40, 0)
    assert table.notes == ("", "no example")
    assert table.scores["existing"][1].mean is None
    assert table.effects["hybrid"][0].p is None  # the same at every seed


@pytest.mark.parametrize("column", ["nosuch", "empty"])
def test_a_column_without_a_value_makes_no_table(column: str, tmp_path: Path) -> None:
    assert tabled(tmp_path, {column: {}}, kind=np.ones(40), empty=np.full(40, np.nan)) == []
