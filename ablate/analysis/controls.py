"""The outcome of each control: its differences to both arms, and a sentence. Pure: Results in, dataclasses out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ablate.analysis.budget import budget_rows
from ablate.analysis.control_findings import ControlFinding, ControlRow, Kind
from ablate.analysis.control_phrasing import combined_explanation, kinds_of, meaning, what_changes, what_was_done
from ablate.analysis.costs import count, label
from ablate.analysis.effects import effect, effect_decimals, margin_of
from ablate.analysis.phrasing import listed, shown
from ablate.analysis.results import Results
from ablate.study import Scalar


def control_findings(results: Results) -> tuple[ControlFinding, ...]:
    """A finding for every arm with a control, in study order."""
    tuned = {row.arm: row.tuned for row in budget_rows(results)}
    return tuple(
        _finding(results, name, kinds_of(arm.control), tuned)
        for name, arm in results.study.arms.items()
        if arm.control is not None and kinds_of(arm.control)
    )


def explanations(findings: Sequence[ControlFinding]) -> tuple[str, ...]:
    """A paragraph for every controlled arm and metric with a control for each of three explanations.

    The explanations of a gain are more parameters, more information, and the design.
    """
    paragraphs = []
    for of in dict.fromkeys(f.of for f in findings if f.of != f.baseline):
        group = [f for f in findings if f.of == of]
        paragraphs += [combined_explanation([(f, f.rows[index]) for f in group]) for index in range(len(group[0].rows))]
    return tuple(text for text in paragraphs if text)


def _finding(
    results: Results, name: str, kinds: Mapping[Kind, str], tuned: Mapping[str, Mapping[str, Scalar]]
) -> ControlFinding:
    of, base = _controlled(results, name), results.study.baseline_of(name)
    labels = {arm: label(results, arm) if arm in results.study.arms else arm for arm in (name, of, base)}
    draft = ControlFinding(
        control=name,
        label=labels[name],
        kinds=tuple(kinds),
        what=what_was_done(kinds, labels[of]),
        of=of,
        of_label=labels[of],
        baseline=base,
        baseline_label=labels[base],
        parameters={arm: count(results, arm) for arm in dict.fromkeys((name, of, base))},
        rows=(),
        sentence="",
        tuned_apart=_tuned_apart(tuned.get(of, {}), tuned.get(name, {})),
        changed=what_changes(kinds, labels[of]),
    )
    rows = tuple(_row(results, draft, kinds[draft.kinds[0]], metric) for metric in results.study.metrics)
    return replace(draft, rows=rows, sentence=rows[0].sentence)


def _tuned_apart(ours: Mapping[str, Scalar], theirs: Mapping[str, Scalar]) -> str:
    """`training.learning_rate (0.002 against 0.004)`: tuned values that differ; empty where either arm has none."""
    pairs = [(path, ours[path], theirs[path]) for path in ours if path in theirs and ours[path] != theirs[path]]
    return listed([f"{path} ({_text(value)} against {_text(other)})" for path, value, other in pairs])


def _text(value: Scalar) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _controlled(results: Results, name: str) -> str:
    """The arm it controls for: named by `match_parameters`, `same_information` or `like`, else the baseline."""
    arm = results.study.arms[name]
    match = arm.control.match_parameters if arm.control else None
    same = arm.control.same_information if arm.control else ""
    return (match.of if match else "") or same or arm.like or results.study.baseline_of(name)


def _row(results: Results, finding: ControlFinding, things: str, name: str) -> ControlRow:
    of, base, metric = finding.of, finding.baseline, results.metrics[name]
    study = results.study
    margin, gain_margin, own_margin = (
        margin_of(study, *pair, name) for pair in ((of, finding.control), (of, base), (finding.control, base))
    )
    margin = margin or gain_margin  # what counts as a gain counts as a difference to the control
    gain = effect(results, of, base, name) if of != base else None
    remaining, own = effect(results, of, finding.control, name), effect(results, finding.control, base, name)
    draft = ControlRow(
        metric=metric,
        gain=gain,
        remaining=remaining,
        control=own,
        gain_shown=shown(gain, metric, gain_margin) if gain else None,
        remaining_shown=shown(remaining, metric, margin),
        control_shown=shown(own, metric, own_margin or gain_margin),
        places=effect_decimals(results, name),
        margin=margin,
        sentence="",
        gain_margin=gain_margin,
        control_margin=own_margin or gain_margin,
    )
    return replace(draft, sentence=meaning(finding, draft, things))
