"""What the outcome of a control means, as sentences. Computes no number.

An interval that includes 0 is "not shown", never "equal": for "equal" the whole interval must lie inside the margin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ablate.analysis.control_findings import ControlFinding, ControlRow, Kind
from ablate.analysis.phrasing import Shown, listed, margin_text, measure, sentence, signed_size, size
from ablate.analysis.statistics import Effect
from ablate.study import Control

# What a control says about the gain of the controlled arm over {base}, by the outcome of the controlled arm's
# difference to the control.
EXPLAINS: Mapping[Kind, Mapping[Shown, str]] = {
    "match parameters": {
        "better": "more parameters alone do not explain its gain over {base}",
        "equal": "the gain over {base} could be had by widening {things}",
        "not shown": "it is not shown that its gain over {base} takes more than widening {things} gives",
        "worse": "as many parameters do more than its gain over {base} where they widen {things}",
    },
    "match compute": {
        "better": "more compute alone does not explain its gain over {base}",
        "equal": "the gain over {base} could be had by spending the compute on {things}",
        "not shown": "it is not shown that its gain over {base} takes more than as much compute, spent on {things}",
        "worse": "as much compute does more than its gain over {base} where it is spent on {things}",
    },
    "shuffle input": {
        "better": "its gain over {base} depends on what {things} tells of the example at hand",
        "equal": "its gain over {base} does not come from what {things} tells of the example at hand",
        "not shown": "it is not shown that its gain over {base} comes from what {things} tells of the example at hand",
        "worse": "its gain over {base} does not come from what {things} tells, for it does better with another's",
    },
    "drop input": {
        "better": "its gain over {base} depends on {things}",
        "equal": "its gain over {base} can be had without {things}",
        "not shown": "it is not shown that its gain over {base} takes {things}",
        "worse": "its gain over {base} is larger without {things}",
    },
    "freeze": {
        "better": "random features in {things} do not give all of its gain over {base}",
        "equal": "random features in {things} give its gain over {base} as well as trained ones",
        "not shown": "it is not shown that its gain over {base} takes trained features in {things}",
        "worse": "its gain over {base} is larger with random features in {things}",
    },
    "same information": {
        "better": "the same information without the design gives less than its gain over {base}",
        "equal": "its gain over {base} can be had from the information without the design",
        "not shown": "it is not shown that the design gives more than the information does",
        "worse": "the same information does more than its gain over {base} without the design",
    },
}
# The same where the control changes several things at once.
SEVERAL: Mapping[Shown, str] = {
    "better": "not all of its gain over {base} is left with {what}",
    "equal": "its gain over {base} is left with {what}",
    "not shown": "it is not shown that any of its gain over {base} is lost with {what}",
    "worse": "its gain over {base} is larger with {what}",
}
# The same where the controlled arm is the baseline itself: there is no gain.
NEEDS: Mapping[Shown, str] = {
    "better": "it needs {things}",
    "equal": "it does as well without {things}",
    "not shown": "it is not shown that it needs {things}",
    "worse": "it does better without {things}",
}
# The same where the controlled arm is the baseline and the control matches its parameters or its information.
MATCHED_OUTCOMES: Mapping[Shown, str] = {
    "better": "with {matched}, {base} does better",
    "equal": "with {matched}, neither does better",
    "not shown": "with {matched}, neither is shown to do better",
    "worse": "with {matched}, {control} does better, so that {matched} cannot be why",
}
MATCHED: Mapping[Kind, str] = {
    "match parameters": "the same number of parameters",
    "match compute": "the same compute",
    "same information": "the same information",
}
# The paragraph that combines the controls of one arm: a clause for each control, by its outcome.
COMBINED: Mapping[str, Mapping[Shown, str]] = {
    "parameters": {
        "better": "more parameters do not explain it alone ({of} is still better than {control} by {size})",
        "equal": "more parameters could give it ({of} and {control} differ by less than the margin)",
        "not shown": "more parameters are not ruled out (no difference between {of} and {control} could be shown)",
        "worse": "more parameters could give more than it ({control} is better than {of} by {size})",
        "no interval": "more parameters are not known to do",
    },
    "information": {
        "better": "more information gives a gain by itself ({control} is better than {base} by {size})",
        "equal": "more information gives no more than the margin by itself ({control} against {base})",
        "not shown": "more information is not shown to give a gain by itself "
        "(no difference between {control} and {base} shown)",
        "worse": "more information gives no gain by itself ({control} is worse than {base} by {size})",
        "no interval": "more information is not known to give a gain by itself",
    },
    "input": {
        "better": "without it {of} loses {size} ({control})",
        "equal": "without it {of} loses less than the margin ({control})",
        "not shown": "without it {of} is not shown to lose ({control})",
        "worse": "without it {of} is better by {size} ({control})",
        "no interval": "what {of} is without it is not known ({control})",
    },
    "design": {
        "better": "the design adds {size} to what the information gives",
        "equal": "the design adds less than the margin to what the information gives",
        "not shown": "the design is not shown to add to what the information gives",
        "worse": "the design takes {size} from what the information gives",
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
    """`as many parameters as Hybrid, by widening model.feedforward_dim`; several changes are joined."""
    words: Mapping[Kind, str] = {
        "match parameters": "as many parameters as {of}, by widening {things}",
        "match compute": "as many FLOPs of a forward pass × epochs as {of}, by {things}",
        "shuffle input": "another example's {things}",
        "drop input": "without {things}",
        "drop joints": "without the joints {things}",
        "freeze": "random, untrained features in {things}",
        "same information": "the information of {of} without its design",
    }
    return listed([words[kind].format(of=of, things=things) for kind, things in kinds.items()])


def meaning(finding: ControlFinding, row: ControlRow, things: str) -> str:
    """The outcome in one metric, as one or two sentences."""
    if row.gain is not None and row.gain_shown != "better":
        return _no_gain(finding, row, row.gain)
    if row.remaining_shown == "no interval":
        unknown = _unknown(finding.label, row.remaining, row)
        return sentence(f"{unknown}: nothing can be said of what it rules out")
    difference = _difference(finding, row)
    if row.gain is None:
        return sentence(f"{difference}: {_needed(finding, row.remaining_shown, things)}")
    gain = size(row.gain.difference, row.metric, row.places)
    control_gain = f"; {finding.label} itself has a gain" if row.control_shown == "better" else ""
    return sentence(
        f"{difference}: {_explained(finding, row.remaining_shown, things)}. That gain is {gain}{control_gain}"
    )


def _explained(finding: ControlFinding, outcome: Shown, things: str) -> str:
    base, kind = finding.baseline_label, finding.kinds[0]
    if len(finding.kinds) > 1:
        return SEVERAL[outcome].format(base=base, what=finding.what)
    return EXPLAINS["drop input" if kind == "drop joints" else kind][outcome].format(base=base, things=things)


def _needed(finding: ControlFinding, outcome: Shown, things: str) -> str:
    kind, base = finding.kinds[0], finding.baseline_label
    if kind in MATCHED:
        return MATCHED_OUTCOMES[outcome].format(matched=MATCHED[kind], base=base, control=finding.label)
    return NEEDS[outcome].format(things=f"trained features in {things}" if kind == "freeze" else things)


def combined_explanation(outcomes: Sequence[tuple[ControlFinding, ControlRow]]) -> str:
    """A sentence that combines the explanations of one arm's gain in one metric: parameters, information, design.

    Empty unless a control matches the parameters and another gives the same information. Controls that change several
    things at once are left out.
    """
    by_kind = {finding.kinds[0]: (finding, row) for finding, row in reversed(outcomes) if len(finding.kinds) == 1}
    if "match parameters" not in by_kind or "same information" not in by_kind:
        return ""
    finding, row = by_kind["match parameters"]
    gain = row.gain
    of, base, in_metric = finding.of_label, finding.baseline_label, f"in {row.metric.in_text}"
    if gain is None or row.gain_shown != "better":
        no_gain = f"No gain of {of} over {base} is shown {in_metric}"
        return f"{no_gain}: parameters, information and design have none to explain."
    clauses = [
        _clause("parameters", *by_kind["match parameters"]),
        _clause("information", *by_kind["same information"]),
        *(_clause("input", *by_kind[kind]) for kind in ("shuffle input", "drop input") if kind in by_kind),
        _clause("design", *by_kind["same information"]),
    ]
    return f"What {of}'s gain over {base} {in_metric}, {_size(gain, row)}, comes from: {'; '.join(clauses)}."


def _no_gain(finding: ControlFinding, row: ControlRow, gain: Effect) -> str:
    in_metric = f"in {row.metric.in_text}"
    of, base, gap = finding.of_label, finding.baseline_label, gain.difference
    if row.gain_shown == "no interval":
        return sentence(f"{_unknown(of, gain, row)}: there is no gain to explain yet")
    if row.gain_shown == "worse":
        clause = f"{in_metric}, {of} is worse than {base} by {size(gap, row.metric, row.places)}"
    else:
        clause = f"no gain of {of} over {base} is shown {in_metric} ({signed_size(gap, row.metric, row.places)})"
    text = sentence(f"{clause}: there is no gain to explain")
    if row.control_shown != "better":
        return text
    control_gain = size(row.control.difference, row.metric, row.places)
    return f"{text} {sentence(f'{finding.label} is itself better than {base} by {control_gain}')}"


def _difference(finding: ControlFinding, row: ControlRow) -> str:
    """`in azimuth error, Hybrid is better than Existing, wide by 0.25° (95 % interval …)`."""
    of, control, gap = finding.of_label, finding.label, row.remaining.difference
    in_metric = f"in {row.metric.in_text}"
    if row.remaining_shown in ("better", "worse"):
        return f"{in_metric}, {of} is {row.remaining_shown} than {control} by {size(gap, row.metric, row.places)}"
    signed = signed_size(gap, row.metric, row.places)
    if row.remaining_shown == "equal":
        margin = margin_text(row.margin or 0.0, row.metric)
        return f"{in_metric}, {of} and {control} differ by less than the margin of {margin} ({signed})"
    return f"{in_metric}, no difference between {of} and {control} could be shown ({signed})"


def _unknown(arm: str, effect: Effect, row: ControlRow) -> str:
    reason = effect.note if effect.difference.n else "no seed has both runs"
    return f"in {row.metric.in_text}, {arm} has no interval to go by ({reason})"


def _clause(part: str, finding: ControlFinding, row: ControlRow) -> str:
    """Information is judged by the control against the baseline, every other part by the arm against the control."""
    effect, outcome = (row.remaining, row.remaining_shown)
    if part == "information":
        effect, outcome = (row.control, row.control_shown)
    names = {"of": finding.of_label, "control": finding.label, "base": finding.baseline_label}
    return COMBINED[part][outcome].format(**names, size=_size(effect, row))


def _size(effect: Effect, row: ControlRow) -> str:
    """The size without its interval, which the control's own sentence has."""
    return measure(abs(effect.difference.mean or 0.0), row.metric, row.places)
