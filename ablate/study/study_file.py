"""Read a study file into a Study, or say everything that is wrong with it at once. Imports at most its catalogue."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ablate.study import InputError, Metric, Problem, Study, printable, trust
from ablate.study.components import importable, load_component
from ablate.study.error_messages import MADE, Located, located_problems
from ablate.study.factor import expand, factor_rules
from ablate.study.resolve import resolve as resolve
from ablate.study.rules import Catalogue, broken_rules
from ablate.untrusted import toml
from ablate.untrusted.wording import nearest, shown

# Stands in for a part that does not parse, so that the other parts can still be checked.
_PLACEHOLDERS: dict[str, Any] = {
    "name": "placeholder", "question": "", "baseline": "", "seeds": [0], "metrics": [""], "catalogue": "",
    "settings": {}, "arms": {},
}  # fmt: skip
_INT64 = 2**63
MAX_BYTES = 200_000  # fifty times the longest that comes with the package
MAX_PROBLEMS = 200


def load(path: Path, *, imports: bool = True) -> Study:
    """The study in a TOML file. Raises InputError with every problem of the file.

    With `imports`, which says that the person runs this file: its folder and the working folder become importable, and
    its catalogue is imported. Without, nothing that it names is imported but what installed subjects offer, and
    metrics of other catalogues go unchecked.
    """
    file = str(path)
    document = _read(path)
    study, problems, broken = _parse(document, file)
    if imports:
        importable([path.resolve().parent, Path.cwd()])
        if study is not None:
            trust.accept_study(study)
    if study is not None and study.factor is not None:
        found = [problem._replace(file=file) for problem in factor_rules(study)]
        if found or broken & {"arms", "settings", "factor"}:
            problems += found
            broken.add("factor")
        else:
            study = expand(study)
    if study is not None:
        catalogue = None
        if "catalogue" not in broken and (imports or trust.trusted(study.catalogue)):
            try:
                catalogue = load_catalogue(study.catalogue, file=file)
            except InputError as error:
                problems += error.problems if imports else []  # named earlier, and no longer within reach
        problems += broken_rules(study, catalogue, file=file, broken=broken)
    if study is None or problems:
        raise InputError(*list(dict.fromkeys(problems))[:MAX_PROBLEMS])
    return study


def load_catalogue(path: str, *, file: str) -> Catalogue:
    """The mapping name → Metric at "module:attribute". Raises InputError when it is anything else."""
    catalogue = load_component(path, file=file, place="catalogue")
    if not isinstance(catalogue, Mapping) or not all(isinstance(m, Metric) for m in catalogue.values()):
        raise InputError(Problem(file, "catalogue", "must be a mapping from names to Metrics", shown(path)))
    return catalogue


def _read(path: Path) -> dict[str, Any]:
    file = str(path)
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise InputError(Problem(file, "", f"must have at most {MAX_BYTES:,} bytes"))
        text = content.decode("utf-8-sig")  # editors on Windows write the mark
    except FileNotFoundError:
        siblings = [p.name for p in path.parent.glob("*.toml")] if path.parent.is_dir() else []
        raise InputError(Problem(file, "", "no such file", "", nearest(path.name, siblings))) from None
    except UnicodeDecodeError as error:
        raise InputError(Problem(file, "", f"is not UTF-8 text: byte {error.start} cannot be read")) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(Problem(file, "", f"cannot be read: {reason}")) from None
    return toml.parse_toml(text, file)


def _parse(document: dict[str, Any], file: str) -> tuple[Study | None, list[Problem], set[str]]:
    """A Study, the problems of its types, and the top-level keys whose content cannot be trusted.

    When types are wrong, unknown keys are dropped and broken parts replaced, so that the rules reach the rest.
    """
    found = list(_unfit(document, ()))
    broken = {str(f.parts[0]) for f in found}
    try:
        if not found:
            return Study.model_validate(document), [], broken
        Study.model_validate(document)
    except ValidationError as error:
        wrong = located_problems(error, document)
        for item in wrong:
            if item.unknown_key:
                _drop(document, item.parts)
            else:
                broken.add(str(item.parts[0]))
        found += wrong
    kept = {k: v for k, v in document.items() if k not in broken}
    kept |= {k: v for k, v in _PLACEHOLDERS.items() if k in broken}
    problems = [item.problem(file) for item in sorted(found)]
    try:
        return Study.model_validate(kept), problems, broken
    except ValidationError:  # a broken part that has no stand-in
        return None, problems, broken


def _drop(document: dict[str, Any], parts: tuple[str | int, ...]) -> None:
    table: Any = document
    for part in parts[:-1]:
        table = table[part]
    table.pop(parts[-1], None)


def _unfit_key(key: str, parts: tuple[str | int, ...]) -> Iterator[Located]:
    """A key of the table at `parts` that cannot be printed, named by a dotted path or set by a person."""
    if printable(key) != key:
        yield Located((*parts, printable(key)), "must not hold control characters")
    if parts[:1] == ("arms",) and len(parts) == 2 and key in MADE:
        yield Located((*parts, key), "is written by [factor] and cannot be set")
    # a section that an arm replaces stands at arms.<name>.set.<section>
    section = parts[:1] if parts[:1] == ("settings",) else parts[:4] if parts[2:3] == ("set",) else ()
    if len(section) in (1, 4) and (not key or "." in key):
        rule = "must not hold empty keys or keys with a dot: no dotted path could name them"
        yield Located(section, rule, shown(key))


def _unfit(value: object, parts: tuple[str | int, ...]) -> Iterator[Located]:
    """What TOML can hold and no study can: odd keys, infinite numbers, dates, integers beyond 64 bits."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _unfit_key(key, parts)
            yield from _unfit(item, (*parts, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unfit(item, (*parts, index))
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield Located(parts, "must be a finite number", str(value))
    elif isinstance(value, int):
        if not -_INT64 <= value < _INT64:
            yield Located(parts, "must fit in 64 bits", shown(value))
    elif isinstance(value, str):
        if printable(value) != value:
            yield Located(parts, "must not hold control characters", shown(printable(value)))
    else:
        yield Located(parts, "cannot be a date or time; write it as text", str(value))
