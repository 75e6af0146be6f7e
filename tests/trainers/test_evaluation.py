"""Scores of fixed examples, computed by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ablate.study import Metric
from ablate.trainers.builtin import evaluation
from ablate.trainers.contract import Batch

NAN = float("nan")


def first(output: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
    return targets["value"]


MEAN = Metric("mean", "Mean", "", "lower", first)
MEDIAN = Metric("median", "Median", "", "lower", first, reduction="median")
RMS = Metric("rms", "Root mean square", "", "lower", first, reduction="rms")


@pytest.mark.parametrize(
    ("values", "mean", "median", "rms"),
    [
        ([1.0, 2.0, 6.0, 3.0], 3.0, 2.5, math.sqrt(12.5)),
        ([3.0, NAN, -4.0], -0.5, -0.5, math.sqrt(12.5)),
        ([7.0], 7.0, 7.0, 7.0),
        ([NAN, NAN], NAN, NAN, NAN),
    ],
)
def test_scores_leave_undefined_examples_out(values: list[float], mean: float, median: float, rms: float) -> None:
    scores = evaluation.score(torch.zeros(1), {"value": torch.tensor(values)}, [MEAN, MEDIAN, RMS])
    assert scores == pytest.approx({"mean": mean, "median": median, "rms": rms}, nan_ok=True)


def test_the_mean_of_many_small_numbers_is_taken_in_double_precision() -> None:
    values = torch.full((2_000_001,), 0.1)
    score = evaluation.score(torch.zeros(1), {"value": values}, [MEAN])["mean"]
    assert score == pytest.approx(float(np.float32(0.1)), rel=1e-12)


class Twice(nn.Module):
    def __init__(self, *, mapping: bool) -> None:
        super().__init__()
        self.mapping = mapping
        self.sizes: list[int] = []

    def forward(self, inputs: Tensor) -> Any:
        assert not self.training
        self.sizes.append(len(inputs))
        return {"a": 2 * inputs, "b": inputs[:, 0]} if self.mapping else 2 * inputs


@pytest.mark.parametrize("mapping", [True, False])
def test_predictions_come_in_bounded_chunks(monkeypatch: pytest.MonkeyPatch, mapping: bool) -> None:
    monkeypatch.setattr(evaluation, "CHUNK", 4)
    inputs = torch.arange(18.0).reshape(9, 2)
    model = Twice(mapping=mapping).train()
    output = evaluation.predict(model, inputs)
    assert model.sizes == [4, 4, 1]
    assert torch.equal(output["a"] if mapping else output, 2 * inputs)
    if mapping:
        assert torch.equal(output["b"], inputs[:, 0])


def shifted(output: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
    return output


def repeated(output: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
    return targets["clip"].float()


def test_conditions_are_the_targets_that_are_one_number() -> None:
    targets = {
        "value": torch.tensor([1.0, NAN], dtype=torch.float64),
        "subject": torch.tensor([3, 2**40]),
        "pose": torch.zeros(2, 5),
    }
    frame = evaluation.condition_frame(targets)
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == {"value": "float32", "subject": "int64"}
    assert frame["subject"].tolist() == [3, 2**40]


def test_scores_of_examples_are_saved_once() -> None:
    metrics = [
        *(MEAN, MEDIAN),
        Metric("other", "Other", "", "lower", shifted),
        Metric("pooled", "Pooled", "", "lower", shifted, pooled=True),
        Metric("clip", "Clip", "", "lower", repeated),
        Metric("value", "Not the target of that name", "", "lower", shifted),
    ]
    targets = {"value": torch.tensor([1.0, NAN]), "clip": torch.tensor([3, 4])}
    values = evaluation.values_by_name(metrics, torch.tensor([0.25, 1e-4]), targets)
    frame = evaluation.score_frame(values, targets, metrics)
    assert list(frame.columns) == ["mean", "other"]  # "value" has the function of "other"
    assert set(frame.dtypes) == {np.dtype("float32")}
    np.testing.assert_array_equal(frame["mean"], [1.0, NAN])
    alone = evaluation.score_frame(values, targets, metrics[-1:])
    np.testing.assert_allclose(alone["value"], [0.25, 1e-4], rtol=5e-4)


@settings(max_examples=100, deadline=None)
@given(value=st.floats(width=32, min_value=2.0**-100, max_value=2.0**100), sign=st.sampled_from([1, -1]))
def test_rounding_keeps_ten_bits(value: float, sign: int) -> None:
    exact = np.array([sign * value], np.float32)
    rounded = evaluation.rounded(exact)
    assert rounded.dtype == np.float32
    assert abs(rounded[0] - exact[0]) <= 2.0**-11 * abs(exact[0])
    assert int(rounded.view(np.uint32)[0]) & 0x1FFF == 0
    np.testing.assert_array_equal(evaluation.rounded(rounded), rounded)


def test_rounding_leaves_simple_and_missing_values_alone() -> None:
    values = np.array([0.0, -0.0, 1.0, 0.5, 1023.0, NAN, np.inf, -np.inf], np.float32)
    np.testing.assert_array_equal(evaluation.rounded(values), values)


def test_frames_are_written_the_same_every_time_and_read_back(tmp_path: Path) -> None:
    frame = evaluation.condition_frame({"value": torch.linspace(-1, 1, 99), "clip": torch.arange(99)})
    for name in ("a.parquet", "b.parquet"):
        evaluation.save_frame(frame, tmp_path / name)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "a.parquet"), frame)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_pictures_show_the_median_the_worst_and_an_even_spread() -> None:
    inputs = torch.arange(11.0)[:, None]
    values = torch.tensor([5, 1, 9, NAN, 3, 2, 8, 7, 6, 4, 0.5])  # lower median of the ten: 4; worst: 9
    arrays = evaluation.example_arrays(Batch(inputs, {"value": values}), {"out": 2 * inputs}, MEAN, spread=3)
    assert arrays["index"].tolist() == [9, 2, 0, 5, 10]
    assert arrays["role"].tolist() == [1, 2, 0, 0, 0]
    assert arrays["inputs"].tolist() == [[9.0], [2.0], [0.0], [5.0], [10.0]]
    assert arrays["target/value"].tolist() == [4, 9, 5, 2, 0.5]
    assert arrays["output/out"].tolist() == [[18.0], [4.0], [0.0], [10.0], [20.0]]


def test_where_more_is_better_the_worst_is_the_least() -> None:
    higher = Metric("share", "Share", "", "higher", first)
    assert evaluation.median_and_worst(higher, torch.tensor([0.5, 0.1, 0.9])) == [0, 1]


def test_pictures_of_few_or_unscored_examples() -> None:
    inputs = torch.arange(2.0)[:, None]
    few = evaluation.example_arrays(Batch(inputs, {"value": torch.tensor([1.0, 2.0])}), inputs, MEAN, spread=6)
    assert few["index"].tolist() == [0, 1, 0, 1]
    none = evaluation.example_arrays(Batch(inputs, {"value": torch.tensor([NAN, NAN])}), inputs, MEAN, spread=6)
    assert none["role"].tolist() == [0, 0]
