"""Check the metrics that a study names: they exist, once each, and tuning sees validation data alone. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator

from ablate.study import Problem, Study
from ablate.study.broken_rule import broken_rule
from ablate.untrusted.wording import nearest

Names = Collection[str]  # of the catalogue's metrics


def unknown_metric(name: str, location: str, catalogue: Names) -> Iterator[Problem]:
    """A problem where the catalogue does not have the metric."""
    if name not in catalogue:
        yield broken_rule(location, "is not a metric of the catalogue", name, nearest(name, catalogue))


def metrics_exist(study: Study, catalogue: Names) -> Iterator[Problem]:
    """Every metric of the study is one of the catalogue."""
    for index, name in enumerate(study.metrics):
        yield from unknown_metric(name, f"metrics[{index}]", catalogue)


def metrics_once(study: Study) -> Iterator[Problem]:
    """No metric is named twice."""
    for name, count in Counter(study.metrics).items():
        if count > 1:
            yield broken_rule("metrics", "must not repeat a metric", name)


def tuning_metric(study: Study, catalogue: Names) -> Iterator[Problem]:
    """Tuning has a metric of the catalogue, on validation data."""
    if study.tuning is None:
        return
    split, _, name = study.tuning.metric.rpartition("/")
    if split != "val":
        hint = nearest(f"val/{name}", [f"val/{m}" for m in catalogue])
        rule = 'must start with "val/": tuning sees validation data only'
        yield broken_rule("tuning.metric", rule, study.tuning.metric, hint)
    else:
        yield from unknown_metric(name, "tuning.metric", catalogue)
