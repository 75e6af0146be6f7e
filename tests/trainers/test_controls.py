"""What each control does to data and network, and that it does so in a whole run."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toy_project import Project

from ablate.study import InputError, RunResult, RunSpec
from ablate.trainers.builtin import controls
from ablate.trainers.builtin.checkpoints import load_model
from ablate.trainers.builtin.controls import (
    controlled,
    derangement,
    draw_donors,
    freeze,
    matched_model,
    parameter_count,
)
from ablate.trainers.builtin.run import build
from ablate.trainers.context import Context
from ablate.trainers.host import execute

CPU = torch.device("cpu")
MODEL = {"factory": "linear_toy.terrace:TwoBranches", "width": 8, "sizes": True}
SETTINGS: dict[str, dict[str, Any]] = {
    "data": {"factory": "linear_toy.terrace:terraces", "count": 256},
    "model": MODEL,
    "loss": {"factory": "linear_toy.components:squared"},
    "training": {"epochs": 15, "batch_size": 32, "learning_rate": 0.05, "precision": "float32"},
}
SIZE, AGE = slice(0, 2), slice(2, 3)


@pytest.fixture
def terrace(project: Project) -> ModuleType:
    return importlib.import_module("linear_toy.terrace")


@pytest.fixture
def context(project: Project) -> Context:
    work, logs = project.folder / "work", project.folder / "logs"
    return Context("linear_toy.metrics:PRICES", ("absolute_error",), project.folder, work, logs)


def spec(control: dict[str, Any] | None = None, **model: Any) -> RunSpec:
    sections = {**SETTINGS, "model": {**MODEL, **model}}
    return RunSpec("toy", "arm", 1, "compare", sections | ({"control": control} if control else {}), "")


def generator(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class TestDonors:
    @given(size=st.integers(2, 200), seed=st.integers(0, 2**32))
    def test_a_derangement_uses_each_once_and_leaves_none_in_place(self, size: int, seed: int) -> None:
        donor = derangement(size, generator(seed))
        assert sorted(donor.tolist()) == list(range(size))
        assert not (donor == torch.arange(size)).any()

    @given(subject=st.lists(st.integers(-3, 5), min_size=2, max_size=100), seed=st.integers(0, 2**32))
    def test_donors_are_other_subjects(self, subject: list[int], seed: int) -> None:
        who = torch.tensor(subject)
        if len(set(subject)) > 1:
            assert not (who[draw_donors(who, generator(seed), "test")] == who).any()
        else:
            with pytest.raises(InputError, match=r"needs at least two subjects in 'test'.*got 1"):
                draw_donors(who, generator(seed), "test")

    def test_donors_are_equally_likely(self) -> None:
        who = torch.tensor([0, 0, 1, 1, 1, 2])
        drawn = torch.stack([draw_donors(who, generator(seed), "val") for seed in range(6000)])
        shares = torch.bincount(drawn[:, 0], minlength=6) / 6000
        assert shares[:2].tolist() == [0, 0]
        assert torch.allclose(shares[2:], torch.tensor(0.25), atol=0.02)


class TestInputs:
    def test_a_dropped_input_is_zero_and_the_rest_is_as_it_was(self, terrace: ModuleType) -> None:
        data = terrace.terraces(device=CPU)
        shown = controlled(data, {"drop_input": ["size"]})
        for batch, plain in (
            (shown.examples("test"), data.examples("test")),
            (shown.sample(torch.arange(9), generator=generator()), data.sample(torch.arange(9), generator=generator())),
        ):
            assert not batch.inputs[..., SIZE].any()
            assert torch.equal(batch.inputs[..., AGE], plain.inputs[..., AGE])
            assert torch.equal(batch.targets["price"], plain.targets["price"])

    def test_a_dropped_joint_is_zero_in_every_input(self, terrace: ModuleType) -> None:
        data = terrace.terraces(device=CPU)
        inputs = controlled(data, {"drop_joints": ["left", "right"]}).examples("test").inputs
        assert not inputs[:, [0, 2]].any()
        assert torch.equal(inputs[:, 1], data.examples("test").inputs[:, 1])

    def test_a_shuffled_input_in_training_is_of_another_example_of_the_batch_drawn_anew(
        self, terrace: ModuleType
    ) -> None:
        data = terrace.terraces(device=CPU)
        shown = controlled(data, {"shuffle_input": ["size"]})
        index, stream, plain_stream = torch.arange(32), generator(), generator()
        orders = []
        for _ in range(2):
            batch, plain = shown.sample(index, generator=stream), data.sample(index, generator=plain_stream)
            same = (batch.inputs[:, None, :, SIZE] == plain.inputs[None, :, :, SIZE]).flatten(2).all(2)
            assert same.sum(1).tolist() == [1] * 32
            assert not same.diagonal().any()
            assert torch.equal(batch.inputs[..., AGE], plain.inputs[..., AGE])  # the data's own draws are the same
            orders.append(same.int().argmax(1).tolist())
        assert orders[0] != orders[1]

    def test_a_shuffled_input_in_evaluation_is_always_the_same_and_of_another_street(self, terrace: ModuleType) -> None:
        data = terrace.terraces(device=CPU)
        shown = controlled(data, {"shuffle_input": ["size"]})
        first, again, plain = shown.examples("test"), shown.examples("test"), data.examples("test")
        assert torch.equal(first.inputs, again.inputs)
        same = (first.inputs[:, None, :, SIZE] == plain.inputs[None, :, :, SIZE]).flatten(2).all(2)
        donor = same.int().argmax(1)
        assert same.sum(1).tolist() == [1] * len(donor)
        assert not (plain.targets["subject"][donor] == plain.targets["subject"]).any()
        assert torch.equal(first.inputs[..., AGE], plain.inputs[..., AGE])
        assert torch.equal(first.targets["price"], plain.targets["price"])

    def test_without_control_the_data_is_unchanged(self, terrace: ModuleType) -> None:
        data = terrace.terraces(device=CPU)
        assert controlled(data, {}) is data
        assert controlled(data, {"freeze": ["sizes"]}) is data

    def test_data_without_named_inputs_and_joints_is_refused(self, toy: ModuleType) -> None:
        with pytest.raises(InputError) as caught:  # this data has a tensor called `inputs`
            controlled(toy.houses(device=CPU), {"shuffle_input": ["sice"], "drop_joints": ["lefd"]})
        assert str(caught.value).splitlines() == [
            "settings: control.shuffle_input: cannot be used: there are no named inputs (got sice)",
            "settings: control.drop_joints: cannot be used: there are no named joints (got lefd)",
        ]


class TestFreeze:
    def test_freezes_one_branch(self, terrace: ModuleType) -> None:
        model = terrace.TwoBranches()
        freeze(model, ["sizes"])
        frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
        assert frozen == {"sizes.0.weight", "sizes.0.bias", "sizes.1.weight", "sizes.1.bias"}
        assert controls.trained_parameters(model) == {"cost/parameters_trained": 9 * 8 + 8 + 16 + 1}
        assert controls.trained_parameters(terrace.TwoBranches()) == {}

    @pytest.mark.parametrize(
        ("names", "error"),
        [
            (["whole.1"], "control.freeze: is not among the network's submodules with parameters .got whole.1"),
            (["whole", "sizes", "price"], "control.freeze: leaves nothing to train"),
        ],
    )
    def test_refuses(self, terrace: ModuleType, names: list[str], error: str) -> None:
        with pytest.raises(InputError, match=error):
            freeze(terrace.TwoBranches(), names)


class TestMatch:
    def match(self, target: int, written: int = 8, **model: Any) -> dict[str, Any]:
        """Settings that match a network without the branch to one of `target` width with it."""
        of = {**MODEL, "width": target}
        section = {**MODEL, "sizes": False, "width": written, **model}
        return {"model": section, "control": {"match_parameters": {"by": "model.width", "of_model": of}}}

    @pytest.fixture(autouse=True)
    def importable(self, terrace: ModuleType) -> None: ...

    @pytest.mark.parametrize("written", [1, 8, 77, 20_000])
    @pytest.mark.parametrize("target", [60, 333, 4000])
    def test_the_count_is_within_one_percent_from_any_start(self, target: int, written: int) -> None:
        section = matched_model(self.match(target, written))
        expected = (10 + 7 + 2 + 2) * target + 1  # two first layers, the norm, the last layer's two inputs and its bias
        assert abs(parameter_count(section) - expected) <= 0.01 * expected
        assert parameter_count(section) == 11 * section["width"] + 1
        nearest = min((expected // 11, expected // 11 + 1), key=lambda w: abs(11 * w + 1 - expected))
        assert section["width"] == nearest

    def test_refuses_a_width_that_makes_no_network(self) -> None:
        with pytest.raises(InputError, match=r"model\.width = 191 makes no network: width must be even, got 191"):
            matched_model(self.match(100, even=True))

    def test_refuses_a_setting_that_widens_nothing(self) -> None:
        settings = {**self.match(50), "model": {"factory": "linear_toy.terrace:Stubborn", "width": 1}}
        with pytest.raises(InputError, match=r"model\.width does not change the number of parameters"):
            matched_model(settings)

    def test_leaves_the_random_state_even_where_real_numbers_are_needed(self) -> None:
        torch.manual_seed(5)
        before = torch.get_rng_state()
        assert parameter_count({"factory": "linear_toy.terrace:Stubborn", "width": 3}) == 2
        assert torch.equal(torch.get_rng_state(), before)

    def test_without_a_match_the_section_is_unchanged(self) -> None:
        assert matched_model(SETTINGS) is MODEL


class TestRuns:
    @pytest.fixture
    def run(self, context: Context) -> Callable[..., RunResult]:
        def run(control: dict[str, Any] | None = None, **model: Any) -> RunResult:
            result = execute(spec(control, **model), context)
            assert (result.status, result.error) == ("FINISHED", "")
            return result

        return run

    def test_without_its_information_the_price_is_not_predicted(self, run: Callable[..., RunResult]) -> None:
        for control in ({"shuffle_input": ["size"]}, {"drop_input": ["size"]}, {"drop_joints": ["middle"]}):
            assert run(control).scores["test/absolute_error"] > 0.9
        for control in (None, {"drop_joints": ["left"]}):
            assert run(control).scores["test/absolute_error"] < 0.7

    def test_a_frozen_branch_keeps_its_first_weights_and_is_saved_unfrozen(
        self, run: Callable[..., RunResult], context: Context
    ) -> None:
        control = {"freeze": ["sizes"]}
        _, first, *_ = build(spec(control), context, CPU)
        result = run(control)
        assert result.artifacts is not None
        last = load_model(result.artifacts / "model")
        assert result.scores["cost/parameters_trained"] == result.scores["cost/parameters"] - (6 * 8 + 8 + 16)
        for name, value in last.named_parameters():
            assert torch.equal(value, first.get_parameter(name)) == name.startswith("sizes."), name
        assert all(p.requires_grad for p in last.parameters())

    def test_a_matched_network_is_saved_with_its_width(self, run: Callable[..., RunResult]) -> None:
        of = {**MODEL, "width": 40}
        control = {"match_parameters": {"by": "model.width", "of_model": of}}
        result = run(control, sizes=False)
        assert result.artifacts is not None
        saved = json.loads((result.artifacts / "model" / "model.json").read_text())
        assert saved["settings"] == {"width": 76, "sizes": False}  # 11·76 + 1 = 837 of 21·40 + 1 = 841
        assert result.provenance["matched/model.width"] == "76"
        assert result.scores["cost/parameters"] == 837
        assert "matched/model.width" not in run().provenance
        assert len(load_model(result.artifacts / "model").whole[0].bias) == 76

    def test_compute_is_matched_by_width(self, run: Callable[..., RunResult]) -> None:
        control = {"match_compute": {"by": "model.width", "of_model": {**MODEL, "width": 40}}}
        result = run(control, sizes=False)
        assert result.provenance["matched/model.width"] == "68"  # 20·68 FLOPs = 34·40 with the branch
        assert result.scores["cost/flops"] == 1360 == run(width=40).scores["cost/flops"]
        assert result.scores["count/epochs"] == 15
        assert result.artifacts is not None
        saved = json.loads((result.artifacts / "model" / "model.json").read_text())
        assert saved["settings"] == {"width": 68, "sizes": False}
        assert len(load_model(result.artifacts / "model").whole[0].bias) == 68
        assert result.key == spec(control, sizes=False).key

    def test_compute_is_matched_by_epochs(self, run: Callable[..., RunResult]) -> None:
        control = {"match_compute": {"by": "training.epochs", "of_model": {**MODEL, "width": 16}}}
        result = run(control, sizes=False)
        assert result.scores["cost/flops"] == 160
        assert result.scores["count/epochs"] == 51 == len(result.history)  # 160·51 FLOPs = 34·16·15
        assert result.provenance["matched/training.epochs"] == "51"
        assert result.scores["cost/parameters"] == run(sizes=False).scores["cost/parameters"]
        assert result.key == spec(control, sizes=False).key

    def test_fewer_epochs_match_a_smaller_network_and_one_is_the_least(self, run: Callable[..., RunResult]) -> None:
        for width, epochs in ((4, 8), (1, 2)):  # 20·width of 160 FLOPs, of 15 epochs: 7.5 and 1.9
            control = {
                "match_compute": {"by": "training.epochs", "of_model": {**MODEL, "width": width, "sizes": False}}
            }
            assert run(control, sizes=False).scores["count/epochs"] == epochs

    @pytest.mark.parametrize(
        ("model", "error"),
        [
            ({"factory": "linear_toy.terrace:Fitted"}, "cannot be known: the network fits itself"),
            ({"factory": "linear_toy.terrace:Stubborn", "width": 1}, "none of the network's operations are counted"),
        ],
    )
    def test_compute_that_is_not_known_is_no_run(self, context: Context, model: dict[str, Any], error: str) -> None:
        control = {"match_compute": {"by": "model.width", "of_model": model}}
        result = execute(spec(control, sizes=False), context)
        assert result.status == "FAILED"
        assert error in result.error

    def test_the_shuffled_examples_are_those_that_are_scored_and_kept(
        self, run: Callable[..., RunResult], terrace: ModuleType
    ) -> None:
        control = {"shuffle_input": ["size"]}
        result = run(control)
        assert result.artifacts is not None
        test = controlled(terrace.terraces(device=CPU), control).examples("test")
        with torch.no_grad():
            errors = (load_model(result.artifacts / "model")(test.inputs) - test.targets["price"]).abs()
        assert result.scores["test/absolute_error"] == pytest.approx(errors.double().mean().item(), rel=1e-6)
        assert len(pd.read_parquet(result.artifacts / "conditions.parquet")) == len(errors)
        with np.load(result.artifacts / "examples.npz", allow_pickle=False) as kept:
            assert np.array_equal(kept["inputs"], test.inputs[kept["index"]].numpy())

    def test_a_wrong_control_fails_the_run_with_its_reason(self, context: Context) -> None:
        result = execute(spec({"freeze": ["branch"]}), context)
        assert result.status == "FAILED"
        assert "control.freeze: is not among the network's submodules" in result.error
