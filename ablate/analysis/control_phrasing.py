"""What the outcome of a control means, as sentences. Computes no number.

An interval that includes 0 is "not shown", never "equal": for "equal" the whole interval must lie inside the margin.
"Better" and "worse" are by more than the margin where a hypothesis names one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ablate.analysis import numbers
from ablate.analysis.control_findings import ControlFinding, ControlRow, Kind
from ablate.analysis.phrasing import (
    Shown,
    found,
    includes,
    listed,
    margin_text,
    measure,
    quoted,
    sentence,
    size,
)
from ablate.analysis.statistics import Effect
from ablate.study import Control

SAME_SIZE = 0.01  # arms that differ by at most this share of their parameters count as equally large

# What a control says about the gain of the controlled arm over {base}, by the outcome of the controlled arm's
# difference to the control. "equal" is within the margin.
EXPLAINS: Mapping[Kind, Mapping[Shown, str]] = {
    "match parameters": {
        "better": "more parameters alone do not explain its gain over {base}",
        "equal": "widening {things} gives its gain over {base} to within the margin",
        "not shown": "it is not shown that its gain over {base} takes more than widening {things} gives",
        "worse": "widening {things} to as many parameters gives more than its gain over {base}",
    },
    "match compute": {
        "better": "more compute alone does not explain its gain over {base}",
        "equal": "as much compute, spent on {things}, gives its gain over {base} to within the margin",
        "not shown": "it is not shown that its gain over {base} takes more than as much compute, spent on {things}",
        "worse": "as much compute, spent on {things}, gives more than its gain over {base}",
    },
    "shuffle input": {
        "better": "its gain over {base} depends on what {things} tells of the example at hand",
        "equal": "with another example's {things} its gain over {base} stays to within the margin",
        "not shown": "it is not shown that its gain over {base} comes from what {things} tells of the example at hand",
        "worse": "its gain over {base} is larger with another example's {things}",
    },
    "drop input": {
        "better": "its gain over {base} depends on {things}",
        "equal": "without {things} its gain over {base} stays to within the margin",
        "not shown": "it is not shown that its gain over {base} takes {things}",
        "worse": "its gain over {base} is larger without {things}",
    },
    "freeze": {
        "better": "random features in {things} do not give all of its gain over {base}",
        "equal": "random features in {things} give its gain over {base} to within the margin",
        "not shown": "it is not shown that its gain over {base} takes trained features in {things}",
        "worse": "its gain over {base} is larger with random features in {things}",
    },
    "same information": {
        "better": "the same information without the design gives less than its gain over {base}",
        "equal": "the same information without the design gives its gain over {base} to within the margin",
        "not shown": "it is not shown that the design gives more than the information does",
        "worse": "the same information without the design gives more than its gain over {base}",
    },
}
# The same where the control changes several things at once.
SEVERAL: Mapping[Shown, str] = {
    "better": "not all of its gain over {base} is left {changed}",
    "equal": "{changed}, its gain over {base} stays to within the margin",
    "not shown": "it is not shown that any of its gain over {base} is lost {changed}",
    "worse": "its gain over {base} is larger {changed}",
}
# The same where the controlled arm is the baseline itself: there is no gain. {changed}: see `CHANGED`.
NEEDS: Mapping[Shown, str] = {
    "better": "it does worse {changed}",
    "equal": "{changed}, it changes by less than the margin",
    "not shown": "it is not shown that it does worse {changed}",
    "worse": "it does better {changed}",
}
CHANGED: Mapping[Kind, str] = {
    "match parameters": "with as many parameters as {of}",
    "match compute": "with as much compute as {of}",
    "shuffle input": "with another example's {things}",
    "drop input": "without {things}",
    "drop joints": "without {things}",
    "freeze": "with random features in {things}",
    "same information": "with the information of {of}",
}
# The same where the controlled arm is the baseline and the control matches its parameters or its information.
MATCHED_OUTCOMES: Mapping[Shown, str] = {
    "better": "with {matched}, {base} does better",
    "equal": "with {matched}, they differ by less than the margin",
    "not shown": "with {matched}, neither is shown to do better",
    "worse": "with {matched}, {control} does better, so that {matched} cannot be why",
}
MATCHED: Mapping[Kind, str] = {
    "match parameters": "the same number of parameters",
    "match compute": "the same compute",
    "same information": "the same information",
}
# The paragraph that combines the controls of one arm: a clause for each control, by its outcome. {open}: what an
# interval that shows nothing includes.
COMBINED: Mapping[str, Mapping[Shown, str]] = {
    "parameters": {
        "better": "more parameters do not explain it alone ({of} is still better than {control} by {size})",
        "equal": "more parameters give it to within the margin ({of} against {control}: {size})",
        "not shown": "more parameters are not ruled out ({of} against {control}: {open})",
        "worse": "more parameters give more than it ({control} is better than {of} by {size})",
        "no interval": "more parameters are not known to do",
    },
    "information": {
        "better": "more information gives a gain by itself ({control} is better than {base} by {size})",
        "equal": "more information gives no more than the margin by itself ({control} against {base}: {size})",
        "not shown": "more information is not shown to give a gain by itself ({control} against {base}: {open})",
        "worse": "more information gives no gain by itself ({control} is worse than {base} by {size})",
        "no interval": "more information is not known to give a gain by itself",
    },
    "input": {
        "better": "{changed} {of} loses {size} ({control})",
        "equal": "{changed} {of} changes by less than the margin ({control}: {size})",
        "not shown": "{changed} {of} is not shown to lose ({control}: {open})",
        "worse": "{changed} {of} is better by {size} ({control})",
        "no interval": "what {of} is {changed} is not known ({control})",
    },
    "design": {
        "better": "the design adds {size} to what the information gives{apart}",
        "equal": "the design changes what the information gives by less than the margin{apart}",
        "not shown": "the design is not shown to add to what the information gives ({open}){apart}",
        "worse": "the design takes {size} from what the information gives{apart}",
        "no interval": "the design is not known to add to it",
    },
}


def kinds_of(control: Control) -> dict[Kind, str]:
    """The kinds of change that a control makes, each with the names of what it changes."""
    match, compute = control.match_parameters, control.match_compute
    things_by_kind: dict[Kind, str] = {
        "match parameters": match.by if match else "",
        "match compute": compute.by if compute else "",
        "shuffle input": listed(control.shuffle_input),
        "drop input": listed(control.drop_input),
        "drop joints": listed(control.drop_joints),
        "freeze": listed(control.freeze),
        "same information": control.same_information,
    }
    return {kind: things for kind, things in things_by_kind.items() if things}


def what_was_done(kinds: Mapping[Kind, str], of: str) -> str:
    """`as many parameters as “Hybrid”, by widening model.feedforward_dim`; several changes are joined."""
    words: Mapping[Kind, str] = {
        "match parameters": "as many parameters as {of}, by widening {things}",
        "match compute": "as many FLOPs of a forward pass × epochs as {of}, by {things}",
        "shuffle input": "another example's {things}",
        "drop input": "without {things}",
        "drop joints": "without the joints {things}",
        "freeze": "random, untrained features in {things}",
        "same information": "the information of {of} without its design",
    }
    return listed([words[kind].format(of=quoted(of), things=things) for kind, things in kinds.items()])


def what_changes(kinds: Mapping[Kind, str], of: str) -> str:
    """`with another example's pose_2d`, for a sentence about the arm that is changed."""
    return listed([CHANGED[kind].format(of=quoted(of), things=things) for kind, things in kinds.items()])


def meaning(finding: ControlFinding, row: ControlRow, things: str) -> str:
    """The outcome in one metric, as one or two sentences."""
    if row.gain is not None and row.gain_shown != "better":
        return _no_gain(finding, row, row.gain)
    if row.remaining_shown == "no interval":
        unknown = _unknown(quoted(finding.label), row.remaining, row)
        return sentence(f"{unknown}: nothing can be said of what it rules out")
    difference = _difference(finding, row)
    if row.gain is None:
        return sentence(f"{difference}: {_needed(finding, row.remaining_shown)}")
    gain = size(row.gain.difference, row.metric, row.places)
    control_gain = f"; {quoted(finding.label)} itself has a gain" if row.control_shown == "better" else ""
    return sentence(
        f"{difference}: {_explained(finding, row.remaining_shown, things)}{_apart(finding)}. "
        f"That gain is {gain}{control_gain}"
    )


def _explained(finding: ControlFinding, outcome: Shown, things: str) -> str:
    base, kind = quoted(finding.baseline_label), finding.kinds[0]
    if len(finding.kinds) > 1:
        return SEVERAL[outcome].format(base=base, changed=finding.changed)
    return EXPLAINS["drop input" if kind == "drop joints" else kind][outcome].format(base=base, things=things)


def _needed(finding: ControlFinding, outcome: Shown) -> str:
    kind, base = finding.kinds[0], quoted(finding.baseline_label)
    if kind in MATCHED and len(finding.kinds) == 1:
        return MATCHED_OUTCOMES[outcome].format(matched=MATCHED[kind], base=base, control=quoted(finding.label))
    return NEEDS[outcome].format(changed=finding.changed)


def combined_explanation(outcomes: Sequence[tuple[ControlFinding, ControlRow]]) -> str:
    """A sentence that puts the controls of one arm's gain in one metric together: parameters, information, design.

    Empty unless a control matches the parameters and another gives the same information. Controls that change several
    things at once are left out.
    """
    by_kind = {finding.kinds[0]: (finding, row) for finding, row in reversed(outcomes) if len(finding.kinds) == 1}
    if "match parameters" not in by_kind or "same information" not in by_kind:
        return ""
    finding, row = by_kind["match parameters"]
    gain = row.gain
    if gain is None or row.gain_shown != "better":
        return sentence(f"{_gain_unshown(finding, row, gain)}; its controls are not put together")
    of, base = quoted(finding.of_label), quoted(finding.baseline_label)
    clauses = [
        _clause("parameters", *by_kind["match parameters"]),
        _clause("information", *by_kind["same information"]),
        *(_clause("input", *by_kind[kind]) for kind in ("shuffle input", "drop input") if kind in by_kind),
        _clause("design", *by_kind["same information"]),
    ]
    what = f"the gain of {of} over {base} in {row.metric.in_text}, {_size(gain, row)}"
    return sentence(f"{what}, beside its controls: {'; '.join(clauses)}")


def _no_gain(finding: ControlFinding, row: ControlRow, gain: Effect) -> str:
    if row.gain_shown == "no interval":
        unknown = _unknown(quoted(finding.of_label), gain, row)
        return sentence(f"{unknown}: whether there is a gain to explain is not known")
    text = sentence(_gain_unshown(finding, row, gain))
    if row.control_shown != "better":
        return text
    control_gain = size(row.control.difference, row.metric, row.places)
    better = f"{quoted(finding.label)} is better than {quoted(finding.baseline_label)} by {control_gain}"
    return f"{text} {sentence(better)}"


def _gain_unshown(finding: ControlFinding, row: ControlRow, gain: Effect | None) -> str:
    """`in elevation error, a gain of “Hybrid” over “Existing” is not shown: the interval includes 0 (…)`."""
    of, base, in_metric = quoted(finding.of_label), quoted(finding.baseline_label), f"in {row.metric.in_text}"
    if gain is None or row.gain_shown == "no interval":
        return f"{in_metric}, a gain of {of} over {base} is not shown: there is no interval"
    gap = gain.difference
    if row.gain_shown == "worse":
        return f"{in_metric}, {of} is worse than {base} by {size(gap, row.metric, row.places)}"
    told = found(gap, row.metric, row.places)
    if row.gain_shown == "equal":
        margin = margin_text(row.gain_margin or 0.0, row.metric)
        return f"{in_metric}, {of} and {base} differ by less than the margin of {margin} ({told})"
    beyond = f" beyond the margin of {margin_text(row.gain_margin, row.metric)}" if row.gain_margin else ""
    held = includes(gap, row.metric, row.gain_margin)
    return f"{in_metric}, a gain of {of} over {base}{beyond} is not shown: the interval includes {held} ({told})"


def _difference(finding: ControlFinding, row: ControlRow) -> str:
    """`in azimuth error, “Hybrid” is better than “Existing, wide” by 0.25° (95 % interval …)`."""
    of, control, gap = quoted(finding.of_label), quoted(finding.label), row.remaining.difference
    in_metric = f"in {row.metric.in_text}"
    if row.remaining_shown in ("better", "worse"):
        return f"{in_metric}, {of} is {row.remaining_shown} than {control} by {size(gap, row.metric, row.places)}"
    told = found(gap, row.metric, row.places)
    if row.remaining_shown == "equal":
        margin = margin_text(row.margin or 0.0, row.metric)
        return f"{in_metric}, {of} and {control} differ by less than the margin of {margin} ({told})"
    held = includes(gap, row.metric, row.margin)
    return f"{in_metric}, the interval of the difference between {of} and {control} includes {held} ({told})"


def _apart(finding: ControlFinding) -> str:
    """What differs beside the design: an arm with the same information may be smaller or larger."""
    if finding.kinds != ("same information",):
        return ""
    ours, theirs = (finding.parameters.get(arm) for arm in (finding.of, finding.control))
    apart = [f"in {finding.tuned_apart}"] if finding.tuned_apart else []
    if ours is not None and theirs is not None and abs(ours - theirs) > SAME_SIZE * max(ours, theirs):
        apart.insert(0, f"by {numbers.signed_count(ours - theirs)} parameters")
    if not apart:
        return ""
    both = f"{quoted(finding.of_label)} also differs from {quoted(finding.label)}"
    return f"; {both} {listed(apart)}, whose part in it is not told apart"


def _unknown(arm: str, effect: Effect, row: ControlRow) -> str:
    reason = effect.note if effect.difference.n else "no seed has both runs"
    return f"in {row.metric.in_text}, {arm} has no interval to go by ({reason})"


def _clause(part: str, finding: ControlFinding, row: ControlRow) -> str:
    """Information is judged by the control against the baseline, every other part by the arm against the control."""
    effect, outcome, margin = row.remaining, row.remaining_shown, row.margin
    if part == "information":
        effect, outcome, margin = row.control, row.control_shown, row.control_margin
    names = {"of": finding.of_label, "control": finding.label, "base": finding.baseline_label}
    quotes = {key: quoted(name) for key, name in names.items()}
    gap = effect.difference
    held = f"the interval includes {includes(gap, row.metric, margin)}, {found(gap, row.metric, row.places)}"
    text = COMBINED[part][outcome]
    return text.format(**quotes, size=_size(effect, row), changed=finding.changed, open=held, apart=_apart(finding))


def _size(effect: Effect, row: ControlRow) -> str:
    """The size without its interval, which the control's own sentence has."""
    return measure(abs(effect.difference.mean or 0.0), row.metric, row.places)
