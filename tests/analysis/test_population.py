from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from toy_scores import AZIMUTH, INFO, around, asked, load

from ablate.analysis.population import Population, disjoint, population, population_rows
from ablate.analysis.statistics import estimate

Frames = Mapping[Any, pd.DataFrame]  # by arm, or by (arm, seed)
SCORES = {"existing": around(7.0, seeds=3), "hybrid": around(6.5, 1, seeds=3)}


def over_people(folder: Path, frames: Frames, scores: Mapping[str, Mapping[int, float]] = SCORES) -> Population:
    return population(load(scores, frames=frames, folder=folder), "hybrid", "existing", AZIMUTH)


def frame(by_person: Mapping[int, list[float]], metric: str = AZIMUTH) -> pd.DataFrame:
    rows = [(subject, value) for subject, values in by_person.items() for value in values]
    return pd.DataFrame(rows, columns=["subject", metric])


def test_by_hand(tmp_path: Path) -> None:
    # Subject 1: 4 against 6, subject 2: mean(1, 5) = 3 against 2; in seed 3 subject 1 has 1 against 6
    frames = {"existing": frame({1: [6.0], 2: [2.0, 2.0]}), "hybrid": frame({1: [4.0], 2: [1.0, 5.0]})}
    result = over_people(tmp_path, {**frames, ("hybrid", 3): frame({1: [1.0], 2: [1.0, 5.0]})})
    assert result.by_subject == {1.0: -3.0, 2.0: 1.0}
    assert (result.subjects, result.descriptive) == (2, True)
    assert result.difference == estimate([-3.0, 1.0])
    assert result.note == "2 test subjects: descriptive only"


def test_subjects_weigh_alike_however_many_examples_they_have(tmp_path: Path) -> None:
    frames = {"existing": frame({1: [0.0] * 90, 2: [0.0]}), "hybrid": frame({1: [1.0] * 90, 2: [3.0]})}
    assert over_people(tmp_path, frames).difference.mean == 2.0


@pytest.mark.parametrize("count", [9, 10])
def test_from_ten_subjects_on_it_is_more_than_descriptive(count: int, tmp_path: Path) -> None:
    gaps = np.random.default_rng(0).normal(-1, 0.2, count)
    new = frame({i: [5.0 + gap] for i, gap in enumerate(gaps)})
    result = over_people(tmp_path, {"existing": frame({i: [5.0] for i in range(count)}), "hybrid": new})
    assert (result.subjects, result.descriptive) == (count, count < 10)
    assert result.difference.low == pytest.approx(estimate(gaps.tolist()).low)


@pytest.mark.parametrize(
    ("reduction", "values", "score"), [("median", [0.0, 2, 2, 4], 2.0), ("rms", [0.0, 2, 4, 8], np.sqrt(21.0))]
)
def test_a_subjects_score_is_reduced_as_the_metric_says(
    reduction: str, values: list[float], score: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(INFO[AZIMUTH], "reduction", reduction)
    result = over_people(tmp_path, {"existing": frame({1: [0.0], 2: [0.0]}), "hybrid": frame({1: values, 2: [0.0]})})
    assert result.by_subject == {1.0: pytest.approx(score), 2.0: 0.0}


def test_seeds_that_only_one_arm_has_are_left_out(tmp_path: Path) -> None:
    frames = {"existing": frame({1: [6.0], 2: [6.0]}), "hybrid": frame({1: [5.0], 2: [4.0]})}
    scores = {"existing": {2: 7.0, 3: 7.0}, "hybrid": dict.fromkeys((1, 2, 3), 6.0)}
    result = over_people(tmp_path, {**frames, ("hybrid", 1): frame({1: [99.0], 2: [99.0]})}, scores)
    assert result.by_subject == {1.0: -1.0, 2.0: -2.0}


def test_with_redrawn_splits_a_subject_counts_where_it_was_tested(tmp_path: Path) -> None:
    tested = {1: (1, 2), 2: (2, 3), 3: (1, 3)}
    frames = {("existing", seed): frame({s: [0.0] for s in subjects}) for seed, subjects in tested.items()}
    frames |= {("hybrid", seed): frame({s: [float(s * seed)] for s in subjects}) for seed, subjects in tested.items()}
    assert over_people(tmp_path, frames).by_subject == {1.0: 2.0, 2.0: 3.0, 3.0: 7.5}


def test_undefined_examples_are_left_out_and_an_undefined_subject_is_told(tmp_path: Path) -> None:
    nan = math.nan
    frames = {"existing": frame({1: [2.0, nan], 2: [nan], 3: [1.0]}), "hybrid": frame({1: [nan, 5.0], 2: [1], 3: [1]})}
    result = over_people(tmp_path, frames)
    assert result.by_subject == {1.0: 3.0, 3.0: 0.0}
    assert result.note == "2 test subjects: descriptive only; 1 left out for want of a value"


def test_one_subject_has_no_interval(tmp_path: Path) -> None:
    result = over_people(tmp_path, {"existing": frame({7: [2.0]}), "hybrid": frame({7: [1.0]})})
    assert (result.subjects, result.difference.mean, result.difference.low, result.descriptive) == (1, -1.0, None, True)
    assert result.note == "1 test subject: descriptive only; one subject: no interval"


def test_subjects_without_variation_claim_nothing(tmp_path: Path) -> None:
    old, new = (frame({i: [value] for i in range(12)}) for value in (5.0, 4.0))
    result = over_people(tmp_path, {"existing": old, "hybrid": new})
    assert not result.difference.excludes_zero
    assert "same value at every subject" in result.note


@pytest.mark.parametrize(
    ("examples", "note"),
    [
        (None, "no seed has the examples of both arms"),
        (pd.DataFrame({AZIMUTH: [1.0]}), "the data names no subject: nothing can be said of other people"),
        (frame({1: [1.0]}, "other"), f"{AZIMUTH} has no value of a single example: nothing to take apart by subject"),
        (frame({1: [math.nan]}), f"{AZIMUTH} is undefined for every subject"),
    ],
)
def test_what_cannot_be_said_is_said_in_words(tmp_path: Path, examples: pd.DataFrame | None, note: str) -> None:
    result = over_people(tmp_path, {} if examples is None else {"existing": examples, "hybrid": examples})
    assert (result.subjects, result.difference.mean, result.descriptive, result.by_subject) == (0, None, True, {})
    assert result.note == note


def test_arms_of_different_people_are_told(tmp_path: Path) -> None:
    result = over_people(tmp_path, {"existing": frame({1: [2.0]}), "hybrid": frame({2: [1.0]})})
    assert (result.subjects, result.note) == (0, "the arms have no subject in common")


@pytest.mark.parametrize("metric", [AZIMUTH, "other"])
def test_disjoint_seeds_are_those_without_a_person_that_both_arms_have(tmp_path: Path, metric: str) -> None:
    frames = {("existing", seed): frame({1: [2.0], 2: [2.0]}, metric) for seed in SCORES["existing"]}
    frames |= {("hybrid", seed): frame({2: [1.0], 3: [1.0]}, metric) for seed in SCORES["hybrid"]}
    assert disjoint(load(SCORES, frames=frames, folder=tmp_path / "a"), "hybrid", "existing", AZIMUTH) == ()
    frames["hybrid", 2] = frame({3: [1.0]}, metric)
    assert disjoint(load(SCORES, frames=frames, folder=tmp_path / "b"), "hybrid", "existing", AZIMUTH) == (2,)


@pytest.mark.parametrize("hypotheses", [[], [asked(0.5)]])
def test_a_comparison_over_people_in_words(tmp_path: Path, hypotheses: list[Any]) -> None:
    frames = {"existing": frame({3: [7.0], 5: [8.0]}), "hybrid": frame({3: [6.0], 5: [8.5]})}
    (row,) = population_rows(load(SCORES, frames=frames, folder=tmp_path, hypotheses=hypotheses))
    assert row.declared == bool(hypotheses)
    assert row.sentence.startswith("“Hybrid” against “Existing only” in azimuth error: −0.25")
    beyond = ", by more than 0.5° in 1" if hypotheses else ""  # person 3 by 1.0
    assert f"2 test subjects, better in 1 of 2{beyond}; descriptive only, so few people say little" in row.sentence
    assert row.sentence.endswith("every person counts the same here, and over all examples the difference is −0.52°.")


def test_one_person_in_words(tmp_path: Path) -> None:
    frames = {"existing": frame({3: [7.0]}), "hybrid": frame({3: [6.0]})}
    (row,) = population_rows(load(SCORES, frames=frames, folder=tmp_path))
    assert "1 test subject, no interval, better in 1 of 1" in row.sentence


def test_without_people_nothing_is_said_of_them(tmp_path: Path) -> None:
    nameless = pd.DataFrame({AZIMUTH: [1.0]})
    for frames in ({}, {"existing": nameless, "hybrid": nameless}):
        results = load(SCORES, frames=frames, folder=tmp_path / str(len(frames)), hypotheses=[asked()])
        assert population_rows(results) == ()


def test_with_people_a_hypothesis_about_a_score_without_examples_says_so(tmp_path: Path) -> None:
    other = frame({3: [7.0]}, "other")
    results = load(SCORES, frames={"existing": other, "hybrid": other}, folder=tmp_path, hypotheses=[asked()])
    (row,) = population_rows(results)
    assert f": {AZIMUTH} has no value of a single example" in row.sentence
