"""Turn pydantic's errors about the types in a study file into plain sentences. Has no rules of its own."""

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
    Dataset,
    DeclaredMetric,
    Density,
    Design,
    Factor,
    FloatSpace,
    HalvingPruner,
    Hypothesis,
    IntSpace,
    Match,
    MedianPruner,
    Part,
    PercentilePruner,
    Problem,
    ReportSettings,
    Stopping,
    Study,
    ThresholdPruner,
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
BUDGET = ("tuning", "budget")  # a whole number or a real one, as it is written
FACTOR_KEYS = ("family", "level", "parts")  # keys of an arm that only the expansion of a factor or a design writes
DESIGNS = ("leave_one_out", "add_one_in", "factorial")
_SCALARS = ("bool", "int", "float", "str")
_SPACES: dict[str, type[BaseModel]] = {"categorical": CategoricalSpace, "float": FloatSpace, "int": IntSpace}
_PRUNERS: dict[str, type[BaseModel]] = {
    "median": MedianPruner,
    "percentile": PercentilePruner,
    "successive_halving": HalvingPruner,
    "threshold": ThresholdPruner,
}
PRUNER = ("tuning", "pruner")
NOT_REPEATABLE = "a pruner of another name may keep what it has seen, so that its decisions could not be repeated"
REFUSED_PRUNERS = {  # of Optuna's
    "hyperband": "its brackets depend on the name of an Optuna study, not on the curves alone",
    "wilcoxon": "it compares examples of one trial that are scored in turn, and epochs are none",
    "patient": "it is a shell around another pruner",
    "nop": "it prunes nothing: leave tuning.pruner out",
}


class LocatedProblem(NamedTuple):
    """A problem whose place in the file is still a path of keys and indices."""

    path: tuple[str | int, ...]
    rule: str
    value: str = ""
    nearest: str = ""
    unknown_key: bool = False

    def problem(self, file: str) -> Problem:
        return Problem(file, place(*self.path), self.rule, self.value, self.nearest)

    def __lt__(self, other: tuple[Any, ...]) -> bool:
        """Order by path, as text: string keys and integer indices cannot be compared."""
        return str(self) < str(other)


def located_problems(error: ValidationError) -> list[LocatedProblem]:
    """One problem per wrong place in the file, with the nearest valid keys for unknown ones."""
    unique: dict[tuple[str | int, ...], LocatedProblem] = {}
    for detail in error.errors(include_url=False):  # pydantic reports each scalar type that a value could have had
        if detail["type"] == "default_factory_not_called":  # a consequence of a problem that is told
            continue
        problem = _translate(detail)
        unique.setdefault(problem.path, problem)
    return list(unique.values())


def _translate(detail: ErrorDetails) -> LocatedProblem:
    path = _path_in_file(detail["loc"])
    kind = detail["type"]
    if kind == "extra_forbidden":
        return LocatedProblem(path, "unknown key", "", nearest(str(path[-1]), _valid_keys(detail["loc"])), True)
    if path == BUDGET:
        return LocatedProblem(path, "must be a number above 0", shown(detail["input"]))
    if len(path) < len(detail["loc"]) and detail["loc"][-1] in _SCALARS:
        return LocatedProblem(path, "must be text, a number, true or false", shown(detail["input"]))
    context = detail.get("ctx", {})
    rule = _RULES.get(kind, detail["msg"]).format(**context)
    if kind == "too_short" and context["min_length"] > 1:
        rule = f"must hold at least {context['min_length']}"
    tagged = _PRUNERS if path == PRUNER else _SPACES
    if kind == "union_tag_not_found":
        return LocatedProblem((*path, "type"), rule, "", f"valid: {', '.join(tagged)}")
    if path == PRUNER and kind == "model_attributes_type":
        return LocatedProblem(path, rule, shown(detail["input"]), 'such as { type = "median" }')
    value = "" if kind in ("missing", "too_short") else shown(detail["input"])
    if kind == "union_tag_invalid":
        tag = str(context.get("tag", ""))
        hint = REFUSED_PRUNERS.get(tag.lower(), NOT_REPEATABLE) if path == PRUNER else ""
        return LocatedProblem((*path, "type"), f"must be one of {', '.join(map(repr, tagged))}", shown(tag), hint)
    return LocatedProblem(path, rule, value)


def _path_in_file(loc: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """pydantic's `loc` without the names of union members, which are not keys of the file."""
    if loc[:2] == ("tuning", "space") and len(loc) > 3:
        loc = (*loc[:3], *loc[4:])
    if loc[:2] == PRUNER and len(loc) > 2:
        loc = (*PRUNER, *loc[3:])
    if loc[:2] == BUDGET:
        return BUDGET
    scalar_keys = {"tuning": ("choices", "when"), "factor": ("levels",)}.get(str(loc[0]), ())
    in_scalar = bool(set(scalar_keys) & set(loc[-3:-2]))
    return loc[:-1] if in_scalar and loc[-1] in _SCALARS else loc


def _valid_keys(loc: tuple[str | int, ...]) -> list[str]:
    """The keys that are valid where an unknown one was found."""
    model: type[BaseModel] = Study
    if loc[0] == "arms":
        model = Match if len(loc) > 4 else Control if len(loc) > 3 else Arm
    elif loc[0] == "factor":
        model = Factor
    elif loc[0] == "datasets":
        model = Dataset
    elif loc[0] in DESIGNS:
        model = Part if len(loc) > 3 else Design
    elif loc[0] == "hypotheses":
        model = Hypothesis
    elif loc[0] == "metric":
        model = DeclaredMetric
    elif loc[0] == "report":
        model = ReportSettings if len(loc) == 2 else Density if loc[1] == "densities" else Condition
    elif loc[0] == "stopping":
        model = Stopping
    elif loc[0] == "tuning":
        members = _PRUNERS if loc[1] == "pruner" else _SPACES
        model = members.get(str(loc[-2]), Tuning)
    keys = [key for key in model.model_fields if model is not Arm or key not in FACTOR_KEYS]
    return keys if len(loc) > 1 else list(Study.model_fields)


def training_types(training: Mapping[str, Any]) -> list[LocatedProblem]:
    """The wrong types of a `[settings.training]` table, with paths relative to it."""
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
