"""Resolved settings: their values, the order of changes, what a control adds, and that they are a copy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import design_toy
import pytest

from ablate.planning import plan, trials
from ablate.study import InputError, study_file
from ablate.study.resolve import lookup, resolve, scalars

WIDE = 'set."model.width" = 16'


def test_the_baseline_has_the_studys_settings_and_the_training_defaults(tmp_path: Path) -> None:
    settings = resolve(design_toy.study(tmp_path), "plain")
    assert settings["model"]["width"] == 8
    assert settings["training"] == {
        "epochs": 4, "batch_size": 384, "learning_rate": 0.001, "weight_decay": 0.01, "warmup_fraction": 0.05,
        "gradient_clip": 1.0, "precision": "bfloat16", "threads": 1,
    }  # fmt: skip


def test_tuned_values_come_last(tmp_path: Path) -> None:
    study = design_toy.study(tmp_path, (WIDE, 'set."model.width" = 16\nset."model.momentum" = 0.6'))
    settings = resolve(study, "wide", {"model.momentum": 0.7, "training.weight_decay": 0.2})
    assert (settings["model"]["width"], settings["model"]["momentum"]) == (16, 0.7)
    assert settings["training"]["weight_decay"] == 0.2


def test_a_nested_setting_is_changed_in_place(tmp_path: Path) -> None:
    study = design_toy.study(tmp_path, (WIDE, 'set."model.head.width" = 2'))
    assert resolve(study, "wide")["model"]["head"] == {"width": 2, "depth": 1}


def test_a_replaced_section_keeps_nothing_of_the_old_one(tmp_path: Path) -> None:
    settings = resolve(design_toy.study(tmp_path), "constant")
    assert settings["model"] == {"factory": "design_toy:strict_model", "width": 1}


def test_the_result_is_a_copy(tmp_path: Path) -> None:
    study = design_toy.study(tmp_path)
    resolve(study, "plain")["model"]["head"]["width"] = 99
    assert resolve(study, "plain")["model"]["head"]["width"] == 4
    assert study.settings["model"]["head"]["width"] == 4


def test_an_unknown_arm_or_path_names_the_nearest(tmp_path: Path) -> None:
    study = design_toy.study(tmp_path)
    with pytest.raises(InputError, match=r"arms\.extre: unknown arm .* did you mean 'extra'"):
        resolve(study, "extre")
    with pytest.raises(InputError, match=r"model\.dropuot: no such setting; did you mean 'model\.dropout'"):
        resolve(study, "plain", {"model.dropuot": 0.2})


def test_a_tuned_value_must_be_valid_training(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="learning_rate"):
        resolve(design_toy.study(tmp_path), "plain", {"training.learning_rate": -1.0})


def test_dotted_paths(tmp_path: Path) -> None:
    settings = resolve(design_toy.study(tmp_path), "plain")
    assert lookup(settings, "model.head.width") == 4
    with pytest.raises(KeyError):
        lookup(settings, "model.width.deeper")
    values = dict(scalars(settings))
    assert values["model.head.width"] == 4
    assert "model.head" not in values


def test_like_starts_from_the_other_arm(tmp_path: Path) -> None:
    study = design_toy.study(tmp_path, (WIDE, f'like = "extra"\n{WIDE}'))
    settings = resolve(study, "wide")
    assert (settings["model"]["extra"], settings["model"]["width"]) == (True, 16)


def test_the_changes_of_a_control_are_part_of_the_settings(tmp_path: Path) -> None:
    control = 'control.freeze = ["b", "a"]\ncontrol.match_parameters = { of = "extra", by = "model.width" }'
    study = design_toy.study(tmp_path, (WIDE, f"{WIDE}\n{control}"))
    settings = plan.compare_spec(study, "wide", 1).settings
    assert settings["control"] == {
        "freeze": ["a", "b"],
        "match_parameters": {"by": "model.width", "of_model": resolve(study, "extra")["model"]},
    }
    assert trials.trial_specs(study, "wide", 0, {})[0].settings["control"] == settings["control"]


def test_runs_without_a_control_keep_their_keys(tmp_path: Path) -> None:
    study = design_toy.study(tmp_path, (WIDE, f'{WIDE}\ncontrol.same_information = "extra"'))
    assert set(plan.compare_spec(study, "wide", 1).settings) == {"model", "data", "loss", "training"}
    for each in (study, design_toy.study(tmp_path)):
        assert plan.compare_spec(each, "wide", 1).key == "7df24ca6e6753ffd"  # another would orphan every finished run


def test_training_settings_that_came_later_change_no_key_at_their_default(tmp_path: Path) -> None:
    """The first key is one of a run that 0.1.0 did: another would orphan every finished run."""
    base = study_file.load(Path(__file__).parents[1] / "toy" / "linear.toml")

    def key(**training: Any) -> str:
        settings = {**base.settings, "training": {**base.settings["training"], **training}}
        return plan.compare_spec(base.model_copy(update={"settings": settings}), "plain", 1).key

    assert key() == "abf61cca787378b7"
    assert key(last_batch="drop", optimizer={}, schedule={}) == key()
    others = {
        key(last_batch="keep"),
        key(optimizer={"factory": "torch.optim:SGD"}),
        key(schedule={"factory": "torch.optim:SGD"}),
        key(),
    }
    assert len(others) == 4
    assert "last_batch" not in resolve(base, "plain")["training"]
