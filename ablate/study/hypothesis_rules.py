"""Check hypotheses: they compare two arms that exist, in a metric that does, each once. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ablate.study import Problem, Study
from ablate.study.broken_rule import broken_rule
from ablate.study.metric_rules import Names, unknown_metric
from ablate.untrusted.wording import nearest, place

ONE_DATA_SET = "must compare arms on one data set, or both on all of them"


def hypothesis_rules(study: Study) -> Iterator[Problem]:
    """Each compares two arms of the study, once, and has a margin where its kind needs one."""
    known = [*study.over_all_datasets, *study.arms]
    for index, hypothesis in enumerate(study.hypotheses):
        missing = [key for key in ("arm", "against") if getattr(hypothesis, key) not in known]
        for key in missing:
            arm, location = getattr(hypothesis, key), place("hypotheses", index, key)
            yield broken_rule(location, "is not an arm of this study", arm, nearest(arm, known))
        if not missing and study.over_datasets(hypothesis.arm) != study.over_datasets(hypothesis.against):
            arms = f"{hypothesis.arm} against {hypothesis.against}"
            yield broken_rule(place("hypotheses", index), ONE_DATA_SET, arms)
        if hypothesis.arm == hypothesis.against:
            yield broken_rule(place("hypotheses", index), "must compare two different arms", hypothesis.arm)
        if hypothesis in study.hypotheses[:index]:  # it would count twice in the correction
            yield broken_rule(place("hypotheses", index), "must not repeat a hypothesis")
        if hypothesis.kind != "better" and not hypothesis.margin:
            rule = f"must be above 0 for the kind {hypothesis.kind}: no experiment shows a difference of exactly 0"
            yield broken_rule(place("hypotheses", index, "margin"), rule, 0)


def hypothesis_datasets(study: Study) -> Iterator[Problem]:
    """Each compares arms on one data set. Not for stored studies: older versions allowed two."""
    for index, h in enumerate(study.hypotheses):
        levels = [study.arms[name].level for name in (h.arm, h.against) if study.datasets and name in study.arms]
        if len(set(levels)) > 1:
            hint = "for one setting at several values, data among them, there is [factor]"
            yield broken_rule(place("hypotheses", index), ONE_DATA_SET, f"{h.arm} against {h.against}", hint)


def hypothesis_metrics(study: Study, catalogue: Names) -> Iterator[Problem]:
    """Each is about a metric of the catalogue."""
    for index, hypothesis in enumerate(study.hypotheses):
        yield from unknown_metric(hypothesis.metric, place("hypotheses", index, "metric"), catalogue)
