"""The metrics of a study: those of its catalogue, a mapping in a module, or those that it declares itself."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from ablate.study import InputError, Metric, Problem, Study
from ablate.study.components import load_component
from ablate.untrusted.wording import shown

Catalogue = Mapping[str, Metric]


def catalogue_of(study: Study, *, file: str) -> Catalogue:
    """The study's metrics by name. Raises InputError when its catalogue is anything else than a mapping of Metrics."""
    if study.metric:
        return declared_metrics(study)
    return load_catalogue(study.catalogue, file=file)


def declared_metrics(study: Study, *, pooled: bool = True) -> Catalogue:
    """The metrics that the study declares itself. None can be computed here: their scores come from elsewhere.

    `pooled`: whether they have no values of single examples. Each has a function of its own: see `study.columns`.
    """
    return {
        name: Metric(
            name, given.label or name, given.unit, given.direction, partial(_computed_elsewhere, name), pooled=pooled
        )
        for name, given in study.metric.items()
    }


def load_catalogue(path: str, *, file: str) -> Catalogue:
    """The mapping name → Metric at "module:attribute". Raises InputError when it is anything else."""
    catalogue = load_component(path, file=file, place="catalogue")
    if not isinstance(catalogue, Mapping) or not all(isinstance(m, Metric) for m in catalogue.values()):
        raise InputError(Problem(file, "catalogue", "must be a mapping from names to Metrics", shown(path)))
    return catalogue


def _computed_elsewhere(name: str, output: Any, targets: Mapping[str, Any]) -> Any:
    raise RuntimeError(f"the metric {name} is declared and has no function: its scores are computed elsewhere")
