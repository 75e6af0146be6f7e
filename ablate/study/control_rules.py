"""What an arm's control and its `like` must be: arms and settings that exist, changes that can be made. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ablate.study import Arm, Control, Problem, Study
from ablate.study.resolve import Settings, lookup, paths
from ablate.untrusted.wording import listing, nearest, place

ON_REFERENCES = ("shuffle_input", "drop_input", "drop_joints")
NAMES = (*ON_REFERENCES, "freeze")


def likeness_rules(study: Study) -> Iterator[Problem]:
    """Every rule a `like` breaks: it names another arm that has none of its own."""
    for name, arm in study.arms.items():
        if arm.like:
            yield from _other_arm(study, name, arm.like, place("arms", name, "like"))
            other = study.arms.get(arm.like)
            if other is not None and other.like and arm.like != name:
                rule = f"must not name an arm that is itself like another ({other.like})"
                yield Problem("", place("arms", name, "like"), rule, arm.like)


def like_is_broken(study: Study, arm: str) -> bool:
    """Whether the settings that this arm starts from cannot be known."""
    like = study.arms[arm].like
    return bool(like) and (like == arm or like not in study.arms or bool(study.arms[like].like))


def control_rules(study: Study, arms: Mapping[str, Settings]) -> Iterator[Problem]:
    """Every rule a control breaks; `arms` are the resolved settings of the arms that have any."""
    for name, arm in study.arms.items():
        if arm.control is None:
            continue
        if arm.control == Control():
            yield Problem("", place("arms", name, "control"), "must not be empty")
        yield from _names(name, arm.control)
        if arm.control.same_information:
            where = place("arms", name, "control", "same_information")
            yield from _other_arm(study, name, arm.control.same_information, where)
        if arm.control.shuffle_input and arms.get(name, {}).get("training", {}).get("batch_size") == 1:
            where = place("arms", name, "control", "shuffle_input")
            yield Problem("", where, "needs at least two examples in a batch", "training.batch_size = 1")
        if arm.reference:
            yield from _on_reference(name, arm.control)
        yield from _match(study, name, arm, arms)


def _other_arm(study: Study, name: str, other: str, where: str) -> Iterator[Problem]:
    others = [arm for arm in study.arms if arm != name]
    if other == name:
        yield Problem("", where, "must name another arm", other, nearest(other, others))
    elif other not in study.arms:
        levels = [arm for arm, a in study.arms.items() if a.family == other]
        rule = f"runs through the levels of the factor: {listing(levels)}" if levels else "is not an arm of this study"
        yield Problem("", where, rule, other, "name one of them" if levels else nearest(other, others))


def _names(name: str, control: Control) -> Iterator[Problem]:
    for what in NAMES:
        names: list[str] = getattr(control, what)
        where = place("arms", name, "control", what)
        if len(set(names)) < len(names):
            yield Problem("", where, "must not repeat a name", listing(names))
        if "" in names:
            yield Problem("", where, "must not hold an empty name")
    both = sorted(set(control.shuffle_input) & set(control.drop_input))
    if both:
        where = place("arms", name, "control", "drop_input")
        yield Problem("", where, "must not drop an input that is shuffled", listing(both))


def _on_reference(name: str, control: Control) -> Iterator[Problem]:
    for what in ("match_parameters", "freeze"):
        if getattr(control, what):
            rule = "is for arms that are trained; of a reference, inputs can be shuffled or dropped"
            yield Problem("", place("arms", name, "control", what), rule)


def _match(study: Study, name: str, arm: Arm, arms: Mapping[str, Settings]) -> Iterator[Problem]:
    match = arm.control.match_parameters if arm.control else None
    if match is None:
        return
    where = place("arms", name, "control", "match_parameters")
    yield from _other_arm(study, name, match.of, f"{where}.of")
    other = study.arms.get(match.of)
    if other is not None and other.control is not None and other.control.match_parameters and match.of != name:
        yield Problem("", f"{where}.of", "must not name an arm that is itself matched", match.of)
    if study.tuning is not None and match.by in study.tuning.space:
        yield Problem("", f"{where}.by", "must not be a setting that is tuned", match.by)
    if name in arms:
        yield from _width(match.by, f"{where}.by", arms[name])


def _width(by: str, where: str, settings: Settings) -> Iterator[Problem]:
    """What is widened is a whole number of the model section, as the arm has it."""
    whole = [p for p in paths({"model": settings["model"]}) if type(lookup(settings, p)) is int]
    if by not in set(paths(settings)):
        yield Problem("", where, "is not a setting of this arm", by, nearest(by, whole))
    elif by not in whole:
        yield Problem("", where, "must be a whole number in the model's settings", by, nearest(by, whole))
    elif lookup(settings, by) < 1:
        yield Problem("", where, "must be at least 1 in the arm's settings", str(lookup(settings, by)))
