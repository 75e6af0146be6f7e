"""Decide which code a file may name: what the user's own command names, and what installed subjects offer.

A study file, store or network from elsewhere may name nothing else. Knows nothing of what components do.
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

ENTRY_POINTS = "ablate.components"  # their values are modules whose public functions and classes any file may name

_trusted_paths: set[str] = set()  # import paths in the studies that the user's commands in this process named
_trusted_packages: set[str] = set()  # given with --trust


def accept_study(study: Study) -> None:
    """Trust every import path in a study that the user runs, for the rest of this process."""
    _trusted_paths.update(import_paths(study))


def accept_packages(names: Sequence[str]) -> None:
    """Trust everything in these packages or modules. The working folder, where they may be, is added to sys.path."""
    _trusted_packages.update(names)
    if names:
        importable([Path.cwd()])


def import_paths(study: Study) -> Iterator[str]:
    """Every import path in a study: catalogue, gallery, factories of the study and of its arms."""
    if study.catalogue:
        yield study.catalogue
    if study.report.gallery:
        yield study.report.gallery
    for section in (study.settings, *(arm.set for arm in study.arms.values())):
        yield from _factories(section)


def trusted(path: str) -> bool:
    """Whether a file may name `path` ("module:attribute"). Imports at most a module that an installed subject offers.

    Of an offered module only what it defines itself counts, under one public name: not what it imports.
    """
    module, _, attribute = path.partition(":")
    in_trusted_package = any(module == package or module.startswith(f"{package}.") for package in _trusted_packages)
    if path in _trusted_paths or in_trusted_package:
        return True
    if not IMPORT_PATH.fullmatch(path) or "." in attribute or attribute.startswith("_"):
        return False
    if module not in offered_modules():
        return False
    try:
        component: Any = load_component(path, file=path, place="")
    except InputError:
        return False
    return isinstance(component, Mapping) or getattr(component, "__module__", None) == module


def check(path: str, *, file: str, place: str) -> None:
    """Raises InputError where a file from elsewhere names code that is not trusted; nothing of it is imported."""
    if not trusted(path):
        package = path.partition(":")[0].partition(".")[0]
        hint = f"give the study's own file, or --trust {package} if it is yours"
        raise InputError(
            Problem(file, place, "names code of no installed subject, which is not run", shown(path), hint)
        )


@functools.cache
def offered_modules() -> frozenset[str]:
    """The modules that installed subjects offer."""
    return frozenset(entry.value for entry in entry_points(group=ENTRY_POINTS))


def _factories(settings: Mapping[str, Any]) -> Iterator[str]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _factories(value)
        elif isinstance(value, str) and key.rpartition(".")[2] in ("factory", "function"):
            yield value
