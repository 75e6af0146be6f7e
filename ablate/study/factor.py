"""Expand a study over a factor: each arm becomes one arm per level, `arm@level`. Pure: no I/O, no torch."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from ablate.study import Arm, Control, Factor, InputError, Problem, Scalar, Study
from ablate.study.resolve import MATCHES, lookup, scalars, untuned_settings
from ablate.untrusted.wording import nearest, place, shown

LEVEL = re.compile(r"[A-Za-z0-9+-]([A-Za-z0-9_.+-]*[A-Za-z0-9_+-])?")
LONGEST_NAME = 64


def level_text(level: Scalar) -> str:
    """A level as part of an arm's name: `0.25`, `true`, a string unchanged."""
    return level if isinstance(level, str) else json.dumps(level)


def level_name(arm: str, level: Scalar) -> str:
    """The name of the arm that `arm` becomes at this level."""
    return f"{arm}@{level_text(level)}"


def is_expanded(study: Study, name: str) -> bool:
    """Whether the expansion of a factor or of data sets created and named this arm."""
    arm = study.arms[name]
    if not arm.family or arm.level is None or not LEVEL.fullmatch(level_text(arm.level)):
        return False
    return name == level_name(arm.family, arm.level)


def expand(study: Study) -> Study:
    """The study with one arm per level in place of each arm of the factor; unchanged where it is expanded already.

    In such an arm, `like` and the control name the other arm at the same level, where that arm is expanded too.
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
        value = lookup(untuned_settings(study, name), factor.setting)
        for level in factor.levels:
            typed_level = float(level) if isinstance(value, float) else level
            changes = {factor.setting: typed_level}
            arms[level_name(name, level)] = at_level(name, arm, changes, level, level_text(level), families)
    return study.model_copy(update={"arms": arms})


def families_of(study: Study, factor: Factor) -> list[str]:
    """The arms of a study, not yet expanded, that the factor expands: those it names, else all but the references.

    A factor that is a data setting expands every arm: an arm with other data can be compared at no level.
    """
    is_data = factor.setting.startswith("data.")
    return factor.arms or [name for name, arm in study.arms.items() if is_data or not arm.reference]


def at_level(
    name: str, arm: Arm, settings: Mapping[str, Any], level: Scalar, label: str, families: Collection[str]
) -> Arm:
    """The arm `name` with these settings on top of its own; what it names in `families` is at the same level."""

    def there(other: str) -> str:
        return level_name(other, level) if other in families else other

    changes: dict[str, Any] = {
        "set": {**arm.set, **settings},
        "label": f"{arm.label} @ {label}" if arm.label else "",
        "like": there(arm.like),
        "family": name,
        "level": level,
    }
    if arm.control is not None:
        changes["control"] = _control_at(arm.control, there)
    return arm.model_copy(update=changes)


def _control_at(control: Control, there: Callable[[str], str]) -> Control:
    matches = {key: match for key in MATCHES if (match := getattr(control, key)) is not None}
    there_too = {key: match.model_copy(update={"of": there(match.of)}) for key, match in matches.items()}
    return control.model_copy(update={**there_too, "same_information": there(control.same_information)})


def factor_rules(study: Study) -> Iterator[Problem]:
    """Every rule that the factor breaks, in a study that has not been expanded yet."""
    factor = study.factor
    if factor is None:
        return
    unknown = [arm for arm in factor.arms if arm not in study.arms]
    for arm in unknown:
        yield Problem("", "factor.arms", "is not an arm of this study", shown(arm), nearest(arm, study.arms))
    if not factor.arms and "arms" in factor.model_fields_set:
        yield Problem("", "factor.arms", "must not be empty", "[]", "leave it out for the default")
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
        location = place("factor", "levels", index)
        if not LEVEL.fullmatch(text):
            rule = "must be fit for file names, as a part of arms' names: letters, digits, _ - + and . inside"
            yield Problem("", location, rule, shown(factor.levels[index]))
        elif any(len(arm) + 1 + len(text) > LONGEST_NAME for arm in families):
            rule = f"makes an arm's name longer than {LONGEST_NAME} characters"
            yield Problem("", location, rule, shown(factor.levels[index]))


def _setting(study: Study, factor: Factor, arm: str) -> Iterator[Problem]:
    """The arm has the setting, and every level is a value of its type."""
    try:
        settings = untuned_settings(study, arm)
    except (InputError, KeyError):  # a wrong path or `like`, which another rule reports
        return
    values = dict(scalars(settings))
    if factor.setting not in values:
        hint = nearest(factor.setting, values)
        yield Problem("", "factor.setting", f"is not a single setting of arm {arm!r}", shown(factor.setting), hint)
        return
    value = values[factor.setting]
    for index, level in enumerate(factor.levels):
        int_for_float = type(value) is float and type(level) is int
        if type(level) is not type(value) and not int_for_float:
            rule = f"must be {_TYPE_NAMES[type(value)]}, as {factor.setting} of arm {arm!r} is"
            yield Problem("", place("factor", "levels", index), rule, shown(level))


_TYPE_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
