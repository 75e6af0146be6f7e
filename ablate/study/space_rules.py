"""Check the tuning space: ranges that are not empty, paths that every arm has, `when` without cycles. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from ablate.study import CategoricalSpace, FloatSpace, IntSpace, Problem, Scalar, Tuning
from ablate.study.resolve import Settings, lookup, paths
from ablate.study.run_rules import RESERVED, setting_values
from ablate.study.training_rules import training_problems
from ablate.untrusted.wording import listing, nearest, place, shown

Entry = FloatSpace | IntSpace | CategoricalSpace


def contains(entry: Entry, value: object) -> bool:
    """Whether `value` can be drawn from this entry. A boolean is not a number here; an int counts as a float."""
    if isinstance(entry, CategoricalSpace):
        return any(value == choice and type(value) is type(choice) for choice in entry.choices)
    fits = isinstance(value, int) or (isinstance(value, float) and isinstance(entry, FloatSpace))
    return fits and not isinstance(value, bool) and entry.low <= value <= entry.high  # type: ignore[operator]


def by_dependence(space: Mapping[str, Entry]) -> list[str]:
    """Paths of the space, each after those that its `when` names. Raises graphlib.CycleError."""
    return list(TopologicalSorter({path: sorted(entry.when) for path, entry in space.items()}).static_order())


def space_rules(tuning: Tuning, arms: Mapping[str, Settings]) -> Iterator[Problem]:
    """Every rule that `tuning.space` breaks; `arms` are the resolved settings of the arms that are tuned."""
    for path, entry in tuning.space.items():
        yield from _range_rules(path, entry)
        yield from _setting_rules(path, entry, tuning, arms)
        yield from _when_rules(path, entry, tuning.space)
    try:
        by_dependence({p: e for p, e in tuning.space.items() if set(e.when) <= set(tuning.space)})
    except CycleError as error:
        cycle = " → ".join(reversed(error.args[1]))
        yield Problem("", "tuning.space", f"`when` must not form a cycle: {cycle}")


def _at(path: str, *more: str) -> str:
    return place("tuning", "space", path, *more)


def _range_rules(path: str, entry: Entry) -> Iterator[Problem]:
    if isinstance(entry, CategoricalSpace):
        if len({shown(choice) for choice in entry.choices}) < len(entry.choices):
            yield Problem("", _at(path, "choices"), "must not repeat a value", shown(entry.choices))
        return
    if entry.low >= entry.high:
        yield Problem("", _at(path), "low must be below high", f"low {entry.low:g}, high {entry.high:g}")
    if entry.log and entry.low <= 0:
        yield Problem("", _at(path, "low"), "must be above 0 when log = true", f"{entry.low:g}")


def _setting_rules(path: str, entry: Entry, tuning: Tuning, arms: Mapping[str, Settings]) -> Iterator[Problem]:
    """A tuned setting must be one of every arm, not of the data, and valid over the whole range."""
    section, _, rest = path.partition(".")
    if section == "data":
        yield Problem("", _at(path), "data cannot be tuned: every arm is judged on the same examples")
        return
    if section == "run" and rest.partition(".")[0] in RESERVED:
        yield Problem("", _at(path), "is a key of ablate's own and no setting", rest, nearest(path, _settings_of(arms)))
        return
    if path == "run.budget" and tuning.budget is not None:
        yield Problem("", _at(path), "cannot be tuned while tuning.budget fixes it")
    if path == "training.epochs" and tuning.epochs is not None:
        yield Problem("", _at(path), "cannot be tuned while tuning.epochs fixes it")
    without = [name for name, settings in arms.items() if not _is_setting(settings, path)]
    if without:
        owners = "any arm" if len(without) == len(arms) else listing(f"arm {name!r}" for name in without)
        valid = [p for p in paths(arms[without[0]]) if _is_setting(arms[without[0]], p)]
        yield Problem("", _at(path), f"is not a setting of {owners}", "", nearest(path, valid))
    elif section == "training" and "." not in rest:  # a setting of an optimizer or a schedule has rules of its own
        wrong = [p for settings in arms.values() for p in _training_range(path, rest, entry, settings["training"])]
        yield from dict.fromkeys(wrong)


def _settings_of(arms: Mapping[str, Settings]) -> list[str]:
    """The paths of the settings that a command or a function takes."""
    return sorted({f"run.{path}" for settings in arms.values() for path in setting_values(settings["run"])})


def _is_setting(settings: Settings, path: str) -> bool:
    try:
        return "." in path and not isinstance(lookup(settings, path), Mapping)
    except KeyError:
        return False


def _training_range(path: str, name: str, entry: Entry, training: Mapping[str, Any]) -> Iterator[Problem]:
    values: list[tuple[str, Scalar]] = (
        [("choices", choice) for choice in entry.choices]
        if isinstance(entry, CategoricalSpace)
        else [("low", entry.low), ("high", entry.high)]
    )
    if not isinstance(entry, CategoricalSpace) and entry.log and entry.low <= 0:
        values = values[1:]  # `_range_rules` reports low
    for key, value in values:
        for item in training_problems({**training, name: value}):
            if item.path == (name,):
                yield Problem("", _at(path, key), f"is not a valid {path}: {item.rule}", item.value)


def _when_rules(path: str, entry: Entry, space: Mapping[str, Entry]) -> Iterator[Problem]:
    for other, value in entry.when.items():
        if other not in space:
            hint = nearest(other, space.keys() - {path})
            yield Problem("", _at(path, "when", other), "is not an entry of the tuning space", "", hint)
        elif not contains(space[other], value):
            parent = space[other]
            valid = (
                f"valid: {listing(shown(c) for c in parent.choices)}"
                if isinstance(parent, CategoricalSpace)
                else f"valid: {parent.low:g} to {parent.high:g}"
            )
            yield Problem("", _at(path, "when", other), f"is not a value of {other}", shown(value), valid)
