"""Check `[report]`: metrics that exist, groups that are apart, scores that a trainer gives. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ablate.study import Condition, Problem, Study
from ablate.study.broken_rule import broken_rule
from ablate.study.components import IMPORT_PATH, IMPORT_PATH_RULE
from ablate.study.metric_rules import Names, unknown_metric
from ablate.untrusted.wording import nearest, place


def report_metrics(study: Study, catalogue: Names) -> Iterator[Problem]:
    """Conditions and densities name metrics of the catalogue, and groups of values that are apart."""
    for name, condition in study.report.conditions.items():
        for index, metric in enumerate(condition.metrics):
            yield from unknown_metric(metric, place("report", "conditions", name, "metrics", index), catalogue)
        yield from _groups(condition, place("report", "conditions", name, "groups"))
    for name, density in study.report.densities.items():
        yield from unknown_metric(density.error, place("report", "densities", name, "error"), catalogue)


def _groups(condition: Condition, location: str) -> Iterator[Problem]:
    if condition.groups and condition.period is not None:
        yield broken_rule(location, "cannot be combined with a period", condition.period)
    seen: dict[float, str] = {}
    for name, values in condition.groups.items():
        if not values:
            yield broken_rule(f"{location}.{name}", "must list values")
        for value in values:
            if seen.setdefault(value, name) != name:
                yield broken_rule(f"{location}.{name}", f"shares a value with {seen[value]}", f"{value:g}")


def gallery_rules(study: Study) -> Iterator[Problem]:
    """The gallery is an import path."""
    if study.report.gallery is not None and not IMPORT_PATH.fullmatch(study.report.gallery):
        yield broken_rule("report.gallery", IMPORT_PATH_RULE, study.report.gallery)


def color_rules(study: Study) -> Iterator[Problem]:
    """Colours are of arms, at all levels of a factor, and no two arms share one."""
    seen: dict[str, str] = {}
    for name, color in study.report.colors.items():
        location = place("report", "colors", name)
        if not study.members(name):
            families = {arm.family for arm in study.arms.values() if arm.family}
            yield Problem("", location, "must name an arm", name, nearest(name, [*study.arms, *sorted(families)]))
        if seen.setdefault(color, name) != name:
            yield broken_rule(location, f"is the color of {seen[color]} already", color)


def given_rules(study: Study) -> Iterator[Problem]:
    """A command gives no scores of single examples, so that it has no conditions, densities, gallery or clusters."""
    for key in ("conditions", "densities", "gallery"):
        if study.trainer == "command" and getattr(study.report, key):
            rule = "needs scores of single examples, which a command does not give"
            yield Problem("", f"report.{key}", rule, "", "a function can give them")
    if study.trainer == "command" and study.cluster:
        rule = "names a column of scores of single examples, which a command does not give"
        yield broken_rule("cluster", rule, study.cluster, "a function can give them")
    elif study.cluster in study.named_metrics or study.cluster != study.cluster.strip():
        rule = "must name the column that says whose each example is"
        hint = f"{study.cluster!r} is a metric" if study.cluster in study.named_metrics else 'such as "subject"'
        yield broken_rule("cluster", rule, study.cluster, hint)
