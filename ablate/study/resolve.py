"""Resolve the settings of an arm: the study's, the arm's own, then the tuned ones. Pure: no I/O, no torch."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from ablate.study import Control, InputError, Problem, Scalar, Study, TrainingSettings
from ablate.untrusted.wording import nearest, place

Settings = dict[str, dict[str, Any]]

NAME_LISTS = ("shuffle_input", "drop_input", "drop_joints", "freeze")  # lists of names in a control

# Defaults that a file may leave out: `set."training.weight_decay"` exists in every study.
TRAINING_DEFAULTS: dict[str, Any] = {
    name: field.default for name, field in TrainingSettings.model_fields.items() if name != "epochs"
}


def resolve(study: Study, arm: str, overrides: Mapping[str, Scalar] | None = None) -> Settings:
    """Deep copy of the settings of `arm` with `overrides` (dotted path → value) on top, training defaults filled in.

    An arm whose control changes its runs also has a section "control". Raises InputError for an unknown arm or a
    path that is not a setting of it.
    """
    if arm not in study.arms:
        raise InputError(Problem(study.name, place("arms", arm), "unknown arm", arm, nearest(arm, study.arms)))
    settings = untuned_settings(study, arm)
    for path, value in (overrides or {}).items():
        replace(settings, path, value)
    if "training" in settings:
        settings["training"] = TrainingSettings.model_validate(settings["training"]).model_dump()
    control = control_section(study, arm)
    return {**settings, "control": control} if control else settings


def base_settings(study: Study, arm: str) -> Mapping[str, Mapping[str, Any]]:
    """The settings that the arm's own `set` is applied to: the study's, or those of the arm named by `like`."""
    like = study.arms[arm].like
    return with_changes(study.settings, study.arms[like].set) if like else study.settings


def untuned_settings(study: Study, arm: str) -> Settings:
    """The arm's settings before tuning and without its control."""
    return with_changes(base_settings(study, arm), study.arms[arm].set)


def control_section(study: Study, arm: str) -> dict[str, Any]:
    """The changes that the arm's control makes to a run, as a plain table; empty where it makes none."""
    control = study.arms[arm].control
    if control is None:
        return {}
    section: dict[str, Any] = _name_lists(control)
    match = control.match_parameters
    if match is not None:
        other = untuned_settings(study, match.of)
        if "run" in other:
            of_control = _name_lists(study.arms[match.of].control or Control())
            of = {"of_run": other["run"], **({"of_control": of_control} if of_control else {})}
        else:
            of = {"of_model": other["model"]}
        section["match_parameters"] = {"by": match.by, **of}
    return section


def _name_lists(control: Control) -> dict[str, Any]:
    """The lists of names in a control that are not empty."""
    lists = {key: sorted(set(getattr(control, key))) for key in NAME_LISTS}
    return {key: names for key, names in lists.items() if names}


def with_changes(base: Mapping[str, Mapping[str, Any]], changes: Mapping[str, Any]) -> Settings:
    """`base` with `changes` applied: whole sections first, then single settings, whatever the order in the file."""
    settings: Settings = {section: copy.deepcopy(dict(values)) for section, values in base.items()}
    if "run" not in settings:
        settings["training"] = {**copy.deepcopy(TRAINING_DEFAULTS), **settings.get("training", {})}
    for path in sorted(changes, key=lambda p: "." in p):
        if "." in path:
            replace(settings, path, changes[path])
        else:
            settings[path] = copy.deepcopy(changes[path])
    return settings


def replace(settings: Settings, path: str, value: Any) -> None:
    """Set one existing setting in place. Raises InputError when `path` names none."""
    *parents, last = path.split(".")
    table: Any = settings
    for key in parents:
        table = table.get(key) if isinstance(table, Mapping) else None
    if not isinstance(table, dict) or last not in table or not parents:
        raise InputError(Problem("settings", path, "no such setting", "", nearest(path, paths(settings))))
    table[last] = copy.deepcopy(value)


def paths(settings: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted paths of every setting, tables inside sections included (`model.head` and `model.head.width`)."""
    for key, value in settings.items():
        path = f"{prefix}{key}"
        if prefix:
            yield path
        if isinstance(value, Mapping):
            yield from paths(value, f"{path}.")


def touch(one: str, other: str) -> bool:
    """Whether two paths name the same setting, or one a table that holds the other."""
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")


def lookup(settings: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path. Raises KeyError when there is none."""
    value: Any = settings
    for key in path.split("."):
        if not isinstance(value, Mapping):
            raise KeyError(path)
        value = value[key]
    return value


def scalars(settings: Mapping[str, Any]) -> Iterator[tuple[str, Scalar]]:
    """Dotted path and value of every setting that is a string, number or boolean."""
    for path in paths(settings):
        value = lookup(settings, path)
        if isinstance(value, bool | int | float | str):
            yield path, value
