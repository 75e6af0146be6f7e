"""Which code a file may name: what the person's own command names, and what installed subjects offer to any file.

A study file, a store or a network from elsewhere is only read. It must not know what any component does.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from ablate.study import InputError, Problem, Study
from ablate.study.components import IMPORT_PATH, importable, load_component
from ablate.untrusted.wording import shown

OFFERED = "ablate.components"  # entry points: modules whose public functions and classes any file may name

_named: set[str] = set()  # import paths that this process was told to use by a command of the person's
_packages: set[str] = set()  # and packages, by --trust


def accept(study: Study) -> None:
    """The person runs this study: what it names may be imported from now on in this process."""
    _named.update(named(study))


def accept_package(name: str) -> None:
    """The person says that files may name what is in this package or module."""
    _packages.add(name)


def named(study: Study) -> Iterator[str]:
    """Every import path that stands in a study: catalogue, gallery, factories of the study and of its arms."""
    yield study.catalogue
    if study.report.gallery:
        yield study.report.gallery
    for section in (study.settings, *(arm.set for arm in study.arms.values())):
        yield from _factories(section)


def trusted(path: str) -> bool:
    """Whether a file may name `path` ("module:attribute"). Imports at most a module that an installed subject offers.

    Of such a module only what it defines itself, under one public name: not what it has imported.
    """
    module, _, attribute = path.partition(":")
    if path in _named or any(module == package or module.startswith(f"{package}.") for package in _packages):
        return True
    if not IMPORT_PATH.fullmatch(path) or "." in attribute or attribute.startswith("_") or module not in offered():
        return False
    try:
        found: Any = load_component(path, file=path, place="")
    except InputError:
        return False
    return isinstance(found, Mapping) or getattr(found, "__module__", None) == module


def check(path: str, *, file: str, place: str) -> None:
    """Raises InputError where a file from elsewhere names code that nobody vouches for; nothing of it is imported."""
    if not trusted(path):
        package = path.partition(":")[0].partition(".")[0]
        hint = f"give the study's own file, or --trust {package} if it is yours"
        raise InputError(
            Problem(file, place, "names code of no installed subject, which is not run", shown(path), hint)
        )


@functools.cache
def offered() -> frozenset[str]:
    """The modules that installed subjects offer."""
    return frozenset(entry.value for entry in entry_points(group=OFFERED))


def _factories(value: Mapping[str, Any]) -> Iterator[str]:
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield from _factories(item)
        elif isinstance(item, str) and key.rpartition(".")[2] == "factory":
            yield item


def accept_packages(names: Sequence[str]) -> None:
    """The person vouches for these packages: what the store names of them may be imported, from here too."""
    for name in names:
        accept_package(name)
    if names:
        importable([Path.cwd()])
