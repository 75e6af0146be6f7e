"""Metrics: hand-checkable angles and distances, agreement with the geometry, and no torch on import."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ablate.depth_refinement import geometry
from ablate.depth_refinement.metrics import METRICS
from ablate.study import Metric
from ablate.trainers.builtin import evaluation

AZIMUTHS = st.floats(0, 359.99)
ELEVATIONS = st.floats(-89.9, 89.9)


def value(name: str, predicted: tuple[float, float], true: tuple[float, float], length: float = 1.0) -> float:
    azimuth = math.radians(predicted[0])
    row = [length * math.sin(azimuth), length * math.cos(azimuth), math.radians(predicted[1])]
    output = {"angles": torch.tensor([row]), "pose_3d": torch.zeros(1, 17, 3)}
    targets = {
        "azimuth_deg": torch.tensor([true[0]]),
        "elevation_deg": torch.tensor([true[1]]),
        "pose_3d": torch.zeros(1, 17, 3),
    }
    scores = METRICS[name].per_example(output, targets)
    assert scores.shape == (1,)
    assert scores.dtype == torch.float32
    return float(scores)


@pytest.mark.parametrize(
    ("predicted", "true", "error"), [(10, 350, 20), (350, 10, 20), (0, 180, 180), (90, 90, 0), (-90, 270, 0), (1, 0, 1)]
)
def test_azimuth_error_goes_the_short_way_round(predicted: float, true: float, error: float) -> None:
    assert value("azimuth_mae_deg", (predicted, 0), (true, 0)) == pytest.approx(error, abs=1e-3)


@settings(max_examples=50, deadline=None)
@given(predicted=AZIMUTHS, true=AZIMUTHS, length=st.floats(0.01, 50))
def test_azimuth_error_ignores_the_length_of_sin_and_cos(predicted: float, true: float, length: float) -> None:
    error = value("azimuth_mae_deg", (predicted, 0), (true, 0), length)
    assert 0 <= error <= 180
    assert error == pytest.approx(value("azimuth_mae_deg", (true, 0), (predicted, 0)), abs=1e-2)


def test_accuracies_are_shares_of_examples_within_the_limit() -> None:
    inside, outside = ((14.9, 0), (0, 0)), ((15.1, 0), (0, 0))
    assert value("azimuth_acc_15", *inside) == 1
    assert value("azimuth_acc_15", *outside) == 0
    assert value("azimuth_acc_22_5", *outside) == 1
    assert value("azimuth_opposite", (91, 0), (0, 0)) == 1
    assert value("azimuth_opposite", (89, 0), (0, 0)) == 0


def test_missing_labels_stay_missing() -> None:
    for name, metric in METRICS.items():
        if metric.unit != "mm" or name.startswith("input_"):
            assert math.isnan(value(name, (0, 0), (math.nan, math.nan))), name


@pytest.mark.parametrize(("predicted", "true", "error"), [(10, -20, 30), (-90, 90, 180), (5, 5, 0)])
def test_elevation_error(predicted: float, true: float, error: float) -> None:
    assert value("elevation_mae_deg", (0, predicted), (0, true)) == pytest.approx(error, abs=1e-3)


@pytest.mark.parametrize(
    ("predicted", "true", "error"),
    [
        ((0, 0), (90, 0), 90),
        ((0, 0), (0, 40), 40),
        ((0, 60), (180, 60), 60),  # over the pole
        ((123, 90), (17, 90), 0),  # at the pole azimuth means nothing
        ((0, 0), (0.01, 0), 0.01),  # arccos of the cosine would give 0 here in float32
        ((0, 30), (180, -30), 180),
    ],
)
def test_direction_error_by_hand(predicted: tuple[float, float], true: tuple[float, float], error: float) -> None:
    assert value("direction_mae_deg", predicted, true) == pytest.approx(error, abs=1e-3)


@settings(max_examples=50, deadline=None)
@given(a=AZIMUTHS, e=ELEVATIONS, b=AZIMUTHS, f=ELEVATIONS)
def test_direction_error_agrees_with_the_geometry(a: float, e: float, b: float, f: float) -> None:
    radians = [torch.tensor(math.radians(v), dtype=torch.float64) for v in (a, e, b, f)]
    expected = float(geometry.great_circle(*radians).rad2deg())
    error = value("direction_mae_deg", (a, e), (b, f))
    assert error == pytest.approx(expected, abs=0.01 if expected < 179 else 0.1)
    assert error <= value("azimuth_mae_deg", (a, e), (b, f)) + value("elevation_mae_deg", (a, e), (b, f)) + 1e-2


def split(name: str, predicted: list[tuple[float, float]], true: list[tuple[float, float]]) -> tuple[Tensor, float]:
    """Values and score of a metric over examples given as (azimuth, elevation)."""
    a, e = (torch.tensor(column).deg2rad() for column in zip(*predicted, strict=True))
    azimuth, elevation = (torch.tensor(column) for column in zip(*true, strict=True))
    targets = {"azimuth_deg": azimuth, "elevation_deg": elevation}
    output = {"angles": torch.stack([a.sin(), a.cos(), e], -1)}
    values = METRICS[name].per_example(output, targets)
    assert values.shape == (len(true),)
    assert values.dtype == torch.float32
    return values, evaluation.reduce(METRICS[name], values)


def test_root_mean_squares_by_hand() -> None:
    predicted, true = [(3.0, 30.0), (356.0, 0.0)], [(0.0, 23.0), (0.0, 1.0)]
    assert split("azimuth_rmse_deg", predicted, true)[1] == pytest.approx(math.sqrt((9 + 16) / 2), abs=1e-4)
    assert split("elevation_rmse_deg", predicted, true)[1] == pytest.approx(5, abs=1e-4)


def test_signed_errors_are_predicted_minus_true_the_short_way() -> None:
    predicted, true = [(10.0, 5.0), (350.0, -5.0), (90.0, 0.0)], [(350.0, 10.0), (10.0, -10.0), (270.0, 0.0)]
    values, score = split("azimuth_bias_deg", predicted, true)
    assert values.tolist() == pytest.approx([20, -20, -180], abs=1e-3)
    assert score == pytest.approx(-60, abs=1e-3)
    values, score = split("elevation_bias_deg", predicted, true)
    assert values.tolist() == pytest.approx([-5, 5, 0], abs=1e-4)
    assert score == pytest.approx(0, abs=1e-4)


def test_the_circular_bias_of_errors_around_180_is_180() -> None:
    predicted, true = [(170.0, 0.0), (190.0, 0.0)], [(0.0, 0.0), (0.0, 0.0)]
    assert split("azimuth_bias_deg", predicted, true)[1] == pytest.approx(0, abs=1e-3)  # the plain mean is blind to it
    values, score = split("azimuth_circular_bias_deg", predicted, true)
    assert abs(score) == pytest.approx(180, abs=1e-3)
    assert values[0] == values[1]
    missing = [*true, (math.nan, 0.0)]
    values, score = split("azimuth_circular_bias_deg", [(30.0, 0.0), (50.0, 0.0), (9.0, 0.0)], missing)
    assert score == pytest.approx(40, abs=1e-3)
    assert values.isnan().tolist() == [False, False, True]


@settings(max_examples=30, deadline=None)
@given(errors=st.lists(st.floats(-60, 60), min_size=1, max_size=6), turn=AZIMUTHS)
def test_turning_every_prediction_turns_the_circular_bias(errors: list[float], turn: float) -> None:
    true = [(0.0, 0.0)] * len(errors)
    _, before = split("azimuth_circular_bias_deg", [(e, 0.0) for e in errors], true)
    _, after = split("azimuth_circular_bias_deg", [(e + turn, 0.0) for e in errors], true)
    assert math.cos(math.radians(after - before - turn)) == pytest.approx(1, abs=1e-6)


def test_r2_and_skill_by_hand() -> None:
    true = [(0.0, e) for e in (0.0, 10.0, 20.0, 50.0)]  # mean 20, variance 350; median 15, mean distance 15
    predicted = [(0.0, e) for e in (2.0, 10.0, 16.0, 50.0)]  # squared errors 4, 0, 16, 0; errors 2, 0, 4, 0
    assert split("elevation_r2", predicted, true)[1] == pytest.approx(1 - 5 / 350, abs=1e-5)
    assert split("elevation_skill", predicted, true)[1] == pytest.approx(1 - 1.5 / 15, abs=1e-5)
    assert split("elevation_r2", true, true)[1] == 1
    assert split("elevation_r2", [(0.0, 20.0)] * 4, true)[1] == pytest.approx(0, abs=1e-5)
    assert split("elevation_skill", [(0.0, 12.0)] * 4, true)[1] == pytest.approx(0, abs=1e-5)
    unlabelled = [*true, (0.0, math.nan)]
    assert split("elevation_r2", [*predicted, (0.0, 0.0)], unlabelled)[1] == pytest.approx(1 - 5 / 350, abs=1e-5)


def test_elevations_that_do_not_vary_explain_nothing() -> None:
    for name in ("elevation_r2", "elevation_skill"):
        values, score = split(name, [(0.0, 1.0), (0.0, 2.0), (0.0, 3.0)], [(0.0, 10.1)] * 3)
        assert values.isnan().all()
        assert math.isnan(score)


@pytest.mark.parametrize(
    ("predicted", "true", "mistake"),
    [
        ((60, 20), (60, 20), None),
        ((300, -20), (60, 20), "flip"),
        ((240, 20), (60, 20), "swap"),
        ((120, -20), (60, 20), "both"),
        ((300, 20), (60, 20), "flip"),  # 40° from where a flip leads, 56° from where a swap does
        ((60, 70), (60, 20), None),  # wrong by 50°, and nowhere near
        ((20, 0), (-20, 0), None),  # a flip, but wrong by 40° only
        ((180, 0), (0, 0), "swap"),
        ((-90, 0), (90, 0), "flip"),  # a swap leads there too: the first counts
        ((30, 0), (0, 0), None),  # a flip of a front view is the truth
        ((0, 89), (0, 0), None),  # far from everything
    ],
)
def test_failures_by_hand(predicted: tuple[float, float], true: tuple[float, float], mistake: str | None) -> None:
    found = {kind: value(f"direction_{kind}", predicted, true) for kind in ("flip", "swap", "both")}
    assert found == {kind: float(kind == mistake) for kind in found}


@settings(max_examples=50, deadline=None)
@given(a=AZIMUTHS, e=ELEVATIONS, b=AZIMUTHS, f=ELEVATIONS)
def test_an_example_makes_at_most_one_mistake_and_only_when_it_is_wrong(a: float, e: float, b: float, f: float) -> None:
    made = sum(value(f"direction_{kind}", (a, e), (b, f)) for kind in ("flip", "swap", "both"))
    assert made in (0, 1)
    assert made == 0 or value("direction_mae_deg", (a, e), (b, f)) > 45


def test_errors_of_the_input_are_what_the_data_says() -> None:
    output = {"angles": torch.zeros(3, 3)}
    metric = METRICS["input_mpjpe_mm"]
    assert metric.per_example(output, {"input_mpjpe_mm": torch.tensor([1.0, 2.0, 6.0])}).tolist() == [1, 2, 6]
    for name in ("input_mpjpe_mm", "input_depth_mae_mm"):
        assert METRICS[name].per_example(output, {}).isnan().tolist() == [True] * 3


def pose_scores(name: str, offset: Tensor) -> list[float]:
    true = torch.randn(2, 17, 3, generator=torch.Generator().manual_seed(0))
    zeros = torch.zeros(2)
    targets = {"azimuth_deg": zeros, "elevation_deg": zeros, "pose_3d": true}
    return METRICS[name].per_example({"angles": torch.zeros(2, 3), "pose_3d": true + offset}, targets).tolist()


def test_joint_and_depth_errors_are_millimetres() -> None:
    offset = torch.zeros(2, 17, 3)
    offset[0] = torch.tensor([0.03, 0.0, 0.04])  # 50 mm from every joint, 40 mm of it in depth
    offset[1, 0] = torch.tensor([0.0, 0.17, 0.0])  # one joint of seventeen, 170 mm
    assert pose_scores("mpjpe_mm", offset) == pytest.approx([50, 10], abs=1e-3)
    assert pose_scores("depth_mae_mm", offset) == pytest.approx([40, 0], abs=1e-3)


def test_the_catalogue_is_complete_and_consistent() -> None:
    expected = {"azimuth_mae_deg", "azimuth_median_deg", "azimuth_acc_15", "elevation_mae_deg", "direction_mae_deg"}
    assert expected | {"mpjpe_mm"} <= set(METRICS)
    for name, metric in METRICS.items():
        assert isinstance(metric, Metric)
        assert metric.name == name
        assert metric.label
        assert metric.unit in ({""} if metric.pooled and metric.direction == "higher" else {"°", "share", "mm"})
        assert (metric.reduction == "median") == ("median" in name)
        assert (metric.reduction == "rms") == ("rmse" in name)
        assert (metric.direction == "higher") == ("_acc_" in name or name in {"elevation_r2", "elevation_skill"})
    assert len({metric.label for metric in METRICS.values()}) == len(METRICS)
