"""Say in plain words what pydantic found wrong with the types of a study file. Knows no rule of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ablate.study import (
    Arm,
    CategoricalSpace,
    Condition,
    Control,
    Density,
    Factor,
    FloatSpace,
    Hypothesis,
    IntSpace,
    Match,
    Problem,
    ReportSettings,
    Study,
    TrainingSettings,
    Tuning,
)
from ablate.untrusted.wording import nearest, place, shown

_RULES = {
    "missing": "is missing",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "too_short": "must not be empty",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "literal_error": "must be one of {expected}",
    "union_tag_invalid": "type must be one of {expected_tags}",
    "union_tag_not_found": "is missing",
}
MADE = ("family", "level")  # keys of an arm that a factor writes, no person
_SCALARS = ("bool", "int", "float", "str")
_SPACES: dict[str, type[BaseModel]] = {"float": FloatSpace, "int": IntSpace, "categorical": CategoricalSpace}


class Located(NamedTuple):
    """A problem at a place of the document that is still a path of keys."""

    parts: tuple[str | int, ...]
    rule: str
    value: str = ""
    nearest: str = ""
    unknown_key: bool = False

    def problem(self, file: str) -> Problem:
        return Problem(file, place(*self.parts), self.rule, self.value, self.nearest)

    def __lt__(self, other: tuple[Any, ...]) -> bool:
        """By place: keys are text and indices numbers, which do not compare."""
        return str(self) < str(other)


def located_problems(error: ValidationError, document: Mapping[str, Any]) -> list[Located]:
    """One Located an error, in plain words, places as in the file, nearest valid keys for unknown ones."""
    found = [_translate(detail) for detail in error.errors(include_url=False)]
    unique: dict[tuple[str | int, ...], Located] = {}
    for item in found:  # a value of no scalar type is reported once for each type it could have been
        unique.setdefault(item.parts, item)
    return list(unique.values())


def _translate(detail: ErrorDetails) -> Located:
    parts = _parts(detail["loc"])
    kind = detail["type"]
    if kind == "extra_forbidden":
        return Located(parts, "unknown key", "", nearest(str(parts[-1]), _known_keys(detail["loc"])), True)
    if len(parts) < len(detail["loc"]) and detail["loc"][-1] in _SCALARS:
        return Located(parts, "must be text, a number, true or false", shown(detail["input"]))
    context = detail.get("ctx", {})
    rule = _RULES.get(kind, detail["msg"]).format(**context)
    if kind == "too_short" and context["min_length"] > 1:
        rule = f"must hold at least {context['min_length']}"
    if kind == "union_tag_not_found":
        return Located((*parts, "type"), rule, "", "valid: categorical, float, int")
    value = "" if kind in ("missing", "too_short") else shown(detail["input"])
    if kind == "union_tag_invalid":
        tag = str(context.get("tag", ""))
        return Located((*parts, "type"), "must be one of 'categorical', 'float', 'int'", shown(tag), "")
    return Located(parts, rule, value)


def _parts(loc: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """pydantic's loc without the names of union members, which are no keys of the file."""
    if loc[:2] == ("tuning", "space") and len(loc) > 3:
        loc = (*loc[:3], *loc[4:])
    scalars = {"tuning": ("choices", "when"), "factor": ("levels",)}.get(str(loc[0]), ())
    in_scalar = bool(set(scalars) & set(loc[-3:-2]))
    return loc[:-1] if in_scalar and loc[-1] in _SCALARS else loc


def _known_keys(loc: tuple[str | int, ...]) -> list[str]:
    """The keys that are valid where an unknown one was found."""
    model: type[BaseModel] = Study
    if loc[0] == "arms":
        model = Match if len(loc) > 4 else Control if len(loc) > 3 else Arm
    elif loc[0] == "factor":
        model = Factor
    elif loc[0] == "hypotheses":
        model = Hypothesis
    elif loc[0] == "report":
        model = ReportSettings if len(loc) == 2 else Density if loc[1] == "densities" else Condition
    elif loc[0] == "tuning":
        model = _SPACES.get(str(loc[3]), Tuning) if len(loc) > 3 else Tuning
    known = [key for key in model.model_fields if model is not Arm or key not in MADE]
    return known if len(loc) > 1 else list(Study.model_fields)


def training_problems(training: Mapping[str, Any]) -> list[Located]:
    """What is wrong with a `[settings.training]` table, places relative to it."""
    try:
        TrainingSettings.model_validate(dict(training))
    except ValidationError as error:
        details = error.errors(include_url=False)
        return [
            _translate(d)._replace(nearest=nearest(str(d["loc"][0]), TrainingSettings.model_fields))
            if d["type"] == "extra_forbidden"
            else _translate(d)
            for d in details
        ]
    return []
