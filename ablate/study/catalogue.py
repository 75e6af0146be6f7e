"""The metrics of a study: those of its catalogue, a mapping in a module, or those that it declares itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ablate.study import InputError, Metric, Problem, Study
from ablate.study.components import load_component
from ablate.untrusted.wording import shown

Catalogue = Mapping[str, Metric]


def catalogue_of(study: Study, *, file: str) -> Catalogue:
    """The study's metrics by name. Raises InputError when its catalogue is anything else than a mapping of Metrics."""
    if study.metric:
        return {
            name: Metric(
                name, declared.label or name, declared.unit, declared.direction, _computed_by_the_run, pooled=True
            )
            for name, declared in study.metric.items()
        }
    return load_catalogue(study.catalogue, file=file)


def load_catalogue(path: str, *, file: str) -> Catalogue:
    """The mapping name → Metric at "module:attribute". Raises InputError when it is anything else."""
    catalogue = load_component(path, file=file, place="catalogue")
    if not isinstance(catalogue, Mapping) or not all(isinstance(m, Metric) for m in catalogue.values()):
        raise InputError(Problem(file, "catalogue", "must be a mapping from names to Metrics", shown(path)))
    return catalogue


def _computed_by_the_run(output: Any, targets: Mapping[str, Any]) -> Any:
    raise RuntimeError("a declared metric has no function: the command or the function of the study gives its scores")
