from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from toy_scores import AZIMUTH, around, asked, load

from ablate.analysis.population import PopulationRow, population_rows

SCORES = {"existing": around(7.0), "hybrid": around(6.5, 1)}
# hybrid minus existing: −1 for the first person, +0.5 for the second
LEVELS = {"existing": (7.0, 8.0), "hybrid": (6.0, 8.5)}


def rows(folder: Path, people: tuple[int, ...], hypotheses: int = 0) -> tuple[PopulationRow, ...]:
    column = np.repeat(np.array(people, dtype=float), 10)
    frames = {
        arm: pd.DataFrame({AZIMUTH: np.repeat(levels[: len(people)], 10), "subject": column})
        for arm, levels in LEVELS.items()
    }
    return population_rows(load(SCORES, frames=frames, folder=folder, hypotheses=[asked(0.5)] * hypotheses))


def test_people_are_told_apart_from_seeds(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, (3, 5))
    assert row.population.by_subject == {3.0: -1.0, 5.0: 0.5}
    assert row.population.difference.mean == -0.25
    assert not row.declared
    assert row.sentence.startswith("Hybrid against Existing only in azimuth error: −0.25")
    assert row.sentence.endswith(
        "2 test subjects, better in 1 of 2; descriptive only, so few people say little of others."
    )


def test_a_declared_comparison_stands_once(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, (3, 5), hypotheses=1)
    assert row.declared


def test_one_person_has_no_interval(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, (3,))
    assert row.population.difference.half_width is None
    assert "1 test subject, no interval, better in 1 of 1" in row.sentence


def test_without_people_only_a_hypothesis_says_so() -> None:
    assert population_rows(load(SCORES)) == ()
    (row,) = population_rows(load(SCORES, hypotheses=[asked()]))
    assert row.sentence == "Hybrid against Existing only in azimuth error: no seed has the examples of both arms."
