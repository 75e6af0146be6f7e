"""Scores of fixed examples, by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ablate.runs import evaluation
from ablate.runs.contract import Batch
from ablate.study import Metric

NAN = float("nan")


def first(output: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
    return targets["value"]


MEAN = Metric("mean", "Mean", "", "lower", first)
MEDIAN = Metric("median", "Median", "", "lower", first, reduction="median")


@pytest.mark.parametrize(
    ("values", "mean", "median"),
    [([1.0, 2.0, 6.0, 3.0], 3.0, 2.5), ([5.0, NAN, 1.0], 3.0, 3.0), ([7.0], 7.0, 7.0), ([NAN, NAN], NAN, NAN)],
)
def test_scores_leave_undefined_examples_out(values: list[float], mean: float, median: float) -> None:
    scores = evaluation.score(torch.zeros(1), {"value": torch.tensor(values)}, [MEAN, MEDIAN])
    assert scores == pytest.approx({"mean": mean, "median": median}, nan_ok=True)


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


def test_the_frame_has_a_row_an_example_and_no_column_for_poses() -> None:
    targets = {"value": torch.tensor([1.0, NAN]), "subject": torch.tensor([3, 4]), "pose": torch.zeros(2, 5)}
    frame = evaluation.example_frame(torch.zeros(2), targets, [MEAN])
    assert list(frame.columns) == ["value", "subject", "mean"]
    assert set(frame.dtypes) == {np.dtype("float32")}
    assert frame["subject"].tolist() == [3.0, 4.0]


def test_examples_for_pictures_are_spread_over_the_split() -> None:
    inputs = torch.arange(11.0)[:, None]
    arrays = evaluation.example_arrays(Batch(inputs, {"value": inputs[:, 0]}), {"out": 2 * inputs}, count=3)
    assert arrays["index"].tolist() == [0, 5, 10]
    assert arrays["inputs"].tolist() == [[0.0], [5.0], [10.0]]
    assert arrays["target/value"].tolist() == [0.0, 5.0, 10.0]
    assert arrays["output/out"].tolist() == [[0.0], [10.0], [20.0]]
    assert len(evaluation.example_arrays(Batch(inputs[:2], {}), inputs[:2], count=6)["index"]) == 2
