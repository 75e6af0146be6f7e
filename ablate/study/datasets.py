"""Expand a study over data sets: each arm becomes one arm per data set, `arm@name`. Pure: no I/O, no torch.

A data set is a level that replaces several settings at once; everything else of such an arm is as at a level of a
factor (`study/factor.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ablate.study import Arm, InputError, Problem, Study
from ablate.study.factor import LONGEST_NAME, at_level, level_name
from ablate.study.resolve import touch, untuned_settings
from ablate.study.rules import NAME, NAME_RULE, alike_but_for_case, arm_settings_rules
from ablate.untrusted.wording import listing, place, shown


def expand_datasets(study: Study) -> Study:
    """The study with one arm per data set in place of each arm; unchanged where it is expanded already."""
    if not study.datasets or any(arm.family for arm in study.arms.values()):
        return study
    arms = {
        level_name(name, data): at_level(name, arm, found.set, data, found.label or data, study.arms)
        for name, arm in study.arms.items()
        for data, found in study.datasets.items()
    }
    return study.model_copy(update={"arms": arms})


def dataset_rules(study: Study) -> Iterator[Problem]:
    """Every rule that the data sets break, in a study whose arms have not been expanded yet."""
    if study.factor is not None:
        yield Problem("", "factor", "cannot stand beside [datasets]", "", "leave one of them out")
    if len(study.datasets) < 2:
        rule, hint = "must name at least two data sets", "one data set is part of [settings]"
        yield Problem("", "datasets", rule, listing(study.datasets) or "none", hint)
    drawn = [purpose for purpose in study.vary if purpose in ("split", "fold")]
    if drawn:
        yield Problem("", "vary", "cannot be combined with [datasets]: each has a split of its own", shown(drawn[0]))
    longest = max(study.arms, key=len, default="")
    yield from alike_but_for_case(study.datasets, "datasets")
    for name in study.datasets:
        if not NAME.fullmatch(name):
            yield Problem("", place("datasets", name), NAME_RULE, shown(name))
        elif len(level_name(longest, name)) > LONGEST_NAME:
            rule = f"makes an arm's name longer than {LONGEST_NAME} characters; give it a shorter name and a label"
            yield Problem("", place("datasets", name), rule, shown(level_name(longest, name)))
        yield from _settings(study, name)
    yield from _alike(study)


def _settings(study: Study, name: str) -> Iterator[Problem]:
    """A data set's `set` is checked as that of an arm; it changes nothing that an arm changes or that is tuned."""
    changes, own = study.datasets[name].set, place("datasets", name)
    alone = study.model_copy(update={"arms": {name: Arm(set=changes)}})
    for problem in arm_settings_rules(alone):
        yield problem._replace(place=problem.place.replace(place("arms", name), own, 1))
    for path in changes:
        location = place("datasets", name, "set", path)
        if study.tuning is not None and any(touch(path, tuned) for tuned in study.tuning.space):
            yield Problem("", location, "must not be a setting that is tuned", path)
        arm = next((n for n, arm in study.arms.items() if any(touch(path, own) for own in arm.set)), None)
        if arm is not None:
            rule = f"must not touch a setting of arm {arm!r}: it would be another on every data set"
            yield Problem("", location, rule, path)
    if study.trainer == "built-in" and not any(path.split(".")[0] == "data" for path in changes):
        yield Problem(
            "", place("datasets", name, "set"), "must change the data", listing(changes), 'such as "data.file"'
        )


def _alike(study: Study) -> Iterator[Problem]:
    """Two data sets with the same settings would be one, counted twice."""
    seen: list[tuple[str, Mapping[str, Any]]] = []
    for name, data in study.datasets.items():
        try:
            settings = untuned_settings(study.model_copy(update={"arms": {name: Arm(set=data.set)}}), name)
        except (InputError, KeyError):  # a wrong path, which another rule reports
            continue
        other = next((other for other, known in seen if known == settings), None)
        if other is not None:
            yield Problem("", place("datasets", name), f"has the same settings as the data set {other!r}", name)
        seen.append((name, settings))
