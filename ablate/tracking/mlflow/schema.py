"""Convert a RunSpec to MLflow params and datasets, within MLflow's length limits."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, RunTag

from ablate.study import Phase, RunSpec
from ablate.untrusted.wording import cut

TAG_LIMIT, PARAM_LIMIT, NAME_LIMIT = 8000, 6000, 250  # characters, MLflow's
SOURCE = {"mlflow.source.name": "ablate", "mlflow.source.type": "LOCAL"}


def settings_params(spec: RunSpec) -> dict[str, str]:
    """The resolved settings by dotted path, with arm and seed, as MLflow params."""
    params = {"arm": spec.arm, "seed": str(spec.seed)}
    for path, value in _flat(spec.settings):
        name = re.sub(r"[^\w\-. :/]", "_", path)[:NAME_LIMIT]
        params[name] = cut(value if isinstance(value, str) else json.dumps(value), PARAM_LIMIT)
    return params


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def datasets(spec: RunSpec) -> list[DatasetInput]:
    """The dataset of a run, one input per split that it reads; a tuning run reads no test split."""
    data = spec.settings.get("data", {})
    inputs = ", ".join(spec.settings.get("run", {}).get("inputs", []))
    return dataset_inputs(str(inputs or data.get("file") or data.get("factory")), spec.dataset, spec.phase)


def dataset_inputs(name: str, digest: str, phase: Phase) -> list[DatasetInput]:
    """Like `datasets`, for a data file or factory with this name and digest."""
    source = json.dumps({"uri": name})
    contexts = ("train", "validation" if phase == "tune" else "test")
    return [
        DatasetInput(
            Dataset(f"{Path(name).name} ({context})", digest, "local", source),
            [InputTag("mlflow.data.context", context)],
        )
        for context in contexts
    ]


def run_tags(tags: Mapping[str, str]) -> list[RunTag]:
    """The tags as `MlflowClient.log_batch` takes them."""
    return [RunTag(name, value) for name, value in tags.items()]


Cell = tuple[str, ...]


def cell_of(tags: Mapping[str, str]) -> Cell:
    """The tags that identify a cell within its study: key, phase, arm and trial."""
    return tuple(tags.get(f"ablate.{name}", "") for name in ("key", "phase", "arm", "trial"))


def fitting(provenance: Mapping[str, str]) -> dict[str, str]:
    """A run's provenance, its longest entries dropped until it fits into one tag; provenance.json has all of it."""
    entries = dict(provenance)
    while len(json.dumps(entries)) > TAG_LIMIT:
        entries.pop(max(entries, key=lambda name: len(entries[name])))
    return entries


def batches(values: list[Any], size: int) -> Iterator[list[Any]]:
    """Cut a list into lists of at most `size` values."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
