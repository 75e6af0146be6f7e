"""A RunSpec in MLflow's terms: tags, params and datasets, cut to what MLflow takes. Imported by `tracking` alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, RunTag

from ablate.study import SCHEMA, Phase, RunSpec
from ablate.tracking.record_format import ROLE

TAG_LIMIT, PARAM_LIMIT, NAME_LIMIT = 8000, 6000, 250  # characters, MLflow's
SOURCE = {"mlflow.source.name": "ablate", "mlflow.source.type": "LOCAL"}


def identity(spec: RunSpec) -> dict[str, str]:
    """The tags that say which run of which study it is."""
    tags = {
        ROLE: "run",
        "ablate.study": spec.study,
        "ablate.arm": spec.arm,
        "ablate.seed": str(spec.seed),
        "ablate.phase": spec.phase,
        "ablate.key": spec.key,
        "ablate.schema": str(SCHEMA),
        "ablate.overrides": json.dumps(dict(spec.overrides), sort_keys=True),
    }
    return tags if spec.trial is None else {**tags, "ablate.trial": str(spec.trial)}


def settings_params(spec: RunSpec) -> dict[str, str]:
    """The resolved settings by dotted path, with arm and seed, as MLflow takes them."""
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
    """The data a run read, once per use: a tuning run never sees the test split."""
    data = spec.settings["data"]
    return dataset_inputs(str(data.get("file") or data.get("factory")), spec.dataset, spec.phase)


def dataset_inputs(name: str, digest: str, phase: Phase) -> list[DatasetInput]:
    """The same of a data file or factory of this name."""
    source = json.dumps({"uri": name})
    contexts = ("train", "validation" if phase == "tune" else "test")
    return [
        DatasetInput(
            Dataset(f"{Path(name).name} ({context})", digest, "local", source),
            [InputTag("mlflow.data.context", context)],
        )
        for context in contexts
    ]


def tags_of(tags: Mapping[str, str]) -> list[RunTag]:
    """As MLflow's batches take them."""
    return [RunTag(name, value) for name, value in tags.items()]


def place_of(tags: Mapping[str, str]) -> tuple[str, ...]:
    """What tells a cell from the others of its study."""
    return tuple(tags.get(f"ablate.{name}", "") for name in ("key", "phase", "arm", "trial"))


def cut(text: str, limit: int) -> str:
    """At most `limit` characters: of an error both ends matter."""
    half = limit // 2 - 2
    return text if len(text) <= limit else f"{text[:half]} … {text[-half:]}"


def fitting(provenance: Mapping[str, str]) -> dict[str, str]:
    """What of a run's provenance fits into one tag; the artifact provenance.json holds it whole."""
    kept = dict(provenance)
    while len(json.dumps(kept)) > TAG_LIMIT:
        kept.pop(max(kept, key=lambda name: len(kept[name])))
    return kept


def parts(values: list[Any], size: int) -> Iterator[list[Any]]:
    """Cut a list into as many as fit a batch."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
