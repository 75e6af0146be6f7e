"""Check the `control` and `like` of every arm: arms and settings that exist, changes that can be made. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

from ablate.study import Arm, Control, Problem, Study
from ablate.study.command_template import TemplateError, placeholders
from ablate.study.resolve import Settings, lookup, paths
from ablate.study.run_rules import run_settings
from ablate.untrusted.wording import listing, nearest, place

CHANGES_NO_RUN = ("same_information",)
ON_REFERENCES = ("shuffle_input", "drop_input", "drop_joints")
SETTING_INSTEAD = "a setting of the script that does it, and an arm that sets it"
COUNTS_INSTEAD = {
    "command": 'parameters = ["python", "train.py", "--count-parameters", "--width={width}"] in [settings.run], '
    "a command that prints it",
    "function": 'parameters = "module:count" in [settings.run], with def count(settings) -> int',
}
NAMES = (*ON_REFERENCES, "freeze")


def likeness_rules(study: Study) -> Iterator[Problem]:
    """Every rule that a `like` breaks: it must name another arm, one without a `like` of its own."""
    for name, arm in study.arms.items():
        if arm.like:
            yield from _other_arm(study, name, arm.like, place("arms", name, "like"))
            other = study.arms.get(arm.like)
            if other is not None and other.like and arm.like != name:
                rule = f"must not name an arm that is itself like another ({other.like})"
                yield Problem("", place("arms", name, "like"), rule, arm.like)


def like_is_broken(study: Study, arm: str) -> bool:
    """Whether the arm's `like` breaks a rule, so that its settings cannot be resolved."""
    like = study.arms[arm].like
    return bool(like) and (like == arm or like not in study.arms or bool(study.arms[like].like))


def control_rules(study: Study, arms: Mapping[str, Settings]) -> Iterator[Problem]:
    """Every rule that a control breaks; `arms` are the resolved settings of the arms that could be resolved."""
    for name, arm in study.arms.items():
        if arm.control is None:
            continue
        if arm.control == Control():
            yield Problem("", place("arms", name, "control"), "must not be empty")
        yield from _names(name, arm.control)
        if arm.control.same_information:
            location = place("arms", name, "control", "same_information")
            yield from _other_arm(study, name, arm.control.same_information, location)
        if arm.control.shuffle_input and arms.get(name, {}).get("training", {}).get("batch_size") == 1:
            location = place("arms", name, "control", "shuffle_input")
            yield Problem("", location, "needs at least two examples in a batch", "training.batch_size = 1")
        if arm.reference:
            yield from _on_reference(name, arm.control)
        if study.trainer != "built-in" and name in arms:
            yield from _not_honoured(study, name, arm.control, arms[name]["run"])
        yield from _match(study, name, arm, arms)


def _other_arm(study: Study, name: str, other: str, location: str) -> Iterator[Problem]:
    others = [arm for arm in study.arms if arm != name]
    if other == name:
        yield Problem("", location, "must name another arm", other, nearest(other, others))
    elif other not in study.arms:
        levels = [arm for arm, a in study.arms.items() if a.family == other]
        rule = f"is one arm per level of the factor: {listing(levels)}" if levels else "is not an arm of this study"
        yield Problem("", location, rule, other, "name one of them" if levels else nearest(other, others))


def _names(name: str, control: Control) -> Iterator[Problem]:
    for key in NAMES:
        names: list[str] = getattr(control, key)
        location = place("arms", name, "control", key)
        if len(set(names)) < len(names):
            yield Problem("", location, "must not repeat a name", listing(names))
        if "" in names:
            yield Problem("", location, "must not hold an empty name")
    both = sorted(set(control.shuffle_input) & set(control.drop_input))
    if both:
        location = place("arms", name, "control", "drop_input")
        yield Problem("", location, "must not drop an input that is shuffled", listing(both))


def _on_reference(name: str, control: Control) -> Iterator[Problem]:
    for key in ("match_parameters", "freeze"):
        if getattr(control, key):
            rule = "must not be set on a reference, which is not trained: only its inputs can be shuffled or dropped"
            yield Problem("", place("arms", name, "control", key), rule)


def _not_honoured(study: Study, name: str, control: Control, section: Mapping[str, Any]) -> Iterator[Problem]:
    """Controls that change runs of a command or a function, which has not declared that it carries them out.

    `section`: the arm's settings of the run.
    """
    kind, honours = study.trainer, section.get("honours", [])
    for key in sorted(control.model_dump(exclude_defaults=True).keys() - {*CHANGES_NO_RUN}):
        location = place("arms", name, "control", key)
        if key == "match_parameters":
            if not section.get("parameters"):
                rule = f"needs the number of parameters, which ablate cannot count for a {kind}"
                yield Problem("", location, rule, "", COUNTS_INSTEAD.get(kind, ""))
        elif key not in honours:
            taken = f"{{{key}}} in the command" if kind == "command" else f'settings["{key}"] in the function'
            hint = f'honours = ["{key}"] in [settings.run] and {taken}, or {SETTING_INSTEAD}'
            yield Problem("", location, f"is done by a {kind} only where it declares so", "", hint)
        elif kind == "command" and any("," in thing for thing in getattr(control, key)):
            rule = "must not hold a comma, which separates the names in a command"
            yield Problem("", location, rule, listing(getattr(control, key)))


def _match(study: Study, name: str, arm: Arm, arms: Mapping[str, Settings]) -> Iterator[Problem]:
    match = arm.control.match_parameters if arm.control else None
    if match is None:
        return
    location = place("arms", name, "control", "match_parameters")
    yield from _other_arm(study, name, match.of, f"{location}.of")
    other = study.arms.get(match.of)
    if other is not None and other.control is not None and other.control.match_parameters and match.of != name:
        yield Problem("", f"{location}.of", "must not name an arm that is itself matched", match.of)
    if study.tuning is not None and match.by in study.tuning.space:
        yield Problem("", f"{location}.by", "must not be a setting that is tuned", match.by)
    if name in arms:
        yield from _width(match.by, f"{location}.by", arms[name])


def _width(by: str, location: str, settings: Settings) -> Iterator[Problem]:
    """`by` must be a whole number in the arm's model section, or a setting that the count of a command depends on."""
    section = "run" if "run" in settings else "model"
    own = run_settings(settings["run"]) if section == "run" else settings["model"]
    whole_numbers = [p for p in paths({section: own}) if type(lookup(settings, p)) is int]
    counts = settings[section].get("parameters")
    if section == "run" and isinstance(counts, list):
        whole_numbers = [p for p in whole_numbers if _is_in(p.removeprefix("run."), counts)]
    if by not in set(paths(settings)):
        yield Problem("", location, "is not a setting of this arm", by, nearest(by, whole_numbers))
    elif by not in whole_numbers:
        rule = "must be a whole number in the model's settings"
        if section == "run":
            rule = "must be a whole number among the run's settings"
            rule += ", with a placeholder in `parameters`" if isinstance(counts, list) else ""
        yield Problem("", location, rule, by, nearest(by, whole_numbers))
    elif lookup(settings, by) < 1:
        yield Problem("", location, "must be at least 1 in the arm's settings", str(lookup(settings, by)))


def _is_in(name: str, words: Sequence[object]) -> bool:
    """Whether a word of a command has a placeholder of this name."""
    with suppress(TemplateError, TypeError):  # other rules report a damaged word
        return any(found.name == name for word in words for found in placeholders(cast(str, word)))
    return True
