"""A study over a factor: every arm it names becomes an arm a level, `arm@level`. Pure: no I/O, no torch."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from ablate.study import Arm, Control, Factor, InputError, Problem, Scalar, Study
from ablate.study.resolve import as_written, lookup, scalars
from ablate.untrusted.wording import nearest, place, shown

LEVEL = re.compile(r"[A-Za-z0-9+-]([A-Za-z0-9_.+-]*[A-Za-z0-9_+-])?")
LONGEST_NAME = 64


def level_text(level: Scalar) -> str:
    """A level as it stands in an arm's name: `0.25`, `true`, a text as it is."""
    return level if isinstance(level, str) else json.dumps(level)


def level_name(arm: str, level: Scalar) -> str:
    """The name of the arm that the factor makes of `arm` at this level."""
    return f"{arm}@{level_text(level)}"


def is_made(study: Study, arm: str) -> bool:
    """Whether a factor made this arm and named it."""
    made = study.arms[arm]
    return bool(made.family) and made.level is not None and arm == level_name(made.family, made.level)


def expand(study: Study) -> Study:
    """The study with an arm a level in place of each arm the factor names; as it is where that has been done.

    What such an arm is like, or controls for, is the other arm at the same level, where the factor makes it too.
    """
    factor = study.factor
    if factor is None or any(arm.family for arm in study.arms.values()):
        return study
    families = families_of(study, factor)
    arms: dict[str, Arm] = {}
    for name, arm in study.arms.items():
        if name not in families:
            arms[name] = arm
            continue
        value = lookup(as_written(study, name), factor.setting)
        for level in factor.levels:
            arms[level_name(name, level)] = _at_level(name, arm, factor.setting, level, value, families)
    return study.model_copy(update={"arms": arms})


def families_of(study: Study, factor: Factor) -> list[str]:
    """The arms that run through the levels, before any has: those named, else all that are not references.

    Where the factor is one of the data, every arm: what was scored on other data is no value at any level.
    """
    every = factor.setting.startswith("data.")
    return factor.arms or [name for name, arm in study.arms.items() if every or not arm.reference]


def _at_level(name: str, arm: Arm, setting: str, level: Scalar, value: Scalar, families: list[str]) -> Arm:
    def at_level(other: str) -> str:
        return level_name(other, level) if other in families else other

    chosen = float(level) if isinstance(value, float) else level
    changes: dict[str, Any] = {
        "set": {**arm.set, setting: chosen},
        "label": f"{arm.label} @ {level_text(level)}" if arm.label else "",
        "like": at_level(arm.like),
        "family": name,
        "level": level,
    }
    if arm.control is not None:
        changes["control"] = _control_at(arm.control, at_level)
    return arm.model_copy(update=changes)


def _control_at(control: Control, at_level: Any) -> Control:
    match = control.match_parameters
    moved = match.model_copy(update={"of": at_level(match.of)}) if match else None
    same = at_level(control.same_information)
    return control.model_copy(update={"match_parameters": moved, "same_information": same})


def factor_rules(study: Study) -> Iterator[Problem]:
    """Every rule the factor of a study breaks whose arms have not been expanded yet."""
    factor = study.factor
    if factor is None:
        return
    unknown = [arm for arm in factor.arms if arm not in study.arms]
    for arm in unknown:
        yield Problem("", "factor.arms", "is not an arm of this study", shown(arm), nearest(arm, study.arms))
    if not factor.arms and "arms" in factor.model_fields_set:
        yield Problem("", "factor.arms", "must not be empty", "[]", "left out, it has a default")
    left_out = [arm for arm in study.arms if arm not in factor.arms]
    if factor.setting.startswith("data.") and factor.arms and left_out:
        rule = "must name every arm where the factor is one of the data; left out, it means every arm"
        yield Problem("", "factor.arms", rule, f"without {', '.join(left_out)}")
    for arm, count in Counter(factor.arms).items():
        if count > 1:
            yield Problem("", "factor.arms", "must not repeat an arm", shown(arm))
    if study.tuning is not None and factor.setting in study.tuning.space:
        yield Problem("", "factor.setting", "must not be a setting that is tuned", shown(factor.setting))
    families = [arm for arm in families_of(study, factor) if arm in study.arms]
    yield from _levels(factor, families)
    for arm in families:
        yield from _setting(study, factor, arm)


def _levels(factor: Factor, families: list[str]) -> Iterator[Problem]:
    texts = [level_text(level) for level in factor.levels]
    for text, count in Counter(texts).items():
        if count > 1:
            yield Problem("", "factor.levels", "must not repeat a level", text)
    numbers = [level for level in factor.levels if isinstance(level, int | float) and not isinstance(level, bool)]
    if len(set(texts)) == len(texts) and len(set(numbers)) < len(numbers):  # 1 and 1.0
        yield Problem("", "factor.levels", "must not repeat a level", shown(factor.levels))
    for index, text in enumerate(texts):
        where = place("factor", "levels", index)
        if not LEVEL.fullmatch(text):
            rule = "must be fit for file names, as a part of arms' names: letters, digits, _ - + and . inside"
            yield Problem("", where, rule, shown(factor.levels[index]))
        elif any(len(arm) + 1 + len(text) > LONGEST_NAME for arm in families):
            rule = f"makes an arm's name longer than {LONGEST_NAME} characters"
            yield Problem("", where, rule, shown(factor.levels[index]))


def _setting(study: Study, factor: Factor, arm: str) -> Iterator[Problem]:
    """The setting stands in the arm, and every level is a value of its type."""
    try:
        settings = as_written(study, arm)
    except (InputError, KeyError):  # a wrong path or `like`: a problem of its own
        return
    known = dict(scalars(settings))
    if factor.setting not in known:
        hint = nearest(factor.setting, known)
        yield Problem("", "factor.setting", f"is no single setting of arm {arm!r}", shown(factor.setting), hint)
        return
    value = known[factor.setting]
    for index, level in enumerate(factor.levels):
        whole = type(value) is float and type(level) is int
        if type(level) is not type(value) and not whole:
            rule = f"must be {_KINDS[type(value)]}, as {factor.setting} of arm {arm!r} is"
            yield Problem("", place("factor", "levels", index), rule, shown(level))


_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
