"""Check the document of a study that was read from a store, before it is used. Pure: no I/O."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ablate.study import Direction, InputError, Problem, Reduction, Study, printable
from ablate.study.resolve import resolve
from ablate.study.rules import broken_stored_rules, sections_of
from ablate.study.run_rules import section_rules
from ablate.study.runs import trainer_kind
from ablate.untrusted.wording import place, shown

MAX_RUNS = 100_000  # arms times seeds, of the comparison and of all trials


class _Table(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class _Metric(_Table):
    label: str
    unit: str = ""
    direction: Direction = "lower"
    reduction: Reduction = "mean"
    column: str | None = None  # None, for the metric's own name, in stores written before pooled metrics
    pooled: bool = False


class _Amendment(_Table):
    date: str
    what: str


class _Adopted(_Table):
    from_: str = Field(alias="from")
    notes: list[str] = []


class _Document(_Table):
    study: dict[str, Any]
    metrics: dict[str, _Metric]
    created: str = ""
    amendments: list[_Amendment] = []
    hypotheses_digest: str = ""
    command: str = ""
    adopted: _Adopted | None = None
    data_digests: dict[str, str] = {}  # by arm; documents of older versions have none


def clean(value: Any) -> Any:
    """Plain JSON with every string made printable. Raises RecursionError where it is nested too deeply."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {printable(str(key)): clean(item) for key, item in value.items()}
    return [clean(item) for item in value] if isinstance(value, list) else value


def checked(document: object, name: str) -> tuple[Study, dict[str, dict[str, Any]]]:
    """The study and its metrics' labels, units and so on, by name. Raises InputError for an invalid document.

    A store may come from anywhere, and names in a document become file names. `name` is the study it must be of.
    """
    try:
        parsed = _Document.model_validate(clean(document))
        study = Study.model_validate_json(json.dumps(parsed.study))
    except ValidationError as error:
        first = error.errors()[0]
        location = place(*first["loc"]) if first["loc"] else ""
        raise _damaged(name, location, first["msg"]) from None
    except (ValueError, TypeError, RecursionError) as error:
        raise _damaged(name, "", str(error)) from None
    for problem in _problems(study, parsed.metrics, name):
        raise _damaged(name, problem.place, problem.rule, problem.value)
    return study, {n: metric.model_dump(exclude_none=True) for n, metric in parsed.metrics.items()}


def _damaged(name: str, location: str, rule: str, value: str = "") -> InputError:
    return InputError(Problem("tracking store", f"document of {shown(name)}: {location}"[:200], rule[:200], value))


def _problems(study: Study, metrics: Mapping[str, Any], name: str) -> Iterator[Problem]:
    """What no study that `ablate` wrote has."""
    if study.name != name:
        yield Problem("", "name", "must be the name of the study", shown(study.name))
    if len(study.arms) * len(study.seeds) > MAX_RUNS:
        yield Problem("", "seeds", f"arms and seeds make more than {MAX_RUNS:,} runs", str(len(study.seeds)))
    tuning_seeds = study.tuning_seeds
    if study.tuning and len(study.arms) * len(tuning_seeds) * study.tuning.trials > MAX_RUNS:
        yield Problem("", "tuning.trials", f"arms, seeds and trials make more than {MAX_RUNS:,} runs")
    yield from broken_stored_rules(study, metrics)
    yield from _settings_problems(study)


def _settings_problems(study: Study) -> Iterator[Problem]:
    """Missing sections, and arms whose settings cannot be resolved."""
    sections = sections_of(study.settings)
    for section in sections:
        if section not in study.settings:
            yield Problem("", f"settings.{section}", "is missing")
            return
    for arm in study.arms:
        try:
            settings = resolve(study, arm)
            not_tables = [section for section in sections if not isinstance(settings.get(section), Mapping)]
            yield from (Problem("", place("arms", arm, section), "must be a table") for section in not_tables)
            if trainer_kind(settings) in ("command", "function") and not not_tables:
                yield from section_rules(settings["run"], place("arms", arm, "run"))
        except InputError as error:
            yield from error.problems
        except ValidationError as error:
            first = error.errors()[0]
            yield Problem("", place("arms", arm, "training", *first["loc"]), first["msg"], shown(first["input"]))
        except (
            KeyError,
            TypeError,
            ValueError,
        ) as error:  # e.g. its control or `like` names a missing arm
            yield Problem("", place("arms", arm), "its settings cannot be worked out", shown(str(error)))
