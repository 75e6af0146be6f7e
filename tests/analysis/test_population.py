from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from toy_results import Toy

from ablate.analysis import results as tables
from ablate.analysis.population import population
from ablate.analysis.results import Results
from ablate.analysis.statistics import estimate

METRIC = "azimuth_mae_deg"


def stored(folder: Path, frames: dict[tuple[str, int], pd.DataFrame | None], **options: object) -> Results:
    """The toy study with these per-example tables in place of its own; None takes a run's table away."""
    store = Toy(folder, **options).store()  # type: ignore[arg-type]
    for (arm, seed), frame in frames.items():
        path = folder / f"{arm}-{seed}" / "scores.parquet"
        if frame is None:
            path.unlink()
        else:
            frame.astype("float32").to_parquet(path, index=False)
    return tables.load(store, "toy")


def frame(by_subject: dict[int, list[float]], metric: str = METRIC) -> pd.DataFrame:
    rows = [(subject, value) for subject, values in by_subject.items() for value in values]
    return pd.DataFrame(rows, columns=["subject", metric])


def in_every_run(results: dict[str, pd.DataFrame | None]) -> dict[tuple[str, int], pd.DataFrame | None]:
    return {(arm, seed): table for arm, table in results.items() for seed in (1, 2, 3)}


def test_by_hand(tmp_path: Path) -> None:
    # Subject 1: 4 against 6, subject 2: mean(1, 5) = 3 against 2; in seed 3 subject 1 has 1 against 6
    old = frame({1: [6.0], 2: [2.0, 2.0]})
    new = frame({1: [4.0], 2: [1.0, 5.0]})
    frames = in_every_run({"existing": old, "hybrid": new}) | {("hybrid", 3): frame({1: [1.0], 2: [1.0, 5.0]})}
    result = population(stored(tmp_path, frames), "hybrid", "existing", METRIC)
    assert result.by_subject == {1.0: -3.0, 2.0: 1.0}
    assert (result.subjects, result.descriptive) == (2, True)
    assert result.difference == estimate([-3.0, 1.0])
    assert result.note == "2 test subjects: descriptive only"


def test_subjects_weigh_alike_however_many_examples_they_have(tmp_path: Path) -> None:
    old = frame({1: [0.0] * 90, 2: [0.0]})
    new = frame({1: [1.0] * 90, 2: [3.0]})
    result = population(stored(tmp_path, in_every_run({"existing": old, "hybrid": new})), "hybrid", "existing", METRIC)
    assert result.difference.mean == 2.0


def test_from_ten_subjects_on_it_is_more_than_descriptive(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for count in (9, 10):
        gaps = rng.normal(-1, 0.2, count)
        old = frame({i: [5.0] for i in range(count)})
        new = frame({i: [5.0 + gap] for i, gap in enumerate(gaps)})
        folder = tmp_path / str(count)
        result = population(
            stored(folder, in_every_run({"existing": old, "hybrid": new})), "hybrid", "existing", METRIC
        )
        assert (result.subjects, result.descriptive) == (count, count < 10)
        assert result.difference.low == pytest.approx(estimate(gaps.tolist()).low, abs=1e-4)


@pytest.mark.parametrize(("reduction", "score"), [("median", 2.0), ("rms", np.sqrt(21.0))])
def test_a_subjects_score_is_reduced_as_the_metric_says(tmp_path: Path, reduction: str, score: float) -> None:
    old = frame({1: [0.0] * 4, 2: [0.0] * 4})
    new = frame({1: [0.0, 2.0, 2.0, 4.0] if reduction == "median" else [0.0, 2.0, 4.0, 8.0], 2: [0.0] * 4})
    results = stored(tmp_path, in_every_run({"existing": old, "hybrid": new}))
    info = results.metrics[METRIC]
    object.__setattr__(info, "reduction", reduction)
    assert population(results, "hybrid", "existing", METRIC).by_subject == {1.0: pytest.approx(score), 2.0: 0.0}


def test_seeds_that_only_one_arm_has_are_left_out(tmp_path: Path) -> None:
    old = frame({1: [6.0], 2: [6.0]})
    frames = in_every_run({"existing": old, "hybrid": frame({1: [5.0], 2: [4.0]})})
    frames[("hybrid", 1)] = frame({1: [99.0], 2: [99.0]})
    del frames[("existing", 1)]
    result = population(stored(tmp_path, frames, skip=[("existing", 1)]), "hybrid", "existing", METRIC)
    assert result.by_subject == {1.0: -1.0, 2.0: -2.0}


def test_with_redrawn_splits_a_subject_counts_where_it_was_tested(tmp_path: Path) -> None:
    frames: dict[tuple[str, int], pd.DataFrame | None] = {}
    for seed, subjects in ((1, (1, 2)), (2, (2, 3)), (3, (1, 3))):
        frames["existing", seed] = frame({s: [0.0] for s in subjects})
        frames["hybrid", seed] = frame({s: [float(s * seed)] for s in subjects})
    result = population(stored(tmp_path, frames), "hybrid", "existing", METRIC)
    assert result.by_subject == {1.0: 2.0, 2.0: 3.0, 3.0: 7.5}


def test_undefined_examples_are_left_out_and_an_undefined_subject_is_told(tmp_path: Path) -> None:
    nan = float("nan")
    old = frame({1: [2.0, nan], 2: [nan], 3: [1.0]})
    new = frame({1: [nan, 5.0], 2: [1.0], 3: [1.0]})
    result = population(stored(tmp_path, in_every_run({"existing": old, "hybrid": new})), "hybrid", "existing", METRIC)
    assert result.by_subject == {1.0: 3.0, 3.0: 0.0}
    assert result.note == "2 test subjects: descriptive only; 1 left out for want of a value"


def test_one_subject_has_no_interval(tmp_path: Path) -> None:
    one = in_every_run({"existing": frame({7: [2.0]}), "hybrid": frame({7: [1.0]})})
    result = population(stored(tmp_path, one), "hybrid", "existing", METRIC)
    assert (result.subjects, result.difference.mean, result.difference.low, result.descriptive) == (1, -1.0, None, True)
    assert result.note == "1 test subject: descriptive only; one subject: no interval"


def test_subjects_without_variation_claim_nothing(tmp_path: Path) -> None:
    old = frame({i: [5.0] for i in range(12)})
    result = population(
        stored(tmp_path, in_every_run({"existing": old, "hybrid": frame({i: [4.0] for i in range(12)})})),
        "hybrid", "existing", METRIC,
    )  # fmt: skip
    assert not result.difference.excludes_zero
    assert "same value at every subject" in result.note


@pytest.mark.parametrize(
    ("frames", "column", "note"),
    [
        ({"existing": None}, "subject", "no seed has the examples of both arms"),
        ({}, "subject", "the data names no subject: nothing can be said of other people"),
        (
            {"existing": frame({1: [1.0]}, "other"), "hybrid": frame({1: [1.0]}, "other")},
            "subject",
            f"{METRIC} has no value of a single example: nothing to take apart by subject",
        ),
        (
            {"existing": frame({1: [np.nan]}), "hybrid": frame({1: [np.nan]})},
            "subject",
            f"{METRIC} is undefined for every subject",
        ),
    ],
)
def test_what_cannot_be_said_is_said_in_words(
    tmp_path: Path, frames: dict[str, pd.DataFrame | None], column: str, note: str
) -> None:
    result = population(stored(tmp_path, in_every_run(frames)), "hybrid", "existing", METRIC, column)
    assert (result.subjects, result.difference.mean, result.descriptive, result.by_subject) == (0, None, True, {})
    assert result.note == note
