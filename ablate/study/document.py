"""Check a study's document, as the store gives it back, before anything relies on it. Pure: no I/O."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ablate.study import Direction, InputError, Problem, Reduction, Study, printable
from ablate.study.resolve import resolve
from ablate.study.rules import SECTIONS, broken_stored_rules
from ablate.untrusted.wording import place, shown

MAX_RUNS = 100_000  # arms times seeds, of the comparison and of all trials


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class _Metric(_Part):
    label: str
    unit: str = ""
    direction: Direction = "lower"
    reduction: Reduction = "mean"
    column: str | None = None  # the metric's own name, in stores written before pooled ones
    pooled: bool = False


class _Amendment(_Part):
    date: str
    what: str


class _Document(_Part):
    study: dict[str, Any]
    metrics: dict[str, _Metric]
    created: str = ""
    amendments: list[_Amendment] = []
    hypotheses_digest: str = ""
    command: str = ""
    data_digests: dict[str, str] = {}  # by arm; documents of older versions have none


def clean(value: Any) -> Any:
    """Plain JSON with every text printable. Raises RecursionError where it nests without end."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {printable(str(key)): clean(item) for key, item in value.items()}
    return [clean(item) for item in value] if isinstance(value, list) else value


def checked(document: object, name: str) -> tuple[Study, dict[str, dict[str, Any]]]:
    """The study and the facts of its metrics, by name. Raises InputError for a document that is not `name`'s.

    A store may come from anywhere; names in it become files, and what it names is looked up in it.
    """
    try:
        found = _Document.model_validate(clean(document))
        study = Study.model_validate_json(json.dumps(found.study))
    except ValidationError as error:
        first = error.errors()[0]
        where = place(*first["loc"]) if first["loc"] else ""
        raise _damaged(name, where, first["msg"]) from None
    except (ValueError, TypeError, RecursionError) as error:
        raise _damaged(name, "", str(error)) from None
    for problem in _broken(study, found.metrics, name):
        raise _damaged(name, problem.place, problem.rule, problem.value)
    facts = {n: m.model_dump(exclude_none=True) for n, m in found.metrics.items()}
    return study, facts


def _damaged(name: str, where: str, rule: str, value: str = "") -> InputError:
    return InputError(Problem("tracking store", f"document of {shown(name)}: {where}"[:200], rule[:200], value))


def _broken(study: Study, metrics: Mapping[str, Any], name: str) -> Iterator[Problem]:
    """What a study of this package's never is."""
    if study.name != name:
        yield Problem("", "name", "must be the name of the study", shown(study.name))
    if len(study.arms) * len(study.seeds) > MAX_RUNS:
        yield Problem("", "seeds", f"arms and seeds make more than {MAX_RUNS:,} runs", str(len(study.seeds)))
    if study.tuning and len(study.arms) * len(study.tuning.seeds) * study.tuning.trials > MAX_RUNS:
        yield Problem("", "tuning.trials", f"arms, seeds and trials make more than {MAX_RUNS:,} runs")
    yield from broken_stored_rules(study, metrics)
    yield from _unresolved(study)


def _unresolved(study: Study) -> Iterator[Problem]:
    """Arms whose settings are none."""
    for section in SECTIONS:
        if section not in study.settings:
            yield Problem("", f"settings.{section}", "is missing")
            return
    for arm in study.arms:
        try:
            settings = resolve(study, arm)
            wrong = [section for section in SECTIONS if not isinstance(settings.get(section), Mapping)]
            yield from (Problem("", place("arms", arm, section), "must be a table") for section in wrong)
        except InputError as error:
            yield from error.problems
        except ValidationError as error:
            first = error.errors()[0]
            yield Problem("", place("arms", arm, "training", *first["loc"]), first["msg"], shown(first["input"]))
        except (KeyError, TypeError, ValueError) as error:  # a control like an arm that is not there
            yield Problem("", place("arms", arm), "its settings cannot be worked out", shown(str(error)))
