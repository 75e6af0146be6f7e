"""Read a study file into a Study, or raise one error with all its problems. Imports at most its catalogue."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ablate.study import InputError, Problem, Study, printable, shipped, trust
from ablate.study.catalogue import catalogue_of
from ablate.study.components import importable
from ablate.study.datasets import dataset_rules, expand_datasets
from ablate.study.design import expand_design
from ablate.study.design_rules import design_rules
from ablate.study.error_messages import DESIGNS, FACTOR_KEYS, LocatedProblem, located_problems
from ablate.study.factor import expand, factor_rules
from ablate.study.resolve import resolve as resolve
from ablate.study.rules import broken_rules
from ablate.untrusted import toml
from ablate.untrusted.wording import shown

# Replace a value that does not parse, so that the rest of the file can still be checked.
_PLACEHOLDERS: dict[str, Any] = {
    "name": "placeholder", "question": "", "baseline": "", "seeds": [0], "metrics": [""], "catalogue": "",
    "metric": {}, "settings": {}, "arms": {}, "datasets": {},
}  # fmt: skip
_INT64 = 2**63
MAX_BYTES = 200_000  # fifty times the longest study file in this repository
MAX_PROBLEMS = 200


def load(path: Path, *, imports: bool = True) -> Study:
    """The study in a TOML file, or the shipped study of that name. Raises InputError with every problem of the file.

    `imports=True` is for a file that the user runs: its folder and the working folder are added to sys.path, what it
    names is trusted, and its catalogue is imported. With `imports=False` a catalogue is imported only where it is
    trusted already or an installed subject offers it; metric names of other catalogues go unchecked.
    """
    return from_document(read(path), str(path), shipped.locate(path).resolve().parent, imports=imports)


def from_document(document: dict[str, Any], file: str, folder: Path, *, imports: bool = True) -> Study:
    """The study in the content of a study file, which is changed. `folder`: that of the file. See `load`."""
    study, problems, broken = _parse(document, file)
    if imports:
        importable([folder, Path.cwd()])
        if study is not None:
            trust.accept_study(study)
    if study is not None and study.design is not None:
        design_problems = [problem._replace(file=file) for problem in design_rules(study)]
        if design_problems or broken & {"arms", "settings", *DESIGNS}:
            problems += design_problems
            broken |= {"arms", "baseline", "factor"}  # what other rules say of arms that were not made would mislead
        else:
            study = expand_design(study)
    if study is not None and (study.datasets or ("datasets" in document and "datasets" not in broken)):
        dataset_problems = [problem._replace(file=file) for problem in dataset_rules(study)]
        if dataset_problems or broken & {"arms", "settings", "datasets"}:
            problems += dataset_problems
            broken |= {"baseline", "hypotheses", "factor"}  # what these rules say of arms not made would mislead
        else:
            study = expand_datasets(study)
    if study is not None and study.factor is not None and "factor" not in broken:
        factor_problems = [problem._replace(file=file) for problem in factor_rules(study)]
        if factor_problems or broken & {"arms", "settings", "factor"}:
            problems += factor_problems
            broken.add("factor")
        else:
            study = expand(study)
    if study is not None:
        catalogue = None
        named = study.metric or study.catalogue  # else a rule says what is missing
        if (
            named
            and not broken & {"catalogue", "metric"}
            and (imports or study.metric or trust.trusted(study.catalogue))
        ):
            try:
                catalogue = catalogue_of(study, file=file)
            except InputError as error:
                if imports:  # else it was trusted earlier in this process and can no longer be imported
                    problems += error.problems
        problems += broken_rules(study, catalogue, file=file, broken=broken)
    if study is None or problems:
        raise InputError(*list(dict.fromkeys(problems))[:MAX_PROBLEMS])
    return study


def read(path: Path) -> dict[str, Any]:
    """The content of a TOML file. Raises InputError where it cannot be read."""
    file = str(path)
    try:
        with shipped.locate(path).open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise InputError(Problem(file, "", f"must have at most {MAX_BYTES:,} bytes"))
        text = content.decode("utf-8-sig")  # Windows editors write a byte order mark
    except FileNotFoundError:
        by_name = not path.suffix and path.name == file
        rule = "no such file, and no study of this name comes with ablate" if by_name else "no such file"
        raise InputError(Problem(file, "", rule, "", shipped.nearest_study(path))) from None
    except UnicodeDecodeError as error:
        raise InputError(Problem(file, "", f"is not UTF-8 text: byte {error.start} cannot be read")) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(Problem(file, "", f"cannot be read: {reason}")) from None
    return toml.parse_toml(text, file)


def _parse(document: dict[str, Any], file: str) -> tuple[Study | None, list[Problem], set[str]]:
    """A Study, the problems of its types, and the top-level keys with such problems.

    Where types are wrong, unknown keys are dropped and broken values replaced by placeholders, so that the rules can
    check the rest. The Study is None where a broken value has no placeholder.
    """
    located = list(_unsupported_values(document, ()))
    broken = {str(item.path[0]) for item in located}
    try:
        if not located:
            return Study.model_validate(document), [], broken
        Study.model_validate(document)
    except ValidationError as error:
        type_problems = located_problems(error)
        for item in type_problems:
            if item.unknown_key:
                _drop(document, item.path)
            else:
                broken.add(str(item.path[0]))
        told = {item.path for item in located}
        located += [item for item in type_problems if item.path not in told]
    repaired = {k: v for k, v in document.items() if k not in broken}
    repaired |= {k: v for k, v in _PLACEHOLDERS.items() if k in broken}
    problems = [item.problem(file) for item in sorted(located)]
    try:
        return Study.model_validate(repaired), problems, broken
    except ValidationError:
        return None, problems, broken


def _drop(document: dict[str, Any], path: tuple[str | int, ...]) -> None:
    table: Any = document
    for key in path[:-1]:
        table = table[key]
    table.pop(path[-1], None)


def _unsupported_key(key: str, table_path: tuple[str | int, ...]) -> Iterator[LocatedProblem]:
    """The problems of a key in a table: control characters, no dotted path can name it, only a factor may write it."""
    if printable(key) != key:
        yield LocatedProblem((*table_path, printable(key)), "must not hold control characters")
    if table_path[:1] == ("arms",) and len(table_path) == 2 and key in FACTOR_KEYS:
        writer = "a design" if key == "parts" else "[factor] or [datasets]"
        yield LocatedProblem((*table_path, key), f"is written by {writer} and cannot be set")
    # a section that an arm replaces is at arms.<name>.set.<section>
    in_settings, in_set = table_path[:1] == ("settings",), table_path[2:3] == ("set",)
    section = table_path[:1] if in_settings else table_path[:4] if in_set else ()
    if len(section) in (1, 4) and (not key or "." in key):
        rule = "must not hold empty keys or keys with a dot: no dotted path could name them"
        yield LocatedProblem(section, rule, shown(key))


def _unsupported_values(value: object, path: tuple[str | int, ...]) -> Iterator[LocatedProblem]:
    """What TOML allows and a study does not: some keys, infinite numbers, dates, integers beyond 64 bits."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _unsupported_key(key, path)
            yield from _unsupported_values(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unsupported_values(item, (*path, index))
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield LocatedProblem(path, "must be a finite number", str(value))
    elif isinstance(value, int):
        if not -_INT64 <= value < _INT64:
            yield LocatedProblem(path, "must fit in 64 bits", shown(value))
    elif isinstance(value, str):
        if printable(value) != value:
            yield LocatedProblem(path, "must not hold control characters", shown(printable(value)))
    else:
        yield LocatedProblem(path, "cannot be a date or time; write it as text", str(value))
