"""Metrics: hand-checkable angles and distances, agreement with the geometry, and no torch on import."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ablate.depth_refinement import geometry
from ablate.depth_refinement.metrics import METRICS
from ablate.study import Metric

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
        if metric.unit != "mm":
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
        assert metric.unit in {"°", "share", "mm"}
        assert (metric.reduction == "median") == ("median" in name)
        assert (metric.direction == "higher") == ("_acc_" in name)


def test_importing_the_metrics_imports_neither_torch_nor_mlflow() -> None:
    code = "import sys, ablate.depth_refinement.metrics; print({'torch', 'mlflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
