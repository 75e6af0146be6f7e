"""Check `[leave_one_out]`, `[add_one_in]` and `[factorial]` before their arms are made. Pure: no I/O, no torch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from ablate.study import Arm, Control, Design, DesignKind, InputError, Problem, Study
from ablate.study.control_rules import control_rules
from ablate.study.design import MAX_FACTORIAL, arm_name, arm_names, subsets
from ablate.study.error_messages import DESIGNS
from ablate.study.fractions import MOST_PARTS, sizes
from ablate.study.resolve import MATCHES, NAME_LISTS, touch, untuned_settings
from ablate.study.rules import LONGEST, NAME, NAME_RULE, alike_but_for_case, arm_settings_rules
from ablate.untrusted.wording import listing, place, shown


def design_rules(study: Study) -> Iterator[Problem]:
    """Every rule that the design breaks, in a study whose arms have not been made yet."""
    if study.design is None:
        return
    kind, design = study.design
    others = [name for name in (*DESIGNS, "factor") if name != kind and getattr(study, name) is not None]
    for other in others:
        yield Problem("", other, f"cannot stand beside [{kind}]", "", "leave one of them out")
    yield from _numbers(kind, design)
    yield from _names(study, kind, design)
    problems = list(_overlaps(kind, design))
    for part in design.parts:
        problems += _settings(study, kind, part)
    yield from problems


def _numbers(kind: DesignKind, design: Design) -> Iterator[Problem]:
    count, location = len(design.parts), place(kind, "parts")
    if count < 2:
        yield Problem(
            "", location, "must name at least two parts", listing(design.parts), "for one part write two arms"
        )
    others = f"[leave_one_out] and [add_one_in] take {count} parts with {count + 1} arms"
    if kind != "factorial" and design.arms is not None:
        yield Problem("", place(kind, "arms"), "is for a [factorial], of which it takes a fraction", str(design.arms))
    elif kind == "factorial" and count > MOST_PARTS:
        yield Problem("", location, f"must name at most {MOST_PARTS} parts", f"{count} parts", others)
    elif kind == "factorial" and design.arms is None and count > MAX_FACTORIAL:
        rule = f"must name at most {MAX_FACTORIAL} parts, {2**MAX_FACTORIAL} arms"
        hint = f"a fraction takes them: arms = {' or '.join(map(str, sizes(count)))}; {others}"
        yield Problem("", location, rule, f"{count} parts, {2**count:,} arms", hint)
    elif kind == "factorial" and design.arms is not None and design.arms not in sizes(count) and count > 1:
        rule, all_arms = "must be the number of arms of a fraction", f"left out, it means all {2**count:,} arms"
        valid = f"with {count} parts {' or '.join(map(str, sizes(count)))}; " if sizes(count) else ""
        yield Problem("", place(kind, "arms"), rule, str(design.arms), valid + all_arms)


def _names(study: Study, kind: DesignKind, design: Design) -> Iterator[Problem]:
    parts = list(design.parts)
    wrong = [part for part in parts if not NAME.fullmatch(part)]
    for part in wrong:
        yield Problem("", place(kind, "parts", part), NAME_RULE, shown(part))
    yield from alike_but_for_case(parts, kind, "parts")
    if wrong or (kind == "factorial" and len(parts) > MAX_FACTORIAL and design.arms is None):
        return
    try:
        names = arm_names(kind, design)
    except KeyError:  # there is no such fraction, which another rule reports
        return
    longest = max(names, key=len)
    if len(longest) > LONGEST:
        rule = f"make an arm's name longer than {LONGEST} characters; give the parts shorter names and a label"
        yield Problem("", place(kind, "parts"), rule, shown(longest))
    for chosen in subsets(kind, parts, design.arms):
        name = arm_name(kind, chosen, parts)
        if name in study.arms:
            rule = f"is an arm that [{kind}] makes"
            yield Problem("", place("arms", name), rule, shown(name), f"call this arm {name}-2, or leave it out")
        elif names.count(name) > 1 and len(chosen) == 1:
            rule = f"makes an arm of the same name as another that [{kind}] makes"
            yield Problem("", place(kind, "parts", chosen[0]), rule, shown(name), f"such as {chosen[0]}-part")


def _overlaps(kind: DesignKind, design: Design) -> Iterator[Problem]:
    """Two parts that touch one setting, or one input, cannot be told apart where an arm has both or neither."""
    for first, second in combinations(design.parts, 2):
        controls = [design.parts[part].without or Control() for part in (first, second)]
        for key in NAME_LISTS:
            both = sorted(set(getattr(controls[0], key)) & set(getattr(controls[1], key)))
            if both:
                rule = f"must not name what part {first!r} names"
                yield Problem("", place(kind, "parts", second, "without", key), rule, listing(both))
    parts = list(design.parts)
    for index, second in enumerate(parts):
        for path in design.parts[second].set:
            touched = ((first, p) for first in parts[:index] for p in design.parts[first].set if touch(p, path))
            first, other = next(touched, ("", ""))  # the first is enough: of six parts that touch one, five are told
            if first:
                rule = f"must not touch a setting of part {first!r} ({other})"
                hint = f"a setting with several values is a [factor], or the two are one part {first}-{second}"
                yield Problem("", place(kind, "parts", second, "set", path), rule, path, hint)


def _settings(study: Study, kind: DesignKind, part: str) -> Iterator[Problem]:
    """The part's `set` is checked as that of an arm; it must change something, and nothing that is tuned."""
    assert study.design is not None
    changes, without = study.design[1].parts[part].set, study.design[1].parts[part].without
    own = place(kind, "parts", part)
    if not changes and without is None:
        yield Problem("", f"{own}.set", "is missing")
        return
    alone = study.model_copy(update={"arms": {part: Arm(set=changes)}})
    problems = list(arm_settings_rules(alone))
    for problem in problems:
        yield problem._replace(place=problem.place.replace(place("arms", part), own, 1))
    if without is not None:
        yield from _without(study, part, without, own)
    tuned = [path for path in changes if study.tuning is not None and path in study.tuning.space]
    for path in tuned:
        yield Problem("", place(kind, "parts", part, "set", path), "must not be a setting that is tuned", path)
    if problems or tuned:
        return
    try:
        settings = untuned_settings(alone, part)
        bare = untuned_settings(study.model_copy(update={"arms": {part: Arm()}}), part)
    except (InputError, KeyError):  # of the study's own settings, which other rules report
        return
    if settings == bare and without is None:
        rule = "changes nothing: the study's settings, which are without the part, have these values already"
        yield Problem("", place(kind, "parts", part, "set"), rule, shown(dict(changes)))


def _without(study: Study, part: str, without: Control, own: str) -> Iterator[Problem]:
    """What the arms without the part have is checked as the control of an arm; it changes their inputs or freezes."""
    for key in (*MATCHES, "same_information"):
        if getattr(without, key):
            rule = "is for an arm: what arms without a part have changes their inputs, or freezes"
            yield Problem("", f"{own}.without.{key}", rule, "", f"valid: {', '.join(NAME_LISTS)}")
    lists = {key: getattr(without, key) for key in NAME_LISTS}
    if not any(lists.values()) and without != Control():
        return
    alone = study.model_copy(update={"arms": {part: Arm(control=Control.model_validate(lists))}})
    for problem in control_rules(alone, {part: untuned_settings(alone, part)}):
        yield problem._replace(place=problem.place.replace(place("arms", part, "control"), f"{own}.without", 1))
