from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_scores import AZIMUTH, load

from ablate.analysis import densities
from ablate.analysis.densities import DensityTable

TRUE = np.array([10.0, 100.0, 190.0, 280.0])
ERROR = {1: np.array([0.0, 20.0, -180.0, 100.0]), 2: np.array([0.0, 0.0, 0.0, np.nan])}  # by seed


DENSITIES = {
    "azimuth_deg": {"error": AZIMUTH, "label": "Azimuth (°)", "period": 360.0},
    "elevation_deg": {"error": AZIMUTH},
    "lean_deg": {"error": AZIMUTH},  # no run has kept it
}


@pytest.fixture(scope="module")
def density(tmp_path_factory: pytest.TempPathFactory) -> dict[str, DensityTable]:
    frames = {
        ("hybrid", seed): pd.DataFrame({"azimuth_deg": TRUE, "elevation_deg": TRUE / 10, AZIMUTH: error})
        for seed, error in ERROR.items()
    }
    scores, folder = {"existing": {1: 7.0, 2: 7.0}, "hybrid": {1: 6.0, 2: 6.0}}, tmp_path_factory.mktemp("toy")
    results = load(scores, frames=frames, folder=folder, report={"densities": DENSITIES})
    return {table.column: table for table in densities.density_tables(results)}


def test_what_no_run_has_kept_has_no_table(density: dict[str, DensityTable]) -> None:
    assert list(density) == ["azimuth_deg", "elevation_deg"]


def test_counts_stand_where_true_and_predicted_values_are(density: dict[str, DensityTable]) -> None:
    arm = density["azimuth_deg"].arms["hybrid"]
    counts = np.array(arm.counts)
    assert counts.shape == (36, 36)  # 10° each; 190 − 180 = 10, 280 + 100 = 20 (around the circle)
    assert dict(zip(zip(*map(list, np.nonzero(counts)), strict=True), counts[np.nonzero(counts)], strict=True)) == {
        (1, 1): 2, (10, 12): 1, (10, 10): 1, (19, 1): 1, (19, 19): 1, (28, 2): 1,
    }  # fmt: skip
    assert (arm.outside, arm.seeds) == (0, 2)


def test_shares_are_means_over_seeds_of_the_examples_that_have_a_value(density: dict[str, DensityTable]) -> None:
    table = density["azimuth_deg"]
    shares = dict(zip(table.names, [share.mean for share in table.arms["hybrid"].shares], strict=True))
    assert shares == {
        "Within 22.5°": (50 + 100) / 2,
        "Within 45°": (50 + 100) / 2,
        "Off by over 90°": (50 + 0) / 2,
        "157.5° to 180°": (25 + 0) / 2,
    }


def test_a_straight_scale_has_round_edges_and_counts_what_lies_beyond(density: dict[str, DensityTable]) -> None:
    table = density["elevation_deg"]  # 1 to 28, with errors up to 180
    assert (table.edges[0], table.edges[-1]) == (-2.5, 30.0)
    assert table.names == ("Within 2°", "Within 4°", "Off by over 8°")  # 32.5 / 16, rounded down, and 2 and 4 times it
    assert table.arms["hybrid"].outside == 2  # 10 + 20 = 30 is on the last edge


@given(st.floats(1e-6, 1e6))
@settings(max_examples=30)
def test_a_nice_number_is_at_most_two_and_a_half_times_smaller(value: float) -> None:
    nice = densities._nice(value)
    assert nice <= value * (1 + 1e-9)
    assert value < 2.5 * nice
