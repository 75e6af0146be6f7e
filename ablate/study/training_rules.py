"""Check the training settings of the built-in loop: their types, and what an optimizer of one's own replaces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ablate.study import TrainingSettings
from ablate.study.components import IMPORT_PATH, IMPORT_PATH_RULE
from ablate.study.error_messages import LocatedProblem, training_types
from ablate.untrusted.wording import shown

REPLACED = {  # by a factory: settings of the loop's own optimizer and schedule
    "optimizer": {"learning_rate": "lr", "weight_decay": "weight_decay"},
    "schedule": {"warmup_fraction": ""},
}


def training_problems(training: Mapping[str, Any]) -> list[LocatedProblem]:
    """The problems of a `[settings.training]` table, with paths relative to it."""
    return training_types(training) or [
        problem for name in REPLACED if training.get(name) for problem in _factory_problems(name, training)
    ]


def _factory_problems(name: str, training: Mapping[str, Any]) -> Iterator[LocatedProblem]:
    """What is wrong with the factory, and with settings that it would silently replace."""
    factory = training[name].get("factory")
    if factory is None:
        yield LocatedProblem((name, "factory"), "is missing", "", IMPORT_PATH_RULE)
    elif not isinstance(factory, str) or not IMPORT_PATH.fullmatch(factory):
        yield LocatedProblem((name, "factory"), IMPORT_PATH_RULE, shown(factory))
    for setting, argument in REPLACED[name].items():
        default = TrainingSettings.model_fields[setting].default
        value = training.get(setting, default)
        if value != default:
            rule = f"is not used where training.{name} names another"
            hint = f"write training.{name}.{argument}" if argument else "leave it out"
            yield LocatedProblem((setting,), rule, shown(value), hint)
